"""A storage that hangs is not waited for: not by a save, not by a run, not by its end."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_checkpoint import bits, state
from test_resume import assert_same, warnings
from tiny_runs import Run, crash_in

from fedray.errors import ConfigError, RunFolderError
from fedray.simulation import storage
from fedray.simulation.checkpoint import Checkpoints
from fedray.simulation.storage import LimitedStore, check
from fedray.simulation.stores import FolderStore

LIMIT_S = 0.3
LATE = "memory://x did not answer in 0.3 s; see checkpoint.uri, or raise checkpoint.timeout_s"
STILL = "memory://x still does not answer; see checkpoint.uri and checkpoint.timeout_s"


class Hanging(FolderStore):
    """A folder whose writes of some files hang, each once, until they are released."""

    tears = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hang_at, self.hung, self.released = "", threading.Event(), threading.Event()

    def write(self, name: str, data: bytes) -> None:
        if self.hang_at and self.hang_at in name:
            self.hang_at = ""
            self.hung.set()
            assert self.released.wait(100)
        super().write(name, data)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    store = Hanging(tmp_path / "store")
    yield store
    store.released.set()


def limited(hanging: Hanging, limit_s: float = LIMIT_S) -> LimitedStore:
    return LimitedStore(lambda: hanging, "memory://x", limit_s)


def test_late_call_is_one_sentence_and_nothing_else_is_asked_until_it_ends(hanging: Hanging):
    store = limited(hanging)
    assert store.tears
    store.write("a", b"1")
    hanging.hang_at = "b"
    with pytest.raises(RunFolderError) as late:
        store.write("b", b"2")
    assert str(late.value) == LATE
    for call in (lambda: store.read("a"), store.names, lambda: store.remove("a"), lambda: store.write("c", b"3")):
        with pytest.raises(RunFolderError) as still:
            call()
        assert str(still.value) == STILL
    late_call = store._late
    hanging.released.set()
    assert late_call is not None
    late_call.result(100)
    assert (store.names(), store.read("a"), store.read("b")) == (["a", "b"], b"1", b"2")


def test_errors_in_time_are_the_stores_own(tmp_path: Path):
    (tmp_path / "file").write_text("")
    store = LimitedStore(lambda: FolderStore(tmp_path / "file"), "memory://x", 60)
    assert not store.tears
    with pytest.raises(RunFolderError, match="file"):
        store.write("a", b"")
    assert store.read("a") is None


@pytest.mark.parametrize("at", ["round-00000002.safetensors", "round-00000002.json"])
def test_save_that_hangs_leaves_the_one_before_and_later_ones_count(hanging: Hanging, at: str):
    saving = Checkpoints(limited(hanging), 2)
    saving.save(state(1))
    hanging.hang_at = at
    with pytest.raises(RunFolderError, match="did not answer"):
        saving.save(state(2))
    with pytest.raises(RunFolderError, match="still does not"):
        saving.save(state(3))
    assert bits(Checkpoints(hanging, 2).latest().state) == bits(state(1))
    late_call = saving._store._late
    hanging.released.set()
    late_call.result(100)
    saving.save(state(4))
    assert bits(Checkpoints(hanging, 2).latest().state) == bits(state(4))
    assert len(hanging.names()) <= 4


@pytest.fixture
def behind(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a run whose checkpoints lie there."""
    monkeypatch.setattr(storage, "open_store", lambda uri, *parts: hanging)
    return {"checkpoint": {"every_s": 0, "uri": "memory://x", "timeout_s": LIMIT_S}}


def test_run_goes_on_and_ends_without_its_storage(tmp_path: Path, hanging: Hanging, behind: dict[str, Any]):
    unbroken = Run(tmp_path / "unbroken").go()
    hanging.hang_at = "round-00000002.safetensors"
    run = Run(tmp_path / "a", **behind)
    assert_same(run.go(), unbroken)
    assert hanging.hung.is_set()
    standing = "the run goes on with the checkpoint of round 1, and tries again when the next is due"
    late, *still = warnings(run)
    assert late.replace("memory://x/a", "memory://x") == f"{LATE}; {standing}"
    assert {text.replace("memory://x/a", "memory://x") for text in still} == {f"{STILL}; {standing}"}
    assert len(still) in (2, 3), "rounds 3 and 4, and the end of the run"


def test_run_whose_last_save_hangs_ends(tmp_path: Path, hanging: Hanging, behind: dict[str, Any]):
    hanging.hang_at = "round-00000004.json"
    run = Run(tmp_path / "a", **behind).go()
    assert run.status["state"] == "finished"
    assert "did not answer" in warnings(run)[0]


def test_run_ends_where_a_save_that_hangs_should_end_it(tmp_path: Path, hanging: Hanging, behind: dict[str, Any]):
    unbroken = Run(tmp_path / "unbroken").go()
    hanging.hang_at = "round-00000002.json"
    behind["checkpoint"]["on_error"] = "abort"
    run = Run(tmp_path / "a", **behind)
    with pytest.raises(RunFolderError, match="did not answer"):
        run.go()
    assert run.status["state"] == "failed"
    hanging.released.set()
    assert_same(Run(tmp_path / "a", **behind).go(), unbroken)


def test_crash_is_told_and_not_what_hangs_after_it(tmp_path: Path, hanging: Hanging, behind: dict[str, Any]):
    hanging.hang_at = "round-00000003"
    with pytest.raises(MemoryError):
        Run(tmp_path / "a", **behind).go(backend=crash_in(4))


def test_storage_that_hangs_before_a_run_is_refused(hanging: Hanging, behind: dict[str, Any]):
    hanging.hang_at = ".fedray-"
    with pytest.raises(ConfigError) as refused:
        check("memory://x", LIMIT_S)
    assert str(refused.value) == f"checkpoint.uri is 'memory://x', where nothing can be saved: {LATE}"


def test_storage_that_cannot_be_opened_in_time_is_one_sentence():
    never = threading.Event()

    def opens() -> FolderStore:
        never.wait(100)
        return FolderStore(Path())

    with pytest.raises(RunFolderError) as late:
        LimitedStore(opens, "memory://x", LIMIT_S)
    never.set()
    assert str(late.value) == LATE
