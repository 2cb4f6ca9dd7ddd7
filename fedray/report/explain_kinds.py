"""What each kind of fault did in a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedray.report.explain_clients import NO_EVENT, Fates, Loss
from fedray.report.explain_events import Planned, happened, is_done
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.faults.settings import KINDS

_NO_LOSS = Loss(fates={}, examples=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How long something took, over some events.

    Attributes:
        num: Events that tell it.
        median_s: Half of them took no longer; None where none tells.
        worst_s: The longest.
    """

    num: int
    median_s: float | None = None
    worst_s: float | None = None

    @staticmethod
    def of(pairs: Sequence[tuple[float | None, float | None]]) -> "Delay":
        """From the first to the second of each pair of times, where both are known."""
        seconds = [max(0.0, end - begin) for begin, end in pairs if begin is not None and end is not None]
        if not seconds:
            return Delay(num=0)
        return Delay(num=len(seconds), median_s=float(np.median(seconds)), worst_s=max(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCost:
    """All that one kind of fault did.

    Attributes:
        kind: The kind.
        planned: Faults of the plan, each target counted.
        carried_out: How often it was done; a fault that repeats, or a round that is computed again, counts anew.
        unplanned: How often it happened without a plan.
        found: Events that were noticed.
        found_after: From what was done to when it was noticed; an unplanned event does not tell.
        made_good: Events after which all that was lost was there again.
        made_good_after: From when it was noticed to then.
        trained_again: Clients; those lost to two events count with both.
        trained_again_s: Seconds of their training.
        lost: Clients without a usable update.
        lost_share: Part of the run's examples that these would have had, 0 to 1.
    """

    kind: str
    planned: int
    carried_out: int
    unplanned: int
    found: int
    found_after: Delay
    made_good: int
    made_good_after: Delay
    trained_again: int
    trained_again_s: float
    lost: Loss
    lost_share: float


def kinds(planned: Planned, events: Sequence[FaultEvent], became: Fates) -> tuple[KindCost, ...]:
    """What each kind did, those of the plan first, in the order of the settings."""
    found = {*planned.by_kind, *(event.kind for event in events), *became.losses}
    order = [*KINDS, *sorted(found - KINDS.keys() - {NO_EVENT}), NO_EVENT]
    return tuple(_kind(kind, planned, events, became) for kind in order if kind in found)


def _kind(kind: str, planned: Planned, events: Sequence[FaultEvent], became: Fates) -> KindCost:
    mine = [event for event in events if event.kind == kind and happened(event)]
    lost = became.losses.get(kind, _NO_LOSS)
    return KindCost(
        kind=kind,
        planned=planned.by_kind.get(kind, 0),
        carried_out=sum(map(is_done, mine)),
        unplanned=sum(event.fault < 0 for event in mine),
        found=sum(event.detected_at is not None for event in mine),
        found_after=Delay.of([(event.injected_at, event.detected_at) for event in mine]),
        made_good=sum(event.recovered_at is not None for event in mine),
        made_good_after=Delay.of([(event.detected_at, event.recovered_at) for event in mine]),
        trained_again=sum(event.num_recomputed for event in mine),
        trained_again_s=sum(event.recomputed_s for event in mine),
        lost=lost,
        lost_share=became.share(lost.examples),
    )
