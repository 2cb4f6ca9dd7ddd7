"""Running experiments from Python: `run`, `resume`, `sync`."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from fedray import experiment as experiments
from fedray.client.device import model_of_gpu
from fedray.config import parse
from fedray.data.base import FederatedData
from fedray.errors import ConfigError, UserError
from fedray.experiment import Experiment
from fedray.files import disk_errors, write_json
from fedray.report.result import Result
from fedray.runtime.placement import place
from fedray.simulation import storage
from fedray.simulation.backend import SerialBackend
from fedray.simulation.plan import Plan
from fedray.simulation.run import execute
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event, Interrupted, Watch
from fedray.tracking import process as tracker
from fedray.tracking.report import SyncReport
from fedray.tracking.sync import sync as sync_folder

OnEvent = Callable[[Event], None]

_MAY_CHANGE = ("rounds", "actors", "tracking", "checkpoint", "failures", "baselines")
"""Settings that a resumed run may change: none of them alters a round that is done."""
_POLL_S = 0.1
_GIT_S = 5.0
"""How long git may take to name the commit."""
_PACKAGES = ("fedray", "ray", "torch", "numpy", "mlflow", "pydantic", "pyarrow", "scikit-learn")


def run(experiment: Experiment, *, on_event: OnEvent | None = None) -> Result:
    """Runs an experiment to its end, or until Ctrl-C.

    Args:
        experiment: What to run.
        on_event: Shown what happens, as it happens.

    Returns:
        The run, read from its folder. Its `state` is "interrupted" after Ctrl-C; `resume` goes on.

    Raises:
        UserError: Something about the experiment or the machine is wrong; nothing was started.
        ClientError: A client's training went wrong, and the settings say to end the run.
    """
    return _run(experiment, None, on_event)


def resume(folder: str | Path, overrides: Sequence[str] = (), *, on_event: OnEvent | None = None) -> Result:
    """Goes on with an interrupted or failed run, from its last checkpoint, to the same digests as if never stopped.

    Args:
        folder: The run folder.
        overrides: Settings to change: "rounds=100", "actors.num_actors=4". Others would change rounds that are done.
        on_event: Shown what happens.

    Raises:
        RunFolderError: The folder is none, is damaged, or another process runs it.
        ConfigError: A setting may not change, or the run has finished.
    """
    records = RunFolder.open(Path(folder))
    before = records.config()
    settings = experiments.override(before, overrides)
    experiment = parse(Experiment, settings, str(records.path))
    for name in settings:
        if name not in _MAY_CHANGE and settings[name] != before.get(name):
            raise ConfigError(f"{name} may not change in a resumed run, it would change rounds that are done; run anew")
    if records.status()["state"] == "finished" and records.status()["round"] >= experiment.rounds:
        done = records.status()["round"]
        raise ConfigError(f"{folder} has finished its {done} rounds; to go on, raise rounds: -s rounds={2 * done}")
    return _run(experiment, records, on_event)


def sync(folder: str | Path, *, uri: str | None = None) -> SyncReport:
    """Delivers to MLflow what it lacks of a run.

    Args:
        folder: The run folder.
        uri: Server or database instead of the run's own.

    Raises:
        RunFolderError: The folder is none, or is damaged.
        TrackingError: The server is away or refuses.
    """
    return sync_folder(Path(folder), uri=uri)


def _run(experiment: Experiment, folder: RunFolder | None, on_event: OnEvent | None) -> Result:
    tell, experiment = on_event or _ignore, experiments.settled(experiment)
    data = experiments.build_data(experiment)
    plan = experiments.build_plan(experiment, data)
    storage.check(experiment.checkpoint.uri, experiment.checkpoint.timeout_s)
    with _backend(experiment, plan, data, tell) as start, _stop_on_signals(tell) as stop:
        records = folder or _new_folder(experiment)
        with records.lock():
            if folder is not None:
                _describe(records, experiment)
            tell(Event(kind="folder", values={"path": str(records.path), "plan": plan}))
            with _tracked(records, experiment, tell), suppress(Interrupted):
                start(records, stop)
    return Result(records.path)


def _new_folder(experiment: Experiment) -> RunFolder:
    """A run folder, or none at all where the disk is full."""
    folder = RunFolder.create(Path(experiment.runs), experiment.name)
    try:
        _describe(folder, experiment)
    except UserError:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder


@contextmanager
def _tracked(folder: RunFolder, experiment: Experiment, tell: OnEvent) -> Generator[None]:
    """The delivery to MLflow beside a run, waited for at its end; but not by somebody who wants to end at once."""
    follower: subprocess.Popen[bytes] | None = None
    try:
        if experiment.tracking.enabled:
            with disk_errors(folder.path):
                follower = tracker.start(folder.path)
        yield
    except KeyboardInterrupt:
        _close(folder, "interrupted")
        if follower is not None:
            tracker.stop(follower)
        raise
    except Exception as error:
        _close(folder, "failed", str(error))
        if follower is not None:
            _wait(follower, folder, experiment, tell)
        raise
    if follower is not None:
        _wait(follower, folder, experiment, tell)


def _wait(follower: subprocess.Popen[bytes], folder: RunFolder, experiment: Experiment, tell: OnEvent) -> None:
    report = tracker.wait(follower, folder.path, experiment.tracking.finish_s)
    tell(Event(kind="tracking", values={"report": report}))


def _close(folder: RunFolder, state: str, error: str | None = None) -> None:
    """Says in the status that a run is over which could not say so itself: its driver is dead, or the disk is full."""
    with suppress(UserError):
        if folder.status()["state"] == "running":
            folder.write_status(state=state, ended=time.time(), error=error)


def _ignore(event: Event) -> None:
    """Where nobody watches."""


Start = Callable[[RunFolder, Callable[[], bool]], None]


@contextmanager
def _backend(experiment: Experiment, plan: Plan, data: FederatedData, tell: OnEvent) -> Generator[Start]:
    """What runs the plan in a folder; checked against the machine before the folder is made."""
    if experiment.actors.backend == "serial":
        yield lambda folder, stop: _run_here(plan, data, folder, tell, stop)
        return
    from fedray.runtime import cluster

    durable = any(fault.kind == "restart_control" for fault in experiment.faults)
    with cluster.connect(experiment.actors, durable=durable) as shape:
        num_parameters = experiments.num_parameters(plan)
        placement = place(experiment.actors, data.num_clients, num_parameters, shape, plan.workload.device == "cuda")
        plan = experiments.with_actors(experiment, plan, placement.num_actors)
        tell(Event(kind="placement", values={"placement": placement, "cluster": shape}))
        yield lambda folder, stop: cluster.run(
            plan=plan,
            data=data,
            placement=placement,
            start_timeout_s=experiment.actors.start_timeout_s,
            folder=folder,
            on_event=tell,
            stop_wanted=stop,
        )


def _run_here(plan: Plan, data: FederatedData, folder: RunFolder, tell: OnEvent, stop: Callable[[], bool]) -> None:
    """Runs serially in a thread of this process, so that this thread can show progress and take Ctrl-C."""
    watch, errors = Watch(), list[BaseException]()

    def work() -> None:
        try:
            backend = lambda: SerialBackend(plan.workload, data, watch, plan.failures)  # noqa: E731
            execute(plan=plan, data=data, backend=backend, folder=folder, watch=watch)
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, name="fedray-serial", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
            for event in watch.take():
                tell(event)
            if stop():
                watch.stop()
        for event in watch.take():
            tell(event)
    except Exception:  # the caller's own, from `tell`: nothing may go on in the folder behind its back
        watch.stop()
        thread.join()
        raise
    if errors:
        raise errors[0]


@contextmanager
def _stop_on_signals(tell: OnEvent) -> Generator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask for a clean end; a second Ctrl-C ends at once. Only in the main thread.

    Entered after `ray.init`, which sets a handler of its own for SIGTERM.
    """
    asked = threading.Event()
    told = False

    def stop_wanted() -> bool:
        nonlocal told
        if asked.is_set() and not told:
            told = True
            tell(Event(kind="stopping", values={}))
        return told

    if threading.current_thread() is not threading.main_thread():
        yield stop_wanted
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_wanted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _describe(folder: RunFolder, experiment: Experiment) -> None:
    folder.write_config(experiment.model_dump(mode="json"))
    write_json(folder.path / "environment.json", _environment(experiment))
    done = max((record["round"] for record in folder.lines("rounds")), default=0)
    status = {"name": experiment.name, "round": done, "rounds": experiment.rounds, "started": time.time()}
    folder.write_status(state="running", **status)


def _environment(experiment: Experiment) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "gpu": None if experiment.device == "auto" else model_of_gpu(experiment.device),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        found = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=_GIT_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    return found.stdout.strip() or None
