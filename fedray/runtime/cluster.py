"""Connecting to Ray, and running an experiment there from outside."""

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fedray.data.base import FederatedData
from fedray.errors import CapacityError, ClusterError
from fedray.runtime.answers import Ref
from fedray.runtime.driver import Driver
from fedray.runtime.forking.offer import quick_setup
from fedray.runtime.limits import limits_here, raise_open_files
from fedray.runtime.lost import explained, reason
from fedray.runtime.placement import ActorsConfig, ClusterShape, Placement
from fedray.runtime.pulse import Pulse, Silent
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.plan import Plan
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event, Interrupted

_POLL_S = 0.1
_SHM = Path("/dev/shm")  # noqa: S108
_MIN_SHM_BYTES = 200_000_000
_ANSWER_S = 5.0
"""How long a cluster may take to accept a connection."""
_SETTINGS = {
    "worker_maximum_startup_concurrency": 1024,
    "worker_register_timeout_seconds": 300,
    "maximum_gcs_destroyed_actor_cached_count": 100,
    "maximum_gcs_dead_worker_cached_count": 100,
}
"""Ray prints that many workers were started, from four times the first number on; the pool itself starts few at a time.
The second is for busy machines: the first actors may wait a minute until torch is imported. The others say how many
dead actors and processes Ray's control service remembers: 100,000 actors by default, so that each costs memory."""

_ENVIRONMENT = {"THP_MEM_ALLOC_ENABLE": "1"}
"""Of the workers of a Ray that starts here: torch asks for huge pages, as NumPy does by itself. Without them, a page of
each large tensor costs a fault every time: half of the server's step for 25 million parameters."""


@contextlib.contextmanager
def connect(config: ActorsConfig, *, durable: bool = False) -> Generator[ClusterShape]:
    """A connection to the cluster of the settings, or to a Ray that is started here and shut down afterwards.

    Args:
        config: Where it is.
        durable: Have a Ray that is started here keep what its control service knows, for when that is restarted.

    Raises:
        ClusterError: The cluster cannot be reached.
        CapacityError: More processors are asked for than this machine has.
    """
    if ray.is_initialized():
        yield shape()
        return
    with _stored_control() if durable else contextlib.nullcontext():
        _connect(config)
        try:
            yield shape()
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _stored_control() -> Generator[None]:
    """Has the control service of a Ray that starts inside, and starts again, keep its state in files."""
    with (
        tempfile.TemporaryDirectory(prefix="fedray-control-") as folder,
        _inherited({"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": folder}),
    ):
        yield


def _connect(config: ActorsConfig) -> None:
    address = config.address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address.startswith("ray://"):
        raise ClusterError(
            f"actors.address is {address}, a Ray Client address; give the address of the cluster itself (host:6379), "
            "and run fedray on one of its nodes"
        )
    if address == "local":
        cpus = os.cpu_count() or 1
        if config.num_cpus is not None and config.num_cpus > 4 * cpus:
            raise CapacityError(
                f"actors.num_cpus is {config.num_cpus}, but this machine has {cpus}; lower actors.num_cpus"
            )
        options |= {"include_dashboard": False, "num_cpus": config.num_cpus, "_system_config": _SETTINGS}
        _check_shm()
        raise_open_files()
    elif address != "auto":
        _check_answers(address)
    try:
        with quick_setup(), _inherited(_ENVIRONMENT):
            ray.init(**options)
    except Exception as error:  # Ray's own are often no more than that
        ray.shutdown()
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _unreachable(address, f"{cause}; where it asks for a token, set RAY_AUTH_MODE=token") from None


@contextlib.contextmanager
def _inherited(variables: Mapping[str, str]) -> Generator[None]:
    """Variables that processes started inside inherit, where they are not set to something else."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _check_answers(address: str) -> None:
    """Tries the address first: Ray itself would go on trying for minutes.

    Raises:
        ClusterError: Nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterError(f"actors.address is {address}, which names no port; write it as host:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, reason: str) -> ClusterError:
    if address == "local":
        return ClusterError(
            f"Ray did not start on this machine ({reason.rstrip('.')}); wait until the machine is less busy, or set "
            "actors.address to a cluster that runs"
        )
    return ClusterError(
        f"no Ray cluster answers at {address} ({reason.rstrip('.')}); start one with `ray start --head`, or leave "
        "actors.address and RAY_ADDRESS unset to start Ray here"
    )


def _check_shm() -> None:
    if not _SHM.exists():
        return
    free = psutil.disk_usage(str(_SHM)).free
    if free < _MIN_SHM_BYTES:
        raise CapacityError(
            f"{_SHM} has {free / 1e6:.0f} MB free, but Ray's object store needs {_MIN_SHM_BYTES / 1e6:.0f} MB; "
            "mount a larger one (docker run --shm-size=4g)"
        )


def shape() -> ClusterShape:
    """What the connected cluster has."""
    resources = ray.cluster_resources()
    names = [node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]]
    here = set(names) == {socket.gethostname()}
    return ClusterShape(
        cpus=resources.get("CPU", 1.0),
        gpus=resources.get("GPU", 0.0),
        memory_bytes=int(resources.get("memory", 0)),
        nodes=len(names),
        here=here,
        limits=limits_here() if here else (),
    )


