"""Disks that are really full."""

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class SmallDisk:
    """A folder in which little can be written.

    Attributes:
        path: The folder.
        options: For `subprocess.run`: how a process is kept from writing more, where no small disk can be mounted.
        words: What the error says.
        grow: Makes room.
    """

    path: Path
    words: str
    grow: Callable[[], None]
    options: dict[str, Any] = field(default_factory=dict)


@contextmanager
def small_disk(path: Path, pages: int) -> Generator[SmallDisk]:
    """A disk of some pages, mounted where that is allowed; else a limit on the size of each file."""
    path.mkdir()
    size = pages * _PAGE
    mounted = os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    if not mounted:
        limit = {"preexec_fn": lambda: _limit(size // 20)}
        yield SmallDisk(path=path, words="cannot be written", grow=lambda: None, options=limit)
        return
    try:
        yield SmallDisk(path=path, words="the disk is full", grow=lambda: _grow(path))
    finally:
        subprocess.run(["umount", str(path)], check=True)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def _grow(path: Path) -> None:
    assert _mount("-o", "remount,size=64m", str(path))


def _limit(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
