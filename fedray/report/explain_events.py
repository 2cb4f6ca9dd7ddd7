"""What went wrong in a run, as its folder tells, and what of it belongs together."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from fedray.errors import RunFolderError
from fedray.messages import Block
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.faults.plan import FaultPlan
from fedray.simulation.faults.settings import KINDS
from fedray.simulation.run_folder import Record, RunFolder

_NAMES = frozenset(field.name for field in fields(FaultEvent))
_NOT_DONE = ("not carried out: ", "no target: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What was to go wrong.

    Attributes:
        by_kind: Kind to number of faults, each target that a fault hits counted, up to the last round that was begun.
        later: Rows of the plan for rounds that did not come.
    """

    by_kind: dict[str, int]
    later: int

    @property
    def total(self) -> int:
        """All that was due."""
        return sum(self.by_kind.values())


def read(run: RunFolder) -> tuple[FaultEvent, ...]:
    """The lines of `faults.jsonl`, in their order.

    Raises:
        RunFolderError: It is damaged.
    """
    events: list[FaultEvent] = []
    for line, record in enumerate(run.lines("faults"), start=1):
        try:
            events.append(FaultEvent(**{name: value for name, value in record.items() if name in _NAMES}))
        except TypeError:
            raise RunFolderError(
                f"{run.path / 'faults.jsonl'} is damaged: line {line} has no fault, round or kind; remove it"
            ) from None
    return tuple(events)


def is_done(event: FaultEvent) -> bool:
    """Whether a planned fault was carried out; false for what nobody planned."""
    return event.fault >= 0 and happened(event)


def happened(event: FaultEvent) -> bool:
    """Whether it took place: not so for a planned fault without a target, or that nothing could carry out."""
    if event.cause.startswith(_NOT_DONE):
        return False
    return event.fault < 0 or event.injected_at is not None or event.detected_at is not None


def why_not(event: FaultEvent) -> str:
    """Why a planned fault was not carried out."""
    if event.cause.startswith(_NOT_DONE[0]):
        return event.cause.removeprefix(_NOT_DONE[0])
    return "its target was not in the round" if event.cause.startswith(_NOT_DONE[1]) else "it came too late"


def join(events: Sequence[FaultEvent], records: Sequence[Record]) -> tuple[FaultEvent, ...]:
    """Puts what was done to the run together with what came of it, which stands in other lines.

    A killed driver and the next line that says that a driver died become one event, made good by the first record of
    its round or a later one after that. A killed node is found with the first loss on it, and made good with the last.
    """
    left, deaths = list(events), [event for event in events if event.kind == "driver died"]
    for place, event in enumerate(left):
        if event.kind == "kill_driver" and event.injected_at is not None and event.detected_at is None:
            death = next((other for other in deaths if (other.detected_at or 0.0) >= event.injected_at), None)
            if death is not None:
                deaths.remove(death)
                left[place] = _recorded(replace(event, detected_at=death.detected_at), records)
        elif event.kind == "kill_node" and event.injected_at is not None:
            left[place] = _of_node(event, events)
    unplanned = {id(event) for event in deaths}
    return tuple(
        _recorded(event, records) if event.kind == "driver died" else event
        for event in left
        if event.kind != "driver died" or id(event) in unplanned
    )


def _recorded(event: FaultEvent, records: Sequence[Record]) -> FaultEvent:
    """A driver's death, made good when its round is recorded after it was found."""
    found = event.detected_at
    if found is None or event.recovered_at is not None:
        return event
    times = [r.get("time") for r in records if (r.get("round") or 0) >= event.round]
    return replace(event, recovered_at=next((time for time in times if time is not None and time > found), None))


