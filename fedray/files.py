"""Files that are either whole or not there, and a disk's own errors told in one sentence."""

import errno
import fcntl
import json
import math
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedray.errors import CapacityError, RunFolderError


@contextmanager
def disk_errors(path: Path) -> Generator[None, None, None]:
    """Turns errors of the disk under `path` into a sentence.

    Raises:
        CapacityError: The disk or the quota is full.
        RunFolderError: It cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CapacityError(
                f"{path} cannot be written because the disk is full; free some space or choose a folder on another disk"
            ) from error
        raise RunFolderError(f"{path} cannot be written ({error.strerror}); choose another folder") from error


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """A file to write beside `path`, which takes its place when the block ends without an error.

    A crash at any moment leaves the old contents or the new. The folder of `path` is made when it is missing.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            _sync(beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        _sync(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file, as `replacing` does."""
    with replacing(path) as beside:
        beside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes a whole file in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Writes a whole JSON file; NaN and infinity, which JSON has not, become null."""
    write_text(path, json.dumps(_finite(data), indent=2, allow_nan=False) + "\n")


@contextmanager
def exclusive(folder: Path, doing: str) -> Generator[None, None, None]:
    """Keeps other processes out of a folder.

    Args:
        folder: An existing folder; its `.lock` is what is locked.
        doing: What is done there, for those who come too late: "run".

    Raises:
        RunFolderError: Another process is there.
    """
    path = folder / ".lock"
    with disk_errors(path):
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"{folder} is being {doing} by another process; wait for it, or stop it") from None
        yield


def _sync(path: Path) -> None:
    """Forces a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
