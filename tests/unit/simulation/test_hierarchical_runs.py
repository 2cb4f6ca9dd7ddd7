"""Whole runs with servers between clients and cloud."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_runs import Run, Tiny, crash_in, experiment

from fedray.errors import ConfigError
from fedray.experiment import build_plan
from fedray.simulation.checkpoint import digest, open_checkpoints

PLANTS: dict[str, Any] = {"levels": [{"name": "plant", "servers": 3, "rounds": 2}]}
REGIONS: dict[str, Any] = {
    "levels": [{"name": "plant", "servers": 3, "rounds": 2, "strategy": "fedavgm"}, {"name": "region", "servers": 2}]
}
DEVICES: dict[str, Any] = {
    "profile": {"name": "lognormal", "examples_per_s": 2, "speed_spread": 1},
    "availability": {"name": "markov", "mean_there_s": 30, "mean_away_s": 10},
}


def run(folder: Path, **more: Any) -> Run:
    return Run(folder, **{"hierarchy": PLANTS, "checkpoint": {"every_s": 0}, "rounds": 6, "strategy": "fedavg", **more})


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam"])
@pytest.mark.parametrize("devices", [None, DEVICES])
def test_one_edge_that_always_reports_equals_the_flat_run(strategy: str, devices: dict | None, tmp_path: Path):
    """The edge takes the step, and the cloud its model."""
    one: dict[str, Any] = {"levels": [{"servers": 1, "strategy": strategy}]}
    flat = run(tmp_path / "flat", hierarchy=None, strategy=strategy, devices=devices).go()
    at_edge = run(tmp_path / "edge", hierarchy=one, devices=devices).go()
    assert at_edge.digests == flat.digests
    same = ["client", "fate", "loss", "examples"]
    pd.testing.assert_frame_equal(at_edge.clients[same], flat.clients[same])


def test_one_edge_that_reports_seldom_ends_as_the_flat_run(tmp_path: Path):
    seldom: dict[str, Any] = {"levels": [{"servers": 1, "rounds": 3}]}
    flat, found = run(tmp_path / "flat", hierarchy=None).go(), run(tmp_path / "edge", hierarchy=seldom).go()
    assert found.digests[2::3] == flat.digests[2::3]
    assert found.digests[0] != flat.digests[0]  # it says that edge and cloud differ


@pytest.mark.parametrize("hierarchy", [PLANTS, REGIONS])
@pytest.mark.parametrize("devices", [None, DEVICES])
def test_run_that_broke_off_goes_on(hierarchy: dict, devices: dict | None, tmp_path: Path):
    done = run(tmp_path / "done", hierarchy=hierarchy, devices=devices).go()
    broken = run(tmp_path / "broken", hierarchy=hierarchy, devices=devices)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(4))  # between two reports
    broken.go()
    assert broken.digests == done.digests
    assert [r.get("virtual") for r in broken.rounds] == [r.get("virtual") for r in done.rounds]
    pd.testing.assert_frame_equal(broken.clients, done.clients)


def test_checkpoint_holds_all_servers(tmp_path: Path):
    done = run(tmp_path, hierarchy=REGIONS).go(rounds=3)
    saved = open_checkpoints(done.plan.checkpoint, tmp_path).latest()
    assert saved is not None
    assert [len(level) for level in saved.state.below] == [3, 2]
    assert all(edge.weight > 0 for edge in saved.state.below[0])
    assert all(edge.slots for edge in saved.state.below[0])
    assert digest(saved.state) == done.digests[-1]


def test_every_edge_has_its_share_of_each_round(tmp_path: Path):
    done = run(tmp_path).go()
    edge = np.repeat([0, 1, 2], 4)[done.clients["client"]]
    counts = pd.crosstab(done.clients["round"], edge)
    assert (counts == 2).all(axis=None)
    assert done.clients.groupby("round")["client"].nunique().eq(6).all()


def test_models_are_evaluated_and_bytes_counted_when_reports_come_up(tmp_path: Path):
    done = run(tmp_path, hierarchy=REGIONS).go()
    assert ["test/loss" in record["metrics"] for record in done.rounds] == [False, True] * 3
    assert [record["wide"]["reached"] for record in done.rounds] == ["plant", "cloud"] * 3
    num_bytes = (3 + 2) * 4 * (3 * 4 + 4 + 4 * 2 + 2)  # five servers, each with a model of 26 parameters
    assert done.rounds[1]["wide"] == {"reached": "cloud", "up": num_bytes, "down": num_bytes}
    assert done.rounds[0]["wide"] == {"reached": "plant", "up": 0, "down": 0}
    assert done.folder.summary()["wide"] == {"up": 3 * num_bytes, "down": 3 * num_bytes}


def test_edges_have_clocks_of_their_own_until_they_report(tmp_path: Path):
    done = run(tmp_path, devices=DEVICES, protocol={"name": "synchronous", "deadline_s": 12, "min_reports": 0.5}).go()
    edge = np.repeat([0, 1, 2], 4)[done.clients["client"]]
    started = done.clients.groupby([done.clients["round"], edge])["started_s"].first().unstack()
    assert started.loc[2].nunique() > 1
    ends = [record["virtual"]["end_s"] for record in done.rounds]
    assert ends == sorted(ends)
    later = done.clients[done.clients["round"] == 3]
    assert (later["started_s"] >= ends[1]).all()  # behind the report of round 2, everybody goes on together


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"rounds": 7}, "set rounds to a multiple of 2"),
        ({"strategy": {"name": "fedprox", "mu": 0.1}}, "set it for level plant"),
        ({"cohort": {"size": 2}}, r"a round has 2 clients, but hierarchy.levels has 3 servers"),
        ({"hierarchy": {"levels": [{"servers": 13}]}, "cohort": {"size": 12}}, "13 servers of 12 clients"),
        ({"devices": DEVICES, "protocol": {"name": "fedbuff", "concurrency": 3}}, "fedbuff has one server"),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=words):
        build_plan(experiment(**{"hierarchy": PLANTS, "rounds": 6, "strategy": "fedavg", **more}), Tiny())


def test_proximal_term_of_the_edges_reaches_the_clients():
    prox: dict[str, Any] = {"levels": [{"servers": 3, "strategy": {"name": "fedprox", "mu": 0.25}}]}
    plan = build_plan(experiment(hierarchy=prox), Tiny())
    assert plan.workload.training.proximal == 0.25


def test_edge_whose_round_is_abandoned_keeps_its_model(tmp_path: Path):
    """Two of the three plants are too slow for the deadline."""
    slow = tmp_path / "devices.csv"
    slow.write_text("examples_per_s\n" + "100\n" * 4 + "0.01\n" * 8)
    found = run(
        tmp_path / "run",
        devices={"profile": {"name": "table", "path": str(slow), "assign": "order"}},
        protocol={"name": "synchronous", "deadline_s": 10},
    ).go(rounds=2)
    fates = found.clients.assign(edge=np.repeat([0, 1, 2], 4)[found.clients["client"]]).groupby(["edge", "fate"]).size()
    assert set(fates.index) == {(0, "ok"), (0, "late"), (1, "late"), (2, "late")}
    assert found.rounds[-1]["virtual"]["committed"]
    assert len(set(found.digests)) == 2
