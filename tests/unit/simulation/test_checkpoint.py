import json
from pathlib import Path

import numpy as np
import pytest

from fedray.errors import RunFolderError
from fedray.server.strategy import ServerState
from fedray.simulation.checkpoint import Checkpoints, digest


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
    return Checkpoints(tmp_path / "checkpoint", keep=3)


def files(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints._folder.iterdir())


def test_round_trip_is_bitwise_with_slots(checkpoints: Checkpoints):
    checkpoints.save(state(5))
    assert bits(checkpoints.latest()) == bits(state(5))


def test_none_before_the_first(checkpoints: Checkpoints):
    assert checkpoints.latest() is None


def test_only_the_newest_are_kept(checkpoints: Checkpoints):
    for round in (1, 2, 3, 9, 100):
        checkpoints.save(state(round))
    assert files(checkpoints) == sorted(
        f"round-{round:08d}.{end}" for round in (3, 9, 100) for end in ("json", "safetensors")
    )
    assert bits(checkpoints.latest()) == bits(state(100))


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
    damage(checkpoints._folder / f"round-00000003.{end}")
    assert bits(checkpoints.latest()) == bits(state(2))
    for round in (4, 5, 6, 7):  # and the damaged one is no obstacle to going on
        checkpoints.save(state(round))
    assert bits(checkpoints.latest()) == bits(state(7))


def test_checkpoint_of_another_version_does_not_count(checkpoints: Checkpoints):
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    path = checkpoints._folder / "round-00000002.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    assert checkpoints.latest().round == 1


def test_all_damaged_is_one_sentence(checkpoints: Checkpoints):
    for round in (1, 2):
        checkpoints.save(state(round))
        damage_torn(checkpoints._folder / f"round-{round:08d}.safetensors")
    with pytest.raises(RunFolderError, match="checkpoint is damaged: none of its 2 checkpoints is valid; run again"):
        checkpoints.latest()


def test_saving_the_same_round_again_is_harmless(checkpoints: Checkpoints):
    checkpoints.save(state(1))
    checkpoints.save(state(1))
    assert bits(checkpoints.latest()) == bits(state(1))


def test_digest_is_of_the_parameters_alone():
    one = state(1)
    other = ServerState(round=9, parameters=one.parameters.copy())
    assert digest(one) == digest(other)
    assert digest(one) != digest(state(2))
    known = ServerState(round=1, parameters=np.array([1.0], np.float32))
    assert digest(known) == "e00e5eb9444182f352323374ef4e08ebcb784725fdd4fd612d7730540b3e0c8c"
