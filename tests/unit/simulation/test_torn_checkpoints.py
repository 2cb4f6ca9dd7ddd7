"""A checkpoint is whole or absent, wherever its writing breaks off, and damage is found."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from broken_writes import Faults, FaultyFileSystem, Gone, faulty_disk
from test_checkpoint import bits, state

from fedray.errors import CapacityError, RunFolderError
from fedray.simulation.checkpoint import Checkpoint, Checkpoints
from fedray.simulation.stores import FolderStore, RemoteStore

EXTRA = {"clock_s": 0.1 + 0.2, "quarantined": [3, 7], "name": "grün", "none": None}


def on_disk(folder: Path, keep: int, faults: Faults) -> Checkpoints:
    return Checkpoints(FolderStore(folder), keep)


def on_fsspec(folder: Path, keep: int, faults: Faults) -> Checkpoints:
    return Checkpoints(RemoteStore(FaultyFileSystem(faults), str(folder), f"faulty://{folder}", waits_s=()), keep)


WAYS: dict[str, Callable[[Path, int, Faults], Checkpoints]] = {"disk": on_disk, "fsspec": on_fsspec}


@contextmanager
def breaking(way: str, faults: Faults) -> Generator[None]:
    if way == "fsspec":
        yield
    else:
        with faulty_disk(faults):
            yield


def whole(checkpoint: Checkpoint | None) -> Any:
    return checkpoint and (bits(checkpoint.state), dict(checkpoint.extra))


def never() -> Faults:
    return Faults(at=10**9)


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("newer", [(3, {}), (2, {"clock_s": 9.5})], ids=["next_round", "same_round"])
@pytest.mark.parametrize("extent", ["nothing", "half", "all"])
@pytest.mark.parametrize("gone", [False, True], ids=["error", "gone"])
@pytest.mark.parametrize("way", WAYS)
def test_save_broken_off_at_every_call(tmp_path: Path, way: str, gone: bool, extent: str, newer: Any, keep: int):
    make, (round, extra) = WAYS[way], newer
    before, after = (bits(state(2)), EXTRA), (bits(state(round)), extra)
    for at in count(1):
        folder, faults = tmp_path / str(at), Faults(at, gone, extent)
        first = make(folder, keep, never())
        first.save(state(1))
        first.save(state(2), EXTRA)
        saving = make(folder, keep, faults)
        assert whole(saving.latest()) == before
        ended: BaseException | None = None
        with breaking(way, faults):
            try:
                saving.save(state(round), extra)
            except (Gone, RunFolderError) as error:
                ended = error
        met = faults.end()
        assert isinstance(ended, Gone if gone else RunFolderError) == met, ended
        found = whole(make(folder, keep, never()).latest())
        assert found in (before, after)
        if ended is None:
            assert found == after
        following = make(folder, keep, never()) if gone else saving  # a process that lives goes on
        if gone:
            following.latest()
        following.save(state(5), {"then": at})
        assert whole(make(folder, keep, never()).latest()) == (bits(state(5)), {"then": at})
        names = [path.name for path in folder.iterdir()]
        assert len(names) <= 2 * keep, names
        assert not [name for name in names if name.startswith(".")]
        if not met:
            break
    assert at > 6  # makedirs or fsync, open, write, close, twice


def test_first_save_broken_off_leaves_none_or_one(tmp_path: Path):
    for way, make in WAYS.items():
        for at in count(1):
            folder, faults = tmp_path / way / str(at), Faults(at, gone=True, extent="half")
            with suppress(Gone), breaking(way, faults):
                make(folder, 2, faults).save(state(1))
            again = make(folder, 2, never())
            assert whole(again.latest()) in (None, (bits(state(1)), {}))
            again.save(state(1), {"again": at})
            assert whole(make(folder, 2, never()).latest()) == (bits(state(1)), {"again": at})
            if not faults.end():
                break


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["json", "safetensors"])
def test_damaged_byte_is_found(tmp_path: Path, way: str, end: str):
    saving = WAYS[way](tmp_path, 2, never())
    saving.save(state(1))
    saving.save(state(2), EXTRA)
    path = tmp_path / f"round-00000002.{end}"
    data = path.read_bytes()
    for offset in [*range(0, len(data), 64), len(data) - 1]:
        for damaged in (
            data[:offset] + bytes([data[offset] ^ 0x01]) + data[offset + 1 :],
            data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :],
            data[:offset],
            data[:offset] + b" " + data[offset:],
        ):
            path.write_bytes(damaged)
            assert whole(WAYS[way](tmp_path, 2, never()).latest()) == (bits(state(1)), {}), offset
    path.write_bytes(data)
    assert whole(WAYS[way](tmp_path, 2, never()).latest()) == (bits(state(2)), EXTRA)


def test_damaged_newer_one_does_not_push_out_what_is_whole(tmp_path: Path):
    """keep is 1: had the damaged one of round 9 counted, a save of round 7 would have removed itself."""
    Checkpoints(FolderStore(tmp_path), 2).save(state(5))
    Checkpoints(FolderStore(tmp_path), 2).save(state(9))
    (tmp_path / "round-00000009.json").write_text("{")
    going_on = Checkpoints(FolderStore(tmp_path), 1)
    assert whole(going_on.latest()) == (bits(state(5)), {})
    going_on.save(state(7))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-00000007.json", "round-00000007.safetensors"]
    assert whole(Checkpoints(FolderStore(tmp_path), 1).latest()) == (bits(state(7)), {})


@pytest.mark.parametrize("way", WAYS)
def test_full_storage_is_one_sentence_and_the_older_one_stays(tmp_path: Path, way: str):
    faults = Faults(at=2, number=28)
    saving = WAYS[way](tmp_path, 2, faults)
    WAYS[way](tmp_path, 2, never()).save(state(1))
    saving.latest()
    with breaking(way, faults), pytest.raises(CapacityError, match="full; free some space or"):
        saving.save(state(2))
    assert whole(saving.latest()) == (bits(state(1)), {})
    assert saving.standing == "the run goes on with the checkpoint of round 1, and tries again when the next is due"


def test_remote_storage_is_tried_again_for_a_while(tmp_path: Path):
    waits: list[float] = []

    def store(faults: Faults) -> RemoteStore:
        return RemoteStore(FaultyFileSystem(faults), str(tmp_path), "faulty://x", waits_s=(1, 3), wait=waits.append)

    for at in range(1, 9):
        Checkpoints(store(Faults(at, extent="half")), 2).save(state(at), {"at": at})
        assert whole(Checkpoints(store(never()), 2).latest()) == (bits(state(at)), {"at": at})
    assert waits == [1] * 8
    waits.clear()

    class Away(FaultyFileSystem):
        def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
            raise ConnectionResetError(104, "Connection reset by peer")

    away = RemoteStore(Away(), str(tmp_path), "faulty://x", waits_s=(1, 3), wait=waits.append)
    with pytest.raises(RunFolderError, match=r"faulty://x cannot be listed \(ConnectionResetError: .* by peer\)"):
        Checkpoints(away, 2).latest()  # not taken for a storage without checkpoints
    assert waits == [1, 3]


def test_what_does_not_pass_by_itself_is_not_tried_again(tmp_path: Path):
    class Forbidden(FaultyFileSystem):
        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            raise PermissionError(13, "Access denied")

    store = RemoteStore(Forbidden(), str(tmp_path), "faulty://x", wait=lambda wait_s: pytest.fail("waited"))
    with pytest.raises(RunFolderError, match="Access denied"):
        store.write("a", b"")