def _of_node(event: FaultEvent, events: Iterable[FaultEvent]) -> FaultEvent:
    """A killed node, with the times of what was lost on it."""
    losses = [
        other
        for other in events
        if other is not event and other.node == event.node and (other.detected_at or 0.0) >= (event.injected_at or 0.0)
    ]
    if not losses:
        return event
    detected = [loss.detected_at for loss in losses if loss.detected_at is not None]
    recovered = [loss.recovered_at for loss in losses if loss.recovered_at is not None]
    whole = len(recovered) == len(losses)
    return replace(event, detected_at=min(detected), recovered_at=max(recovered) if whole else None)


def num_caused(events: Sequence[FaultEvent]) -> int:
    """How many unplanned events are in a process or on a node that a planned fault hit in the same round."""
    done = [event for event in events if is_done(event)]
    processes = {(event.round, event.pid) for event in done if event.pid}
    nodes = {(event.round, event.node) for event in done if event.kind == "kill_node"}
    return sum(
        event.fault < 0 and ((event.round, event.pid) in processes or (event.round, event.node) in nodes)
        for event in events
    )


def planned(
    plan: FaultPlan | None, ledger: pd.DataFrame | None, events: Sequence[FaultEvent], last_round: int
) -> Planned:
    """Counts what the plan had for the rounds that were begun.

    A row can hit several blocks or clients, or none: the ledger tells the round's blocks, to which it is bound as in
    the run. Where the ledger lacks a round, its targets are those of its events, and one if it has none. A folder
    that has lost its plan has its events alone.

    Args:
        plan: The fault plan.
        ledger: One row for each (round, client).
        events: What went wrong.
        last_round: The last round that was begun.
    """
    if plan is None or not len(plan):
        targets = {(event.kind, event.fault, event.round, event.block, event.client) for event in events}
        return Planned(by_kind=_in_order(Counter(kind for kind, fault, *_ in targets if fault >= 0)), later=0)
    rounds: list[int] = plan.columns["round"].tolist()
    counts = Counter[str]()
    told = _blocks_of(ledger, set(rounds))
    for round in sorted({number for number in rounds if number <= last_round}):
        blocks = told.get(round)
        counts.update(_by_events(plan, events, round) if blocks is None else _bound(plan, round, blocks))
    return Planned(by_kind=_in_order(counts), later=sum(round > last_round for round in rounds))


def _in_order(counts: Counter[str]) -> dict[str, int]:
    """The kinds in the order of the settings."""
    return {kind: counts[kind] for kind in [*KINDS, *sorted(counts.keys() - KINDS.keys())] if counts[kind]}


def _bound(plan: FaultPlan, round: int, blocks: tuple[Block, ...]) -> Counter[str]:
    bound = plan.due(round, blocks)
    return Counter(fault.kind for faults in (bound.others, *(b.faults for b in bound.blocks)) for fault in faults)


def _by_events(plan: FaultPlan, events: Sequence[FaultEvent], round: int) -> Counter[str]:
    counts = Counter[str]()
    for row in np.flatnonzero(plan.columns["round"] == round).tolist():
        hit = {(event.block, event.client) for event in events if (event.fault, event.round) == (row, round)}
        counts[plan.row(row).kind] += len(hit) or 1
    return counts


def _blocks_of(ledger: pd.DataFrame | None, rounds: set[int]) -> Mapping[int, tuple[Block, ...]]:
    """The blocks of some rounds, rebuilt from the ledger, which has its rows in their order."""
    if ledger is None:
        return {}
    rows = ledger[(ledger["block"] >= 0) & ledger["round"].isin(list(rounds))]
    found: dict[int, tuple[Block, ...]] = {}
    for round, of_round in rows.groupby("round", sort=True):
        number = int(str(round))
        clients = [group.to_numpy(np.int64) for _, group in of_round.groupby("block", sort=True)["client"]]
        starts = np.cumsum([0, *map(len, clients)]).tolist()
        found[number] = tuple(
            Block(round=number, index=index, start=starts[index], clients=ids, work=0.0)
            for index, ids in enumerate(clients)
        )
    return found
