"""The curves of a run over its rounds."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
"""Colours of Okabe and Ito, told apart by colour-blind people too."""

_PREFERRED = ("rmse", "auprc", "accuracy", "balanced_accuracy", "mae")


def figure(history: "pd.DataFrame", title: str) -> Any:
    """Loss, the main metric of the test set, and speed, side by side.

    Args:
        history: One row a round, as in `Result.history`.
        title: Name of the run.

    Returns:
        A matplotlib figure that belongs to no window.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12, 3.6), layout="constrained")
    losses, metric, speed = drawing.subplots(1, 3)
    for column, colour, label in (("train/loss", BLUE, "training"), ("test/loss", ORANGE, "test")):
        _line(losses, history, column, colour, label)
    losses.set(title="loss", xlabel="round")
    losses.legend(frameon=False)
    name = next((n for n in _PREFERRED if f"test/{n}" in history or f"clients/{n}" in history), None)
    if name is not None:
        _line(metric, history, f"test/{name}", ORANGE, "test set")
        _line(metric, history, f"clients/{name}", GREEN, "clients' own examples")
        metric.set(title=name.replace("_", " "), xlabel="round")
        metric.legend(frameon=False)
    if "seconds/train" in history:
        rate = history["trained"] / history["seconds/train"]
        speed.plot(rate.index, rate.to_numpy(), color=BLUE)
        speed.set(title="clients trained per second", xlabel="round", ylim=(0, None))
    for axes in (losses, metric, speed):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    drawing.suptitle(title)
    return drawing


def _line(axes: Any, history: "pd.DataFrame", column: str, colour: str, label: str) -> None:
    if column in history:
        values = history[column].dropna()
        axes.plot(values.index, values.to_numpy(), color=colour, label=label)
