"""Nodes of a real Ray cluster on one machine, each in a network namespace: own address, own host name, own Ray files.

    node 0 (head) 10.213.0.1 ── port0 ┐
    node 1        10.213.0.2 ── port1 ┼ a bridge, in a namespace too: nothing of it is seen outside, and nothing leaves
    ...                               ┘

A node is killed by killing all processes of its namespace, and cut off by taking its port down.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil
from runs import until

PORT = 6379
_INSIDE = 'hostname "$1" && mount --bind "$2" "$3" && shift 3 && exec "$@"'
"""A command on a node: the folder of Ray's files is the node's own, though each node knows it by the same path."""
_ATTEMPTS = 3
"""How often Ray may fail to start on a node."""
_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""Ray's control service notices in nine seconds that a node does not answer; on a busy machine, less is not enough."""


def missing() -> str | None:
    """Why there can be no namespaces here; None where there can."""
    for tool in ("ip", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    name = f"fedray-{uuid.uuid4().hex[:8]}"
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted here: {error.stderr.strip()}"
    try:
        _ip("-n", name, "link", "add", "one", "type", "veth", "peer", "name", "other")
        _ip("-n", name, "link", "add", "bridge", "type", "bridge")
        _ip("netns", "exec", name, "unshare", "--uts", "true")
    except subprocess.CalledProcessError as error:
        return f"virtual networks are not permitted here: {error.stderr.strip()}"
    finally:
        _ip("netns", "delete", name)
    return None


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30).stdout


