"""Actors that slow down or hang: what they cost in wall time, by the deadline after which an actor counts as dead."""

from collections.abc import Sequence
from dataclasses import dataclass

import ray
from rich.console import Console
from rich.table import Table

from experiments.fault_tolerance.runs import RESULTS, Cost, run, save, start_ray
from experiments.fault_tolerance.stragglers_figure import figure

FACTORS = (2, 4, 8)
DEADLINES: tuple[str, ...] = ("1", "2", "5", "10", "auto")
_HANGS = (4, 7)
"""The rounds in which an actor hangs: not the first, so that a deadline is learnt."""
_SLOW_S = 2.0
"""How long an actor is slow, in every second round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is done to a run.

    Attributes:
        name: In words.
        fault: As in the settings, or nothing.
        deadline: `failures.deadline`.
    """

    name: str
    fault: str = ""
    deadline: str = "auto"

    def cost(self) -> Cost:
        """Runs it."""
        return run(self.name, "stragglers.yaml", [f"faults=[{self.fault}]", f"failures.deadline={self.deadline}"])


def slow(factor: int, deadline: str = "auto") -> Setting:
    """An actor is slow for a while, in every second round."""
    fault = f"{{kind: slow, actors: 1, every: 2, factor: {factor}, seconds: {_SLOW_S}}}"
    return Setting(name=f"slow, {factor} times, deadline {deadline}", fault=fault, deadline=deadline)


def hang(deadline: str) -> Setting:
    """An actor stops for good, twice."""
    fault = f"{{kind: hang, actors: 1, rounds: {list(_HANGS)}}}"
    return Setting(name=f"hang, deadline {deadline}", fault=fault, deadline=deadline)


def main() -> None:
    """All runs, a table and a plot."""
    start_ray()
    calm = Setting(name="left alone").cost()
    slowed = {factor: slow(factor).cost() for factor in FACTORS}
    hasty = slow(FACTORS[-1], "1").cost()
    hung = {deadline: hang(deadline).cost() for deadline in DEADLINES}
    ray.shutdown()
    costs = [calm, *slowed.values(), hasty, *hung.values()]
    save("stragglers", costs)
    lost = {deadline: (one.rounds_s - calm.rounds_s) / len(_HANGS) for deadline, one in hung.items()}
    times = {1: calm.rounds_s} | {factor: one.rounds_s for factor, one in slowed.items()}
    figure(times, lost).savefig(RESULTS / "stragglers.png", dpi=120)
    Console(width=110).print(_table(costs, calm))


def _table(costs: Sequence[Cost], calm: Cost) -> Table:
    table = Table(title="eight rounds on two actors")
    for name in ("", "rounds s", "more s", "actors ended", "clients again", "digest"):
        table.add_column(name, justify="right" if name else "left")
    for one in costs:
        table.add_row(
            one.name,
            f"{one.rounds_s:.1f}",
            f"{one.rounds_s - calm.rounds_s:.1f}",
            str(one.deaths),
            str(one.recomputed),
            f"{one.digest[:12]} {'equal' if one.digest == calm.digest else 'DIFFERENT'}",
        )
    return table


if __name__ == "__main__":
    main()
