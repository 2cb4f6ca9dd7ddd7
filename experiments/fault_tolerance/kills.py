"""30 % of the client actors killed in every one of 20 rounds, against the same run left alone."""

from rich.console import Console

from experiments.fault_tolerance.runs import run, save
from fedray.report.verify import verify
from fedray.report.verify_table import show


def main() -> None:
    """Both runs, twice in turn, so that a slow minute of the machine hits both."""
    costs = [
        run(name, "kills.yaml", settings)
        for _ in range(2)
        for name, settings in (("left alone", ["faults=[]"]), ("30 % killed", []))
    ]
    save("kills", costs)
    console = Console()
    show(console, verify(costs[0].folder, costs[1].folder), ("left alone", "30 % killed"))
    for one in costs:
        console.print(
            f"{one.name}: {one.rounds_s:.1f} s, {one.deaths} actors killed, fates {one.fates}, {one.digest[:12]}"
        )
    for calm, killed in zip(costs[::2], costs[1::2], strict=True):
        console.print(f"{killed.rounds_s / calm.rounds_s:.2f} times the wall time of the run left alone")


if __name__ == "__main__":
    main()
