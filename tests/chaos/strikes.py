"""Runs with faults on a real Ray: what they have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runs import PLACES, experiment, serial

import fedray
from fedray import Result
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event

TWO = {"num_actors": 2}
BUT_CAUSE = (*PLACES, "cause")
"""Columns of the ledger that a lost actor may change, though no bit changes."""
Row = dict[str, Any]


def faulty(
    folder: Path,
    *faults: dict[str, Any],
    actors: dict[str, Any] = TWO,
    on_event: Callable[[Event], None] | None = None,
    **settings: Any,
) -> Result:
    """A run with a plan, on Ray."""
    found = experiment(folder, faults=list(faults), actors=actors, **settings)
    return fedray.run(found, on_event=on_event)


def serially(folder: Path, *faults: dict[str, Any], **settings: Any) -> Result:
    """The same plan without processes."""
    return serial(folder, faults=list(faults), **settings)


def run_in(folder: Path) -> Result:
    """The only run of a folder, however far it came."""
    (found,) = (folder / "runs").iterdir()
    return Result(found)


def events(result: Result, round: int | None = None) -> list[Row]:
    """The lines of `faults.jsonl`."""
    return [line for line in RunFolder(result.folder).lines("faults") if round is None or line["round"] == round]


def fates(result: Result, round: int) -> dict[int, str]:
    """Client to fate."""
    rows = result.clients[result.clients["round"] == round]
    return dict(zip(rows["client"].tolist(), rows["fate"].tolist(), strict=True))


def of_block(result: Result, round: int, block: int) -> set[int]:
    """The clients of a block."""
    rows = result.clients[(result.clients["round"] == round) & (result.clients["block"] == block)]
    return set(rows["client"].tolist())
