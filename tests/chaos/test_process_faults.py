"""Every fault of a process, carried out on real ones: the bits stay, and each is found, made good and recorded."""

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import PLACES, assert_equal, lives, serial, status, until
from strikes import BUT_CAUSE, Row, events, fates, faulty, of_block, run_in, serially

from fedray import Result
from fedray.simulation.watch import Event

DELAY_S = 0.5
PLAN: list[dict[str, Any]] = [
    {"kind": "delay_result", "seconds": DELAY_S},
    {"kind": "slow", "factor": 4, "seconds": 1},
    {"kind": "lose_result"},
    {"kind": "kill", "at": "before"},
    {"kind": "kill", "at": "during"},
    {"kind": "kill", "at": "after"},
    {"kind": "exhaust_memory", "bytes": 10**8},
]
ROUNDS = (1, 2, 3, 5, 6, 7, 8)
"""When each is due: one a round, those that leave the process alive first."""
SPARED, DEADLY = range(3), range(3, 7)
"""Positions in the plan of those."""
LOSSES = range(2, 7)
"""Positions of those that are to be made good."""
CALM, LAST = 4, 9
"""Rounds in which nothing happens."""
NAMES = [" ".join(str(value) for value in fault.values()) for fault in PLAN]
every_fault = pytest.mark.parametrize("fault", range(len(PLAN)), ids=NAMES)


