"""What goes wrong with a run folder, a disk or a client ends in one sentence, and what is done stays usable."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TINY, assert_refused, environment, fedray, write
from disks import small_disk

ROUNDS = 3
MODULE = """
import numpy as np
from fedray import DataSpec, FederatedData, Shard
from fedray.data.base import GeneratedDataConfig

class Loose(FederatedData):
    def __init__(self):
        self.spec = DataSpec(features=(3,), task="classification", num_outputs=2)
        self.sizes = np.full(6, 4)

    def shard(self, client):
        if client == 4:
            raise ValueError("the sensor is loose")
        return Shard(x=np.ones((4, 3), np.float32), y=np.arange(4) % 2)

    def test(self):
        return None

class Source(GeneratedDataConfig):
    name: str
    def load(self, seed):
        return Loose()
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("done")
    write(folder / "tiny.yaml", {**TINY, "rounds": ROUNDS})
    ended = fedray("run", "tiny.yaml", folder=folder)
    assert ended.code == 0, ended
    return next((folder / "runs").iterdir())


@pytest.fixture
def run(done: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to damage."""
    return Path(shutil.copytree(done, tmp_path / "run"))


def digests(folder: Path) -> list[str]:
    return [json.loads(line)["digest"] for line in (folder / "rounds.jsonl").read_text().splitlines()]


def status(folder: Path) -> dict[str, object]:
    return json.loads((folder / "status.json").read_text())


def _damage_checkpoints(run: Path) -> None:
    for arrays in (run / "checkpoint").glob("*.safetensors"):
        arrays.write_bytes(b"damaged")


def _damage_rounds(run: Path) -> None:
    lines = (run / "rounds.jsonl").read_text().splitlines(keepends=True)
    (run / "rounds.jsonl").write_text("".join([lines[0], "garbage\n", *lines[1:]]))


DAMAGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "config": (lambda run: (run / "config.yaml").write_text("rounds: [1\n"), ("damaged", "config.yaml")),
    "config_missing": (lambda run: (run / "config.yaml").unlink(), ("no run folder", "config.yaml")),
    "config_empty": (lambda run: (run / "config.yaml").write_text(""), ("damaged", "config.yaml")),
    "config_setting": (lambda run: (run / "config.yaml").write_text("roundz: 3\n"), ("'roundz'", "'rounds'")),
    "status": (lambda run: (run / "status.json").write_text("{"), ("damaged", "status.json")),
    "status_other": (lambda run: (run / "status.json").write_text("{}"), ("damaged", "status.json")),
    "checkpoints": (_damage_checkpoints, ("none of its 2 checkpoints is valid",)),
    "rounds": (_damage_rounds, ("rounds.jsonl is damaged", "line 2")),
    "clients": (lambda run: (run / "clients.parquet").write_text("?"), ("clients.parquet is damaged",)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_folder_is_not_resumed(name: str, run: Path) -> None:
    damage, words = DAMAGES[name]
    damage(run)
    before = (run / "rounds.jsonl").read_bytes()
    assert_refused(fedray("resume", run, "-s", f"rounds={ROUNDS + 1}", folder=run.parent), *words)
    assert (run / "rounds.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config", ("config.yaml",)),
        ("config_missing", ("not a run folder", "config.yaml")),
        ("status", ("status.json", "damaged")),
        ("rounds", ("rounds.jsonl", "damaged")),
    ],
)
def test_damaged_folder_is_not_delivered(name: str, words: tuple[str, ...], run: Path) -> None:
    DAMAGES[name][0](run)
    assert_refused(fedray("sync", run, folder=run.parent), *words)


def test_resume_of_a_finished_run(run: Path) -> None:
    assert_refused(fedray("resume", run, folder=run.parent), f"finished its {ROUNDS} rounds", "-s rounds=6")
    assert status(run)["state"] == "finished"


def test_resume_with_a_setting_that_may_not_change(run: Path) -> None:
    before = (run / "config.yaml").read_bytes()
    ended = fedray("resume", run, "-s", "rounds=5", "-s", "training.optimizer.lr=0.5", folder=run.parent)
    assert_refused(ended, "training", "may not change")
    assert (run / "config.yaml").read_bytes() == before


def test_resume_with_an_unknown_setting(run: Path) -> None:
    assert_refused(fedray("resume", run, "-s", "round=5", folder=run.parent), "'round'", "'rounds'")


def test_two_processes_do_not_run_one_folder(tmp_path: Path) -> None:
    file = write(tmp_path / "long.yaml", {**TINY, "rounds": 100_000})
    command = [sys.executable, "-m", "fedray", "run", str(file)]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        folder = _first_round(tmp_path / "runs")
        assert_refused(fedray("resume", folder, folder=tmp_path), str(folder), "another process")
    finally:
        first.send_signal(signal.SIGTERM)
        out, _ = first.communicate(timeout=60)
    assert first.returncode == 130, out
    assert status(folder)["state"] == "interrupted"


def _first_round(runs: Path, limit_s: float = 60) -> Path:
    """The run folder, once a round is done."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        found = [path for path in runs.glob("*/rounds.jsonl") if path.stat().st_size]
        if found:
            return found[0].parent
        time.sleep(0.02)
    raise AssertionError("no round was done")


def test_disk_full_at_the_start_leaves_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.yaml", TINY)
    with small_disk(tmp_path / "disk", pages=2) as disk:
        ended = fedray("run", file, "-s", f"runs={disk.path}", folder=tmp_path, **disk.options)
        assert_refused(ended, str(disk.path), disk.words)
        assert os.listdir(disk.path) == []


def test_disk_full_in_a_run_loses_nothing_that_is_done(tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.yaml", {**TINY, "rounds": 60})
    assert fedray("run", file, folder=tmp_path).code == 0
    unbroken = digests(next((tmp_path / "runs").iterdir()))
    with small_disk(tmp_path / "disk", pages=60) as disk:
        assert_refused(fedray("run", file, "-s", f"runs={disk.path}", folder=tmp_path, **disk.options), disk.words)
        folder = next(disk.path.iterdir())
        assert 0 < len(digests(folder)) < 60
        disk.grow()
        assert fedray("resume", folder, folder=tmp_path).code == 0
        assert digests(folder) == unbroken


@pytest.mark.parametrize("backend", ["serial", "ray"])
def test_client_that_raises_is_named(backend: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    actors = {"backend": backend, **({"num_cpus": 1} if backend == "ray" else {})}
    settings = {**TINY, "data": "mine:Source", "cohort": {"size": 6}, "actors": actors}
    ended = fedray("run", write(tmp_path / "loose.yaml", settings), folder=tmp_path)
    assert_refused(ended, "client 4 failed in round 1", "ValueError: the sensor is loose")
    folder = next((tmp_path / "runs").iterdir())
    assert status(folder)["state"] == "failed"
    assert "the sensor is loose" in (folder / "errors" / "round-1-client-4.txt").read_text()


def test_client_that_diverges_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.yaml", {**TINY, "rounds": 50})
    ended = fedray("run", file, "-s", "training.optimizer.lr=1e20", folder=tmp_path)
    assert_refused(ended, "the update of client", "was rejected", "training.optimizer.lr")
    assert status(next((tmp_path / "runs").iterdir()))["state"] == "failed"


def test_more_actors_than_the_machine_has_memory_for(tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.yaml", TINY)
    sets = ["data.machines=100000", "actors.backend=ray", "actors.num_cpus=1", "actors.clients_per_actor=1"]
    ended = fedray("run", file, *(part for text in sets for part in ("-s", text)), folder=tmp_path)
    assert_refused(ended, "100000 client actors need about", "would fit: set actors.clients_per_actor to at least")
    assert not (tmp_path / "runs").exists()
