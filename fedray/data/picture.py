"""One picture of a population's data: how many examples the clients have, and of which classes."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedray.data.base import FederatedData
from fedray.data.describe import Labels, count_labels

MAX_BARS = 50
"""Clients whose labels are drawn, evenly spaced."""
_CLASS_COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"),
    *("#D55E00", "#F0E442", "#999999", "#882255", "#000000"),
)
"""Okabe and Ito's colours, which colour-blind readers can tell apart, https://jfly.uni-koeln.de/color, and two more."""


def plot(data: FederatedData, path: Path | str) -> None:
    """Writes a PNG with a histogram of sizes, and the labels of up to 50 clients.

    Args:
        data: The population's data.
        path: Where to write; the folder must exist.
    """
    figure = Figure(figsize=(11.0, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 2.2))
    _draw_sizes(left, data)
    _draw_labels(right, _thin(count_labels(data, MAX_BARS)), data)
    figure.savefig(path, format="png")


def _draw_sizes(axes: Axes, data: FederatedData) -> None:
    least, most = int(data.sizes.min()), int(data.sizes.max())
    width = max(1, -(-(most - least + 1) // 30))
    num_bins = (most - least) // width + 1
    axes.hist(data.sizes, bins=(least - 0.5 + width * np.arange(num_bins + 1)).tolist(), color=_CLASS_COLOURS[0])
    axes.margins(x=max(0.05, 3.0 / (num_bins + 5)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("examples of a client")
    axes.set_ylabel("clients")
    axes.set_title(f"{data.num_clients:,} clients, {int(data.sizes.sum()):,} examples", fontsize=11)


def _thin(labels: Labels) -> Labels:
    chosen = np.unique(np.linspace(0, len(labels.clients) - 1, min(MAX_BARS, len(labels.clients))).astype(np.int64))
    return Labels(clients=labels.clients[chosen], counts=labels.counts[chosen], names=labels.names)


def _draw_labels(axes: Axes, labels: Labels, data: FederatedData) -> None:
    shares = labels.counts / np.maximum(labels.counts.sum(axis=1, keepdims=True), 1)
    places, base = np.arange(len(shares)), np.zeros(len(shares))
    for k, (name, colour) in enumerate(zip(labels.names, _colours(data, len(labels.names)), strict=True)):
        label = name if len(labels.names) <= 12 or k in (0, len(labels.names) - 1) else None
        axes.bar(
            places, shares[:, k], bottom=base, width=1.0, color=colour, edgecolor="white", linewidth=0.4, label=label
        )
        base += shares[:, k]
    step = -(-len(places) // 10)
    axes.set_xticks(places[::step], [str(c) for c in labels.clients[::step]])
    axes.set_xlabel("client")
    axes.set_ylabel("share of its examples")
    axes.set_ylim(0.0, 1.0)
    axes.margins(x=0.01)
    what = "labels" if data.spec.task == "classification" else "quantiles of the targets"
    some = "" if len(labels.clients) == data.num_clients else f" of {len(labels.clients)} clients"
    axes.set_title(what + some, fontsize=11)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)


def _colours(data: FederatedData, num: int) -> list[str]:
    """Distinct colours for a few classes; an ordered scale from dark to light for bins and for many classes."""
    if data.spec.task == "classification" and num <= len(_CLASS_COLOURS):
        return list(_CLASS_COLOURS[:num])
    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(v)) for v in np.linspace(0.0, 1.0, num)]
