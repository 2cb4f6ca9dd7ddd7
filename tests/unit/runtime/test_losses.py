"""How long an actor may take, whom a loss is blamed on, and which faults are told once."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from fedray.config import parse
from fedray.errors import RoundFailed
from fedray.messages import Block, BlockReport, Failure, Fault
from fedray.runtime.chaos import Strike
from fedray.runtime.dispatch import Loss
from fedray.runtime.losses import LONGEST_S, Losses, Seen
from fedray.simulation.settings import FailureConfig

DEATH = Loss(cause="it died", actor=1, node="here", pid=70, died=True)


def fault(kind: str, block: int = 0, client: int = 0, seconds: float = 0.0, *, id: int = 0, repeat: bool = False):
    at: Literal["during"] = "during"
    return Fault(
        id=id, round=1, kind=kind, client=client, block=block, at=at, how="", seconds=seconds, amount=0, repeat=repeat
    )


def block(index: int, *faults: Fault, size: int = 1) -> Block:
    clients = np.arange(size * index, size * (index + 1))
    return Block(round=1, index=index, start=size * index, clients=clients, work=10.0, faults=faults)


def losses(blocks: Sequence[Block], seen: Sequence[tuple[float, float]] = (), **failures: Any) -> Losses:
    return Losses(parse(FailureConfig, failures), blocks, Seen(seen, maxlen=100), own_actor=False)


def report(of: Block, **more: Any) -> BlockReport:
    columns = {"client": of.clients}
    return BlockReport(
        block=of.index, start=of.start, columns=columns, seconds=2.0, pid=70, memory_bytes=1, time=5.0, **more
    )


KNOWN = [(10.0, 20.0)] * 5
"""Two seconds for each work of one."""


@pytest.mark.parametrize(
    ("deadline", "seen", "limit_s"),
    [
        ("auto", (), LONGEST_S),
        ("auto", KNOWN[:4], LONGEST_S),
        ("auto", KNOWN, 400.0),
        ("auto", [(10.0, 0.001)] * 5, 30.0),
        (3, KNOWN, 3.0),
        (3, (), 3.0),
        (None, KNOWN, math.inf),
    ],
    ids=["unknown", "known too little", "learnt", "floor", "set", "set, unknown", "never"],
)
def test_limit_of_a_call_is_the_deadline_of_all_its_units(deadline: Any, seen: Any, limit_s: float):
    units = [block(0), block(1)]
    assert losses(units, seen, deadline=deadline).limit_s(units) == pytest.approx(limit_s)


@pytest.mark.parametrize(("deadline", "limit_s"), [("auto", 200.0 + 9), (3, 3.0), (None, math.inf)])
def test_planned_delays_are_no_reason_to_think_that_an_actor_hangs(deadline: Any, limit_s: float):
    unit = block(0, fault("slow", seconds=4), fault("delay_result", seconds=5), fault("hang"))
    assert losses([unit], KNOWN, deadline=deadline).limit_s([unit]) == pytest.approx(limit_s)


def test_unknown_limit_counts_planned_delays_too():
    unit = block(0, fault("delay_result", seconds=5))
    assert losses([unit]).limit_s([unit]) == LONGEST_S + 5


def test_client_is_blamed_for_deaths_with_which_it_was_alone():
    """Trained in one call with others it may have been any of them."""
    units = [block(0), block(1)]
    found = losses(units, quarantine_after=2)
    assert [found.lost(unit, DEATH, alone=False) for unit in units] == [[units[0]], [units[1]]]
    assert found.lost(units[0], DEATH, alone=True) == [units[0]]
    assert not found.dropped
    assert found.lost(units[0], DEATH, alone=True) == []
    assert {client: failure.fate for client, failure in found.dropped.items()} == {0: "quarantined"}
    assert found.attempts == {0: 3}


def test_block_that_is_lost_twice_is_divided_and_keeps_the_faults_of_each_client():
    unit = block(1, fault("kill", 1, 4, id=7, repeat=True), size=3)
    found = losses([block(0, size=3), unit])
    assert found.lost(unit, DEATH, alone=True) == [unit]
    parts = found.lost(unit, DEATH, alone=True)
    assert [(part.index, part.start, part.clients.tolist()) for part in parts] == [
        (5, 3, [3]),
        (6, 4, [4]),
        (7, 5, [5]),
    ]
    assert [[f.id for f in part.faults] for part in parts] == [[], [7], []]
    for seconds, part in enumerate(parts, start=1):
        found.trained(part, replace(report(part), time=float(seconds)))
    assert [(event.recovered_at, event.num_recomputed) for event in found.events([])] == [(3.0, 3), (3.0, 3)]


def test_policy_may_end_the_run():
    unit = block(0)
    with pytest.raises(
        RoundFailed, match=r"^the training of client 0 of block 0 in round 1 lost its actor \(it died\)"
    ):
        losses([unit], on_death="abort").lost(unit, DEATH, alone=True)


def test_unit_trained_again_is_not_delayed_again_and_told_once():
    slow, always, raises = fault("slow", id=0), fault("slow", id=1, repeat=True), fault("exception", id=2)
    unit = block(0, slow, always, raises)
    failed = {0: Failure(fate="failed", cause="InjectedFault")}
    found = losses([unit])
    again = found.trained(unit, report(unit, failures=failed))
    assert again == replace(unit, faults=(always, raises))
    assert found.trained(again, report(unit, failures=failed)) == again
    assert [event.fault for event in found.events([])] == [0, 1, 2, 1]


def test_events_have_the_times_of_the_strikes_at_their_process():
    struck = block(0, fault("kill", id=3))
    found = losses([struck])
    (again,) = found.lost(struck, DEATH, alone=True)
    found.trained(again, report(again))
    strikes = [Strike(fault=3, round=1, block=0, pid=pid, time=time) for pid, time in ((69, 1.0), (70, 2.0))]
    (event,) = found.events(strikes)
    assert (event.fault, event.actor, event.node, event.pid) == (3, 1, "here", 70)
    assert (event.injected_at, event.recovered_at) == (2.0, 5.0)
    assert (event.num_recomputed, event.recomputed_s) == (1, 2.0)
    assert event.cause == "planned: kill during training; it died"