@dataclass(kw_only=True)
class Node:
    """A node: a raylet and all that it starts."""

    number: int
    name: str
    hub: str
    folder: Path
    shared: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    is_given_up: bool = False
    """It was cut off, and has not started again."""

    @property
    def address(self) -> str:
        return f"10.213.0.{self.number + 1}"

    def connect(self) -> None:
        """The namespace, with an interface on the bridge."""
        self.folder.mkdir()
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        ends = "link", "add", f"port{self.number}", "type", "veth", "peer", "name", "eth0", "netns", self.name
        _ip("-n", self.hub, *ends)
        _ip("-n", self.hub, "link", "set", f"port{self.number}", "master", "bridge", "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")

    def command(self, *arguments: object) -> list[str]:
        """A command line that runs a command on this node."""
        inside = "ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", _INSIDE, "sh"
        return [*inside, *map(str, (self.name, self.folder, self.shared, *arguments))]

    def popen(self, *arguments: object, output: Path, **environment: str) -> subprocess.Popen[str]:
        """Starts a command on this node."""
        with output.open("a") as file:
            process = subprocess.Popen(
                self.command(*arguments),
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        self.processes.append(process)
        return process

    def start_ray(self, *options: str, **environment: str) -> None:
        """Starts Ray here and waits until it runs; Ray gives up after half a minute, which a busy machine may need."""
        output, control = self.folder / "start.txt", self.folder / "control"
        ray = sys.executable, "-m", "ray.scripts.scripts", "start", *options, f"--node-ip-address={self.address}"
        more = "--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"
        for _ in range(_ATTEMPTS):
            shutil.rmtree(control, ignore_errors=True)
            control.mkdir()
            started = self.popen(*ray, *more, output=output, **environment)
            until(lambda started=started: started.poll() is not None, f"Ray on {self.name}; see {output}", limit_s=100)
            if started.returncode == 0:
                break
            self.kill()
        else:
            raise AssertionError(output.read_text())
        self.is_given_up = False

    def pids(self) -> list[int]:
        """All processes of this node."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def process(self, name: str) -> psutil.Process | None:
        """The first process of a name on this node."""
        for pid in self.pids():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.name().startswith(name) and process.status() != psutil.STATUS_ZOMBIE:
                    return process
        return None

    @property
    def id(self) -> str:
        """Ray's name of this node, as the ledger has it."""
        raylet = self.process("raylet")
        assert raylet is not None
        flags = dict(flag.lstrip("-").split("=", 1) for flag in raylet.cmdline()[1:] if "=" in flag)
        assert flags["node_ip_address"] == self.address
        return flags["node_id"]

    def kill(self) -> None:
        """Ends all processes at once, as when a machine is gone."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        for process in self.processes:
            process.wait(timeout=30)
        self.processes.clear()
        until(lambda: not self.pids(), f"the processes of {self.name} to be gone", limit_s=30)

    def cut(self) -> None:
        """Takes this node off the network; its processes go on."""
        self.is_given_up = True
        _ip("-n", self.hub, "link", "set", f"port{self.number}", "down")

    def heal(self) -> None:
        """Puts it back."""
        _ip("-n", self.hub, "link", "set", f"port{self.number}", "up")

    def remove(self) -> None:
        """Leaves nothing of it."""
        self.kill()
        _ip("netns", "delete", self.name)

    def restart_control(self) -> None:
        """Kills Ray's control service and starts it again as it was, on the head."""
        control = self.process("gcs_server")
        assert control is not None
        arguments, environment = control.cmdline(), control.environ()
        control.kill()
        until(lambda: self.process("gcs_server") is None, "the control service to be gone", limit_s=30)
        again = self.popen(*arguments, output=self.folder / "control.txt", **environment)
        until(lambda: _listens(again.pid, PORT), "the control service to listen again", limit_s=60)


def _listens(pid: int, port: int) -> bool:
    """Whether somebody in the network namespace of a process listens on a port."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


class Machines:
    """A head, and as many other nodes as are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._shared = folder, folder / "ray"
        self._shared.mkdir()
        self._prefix, self._nodes = f"fedray-{uuid.uuid4().hex[:8]}", list[Node]()
        self._hub, self._numbers = f"{self._prefix}-hub", count()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
        path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [kept.get("PYTHONPATH")])])}
        self._environment = {**kept, **token, **path, "NO_COLOR": "1"}

    @property
    def head(self) -> Node:
        return self._nodes[0]

    @property
    def others(self) -> list[Node]:
        return self._nodes[1:]

    @property
    def address(self) -> str:
        return f"{self.head.address}:{PORT}"

    def start_head(self) -> None:
        """The network and its first node, whose control service keeps its state in files."""
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        head = self._connected()
        stored = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(self._shared / "control")}
        options = f"--port={PORT}", f"--temp-dir={self._shared}", "--include-dashboard=false"
        head.start_ray("--head", *options, f"--system-config={json.dumps(_NOTICE)}", **stored)

    def add(self) -> Node:
        """One more node."""
        node = self._connected()
        self.start_again(node)
        return node

    def start_again(self, node: Node) -> None:
        """A node that starts after all of its processes are gone."""
        node.start_ray(f"--address={self.address}")

    def keep(self, number: int) -> None:
        """Has this number of living nodes beside the head."""
        for node in [node for node in self.others if node.is_given_up or node.process("raylet") is None]:
            self.remove(node)
        while len(self.others) > number:
            self.remove(self.others[-1])
        while len(self.others) < number:
            self.add()

    def remove(self, node: Node) -> None:
        """Ends a node for good."""
        node.remove()
        self._nodes.remove(node)

    def _connected(self) -> Node:
        number = next(self._numbers)  # the kernel takes its time to remove an interface
        name = f"{self._prefix}-{number}"
        folder = Path(tempfile.mkdtemp(prefix=f"node{number}-", dir=self._folder)) / "ray"
        node = Node(
            number=number,
            name=name,
            hub=self._hub,
            folder=folder,
            shared=self._shared,
            environment=self._environment,
        )
        self._nodes.append(node)
        node.connect()
        return node

    def close(self) -> None:
        """Leaves neither processes nor namespaces."""
        for name in [line.split()[0] for line in _ip("netns", "list").splitlines() if line.startswith(self._prefix)]:
            for pid in _ip("netns", "pids", name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            until(lambda name=name: not _ip("netns", "pids", name), f"the processes of {name} to be gone", limit_s=30)
            _ip("netns", "delete", name)
        for process in [process for node in self._nodes for process in node.processes]:
            process.wait(timeout=30)


@contextmanager
def machines() -> Iterator[Machines]:
    """A cluster that has a head, gone when the context ends, whatever happens in it."""
    folder = Path(tempfile.mkdtemp(prefix="fr", dir="/tmp"))  # Ray's sockets need a short path
    found = Machines(folder)
    try:
        found.start_head()
        yield found
    finally:
        found.close()
        shutil.rmtree(folder)
