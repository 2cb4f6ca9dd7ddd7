"""A run in virtual time as tables and sentences."""

import numpy as np
from rich.console import Console
from rich.table import Table

from fedray.report.amount import energy
from fedray.report.duration import span
from fedray.report.timeline import RoundTime, Timeline
from fedray.simulation.policy import MISSED

_NOTHING = ("0", "", "0.0 s")
_EDGE = 10
"""Rounds shown from the start and from the end of a long run."""


def show(console: Console, found: Timeline, name: str) -> None:
    """Prints a timeline.

    Args:
        console: Where to.
        found: What to print.
        name: The run's name.
    """
    table = Table(title=f"{name}: {len(found.rounds)} rounds in {span(found.end_s)} of virtual time")
    cells = {each.round: _cells(each, found.metric) for each in found.rounds}
    columns = [name for name in next(iter(cells.values())) if any(row[name] not in _NOTHING for row in cells.values())]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    many = len(found.rounds) > 2 * _EDGE
    shown = [*found.rounds[:_EDGE], *found.rounds[-_EDGE:]] if many else found.rounds
    for place, each in enumerate(shown):
        row = cells[each.round]
        table.add_row(*(row[name] for name in columns), end_section=many and place == _EDGE - 1)
    console.print(table)
    for line in sentences(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cells(each: RoundTime, metric: str | None) -> dict[str, str]:
    """Column to text; a column of nothing is not shown."""
    counted = each.fates.get("ok", 0) + each.fates.get("retried", 0)
    return {
        "round": str(each.round),
        "waited": span(each.begin_s - each.selecting_s),
        "begins": span(each.begin_s),
        "takes": span(each.end_s - each.begin_s),
        "counted": f"{counted:,}" if each.committed else "none",
        **{fate: f"{each.fates.get(fate, 0):,}" for fate in MISSED},
        "MB": f"{(each.bytes['down'] + each.bytes['up']) / 1e6:,.1f}",
        metric or "metric": "" if each.metric is None else f"{each.metric:.4f}",
    }


def sentences(found: Timeline) -> list[str]:
    """What the table does not say: sums over the run, and how evenly clients took part."""
    fates, rounds = found.fates, found.rounds
    selected, counted = sum(fates.values()), fates.get("ok", 0) + fates.get("retried", 0)
    missed = ", ".join(f"{fates.get(fate, 0):,} {fate}" for fate in MISSED)
    moved = {way: sum(each.bytes[way] for each in rounds) / 1e6 for way in ("down", "up", "lost")}
    abandoned = sum(not each.committed for each in rounds)
    joules = sum(each.joules for each in rounds)
    lines = [
        f"selected     {selected:,} times a device, {counted:,} updates counted ({missed})",
        f"network      {moved['down']:,.1f} MB down, {moved['up']:,.1f} MB up, {moved['lost']:,.1f} MB of them lost",
        f"devices      {span(sum(each.device_s for each in rounds))} of their time"
        + (f", {energy(joules)}" if joules else ""),
        f"took part    {sum(found.taken_part.values()):,} of {found.population:,} clients; Jain's index "
        f"{found.fairness:.2f} (1: all alike)",
    ]
    if set(found.staleness) - {0}:
        steps = np.repeat(list(found.staleness), list(found.staleness.values()))
        lines.append(f"staleness    median {np.median(steps):g} steps of the server, at most {steps.max()}")
    return [*lines, f"abandoned    {abandoned} of {len(rounds)} rounds"] if abandoned else lines
