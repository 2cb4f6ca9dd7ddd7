"""A storage that answers in time, or is not waited for."""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from fedray.errors import ConfigError, FedrayError, RunFolderError
from fedray.simulation.stores import Store, open_store

T = TypeVar("T")


class LimitedStore:
    """A store whose calls have a limit.

    A call that is late goes on in a thread of its own, for which nobody waits, not even the end of the process. Until
    it ends nothing else is asked of the store: so a storage that hangs costs a run the limit once, and what a late call
    still writes never meets a newer one.

    Args:
        open: Opens the store; a call like any other.
        uri: For messages.
        timeout_s: How long a call may take, with all that is tried again in it.

    Attributes:
        tears: As in `Store`.
    """

    def __init__(self, open: Callable[[], Store], uri: str, timeout_s: float) -> None:
        self._uri, self._timeout_s = uri, timeout_s
        self._late: Future[Any] | None = None
        self._store = self._in_time(open)
        self.tears = self._store.tears

    def __str__(self) -> str:
        return str(self._store)

    def write(self, name: str, data: bytes) -> None:
        self._in_time(lambda: self._store.write(name, data))

    def read(self, name: str) -> bytes | None:
        return self._in_time(lambda: self._store.read(name))

    def names(self) -> list[str]:
        return self._in_time(lambda: self._store.names())

    def remove(self, name: str) -> None:
        self._in_time(lambda: self._store.remove(name))

    def _in_time(self, call: Callable[[], T]) -> T:
        if self._late is not None and not self._late.done():
            raise RunFolderError(f"{self._uri} still does not answer; see checkpoint.uri and checkpoint.timeout_s")
        asked: Future[T] = Future()

        def work() -> None:
            try:
                asked.set_result(call())
            except BaseException as error:  # raised where the answer is waited for
                asked.set_exception(error)

        threading.Thread(target=work, name="fedray-storage", daemon=True).start()
        if wait([asked], self._timeout_s).not_done:
            self._late = asked
            late = f"did not answer in {self._timeout_s:g} s"
            raise RunFolderError(f"{self._uri} {late}; see checkpoint.uri, or raise checkpoint.timeout_s")
        return asked.result()


def open_storage(uri: str, timeout_s: float, *parts: str) -> LimitedStore:
    """The store behind a URI, with a limit for each call.

    Args:
        uri: As in `checkpoint.uri`.
        timeout_s: As in `checkpoint.timeout_s`.
        parts: Folders below it.

    Raises:
        ConfigError: Its protocol is unknown, or the protocol's package is not installed.
        RunFolderError: The file system cannot be set up.
    """
    return LimitedStore(lambda: open_store(uri, *parts), "/".join([uri.rstrip("/"), *parts]), timeout_s)


def check(uri: str | None, timeout_s: float) -> None:
    """Looks whether checkpoints can be written to a URI, by writing a byte and removing it.

    Raises:
        ConfigError: They cannot, and why.
    """
    if uri is None:
        return
    try:
        store, name = open_storage(uri, timeout_s), f".fedray-{secrets.token_hex(8)}"
        store.write(name, b"?")
        store.remove(name)
    except ConfigError:
        raise
    except FedrayError as error:
        raise ConfigError(f"checkpoint.uri is {uri!r}, where nothing can be saved: {error}") from error
