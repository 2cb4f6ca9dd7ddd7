"""`fedray verify`, as a user runs it."""

import json
from pathlib import Path

import pytest
from commands import TINY, assert_refused, fedray

import fedray as package
from fedray.config import parse


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real runs: twice the same, one that is longer, one with another learning rate."""
    folder = tmp_path_factory.mktemp("verify")
    settings = {
        "one": {},
        "again": {"blocks": {"size": 1}, "checkpoint": {"every_s": 1e6}},
        "longer": {"rounds": 3},
        "faster": {"training": {"optimizer": {"name": "sgd", "lr": 0.5}}},
    }
    made = {}
    for name, more in settings.items():
        experiment = parse(package.Experiment, {**TINY, **more, "name": name, "runs": str(folder)})
        made[name] = package.run(experiment).folder
    return made


def test_same_runs_end_with_0(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = fedray("verify", runs["one"], runs["again"], "--json", "found.json", folder=tmp_path)
    assert ended.code == 0, ended
    assert "verdict      the same: 2 rounds compared, equal bit for bit" in ended.out
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["same"], found["compared"], found["differs_from"]) == (True, 2, None)
    assert [setting["name"] for setting in found["settings"]] == ["blocks.size"]


def test_longer_run_is_compared_as_far_as_both_go(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = fedray("verify", runs["longer"], runs["one"], folder=tmp_path)
    assert ended.code == 0, ended
    assert "the first run has 1 round more" in ended.out


def test_runs_that_differ_end_with_1_and_say_why(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = fedray("verify", runs["one"], runs["faster"], folder=tmp_path)
    assert ended.code == 1, ended
    assert "verdict      different from round 1 on" in ended.out
    assert "settings that may change a result differ: training.optimizer.lr" in ended.out
    assert "Traceback" not in ended.out + ended.err


def test_what_is_no_run_ends_with_2(runs: dict[str, Path], tmp_path: Path) -> None:
    assert_refused(fedray("verify", runs["one"], "nowhere", folder=tmp_path), "nowhere is no folder")
    assert_refused(fedray("verify", tmp_path, runs["one"], folder=tmp_path), "is no run folder")
    assert_refused(fedray("verify", runs["one"], folder=tmp_path), "Missing argument", "fedray verify --help")
