"""The profile of a run as a picture: seconds by step over the rounds, and shares of the whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedray.report.breakdown import RoundCost
from fedray.report.profile import UNACCOUNTED, Profile, unaccounted_s

COLOURS = {
    "train": "#0072B2",
    "put": "#E69F00",
    "aggregate": "#D55E00",
    "server": "#CC79A7",
    "evaluate": "#009E73",
    "record": "#56B4E9",
    "checkpoint": "#000000",
    "sample, schedule": "#F0E442",
    "other": "#882255",
    UNACCOUNTED: "#BBBBBB",
}
"""Colours of Okabe and Ito, told apart by colour-blind people too, https://jfly.uni-koeln.de/color, and two more."""
_JOINED = {"sample": "sample, schedule", "schedule": "sample, schedule"}
_CUT, _MOST_CUT = 3.0, 4
"""At so many times the third quartile the axis ends, if no more rounds than these are longer."""
_MANY_ROUNDS = 60
"""From so many rounds on, areas instead of bars."""


def layer(step: str) -> str:
    """What of the picture a step belongs to."""
    name = _JOINED.get(step, step)
    return name if name in COLOURS else "other"


def layers(costs: Sequence[RoundCost]) -> dict[str, Any]:
    """Seconds of each round by layer of the picture, those that never happen left out: arrays of shape (rounds,)."""
    found = {name: np.zeros(len(costs)) for name in COLOURS}
    for position, cost in enumerate(costs):
        for step, seconds in cost.seconds.items():
            found[layer(step)][position] += seconds
        found[UNACCOUNTED][position] = unaccounted_s(cost)
    return {name: seconds for name, seconds in found.items() if seconds.any()}


def draw(profile: Profile, title: str) -> Figure:
    """The picture, as a matplotlib figure that belongs to no window."""
    figure = Figure(figsize=(11.0, 5.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    over_rounds, shares = figure.subplots(2, 1, height_ratios=(4.2, 1.0))
    found = layers(profile.rounds)
    _draw_rounds(over_rounds, [cost.round for cost in profile.rounds], found)
    _draw_shares(shares, found)
    figure.suptitle(f"{title}: {profile.wall_s:.1f} s, {profile.clients_per_s:,.0f} clients/s")
    return figure


def plot(profile: Profile, path: Path, title: str) -> None:
    """Writes the picture to a PNG file."""
    draw(profile, title).savefig(path, format="png")


def _draw_rounds(axes: Any, rounds: list[int], found: dict[str, Any]) -> None:
    bottom = np.zeros(len(rounds))
    for name, seconds in found.items():
        if len(rounds) >= _MANY_ROUNDS:
            axes.fill_between(rounds, bottom, bottom + seconds, color=COLOURS[name], label=name, linewidth=0)
        else:
            axes.bar(rounds, seconds, bottom=bottom, color=COLOURS[name], label=name, width=0.85)
        bottom = bottom + seconds
    axes.set(xlabel="round", ylabel="seconds", ylim=(0, None), xlim=(rounds[0] - 0.6, rounds[-1] + 0.6))
    cut(axes, rounds, bottom)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def cut(axes: Any, rounds: list[int], tops: Any, times: float = _CUT) -> None:
    """Cuts off a few rounds that are so slow that the others could not be seen, and writes their time beside them.

    Args:
        axes: Seconds over rounds.
        rounds: Round numbers.
        tops: Seconds of each, shape (rounds,).
        times: At so many times the third quartile the axis ends, or higher, where the slowest of the others does.
    """
    limit = times * float(np.percentile(tops, 75))
    slow = np.flatnonzero(tops > 1.2 * limit)
    if not 0 < len(slow) <= _MOST_CUT or not limit:
        return
    limit = max(limit, 1.05 * float(np.delete(tops, slow).max()))  # what is not slow is whole
    axes.set_ylim(0, limit)
    for position in slow:
        text, place = f"{tops[position]:.2f} s", (rounds[position], limit)
        axes.annotate(text, place, (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=9)


def _draw_shares(axes: Any, found: dict[str, Any]) -> None:
    whole = sum(float(seconds.sum()) for seconds in found.values()) or 1.0
    left = 0.0
    for name, seconds in found.items():
        share = 100 * float(seconds.sum()) / whole
        axes.barh(0, share, left=left, color=COLOURS[name])
        if share >= 4:
            dark = name in ("train", "aggregate", "checkpoint", "other", "evaluate")
            axes.text(
                left + share / 2, 0, f"{share:.0f} %", ha="center", va="center", color="white" if dark else "black"
            )
        left += share
    axes.set(xlim=(0, 100), yticks=[], xlabel="share of the wall time in %")
    axes.spines[["top", "right", "left"]].set_visible(False)
