"""What all processes of a run hold at a moment: memory, files, threads, the object store, Ray's table of actors."""

import contextlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from ray._private.internal_api import get_memory_info_reply
from ray._private.state import state

ROLES = ("caller", "driver", "client actor", "chaos actor", "nursery", "raylet", "gcs_server", "other")
"""What a process is: "other" are Ray's log monitor and agents, and workers that wait for work or start."""
ALL = "all processes"
HELD = ("anonymous_bytes", "pss_bytes", "open_files", "threads")
"""What each holds: memory that is no file's, memory with its part of what is shared, files, threads. The first does not
change when another Ray on this machine maps the same libraries, or no longer."""
Sample = dict[str, float]


def sample() -> Sample:
    """Everything that could grow. Called in the process that has started Ray."""
    found: Sample = {f"{role}/{what}": 0 for role in (ALL, *ROLES) for what in ("processes", *HELD)}
    zombies = 0
    for process in _ours():
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            if process.status() == psutil.STATUS_ZOMBIE:
                zombies += 1
                continue
            role, held = _role(process), {"processes": 1, **_held(process)}
            for what, amount in held.items():
                found[f"{role}/{what}"] += amount
                found[f"{ALL}/{what}"] += amount
    return found | {"zombies": zombies} | _of_ray()


def _held(process: psutil.Process) -> Sample:
    memory = process.memory_full_info()
    amounts = (memory.rss - memory.shared, memory.pss, process.num_fds(), process.num_threads())
    return dict(zip(HELD, amounts, strict=True))


def _ours() -> list[psutil.Process]:
    """This process and all that come from it; forked workers have another parent and know the raylet."""
    me = psutil.Process()
    raylets = {str(child.pid) for child in me.children() if child.name() == "raylet"}
    family = {process.pid: process for process in (me, *me.children(recursive=True))}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in family and (
                process.ppid() in family or process.environ().get("RAY_RAYLET_PID") in raylets
            ):
                family[process.pid] = process
    return list(family.values())


def _role(process: psutil.Process) -> str:
    if process.pid == os.getpid():
        return "caller"
    name, command = process.name(), " ".join(process.cmdline())
    for start, role in (("ray::ClientActor", "client actor"), ("ray::Driver", "driver"), ("ray::Chaos", "chaos actor")):
        if command.startswith(start):
            return role
    if name in ("raylet", "gcs_server"):
        return name
    return "nursery" if _is_nursery(process) and not _is_nursery(process.parent()) else "other"


def _is_nursery(process: psutil.Process | None) -> bool:
    """Whether it is one, or was forked from one and has no name of its own yet."""
    return process is not None and "fedray.runtime.forking.nursery" in process.cmdline()


def _of_ray() -> Sample:
    """The object store, the actors that Ray's control service knows, and what Ray has written to its logs."""
    actors: dict[str, dict[str, Any]] = state.actor_table(None)
    dead = sum(actor["State"] == "DEAD" for actor in actors.values())
    store = get_memory_info_reply(state).store_stats
    worker: Any = import_module("ray._private.worker")
    logs = Path(worker._global_node.get_session_dir_path(), "logs")
    sizes = [file.stat().st_size for file in logs.rglob("*") if file.is_file()]
    return {
        "store/bytes": store.object_store_bytes_used,
        "store/objects": store.num_local_objects,
        "actors/dead": dead,
        "actors/others": len(actors) - dead,
        "logs/bytes": sum(sizes),
        "logs/files": len(sizes),
    }
