"""The event queue alone: how fast virtual time passes for a population, without any training."""

import argparse
import resource
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from fedray.config import parse
from fedray.population.devices import Devices, DevicesConfig
from fedray.server.buffered import Buffered, Queue
from fedray.server.synchronous import Synchronous, plan_round
from fedray.server.trips import Demand

KINDS = {
    "always": {"name": "always"},
    "diurnal": {"name": "diurnal", "zones": [-8, -5, 0, 1, 8]},
    "markov": {"name": "markov", "mean_there_s": 14400, "mean_away_s": 7200},
}


def main() -> None:
    """Rounds of both protocols, for each kind of availability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1000, help="updates a round")
    parser.add_argument("--concurrency", type=int, default=4000, help="devices under way, of fedbuff")
    options = parser.parse_args()
    table = Table(title=f"{options.devices:,} devices, {options.rounds:,} rounds of {options.size:,} updates")
    for column in (
        "protocol",
        "availability",
        "start s",
        "wall s",
        "devices ended",
        "a second",
        "virtual h",
        "peak MB",
    ):
        table.add_column(column, justify="left" if column in ("protocol", "availability") else "right", no_wrap=True)
    for availability, settings in KINDS.items():
        for protocol in ("synchronous", "fedbuff"):
            began = time.perf_counter()
            profile = {"name": "lognormal", "examples_per_s": 20, "speed_spread": 1.0, "loss": 0.01}
            devices = parse(DevicesConfig, {"profile": profile, "availability": settings}).build(options.devices, 1)
            started = time.perf_counter()
            ended, virtual_s = _run(protocol, devices, options)
            wall_s = time.perf_counter() - started
            table.add_row(
                protocol,
                availability,
                f"{started - began:.1f}",
                f"{wall_s:.1f}",
                f"{ended:,}",
                f"{ended / wall_s:,.0f}",
                f"{virtual_s / 3600:,.1f}",
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f}",
            )
    Console(width=110).print(table)


def _run(protocol: str, devices: Devices, options: argparse.Namespace) -> tuple[int, float]:
    """Devices whose work has ended, and virtual seconds."""
    num = len(devices)
    demand = Demand(
        wanted=options.size, passes=np.full(num, 100.0), down=20_000, up=20_000, able=np.arange(num), weights=None
    )
    if protocol == "fedbuff":
        queue = Queue(parse(Buffered, {"concurrency": options.concurrency}), devices, demand, seed=1)
        found = [queue.step(round).end for round in range(1, options.rounds + 1)]
        return queue.num_events, found[-1]
    ended, now = 0, 0.0
    for round in range(1, options.rounds + 1):
        times = plan_round(parse(Synchronous, {}), devices, demand, 1, round, now)
        ended, now = ended + len(times.clients), times.end
    return ended, now


if __name__ == "__main__":
    main()
