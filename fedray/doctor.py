"""Checks of the machine: what is wrong, and how to mend it."""

import os
import resource
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Console
from rich.table import Table

from fedray.errors import FedrayError
from fedray.runtime.limits import limits_here
from fedray.runtime.placement import ACTOR_BYTES, FORKED_ACTOR_BYTES, ActorsConfig

_GB = 1e9
_SHM = "/dev/shm"  # noqa: S108


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        found: What was seen.
        state: Whether it is right.
        fix: What to do, where it is not.
    """

    what: str
    found: str
    state: Literal["ok", "warning", "wrong"] = "ok"
    fix: str = ""


def examine(address: str | None = None) -> list[Finding]:
    """Looks at everything that commonly goes wrong.

    Args:
        address: Ray cluster to reach; None: start Ray here.
    """
    looks = (_python, _packages, _processors, _memory, _shm, _open_files, _processes, _disk)
    return [*(look() for look in looks), _ray(address), _mlflow()]


def show(console: Console, findings: list[Finding]) -> int:
    """Prints the findings; gives the exit status: 1 where something is wrong."""
    table = Table("", "what", "found", "what to do")
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "wrong": "[red]wrong[/]"}
    for finding in findings:
        table.add_row(marks[finding.state], finding.what, finding.found, finding.fix)
    console.print(table)
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(what="Python", found=version)


def _packages() -> Finding:
    found: list[str] = []
    for name in ("fedray", "ray", "torch", "mlflow", "numpy"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            return Finding(what="packages", found=f"{name} is missing", state="wrong", fix=f"pip install {name}")
    return Finding(what="packages", found=", ".join(found))


def _processors() -> Finding:
    found = f"{len(os.sched_getaffinity(0))} usable"
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads not in (None, "1"):
        fix = "unset OMP_NUM_THREADS; fedray gives each actor its threads by the setting `threads`"
        return Finding(what="processors", found=f"{found}, OMP_NUM_THREADS={threads}", state="warning", fix=fix)
    return Finding(what="processors", found=found)


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / _GB:.1f} of {memory.total / _GB:.1f} GB free"
    if memory.available < 2e9:
        return Finding(what="memory", found=found, state="wrong", fix="free at least 2 GB; an actor needs about 0.3 GB")
    room, forked = (int(0.7 * memory.available // size) for size in (ACTOR_BYTES, FORKED_ACTOR_BYTES))
    return Finding(what="memory", found=f"{found}, room for about {room} client actors, or {forked} that are forked")


def _shm() -> Finding:
    if not Path(_SHM).exists():
        return Finding(what=_SHM, found="none", state="warning", fix="Ray falls back to slower files in /tmp")
    total = psutil.disk_usage(_SHM).total
    found = f"{total / _GB:.2f} GB"
    if total < 1e9:
        fix = "in a container mount a larger one: docker run --shm-size=4g, or a memory-backed volume in Kubernetes"
        return Finding(what=_SHM, found=found, state="wrong" if total < 2e8 else "warning", fix=fix)
    return Finding(what=_SHM, found=found)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (at most {hard})"
    if soft < 4096:
        return Finding(
            what="open files", found=found, state="warning", fix="ulimit -n 65536, for more than a few actors"
        )
    return Finding(what="open files", found=found)


def _processes() -> Finding:
    tightest = min(limits_here(), key=lambda limit: limit.num_actors, default=None)
    if tightest is None:
        return Finding(what="threads and files", found="unlimited")
    room = tightest.num_actors
    found = f"room for {room} client actors, by {tightest.value} {tightest.what}"
    if room < 100:
        return Finding(what="threads and files", found=found, state="warning", fix=tightest.remedy)
    return Finding(what="threads and files", found=found)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / _GB:.1f} GB free here"
    if free < 1e9:
        return Finding(what="disk", found=found, state="warning", fix="free some, or set runs to another disk")
    return Finding(what="disk", found=found)


def _ray(address: str | None) -> Finding:
    from fedray.runtime.cluster import connect

    where = address or os.environ.get("RAY_ADDRESS") or "started here"
    try:
        with connect(ActorsConfig(address=address)) as cluster:
            memory = cluster.memory_bytes / _GB
            found = f"{where}: {cluster.nodes} node(s), {cluster.cpus:g} processors, {memory:.1f} GB for actors"
            return Finding(what="Ray", found=found)
    except FedrayError as error:
        return Finding(what="Ray", found=where, state="wrong", fix=str(error))


def _mlflow() -> Finding:
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if address:
        fix = "fedray does not read MLFLOW_TRACKING_URI; set tracking.uri in the experiment"
        return Finding(what="MLflow", found=f"MLFLOW_TRACKING_URI={address}", state="warning", fix=fix)
    return Finding(
        what="MLflow",
        found=f"{metadata.version('mlflow')}, a database beside the run folders unless tracking.uri is set",
    )
