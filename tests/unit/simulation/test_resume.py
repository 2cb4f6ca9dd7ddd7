"""A run that broke off and went on equals one that never did: digests, ledger and evaluations."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_runs import Run, crash_in

from fedray.errors import CapacityError
from fedray.server.strategy import ServerState
from fedray.simulation import loop
from fedray.simulation.backend import SerialBackend
from fedray.simulation.checkpoint import Checkpoints, digest
from fedray.simulation.loop import Simulation
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Interrupted, Watch

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

    def save(self: Checkpoints, state, extra) -> None:
        if state.round == saved:
            kept(self, state, extra)

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
        def run_cohort(self, parameters, blocks, on_report, beside, kept=None):
            def ask(report) -> None:
                on_report(report)
                if blocks[0].round == 3:
                    run.watch.stop()

            return super().run_cohort(parameters, blocks, ask, beside, kept)

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


def full_for(round: int) -> Callable[..., None]:
    """A storage that is full when the checkpoint of a round is saved."""
    save = Checkpoints.save

    def full(self: Checkpoints, state, extra) -> None:
        if state.round == round:
            raise CapacityError("the storage is full")
        save(self, state, extra)

    return full


def warnings(run: Run) -> list[str]:
    return [event.values["text"] for event in run.watch.take() if event.kind == "warning"]


def test_checkpoint_that_cannot_be_saved_does_not_end_a_run(tmp_path: Path, unbroken: Run, monkeypatch):
    run = Run(tmp_path / "a", checkpoint={"every_s": 0})
    monkeypatch.setattr(Checkpoints, "save", full_for(2))
    with pytest.raises(MemoryError):
        run.go(backend=crash_in(3))  # round 2 is the last one recorded
    told = "the storage is full; the run goes on with the checkpoint of round 1, and tries again when the next is due"
    assert set(warnings(run)) == {told}
    going_on = Run(tmp_path / "a", checkpoint={"every_s": 0})
    assert_same(going_on.go(), unbroken)
    assert set(warnings(going_on)) == {told}
    assert {path.stem for path in (tmp_path / "a" / "checkpoint").iterdir()} == {"round-00000003", "round-00000004"}


def test_checkpoint_that_cannot_be_saved_ends_a_run_where_that_is_wanted(tmp_path: Path, unbroken: Run, monkeypatch):
    run = Run(tmp_path / "a", checkpoint={"every_s": 0, "on_error": "abort"})
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", full_for(2))
        with pytest.raises(CapacityError, match="the storage is full"):
            run.go()
    assert run.status["state"] == "failed"
    assert warnings(run) == []
    assert_same(Run(tmp_path / "a").go(), unbroken)


def test_defect_while_saving_is_never_a_warning(tmp_path: Path, monkeypatch):
    def broken(self: Checkpoints, state, extra) -> None:
        raise TypeError("extra is no JSON")

    monkeypatch.setattr(Checkpoints, "save", broken)
    with pytest.raises(TypeError, match="extra is no JSON"):
        Run(tmp_path).go()


def test_full_disk_of_the_records_ends_a_run(tmp_path: Path, monkeypatch):
    def full(self: RunFolder, to: int) -> Callable[[], None]:
        def write() -> None:
            raise CapacityError("the disk is full")

        return write

    monkeypatch.setattr(RunFolder, "flush", full)
    run = Run(tmp_path, checkpoint={"every_s": 0})
    with pytest.raises(CapacityError, match="the disk is full"):
        run.go()
    assert run.status["state"] == "failed"


def test_run_with_its_checkpoints_behind_a_uri_goes_on(tmp_path: Path, unbroken: Run):
    uri = f"memory://{tmp_path.name}"
    settings = {"checkpoint": {"every_s": 0, "uri": uri}}
    with pytest.raises(MemoryError):
        Run(tmp_path / "a", **settings).go(backend=crash_in(4))
    going_on = Run(tmp_path / "a", **settings)
    assert_same(going_on.go(), unbroken)
    assert "round 4 of 4" in [event.values["text"] for event in going_on.watch.take() if event.kind == "starting"]
    assert not list((tmp_path / "a" / "checkpoint").glob("round-*"))
    (tmp_path / "a").rename(tmp_path / "b")  # which has no checkpoint behind the URI
    renamed = Run(tmp_path / "b", **settings)
    assert_same(renamed.go(), unbroken)
    assert warnings(renamed) == ["there is no checkpoint; the rounds that are done are computed again"]


def test_extra_of_a_checkpoint_comes_back(tmp_path: Path):
    run = Run(tmp_path, checkpoint={"every_s": 0})

    def simulation() -> Simulation:
        backend = SerialBackend(run.plan.workload, run.data, run.watch)
        return Simulation(plan=run.plan, data=run.data, backend=backend, folder=run.folder, watch=run.watch)

    first = simulation()
    state = first.start()
    assert first.extra == {}
    first.extra = {"clock_s": 12.5, "quarantined": [3]}
    first.run(state)
    second = simulation()
    assert second.start().round == 4
    assert second.extra == {"clock_s": 12.5, "quarantined": [3]}


def test_no_checkpoint_follows_records_that_could_not_be_written(tmp_path: Path, unbroken: Run, monkeypatch):
    """The rows of round 2 are lost with the save that failed: a checkpoint of a later round would lie about them."""
    whole = RunFolder.flush

    def flush(self: RunFolder, to: int) -> Callable[[], None]:
        write = whole(self, to)

        def fail() -> None:
            raise CapacityError("the disk is full")

        return fail if to == 2 else write

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "flush", flush)
        with pytest.raises(CapacityError, match="the disk is full"):
            Run(tmp_path, checkpoint={"every_s": 0}).go()
    assert {path.stem for path in (tmp_path / "checkpoint").iterdir()} == {"round-00000001"}
    assert_same(Run(tmp_path).go(), unbroken)


def test_round_that_is_recorded_behind_the_next_training_is_saved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As with large models: their digest is ready only while the next round trains."""
    begun, done = ({round: threading.Event() for round in range(1, 6)} for _ in range(2))
    saved: list[int] = []
    tell, save = Watch.tell, Checkpoints.save

    def slow(state: ServerState) -> str:
        if state.round < 4:
            assert begun[state.round + 1].wait(20)
        found = digest(state)
        done[state.round].set()
        return found

    def told(watch: Watch, kind: str, **values: Any) -> None:
        tell(watch, kind, **values)
        if kind == "block" and values["round"] > 1:
            begun[values["round"]].set()
            assert done[values["round"] - 1].wait(20)

    def kept(checkpoints: Checkpoints, state: ServerState, extra: Any = None) -> None:
        saved.append(state.round)
        save(checkpoints, state, extra)

    monkeypatch.setattr(loop, "_LARGE", 1)  # parameters from which a thread makes the digest
    monkeypatch.setattr(loop, "digest", slow)
    monkeypatch.setattr(Watch, "tell", told)
    monkeypatch.setattr(Checkpoints, "save", kept)
    Run(tmp_path, checkpoint={"every_s": 0}).go()
    assert sorted(set(saved)) == [1, 2, 3, 4]
