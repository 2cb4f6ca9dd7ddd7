"""Runs on real Ray: what they have in common, and what they must leave behind: nothing."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import ray
from pandas.testing import assert_frame_equal

import fedray
from fedray.config import parse
from fedray.data.base import FederatedData
from fedray.experiment import num_parameters
from fedray.runtime.placement import ActorsConfig, ClusterShape, place
from fedray.runtime.pool import Pool
from fedray.simulation.plan import Plan
from fedray.simulation.watch import Watch

MARK = "FEDRAY_TEST_MARK"
"""A variable by which a command's processes are known, whatever becomes of their parents."""
MACHINE = ("pid", "seconds", "actor", "node", "time")
"""Columns of the ledger that say where a client was trained, and when."""
PLACES = (*MACHINE, "fate", "attempts")
"""Columns of the ledger that say where and how often a client was trained."""


def experiment(folder: Path, **settings: Any) -> fedray.Experiment:
    """A small experiment; settings replace its own."""
    return parse(fedray.Experiment, {**settings_of(folder), **settings})


def settings_of(folder: Path) -> dict[str, Any]:
    return {
        "name": "small",
        "seed": 3,
        "rounds": 3,
        "data": {"name": "fleet", "machines": 20},
        "cohort": {"fraction": 1},
        "blocks": {"size": 3},
        "model": {"name": "mlp", "hidden": [8]},
        "evaluation": {"clients": "all", "clients_every": 2, "holdout": 0.2},
        "checkpoint": {"every_s": 0},
        "tracking": {"enabled": False},
        "runs": str(folder / "runs"),
    }


def serial(folder: Path, **settings: Any) -> fedray.Result:
    """The reference."""
    return fedray.run(experiment(folder, **settings, actors={"backend": "serial"}))


def assert_equal(found: fedray.Result, reference: fedray.Result, places: tuple[str, ...] = MACHINE) -> None:
    """The same bits: digests, metrics, the ledger but for its places, evaluations."""
    assert list(found.history["digest"]) == list(reference.history["digest"])
    assert_frame_equal(_metrics(found), _metrics(reference), check_exact=True)
    assert_frame_equal(_clients(found, places), _clients(reference, places), check_exact=True)
    assert_frame_equal(found.evaluations, reference.evaluations, check_exact=True)
    assert found.digest == reference.digest


def _metrics(result: fedray.Result) -> pd.DataFrame:
    return result.history.filter(regex="^(train|test|clients)/")


def _clients(result: fedray.Result, places: tuple[str, ...]) -> pd.DataFrame:
    return result.clients.drop(columns=list(places))


@contextmanager
def own_ray() -> Iterator[None]:
    """A Ray of two processors, whose workers find the modules of this folder."""
    found = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=found,
    )
    try:
        yield
    finally:
        ray.shutdown()


def pool_of(plan: Plan, data: FederatedData, actors: ActorsConfig, *, retries: int = 0) -> Pool:
    """The client actors of a plan, on the Ray that is connected."""
    shape = ClusterShape(cpus=2, memory_bytes=10**10, nodes=1, here=bool(actors.fork))
    return Pool(
        placement=place(actors, data.num_clients, num_parameters(plan), shape),
        workload=plan.workload,
        data=ray.put(data),
        retries=retries,
        start_timeout_s=200,
        watch=Watch(),
    )


@contextmanager
def started(*arguments: object, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own; at the end none of its processes may be left."""
    mark = uuid.uuid4().hex
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    process = subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=folder,
        env={**kept, MARK: mark, "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        until(lambda: not _marked(mark), "the command and its Ray processes to be gone", limit_s=40)
    finally:
        for left in _marked(mark):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


def command(*arguments: object) -> list[object]:
    """The command line of fedray."""
    return [sys.executable, "-m", "fedray", *arguments]


def _marked(mark: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def lives(pid: int) -> bool:
    """Whether a process is there, and not just its name."""
    return status(pid) not in (None, psutil.STATUS_ZOMBIE)


def status(pid: int) -> str | None:
    """What a process does; None where there is none."""
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return None


def until(condition: Callable[[], Any], what: str, limit_s: float = 120) -> Any:
    """Waits for something, and gives it."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {limit_s} s for {what}")
