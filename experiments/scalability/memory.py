"""Time and memory at several cohorts and populations: the driver, an actor, and all processes together."""

import argparse
import os
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fedray
from experiments.benchmarks.family import MARK, Scales
from fedray.simulation.watch import Event

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run.

    Attributes:
        machines: Registered clients.
        cohort: Clients a round.
        start_s: Seconds until the first round.
        round_s: Mean seconds of a round after the first.
        clients_per_s: Clients trained in a second of the rounds after the first.
        driver: Peak memory of the driver's process in bytes.
        actor: The same of the largest client actor.
        tree: Peak of all processes together, Ray's too, shared pages counted once.
    """

    machines: int
    cohort: int
    start_s: float
    round_s: float
    clients_per_s: float
    driver: int
    actor: int
    tree: int


def main() -> None:
    """Runs all, one after another, and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=100_000)
    parser.add_argument("--cohorts", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=int, help="run the first cohort with so few machines too: the cost of one")
    asked = parser.parse_args()
    if MARK not in os.environ:  # the mark must be there from the start of a process, to find it among all
        os.execve(sys.executable, [*sys.orig_argv], {**os.environ, MARK: uuid.uuid4().hex})  # noqa: S606
    rows = [measure(asked.machines, cohort, asked.rounds) for cohort in asked.cohorts]
    few = [measure(asked.against, asked.cohorts[0], asked.rounds)] if asked.against else []
    console = Console()
    console.print(table([*few, *rows], asked.rounds))
    driver = [row.driver for row in rows]
    console.print(f"the driver's peak memory differs by {100 * (max(driver) / min(driver) - 1):.1f} % between cohorts")
    for row in few:
        each = (rows[0].tree - row.tree) / (rows[0].machines - row.machines)
        console.print(f"a registered client costs {each:.0f} bytes, of all processes together")


def table(rows: list[Row], rounds: int) -> Table:
    """One line a run."""
    shown = Table(title=f"{rounds} rounds")
    for name in ("clients", "cohort", "start s", "round s", "clients/s", "driver MB", "actor MB", "all MB"):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            f"{row.machines:,}",
            f"{row.cohort:,}",
            f"{row.start_s:.1f}",
            f"{row.round_s:.2f}",
            f"{row.clients_per_s:,.0f}",
            *(f"{size / 1e6:,.0f}" for size in (row.driver, row.actor, row.tree)),
        )
    return shown


def measure(machines: int, cohort: int, rounds: int) -> Row:
    """One run."""
    began, started = time.perf_counter(), [0.0]

    def watch(event: Event) -> None:
        if event.kind == "starting" and "seconds" in event.values:
            started[0] = time.perf_counter() - began

    settings = [f"data.machines={machines}", f"cohort.size={cohort}", f"rounds={rounds}"]
    with Scales(os.environ[MARK]) as scales:
        result = fedray.run(fedray.load(HERE / "cohorts.yaml", settings), on_event=watch)
    round_s = result.history["seconds/round"].iloc[1:].mean()
    memory = result.summary["memory_bytes"]
    return Row(
        machines=machines,
        cohort=cohort,
        start_s=started[0],
        round_s=round_s,
        clients_per_s=cohort / round_s,
        driver=memory["driver"],
        actor=memory["host"],
        tree=scales.peak_bytes,
    )


if __name__ == "__main__":
    main()
