import hashlib
import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from fedray.config import parse
from fedray.errors import ConfigError, RunFolderError
from fedray.server.strategy import ServerState
from fedray.simulation.checkpoint import Checkpoints, digest, open_checkpoints
from fedray.simulation.settings import CheckpointConfig
from fedray.simulation.storage import check
from fedray.simulation.stores import FolderStore

LIMIT_S = 60.0


def state(round: int) -> ServerState:
    random = np.random.default_rng(round)
    parameters = random.normal(size=7).astype(np.float32)
    parameters[:3] = [-0.0, np.float32(1e-42), np.nan]
    slots = {
        "mean": random.normal(size=5),
        "count": np.array(round, np.float64),
        "strided": random.normal(size=10)[::2],
    }
    return ServerState(round=round, parameters=parameters, slots=slots)


def bits(one: ServerState) -> tuple:
    slots = {name: (value.dtype, value.shape, value.tobytes()) for name, value in one.slots.items()}
    return one.round, one.parameters.dtype, one.parameters.tobytes(), slots


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(FolderStore(tmp_path / "checkpoint"), keep=3)


def files(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints._store._path.iterdir())


def test_round_trip_is_bitwise_with_slots(checkpoints: Checkpoints):
    checkpoints.save(state(5))
    assert bits(checkpoints.latest().state) == bits(state(5))


def test_none_before_the_first(checkpoints: Checkpoints):
    assert checkpoints.latest() is None


def test_only_the_newest_are_kept(checkpoints: Checkpoints):
    for round in (1, 2, 3, 9, 100):
        checkpoints.save(state(round))
    assert files(checkpoints) == sorted(
        f"round-{round:08d}.{end}" for round in (3, 9, 100) for end in ("json", "safetensors")
    )
    assert bits(checkpoints.latest().state) == bits(state(100))


def damage_nothing_left(path: Path) -> None:
    path.write_bytes(b"")


def damage_torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])


def damage_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_other_json(path: Path) -> None:
    path.write_text("[1]")


def damage_null(path: Path) -> None:
    path.write_text("null")


def damage_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "damage",
    [
        damage_nothing_left,
        damage_torn,
        damage_one_bit,
        damage_missing,
        damage_other_json,
        damage_null,
        damage_binary,
    ],
)
@pytest.mark.parametrize("end", ["json", "safetensors"])
def test_newest_valid_one_wins(checkpoints: Checkpoints, damage, end: str):
    for round in (1, 2, 3):
        checkpoints.save(state(round))
    damage(checkpoints._store._path / f"round-00000003.{end}")
    assert bits(checkpoints.latest().state) == bits(state(2))
    for round in (4, 5, 6, 7):  # and the damaged one is no obstacle to going on
        checkpoints.save(state(round))
    assert bits(checkpoints.latest().state) == bits(state(7))


def test_checkpoint_of_another_version_does_not_count(checkpoints: Checkpoints):
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    path = checkpoints._store._path / "round-00000002.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    assert checkpoints.latest().state.round == 1


def test_all_damaged_is_one_sentence(checkpoints: Checkpoints):
    for round in (1, 2):
        checkpoints.save(state(round))
        damage_torn(checkpoints._store._path / f"round-{round:08d}.safetensors")
    with pytest.raises(RunFolderError, match="checkpoint is damaged: none of its 2 checkpoints is valid; run again"):
        checkpoints.latest()


def test_saving_the_same_round_again_is_harmless(checkpoints: Checkpoints):
    checkpoints.save(state(1))
    checkpoints.save(state(1))
    assert bits(checkpoints.latest().state) == bits(state(1))


def test_digest_is_of_the_parameters_alone():
    one = state(1)
    other = ServerState(round=9, parameters=one.parameters.copy())
    assert digest(one) == digest(other)
    assert digest(one) != digest(state(2))
    known = ServerState(round=1, parameters=np.array([1.0], np.float32))
    assert digest(known) == "e00e5eb9444182f352323374ef4e08ebcb784725fdd4fd612d7730540b3e0c8c"


def test_extra_comes_back_as_it_was(checkpoints: Checkpoints):
    extra = {"position": 2**60, "clock_s": 0.1 + 0.2, "quarantined": [1, 5], "deep": {"ü": [None, True, "\n"]}}
    checkpoints.save(state(3), extra)
    assert checkpoints.latest().extra == extra
    checkpoints.save(state(3), {**extra, "position": 1})
    assert checkpoints.latest().extra == {**extra, "position": 1}


@pytest.mark.parametrize("extra", [{"a": (1, 2)}, {"a": {1: 2}}, {"a": np.float32(1)}, {"a": float("nan")}])
def test_extra_that_would_not_come_back_is_refused(checkpoints: Checkpoints, extra: dict):
    with pytest.raises((TypeError, ValueError)):
        checkpoints.save(state(3), extra)
    assert checkpoints.latest() is None


