"""Memory of the driver and of the actors, and time, at cohorts of 100, 1,000 and 10,000 of 100,000 clients."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fedray
from fedray.simulation.watch import Event

HERE = Path(__file__).parent
COHORTS = (100, 1_000, 10_000)


def main() -> None:
    """Runs the three cohorts, one after another, and prints one table."""
    table = Table(title="100,000 registered clients, 3 rounds")
    for name in ("cohort", "start-up s", "s a round", "clients/s", "driver MB", "actor MB"):
        table.add_column(name, justify="right")
    driver: list[int] = []
    for cohort in COHORTS:
        row = measure(cohort)
        driver.append(row["driver"])
        table.add_row(
            f"{cohort:,}",
            f"{row['start_s']:.1f}",
            f"{row['round_s']:.2f}",
            f"{row['clients_per_s']:,.0f}",
            f"{row['driver'] / 1e6:.0f}",
            f"{row['host'] / 1e6:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(f"the driver's peak memory differs by {100 * (max(driver) / min(driver) - 1):.1f} %")


def measure(cohort: int) -> dict[str, float]:
    """One run."""
    began, started = time.perf_counter(), [0.0]

    def watch(event: Event) -> None:
        if event.kind == "starting" and "seconds" in event.values:
            started[0] = time.perf_counter() - began

    result = fedray.run(fedray.load(HERE / "cohorts.yaml", [f"cohort.size={cohort}"]), on_event=watch)
    summary = result.summary
    return {
        "start_s": started[0],
        "round_s": summary["seconds"]["rounds"] / summary["rounds"],
        "clients_per_s": summary["clients_per_s"],
        **summary["memory_bytes"],
    }


if __name__ == "__main__":
    main()
