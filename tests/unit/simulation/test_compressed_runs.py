"""Whole runs whose updates and models are compressed on their way."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import Run, Tiny, crash_in, experiment

from fedray.client.host import Host
from fedray.compression.topk import TopK
from fedray.config import parse
from fedray.errors import ConfigError
from fedray.experiment import build_plan
from fedray.messages import Block
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.simulation.checkpoint import open_checkpoints

TOPK: dict[str, Any] = {"up": {"name": "topk", "fraction": 0.2}, "error_feedback": True}
CODECS: list[dict[str, Any]] = [
    TOPK,
    {"up": "float16", "down": "bfloat16"},
    {"up": {"name": "qsgd", "levels": 7, "bucket": 8}, "down": {"name": "qsgd"}},
    {"up": {"name": "int8", "bits": 4, "bucket": 8}, "error_feedback": True},
    {"up": {"name": "randomk", "fraction": 0.3, "unbiased": False}, "error_feedback": True},
]


def run(folder: Path, **more: Any) -> Run:
    return Run(folder, **{"compression": TOPK, "checkpoint": {"every_s": 0}, "rounds": 6, **more})


def test_codec_that_takes_nothing_away_changes_nothing(tmp_path: Path):
    whole = {"up": {"name": "topk", "fraction": 1}, "error_feedback": True}
    plain, found = run(tmp_path / "a", compression={}).go(), run(tmp_path / "b", compression=whole).go()
    assert found.digests == plain.digests
    assert run(tmp_path / "c").go().digests != plain.digests


@pytest.mark.parametrize("compression", CODECS, ids=str)
def test_run_that_broke_off_goes_on(compression: dict, tmp_path: Path):
    done = run(tmp_path / "done", compression=compression).go()
    broken = run(tmp_path / "broken", compression=compression)
    with pytest.raises(MemoryError):
        broken.go(backend=crash_in(4))
    broken.go()
    assert broken.digests == done.digests
    pd.testing.assert_frame_equal(broken.clients, done.clients)


@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
@pytest.mark.parametrize("compression", CODECS, ids=str)
def test_blocks_change_no_bit(compression: dict, engine: str, tmp_path: Path):
    training = {"batch_size": 3, "optimizer": {"name": "sgd", "lr": 0.1}, "engine": engine}
    one, six = (
        run(tmp_path / str(size), compression=compression, blocks={"size": size}, training=training, rounds=3).go()
        for size in (1, 6)
    )
    assert one.digests == six.digests


def test_client_keeps_what_was_lost_and_sends_it_later():
    plan = build_plan(experiment(compression=TOPK), Tiny())
    module = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
    parameters, num = Layout(module).flatten(module).numpy(), Layout(module).num_parameters
    block = Block(round=1, index=0, start=0, clients=np.array([3, 5]), work=1.0)
    plain = Host(build_plan(experiment(), Tiny()).workload, Tiny())
    delta = [
        np.float32(plan.workload.ring.mean(plain.train(parameters, [part], hand_over=True).partials[0]))
        for part in (Block(round=1, index=i, start=i, clients=np.array([c]), work=1.0) for i, c in enumerate((3, 5)))
    ]
    kept = np.random.default_rng(0).normal(0, 0.01, (2, num)).astype(np.float32)
    before = kept.copy()
    work = Host(plan.workload, Tiny()).train(parameters, [block], hand_over=True, kept=kept)
    assert work.kept is not None
    assert np.array_equal(kept, before)
    codec = parse(TopK, {"name": "topk", "fraction": 0.2})
    for row in range(2):
        wanted = torch.from_numpy(delta[row] + before[row])
        sent = codec.apply(wanted[None], np.zeros(1, np.uint64))[0]
        np.testing.assert_allclose(work.kept[row], wanted - sent, atol=1e-6)
        assert (work.kept[row] == 0).sum() == codec.num_sent(num)


def test_client_whose_update_is_refused_keeps_what_it_had(tmp_path: Path):
    faults = [{"kind": "corrupt", "how": "nan", "rounds": [1, 2, 3], "clients": [4]}]
    policy = {"rejected_update": "drop"}
    found = run(tmp_path, faults=faults, failures=policy, cohort={"size": 12}, rounds=3).go()
    saved = open_checkpoints(found.plan.checkpoint, tmp_path).latest()
    assert saved is not None
    assert sorted(saved.state.kept) == [client for client in range(12) if client != 4]
    assert set(found.clients[found.clients["client"] == 4]["fate"]) == {"rejected"}


def test_client_that_is_lost_keeps_what_it_had(tmp_path: Path):
    faults = [{"kind": "kill", "rounds": [1], "clients": [4], "at": "after"}]
    found = run(tmp_path, faults=faults, failures={"on_death": "drop"}, cohort={"size": 12}, rounds=1).go()
    dropped = set(found.clients[found.clients["fate"] == "dropped"]["client"])
    saved = open_checkpoints(found.plan.checkpoint, tmp_path).latest()
    assert saved is not None
    assert dropped
    assert set(saved.state.kept) == set(range(12)) - dropped


def test_what_travels_is_counted_in_virtual_time(tmp_path: Path):
    a_byte_a_second = 8e-6
    profile = {"download_mbps": a_byte_a_second, "upload_mbps": a_byte_a_second, "latency_s": 0}
    devices = {"profile": {"name": "alike", **profile}}
    compression = {"up": {"name": "topk", "fraction": 0.1}, "down": "float16"}
    found = run(tmp_path, devices=devices, compression=compression, rounds=1).go()
    num = 3 * 4 + 4 + 4 * 2 + 2
    up, down = 4 * 3 + 2, 2 * num  # three values of 26, and three positions of five bits
    rows = found.clients[found.clients["fate"] == "ok"]
    assert set(rows["bytes_down"]) == {down}
    assert set(rows["bytes_up"]) == {up}
    assert np.allclose(rows["download_s"], down)
    assert np.allclose(rows["upload_s"], up)


@pytest.mark.parametrize(
    ("compression", "words"),
    [
        ({"error_feedback": True}, "set up, or remove error_feedback"),
        ({"down": "topk"}, "set down to float16, bfloat16, int8 or qsgd"),
        ({"up": "randomk", "error_feedback": True}, "set unbiased to false"),
        ({"up": {"name": "qsgd", "levels": 1}, "error_feedback": True}, "raise its levels, or lower its bucket"),
        ({"up": "zip"}, "zip"),
        ({"up": {"name": "topk", "fraction": 0}}, "fraction"),
    ],
)
def test_what_cannot_work_is_refused(compression: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        build_plan(experiment(compression=compression), Tiny())


def test_more_than_a_machine_can_keep_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"total": 3000}))
    with pytest.raises(ConfigError, match="keeps 26 numbers for each of up to 12 clients"):
        build_plan(experiment(compression=TOPK), Tiny())
