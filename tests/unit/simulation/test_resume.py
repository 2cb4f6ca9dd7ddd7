"""A run that broke off and went on equals one that never did: digests, ledger and evaluations."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import Run, crash_in

from fedray.simulation.backend import SerialBackend
from fedray.simulation.checkpoint import Checkpoints
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Interrupted

STRATEGIES = [
    {"name": "fedadam", "lr": 0.1},
    {"name": "fedavgm"},
]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("unbroken"), checkpoint={"every_s": 0}).go()


def assert_same(run: Run, other: Run) -> None:
    assert run.digests == other.digests
    assert [r["round"] for r in run.rounds] == list(range(1, len(other.rounds) + 1))
    for record, wanted in zip(run.rounds, other.rounds, strict=True):
        same = ("digest", "cohort", "examples", "weight", "fates", "metrics")
        assert {name: record[name] for name in same} == {name: wanted[name] for name in same}
    pd.testing.assert_frame_equal(run.clients, other.clients)
    pd.testing.assert_frame_equal(run.evaluated, other.evaluated)
    assert run.folder.summary()["digest"] == other.folder.summary()["digest"]
    assert run.folder.summary()["metrics"] == other.folder.summary()["metrics"]
    assert run.status["state"] == "finished"


@pytest.mark.parametrize("round", [1, 2, 4])
@pytest.mark.parametrize("every_s", [0, 1e6])
def test_crash_in_a_round(tmp_path: Path, unbroken: Run, round: int, every_s: float):
    run = Run(tmp_path, checkpoint={"every_s": every_s})
    with pytest.raises(MemoryError):
        run.go(backend=crash_in(round))
    assert run.status["state"] == "failed"
    assert run.status["error"] == "the machine went away"
    assert run.status["round"] == round - 1
    assert len(run.digests) == round - 1
    assert_same(Run(tmp_path).go(), unbroken)


class Killed(BaseException):
    """As SIGKILL: nothing after it is run."""


@pytest.mark.parametrize(("round", "saved"), [(2, 0), (3, 1), (4, 2), (4, 0)])
def test_killed_without_a_word(tmp_path: Path, unbroken: Run, round: int, saved: int, monkeypatch):
    """The process is gone: journals go on to the end, tables and checkpoints only to the last checkpoint."""
    run = Run(tmp_path / "a", checkpoint={"every_s": 0})
    kept = Checkpoints.save

    def save(self: Checkpoints, state) -> None:
        if state.round == saved:
            kept(self, state)

    def flush(self: RunFolder, to: int) -> Callable[[], None]:
        return whole(self, to) if to == saved else lambda: None

    whole = RunFolder.flush
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save)
        patched.setattr(RunFolder, "flush", flush)
        with pytest.raises(Killed):
            run.go(backend=crash_in(round, Killed))
    with (tmp_path / "a" / "rounds.jsonl").open("a") as file:
        file.write('{"round": 4, "ti')
    with (tmp_path / "a" / "system.jsonl").open("a") as file:
        file.write('{"time": 3')
    assert run.status["state"] == "running"
    assert len(run.digests) == round - 1
    assert_same(Run(tmp_path / "a").go(), unbroken)
    samples = run.folder.lines("system")
    assert [sample["step"] for sample in samples] == list(range(len(samples)))


def test_stopped_on_request(tmp_path: Path, unbroken: Run):
    run = Run(tmp_path, checkpoint={"every_s": 0})

    class Asking(SerialBackend):
        def run_cohort(self, parameters, blocks, on_report):
            def ask(report) -> None:
                on_report(report)
                if blocks[0].round == 3:
                    run.watch.stop()

            return super().run_cohort(parameters, blocks, ask)

    with pytest.raises(Interrupted):
        run.go(backend=Asking)
    assert (run.status["state"], run.status["round"]) == ("interrupted", 2)
    assert_same(Run(tmp_path).go(), unbroken)


def test_stopped_before_the_first_round(tmp_path: Path, unbroken: Run):
    run = Run(tmp_path)
    run.watch.stop()
    with pytest.raises(Interrupted):
        run.go()
    assert (run.status["state"], run.status["round"]) == ("interrupted", 0)
    assert_same(Run(tmp_path).go(), unbroken)


def test_crash_while_a_round_is_recorded(tmp_path: Path, unbroken: Run, monkeypatch: pytest.MonkeyPatch):
    """The disk is full when the line of round 4 is written: its rows must not be taken for those of round 3."""
    run, append = Run(tmp_path, checkpoint={"every_s": 0}), RunFolder.append

    def full(self: RunFolder, journal: str, record: dict) -> None:
        if record.get("round") == 4:
            raise OSError(28, "full")
        append(self, journal, record)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "append", full)
        with pytest.raises(OSError, match="full"):
            run.go()
    assert_same(Run(tmp_path).go(), unbroken)


def test_damaged_newest_checkpoint_of_a_finished_run(tmp_path: Path, unbroken: Run):
    shutil.copytree(unbroken.folder.path, tmp_path / "a")
    newest = max((tmp_path / "a" / "checkpoint").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert_same(Run(tmp_path / "a").go(), unbroken)


def test_finished_run_goes_on(tmp_path: Path, unbroken: Run):
    run = Run(tmp_path)
    run.go(rounds=2)
    assert run.status["state"] == "finished"
    assert_same(Run(tmp_path).go(), unbroken)


def test_many_crashes(tmp_path: Path, unbroken: Run):
    for round in (1, 2, 3, 3, 4):
        with pytest.raises(MemoryError):
            Run(tmp_path).go(backend=crash_in(round))
    assert_same(Run(tmp_path).go(), unbroken)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s["name"])
def test_slots_survive(tmp_path: Path, strategy: dict):
    whole = Run(tmp_path / "a", strategy=strategy).go()
    with pytest.raises(MemoryError):
        Run(tmp_path / "b", strategy=strategy).go(backend=crash_in(3))
    assert_same(Run(tmp_path / "b", strategy=strategy).go(), whole)


def test_crash_in_the_baselines_goes_on_there(tmp_path: Path):
    class Crashing(SerialBackend):
        def ask(self, method, parameters, items):
            if method == "train_alone":
                raise MemoryError("too many examples")
            return super().ask(method, parameters, items)

    whole = Run(tmp_path / "a", baselines={"central": True}).go()
    with pytest.raises(MemoryError):
        Run(tmp_path / "b", baselines={"central": True}).go(backend=Crashing)
    broken = Run(tmp_path / "b", baselines={"central": True})
    assert (broken.status["state"], broken.status["round"]) == ("failed", 4)
    broken.go()
    assert_same(broken, whole)
    assert broken.folder.summary()["baselines"] == whole.folder.summary()["baselines"]


def test_every_file_of_the_folder_is_whole(unbroken: Run):
    names = {path.name for path in unbroken.folder.path.rglob("*")}
    assert not {name for name in names if name.endswith(".tmp")}
    assert {"clients.parquet", "evaluations.parquet", "model.safetensors", "summary.json"} <= names
    json.loads((unbroken.folder.path / "summary.json").read_text(), parse_constant=pytest.fail)
