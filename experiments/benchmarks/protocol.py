"""What the bench asks of a runner and what the runner answers: two JSON files and the final parameters."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run.

    Attributes:
        shards: Folder of the workload's files.
        out: Folder for everything the run writes.
        rounds: Rounds to train.
        workers: Processes (or threads) that may train at the same time.
        processes: Processes of a runner that has variants.
        same_orders: Take each client's row order from the files, to give the same parameters as all others; if not,
            draw it, as one does.
        started: When the bench started the process, seconds since 1970.
    """

    shards: str
    out: str
    rounds: int
    workers: int
    processes: int
    same_orders: bool
    started: float

    def save_parameters(self, parameters: Any) -> None:
        """Writes the final parameters, shape (P,)."""
        np.save(Path(self.out) / "final.npy", np.asarray(parameters, np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a run took.

    Attributes:
        round_s: Wall time of each round in seconds.
        start_s: Seconds from the start of the process to the start of the first round.
        versions: Package to version.
        accounted: Part of the wall time of rounds that the runner's own breakdown explains, or None.
        notes: What the runner chose by itself.
    """

    round_s: list[float]
    start_s: float
    versions: dict[str, str]
    accounted: float | None = None
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Laps:
    """A stopwatch for rounds: call `lap` before the first round and after each."""

    times: list[float] = field(default_factory=list)

    def lap(self) -> None:
        """Now."""
        self.times.append(time.time())

    def answer(self, request: Request, versions: dict[str, str], **more: Any) -> Answer:
        """The answer of a run that is over."""
        rounds = [after - before for before, after in pairwise(self.times)]
        return Answer(round_s=rounds, start_s=self.times[0] - request.started, versions=versions, **more)


def serve(run: Callable[[Request], Answer]) -> None:
    """The main function of a runner: `python -m ... request.json answer.json`."""
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer = run(request)
    Path(sys.argv[2]).write_text(json.dumps(asdict(answer)), encoding="utf-8")
