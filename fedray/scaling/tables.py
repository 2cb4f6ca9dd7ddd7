"""The results of a study as tables: on the terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from fedray.scaling.analysis import Analysis, Fitted
from fedray.scaling.efficiency import Efficiency
from fedray.scaling.grid import Setup
from fedray.scaling.model import COEFFICIENTS
from fedray.scaling.words import sentences

_NONE = "-"
_COEFFICIENT = "cost model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table.

    Attributes:
        title: What it shows.
        columns: Its head.
        rows: Its cells.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def show(console: Console, analysis: Analysis) -> None:
    """Prints the tables, then the sentences."""
    for sheet in sheets(analysis):
        table = Table(title=sheet.title)
        for column in sheet.columns:
            table.add_column(column, justify="left" if column == _COEFFICIENT else "right")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    for line in sentences(analysis):
        console.print(f"- {line}", highlight=False, markup=False, soft_wrap=True)


def markdown(analysis: Analysis) -> str:
    """The tables and sentences for a README."""
    parts: list[str] = [f"# {analysis.name}"]
    for sheet in sheets(analysis):
        head = [f"| {' | '.join(sheet.columns)} |", f"|{'---|' * len(sheet.columns)}"]
        parts.append("\n".join([f"**{sheet.title}**", "", *head, *(f"| {' | '.join(row)} |" for row in sheet.rows)]))
    parts.append("\n".join(f"- {line}" for line in sentences(analysis)))
    return "\n\n".join(parts) + "\n"


def sheets(analysis: Analysis) -> list[Sheet]:
    """All tables."""
    found = [_times(analysis), _shares(analysis)]
    if analysis.fitted is not None:
        found.append(_coefficients(analysis.fitted))
    if analysis.fitted is not None and analysis.fitted.checks:
        found.append(_checks(analysis.fitted))
    return found


def _times(analysis: Analysis) -> Sheet:
    strong, weak, fitted = _by_setup(analysis.strong), _by_setup(analysis.weak), analysis.fitted
    rows = [
        (
            *_names(analysis, setup),
            f"{1000 * cost.round_s:,.1f}",
            _NONE if fitted is None else f"{1000 * fitted.model.predict(cost.load).round_s:,.1f}",
            f"{cost.clients_per_s:,.0f}",
            _percent(strong.get(setup)),
            _percent(weak.get(setup)),
        )
        for setup, cost in analysis.costs.items()
    ]
    columns = (*_heads(analysis), "round ms", "model", "clients/s", "strong %", "weak %")
    repeats = len(analysis.measurements) // len(analysis.costs)
    times = "1 repeat" if repeats == 1 else f"{repeats} repeats"
    title = f"{analysis.name}: a round and the efficiency of its actors, medians of {times}"
    return Sheet(title=title, columns=columns, rows=rows)


def _shares(analysis: Analysis) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for setup, cost in analysis.costs.items():
        whole = cost.round_s or 1.0
        used = cost.busy_s / (cost.train_s * cost.load.slots) if cost.train_s else 0.0
        parts = (cost.train_s / whole, cost.transfer_s / whole, cost.driver_s / whole, used)
        cells = (*(f"{100 * part:.1f}" for part in parts), str(cost.load.blocks), f"{cost.bytes / 1e6:,.2f}")
        rows.append((*_names(analysis, setup), *cells))
    columns = (*_heads(analysis), "train %", "move %", "driver %", "busy %", "blocks", "MB")
    return Sheet(title=f"{analysis.name}: where a round goes", columns=columns, rows=rows)


def _heads(analysis: Analysis) -> tuple[str, ...]:
    return ("clients", "actors", "nodes") if _many_nodes(analysis) else ("clients", "actors")


def _names(analysis: Analysis, setup: Setup) -> tuple[str, ...]:
    mark = " *" if setup in analysis.oversubscribed else ""
    nodes = (str(setup.nodes),) if _many_nodes(analysis) else ()
    return (f"{setup.clients:,}", f"{setup.actors}{mark}", *nodes)


def _many_nodes(analysis: Analysis) -> bool:
    return len({setup.nodes for setup in analysis.costs}) > 1


def _by_setup(entries: Sequence[Efficiency]) -> dict[Setup, Efficiency]:
    return {entry.setup: entry for entry in entries}


def _percent(entry: Efficiency | None) -> str:
    return _NONE if entry is None else f"{100 * entry.efficiency:.0f}"


def _coefficients(fitted: Fitted) -> Sheet:
    rows = [
        (what, *(f"{1e6 * value:,.2f}" for value in (fitted.model.seconds[name], *fitted.intervals[name])))
        for name, what in COEFFICIENTS.items()
    ]
    title = f"fitted to {len(fitted.setups)} setups, with 90 % bootstrap intervals"
    return Sheet(title=title, columns=(_COEFFICIENT, "µs", "from", "to"), rows=rows)


def _checks(fitted: Fitted) -> Sheet:
    rows = [
        (
            f"{check.setup.clients:,}",
            str(check.setup.actors),
            f"{1000 * check.measured_s:,.1f}",
            f"{1000 * check.predicted_s:,.1f}",
            f"{100 * check.error:+.1f}",
        )
        for check in fitted.checks
    ]
    columns = ("clients", "actors", "measured ms", "predicted ms", "error %")
    return Sheet(title="fitted to the smaller half, predicts the larger", columns=columns, rows=rows)
