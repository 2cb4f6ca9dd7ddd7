"""The same kill on Flower: one of four client actors killed in round 1, and the good updates of rounds 1 to 4."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import ray
from rich.console import Console
from rich.table import Table

import fedray
from experiments.fault_tolerance.flower_figure import figure
from experiments.fault_tolerance.runs import HERE, RESULTS, start_ray
from fedray.files import write_json

ROOT = HERE.parent.parent
PYTHON = ROOT / "experiments/benchmarks/envs/flower/bin/python"
_LIMIT_S = 300.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One run of 20 clients on four actors.

    Attributes:
        name: Whose.
        good: Updates without an error, for each round.
        deaths: Actors that were killed.
        status: Exit status of a process that ran it, 0 where it ended without an exception.
        versions: Package to version.
    """

    name: str
    good: list[int]
    deaths: int
    status: int
    versions: dict[str, str]


def main() -> None:
    """Both, several times in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    if not PYTHON.exists():
        sys.exit(f"{PYTHON.relative_to(ROOT)} is not there; make it with `make bench-peers`")
    start_ray(num_cpus=4)
    ours = [of_fedray(f"fedray {number}") for number in range(1, repeats + 1)]
    ray.shutdown()
    theirs = [of_flower(f"Flower {number}") for number in range(1, repeats + 1)]
    counts = [*ours, *theirs]
    write_json(RESULTS / "flower.json", [asdict(one) for one in counts])
    figure([one.good for one in ours], [one.good for one in theirs]).savefig(RESULTS / "flower.png", dpi=120)
    Console(width=110).print(_table(counts))


def of_fedray(name: str) -> Counts:
    """By fedray's own fault plan."""
    print(f"{name} ...", flush=True)
    history = fedray.run(fedray.load(HERE / "flower.yaml")).history
    good = (history["fates/ok"] + history["fates/retried"]).tolist()
    versions = {"ray": version("ray")}
    return Counts(name=name, good=good, deaths=int(history["deaths"].sum()), status=0, versions=versions)


def of_flower(name: str) -> Counts:
    """By a signal from here, while a client of that actor trains."""
    print(f"{name} ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out, pid_file, log = (Path(folder, file) for file in ("out.json", "pid", "log"))
        command = [str(PYTHON), "-m", "experiments.fault_tolerance.flower_server", str(out), str(pid_file)]
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=file, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            os.kill(_appeared(pid_file, process), signal.SIGKILL)
            status = process.wait(_LIMIT_S)
        finally:
            process.kill()
        answer = json.loads(out.read_text(encoding="utf-8"))
    return Counts(name=name, good=answer["good"], deaths=1, status=status, versions=answer["versions"])


def _appeared(file: Path, process: subprocess.Popen[bytes]) -> int:
    """The process id in a file, once it is there."""
    until = time.monotonic() + _LIMIT_S
    while not file.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("Flower's victim did not come to its round; run flower_server by hand to see why")
        time.sleep(_POLL_S)
    return int(file.read_text(encoding="utf-8"))


def _environment() -> dict[str, str]:
    """Without what would reach out to the network or to somebody's cluster."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONHOME")}
    return kept | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0"}


def _table(counts: Sequence[Counts]) -> Table:
    table = Table(title="good updates of 20, one of four actors killed in round 1")
    for name in ("run", *(f"round {number}" for number in range(1, 5)), "actors killed", "exit status", "versions"):
        table.add_column(name, justify="right")
    for one in counts:
        versions = ", ".join(f"{name} {number}" for name, number in one.versions.items())
        table.add_row(one.name, *map(str, one.good), str(one.deaths), str(one.status), versions)
    return table


if __name__ == "__main__":
    main()