def test_checkpoint_of_version_1_is_read_and_gone_on_from(checkpoints: Checkpoints):
    checkpoints.save(state(4))
    folder = checkpoints._store._path
    data = (folder / "round-00000004.safetensors").read_bytes()
    old = {"version": 1, "round": 4, "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "round-00000004.json").write_bytes(json.dumps(old).encode())
    fresh = Checkpoints(FolderStore(folder), keep=3)
    assert bits(fresh.latest().state) == bits(state(4))
    assert fresh.latest().extra == {}
    fresh.save(state(5), {"a": 1})
    assert fresh.latest().state.round == 5
    (folder / "round-00000005.json").unlink()
    assert Checkpoints(FolderStore(folder), keep=3).latest().state.round == 4


def test_manifest_of_another_round_does_not_count(checkpoints: Checkpoints):
    checkpoints.save(state(1))
    folder = checkpoints._store._path
    for end in ("json", "safetensors"):
        (folder / f"round-00000007.{end}").write_bytes((folder / f"round-00000001.{end}").read_bytes())
    assert checkpoints.latest().state.round == 1


def test_same_state_is_not_written_twice(checkpoints: Checkpoints):
    for round in (1, 2):
        checkpoints.save(state(round))
    before = {name: (checkpoints._store._path / name).stat().st_mtime_ns for name in files(checkpoints)}
    checkpoints.save(state(2))
    assert before == {name: (checkpoints._store._path / name).stat().st_mtime_ns for name in files(checkpoints)}


@pytest.fixture
def uri() -> str:
    return f"memory://{uuid.uuid4().hex}"


def test_runs_behind_one_uri_do_not_mix(tmp_path: Path, uri: str):
    settings = CheckpointConfig(uri=uri)
    check(uri, LIMIT_S)
    for number, name in enumerate(("a", "b"), start=1):
        (tmp_path / name).mkdir()
        one = open_checkpoints(settings, tmp_path / name)
        assert one.latest() is None
        one.save(state(number), {"name": name})
    for number, name in enumerate(("a", "b"), start=1):
        found = open_checkpoints(settings, tmp_path / name).latest()
        assert (bits(found.state), found.extra) == (bits(state(number)), {"name": name})
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"/a holds the checkpoints of another run; change checkpoint\.uri"):
        open_checkpoints(settings, tmp_path / "elsewhere" / "a").latest()


def test_file_uri_is_a_local_folder(tmp_path: Path):
    settings = CheckpointConfig(uri=f"file://{tmp_path}/store/")
    open_checkpoints(settings, tmp_path / "a").save(state(1))
    names = {path.name for path in (tmp_path / "store" / "a").iterdir()}
    assert names == {"round-00000001.json", "round-00000001.safetensors"}


def test_run_that_moves_its_checkpoints_finds_the_old_ones(tmp_path: Path, uri: str):
    open_checkpoints(CheckpointConfig(), tmp_path / "a").save(state(4), {"a": 1})
    moved = open_checkpoints(CheckpointConfig(uri=uri), tmp_path / "a")
    assert moved.latest().state.round == 4
    moved.save(state(6))
    assert open_checkpoints(CheckpointConfig(uri=uri), tmp_path / "a").latest().state.round == 6
    assert open_checkpoints(CheckpointConfig(), tmp_path / "a").latest().extra == {"a": 1}


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://me:secret@bucket/x", "holds a password"),
        ("/mnt/x", "write file:///mnt/x"),
        ("simplecache::s3://bucket", "is no URI of a storage"),
        ("file://mnt/x", "no folder from the root on"),
        ("file:///", "no folder from the root on"),
        ("", "is no URI of a storage"),
        (3, "valid string"),
    ],
)
def test_uri_that_cannot_be_one_is_refused(uri: object, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        parse(CheckpointConfig, {"uri": uri})
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_package_and_unknown_protocol_are_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # as where it is not installed
    with pytest.raises(ConfigError, match=r"'gs://bucket/x', which needs the package 'gcsfs'; install it"):
        check("gs://bucket/x", LIMIT_S)
    with pytest.raises(ConfigError, match="fsspec knows no protocol 'nowhere'"):
        check("nowhere://x", LIMIT_S)


def test_place_that_cannot_be_written_is_refused_before_a_run(tmp_path: Path, uri: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"where nothing can be saved: .*cannot be written"):
        check(f"file://{tmp_path}/file/x", LIMIT_S)
    check(f"file://{tmp_path}/store", LIMIT_S)
    assert list((tmp_path / "store").iterdir()) == []
    check(None, LIMIT_S)
