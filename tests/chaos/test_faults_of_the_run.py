"""Faults of what surrounds a run: Ray's control service, the delivery to MLflow."""

import contextlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import experiment, serial

import fedray
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event

ROUNDS = 6


def _run(folder: Path, *faults: dict[str, Any], on_event: Any = None, **settings: Any) -> fedray.Result:
    here = {"num_actors": 2, "num_cpus": 2}
    return fedray.run(experiment(folder, rounds=ROUNDS, faults=faults, actors=here, **settings), on_event=on_event)


def test_control_service_is_killed_and_started_again_and_actors_are_replaced_after_it(tmp_path: Path) -> None:
    """On a Ray that the run starts itself, whose control service keeps its state in files."""
    pids, told = list[set[int]](), list[str]()

    def watch(event: Event) -> None:
        if event.kind == "round":
            names = [(p.pid, p.name()) for p in psutil.Process().children(recursive=True)]
            pids.append({pid for pid, name in names if name == "gcs_server"})
        if event.kind == "warning":
            told.append(event.values["text"])

    faults = {"kind": "restart_control", "rounds": [2]}, {"kind": "kill", "actors": 1, "rounds": [4], "at": "during"}
    result = _run(tmp_path / "ray", *faults, on_event=watch, checkpoint={"every_s": 0})
    assert result.digest == serial(tmp_path / "serial", rounds=ROUNDS).digest
    assert told[0] == "Ray's control service was killed and started again, as planned"
    assert told[1].startswith("client actor")
    first, last = pids[0], pids[-1]
    assert len(first) == len(last) == 1
    assert not {pid for pid in first | last if psutil.pid_exists(pid)}  # the run ended what it started, both times
    kinds = [event["kind"] for event in RunFolder.open(Path(result.folder)).lines("faults")]
    assert kinds == ["restart_control", "kill"]


@pytest.mark.usefixtures("ray_here")
def test_delivery_to_mlflow_is_stopped_for_a_while_and_nothing_is_missing(tmp_path: Path) -> None:
    stopped, delivered = list[str](), list[bool]()

    def watch(event: Event) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                if "fedray.tracking.follow" in process.cmdline():
                    stopped.append(process.status())
        if event.kind == "tracking":
            delivered.append(event.values["report"].complete)

    tracking = {"enabled": True, "uri": f"sqlite:///{tmp_path}/mlflow.db"}
    fault = {"kind": "tracking_away", "rounds": [2], "seconds": 2}
    result = fedray.run(
        experiment(tmp_path, rounds=ROUNDS, faults=[fault], tracking=tracking, actors={"num_actors": 2}), on_event=watch
    )
    (event,) = RunFolder.open(Path(result.folder)).lines("faults")
    assert event["cause"] == "planned: tracking_away"
    assert event["pid"] > 0
    assert psutil.STATUS_STOPPED in stopped
    assert delivered == [True]


@pytest.mark.usefixtures("ray_here")
def test_delivery_that_is_not_there_cannot_be_stopped(tmp_path: Path) -> None:
    result = _run(tmp_path, {"kind": "tracking_away", "rounds": [2], "seconds": 2})
    (event,) = RunFolder.open(Path(result.folder)).lines("faults")
    assert event["cause"] == "not carried out: nothing of this run is delivered to MLflow"
