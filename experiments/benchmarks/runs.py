"""One run of one runner: a process in the runner's environment, watched from outside."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from experiments.benchmarks import family
from experiments.benchmarks.evaluation import evaluate
from experiments.benchmarks.protocol import Answer, Request
from experiments.benchmarks.shards import Shards

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Something that can train a workload.

    Attributes:
        name: Name of the variant: "pfl-n".
        family: Variants of a family compete; the faster one is reported.
        module: Module below `runners`.
        label: What tables call the variant.
        processes: Processes of a variant; 0: as many as there are workers.
        environment: Folder below `envs`, or None for the bench's own environment.
        small_only: Only for small dense models.
    """

    name: str
    family: str
    module: str
    label: str
    processes: int = 0
    environment: str | None = None
    small_only: bool = False

    @property
    def python(self) -> str:
        """The interpreter."""
        return str(HERE / "envs" / self.environment / "bin" / "python") if self.environment else sys.executable

    @property
    def is_installed(self) -> bool:
        """Whether its environment is there."""
        return Path(self.python).exists()


RUNNERS = {
    runner.name: runner
    for runner in (
        Runner(name="fedray", family="fedray", module="fedray", label="fedray"),
        Runner(name="flower", family="Flower", module="flower", label="Flower", environment="flower"),
        Runner(
            name="pfl-1",
            family="pfl-research",
            module="pfl",
            label="pfl-research, 1 process",
            processes=1,
            environment="pfl",
        ),
        Runner(
            name="pfl-n",
            family="pfl-research",
            module="pfl",
            label="pfl-research, a process a worker",
            environment="pfl",
        ),
        Runner(
            name="plain-1", family="plain loop, 1 process", module="plain", label="plain loop, 1 process", processes=1
        ),
        Runner(name="plain-n", family="plain loop", module="plain", label="plain loop, a process a worker"),
        Runner(
            name="stacked-1",
            family="stacked floor",
            module="stacked",
            label="stacked floor, 1 process",
            processes=1,
            small_only=True,
        ),
        Runner(
            name="stacked-n",
            family="stacked floor",
            module="stacked",
            label="stacked floor, a process a worker",
            small_only=True,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a run; one line of bench.json.

    Attributes:
        workload: Its name.
        runner: Name of the variant.
        kind: "check": watched, same orders, for parameters and memory; "timed": nothing else goes on.
        repeat: From 1; 0 for a check.
        cohort: Clients of a round.
        round_s: Wall time of each round in seconds; the first is a warm-up.
        start_s: Seconds from the start of the process to its first round, plus what the first round took longer than
            the median of the others: some runners start only then.
        error: Why there is no more, or None.
        versions: Package to version.
        accounted: Part of the rounds' wall time that the runner's own breakdown explains.
        leftovers: Processes that had to be ended afterwards.
        peak_bytes: Check: peak memory of all processes.
        processes: Check: name and bytes of each process at that moment.
        loss: Check: cross-entropy on the test set after the last round.
        accuracy: Check: part of the test set that is classified correctly.
        distance: Check: largest difference of any parameter from the plain loop's.
    """

    workload: str
    runner: str
    kind: str
    repeat: int
    cohort: int
    round_s: list[float] = field(default_factory=list)
    start_s: float = 0.0
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    accounted: float | None = None
    leftovers: int = 0
    peak_bytes: int | None = None
    processes: list[tuple[str, int]] | None = None
    loss: float | None = None
    accuracy: float | None = None
    distance: float | None = None

    @property
    def clients_per_s(self) -> float:
        """Clients trained in a second of the rounds after the first."""
        return self.cohort * len(self.round_s[1:]) / sum(self.round_s[1:])


def folder(workload: str, runner: str, check: bool) -> Path:
    """Where a run writes; the last one of its kind stays."""
    return HERE / "runs" / f"{workload}-{runner}{'-check' if check else ''}"


def compared(runs: list[Run], reference: str = "plain-n") -> list[Run]:
    """The same runs; those that are checks know how far their parameters are from those of the reference."""
    return [replace(run, distance=_distance(run, reference)) if run.kind == "check" else run for run in runs]


def _distance(run: Run, reference: str) -> float | None:
    paths = [folder(run.workload, name, check=True) / "final.npy" for name in (run.runner, reference)]
    if run.error is not None or not all(path.exists() for path in paths):
        return None
    mine, theirs = (np.load(path) for path in paths)
    return float(np.abs(mine - theirs).max())


def run(runner: Runner, shards: Shards, *, rounds: int, workers: int, repeat: int, check: bool) -> Run:
    """Starts a runner and waits for it; nothing of it is left behind.

    Args:
        runner: Who trains.
        shards: The workload.
        rounds: How many rounds.
        workers: Processes or threads that may train at the same time.
        repeat: For the record.
        check: Take the orders of the files, weigh the processes, and evaluate the final parameters.
    """
    workload = shards.workload
    out = folder(workload.name, runner.name, check)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    found: dict[str, Any] = {
        "workload": workload.name,
        "runner": runner.name,
        "kind": "check" if check else "timed",
        "repeat": repeat,
        "cohort": workload.cohort,
    }
    mark = uuid.uuid4().hex
    scales = family.Scales(mark) if check else nullcontext()
    try:
        with scales:
            answer = _ask(runner, shards, out, mark, rounds=rounds, workers=workers, same_orders=check)
    except (subprocess.SubprocessError, OSError) as error:
        found["error"] = f"{type(error).__name__}: see {(out / 'log').relative_to(HERE)}"
    finally:  # also where the bench itself is stopped
        found["leftovers"] = family.end(mark)
    if "error" in found:
        return Run(**found)
    found |= {"round_s": answer.round_s, "versions": answer.versions, "accounted": answer.accounted}
    found["start_s"] = answer.start_s
    if len(answer.round_s) > 1:
        found["start_s"] += max(0.0, answer.round_s[0] - median(answer.round_s[1:]))
    if isinstance(scales, family.Scales):
        found |= {"peak_bytes": scales.peak_bytes, "processes": scales.processes}
        found["loss"], found["accuracy"] = evaluate(shards, np.load(out / "final.npy"))
    return Run(**found)


def _ask(
    runner: Runner, shards: Shards, out: Path, mark: str, *, rounds: int, workers: int, same_orders: bool
) -> Answer:
    request = Request(
        shards=str(shards.folder),
        out=str(out),
        rounds=rounds,
        workers=workers,
        processes=runner.processes or workers,
        same_orders=same_orders,
        started=time.time(),
    )
    (out / "request.json").write_text(json.dumps(asdict(request)), encoding="utf-8")
    command = [runner.python, "-m", f"experiments.benchmarks.runners.{runner.module}"]
    with (out / "log").open("wb") as log:
        subprocess.run(  # noqa: S603
            [*command, str(out / "request.json"), str(out / "answer.json")],
            env=_environment(mark),
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=True,
        )
    return Answer(**json.loads((out / "answer.json").read_text(encoding="utf-8")))


def _environment(mark: str) -> dict[str, str]:
    """The bench's own environment, without what would reach out to the network or to somebody's cluster."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONHOME")}
    ours = {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0"}
    return kept | ours | {family.MARK: mark}
