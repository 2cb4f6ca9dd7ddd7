"""Fetching a public file once: to a temporary name, checked, synced and renamed, so that a cache never holds half."""

import hashlib
import http.client
import os
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import Progress

from fedray.errors import DataError

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file at a public address.

    Attributes:
        url: Its address.
        file: Its name in the cache.
        sha256: Its checksum where one is publicly on record, else None: then only the length the server announced is
            checked, and a user who knows better sets data.sha256.
    """

    url: str
    file: str
    sha256: str | None = None


def download(url: str, target: Path, sha256: str | None = None) -> Path:
    """Fetches `url` to `target`, unless it is there already.

    Args:
        url: Address of the file.
        target: Where it is kept; folders are made.
        sha256: Checksum in hexadecimal, or None to check only the length.

    Raises:
        DataError: No connection, an interrupted transfer, or a wrong checksum. Nothing is left behind.
    """
    if target.is_file():
        _check(_digest(target), sha256, f"{target}", f"delete {target}")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise DataError(f"{target.parent} cannot be written ({error.strerror}); change data.cache") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _transfer(url, file)
            file.flush()
            os.fsync(file.fileno())
        _check(digest, sha256, url, "set data.sha256 to the checksum you trust")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _transfer(url: str, file: BinaryIO) -> str:
    """Copies the body of `url` into `file` and returns its SHA-256."""
    if not url.startswith(("http://", "https://")):
        raise DataError(f"the address '{url}' is neither http nor https; set data.path to a local file instead")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 (scheme checked above)
            total = int(response.headers.get("Content-Length") or 0) or None
            with Progress(console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task(url.rpartition("/")[2], total=total)
                done = 0
                while chunk := response.read(_CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    progress.update(task, completed=done)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{url} cannot be downloaded ({reason}); set data.path to a local copy") from error
    if total is not None and done != total:
        raise DataError(f"{url} broke off after {done} of {total} bytes; start again, or set data.path to a local copy")
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(digest: str, expected: str | None, what: str, remedy: str) -> None:
    if expected is not None and digest != expected.lower():
        raise DataError(f"{what} has the SHA-256 {digest}, but {expected.lower()} was expected; {remedy}")
