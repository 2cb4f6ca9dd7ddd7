"""What each round of a run cost: the timings in rounds.jsonl, in which older runs lack some values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fedray.errors import RunFolderError
from fedray.simulation.run_folder import Record, RunFolder

STEPS = ("sample", "schedule", "put", "train", "aggregate", "server", "evaluate", "record", "checkpoint")
"""The steps of a round in their order; those of a run that are not among them follow."""
WHOLE = "round"
"""The name of a round's whole wall time among its seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCost:
    """One round.

    Attributes:
        round: Its number, from 1.
        wall_s: From the end of the round before to its own end.
        seconds: Wall time by step, disjoint.
        bytes: Bytes moved by step; under "all" where an old run does not say in which.
        cohort: Clients that were trained.
        examples: Examples trained on.
        busy_s: Time that actors spent training, summed over blocks, or None.
        slots: How many actors train at once, or None.
        blocks: Blocks of the cohort, or None.
        longest_block_s: Training time of the slowest block, or None.
    """

    round: int
    wall_s: float
    seconds: dict[str, float]
    bytes: dict[str, int] = field(default_factory=dict[str, int])
    cohort: int = 0
    examples: int = 0
    busy_s: float | None = None
    slots: int | None = None
    blocks: int | None = None
    longest_block_s: float | None = None


def read(folder: Path) -> tuple[RoundCost, ...]:
    """The rounds of a run, finished or going on.

    Args:
        folder: The run folder.

    Raises:
        RunFolderError: It is none, it is damaged, or it has no round yet.
    """
    records = RunFolder.open(folder).lines("rounds")
    if not records:
        raise RunFolderError(f"{folder} has no finished round yet; go on with `fedray resume {folder}`")
    costs = tuple(of_record(record, number) for number, record in enumerate(records, start=1))
    if not any(cost.wall_s for cost in costs):
        raise RunFolderError(f"{folder} has rounds but no seconds in them; run it anew with this version of fedray")
    return costs


def of_record(record: Record, number: int = 1) -> RoundCost:
    """One line of rounds.jsonl.

    Args:
        record: The line.
        number: Its position, for a line that does not say its round.
    """
    seconds = _numbers(record.get("seconds"))
    whole = seconds.pop(WHOLE, None)
    return RoundCost(
        round=_whole(record.get("round")) or number,
        wall_s=sum(seconds.values()) if whole is None else whole,
        seconds=seconds,
        bytes=_bytes(record.get("bytes")),
        cohort=_whole(record.get("trained", record.get("cohort"))) or 0,
        examples=_whole(record.get("examples")) or 0,
        busy_s=_number(record.get("busy_s")),
        slots=_whole(record.get("slots")),
        blocks=_whole(record.get("blocks")),
        longest_block_s=_number(record.get("longest_block_s")),
    )


def as_record(cost: RoundCost) -> Record:
    """The reverse of `of_record`."""
    return {
        "round": cost.round,
        "seconds": {**cost.seconds, WHOLE: cost.wall_s},
        "bytes": cost.bytes,
        "cohort": cost.cohort,
        "examples": cost.examples,
        "busy_s": cost.busy_s,
        "slots": cost.slots,
        "blocks": cost.blocks,
        "longest_block_s": cost.longest_block_s,
    }


def steps(costs: tuple[RoundCost, ...]) -> tuple[str, ...]:
    """The steps that took part, in their order."""
    found = dict.fromkeys(name for cost in costs for name in cost.seconds)
    return (*(name for name in STEPS if name in found), *(name for name in found if name not in STEPS))


def _bytes(value: Any) -> dict[str, int]:
    if isinstance(value, Mapping):
        return {name: int(number) for name, number in _numbers(value).items()}
    number = _number(value)
    return {} if number is None else {"all": int(number)}


def _numbers(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    pairs = cast(Mapping[Any, Any], value).items()
    return {str(name): number for name, entry in pairs if (number := _number(entry)) is not None}


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: Any) -> float | None:
    """A finite number that is not negative, or None for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
