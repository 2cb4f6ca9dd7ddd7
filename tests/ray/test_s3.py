"""Checkpoints behind s3://: a real S3 server on this machine, which can be killed and stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import PLACES, assert_equal, command, experiment, serial, settings_of, started, until

import fedray
from fedray.errors import ConfigError, RunFolderError
from fedray.server.strategy import ServerState
from fedray.simulation.checkpoint import Checkpoints
from fedray.simulation.storage import check
from fedray.simulation.stores import RemoteStore, open_store
from fedray.simulation.watch import Event

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -r tests/requirements-s3.txt")
pytest.importorskip("moto", reason="moto is not installed: pip install -r tests/requirements-s3.txt")

KEY, SECRET = "AKIAWHOREADSTHIS0000", "wJalrNobodyMayReadThis"
BUCKET = "checkpoints"
ROUNDS = 4


class S3:
    """A server of its own process, which forgets everything when it is killed."""

    def __init__(self, folder: Path) -> None:
        with closing(socket.socket()) as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        with (folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)], stdout=log, stderr=log
            )
        until(self._answers, "the S3 server")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def close(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait(60)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server with one bucket, which this process and all that it starts find in the environment."""
    server = S3(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield server
    finally:
        server.close()
        s3fs.S3FileSystem.clear_instance_cache()


def uri(*parts: str) -> str:
    return "/".join([f"s3://{BUCKET}", "some", "prefix", *parts])


def stored() -> list[str]:
    """The files of the one run, as another client of the server sees them."""
    system = s3fs.S3FileSystem(skip_instance_cache=True)
    (folder,) = system.ls(f"{BUCKET}/some/prefix")
    return sorted(name.rpartition("/")[2] for name in system.ls(folder, refresh=True))


def behind(**more: Any) -> dict[str, Any]:
    return {"rounds": ROUNDS, "checkpoint": {"every_s": 0, "uri": uri(), **more}}


def watching(round: int, act: Callable[[], None], warnings: list[str]) -> Callable[[Event], None]:
    """Does something when a round is recorded, and keeps the warnings."""

    def watch(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.values["text"])
        if event.kind == "round" and event.values["round"] == round:
            act()

    return watch


def assert_no_credentials(folder: Path, *texts: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for data in [*(path.read_bytes() for path in files), *(text.encode() for text in texts)]:
        assert KEY.encode() not in data
        assert SECRET.encode() not in data


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> fedray.Result:
    return serial(tmp_path_factory.mktemp("unbroken"), rounds=ROUNDS)


@pytest.mark.usefixtures("s3")
def test_files_are_written_read_listed_and_removed() -> None:
    check(uri(), 60)
    one, other = open_store(uri(), "one"), open_store(uri(), "other")
    assert one.names() == []
    assert one.read("a") is None
    one.write("a", b"1")
    one.write("a", b"22")
    other.write("b", b"")
    assert (one.names(), one.read("a"), other.names(), other.read("b")) == (["a"], b"22", ["b"], b"")
    one.remove("a")
    one.remove("a")
    assert (one.names(), other.names()) == ([], ["b"])


def test_bucket_and_server_that_are_not_there_are_one_sentence(s3: S3) -> None:
    with pytest.raises(ConfigError, match=r"'s3://nobody/x', where nothing can be saved: .*bucket") as refused:
        check("s3://nobody/x", 60)
    s3.send(signal.SIGKILL)
    s3.process.wait(60)
    system, prefix = s3fs.S3FileSystem(), f"{BUCKET}/x"
    with pytest.raises(RunFolderError, match=r"^s3://x/a cannot be written \(.*\); see checkpoint\.uri$") as gone:
        RemoteStore(system, prefix, "s3://x", waits_s=()).write("a", b"")
    for error in (refused, gone):
        assert "\n" not in str(error.value)
        assert SECRET not in str(error.value)
        assert KEY not in str(error.value)


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("torn", ["arrays", "manifest", "half a manifest"])
def test_torn_save_does_not_count_and_is_cleared_away(torn: str) -> None:
    def state(round: int) -> ServerState:
        return ServerState(round=round, parameters=np.full(9, round, np.float32), slots={})

    store = open_store(uri(), "run")
    Checkpoints(store, 2).save(state(1), {"a": 1})
    whole = {name: store.read(name) or b"" for name in store.names()}
    arrays, manifest = (name.replace("1.", "2.") for name in sorted(whole, reverse=True))
    store.write(arrays, whole[arrays.replace("2.", "1.")][: -20 if torn == "arrays" else None])
    if torn == "half a manifest":
        store.write(manifest, json.dumps({"version": 2})[:-4].encode())
    found = Checkpoints(store, 2)
    latest = found.latest()
    assert latest is not None
    assert (latest.state.round, latest.extra) == (1, {"a": 1})
    found.save(state(3))
    assert [name[:14] for name in store.names()] == ["round-00000001"] * 2 + ["round-00000003"] * 2


def test_run_that_broke_off_goes_on_from_there(s3: S3, unbroken: fedray.Result, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    settings = {**settings_of(tmp_path), **behind(), "actors": {"backend": "serial"}}
    file.write_text(json.dumps({**settings, "rounds": 2}))
    with started(*command("run", file), folder=tmp_path) as process:
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
    (folder,) = (tmp_path / "runs").iterdir()
    assert [name[:14] for name in stored()] == ["round-00000001"] * 2 + ["round-00000002"] * 2 + ["run"]
    assert [path.name for path in (folder / "checkpoint").iterdir()] == ["run"]
    starts: list[str] = []
    result = fedray.resume(
        folder,
        [f"rounds={ROUNDS}"],
        on_event=lambda event: starts.append(event.values["text"]) if event.kind == "starting" else None,
    )
    assert f"round 3 of {ROUNDS}" in starts
    assert_equal(result, unbroken)
    assert_no_credentials(folder, text)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_run_goes_on_without_its_server(s3: S3, unbroken: fedray.Result, tmp_path: Path, blow: signal.Signals) -> None:
    told = list[str]()
    result = fedray.run(
        experiment(tmp_path, **behind(timeout_s=2), actors={"backend": "serial"}),
        on_event=watching(2, lambda: s3.send(blow), told),
    )
    assert_equal(result, unbroken)
    assert result.state == "finished"
    first, *others = told
    late = (
        r"s3://checkpoints/some/prefix/\S+ did not answer in 2 s; see checkpoint.uri, or raise .*; the run goes on with"
    )
    assert re.match(late, first)
    assert all("; the run goes on with the checkpoint of round" in text for text in others)
    assert_no_credentials(Path(result.folder), *told)


def test_server_that_hangs_before_a_run_is_one_sentence(s3: S3, tmp_path: Path) -> None:
    s3.send(signal.SIGSTOP)
    with pytest.raises(ConfigError, match=r"where nothing can be saved: s3://\S+ did not answer in 1 s; see check"):
        fedray.run(experiment(tmp_path, **behind(timeout_s=1), actors={"backend": "serial"}))
    assert not (tmp_path / "runs").exists()


def test_driver_that_was_killed_goes_on_from_there(s3: S3, unbroken: fedray.Result, tmp_path: Path) -> None:
    told = list[str]()
    kill = {"kind": "kill_driver", "at": "after", "rounds": [3]}
    result = fedray.run(
        experiment(tmp_path, **behind(), faults=[kill], actors={"num_actors": 2, "num_cpus": 2}),
        on_event=watching(0, lambda: None, told),
    )
    assert_equal(result, unbroken, PLACES)
    (died,) = told
    assert died.startswith("the driver died (")
    assert [name[:14] for name in stored()] == ["round-00000003"] * 2 + ["round-00000004"] * 2 + ["run"]
    assert_no_credentials(Path(result.folder), *told)


def test_process_ends_while_its_storage_hangs(s3: S3, tmp_path: Path) -> None:
    """As one whose last checkpoint could not be saved."""
    file = tmp_path / "run.yaml"
    settings = {**settings_of(tmp_path), **behind(timeout_s=2), "actors": {"backend": "serial"}, "rounds": 10**6}
    file.write_text(json.dumps(settings))
    with started(*command("run", file), folder=tmp_path) as process:
        until(lambda: process.poll() is not None or list((tmp_path / "runs").glob("*/rounds.jsonl")), "a round")
        s3.send(signal.SIGSTOP)
        os.kill(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=60)
        assert process.returncode is not None
    assert "Traceback" not in text
    assert_no_credentials(tmp_path / "runs", text)
