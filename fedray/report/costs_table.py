"""What a run cost, as sentences and tables."""

from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from fedray.report.amount import energy, number, percent, size
from fedray.report.costs import Costs
from fedray.report.costs_clients import COUNTED
from fedray.report.costs_target import Outcome
from fedray.report.duration import span

_HOUR = 3600.0
_EACH: dict[str, tuple[str, Callable[[float], str]]] = {
    "rounds": ("rounds", number),
    "seconds": ("training, wall time", lambda seconds: f"{number(1000 * seconds)} ms"),
    "device_s": ("device time", span),
    "bytes_down": ("bytes down", size),
    "bytes_up": ("bytes up", size),
    "joules": ("energy", energy),
}
"""Measure to its name and how its amounts are written."""


def show(console: Console, found: Costs, name: str) -> None:
    """Prints what a run cost.

    Args:
        console: Where to.
        found: What to print.
        name: The run's name.
    """
    console.print(_clients(found, name))
    for line in (*sentences(found), *map(_target, found.outcomes)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def sentences(found: Costs) -> list[str]:
    """The run in all."""
    total, clients = found.total, found.clients
    moved = f", {size(total['moved_bytes'])} moved by the simulation" if total["moved_bytes"] else ""
    missed = ", ".join(f"{num:,} {fate}" for fate, num in clients.fates.items() if fate not in COUNTED)
    lines = [
        f"rounds       {len(found.spent):,} in {span(total['wall_s'])} of wall time{moved}",
        *(_virtual(found) if found.has_devices else ["devices      none, so no virtual costs; set devices for them"]),
        *(
            [f"servers      {size(total['bytes_between'])} up and down between them"]
            if "bytes_between" in total
            else []
        ),
        f"updates      {clients.num_counted:,} counted" + (f"; others did not: {missed}" if missed else ""),
        *(_wasted(found) if missed else []),
    ]
    left_out = f"left out     rounds after the last checkpoint: {found.left_out:,}"
    return [*lines, left_out] if found.left_out else lines


def _virtual(found: Costs) -> list[str]:
    total = found.total
    moved = f"{size(total['bytes_down'])} down, {size(total['bytes_up'])} up, {size(total['bytes_lost'])} of them lost"
    lines = [
        f"devices      {number(total['device_s'] / _HOUR)} device-hours in {number(total['virtual_s'] / _HOUR)} "
        "virtual hours",
        f"network      {moved}",
    ]
    return [*lines, f"energy       {energy(total['joules'])}"] if total["joules"] else lines


def _wasted(found: Costs) -> list[str]:
    """What went into updates that did not count, as shares of all."""
    wasted, total = found.clients.wasted, found.clients.total
    shares = {"updates": percent(wasted["rounds"], total["rounds"])}
    if found.has_devices:
        shares["device-hours"] = percent(wasted["device_s"], total["device_s"])
        shares["bytes"] = percent(_moved(wasted), _moved(total))
        shares |= {"energy": percent(wasted["joules"], total["joules"])} if total["joules"] else {}
    return [f"wasted       {', '.join(f'{share} of the {name}' for name, share in shares.items())}"]


def _clients(found: Costs, name: str) -> Table:
    clients = found.clients
    table = Table(title=f"{name}: what each of {clients.num_clients:,} clients spent")
    table.add_column("")
    for column in ("min", "median", "mean", "95 %", "max", "Gini"):
        table.add_column(column, justify="right", no_wrap=True)
    for measure, (label, write) in _EACH.items():
        if clients.total.get(measure):
            *amounts, gini = asdict(clients.each[measure]).values()
            table.add_row(label, *map(write, amounts), f"{gini:.2f}")
    return table


def _target(outcome: Outcome) -> str:
    head = f"target       {outcome.target} "
    if not outcome.is_reached:
        return f"{head}not reached: best {outcome.metric:.4g} in round {outcome.round}"
    spent, costs = outcome.spent, list[str]()
    if "virtual_s" in spent:
        costs = [f"{number(spent['virtual_s'] / _HOUR)} virtual hours"]
        costs += [f"{number(spent['device_s'] / _HOUR)} device-hours"]
        costs += [f"{size(_moved(spent))} down and up"]
        costs += [energy(spent["joules"])] if spent["joules"] else []
    costs += [f"{span(spent['wall_s'])} of wall time"]
    return f"{head}by round {outcome.round} ({outcome.metric:.4g}): {', '.join(costs)}"


def _moved(spent: dict[str, float]) -> float:
    """Bytes in both directions."""
    return spent["bytes_down"] + spent["bytes_up"]
