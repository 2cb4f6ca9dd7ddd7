"""Whole runs with simulated devices: fates, virtual time, records, resume."""

import itertools
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from tiny_runs import Run, Tiny, crash_in, experiment

from fedray.client.sequential import SequentialEngine
from fedray.config import parse
from fedray.data.holdout import Holdout
from fedray.errors import ConfigError, RunFolderError
from fedray.experiment import Experiment, build_plan
from fedray.models.table import build
from fedray.report.explain import explain
from fedray.report.explain_words import sentences
from fedray.report.timeline import timeline
from fedray.report.timeline_figure import plot
from fedray.report.timeline_table import show
from fedray.server.strategy import advance, begin
from fedray.server.tiers import tiers_of
from fedray.server.trips import Demand, legs
from fedray.simulation.checkpoint import open_checkpoints

DEVICES: dict[str, Any] = {
    "profile": {"name": "lognormal", "examples_per_s": 2, "speed_spread": 1, "joules_per_example": 2},
    "availability": {"name": "markov", "mean_there_s": 30, "mean_away_s": 10},
}
PROTOCOL: dict[str, Any] = {"deadline_s": 12, "min_reports": 0.5, "over_selection": 1.5, "pause_s": 100}
MISSED = ["late", "vanished", "abandoned"]


def run(folder: Path, **more: Any) -> Run:
    settings = {"devices": DEVICES, "protocol": {"name": "synchronous", **PROTOCOL}, "rounds": 8}
    return Run(folder, **{**settings, **more})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("virtual"), checkpoint={"every_s": 0}).go()


def test_every_selected_client_has_one_fate(done: Run):
    counts = done.clients.groupby("round")["client"].agg(["size", "nunique"])
    assert (counts["size"] == counts["nunique"]).all()
    for record in done.rounds:
        rows = done.clients[done.clients["round"] == record["round"]]
        assert record["fates"] == {name: int((rows["fate"] == name).sum()) for name in record["fates"]}
        assert record["cohort"] == len(rows) <= 9
        assert record["fates"]["ok"] <= 6
    assert {"ok", "late", "vanished"} <= set(done.clients["fate"])


def test_only_those_that_count_are_trained(done: Run):
    missed = done.clients[done.clients["fate"].isin(MISSED)]
    assert (missed["examples"] == 0).all()
    assert (missed["steps"] == 0).all()
    assert missed["loss"].isna().all()
    assert (missed["cause"] != "").all()
    ok = done.clients[done.clients["fate"] == "ok"]
    assert (ok["examples"] > 0).all()
    assert ok["loss"].notna().all()


def test_virtual_time_goes_on_by_rounds_and_pauses(done: Run):
    spans = [record["virtual"] for record in done.rounds]
    for span, following in itertools.pairwise(spans):
        assert following["selecting_s"] == span["end_s"] + 100
        assert following["begin_s"] >= following["selecting_s"]
    assert all(span["begin_s"] < span["end_s"] <= span["begin_s"] + 12 for span in spans)
    assert [record["metrics"]["virtual/hours"] for record in done.rounds] == [span["end_s"] / 3600 for span in spans]


def test_ledger_adds_up_to_the_record(done: Run):
    for record in done.rounds:
        rows, virtual = done.clients[done.clients["round"] == record["round"]], record["virtual"]
        assert (rows["started_s"] == virtual["begin_s"]).all()
        assert rows["until_s"].between(virtual["begin_s"], virtual["end_s"]).all()
        assert rows["bytes_down"].sum() == virtual["bytes"]["down"]
        assert rows["bytes_up"].sum() == virtual["bytes"]["up"]
        assert np.isclose(rows["joules"].sum(), virtual["joules"], rtol=1e-5)
        assert np.isclose((rows["until_s"] - rows["started_s"]).sum(), virtual["device_s"])
    spent = done.folder.summary()["virtual"]
    assert spent["end_s"] == done.rounds[-1]["virtual"]["end_s"]
    assert spent["joules"] == sum(record["virtual"]["joules"] for record in done.rounds)
    assert spent["bytes"]["down"] == done.clients["bytes_down"].sum()


def test_a_run_that_broke_off_goes_on_in_virtual_time(done: Run, tmp_path: Path):
    broken = run(tmp_path, checkpoint={"every_s": 0})
    round = next(r["round"] for r in done.rounds if r["round"] > 3 and r["blocks"] > 1)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(round))
    broken.go()
    assert broken.digests == done.digests
    assert [r["virtual"] for r in broken.rounds] == [r["virtual"] for r in done.rounds]
    pd.testing.assert_frame_equal(broken.clients, done.clients)