def run(
    *,
    plan: Plan,
    data: FederatedData,
    placement: Placement,
    start_timeout_s: float,
    folder: RunFolder,
    on_event: Callable[[Event], None],
    stop_wanted: Callable[[], bool],
) -> None:
    """Runs an experiment in a driver actor beside this process, until it ends.

    Args:
        plan: The experiment.
        data: The population's data; put into the object store once.
        placement: How many client actors.
        start_timeout_s: How long they may take to start.
        folder: The run folder.
        on_event: Shown what happens.
        stop_wanted: Asked about ten times a second.

    Raises:
        Interrupted: The run was stopped on request.
        FedrayError: The run cannot go on.
    """
    data_ref, driver_deaths, reached = ray.put(data), 0, -1
    while True:
        try:
            return _drive(plan, placement, start_timeout_s, folder, data_ref, on_event, stop_wanted)
        except (RayActorError, Silent) as error:
            done = max((record["round"] for record in folder.lines("rounds")), default=0)
            driver_deaths = 1 if done > reached else driver_deaths + 1
            reached = max(done, reached)
            cause = str(error) if isinstance(error, Silent) else reason(error)
            folder.mend()
            event = FaultEvent(fault=-1, round=done + 1, kind="driver died", cause=cause, detected_at=time.time())
            folder.append("faults", asdict(event))
            if driver_deaths > plan.failures.driver_restarts:
                raise ClusterError(
                    f"the driver died without a further round, {driver_deaths} in a row ({cause}); go on with "
                    f"`fedray resume {folder.path}`, or raise failures.driver_restarts"
                ) from None
            have = shape()
            placement = placement.refitted(have.cpus, have.memory_bytes)
            text = f"the driver died ({cause}) and goes on from its last checkpoint"
            on_event(Event(kind="warning", values={"text": text}))


def _drive(
    plan: Plan,
    placement: Placement,
    start_timeout_s: float,
    folder: RunFolder,
    data_ref: Ref,
    on_event: Callable[[Event], None],
    stop_wanted: Callable[[], bool],
) -> None:
    """Runs with one driver actor, until the run ends or the driver dies, or is silent and therefore killed."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    driver_class: Any = ray.remote(Driver)
    options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 4, "scheduling_strategy": here}
    options["enable_task_events"] = False  # Ray's own record of every call: of ten polls a second, in a long run
    driver = driver_class.options(**options).remote(plan, placement, start_timeout_s, str(folder.path))
    pulse, asked = Pulse(start_timeout_s), False
    try:
        pulse.found(pulse.wait(driver.pid.remote()), plan.failures.driver_silence_s)
        running = driver.run.remote([data_ref])
        while True:
            done, _ = ray.wait([running], timeout=_POLL_S)
            for event in pulse.wait(driver.poll.remote()):
                on_event(_ASKED[event.kind](**event.values) if event.kind in _ASKED else event)
            if done:
                ray.get(running)
                return
            if stop_wanted() and not asked:
                asked = True
                driver.stop.remote()
    except RayTaskError as error:
        raise explained(error) from None
    except Silent:
        pulse.kill()
        raise
    finally:
        ray.kill(driver)


def _restart_control() -> Event:
    """Kills Ray's control service and starts it again, as Ray's own tests do, where this process started Ray."""
    worker: Any = import_module("ray._private.worker")
    node = worker._global_node
    if node is None or not node.head:
        text = "restart_control was not carried out: this process did not start Ray"
        return Event(kind="warning", values={"text": text})
    node.kill_gcs_server()
    node.start_gcs_server()
    return Event(kind="warning", values={"text": "Ray's control service was killed and started again, as planned"})


def _stop_delivery(pid: int, seconds: float) -> Event:
    """Stops a process for a while. Done here, since the driver may end before the while has passed."""
    process = psutil.Process(pid)

    def go_on() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()

    process.suspend()
    threading.Timer(seconds, go_on).start()
    text = f"the delivery to MLflow stands still for {seconds:g} s, as planned"
    return Event(kind="warning", values={"text": text})


_ASKED: dict[str, Callable[..., Event]] = {"restart_control": _restart_control, "tracking_away": _stop_delivery}
"""Faults that the driver asks this process to carry out."""


__all__ = ["Interrupted", "connect", "run", "shape"]
