"""Wall time and lost rounds over the interval between checkpoints."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from fedray.report.curves import BLUE, GREEN, ORANGE


def figure(
    points: Sequence[tuple[float, float, int]],
    predicted_s: Callable[[float], float],
    ends_s: tuple[float, float],
    optimum_s: float,
) -> Figure:
    """Both panels.

    Args:
        points: Interval in seconds, wall seconds of the run, rounds that were computed again.
        predicted_s: What the wall time should be, by interval.
        ends_s: Wall seconds of a round, and of all rounds without kills and checkpoints; intervals below the first mean
            after every round and those above the second never, and are drawn there.
        optimum_s: The best interval by theory.
    """
    drawing = Figure(figsize=(10, 4), layout="constrained")
    left, right = drawing.subplots(1, 2)
    intervals, walls, lost = zip(*points, strict=True)
    places = np.clip(intervals, *ends_s)
    smooth = np.geomspace(*ends_s, 100)
    left.plot(smooth, [predicted_s(every_s) for every_s in smooth.tolist()], color=ORANGE, label="predicted")
    left.plot(places, walls, color=BLUE, marker="o", label="measured")
    left.axhline(ends_s[1], color="grey", linestyle=":", label="without kills and checkpoints")
    left.set(ylabel="wall time of the run, s", ylim=(0, None))
    right.plot(places, lost, color=BLUE, marker="o", label="measured")
    right.set(ylabel="rounds computed again", ylim=(0, None))
    for axes in (left, right):
        axes.axvline(optimum_s, color=GREEN, linestyle="--", label="optimum of Young and Daly")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50, 100]))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("seconds between checkpoints (left: every round, right: never)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return drawing
