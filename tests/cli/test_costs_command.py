"""`fedray costs`, as a user runs it."""

import json
from pathlib import Path

import pytest
from commands import TINY, assert_refused, fedray

import fedray as package
from fedray.config import parse

DEVICES = {"profile": {"name": "lognormal", "speed_spread": 1, "joules_per_example": 2}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {**TINY, "devices": DEVICES, "runs": str(tmp_path_factory.mktemp("costs"))}
    return package.run(parse(package.Experiment, settings)).folder


def test_costs_of_a_run(run: Path, tmp_path: Path) -> None:
    options = ("--target", "test/accuracy=0", "--target", "test/loss<=-1", "--plot", "c.png", "--json", "c.json")
    ended = fedray("costs", run, *options, folder=tmp_path)
    assert ended.code == 0, ended
    assert "test/accuracy>=0 by round 1 (" in ended.out
    assert "test/loss<=-1 not reached: best " in ended.out
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    found = json.loads((tmp_path / "c.json").read_text())
    spent = json.loads((run / "summary.json").read_text())["virtual"]
    assert found["total"]["device_s"] == pytest.approx(spent["device_s"])
    assert found["total"]["virtual_s"] == spent["end_s"]
    assert found["clients"]["total"]["bytes_down"] == spent["bytes"]["down"]


def test_costs_refused(run: Path, tmp_path: Path) -> None:
    assert_refused(fedray("costs", run, "--target", "test/f1=1", folder=tmp_path), "no metric test/f1", "test/macro_f1")
    assert_refused(fedray("costs", run, "--target", "test/f1", folder=tmp_path), "'test/f1'", "--target test/auprc=0.8")
    assert_refused(fedray("costs", "nowhere", folder=tmp_path), "nowhere is no folder")
