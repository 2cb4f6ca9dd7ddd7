"""A client actor killed in every one of 1,000 rounds: does anything grow that should not?"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

import fedray
from experiments.fault_tolerance.processes import ALL, sample
from experiments.fault_tolerance.runs import HERE, RESULTS, cost, save
from experiments.fault_tolerance.soak_figure import figure
from fedray.simulation.watch import Event

_EVERY = 10
"""Rounds between two samples."""
_SETTLED = 100
"""The first rounds, in which pools, caches and stacks fill."""
_MB = 1e6
_LASTING = ("caller", "driver", "chaos actor", "nursery", "raylet", "gcs_server")
"""Processes that are there from the first round to the last."""


class Sampler:
    """Looks at all processes every few rounds.

    Attributes:
        samples: One row for each look.
    """

    def __init__(self) -> None:
        self._began, self.samples = time.monotonic(), list[dict[str, float]]()

    def watch(self, event: Event) -> None:
        """Told of the run; it goes on meanwhile."""
        if event.kind == "round" and event.values["round"] % _EVERY == 0:
            elapsed_s = time.monotonic() - self._began
            self.samples.append({"round": event.values["round"], "elapsed_s": elapsed_s, **sample()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How one quantity went after the first rounds.

    Attributes:
        name: What.
        early: Median of the first tenth of the rounds that follow.
        late: Median of the last tenth.
        slope: What it gains in 100 rounds, by a line through all that follows (least squares).
    """

    name: str
    early: float
    late: float
    slope: float


def main() -> None:
    """One run, watched; a table of what it held early and late, and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("settings", nargs="*", help="settings to change, as KEY=VALUE")
    options, sampler = parser.parse_args(), Sampler()
    settings = [f"rounds={options.rounds}", *options.settings]
    soaked = fedray.run(fedray.load(HERE / "soak.yaml", settings), on_event=sampler.watch)
    calm = fedray.run(fedray.load(HERE / "soak.yaml", [*settings, "faults=[]"]))
    costs = [cost("one actor killed in every round", soaked), cost("left alone", calm)]
    save("soak", costs)
    samples = pd.DataFrame(sampler.samples).set_index("round")
    samples.round(3).to_csv(RESULTS / "soak.csv")
    figure(samples, soaked.history["seconds/round"]).savefig(RESULTS / "soak.png", dpi=120)
    console = Console(width=110)
    console.print(_table(trends(samples)))
    killed, alone = costs
    same = "equal" if killed.digest == alone.digest else "DIFFERENT"
    console.print(
        f"{options.rounds} rounds, {killed.deaths} actors killed, fates {killed.fates}; {killed.rounds_s:.0f} s, and "
        f"{alone.rounds_s:.0f} s left alone; digests {same}: {killed.digest[:12]} and {alone.digest[:12]}"
    )


def trends(samples: pd.DataFrame) -> list[Trend]:
    """Early against late, for everything that was sampled."""
    settled = samples[samples.index > _SETTLED]
    return [_trend(name, settled[column] / unit) for name, (column, unit) in _watched().items()]


def _watched() -> dict[str, tuple[str, float]]:
    """What is shown: name to column of the samples, and its unit."""
    memory = {f"{role}: anonymous memory, MB": (f"{role}/anonymous_bytes", _MB) for role in _LASTING}
    files = {f"{role}: open files": (f"{role}/open_files", 1) for role in (ALL, *_LASTING)}
    threads = {f"{role}: threads": (f"{role}/threads", 1) for role in (ALL, *_LASTING)}
    return {
        f"{ALL}: number": (f"{ALL}/processes", 1),
        f"{ALL}: memory (PSS), MB": (f"{ALL}/pss_bytes", _MB),
        **memory,
        **files,
        **threads,
        "processes that ended and are not reaped": ("zombies", 1),
        "object store, bytes": ("store/bytes", 1),
        "object store, objects": ("store/objects", 1),
        "dead actors in Ray's table": ("actors/dead", 1),
        "Ray's log files": ("logs/files", 1),
        "Ray's log files, MB": ("logs/bytes", _MB),
    }


def _trend(name: str, values: "pd.Series[float]") -> Trend:
    num = max(1, len(values) // 10)
    slope, _ = np.polyfit(values.index.to_numpy(float), values.to_numpy(float), 1)
    early, late = float(values.head(num).median()), float(values.tail(num).median())
    return Trend(name=name, early=early, late=late, slope=100 * float(slope))


def _table(found: list[Trend]) -> Table:
    table = Table(title=f"after the first {_SETTLED} rounds, and at the end")
    for name in ("", "early", "late", "in 100 rounds"):
        table.add_column(name, justify="right" if name else "left")
    for trend in found:
        table.add_row(trend.name, f"{trend.early:,.1f}", f"{trend.late:,.1f}", f"{trend.slope:+,.2f}")
    return table


if __name__ == "__main__":
    main()
