"""Good updates of each round, fedray and Flower side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fedray.report.curves import BLUE, ORANGE

_WIDTH = 0.38


def figure(fedray: Sequence[Sequence[int]], flower: Sequence[Sequence[int]]) -> Figure:
    """Bars of the means, with the least and the most of all runs above them.

    Args:
        fedray: Good updates, runs x rounds.
        flower: The same.
    """
    drawing = Figure(figsize=(7, 4), layout="constrained")
    axes = drawing.subplots()
    for side, counts, colour, label in ((-0.5, fedray, BLUE, "fedray"), (0.5, flower, ORANGE, "Flower")):
        means = np.mean(counts, axis=0)
        places = np.arange(1, len(means) + 1) + side * _WIDTH
        bars = axes.bar(places, means, _WIDTH, color=colour, label=f"{label}, mean of {len(counts)} runs")
        least, most = np.min(counts, axis=0), np.max(counts, axis=0)
        spans = [f"{low}" if low == high else f"{low} to {high}" for low, high in zip(least, most, strict=True)]
        axes.bar_label(bars, spans, padding=2)
    axes.set(
        title="one of four client actors killed in round 1",
        xlabel="round",
        ylabel="good updates of 20 clients",
        xticks=range(1, len(means) + 1),
        ylim=(0, 25),
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False, loc="upper right", ncols=2)
    return drawing