def test_explain_tells_what_became_of_all(done: Run):
    fates = done.clients["fate"].value_counts()
    done.folder.write_config({})
    (sentence,) = sentences(explain(done.folder.path))
    assert f"{fates['ok']:,} ok" in sentence
    assert f"{fates['late']:,} late" in sentence


def test_late_clients_train_the_steps_they_have_time_for(tmp_path: Path):
    protocol = {"name": "synchronous", "deadline_s": 2.5, "min_reports": 0.2, "over_selection": 1}
    before = run(tmp_path / "before", protocol=protocol).go().clients
    settings = {"protocol": {**protocol, "partial_work": True}, "checkpoint": {"every_s": 0}}
    found = run(tmp_path / "found", **settings).go()
    rows = found.clients
    assert (rows["fate"] == "late").sum() < (before["fate"] == "late").sum()
    ok = rows[rows["fate"] == "ok"]
    whole = -(-ok["examples"] // found.plan.workload.training.batch_size)
    assert (ok["steps"] <= whole).all()
    assert (ok["steps"] < whole).any()
    assert (ok["until_s"] <= ok["started_s"] + 2.5).all()
    broken = run(tmp_path / "broken", **settings)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(5, block=0))
    assert broken.go().digests == found.digests
    pd.testing.assert_frame_equal(broken.clients, rows)


def test_a_round_that_is_abandoned_changes_nothing(tmp_path: Path):
    slow = {"profile": {"name": "alike", "examples_per_s": 0.1}}
    found = run(tmp_path, devices=slow, rounds=3).go()
    assert len(set(found.digests)) == 1
    assert [record["fates"]["late"] for record in found.rounds] == [9, 9, 9]
    assert not any(record["virtual"]["committed"] for record in found.rounds)
    assert found.status["state"] == "finished"
    assert all("test/loss" in record["metrics"] for record in found.rounds)


def test_those_that_reported_to_an_abandoned_round_have_that_fate(tmp_path: Path):
    found = run(tmp_path, protocol={"name": "synchronous", **PROTOCOL, "deadline_s": 1.5, "min_reports": 1}).go()
    abandoned = [record for record in found.rounds if not record["virtual"]["committed"]]
    assert abandoned
    assert any(record["fates"]["abandoned"] for record in abandoned)
    for record in abandoned:
        assert record["fates"]["ok"] == 0
        before = found.rounds[record["round"] - 2]["digest"] if record["round"] > 1 else record["digest"]
        assert record["digest"] == before


def test_devices_that_are_all_there_and_alike_change_nothing(tmp_path: Path):
    plain = Run(tmp_path / "plain", cohort={"fraction": 1.0}).go()
    devices = {"profile": {"name": "alike"}}
    timed = Run(tmp_path / "timed", cohort={"fraction": 1.0}, devices=devices).go()
    assert timed.digests == plain.digests


def test_failures_count_those_that_reported(tmp_path: Path):
    assert run(tmp_path, failures={"min_clients": 1.0}).go().status["state"] == "finished"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"protocol": "synchronous"}, "no devices are simulated; set devices, or remove protocol"),
        ({"devices": {}, "cohort": {"size": 2, "sampling": "without_replacement"}}, "set cohort.sampling to uniform"),
        ({"devices": {"profile": {"name": "lognormal", "download_mbps": 0}}}, "devices.profile.download_mbps is 0"),
        ({"devices": {"availability": "sometimes"}}, "no availability is called 'sometimes'"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        parse(Experiment, settings)


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ([{"memory_mb": 0.0001}], r"training takes 0\.0 MB, but no device has more"),
        (
            [{"memory_mb": 0.0001, "share": 6}, {"share": 1}],
            r"synchronous needs 5 devices, but \d have memory enough",
        ),
    ],
)
def test_devices_too_small_for_the_model(tiers: list[dict[str, Any]], sentence: str):
    devices = {"profile": {"name": "tiers", "tiers": tiers}}
    with pytest.raises(ConfigError, match=sentence):
        build_plan(experiment(devices=devices), Tiny())


def test_timeline_tells_of_the_run(done: Run, tmp_path: Path):
    done.folder.write_config({})
    found = timeline(done.folder.path)
    assert found.end_s == done.rounds[-1]["virtual"]["end_s"]
    assert found.fates == done.clients["fate"].value_counts().to_dict()
    counted = done.clients[done.clients["fate"] == "ok"]["client"].value_counts()
    assert sum(times * clients for times, clients in found.taken_part.items()) == counted.sum()
    assert found.fairness == pytest.approx(counted.sum() ** 2 / (12 * (counted**2).sum()))
    assert set(found.devices["round"]) == {found.shown.round}
    console = Console(file=StringIO(), width=160)
    show(console, found, "tiny")
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert f"{counted.sum()} updates counted" in text
    assert all(f"│ {record['round']:>5} │" in text for record in done.rounds)
    plot(found, tmp_path / "timeline.png", "tiny")
    assert (tmp_path / "timeline.png").read_bytes()[:4] == b"\x89PNG"


