"""Where the time of a run went."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedray.report.breakdown import RoundCost, read, steps

UNACCOUNTED = "unaccounted"
"""The part of the wall time that no step names."""
TARGET = 0.97
"""The share of the wall time that the steps should account for."""
_MOVERS = ("put", "aggregate")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """One step over all rounds.

    Attributes:
        name: The step.
        total_s: Wall time in all.
        share: Part of the wall time of all rounds, 0 to 1.
        median_s: Of a round.
        p95_s: 95 % of the rounds took no longer.
        bytes: Bytes moved, or None where the step moves none.
    """

    name: str
    total_s: float
    share: float
    median_s: float
    p95_s: float
    bytes: int | None = None

    @property
    def bytes_per_s(self) -> float | None:
        """Speed of the bytes moved."""
        return self.bytes / self.total_s if self.bytes and self.total_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowest:
    """The slowest round.

    Attributes:
        round: Its number.
        wall_s: Its time.
        times_median: How many times the median round.
        step: The step that took most more than in its own median round.
        more_s: How much more.
    """

    round: int
    wall_s: float
    times_median: float
    step: str
    more_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of a run went.

    Attributes:
        rounds: What each round cost.
        steps: What each step cost; the last is `UNACCOUNTED`.
        wall_s: Wall time of all rounds.
        clients_per_s: Clients trained in a second of wall time.
        utilisation: Part of the training time in which the slots were busy, 0 to 1, or None where not recorded.
        bytes: Bytes moved in all.
        slowest: The slowest round.
    """

    rounds: tuple[RoundCost, ...]
    steps: tuple[StepCost, ...]
    wall_s: float
    clients_per_s: float
    utilisation: float | None
    bytes: int
    slowest: Slowest

    @property
    def accounted(self) -> float:
        """Part of the wall time that the steps account for, 0 to 1."""
        return 1.0 - self.steps[-1].share

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        head = {name: getattr(self, name) for name in ("wall_s", "accounted", "utilisation", "clients_per_s", "bytes")}
        rows = [{**asdict(step), "bytes_per_s": step.bytes_per_s} for step in self.steps]
        return {
            "num_rounds": len(self.rounds),
            **head,
            "slowest": asdict(self.slowest),
            "steps": rows,
            "rounds": [asdict(cost) for cost in self.rounds],
        }


def profile(folder: str | Path) -> Profile:
    """Reads the profile of a run.

    Args:
        folder: The run folder.

    Raises:
        RunFolderError: It is none, it is damaged, or it has no round yet.
    """
    return of_rounds(read(Path(folder)))


def of_rounds(costs: tuple[RoundCost, ...]) -> Profile:
    """The profile of some rounds, at least one."""
    wall_s = sum(cost.wall_s for cost in costs)
    found = [_step(name, costs, wall_s, _seconds_of(name)) for name in steps(costs)]
    found.append(_step(UNACCOUNTED, costs, wall_s, unaccounted_s))
    return Profile(
        rounds=costs,
        steps=tuple(found),
        wall_s=wall_s,
        clients_per_s=sum(cost.cohort for cost in costs) / wall_s if wall_s else 0.0,
        utilisation=_utilisation(costs),
        bytes=sum(sum(cost.bytes.values()) for cost in costs),
        slowest=_slowest(costs),
    )


def unaccounted_s(cost: RoundCost) -> float:
    """The wall time of a round that no step names."""
    return max(0.0, cost.wall_s - sum(cost.seconds.values()))


def _seconds_of(name: str) -> Callable[[RoundCost], float]:
    return lambda cost: cost.seconds.get(name, 0.0)


def _step(name: str, costs: Sequence[RoundCost], wall_s: float, seconds_of: Callable[[RoundCost], float]) -> StepCost:
    seconds = np.array([seconds_of(cost) for cost in costs])
    known = name in _MOVERS and any(name in cost.bytes for cost in costs)
    return StepCost(
        name=name,
        total_s=float(seconds.sum()),
        share=float(seconds.sum()) / wall_s if wall_s else 0.0,
        median_s=float(np.median(seconds)),
        p95_s=float(np.percentile(seconds, 95)),
        bytes=sum(cost.bytes.get(name, 0) for cost in costs) if known else None,
    )


def _utilisation(costs: Sequence[RoundCost]) -> float | None:
    told = [cost for cost in costs if cost.busy_s is not None and cost.slots]
    offered_s = sum(cost.seconds.get("train", 0.0) * (cost.slots or 0) for cost in told)
    return sum(cost.busy_s or 0.0 for cost in told) / offered_s if offered_s else None


def _slowest(costs: Sequence[RoundCost]) -> Slowest:
    worst = max(costs, key=lambda cost: cost.wall_s)
    more: dict[str, float] = {}
    for name in worst.seconds:
        more[name] = worst.seconds[name] - float(np.median([cost.seconds.get(name, 0.0) for cost in costs]))
    more[UNACCOUNTED] = unaccounted_s(worst) - float(np.median([unaccounted_s(cost) for cost in costs]))
    step = max(more, key=lambda name: more[name])
    median = float(np.median([cost.wall_s for cost in costs]))
    return Slowest(
        round=worst.round,
        wall_s=worst.wall_s,
        times_median=worst.wall_s / median if median else 1.0,
        step=step,
        more_s=more[step],
    )
