"""The comparison of two runs as a table and sentences."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedray.report.verify import Comparison, Difference

MISSING = "-"
_NAMED = 5
_DIGITS = 12


def show(console: Console, found: Comparison, names: tuple[str, str]) -> None:
    """Prints a comparison.

    Args:
        console: Where to.
        found: What to print.
        names: The names of the two runs.
    """
    table = Table(title="two runs, and where they differ" if not found.is_same else "two runs")
    for column in ("", *(names if names[0] != names[1] else ("first", "second"))):
        table.add_column(column, overflow="fold")
    round = found.compared if found.differs_from is None else found.differs_from
    table.add_row("rounds", *map(str, found.rounds))
    table.add_row(f"digest after round {round}", *(digest[:_DIGITS] for digest in found.digests), end_section=True)
    for part in (found.records, found.settings, found.versions):
        _add(table, part)
    _add(table, found.fates[:_NAMED], "client ", "not in the cohort")
    _add(table, found.training[:_NAMED], "client ")
    console.print(table)
    for line in sentences(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _add(table: Table, part: Sequence[Difference], what: str = "", missing: str = MISSING) -> None:
    for difference in part:
        cells = (Text(missing if value is None else _cell(value)) for value in (difference.first, difference.second))
        table.add_row(f"{what}{difference.name}", *cells, end_section=difference is part[-1])


def sentences(found: Comparison) -> list[str]:
    """The verdict, why, and what was not compared."""
    lines = [f"verdict      {_verdict(found)}"]
    if found.differs_from is not None:
        lines += [f"why          {reason}" for reason in _reasons(found)]
    more = abs(found.rounds[0] - found.rounds[1])
    if more:
        longer = "first" if found.rounds[0] > found.rounds[1] else "second"
        lines.append(f"rest         the {longer} run has {_count(more, 'round')} more, with nothing to compare")
    return lines


def _verdict(found: Comparison) -> str:
    if found.differs_from is None:
        return f"the same: {_count(found.compared, 'round')} compared, equal bit for bit"
    equal = found.differs_from - 1
    before = f"; {_count(equal, 'round')} before that equal bit for bit" if equal else ""
    return f"different from round {found.differs_from} on{before}"


def _reasons(found: Comparison) -> list[str]:
    """Why the runs differ, as far as their folders tell; the likeliest first."""
    reasons: list[str] = []
    if found.settings:
        reasons.append(f"settings that may change a result differ: {_names(found.settings)}")
    if found.versions:
        reasons.append(f"versions differ, which can change the last bits: {_names(found.versions)}")
    if found.records:
        reasons.append(f"round {found.differs_from} had another {' and '.join(d.name for d in found.records)}")
    strangers = [difference for difference in found.fates if None in (difference.first, difference.second)]
    if strangers:
        reasons.append(f"in the cohort of round {found.differs_from} of one run only: client {_names(strangers)}")
    fated = [difference for difference in found.fates if None not in (difference.first, difference.second)]
    if fated:
        reasons.append(f"another fate in round {found.differs_from} for client {_names(fated)}")
    if found.training:
        reasons.append(f"the training of that round went another way for client {_names(found.training)}")
    if not found.are_clients_known:
        reasons.append(f"which clients differ is not known: a ledger does not have round {found.differs_from} yet")
    if not reasons:
        reasons.append("nothing in the folders tells: settings, versions and every client's training are the same")
    return reasons


def _names(differences: Sequence[Difference]) -> str:
    named = ", ".join(difference.name for difference in differences[:_NAMED])
    more = len(differences) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _cell(value: Any) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items()) if isinstance(value, dict) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
