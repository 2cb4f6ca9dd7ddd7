import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_folders import STARTED, make_run

from fedray.tracking import follow as follower
from fedray.tracking.follow import DELIVERED, NOT_DELIVERED, UNUSABLE, follow, main, watch


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    return process.pid


def test_ended_run_is_delivered_and_left(runs: Path, client):
    run = make_run(runs, rounds=2)
    run.finish(2)
    assert follow(run.path, interval_s=0.01) == DELIVERED
    assert client.get_run(run.tracked()["run_id"]).info.status == "FINISHED"


def test_run_whose_process_died_is_delivered_and_shown_as_killed(runs: Path, client, dead_pid: int):
    run = make_run(runs, rounds=2)
    assert follow(run.path, interval_s=0.01, has_parent=watch(dead_pid)) == DELIVERED
    assert client.get_run(run.tracked()["run_id"]).info.status == "KILLED"


def test_absent_server_does_not_hold_the_end_longer_than_allowed(runs: Path):
    run = make_run(runs, rounds=2, uri="http://127.0.0.1:9", finish_s=0.3)
    run.status("interrupted", 2, STARTED + 5)
    started = time.monotonic()
    assert follow(run.path, interval_s=0.05) == NOT_DELIVERED
    assert time.monotonic() - started < 10
    assert "nothing listens there" in run.tracked()["error"]


def test_absent_server_is_tried_ever_more_seldom(runs: Path, monkeypatch: pytest.MonkeyPatch):
    run = make_run(runs, rounds=2, uri="http://127.0.0.1:9", finish_s=0)
    now, tries = [0.0], []
    real = follower.attempt

    def attempt(folder: Path, abandoned: bool):
        tries.append(now[0])
        return real(folder, abandoned)

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 200:
            run.status("failed", 2, STARTED + 5)

    monkeypatch.setattr(follower, "attempt", attempt)
    monkeypatch.setattr(follower.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(follower.time, "sleep", sleep)
    assert follow(run.path, interval_s=1.0) == NOT_DELIVERED
    assert tries == [0, 2, 6, 14, 30, 60, 90, 120, 150, 180, 201]


def test_unusable_folder_ends_the_process_with_one_sentence(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(os, "nice", lambda increment: 0)
    monkeypatch.setattr(follower.signal, "signal", lambda *_: None)
    assert main([str(tmp_path)]) == UNUSABLE
    assert capsys.readouterr().err == f"{tmp_path} is not a run folder: config.yaml is missing\n"


def test_process_is_watched(dead_pid: int):
    assert watch(os.getpid())()
    assert not watch(dead_pid)()


def test_what_a_run_imports_of_tracking_is_free_of_mlflow():
    modules = ["settings", "process", "follow", "sync", "report", "ui"]
    code = f"import sys, json; {'; '.join(f'import fedray.tracking.{m}' for m in modules)}; "
    code += "print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    )
    assert not {"mlflow", "ray", "torch", "pandas"} & set(loaded)
