"""A run that was stopped, politely or not, goes on to the same bits, and leaves no process behind."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import assert_equal, command, serial, settings_of, started, until

from fedray import Result

ENDLESS = 1_000_000
ACTORS = {"num_actors": 2, "num_cpus": 2}


def _write(folder: Path, **settings: Any) -> Path:
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({**settings_of(folder), "rounds": ENDLESS, "actors": ACTORS, **settings}))
    return file


def _after_rounds(process: subprocess.Popen[str], folder: Path, num: int) -> Path:
    """The run folder, once some rounds are recorded."""

    def look() -> Path | None:
        assert process.poll() is None, process.communicate()
        found = list((folder / "runs").glob("*/rounds.jsonl"))
        return found[0].parent if found and found[0].read_bytes().count(b"\n") >= num else None

    return until(look, f"{num} rounds")


def _resume_and_compare(run: Path, folder: Path) -> None:
    """Goes on for two rounds; the whole is what an unbroken run gives."""
    rounds = len(Result(run).history) + 2
    with started(*command("resume", run, "-s", f"rounds={rounds}"), folder=folder) as process:
        out, _ = process.communicate()
        assert process.returncode == 0, out
    assert_equal(Result(run), serial(folder / "serial", rounds=rounds))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resume_after_a_signal_equals_unbroken_run(number: signal.Signals, tmp_path: Path) -> None:
    with started(*command("run", _write(tmp_path)), folder=tmp_path) as process:
        run = _after_rounds(process, tmp_path, 2)
        process.send_signal(number)
        out, _ = process.communicate()
    assert process.returncode == 130, out
    assert f"go on with: fedray resume {run}" in out
    assert "Traceback" not in out
    assert Result(run).state == "interrupted"
    _resume_and_compare(run, tmp_path)


def test_resume_after_sigkill_equals_unbroken_run(tmp_path: Path) -> None:
    with started(*command("run", _write(tmp_path)), folder=tmp_path) as process:
        run = _after_rounds(process, tmp_path, 2)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    _resume_and_compare(run, tmp_path)


@pytest.mark.parametrize("actors", [{"backend": "serial"}, ACTORS], ids=["serial", "ray"])
def test_second_interrupt_ends_at_once(actors: dict[str, Any], tmp_path: Path) -> None:
    data = {"name": "gates:Gated", "args": {"folder": str(tmp_path)}}
    (tmp_path / "gates.py").write_bytes((Path(__file__).parent / "gates.py").read_bytes())
    with started(*command("run", _write(tmp_path, data=data, actors=actors)), folder=tmp_path) as process:
        until((tmp_path / "pid").exists, "a client that waits")
        process.send_signal(signal.SIGINT)
        assert process.stdout
        until(lambda: "Ctrl-C again" in process.stdout.readline(), "the first Ctrl-C to be heard")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    assert Result(next((tmp_path / "runs").iterdir())).state == "interrupted"
