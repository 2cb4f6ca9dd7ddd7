"""The process beside a run: `python -m fedray.tracking.follow RUN_FOLDER` delivers the folder while it is written.

It ends when the run has ended and all is delivered (exit status 0), or `tracking.finish_s` has passed or the server
stayed away (exit status 1), and soon after the process that started it is gone.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil

from fedray.errors import TrackingError, UserError
from fedray.tracking.folder import RunFolder
from fedray.tracking.report import SyncReport, compare
from fedray.tracking.sync import sync

DELIVERED, NOT_DELIVERED, UNUSABLE = 0, 1, 2
NICENESS = 10
LONGEST_PAUSE_S = 30.0
LONGEST_PAUSE_AT_END_S = 5.0
TRIES_AT_END = 3
"""A server that is away when the run ends is not waited for much longer: `fedray sync` delivers to it."""


def follow(folder: Path, *, interval_s: float = 1.0, has_parent: Callable[[], bool] = lambda: True) -> int:
    """Delivers a run until it has ended; a server that is away is tried again, ever more seldom.

    Args:
        folder: The run folder.
        interval_s: Pause between two looks at the folder, in seconds.
        has_parent: Whether the process that runs the experiment is there; when it is gone and the status still says
            that the run goes on, MLflow shows the run as killed.

    Returns:
        The exit status.
    """
    run = RunFolder(folder)
    finish_s = run.settings().finish_s
    deadline: float | None = None
    failures, next_try = 0, 0.0
    while True:
        over = run.status().is_over
        gone = not over and not has_parent()
        if (over or gone) and deadline is None:
            deadline, failures, next_try = time.monotonic() + finish_s, 0, 0.0
        if time.monotonic() >= next_try:
            report = attempt(folder, abandoned=gone)
            if report.complete and (over or gone):
                return DELIVERED
            failures = failures + 1 if report.error else 0
            next_try = time.monotonic() + _pause(interval_s, failures, deadline is not None)
        if deadline is not None and (time.monotonic() >= deadline or failures >= TRIES_AT_END):
            return NOT_DELIVERED
        time.sleep(interval_s)


def attempt(folder: Path, abandoned: bool) -> SyncReport:
    """One delivery; a server that is away is in the report, not raised."""
    try:
        return sync(folder, abandoned=abandoned)
    except TrackingError:
        return compare(RunFolder(folder), abandoned=abandoned)


def watch(pid: int) -> Callable[[], bool]:
    """Whether a process is there still: that very one, and not merely waiting to be collected."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return lambda: False

    def is_there() -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return is_there


def _pause(interval_s: float, failures: int, at_end: bool) -> float:
    longest = LONGEST_PAUSE_AT_END_S if at_end else LONGEST_PAUSE_S
    return min(longest, interval_s * 2 ** min(failures, 10)) if failures else 0.0


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fedray.tracking.follow", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks at the folder")
    parser.add_argument("--parent", type=int, help="process that runs the experiment")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    os.nice(NICENESS)
    try:
        has_parent = watch(given.parent) if given.parent else lambda: True
        return follow(given.folder, interval_s=given.interval, has_parent=has_parent)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return UNUSABLE


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(NOT_DELIVERED)


if __name__ == "__main__":
    sys.exit(main())