class Found:
    """A run, and what was seen of its processes while it went on.

    Attributes:
        result: The run.
        looked_at: Rounds whose killed process was looked for when the round was recorded.
        outlived: Those of them where it was still there.
    """

    def __init__(self, folder: Path) -> None:
        self.outlived, self.looked_at = set[int](), set[int]()
        self._folder = folder
        faults = [{**fault, "blocks": 1, "rounds": [round]} for round, fault in zip(ROUNDS, PLAN, strict=True)]
        self.result = faulty(folder, *faults, rounds=LAST, on_event=self._watch)

    def _watch(self, event: Event) -> None:
        if event.kind == "round" and event.values["round"] in [ROUNDS[fault] for fault in DEADLY]:
            round = event.values["round"]
            (line,) = events(run_in(self._folder), round)
            self.looked_at.add(round)
            if lives(line["pid"]):
                self.outlived.add(round)

    def line(self, fault: int) -> Row:
        """The one line of a fault, which is the only one of its round."""
        (line,) = events(self.result, ROUNDS[fault])
        return line


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Undisturbed."""
    return serial(tmp_path_factory.mktemp("serial"), rounds=LAST)


@pytest.fixture(scope="module")
def found(raylet: psutil.Process, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("found"))


@pytest.mark.usefixtures("ray_here")
def test_faults_of_processes_change_no_bit(found: Found, reference: Result) -> None:
    assert_equal(found.result, reference, PLACES)
    assert found.result.history["deaths"].to_dict() == {round: int(round in ROUNDS[3:]) for round in range(1, LAST + 1)}


@every_fault
def test_line_of_a_fault_says_what_happened_to_whom_and_when(found: Found, fault: int) -> None:
    line, kind, clients = found.line(fault), PLAN[fault]["kind"], found.result.clients
    block = of_block(found.result, ROUNDS[fault], line["block"])
    assert (line["fault"], line["kind"]) == (fault, kind)
    assert line["client"] in block
    assert line["actor"] in (0, 1)
    assert line["node"] in set(clients["node"])
    assert line["cause"].startswith(f"planned: {kind}")
    if fault in LOSSES:
        assert line["injected_at"] <= line["detected_at"] <= line["recovered_at"]
        assert line["num_recomputed"] == len(block)
        assert line["recomputed_s"] > 0
    else:
        assert line["injected_at"] <= clients.loc[clients["round"] == ROUNDS[fault], "time"].max()
        assert line["detected_at"] is None
        assert line["num_recomputed"] == 0


@every_fault
def test_clients_of_the_lost_block_are_retried_and_no_other(found: Found, fault: int) -> None:
    round = ROUNDS[fault]
    became = fates(found.result, round)
    lost = of_block(found.result, round, found.line(fault)["block"]) if fault in LOSSES else set[int]()
    assert {client for client, fate in became.items() if fate == "retried"} == lost
    assert set(became.values()) <= {"ok", "retried"}
    counts = found.result.history.filter(regex="^fates/").loc[round]
    assert counts.sum() == len(became) == found.result.history.loc[round, "cohort"]
    assert counts["fates/retried"] == len(lost)


@pytest.mark.parametrize("fault", SPARED, ids=NAMES[:3])
def test_process_that_loses_or_delays_an_answer_works_on(found: Found, fault: int) -> None:
    clients = found.result.clients
    later = clients["round"].between(ROUNDS[fault] + 1, CALM)
    assert found.line(fault)["pid"] in set(clients.loc[later, "pid"])


def test_killed_processes_are_gone_while_the_run_goes_on(found: Found) -> None:
    assert found.looked_at == {ROUNDS[fault] for fault in DEADLY}
    assert not found.outlived
    clients = found.result.clients
    for fault in DEADLY:
        assert found.line(fault)["pid"] not in set(clients.loc[clients["round"] >= ROUNDS[fault], "pid"])


def test_late_answer_is_waited_for(found: Found) -> None:
    assert found.result.history.loc[1, "seconds/train"] >= DELAY_S


@pytest.mark.usefixtures("ray_here")
def test_actor_that_hangs_is_found_ended_and_replaced(reference: Result, tmp_path: Path) -> None:
    stopped: list[int] = []

    def stands() -> int | None:
        pids = [p.pid for p in psutil.process_iter(["name"]) if (p.info["name"] or "").startswith("ray::ClientActor")]
        return next((pid for pid in pids if status(pid) == psutil.STATUS_STOPPED), None)

    looking = threading.Thread(target=lambda: stopped.append(until(stands, "a process that stands still")), daemon=True)
    looking.start()
    hang = {"kind": "hang", "blocks": 1, "rounds": [2]}
    result = faulty(tmp_path, hang, failures={"deadline": 3}, rounds=LAST)
    looking.join()
    assert_equal(result, reference, PLACES)
    (line,) = [event for event in events(result) if event["fault"] == 0]
    assert line["cause"] == "planned: hang during training; it did not answer in 3 s; see failures.deadline"
    assert stopped == [line["pid"]]
    assert line["injected_at"] + 2 < line["detected_at"] <= line["recovered_at"]
    until(lambda: not lives(line["pid"]), "the stopped process to be gone", limit_s=20)
    assert line["pid"] not in set(result.clients.loc[result.clients["round"] >= 2, "pid"])
    assert result.history.loc[2, "deaths"] >= 1
    assert {c for c, fate in fates(result, 2).items() if fate == "retried"} >= of_block(result, 2, line["block"])


def test_each_fault_has_one_line_where_a_sum_is_lost_with_later_work(ray_here: psutil.Process, tmp_path: Path) -> None:
    """One actor: what it had trained before is trained again, but not delayed again, and each attempt is lost once."""
    plan = [
        {"kind": "slow", "block": 0, "rounds": [1], "factor": 2, "seconds": 0.2},
        {"kind": "lose_result", "block": 1, "rounds": [1]},
        {"kind": "kill", "block": 1, "rounds": [1], "at": "before"},
        {"kind": "exception", "clients": [3], "rounds": [1]},
    ]
    more: dict[str, Any] = {"rounds": 1, "failures": {"client_error": "drop"}}
    block_of = {row["client"]: row["block"] for row in serial(tmp_path / "calm", rounds=1).clients.to_dict("records")}
    plan[3]["clients"] = [next(client for client, block in block_of.items() if block == 0)]
    reference = serially(tmp_path / "serial", *plan, **more)
    result = faulty(tmp_path, *plan, actors={"num_actors": 1}, **more)
    assert_equal(result, reference, BUT_CAUSE)
    assert sorted(event["fault"] for event in events(result)) == [0, 1, 2, 3]
    lost, kill = (event for event in events(result) if event["kind"] in ("lose_result", "kill"))
    assert lost["pid"] == kill["pid"]
    assert lost["injected_at"] <= lost["detected_at"] <= kill["injected_at"] <= kill["detected_at"]
    assert lost["recovered_at"] == kill["recovered_at"] >= kill["detected_at"]
    assert lost["num_recomputed"] == kill["num_recomputed"] == len(of_block(result, 1, 1))
