"""A run in virtual time as a picture: a round of devices, the metric over virtual hours, who took part how often."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fedray.report.curves import BLUE, GREEN, ORANGE
from fedray.report.duration import span
from fedray.report.timeline import Timeline

_PHASES = (("download_s", "#56B4E9", "receives"), ("compute_s", BLUE, "trains"), ("upload_s", GREEN, "sends"))
_MARKS = {"late": ("#999999", "|"), "vanished": (ORANGE, "x"), "abandoned": ("#999999", "|")}
_MOST = 400
"""Devices drawn of a round; of more, every so-manieth."""


def draw(found: Timeline, title: str) -> Figure:
    """The picture, as a matplotlib figure that belongs to no window."""
    figure = Figure(figsize=(11.0, 7.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    is_asynchronous = set(found.staleness) - {0}
    widths = (3, 2, 2) if is_asynchronous else (3, 2)
    grid = figure.add_gridspec(2, len(widths), height_ratios=(4.4, 3.2), width_ratios=widths)
    _gantt(figure.add_subplot(grid[0, :]), found)
    metric, fairness = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    if is_asynchronous:
        _staleness(figure.add_subplot(grid[1, 2]), found)
    _metric(metric, found)
    _participation(fairness, found)
    for axes in (metric, fairness):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.suptitle(f"{title}: {len(found.rounds)} rounds in {span(found.end_s)} of virtual time")
    return figure


def plot(found: Timeline, path: Path, title: str) -> None:
    """Writes the picture to a PNG file."""
    draw(found, title).savefig(path, format="png")


def _gantt(axes: Any, found: Timeline) -> None:
    rows = found.devices.sort_values("until_s", kind="stable").reset_index(drop=True)
    rows = rows.iloc[:: max(1, -(-len(rows) // _MOST))].reset_index(drop=True)
    places, begin = np.arange(len(rows)), (rows["started_s"] - found.shown.begin_s).to_numpy()
    until = (rows["until_s"] - found.shown.begin_s).to_numpy()
    first = float(begin.min(initial=0.0))
    for column, colour, _ in _PHASES:
        end = np.minimum(begin + rows[column].to_numpy(dtype=float), until)
        axes.barh(
            places, np.maximum(0, end - begin), left=begin, color=colour, height=1.0, linewidth=0, antialiased=False
        )
        begin = end
    legend = [Patch(color=colour, label=label) for _, colour, label in _PHASES]
    for fate, (colour, mark) in _MARKS.items():
        hit = (rows["fate"] == fate).to_numpy()
        if hit.any():
            legend.append(axes.scatter(until[hit], places[hit], color=colour, marker=mark, s=24, zorder=3, label=fate))
    shown = found.shown
    axes.axvline(shown.end_s - shown.begin_s, color="black", linestyle=":", linewidth=1)
    axes.set(
        title=f"round {shown.round}, begun at {span(shown.begin_s)}: dotted, its end",
        xlabel="virtual seconds since the round began",
        ylabel="devices, by their last moment",
        xlim=(min(0.0, first), None),
        ylim=(-1, len(rows)),
    )
    axes.set_yticks([])
    axes.legend(handles=legend, frameon=False, loc="upper left" if first < 0 else "lower right")
    axes.spines[["top", "right"]].set_visible(False)


def _metric(axes: Any, found: Timeline) -> None:
    told = [(each.end_s / 3600, each.metric) for each in found.rounds if each.metric is not None]
    if told:
        axes.plot(*zip(*told, strict=True), color=BLUE, marker="." if len(told) < 60 else None)
    axes.set(title=f"test {found.metric or 'metric'}", xlabel="virtual hours")


def _participation(axes: Any, found: Timeline) -> None:
    never = found.population - sum(found.taken_part.values())
    counts = {0: never, **found.taken_part}
    axes.bar(list(counts), list(counts.values()), color=BLUE, width=0.9)
    axes.set(title=f"updates that counted (Jain's index {found.fairness:.2f})", xlabel="times", ylabel="clients")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _staleness(axes: Any, found: Timeline) -> None:
    axes.bar(list(found.staleness), list(found.staleness.values()), color=BLUE, width=0.9)
    axes.set(title="staleness", xlabel="steps of the server", ylabel="updates")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