def test_timeline_shows_the_round_that_was_asked_for(done: Run):
    done.folder.write_config({})
    assert timeline(done.folder.path, 3).shown.round == 3
    with pytest.raises(RunFolderError, match="has rounds 1 to 8, but no round 9; change --round"):
        timeline(done.folder.path, 9)


def test_timeline_of_a_run_without_devices(tmp_path: Path):
    plain = Run(tmp_path, rounds=1).go()
    plain.folder.write_config({})
    with pytest.raises(RunFolderError, match="has no virtual time; set devices"):
        timeline(plain.folder.path)


BUFFERED: dict[str, Any] = {"name": "fedbuff", "concurrency": 5, "max_staleness": 2}


def buffered(folder: Path, **more: Any) -> Run:
    settings = {"devices": DEVICES, "protocol": BUFFERED, "cohort": {"size": 3}, "rounds": 10}
    return Run(folder, **{**settings, **more})


@pytest.fixture(scope="module")
def async_done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return buffered(tmp_path_factory.mktemp("buffered"), checkpoint={"every_s": 0}).go()


def test_asynchronous_updates_start_from_older_models(async_done: Run):
    rows = async_done.clients
    staleness = (rows["round"] - 1 - rows["version"])[rows["fate"] == "ok"]
    assert set(staleness) == {0, 1, 2}
    assert (rows[rows["fate"] == "ok"].groupby("round").size() == 3).all()
    assert {"late", "vanished"} <= set(rows["fate"])
    assert set(rows[rows["fate"] == "late"]["cause"]) == {"its update was too old"}
    ends = [record["virtual"]["end_s"] for record in async_done.rounds]
    assert ends == sorted(ends)


def test_asynchronous_rounds_by_hand(async_done: Run, tmp_path: Path):
    """Six rounds from the parameters of the rounds before, each client's own training, and the weights of the paper."""
    plan = async_done.plan
    engine = SequentialEngine(
        build(plan.workload.model, plan.workload.spec, plan.workload.seed),
        plan.workload.task,
        plan.workload.training,
        plan.workload.seed,
    )
    holdout = Holdout(async_done.data, plan.workload.holdout, plan.workload.seed)
    module = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
    models = [engine.layout.flatten(module).numpy()]
    state = begin(plan.strategy, models[0], engine.layout.num_trainable)
    for round in range(1, 7):
        rows = async_done.clients.query("round == @round and fate == 'ok'")
        total, weight = np.zeros_like(models[0], dtype=np.float64), 0
        for client, version in zip(rows["client"].tolist(), rows["version"].tolist(), strict=True):
            start = torch.from_numpy(models[version])
            trained = engine.train(start, [holdout.train(client)], round, np.array([client]))
            size = int(holdout.sizes[client])
            total += trained.delta[0].double().numpy() * size / (1 + round - 1 - version) ** 0.5
            weight += size
        state = advance(plan.strategy, state, total / weight, engine.layout.num_trainable)
        models.append(state.parameters)
        assert len(rows) == 3
    short = buffered(tmp_path).go(rounds=6)
    assert short.digests == async_done.digests[:6]
    saved = open_checkpoints(short.plan.checkpoint, short.folder.path).latest()
    assert saved is not None
    assert np.allclose(saved.state.parameters, models[6], atol=1e-5)
    assert not np.allclose(saved.state.parameters, models[5], atol=1e-5)


def test_an_asynchronous_run_that_broke_off_goes_on(async_done: Run, tmp_path: Path):
    broken = buffered(tmp_path, checkpoint={"every_s": 0})
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(6, block=0))
    broken.go()
    assert broken.digests == async_done.digests
    assert [r["virtual"] for r in broken.rounds] == [r["virtual"] for r in async_done.rounds]
    pd.testing.assert_frame_equal(broken.clients, async_done.clients)


def test_without_staleness_asynchronous_steps_are_rounds(tmp_path: Path):
    """Alike devices, as many under way as a step wants: each step's updates start from the model before it."""
    devices = {"profile": {"name": "alike"}}
    protocol = {"name": "fedbuff", "concurrency": 4, "max_staleness": 0}
    found = buffered(tmp_path, devices=devices, protocol=protocol, cohort={"size": 4}, data=Same(12)).go()
    rows = found.clients
    assert (rows["fate"] == "ok").all()
    assert (rows["version"] == rows["round"] - 1).all()


