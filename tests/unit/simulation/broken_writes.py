"""Writes that break off: at the n-th call, with an error or because the process is gone."""

import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem


class Gone(BaseException):
    """As SIGKILL: nothing that follows is done."""


class Faults:
    """Lets calls pass until the n-th, which fails.

    Args:
        at: The call that fails, from 1.
        gone: Whether the process is gone then, instead of getting an error.
        extent: How much of that call is done: "nothing", "half" (of what it writes) or "all".
    """

    def __init__(self, at: int, gone: bool = False, extent: str = "nothing", number: int = errno.EIO) -> None:
        self.at, self.gone, self.extent, self.number = at, gone, extent, number
        self.calls = 0

    def end(self) -> bool:
        """Lets all calls pass from here on; says whether one has failed."""
        met, self.at = self.calls >= self.at, 10**9
        return met

    def call(self, act: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        self.calls += 1
        if self.calls < self.at or (self.calls > self.at and not self.gone):
            return act()
        if self.calls == self.at:
            {"nothing": lambda: None, "half": half, "all": act}[self.extent]()
        raise Gone if self.gone else OSError(self.number, os.strerror(self.number))


class FaultyFile:
    """A file that is being written."""

    def __init__(self, path: str, faults: Faults) -> None:
        self.file, self.faults = FileIO(path, "wb"), faults

    def __enter__(self) -> "FaultyFile":
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def write(self, data: bytes) -> int:
        return self.faults.call(lambda: self.file.write(data), lambda: self.file.write(data[: len(data) // 2]))

    def close(self) -> None:
        try:
            self.faults.call(lambda: None, lambda: self.file.truncate(self.file.tell() // 2))
        finally:
            self.file.close()  # the test's own process has to give it back


class FaultyFileSystem(LocalFileSystem):
    """Local files without an atomic rename, every change of which can break off."""

    protocol = "faulty"
    cachable = False

    def __init__(self, faults: Faults | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.faults = faults or Faults(at=10**9)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" not in mode:
            return super()._open(path, mode, **options)
        self.faults.call(lambda: Path(path).write_bytes(b""))
        return FaultyFile(path, self.faults)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.faults.call(lambda: LocalFileSystem.makedirs(self, path, exist_ok))

    def rm_file(self, path: str) -> None:
        self.faults.call(lambda: LocalFileSystem.rm_file(self, path))

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.faults.call(lambda: LocalFileSystem.mv(self, path1, path2, **options))


@contextmanager
def faulty_disk(faults: Faults) -> Generator[None]:
    """What fedray.files asks of the disk breaks off."""
    write, replace, fsync, unlink, mkdir = Path.write_bytes, os.replace, os.fsync, Path.unlink, Path.mkdir
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            Path,
            "write_bytes",
            lambda self, data: faults.call(lambda: write(self, data), lambda: write(self, data[: len(data) // 2])),
        )
        patched.setattr(os, "replace", lambda *names: faults.call(lambda: replace(*names)))
        patched.setattr(os, "fsync", lambda handle: faults.call(lambda: fsync(handle)))
        patched.setattr(Path, "unlink", lambda self, **more: faults.call(lambda: unlink(self, **more)))
        patched.setattr(Path, "mkdir", lambda self, *mode, **more: faults.call(lambda: mkdir(self, *mode, **more)))
        yield
