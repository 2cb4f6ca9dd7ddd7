"""What a run cost as a picture: a metric over virtual hours, bytes and device-hours."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fedray.report.costs import Costs
from fedray.report.curves import BLUE, ORANGE

_HOUR, _MB = 3600.0, 1e6


def draw(found: Costs, title: str) -> Figure:
    """The picture, as a matplotlib figure that belongs to no window."""
    target = found.outcomes[0].target if found.outcomes else None
    name = target.metric if target else found.main_metric or "train/loss"
    spent = _axes(found)
    figure = Figure(figsize=(4.2 * len(spent.columns), 3.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    values = found.metrics.reindex(columns=[name])[name].dropna()
    for axes, label in zip(figure.subplots(1, len(spent.columns), squeeze=False)[0], spent, strict=True):
        axes.plot(spent[label].loc[values.index], values, color=BLUE, marker="." if len(values) < 60 else None)
        axes.set(xlabel=label, xlim=(0, None))
        _target(axes, found)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel(name)
    figure.suptitle(f"{title}: {name} over what it cost{f' (dashed: {target})' if target else ''}")
    return figure


def plot(found: Costs, path: Path, title: str) -> None:
    """Writes the picture to a PNG file."""
    draw(found, title).savefig(path, format="png")


def _axes(found: Costs) -> pd.DataFrame:
    """Label to what had been spent by each round; without devices, of whoever simulates."""
    spent = found.spent
    if not found.has_devices:
        return pd.DataFrame({"wall seconds": spent["wall_s"], "MB moved by the simulation": spent["moved_bytes"] / _MB})
    return pd.DataFrame(
        {
            "virtual hours": spent["virtual_s"] / _HOUR,
            "MB down and up": (spent["bytes_down"] + spent["bytes_up"]) / _MB,
            "device-hours": spent["device_s"] / _HOUR,
        }
    )


def _target(axes: Any, found: Costs) -> None:
    """A dashed line at the first target, and a mark where it was reached."""
    if not found.outcomes:
        return
    outcome = found.outcomes[0]
    axes.axhline(outcome.target.value, color="black", linestyle="--", linewidth=1)
    if outcome.is_reached:
        axes.plot(_axes(found)[axes.get_xlabel()][outcome.round], outcome.metric, "o", color=ORANGE)
