"""The pictures of a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from fedray.files import disk_errors
from fedray.report.profile_figure import COLOURS
from fedray.scaling.analysis import Analysis
from fedray.scaling.cost import Cost, of_measurements
from fedray.scaling.efficiency import Efficiency
from fedray.scaling.measurement import Measurement
from fedray.scaling.validation import TARGET

_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of Okabe and Ito, told apart by colour-blind people too; markers tell them apart without colours."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PARTS = (("train_s", "training", "train"), ("transfer_s", "transfer", "aggregate"), ("driver_s", "driver", "record"))


def draw_all(analysis: Analysis, folder: Path) -> list[Path]:
    """Writes all pictures that the study has numbers for.

    Args:
        analysis: The study.
        folder: Where to.

    Returns:
        The PNG files.
    """
    figures = {"round_time": _round_time(analysis), "breakdown": _breakdown(analysis)}
    if analysis.strong or analysis.weak:
        figures["efficiency"] = _efficiency(analysis)
    if analysis.fitted is not None:
        figures["predicted"] = _predicted(analysis)
    paths: list[Path] = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with disk_errors(path):
            figure.savefig(path, format="png")
        paths.append(path)
    return paths


def _figure(panels: int = 1, width: float = 8.0, height: float = 5.0) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, panels)
    for one in axes if panels > 1 else [axes]:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    return figure, axes


def _round_time(analysis: Analysis) -> Figure:
    """Round time over cohort size: a dot a setup, a line of the model for each number of actors."""
    figure, axes = _figure()
    for style, (actors, nodes) in enumerate(sorted({(setup.actors, setup.nodes) for setup in analysis.costs})):
        some = {s: c for s, c in analysis.costs.items() if (s.actors, s.nodes) == (actors, nodes)}
        crowded = any(setup in analysis.oversubscribed for setup in some)
        label = f"{actors} actor{'' if actors == 1 else 's'}"
        label += f" on {nodes} nodes" if nodes > 1 else ""
        _dots(axes, style, [(s.clients, c.round_s) for s, c in some.items()], label, crowded)
        repeats = [(m.point.setup.clients, _alone_s(m)) for m in analysis.measurements if m.point.setup in some]
        axes.plot(*zip(*repeats, strict=True), color=_colour(style), marker=".", linestyle="none", alpha=0.45)
        if analysis.fitted is not None and len(some) > 1:
            modelled = [analysis.fitted.model.predict(cost.load).round_s for cost in some.values()]
            axes.plot(
                [s.clients for s in some], modelled, color=_colour(style), linestyle="--" if crowded else "-", alpha=0.8
            )
    axes.set(xscale="log", yscale="log", xlabel="clients in a round", ylabel="seconds a round")
    axes.set_title(f"{analysis.name}: measured (medians large, repeats small), and the model (lines)")
    _plain_ticks(axes.xaxis, sorted({setup.clients for setup in analysis.costs}))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.legend(frameon=False)
    return figure


def _alone_s(measurement: Measurement) -> float:
    return of_measurements([measurement]).round_s


def _dots(axes: Any, style: int, places: Sequence[tuple[float, float]], label: str, hollow: bool) -> None:
    axes.plot(
        *zip(*places, strict=True),
        color=_colour(style),
        marker=_MARKERS[style % len(_MARKERS)],
        markersize=8,
        markerfacecolor="white" if hollow else _colour(style),
        linestyle="none",
        label=f"{label} (oversubscribed)" if hollow else label,
        zorder=3,
    )


def _colour(style: int) -> str:
    return _LINES[style % len(_LINES)]


def _efficiency(analysis: Analysis) -> Figure:
    """Efficiency over actors: the same cohort at the left, as many clients for each actor at the right."""
    figure, (left, right) = _figure(panels=2, width=11.0, height=4.6)
    _efficiency_panel(left, analysis, analysis.strong, is_strong=True)
    _efficiency_panel(right, analysis, analysis.weak, is_strong=False)
    figure.suptitle(f"{analysis.name}: efficiency (hollow: more actors than cores)")
    return figure


def _efficiency_panel(axes: Any, analysis: Analysis, entries: Sequence[Efficiency], is_strong: bool) -> None:
    axes.axhline(100, color="#999999", linewidth=1)
    groups: dict[tuple[float, int], list[Efficiency]] = {}
    for entry in entries:
        size = entry.setup.clients if is_strong else entry.setup.clients / entry.setup.actors
        groups.setdefault((size, entry.setup.nodes), []).append(entry)
    for style, ((size, nodes), some) in enumerate(sorted(groups.items())):
        places = [(entry.setup.actors, 100 * entry.efficiency) for entry in some]
        label = f"{size:,.0f} clients" if is_strong else f"{size:,.0f} clients an actor"
        label += f", {nodes} nodes" if nodes > 1 else ""
        axes.plot(*zip(*places, strict=True), color=_colour(style), linewidth=1)
        solid = [place for place, entry in zip(places, some, strict=True) if entry.setup not in analysis.oversubscribed]
        axes.plot(*zip(*places, strict=True), **_marks(style, "white"))
        if solid:
            axes.plot(*zip(*solid, strict=True), **_marks(style, _colour(style)), label=label)
    highest = max((100 * entry.efficiency for entry in entries), default=100.0)
    axes.set(xlabel="client actors", ylabel="efficiency in %", ylim=(0, max(115.0, 1.08 * highest)))
    axes.set_title("strong scaling: the same cohort" if is_strong else "weak scaling: as many clients for each actor")
    if entries:
        axes.set_xscale("log", base=2)
        _plain_ticks(axes.xaxis, sorted({entry.setup.actors for entry in entries}))
        axes.legend(frameon=False, loc="lower left")
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no such points", ha="center", transform=axes.transAxes, color="#666666")


def _marks(style: int, face: str) -> dict[str, Any]:
    marker = _MARKERS[style % len(_MARKERS)]
    return {
        "color": _colour(style),
        "marker": marker,
        "markerfacecolor": face,
        "markersize": 8,
        "linestyle": "none",
        "zorder": 3,
    }


def _breakdown(analysis: Analysis) -> Figure:
    """What part of a round each component takes, setup by setup, with the whole beside it."""
    figure, axes = _figure(width=9.0, height=max(2.8, 1.4 + 0.36 * len(analysis.costs)))
    labels: list[str] = []
    for position, (setup, cost) in enumerate(analysis.costs.items()):
        left, whole = 0.0, sum(getattr(cost, part) for part, _, _ in _PARTS) or 1.0
        for part, name, colour in _PARTS:
            share = 100 * getattr(cost, part) / whole
            first = {"label": name} if position == 0 else {}
            axes.barh(position, share, left=left, color=COLOURS[colour], height=0.75, **first)
            left += share
        axes.text(101, position, _seconds(cost), va="center", fontsize=9)
        labels.append(f"{setup}{' *' if setup in analysis.oversubscribed else ''}")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    note = "   (* more actors than cores)" if analysis.oversubscribed else ""
    axes.set(xlim=(0, 112), xlabel=f"share of a round in %{note}", xticks=range(0, 101, 20))
    axes.spines[["left"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.45, 1.0))
    figure.suptitle(f"{analysis.name}: where a round goes")
    return figure


def _seconds(cost: Cost) -> str:
    return f"{1000 * cost.round_s:,.0f} ms" if cost.round_s < 1 else f"{cost.round_s:,.2f} s"


def _predicted(analysis: Analysis) -> Figure:
    """Predicted over measured round times: those that were fitted, and those that the model had not seen."""
    figure, axes = _figure(width=6.2, height=5.6)
    fitted = analysis.fitted
    assert fitted is not None
    seen = [(analysis.costs[s].round_s, fitted.model.predict(analysis.costs[s].load).round_s) for s in fitted.setups]
    unseen = [(check.measured_s, check.predicted_s) for check in fitted.checks]
    values = [value for place in (*seen, *unseen) for value in place]
    ends = [0.7 * min(values), 1.4 * max(values)]
    axes.plot(ends, ends, color="#666666", linewidth=1)
    low, high = [(1 - TARGET) * end for end in ends], [(1 + TARGET) * end for end in ends]
    axes.fill_between(ends, low, high, color="#BBBBBB", alpha=0.35, label=f"within {100 * TARGET:.0f} %")
    _dots(axes, 0, seen, f"fitted to all {len(seen)} setups", hollow=False)
    if unseen:
        axes.plot(*zip(*unseen, strict=True), **_marks(1, "none"), label="predicted from the smaller half")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured seconds a round")
    axes.set(ylabel="predicted seconds a round", title=f"{analysis.name}: the model", aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_short))
    axes.legend(frameon=False, loc="upper left")
    return figure


def _plain_ticks(axis: Any, values: Sequence[int]) -> None:
    axis.set_major_locator(FixedLocator([float(value) for value in values]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_whole))


def _short(value: float, _position: int) -> str:
    return f"{value:g}"


def _whole(value: float, _position: int) -> str:
    return f"{value:,.0f}"
