"""The launcher and the nursery, as processes of their own, without Ray: the worker is a small script."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fedray.runtime.forking import launcher

LAUNCHER = Path(launcher.__file__)
WORKER = """
import json, os, sys
from pathlib import Path
seen = {"pid": os.getpid(), "parent": os.getppid(), "arguments": sys.argv[1:], "folder": os.getcwd(),
        "path": sys.path[0], "mark": os.environ.get("MARK"), "session": os.getsid(0), "torch": "torch" in sys.modules,
        "threads": len(os.listdir("/proc/self/task"))}
beside = Path("seen.tmp"); beside.write_text(json.dumps(seen)); beside.rename("seen-" + os.environ["MARK"])
print("out of", os.environ["MARK"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def raylet() -> Iterator[subprocess.Popen[bytes]]:
    """Stands for the raylet: the nursery ends with it."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


Launch = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def launch(tmp_path: Path, raylet: subprocess.Popen[bytes]) -> Iterator[Launch]:
    """Launches the worker, with a mark."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "session" / "logs").mkdir(parents=True)
    options = ["--node-id=abc", f"--temp-dir={tmp_path}", "--session-name=session"]
    launched: list[subprocess.Popen[str]] = []

    def one(mark: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(tmp_path / "worker.py"), *options],
            cwd=tmp_path,
            env={**os.environ, "RAY_RAYLET_PID": str(raylet.pid), "RAY_JOB_ID": "01", "MARK": mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        launched.append(process)
        return process

    yield one
    for process in launched:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def seen(folder: Path, mark: str) -> dict:
    file = folder / f"seen-{mark}"
    until = time.monotonic() + 100
    while not file.exists():
        assert time.monotonic() < until, f"nobody wrote {file}"
        time.sleep(0.02)
    return json.loads(file.read_text())


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def await_gone(pid: int) -> None:
    until = time.monotonic() + 60
    while not gone(pid):
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.02)


def test_fork_is_what_the_launcher_was(tmp_path: Path, raylet: subprocess.Popen[bytes], launch: Launch):
    first, second = (launch(mark) for mark in "ab")
    workers = [seen(tmp_path, mark) for mark in "ab"]
    assert len({worker["parent"] for worker in workers}) == 1
    nursery = psutil.Process(workers[0]["parent"])
    assert "fedray.runtime.forking.nursery" in nursery.cmdline()
    for mark, process, worker in zip("ab", (first, second), workers, strict=True):
        assert worker["pid"] != process.pid
        assert worker["arguments"] == process.args[5:]
        assert (worker["folder"], worker["path"], worker["mark"]) == (str(tmp_path), str(tmp_path), mark)
        assert (worker["session"], worker["threads"], worker["torch"]) == (worker["pid"], 1, True)
        assert process.wait(10) == 0
        assert process.stdout is not None
        assert process.stdout.readline() == f"out of {mark}\n"
    socket = next((tmp_path / "session").glob("fedray-*"))
    assert socket.stat().st_mode & 0o777 == 0o700
    assert first.stdin is not None
    first.stdin.close()
    await_gone(workers[0]["pid"])
    assert psutil.pid_exists(workers[1]["pid"])
    raylet.kill()
    await_gone(workers[1]["pid"])
    await_gone(nursery.pid)


def test_a_nursery_that_was_killed_is_replaced(tmp_path: Path, raylet: subprocess.Popen[bytes], launch: Launch):
    launch("a")
    first = seen(tmp_path, "a")
    os.kill(first["parent"], signal.SIGKILL)
    launch("b")
    second = seen(tmp_path, "b")
    assert second["parent"] not in (first["parent"], os.getpid())
    assert not gone(first["pid"])
    os.kill(first["pid"], signal.SIGKILL)
    raylet.kill()
    await_gone(second["pid"])
    await_gone(second["parent"])


@pytest.mark.parametrize("obstacle", ["a file", "a folder that others can enter"])
def test_worker_starts_plainly_where_there_can_be_no_nursery(obstacle: str, tmp_path: Path, launch: Launch):
    folder = tmp_path / "session" / f"fedray-{os.getuid()}"
    if obstacle == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o755)
    process = launch("a")
    worker = seen(tmp_path, "a")
    assert (worker["pid"], worker["torch"]) == (process.pid, False)


def test_lock_that_nobody_gives_back_is_waited_for_only_so_long(tmp_path: Path):
    wait = "from fedray.runtime.forking import launcher; launcher._TIMEOUT_S = 0.2; launcher._lock(0)"
    with (tmp_path / "lock").open("w") as held, (tmp_path / "lock").open() as wanted:
        fcntl.flock(held, fcntl.LOCK_EX)
        command = [sys.executable, "-c", wait]
        late = subprocess.run(command, stdin=wanted, capture_output=True, text=True, timeout=60)
        fcntl.flock(held, fcntl.LOCK_UN)
        in_time = subprocess.run([*command[:-1], f"{wait}; import time; time.sleep(0.4)"], stdin=wanted, timeout=60)
    assert late.returncode == 1
    assert late.stderr.endswith("TimeoutError: another launcher keeps the lock\n")
    assert in_time.returncode == 0, "the alarm came after the lock was there"
