"""A fleet with one machine that waits, or kills its process: named by import path, so that workers import it too."""

import os
import time
from pathlib import Path

from fedray import DataSpec, FederatedData, Shard
from fedray.data.base import GeneratedDataConfig
from fedray.data.fleet import Fleet
from fedray.messages import Ints

CLIENT = 3
MACHINES = 6
LIMIT_S = 100


class Gated(GeneratedDataConfig):
    """Machines of which one, when first asked, writes its process id and waits for its end."""

    name: str
    folder: str | None = None
    """Where the process id is written, to `pid`; none: nobody waits."""
    deadly: bool = False
    """The machine ends its process, every time."""

    def load(self, seed: int) -> FederatedData:
        return _Gated(Fleet(machines=MACHINES).load(seed), self)


class _Gated(FederatedData):
    def __init__(self, fleet: FederatedData, config: Gated) -> None:
        self.fleet, self.config = fleet, config

    @property
    def spec(self) -> DataSpec:
        return self.fleet.spec

    @property
    def sizes(self) -> Ints:
        return self.fleet.sizes

    def test(self) -> Shard | None:
        return self.fleet.test()

    def shard(self, client: int) -> Shard:
        if client == CLIENT:
            self._pass()
        return self.fleet.shard(client)

    def _pass(self) -> None:
        if self.config.deadly:
            os._exit(1)
        if self.config.folder is not None and _claim(Path(self.config.folder)):
            time.sleep(LIMIT_S)
            raise RuntimeError("nobody came")


def _claim(folder: Path) -> bool:
    """Whether this call is the first; its process id can be read from then on."""
    if (folder / "pid").exists():
        return False
    beside = folder / f"pid.{os.getpid()}"
    beside.write_text(str(os.getpid()))
    beside.rename(folder / "pid")
    return True
