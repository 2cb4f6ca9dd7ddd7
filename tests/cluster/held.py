"""A fleet whose first machine waits for as long as a file is there: a run that stands still in the middle."""

import socket
import time
from pathlib import Path
from typing import Any

from fedray import DataSpec, FederatedData, Shard
from fedray.data.base import GeneratedDataConfig
from fedray.data.fleet import Fleet
from fedray.messages import Ints

MACHINES = 12
LIMIT_S = 100


class Held(GeneratedDataConfig):
    """A fleet."""

    name: str
    folder: str | None = None
    """Where the file `hold` may be, and where actors tell by `at-HOST` that they have the data; none: nobody waits."""

    def load(self, seed: int) -> FederatedData:
        return _Held(Fleet(machines=MACHINES).load(seed), self.folder)


class _Held(FederatedData):
    def __init__(self, fleet: FederatedData, folder: str | None) -> None:
        self.fleet, self.folder = fleet, folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if self.folder is not None:
            (Path(self.folder) / f"at-{socket.gethostname()}").touch()

    @property
    def spec(self) -> DataSpec:
        return self.fleet.spec

    @property
    def sizes(self) -> Ints:
        return self.fleet.sizes

    def test(self) -> Shard | None:
        return self.fleet.test()

    def shard(self, client: int) -> Shard:
        if client == 0 and self.folder is not None:
            until = time.monotonic() + LIMIT_S
            while (Path(self.folder) / "hold").exists():
                if time.monotonic() > until:
                    raise RuntimeError("nobody let it go on")
                time.sleep(0.02)
        return self.fleet.shard(client)
