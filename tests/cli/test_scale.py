"""`fedray profile` and `fedray scale`, as a user runs them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import TINY, assert_refused, environment, fedray, write

GRID = ("--clients", "5,10,20", "--actors", "1", "--repeats", "2")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny.yaml", {**TINY, "rounds": 4})


def lines(study: Path) -> list[dict[str, Any]]:
    path = study / "points.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_profile_of_a_run(file: Path, tmp_path: Path) -> None:
    assert fedray("run", file, folder=tmp_path).code == 0
    run = next((tmp_path / "runs").iterdir())
    ended = fedray("profile", run, "--plot", "p.png", "--json", "p.json", folder=tmp_path)
    assert ended.code == 0, ended
    assert "train" in ended.out
    assert "accounted" in ended.out
    assert "slowest      round" in ended.out
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "p.json").read_text())["num_rounds"] == 4


def test_profile_of_nothing(tmp_path: Path) -> None:
    assert_refused(fedray("profile", "nowhere", folder=tmp_path), "nowhere is no folder")
    assert_refused(fedray("profile", tmp_path, folder=tmp_path), "is no run folder")
    assert_refused(fedray("profile", tmp_path, "--plot", "a.jpg", folder=tmp_path), "a.png")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_study_goes_on(number: signal.Signals, file: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    options = ("scale", file, *GRID, "--rounds", "200", "--out", study)
    started = subprocess.Popen(
        [sys.executable, "-m", "fedray", *map(str, options)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = time.monotonic() + 100
        while not lines(study) and started.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        started.send_signal(number)
        out, _ = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130, out
    assert f"go on with: fedray scale --resume {study}" in out
    assert "Traceback" not in out
    before = lines(study)
    assert 1 <= len(before) < 6
    assert len(list((study / "runs").iterdir())) == len(before)

    other = fedray("scale", file, *GRID, "--rounds", "201", "--out", study, folder=tmp_path)
    assert_refused(other, "holds another study", "--rounds 200 instead of 201")
    ended = fedray("scale", "--resume", study, folder=tmp_path)
    assert ended.code == 0, ended
    after = lines(study)
    assert after[: len(before)] == before
    assert len({entry["name"] for entry in after}) == len(after) == 6
    assert len({(entry["clients"], entry["digest"]) for entry in after}) == 3
    assert "no model" in ended.out
    assert (study / "round_time.png").exists()


@pytest.mark.timeout(500)
def test_tiny_grid_on_ray(file: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    sets = ("-s", "actors.backend=ray", "-s", "actors.num_cpus=2", "-s", "tracking.enabled=true")
    options = ("scale", file, "--clients", "8,16", "--actors", "1,2", "--repeats", "1", "--rounds", "4")
    command = [*options, *sets, "--predict", "actors=8,clients=64", "--out", study]
    done = subprocess.run(
        [sys.executable, "-m", "fedray", *map(str, command)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=450,
    )
    assert done.returncode == 0, done
    assert "same bits in all 4 runs" in done.stdout
    assert "prediction: 64 clients on 8 actors" in " ".join(done.stdout.split())
    assert "MLflow at sqlite" in done.stdout
    assert {(entry["clients"], entry["actors"]) for entry in lines(study)} == {(8, 1), (8, 2), (16, 1), (16, 2)}
    results = json.loads((study / "study.json").read_text())
    assert {setup["load"]["slots"] for setup in results["setups"]} == {1, 2}
    assert sorted(path.name for path in study.glob("*.png")) == [
        "breakdown.png",
        "efficiency.png",
        "predicted.png",
        "round_time.png",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--clients", "5,x", "--actors", "1"), ("--clients is '5,x'",)),
        (("--clients", "5", "--actors", "0"), ("--actors is '0'",)),
        (("--clients", "5"), ("needs an experiment file, --clients and --actors",)),
        (("--clients", "5,50", "--actors", "1"), ("50 clients", "only 20", "data.machines")),
        (("--clients", "5", "--actors", "1,2"), ("actors.backend is serial",)),
        (("--clients", "5", "--actors", "1", "--rounds", "2"), ("rounds is 2", "warm-up", "--rounds 5")),
        (("--clients", "5", "--actors", "1", "--mode", "huge"), ("mode is 'huge'",)),
        (("--clients", "5", "--actors", "1", "--repeats", "0"), ("--repeats",)),
        (("--clients", "5", "--actors", "1", "--nodes", "2"), ("raise --actors",)),
        (("--clients", "5", "--actors", "1", "--predict", "64"), ("--predict is '64'",)),
        (("--clients", "5", "--actors", "1", "-s", "roundz=3"), ("'roundz'",)),
        (("--resume", "nowhere", "--clients", "5"), ("leave out the experiment file",)),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    options: tuple[str, ...], words: tuple[str, ...], file: Path, tmp_path: Path
) -> None:
    assert_refused(fedray("scale", file, *options, folder=tmp_path), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_folders_that_are_no_study(file: Path, tmp_path: Path) -> None:
    assert_refused(fedray("scale", "--resume", "nowhere", folder=tmp_path), "nowhere is no study folder")
    used = fedray("scale", file, *GRID, "--out", ".", folder=tmp_path)
    assert_refused(used, "is there and is no study", "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
