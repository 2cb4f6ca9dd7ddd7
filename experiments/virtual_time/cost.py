"""What does virtual time itself cost? Rounds of 1,000 clients with and without devices, and choosing them alone."""

import argparse
import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fedray
from fedray.data.holdout import Holdout
from fedray.experiment import build_data, build_plan, num_parameters
from fedray.simulation.rounds import Rounds

HERE = Path(__file__).parent
_WARM_UP = 2
DEVICES = ["devices.profile={name: lognormal, examples_per_s: 5, latency_s: 0.1, loss: 0.01}"]
COMMON = ["cohort.size=1000", "evaluation.every=1000000", "checkpoint.every_s=1e9"]
KINDS: dict[str, list[str]] = {
    "no devices": ["devices=null"],
    "synchronous": ["protocol={name: synchronous, over_selection: 1.3}"],
    "FedBuff": ["protocol={name: fedbuff, concurrency: 1300, max_staleness: 20}"],
}


def main() -> None:
    """Runs in turn, several times; medians over the rounds of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("settings", nargs="*", default=["actors.backend=serial"], help="as KEY=VALUE")
    options = parser.parse_args()
    settings = [*DEVICES, *COMMON, f"rounds={options.rounds}", *options.settings]
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for repeat in range(options.repeats):
        for kind, changes in KINDS.items():
            print(f"{repeat + 1} of {options.repeats}: {kind} ...", flush=True)
            result = fedray.run(fedray.load(HERE / "protocols.yaml", [*settings, *changes]))
            seconds[kind] += result.history["seconds/round"].tolist()[_WARM_UP:]
    table = Table(title="a round of 1,000 clients of 10,000")
    for column in ("", "round, ms", "to no devices", "choosing, ms", "part of the round"):
        table.add_column(column, justify="right")
    plain = statistics.median(seconds["no devices"])
    for kind, changes in KINDS.items():
        round_s, choosing_s = statistics.median(seconds[kind]), _choosing([*settings, *changes], options.rounds)
        figures = (f"{1000 * round_s:,.1f}", f"{100 * (round_s / plain - 1):+.1f} %", f"{1000 * choosing_s:,.2f}")
        table.add_row(kind, *figures, f"{100 * choosing_s / round_s:.2f} %")
    Console(width=110).print(table)


def _choosing(settings: list[str], num_rounds: int) -> float:
    """Median seconds of choosing the clients of a round, without training."""
    experiment = fedray.load(HERE / "protocols.yaml", settings)
    plan = build_plan(experiment, build_data(experiment))
    sizes = Holdout(build_data(experiment), plan.workload.holdout, plan.workload.seed).sizes
    rounds, took = Rounds(plan, sizes, num_parameters(plan)), list[float]()
    now_s = rounds.begin_s
    for round in range(1, num_rounds + 1):
        began = time.perf_counter()
        now_s = rounds.choose(round, now_s).next_s
        took.append(time.perf_counter() - began)
    return statistics.median(took[_WARM_UP:])


if __name__ == "__main__":
    main()
