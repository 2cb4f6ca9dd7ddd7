"""What went wrong in a run as a picture: when, how long until it was made good, and what the rounds took."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from fedray.report.explain import Explanation, RoundStory
from fedray.report.explain_events import happened
from fedray.report.profile_figure import cut
from fedray.simulation.faults.event import FaultEvent

UNDISTURBED, DISTURBED, MENDING = "#0072B2", "#D55E00", "#56B4E9"
"""Colours of Okabe and Ito, told apart by colour-blind people too, https://jfly.uni-koeln.de/color."""
_MANY_ROUNDS = 150
"""From so many rounds on, lines without gaps instead of bars."""
_FAR = 10.0
"""At so many times the third quartile the axis ends, where a few rounds are longer."""
_MANY_EVENTS = 200
"""From so many events of a kind on, thinner marks."""


def draw(found: Explanation, title: str) -> Figure:
    """The picture, as a matplotlib figure that belongs to no window."""
    lanes = _lanes(found)
    height = 0.9 + 0.34 * max(2, len(lanes))
    figure = Figure(figsize=(11.0, height + 3.3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    over_time, over_rounds = figure.subplots(2, 1, height_ratios=(height, 2.9))
    _draw_events(over_time, lanes, found)
    _draw_rounds(over_rounds, found)
    events = sum(map(len, lanes.values()))
    figure.suptitle(f"{title}: {events:,} fault{'' if events == 1 else 's'} in {_count(len(found.rounds))}")
    return figure


def plot(found: Explanation, path: Path, title: str) -> None:
    """Writes the picture to a PNG file."""
    draw(found, title).savefig(path, format="png")


def _count(rounds: int) -> str:
    return f"{rounds:,} round{'' if rounds == 1 else 's'}"


def _lanes(found: Explanation) -> dict[str, list[FaultEvent]]:
    """Kind to what happened of it at a known time, in the order of the table."""
    timed = [e for e in found.events if happened(e) and (e.injected_at is not None or e.detected_at is not None)]
    lanes = {cost.kind: [event for event in timed if event.kind == cost.kind] for cost in found.kinds}
    return {kind: events for kind, events in lanes.items() if events}


def _draw_events(axes: Any, lanes: dict[str, list[FaultEvent]], found: Explanation) -> None:
    for lane, events in enumerate(lanes.values()):
        _draw_lane(axes, lane, events, found.started)
    axes.set(xlabel="seconds since the start of the run", xlim=_span(found), ylim=(max(1, len(lanes)) - 0.4, -0.6))
    axes.set_yticks(range(len(lanes)), list(lanes))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    if not lanes:
        axes.text(0.5, 0.5, "nothing went wrong", transform=axes.transAxes, ha="center", va="center")
        return
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    axes.legend(named.values(), named.keys(), frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_lane(axes: Any, lane: int, events: list[FaultEvent], started: float) -> None:
    injected = [e.injected_at - started for e in events if e.injected_at is not None]
    spans = [(e.detected_at, e.recovered_at) for e in events]
    mended = [(begin - started, end - started) for begin, end in spans if begin is not None and end is not None]
    open_ = [begin - started for begin, end in spans if begin is not None and end is None]
    thin = len(events) >= _MANY_EVENTS
    if mended:
        begins, ends = zip(*mended, strict=True)
        axes.hlines(
            [lane + 0.13] * len(mended), begins, ends, color=MENDING, linewidth=7, label="from found to made good"
        )
        marks = {"color": MENDING, "linestyle": "none", "marker": "|", "markersize": 7, "markeredgewidth": 1.0}
        axes.plot(begins, [lane + 0.13] * len(mended), **marks)  # a bar of no width is seen too
    if injected:
        axes.plot(
            injected,
            [lane - 0.17] * len(injected),
            color=DISTURBED,
            linestyle="none",
            marker="|" if thin else "v",
            markersize=6,
            markeredgewidth=0.8 if thin else 0.0,
            label="injected",
        )
    if open_:
        axes.plot(
            open_,
            [lane + 0.13] * len(open_),
            color="black",
            linestyle="none",
            marker="x",
            markersize=4 if thin else 5,
            markeredgewidth=0.8 if thin else 1.2,
            label="found, not made good",
        )


def _span(found: Explanation) -> tuple[float, float]:
    """Of the time axis: from the start to the last sign of the run, and a little around."""
    times = [story.time for story in found.rounds]
    times += [time for event in found.events for time in (event.injected_at, event.detected_at, event.recovered_at)]
    width = max((time - found.started for time in times if time is not None), default=0.0) or 1.0
    return -0.015 * width, 1.015 * width


def _draw_rounds(axes: Any, found: Explanation) -> None:
    axes.set(xlabel="round", ylabel="seconds of the round")
    axes.spines[["top", "right"]].set_visible(False)
    if not found.rounds:
        axes.text(0.5, 0.5, "no round was recorded", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return
    rounds = [story.round for story in found.rounds]
    for wanted, colour, label in ((False, UNDISTURBED, "undisturbed"), (True, DISTURBED, "disturbed")):
        _draw_bars(axes, [story for story in found.rounds if story.is_disturbed is wanted], len(rounds), colour, label)
    if found.median_s is not None:
        axes.axhline(found.median_s, color="black", linewidth=1.0, linestyle="--", label="median, undisturbed")
    around = max(0.6, 0.01 * len(rounds), 2.0 if len(rounds) == 1 else 0.0)
    axes.set(ylim=(0, None), xlim=(rounds[0] - around, rounds[-1] + around))
    cut(axes, rounds, np.array([story.wall_s for story in found.rounds]), _FAR)
    axes.xaxis.set_major_locator(FixedLocator(rounds) if len(rounds) <= 12 else MaxNLocator(nbins=12, integer=True))
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_bars(axes: Any, stories: list[RoundStory], num: int, colour: str, label: str) -> None:
    if not stories:
        return
    rounds, seconds = [story.round for story in stories], [story.wall_s for story in stories]
    if num >= _MANY_ROUNDS:
        axes.vlines(rounds, 0, seconds, color=colour, linewidth=max(1.0, 600 / num), label=label)
    else:
        axes.bar(rounds, seconds, color=colour, width=0.85, label=label)
