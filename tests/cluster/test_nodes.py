"""Nodes with addresses of their own join, die, are cut off and come back in the middle of a run: no bit changes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces import Machines, Node, machines, missing
from runs import PLACES, assert_equal, serial, settings_of, until

from fedray import Result
from fedray.simulation.run_folder import RunFolder

ROUNDS = 60
BUT_CAUSE = (*PLACES, "cause")
"""Columns of the ledger that a lost actor may change, though no bit changes."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    if reason := missing():
        pytest.skip(f"{reason}; test_local_nodes.py has what goes without")
    with machines() as found:
        yield found


def _settings(data: dict[str, Any]) -> dict[str, Any]:
    few = {"clients_every": 20, "clients": "all", "holdout": 0.2, "every": 10}
    return {"rounds": ROUNDS, "data": data, "evaluation": few, "failures": {"deadline": 300}}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return serial(tmp_path_factory.mktemp("serial"), **_settings({"name": "held:Held"}))


class Run:
    """An experiment that runs from the head, an actor for each processor of the cluster."""

    def __init__(self, cluster: Machines, folder: Path) -> None:
        self._folder, self._output = folder, folder / "output.txt"
        data = {"name": "held:Held", "args": {"folder": str(folder)}}
        file = folder / "held.yaml"
        actors = {"address": cluster.address}
        file.write_text(yaml.safe_dump({**settings_of(folder), **_settings(data), "actors": actors}))
        self._process = cluster.head.popen(sys.executable, "-m", "fedray", "run", file, output=self._output)

    @property
    def folder(self) -> Path | None:
        return next((self._folder / "runs").glob("*"), None)

    @property
    def output(self) -> str:
        return self._output.read_text()

    def rounds(self) -> int:
        """How many are recorded."""
        assert self._process.poll() is None, self.output
        return len(RunFolder(self.folder).lines("rounds")) if self.folder is not None else 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stands still in a round, or between two."""
        hold = self._folder / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def says(self, text: str, limit_s: float = 100) -> None:
        """Waits until it says something."""
        until(lambda: text in self.output or self._process.poll() is not None, f"{text!r} in the output", limit_s)
        assert text in self.output, self.output

    def is_at(self, node: Node) -> bool:
        """Whether an actor of this run is on a node; asked again, it tells of another."""
        mark = self._folder / f"at-{node.name}"
        found = mark.exists()
        mark.unlink(missing_ok=True)
        return found

    def result(self) -> Result:
        """What it ends with."""
        assert self._process.wait(timeout=100) == 0, self.output
        assert self.folder is not None
        return Result(self.folder)


def _nodes(result: Result, first: int, last: int) -> set[str]:
    """The nodes that trained in some rounds."""
    rows = result.clients
    return set(rows.loc[rows["round"].between(first, last), "node"])


def _slots(result: Result) -> list[int]:
    """How many actors trained at once, round after round."""
    return [record["slots"] for record in RunFolder(result.folder).lines("rounds")]


def _check(result: Result, reference: Result) -> None:
    assert_equal(result, reference, BUT_CAUSE)
    assert len(result.clients) == ROUNDS * len(set(result.clients["client"]))
    assert set(result.clients["fate"]) <= {"ok", "retried"}


def test_node_that_joins_has_actors_join_the_run(cluster: Machines, reference: Result, tmp_path: Path) -> None:
    cluster.keep(1)
    run = Run(cluster, tmp_path)
    until(lambda: run.rounds() >= 2, "two rounds")
    with run.held():
        before = {cluster.head.id, cluster.others[0].id}
        node = cluster.add()
        run.says("client actor 2 has joined: the cluster has grown")
    result = run.result()
    _check(result, reference)
    assert len({node.address for node in [cluster.head, *cluster.others]}) == 3
    assert _nodes(result, 1, 2) == before
    assert _nodes(result, 3, ROUNDS) == {*before, node.id}
    slots = _slots(result)
    assert slots == sorted(slots)
    assert (slots[0], slots[-1]) == (2, 3)


def test_node_that_is_killed_changes_nothing(cluster: Machines, reference: Result, tmp_path: Path) -> None:
    cluster.keep(2)
    run = Run(cluster, tmp_path)
    until(lambda: run.rounds() >= 2, "two rounds")
    with run.held():
        left = {cluster.head.id, cluster.others[0].id}
        killed = cluster.others[1].id
        cluster.others[1].kill()
    result = run.result()
    _check(result, reference)
    assert killed in _nodes(result, 1, 2)
    assert _nodes(result, ROUNDS, ROUNDS) <= left
    assert _nodes(result, ROUNDS // 2, ROUNDS) == left
    assert _slots(result)[-1] == 2
    assert "died and is replaced" in run.output


def test_node_that_is_cut_off_changes_nothing_and_comes_back(
    cluster: Machines, reference: Result, tmp_path: Path
) -> None:
    """Its processes live on, and do not know: a node that Ray has given up ends by itself, and starts again."""
    cluster.keep(1)
    node = cluster.others[0]
    run = Run(cluster, tmp_path)
    until(lambda: run.rounds() >= 2, "two rounds")
    before = node.id
    node.cut()
    run.says("died and is replaced")
    with run.held():
        assert node.id == before
        assert run.is_at(node)
        node.heal()
        node.kill()  # what its service manager would do, sooner
        cluster.start_again(node)
        until(lambda: run.is_at(node), "an actor on the node that is back")
    result = run.result()
    _check(result, reference)
    assert _nodes(result, 1, 2) == {cluster.head.id, before}
    assert _nodes(result, 3, ROUNDS) >= {cluster.head.id, node.id}
    assert {1, 2} <= set(_slots(result))


def test_control_service_that_is_restarted_changes_nothing(
    cluster: Machines, reference: Result, tmp_path: Path
) -> None:
    """The pool grows after it, too."""
    cluster.keep(1)
    run = Run(cluster, tmp_path)
    until(lambda: run.rounds() >= 2, "two rounds")
    with run.held():
        before = {cluster.head.id, cluster.others[0].id}
        cluster.head.restart_control()
        node = cluster.add()
        run.says("client actor 2 has joined: the cluster has grown")
    result = run.result()
    _check(result, reference)
    assert list(result.history["deaths"].unique()) == [0]
    assert _nodes(result, 3, ROUNDS) == {*before, node.id}
