"""Drivers that are killed, by plan or not: the run goes on by itself, to the same bits."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from crowds import below
from gates import CLIENT
from runs import MACHINE, PLACES, assert_equal, lives, serial, until
from strikes import TWO, events, faulty, run_in

from fedray import Result
from fedray.errors import ClusterError
from fedray.simulation.watch import Event

ROUNDS = 4
KILLS = [
    {"kind": "kill_driver", "at": at, "rounds": [round]}
    for round, at in enumerate(("before", "during", "after"), start=1)
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return serial(tmp_path_factory.mktemp("serial"), rounds=ROUNDS)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("checkpoint", [{"every_s": 0}, {}], ids=["a checkpoint a round", "none in time"])
def test_run_goes_on_by_itself_after_each_planned_kill(
    checkpoint: dict[str, Any], reference: Result, tmp_path: Path
) -> None:
    warnings: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.values["text"])

    result = faulty(tmp_path, *KILLS, rounds=ROUNDS, checkpoint=checkpoint, on_event=watch)
    assert result.state == "finished"
    assert_equal(result, reference, MACHINE)
    kinds = [event["kind"] for event in events(result)]
    assert kinds == ["kill_driver", "driver died"] * 3
    kills, deaths = events(result)[::2], events(result)[1::2]
    assert [(kill["fault"], kill["round"]) for kill in kills] == [(0, 1), (1, 2), (2, 3)]
    for kill, death in zip(kills, deaths, strict=True):
        assert kill["injected_at"] <= death["detected_at"]
        assert kill["cause"] == f"planned: kill_driver {KILLS[kill['fault']]['at']}"
    assert len({kill["pid"] for kill in kills}) == 3
    assert len([text for text in warnings if text.startswith("the driver died (")]) == 3


def test_driver_that_stands_still_is_found_killed_and_started_again(
    ray_here: psutil.Process, reference: Result, tmp_path: Path
) -> None:
    drivers: list[int] = []
    warnings: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.values["text"])
        if event.kind == "round" and event.values["round"] == 2 and not drivers:
            (driver,) = below(ray_here.pid, "Driver")
            drivers.append(driver.pid)
            os.kill(driver.pid, signal.SIGSTOP)

    result = faulty(tmp_path, rounds=ROUNDS, failures={"driver_silence_s": 3}, on_event=watch)
    assert result.state == "finished"
    assert_equal(result, reference, MACHINE)
    assert len(drivers) == 1
    assert not lives(drivers[0])
    (line,) = events(result)
    assert (line["fault"], line["kind"]) == (-1, "driver died")
    assert line["cause"] == "it gave no sign of life for 3 s; see failures.driver_silence_s"
    assert warnings == [f"the driver died ({line['cause']}) and goes on from its last checkpoint"]


@pytest.mark.usefixtures("ray_here")
def test_driver_that_may_not_start_again_names_resume(tmp_path: Path) -> None:
    sentence = r"^the driver died without a further round, 1 in a row .*; go on with `fedray resume /.*`, or raise"
    with pytest.raises(ClusterError, match=sentence) as e:
        faulty(tmp_path, KILLS[0], failures={"driver_restarts": 0})
    assert "\n" not in str(e.value)
    result = run_in(tmp_path)
    assert result.state == "failed"
    assert str(result.folder) in str(e.value)


def test_run_goes_on_by_itself_after_a_kill_that_nobody_planned(ray_here: psutil.Process, tmp_path: Path) -> None:
    """The driver waits for a client that waits, who dies with it."""
    drivers: list[int] = []

    def kill() -> None:
        until((tmp_path / "pid").exists, "a client that waits")
        (driver,) = below(ray_here.pid, "Driver")
        drivers.append(driver.pid)
        os.kill(driver.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    data = {"name": "gates:Gated", "args": {"folder": str(tmp_path)}}
    result = faulty(tmp_path, data=data, actors=TWO)
    killer.join()
    assert_equal(result, serial(tmp_path / "serial", data="gates:Gated"), PLACES)
    (line,) = events(result)
    assert (line["fault"], line["kind"], line["round"]) == (-1, "driver died", 1)
    assert set(result.clients["fate"]) == {"ok"}
    gone = {*drivers, int((tmp_path / "pid").read_text())}
    assert not gone & set(result.clients["pid"])
    assert CLIENT in set(result.clients["client"])
