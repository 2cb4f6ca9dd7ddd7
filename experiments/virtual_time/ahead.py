"""Steps of an asynchronous server trained together: how much faster is that on actors, at the same digest?"""

import argparse
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fedray

HERE = Path(__file__).parent
COMMON = [
    "devices.profile={name: lognormal, examples_per_s: 5, latency_s: 0.1}",
    "devices.availability=always",
    "evaluation.every=1000000",
    "checkpoint.every_s=1e9",
]
KINDS: dict[str, tuple[str, list[str]]] = {
    "FedAsync, 130 under way": ("fedasync, mixing: 0.1", ["cohort.size=1"]),
    "FedBuff of 2, 130 under way": ("fedbuff", ["cohort.size=2"]),
    "FedBuff of 20, 130 under way": ("fedbuff", ["cohort.size=20"]),
}


def main() -> None:
    """Each kind with and without, in turn, several times; medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("settings", nargs="*", default=["actors.num_actors=2"], help="as KEY=VALUE")
    options = parser.parse_args()
    table = Table(title=f"{options.updates:,} updates")
    for column in ("", "one step at a time, s", "together, s", "times as fast", "digest"):
        table.add_column(column, justify="right")
    for kind, (name, changes) in KINDS.items():
        size = int(changes[0].rpartition("=")[2])
        settings = [*COMMON, *changes, f"rounds={options.updates // size}", *options.settings]
        seconds: dict[int, list[float]] = {1: [], 64: []}
        digests = set[str]()
        for repeat in range(options.repeats):
            print(f"{repeat + 1} of {options.repeats}: {kind} ...", flush=True)
            for steps, found in seconds.items():
                protocol = f"protocol={{name: {name}, concurrency: 130, max_staleness: 1000, look_ahead: {steps}}}"
                result = fedray.run(fedray.load(HERE / "protocols.yaml", [*settings, protocol]))
                found.append(float(result.history["seconds/round"].sum()))
                digests.add(result.digest)
        alone, ahead = (statistics.median(found) for found in seconds.values())
        same = next(iter(digests))[:12] if len(digests) == 1 else "DIFFERENT"
        table.add_row(kind, f"{alone:.1f}", f"{ahead:.1f}", f"{alone / ahead:.2f}", same)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
