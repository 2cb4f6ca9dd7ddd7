"""The soak as a picture: memory, files, threads and Ray's tables over the rounds."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fedray.report.curves import BLUE, GREEN, ORANGE

_WINDOW = 25
_PINK, _YELLOW, _SKY = "#CC79A7", "#E69F00", "#56B4E9"
_ROLES = {
    "caller": (BLUE, "caller"),
    "driver": (ORANGE, "driver"),
    "gcs_server": (GREEN, "Ray's control service"),
    "raylet": (_PINK, "raylet"),
    "nursery": (_YELLOW, "nursery"),
    "chaos actor": (_SKY, "chaos actor"),
}


def figure(samples: pd.DataFrame, round_s: pd.Series) -> Figure:
    """Six panels over the rounds.

    Args:
        samples: One row for each look, by round.
        round_s: Wall seconds of each round.
    """
    drawing = Figure(figsize=(13, 7), layout="constrained")
    (memory, files, threads), (store, actors, speed) = drawing.subplots(2, 3, sharex=True)
    for panel, what, unit in ((memory, "anonymous_bytes", 1e6), (files, "open_files", 1), (threads, "threads", 1)):
        for role, (colour, label) in _ROLES.items():
            panel.plot(samples.index, samples[f"{role}/{what}"] / unit, color=colour, label=label)
    stored = samples["store/bytes"] / 1e3
    store.plot(samples.index, stored, color=BLUE)
    actors.plot(samples.index, samples["actors/dead"], color=ORANGE, label="dead")
    actors.plot(samples.index, samples["actors/others"], color=BLUE, label="alive or starting")
    smooth = round_s.rolling(_WINDOW, min_periods=1).median()
    speed.plot(smooth.index, smooth.to_numpy(), color=BLUE)
    titles = (
        (memory, "anonymous memory, MB"),
        (files, "open files"),
        (threads, "threads"),
        (store, "object store, kB"),
        (actors, "actors in Ray's table"),
        (speed, f"seconds a round, median of {_WINDOW}"),
    )
    for panel, title in titles:
        _dress(panel, title)
    store.set_ylim(0, 1.3 * stored.max())
    actors.legend(frameon=False)
    for panel in (store, actors, speed):
        panel.set_xlabel("round; one of four client actors is killed in each")
    drawing.legend(*memory.get_legend_handles_labels(), loc="outside upper center", ncols=len(_ROLES), frameon=False)
    return drawing


def _dress(panel: Any, title: str) -> None:
    panel.margins(y=0.15)
    panel.set(title=title, ylim=(0, None))
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
