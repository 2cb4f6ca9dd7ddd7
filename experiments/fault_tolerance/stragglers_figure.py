"""What slow and hung actors cost."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from fedray.report.curves import BLUE, ORANGE


def figure(times: Mapping[int, float], lost: Mapping[str, float]) -> Figure:
    """Slow actors on the left, hung ones on the right.

    Args:
        times: How many times slower to wall seconds of all rounds; 1 for the run left alone.
        lost: Deadline to wall seconds that each hang cost.
    """
    drawing = Figure(figsize=(10, 4), layout="constrained")
    left, right = drawing.subplots(1, 2)
    names = ["left alone" if factor == 1 else f"{factor} times" for factor in times]
    left.bar_label(left.bar(names, list(times.values()), color=BLUE), fmt="%.1f", padding=2)
    left.set(
        title="an actor slow for 2 s in every second round",
        xlabel="how much slower",
        ylabel="wall time of eight rounds, s",
    )
    deadlines = [name if name == "auto" else f"{name} s" for name in lost]
    right.bar_label(right.bar(deadlines, list(lost.values()), color=ORANGE), fmt="%.1f", padding=2)
    right.set(title="an actor stopped for good", xlabel="failures.deadline", ylabel="wall time lost for each hang, s")
    for axes in (left, right):
        axes.margins(y=0.1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, axis="y")
    return drawing
