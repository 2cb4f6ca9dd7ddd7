"""Where checkpoints lie: small flat folders of whole files, on a local disk or behind any fsspec URI."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fedray.errors import CapacityError, ConfigError, RunFolderError
from fedray.files import disk_errors, write_bytes

T = TypeVar("T")

_LOCAL = ("file", "local")
_OBJECTS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "tos")
"""Object stores: they have no folders, and asking for one could create a bucket."""
_WAITS_S = (0.5, 2.0, 5.0)
"""Waits before a call to a remote storage is made again."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError)
"""What does not pass by itself."""


class Store(Protocol):
    """Files by name.

    Attributes:
        tears: Whether a write that breaks off can leave half a file.
    """

    tears: bool

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, or writes over it.

        Raises:
            CapacityError: There is no room.
            RunFolderError: It cannot be written for another reason.
        """
        ...

    def read(self, name: str) -> bytes | None:
        """A file, or None where it is missing or its disk is damaged.

        Raises:
            RunFolderError: The storage does not answer.
        """
        ...

    def names(self) -> list[str]:
        """The names of all files.

        Raises:
            RunFolderError: The storage does not answer.
        """
        ...

    def remove(self, name: str) -> None:
        """Removes a file, if it is there.

        Raises:
            RunFolderError: It cannot be removed.
        """
        ...


class FolderStore:
    """A folder of a local disk, which has an atomic rename: a crash leaves a file's old contents or the new.

    Args:
        path: The folder; made when the first file is written.
    """

    tears = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def write(self, name: str, data: bytes) -> None:
        write_bytes(self._path / name, data)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except OSError:
            return None

    def names(self) -> list[str]:
        with disk_errors(self._path):
            return sorted(path.name for path in self._path.iterdir()) if self._path.exists() else []

    def remove(self, name: str) -> None:
        path = self._path / name
        with disk_errors(path):
            path.unlink(missing_ok=True)


class RemoteStore:
    """A prefix of an fsspec file system. Nothing is assumed of it: a write that breaks off may leave half a file.

    Args:
        system: The file system.
        prefix: In the file system's own notation.
        uri: For messages.
        waits_s: Seconds before a call that failed is made again, one for each time.
        wait: Waits some seconds.
    """

    tears = True

    def __init__(
        self,
        system: fsspec.AbstractFileSystem,
        prefix: str,
        uri: str,
        waits_s: tuple[float, ...] = _WAITS_S,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._system, self._prefix, self._uri = system, prefix, uri
        self._waits_s, self._wait = waits_s, wait

    def __str__(self) -> str:
        return self._uri

    def write(self, name: str, data: bytes) -> None:
        self._try("written", name, lambda path: self._pipe(path, data))

    def read(self, name: str) -> bytes | None:
        return self._try("read", name, self._cat)

    def names(self) -> list[str]:
        return self._try("listed", "", lambda path: self._list())

    def remove(self, name: str) -> None:
        self._try("removed", name, self._rm)

    def _pipe(self, path: str, data: bytes) -> None:
        if urlsplit(self._uri).scheme not in _OBJECTS:
            self._system.makedirs(self._prefix, exist_ok=True)
        self._system.pipe_file(path, data)

    def _cat(self, path: str) -> bytes | None:
        try:
            return cast(bytes, self._system.cat_file(path))
        except FileNotFoundError:
            return None

    def _rm(self, path: str) -> None:
        try:
            self._system.rm_file(path)
        except FileNotFoundError:
            return

    def _list(self) -> list[str]:
        self._system.invalidate_cache()
        try:
            found: list[dict[str, Any]] = self._system.ls(self._prefix, detail=True)
        except FileNotFoundError:
            return []
        return sorted(entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file")

    def _try(self, what: str, name: str, call: Callable[[str], T]) -> T:
        """Makes a call, and again where the reason may pass."""
        path, uri = f"{self._prefix}/{name}".rstrip("/"), f"{self._uri}/{name}".rstrip("/")
        for wait_s in (*self._waits_s, None):
            try:
                return call(path)
            except Exception as error:  # each file system has errors of its own, few of them OSError
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise CapacityError(
                        f"{uri} cannot be {what} because its storage is full; free some space or change checkpoint.uri"
                    ) from error
                if wait_s is None or isinstance(error, _FINAL):
                    raise RunFolderError(f"{uri} cannot be {what} ({_reason(error)}); see checkpoint.uri") from error
            self._wait(wait_s)
        raise AssertionError("the last attempt returns or raises")


def open_store(uri: str, *parts: str) -> FolderStore | RemoteStore:
    """The store behind a URI.

    Args:
        uri: As in `checkpoint.uri`; credentials are what fsspec finds in the environment.
        parts: Folders below it.

    Raises:
        ConfigError: Its protocol is unknown, or the protocol's package is not installed.
        RunFolderError: The file system cannot be set up.
    """
    protocol, uri = urlsplit(uri).scheme, "/".join([uri.rstrip("/"), *parts])
    if protocol in _LOCAL:
        return FolderStore(Path(LocalFileSystem._strip_protocol(uri)))  # pyright: ignore[reportPrivateUsage]
    try:
        system, prefix = fsspec.url_to_fs(uri)
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or protocol
        raise ConfigError(
            f"checkpoint.uri is {uri!r}, which needs the package '{package}'; install it, or change checkpoint.uri"
        ) from error
    except Exception as error:
        if protocol not in fsspec.available_protocols() and isinstance(error, ValueError):
            known = "file, memory, s3, gs, abfs, sftp"
            raise ConfigError(
                f"checkpoint.uri is {uri!r}, but fsspec knows no protocol '{protocol}' (it knows {known} and others)"
            ) from error
        raise RunFolderError(f"{uri} cannot be opened ({_reason(error)}); see checkpoint.uri") from error
    return RemoteStore(system, prefix.rstrip("/"), uri)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
