"""A fleet of which some machines wait, each once, until their process is killed; and how their processes are found."""

import os
import time
from pathlib import Path

import psutil

from fedray import DataSpec, FederatedData, Shard
from fedray.data.base import GeneratedDataConfig
from fedray.data.fleet import Fleet
from fedray.messages import Ints

MACHINES = 12
LIMIT_S = 200


class Crowd(GeneratedDataConfig):
    """Machines of which some, when first asked, write their process id and wait for its end."""

    name: str
    folder: str | None = None
    """Where the process ids are written, to `pid-CLIENT`; none: nobody waits."""
    waiting: tuple[int, ...] = ()
    """Who waits."""

    def load(self, seed: int) -> FederatedData:
        return _Crowd(Fleet(machines=MACHINES).load(seed), self)


class _Crowd(FederatedData):
    def __init__(self, fleet: FederatedData, config: Crowd) -> None:
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
        if self.config.folder is not None and client in self.config.waiting:
            self._wait(Path(self.config.folder, f"pid-{client}"))
        return self.fleet.shard(client)

    def _wait(self, file: Path) -> None:
        if file.exists():
            return
        beside = file.with_name(f"{file.name}.{os.getpid()}")
        beside.write_text(str(os.getpid()))
        beside.rename(file)
        time.sleep(LIMIT_S)
        raise RuntimeError("nobody came")


def waiting(folder: Path, client: int) -> int | None:
    """The process in which a client waits."""
    file = folder / f"pid-{client}"
    return int(file.read_text()) if file.exists() else None


def raylet_of(root: int) -> psutil.Process | None:
    """The raylet that a process started."""
    return next((child for child in psutil.Process(root).children() if child.name() == "raylet"), None)


def below(raylet: int, word: str) -> list[psutil.Process]:
    """Living processes that a raylet started, whoever their parent is, with a word in their command."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("RAY_RAYLET_PID") == str(raylet)
            if mine and process.status() != psutil.STATUS_ZOMBIE and word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found
