"""A cluster that somebody else started is used by its address, and left as it was."""

import shutil
import signal
import socket
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from runs import assert_equal, command, serial, settings_of, started, until

from fedray import Result


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets need a short path."""
    path = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _accepts(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def test_cluster_is_used_by_its_address_and_left_running(short_folder: Path, tmp_path: Path) -> None:
    port = _free_port()
    options = {
        "port": port,
        "num-cpus": 2,
        "temp-dir": short_folder,
        "include-dashboard": "false",
        "ray-client-server-port": _free_port(),
        "dashboard-agent-listen-port": _free_port(),
    }
    ray = [Path(sysconfig.get_path("scripts")) / "ray", "start", "--head", "--block", "--disable-usage-stats"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    with started(*ray, *(f"--{name}={value}" for name, value in options.items()), folder=tmp_path, **token) as head:
        until(lambda: _accepts(port) or head.poll() is not None, "the head node")
        file = tmp_path / "small.yaml"
        file.write_text(yaml.safe_dump({**settings_of(tmp_path), "actors": {"num_actors": 2}}))
        with started(*command("run", file, "--address", f"127.0.0.1:{port}"), folder=tmp_path, **token) as process:
            out, _ = process.communicate()
            assert process.returncode == 0, out
        file.write_text(yaml.safe_dump({**settings_of(tmp_path), "runs": "others", "data": "gates:Gated"}))
        here = {**token, "PYTHONPATH": str(Path(__file__).parent)}
        with started(*command("run", file, "--address", f"127.0.0.1:{port}"), folder=tmp_path, **here) as other:
            out, _ = other.communicate()
            assert other.returncode == 2, out
            assert out.splitlines()[-1].startswith("fedray: an actor cannot import"), out
            assert "No module named 'gates'" in out
            assert "Traceback" not in out
        assert head.poll() is None
        assert _accepts(port)
        head.send_signal(signal.SIGTERM)
    assert_equal(Result(next((tmp_path / "runs").iterdir())), serial(tmp_path / "serial"))
