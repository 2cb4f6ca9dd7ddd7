"""Starting the process beside a run, and waiting for it when the run has ended; imports no mlflow."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from fedray.tracking.environment import variables
from fedray.tracking.folder import RunFolder
from fedray.tracking.report import SyncReport, compare

LOG = "tracking.log"
GRACE_S = 5.0
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def start(folder: Path, *, interval_s: float = 1.0) -> subprocess.Popen[bytes]:
    """Starts the delivery of a run, in a session of its own so that Ctrl-C ends the run and not its delivery.

    Args:
        folder: The run folder, with config.yaml and status.json in it. The process writes to its `tracking.log`.
        interval_s: Pause between two looks at the folder, in seconds.
    """
    timeout_s = RunFolder(folder).settings().timeout_s
    command = [sys.executable, "-m", "fedray.tracking.follow", str(folder.resolve())]
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [*command, "--interval", str(interval_s), "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **THREADS, **variables(timeout_s)},
            start_new_session=True,
        )


def wait(process: subprocess.Popen[bytes], folder: Path, finish_s: float) -> SyncReport:
    """Waits until the ended run is delivered, but not for ever; the process is gone afterwards.

    Args:
        process: From `start`.
        folder: The run folder, whose status says that the run has ended.
        finish_s: Longest wait in seconds.

    Returns:
        What is missing; its text is for the user.
    """
    try:
        process.wait(finish_s + GRACE_S)
    except subprocess.TimeoutExpired:
        stop(process)
    return compare(RunFolder(folder))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process; what it had not delivered stays for the next sync."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # it is in a call of the kernel, and is gone when that ends
            process.wait(GRACE_S)
