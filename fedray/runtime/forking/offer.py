"""How Ray is told to start client actors by forking."""

import contextlib
import shlex
import sys
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import ray._private.ray_constants as constants

from fedray.errors import CapacityError

_HERE = Path(__file__).parent


def runtime_env() -> dict[str, str]:
    """The runtime environment of an actor that is forked.

    The launcher's path is that of this process: nodes must have Python and fedray at the same paths.
    """
    return {"py_executable": shlex.join([sys.executable, "-I", "-S", str(_HERE / "launcher.py")])}


def check_forked(pid: int) -> None:
    """Looks at one worker that should be a fork, where it is on this machine.

    Raises:
        CapacityError: It is not: all others would take as much memory as it does.
    """
    try:
        worker = psutil.Process(pid)
        parent = worker.parent()
        plain = parent is not None and parent.name() == "raylet" and worker.name().startswith("ray::")
    except psutil.Error:
        return
    if plain:
        raise CapacityError(
            f"client actors cannot be forked here; the reason is in {logs_folder()}, in fedray-nursery-*.log: set "
            "actors.fork to false"
        )


def logs_folder() -> str:
    """The folder of Ray's logs on this node."""
    worker: Any = import_module("ray._private.worker")
    return str(worker.global_worker.node.get_logs_dir_path())


@contextlib.contextmanager
def quick_setup() -> Generator[None]:
    """A Ray that starts in this context reaches the launcher without importing Ray for each worker.

    Ray runs every worker through a script of its own, and has no setting for another; where its name is gone in a later
    Ray, forking works without, only slower.
    """
    rays: Any = constants
    own = getattr(rays, "SETUP_WORKER_FILENAME", None)
    if own is None:
        yield
        return
    rays.SETUP_WORKER_FILENAME = str(_HERE / "setup_worker.py")
    try:
        yield
    finally:
        rays.SETUP_WORKER_FILENAME = own