def test_each_update_is_mixed_in(tmp_path: Path):
    """FedAsync: the model of the client, which is older than the server's, times its part."""
    protocol = {"name": "fedasync", "concurrency": 4, "mixing": 0.6, "max_staleness": 8}
    settings = {"protocol": protocol, "cohort": {"size": 1}, "strategy": "fedavg", "checkpoint": {"every_s": 0}}
    found = buffered(tmp_path / "done", **settings).go()
    rows = found.clients[found.clients["fate"] == "ok"]
    assert (rows.groupby("round").size() == 1).all()
    staleness = rows["round"] - 1 - rows["version"]
    assert staleness.max() > 0
    plan = found.plan
    module = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
    engine = SequentialEngine(module, plan.workload.task, plan.workload.training, plan.workload.seed)
    holdout = Holdout(found.data, plan.workload.holdout, plan.workload.seed)
    models = [engine.layout.flatten(build(plan.workload.model, plan.workload.spec, plan.workload.seed)).numpy()]
    for round, client, version in zip(rows["round"], rows["client"], rows["version"], strict=True):
        start = torch.from_numpy(models[version])
        own = start + engine.train(start, [holdout.train(client)], round, np.array([client])).delta[0]
        part = 0.6 / (1 + round - 1 - version) ** 0.5
        models.append(((1 - part) * models[-1] + part * own.numpy()).astype(np.float32))
    saved = open_checkpoints(plan.checkpoint, found.folder.path).latest()
    assert saved is not None
    assert np.allclose(saved.state.parameters, models[10], atol=1e-5)
    assert not np.allclose(saved.state.parameters, models[9], atol=1e-5)
    broken = buffered(tmp_path / "broken", **settings)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(6, block=0))
    assert broken.go().digests == found.digests


def test_tiers_do_not_wait_for_each_other(tmp_path: Path):
    """FedAT: each tier from the server's model when it began, all newest models together; and a run that goes on."""
    protocol = {"name": "fedat", "tiers": 3, "rounds": {"over_selection": 1, "min_reports": 0.5}}
    settings = {"protocol": protocol, "cohort": {"size": 3}, "strategy": "fedavg", "checkpoint": {"every_s": 0}}
    found = buffered(tmp_path / "done", **settings).go()
    rows = found.clients[found.clients["fate"] == "ok"]
    assert (rows["version"] < rows["round"] - 1).any()
    assert (found.clients.groupby("round")["client"].nunique() <= 3).all()
    plan = found.plan
    fresh = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
    engine = SequentialEngine(fresh, plan.workload.task, plan.workload.training, plan.workload.seed)
    holdout = Holdout(found.data, plan.workload.holdout, plan.workload.seed)
    models = [engine.layout.flatten(build(plan.workload.model, plan.workload.spec, plan.workload.seed)).numpy()]
    devices = plan.devices.build(12, plan.workload.seed)
    size = 4 * engine.layout.num_parameters
    demand = Demand(wanted=3, passes=holdout.sizes.astype(float), down=size, up=size, able=np.arange(12))
    tiers = tiers_of(np.sum(legs(devices, demand, demand.able), axis=0), demand.able, 3)
    newest, reports = [models[0]] * 3, [0, 0, 0]
    for round in range(1, 11):
        mine = rows[rows["round"] == round]
        if len(mine):
            (tier,) = {place for place, tier in enumerate(tiers) if set(mine["client"]) <= set(tier.tolist())}
            (version,) = set(mine["version"])
            start, total = torch.from_numpy(models[version]), np.zeros_like(models[0], dtype=np.float64)
            for client in mine["client"].tolist():
                trained = engine.train(start, [holdout.train(client)], round, np.array([client]))
                total += trained.delta[0].double().numpy() * int(holdout.sizes[client])
            newest[tier] = models[version] + total / holdout.sizes[mine["client"]].sum()
            reports[tier] += 1
            weights = np.array(reports[::-1])
            models.append(np.average(newest, axis=0, weights=weights).astype(np.float32))
        else:
            models.append(models[-1])
    saved = open_checkpoints(plan.checkpoint, found.folder.path).latest()
    assert saved is not None
    assert np.allclose(saved.state.parameters, models[10], atol=1e-5)
    assert not np.allclose(models[10], models[0], atol=1e-3)
    broken = buffered(tmp_path / "broken", **settings)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(6, block=0))
    assert broken.go().digests == found.digests


class Same(Tiny):
    """Each client has six examples."""

    def __init__(self, num_clients: int) -> None:
        super().__init__(num_clients)
        self.sizes = np.full(num_clients, 6)
