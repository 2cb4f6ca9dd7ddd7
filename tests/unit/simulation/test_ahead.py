"""Steps of an asynchronous server that are trained together: the same bits and records as one by one."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_runs import Run, crash_in

from fedray.simulation.backend import SerialBackend

DEVICES: dict[str, Any] = {
    "profile": {"name": "lognormal", "examples_per_s": 2, "speed_spread": 1, "loss": 0.05},
    "availability": {"name": "markov", "mean_there_s": 30, "mean_away_s": 10},
}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "fedbuff": {"protocol": {"name": "fedbuff", "concurrency": 8, "max_staleness": 9}, "cohort": {"size": 1}},
    "fedasync": {"protocol": {"name": "fedasync", "concurrency": 8, "max_staleness": 9}, "cohort": {"size": 1}},
    "fedat": {"protocol": {"name": "fedat", "tiers": 3, "rounds": {"min_reports": 0.5}}, "cohort": {"size": 3}},
    "feedback": {
        "protocol": {"name": "fedbuff", "concurrency": 8, "max_staleness": 9},
        "cohort": {"size": 2},
        "compression": {"up": {"name": "topk", "fraction": 0.2}, "error_feedback": True},
    },
}


def run(folder: Path, **more: Any) -> Run:
    return Run(folder, **{"devices": DEVICES, "rounds": 24, "checkpoint": {"every_s": 0}, **more})


class Counting(SerialBackend):
    """Counts how often clients are trained, and for how many steps."""

    steps: list[int]

    def run_cohort(self, parameters: Any, blocks: Any, on_report: Any, beside: Any, kept: Any) -> Any:
        self.steps.append(len({block.round for block in blocks}))
        return super().run_cohort(parameters, blocks, on_report, beside, kept)


def counting() -> type[Counting]:
    return type("Counting", (Counting,), {"steps": []})


@pytest.mark.parametrize("name", PROTOCOLS)
def test_steps_that_are_trained_together_change_nothing(name: str, tmp_path: Path):
    ahead, alone = counting(), counting()
    found = run(tmp_path / "ahead", **PROTOCOLS[name]).go(backend=ahead)
    protocol = {**PROTOCOLS[name]["protocol"], "look_ahead": 1}
    one = run(tmp_path / "alone", **{**PROTOCOLS[name], "protocol": protocol}).go(backend=alone)
    assert alone.steps == [1] * len(alone.steps)
    assert sum(ahead.steps) == len(alone.steps)
    assert max(ahead.steps) > 1
    assert found.digests == one.digests
    pd.testing.assert_frame_equal(found.clients, one.clients)
    assert [r.get("virtual") for r in found.rounds] == [r.get("virtual") for r in one.rounds]
    for record, other in zip(found.rounds, one.rounds, strict=True):
        assert record["metrics"] == other["metrics"]
        assert record["fates"] == other["fates"]
        assert record["weight"] == other["weight"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_run_that_broke_off_among_them_goes_on(name: str, tmp_path: Path):
    found = run(tmp_path / "done", **PROTOCOLS[name]).go()

    class Crashing(SerialBackend):
        def run_cohort(self, parameters: Any, blocks: Any, on_report: Any, beside: Any, kept: Any) -> Any:
            if max(block.round for block in blocks) >= 12:
                raise MemoryError("the machine went away")
            return super().run_cohort(parameters, blocks, on_report, beside, kept)

    broken = run(tmp_path / "broken", **PROTOCOLS[name])
    with pytest.raises(MemoryError):
        broken.go(backend=Crashing)
    assert broken.rounds
    broken.go()
    assert broken.digests == found.digests
    pd.testing.assert_frame_equal(broken.clients, found.clients)


def test_steps_with_planned_faults_are_trained_alone(tmp_path: Path):
    faults = [{"kind": "kill", "rounds": [3, 9], "blocks": 1, "at": "during"}]
    counted = counting()
    found = run(tmp_path / "faults", **PROTOCOLS["fedasync"], faults=faults).go(backend=counted)
    calm = run(tmp_path / "calm", **PROTOCOLS["fedasync"]).go()
    assert found.digests == calm.digests
    assert set(found.clients[found.clients["fate"] == "retried"]["round"]) == {3, 9}
    assert max(counted.steps) > 1


def test_rounds_that_wait_for_their_devices_have_nothing_ahead(tmp_path: Path):
    counted = counting()
    run(tmp_path, protocol={"name": "synchronous"}, rounds=4).go(backend=counted)
    assert set(counted.steps) == {1}


def test_crash_in_a_step_alone(tmp_path: Path):
    broken = run(tmp_path, protocol={"name": "synchronous"}, rounds=4)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(2, block=0))
