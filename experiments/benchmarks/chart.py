"""The picture: speed and memory of every runner on every workload."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.benchmarks.summary import Row
from experiments.benchmarks.tables import figures

COLOURS = {
    "fedray": "#0072B2",
    "Flower": "#E69F00",
    "pfl-research": "#009E73",
    "plain loop, 1 process": "#BBBBBB",
    "plain loop": "#999999",
    "stacked floor": "#CC79A7",
}
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


def draw(found: Sequence[Row], path: Path) -> None:
    """Speed above, on a logarithmic axis, with least and most; memory below."""
    workloads = list(dict.fromkeys(row.workload for row in found))
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.4 * len(workloads) + 1.2, 5.6), layout="constrained")
        axes = figure.subplots(2, len(workloads), squeeze=False, sharey="col")
        for column, name in enumerate(workloads):
            rows = [row for row in found if row.workload == name][::-1]
            _speed(axes[0, column], rows, name)
            _memory(axes[1, column], rows)
        figure.savefig(path, dpi=150)


def _speed(axes: Axes, rows: Sequence[Row], title: str) -> None:
    names, values = [row.family for row in rows], [row.speed[0] for row in rows]
    errors = [[row.speed[0] - row.speed[1] for row in rows], [row.speed[2] - row.speed[0] for row in rows]]
    bars = axes.barh(
        names, values, xerr=errors, color=[COLOURS[n] for n in names], error_kw={"elinewidth": 1, "ecolor": "#333333"}
    )
    axes.bar_label(bars, [figures(value) for value in values], padding=6)
    axes.set_xscale("log")
    axes.set_xlim(10 ** math.floor(math.log10(min(values) / 2)), max(values) * 12)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(title=title, xlabel="clients per second (log)")


def _memory(axes: Axes, rows: Sequence[Row]) -> None:
    values = [(row.peak_bytes or 0) / 1e6 for row in rows]
    bars = axes.barh([row.family for row in rows], values, color=[COLOURS[row.family] for row in rows])
    axes.bar_label(bars, [figures(value) if value else "not measured" for value in values], padding=4)
    axes.set_xlim(0, max(values) * 1.3 or 1)
    axes.set_xlabel("peak memory of all processes, MB")
