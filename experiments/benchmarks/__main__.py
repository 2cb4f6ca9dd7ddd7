"""The bench: every runner on every workload, checked once and timed several times, runners interleaved."""

import argparse
import json
import signal
import sys
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.benchmarks import chart, machine, tables
from experiments.benchmarks.prepare import prepare
from experiments.benchmarks.runs import RUNNERS, Run, Runner, compared, run
from experiments.benchmarks.shards import Shards
from experiments.benchmarks.summary import rows
from experiments.benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"
WIDTH = 150
LEFT_BEHIND = 1.3
"""A variant of a runner that is slower than another one by this factor in two repeats is not repeated further."""


class Bench:
    """All runs of one call of the bench; every result is on the disk as soon as it is known.

    Args:
        settings: Command line.
        console: Where progress is shown.
    """

    def __init__(self, settings: argparse.Namespace, console: Console) -> None:
        self.settings, self.console = settings, console
        self.runs: list[Run] = []
        self.shards = {name: Shards(prepare(WORKLOADS[name])) for name in settings.workloads}
        self.about = {
            "machine": machine.describe(),
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "workers": settings.workers,
            "repeats": settings.repeats,
        }

    def measure(self) -> None:
        """Checks first, then the repeats: all workloads in each, all runners in each workload."""
        for repeat in range(self.settings.repeats + 1):
            for name, shards in self.shards.items():
                for runner in self._runners(shards):
                    if repeat < 3 or not self._left_behind(name, runner):
                        self._one(runner, shards, repeat)
            if repeat == 0:
                self.runs = compared(self.runs)

    def _runners(self, shards: Shards) -> list[Runner]:
        small = shards.workload.model == "dense" and len(shards.initial) < 300_000
        chosen = [RUNNERS[name] for name in self.settings.runners if RUNNERS[name].is_installed]
        return [runner for runner in chosen if small or not runner.small_only]

    def _left_behind(self, workload: str, runner: Runner) -> bool:
        timed = [r for r in self.runs if r.workload == workload and r.kind == "timed" and r.error is None]
        best = max((r.clients_per_s for r in timed if RUNNERS[r.runner].module == runner.module), default=0.0)
        mine = max((r.clients_per_s for r in timed if r.runner == runner.name), default=0.0)
        return mine * LEFT_BEHIND < best

    def _one(self, runner: Runner, shards: Shards, repeat: int) -> None:
        workload, check = shards.workload, repeat == 0
        rounds = workload.check_rounds if check else workload.timed_rounds(runner.module)
        found = run(runner, shards, rounds=rounds, workers=self.settings.workers, repeat=repeat, check=check)
        self.runs.append(found)
        self.save()
        text = found.error or f"{tables.figures(found.clients_per_s)} clients/s"
        if found.error is None and check:
            text += f", {(found.peak_bytes or 0) / 1e6:,.0f} MB, loss {found.loss:.4f}"
        what = "check" if check else f"repeat {repeat} of {self.settings.repeats}"
        self.console.print(f"{workload.name} {what}: {runner.name}: {text}", highlight=False)

    def save(self) -> None:
        """Writes bench.json."""
        path = self.settings.results / "bench.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        beside.write_text(json.dumps({**self.about, "runs": [asdict(r) for r in self.runs]}, indent=1) + "\n")
        beside.replace(path)


def report(folder: Path, console: Console) -> None:
    """Tables and picture from bench.json."""
    recorded = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
    found = rows(Run(**values) for values in recorded["runs"])
    if not found:
        console.print("no run has succeeded; see the logs below experiments/benchmarks/runs")
        return
    (folder / "table.md").write_text(tables.markdown(found, about(recorded)), encoding="utf-8")
    chart.draw(found, folder / "bench.png")
    tables.show(found, console)
    console.print(f"written: {', '.join(name for name in ('bench.json', 'table.md', 'bench.png'))} in {folder}")


def about(recorded: dict[str, Any]) -> str:
    """One line: where, when, with what."""
    versions = {name: v for values in recorded["runs"] for name, v in values["versions"].items() if name != "ray"}
    box = recorded["machine"]
    listed = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{recorded['began'][:10]}, {box['processor']}, {box['cores']} cores, {box['memory_gb']} GB, "
        f"{recorded['workers']} workers, {_repeats(recorded)}; {listed}."
    )


def _repeats(recorded: dict[str, Any]) -> str:
    """How many repeats were asked for, and where the bench was stopped before, how many there are."""
    done = Counter(run["workload"] for run in recorded["runs"] if run["kind"] == "timed" and run["runner"] == "fedray")
    least, most, asked = min(done.values(), default=0), max(done.values(), default=0), recorded["repeats"]
    if least == asked or not done:
        return f"{asked} repeats"
    return f"stopped after {least if least == most else f'{least} to {most}'} of {asked} repeats"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each runner (default 5)")
    parser.add_argument("--workers", type=int, default=2, help="processes that may train at once (default 2)")
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--runners", nargs="+", default=list(RUNNERS), choices=list(RUNNERS))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of bench.json, table.md and bench.png")
    parser.add_argument("--report", action="store_true", help="measure nothing, write tables from bench.json")
    settings, console = parser.parse_args(), Console()
    console.width = max(console.width, WIDTH)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Ctrl-C does: no process is left behind
    if not settings.report:
        missing = sorted({r.environment for n in settings.runners if not (r := RUNNERS[n]).is_installed})
        if missing:
            console.print(f"not installed, left out: {', '.join(missing)}; `make bench-peers` installs them")
        Bench(settings, console).measure()
    report(settings.results, console)


if __name__ == "__main__":
    main()
