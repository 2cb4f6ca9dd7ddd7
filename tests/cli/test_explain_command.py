"""`fedray explain`, as a user runs it."""

import json
from pathlib import Path

import pytest
from commands import TINY, assert_refused, fedray

import fedray as package
from fedray.config import parse


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real runs: one in which two processes are lost and replaced, one that loses them, one without faults."""
    folder = tmp_path_factory.mktemp("explain")
    kill = {"blocks": {"size": 1}, "faults": [{"kind": "kill", "rounds": [1], "blocks": 2}]}
    settings = {"replaced": kill, "dropped": {**kill, "failures": {"on_death": "drop"}}, "calm": {}}
    made = {}
    for name, more in settings.items():
        experiment = parse(package.Experiment, {**TINY, **more, "name": name, "runs": str(folder)})
        made[name] = package.run(experiment).folder
    return made


def test_replaced_processes(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = fedray("explain", runs["replaced"], "--plot", "a.png", "--json", "a.json", folder=tmp_path)
    assert ended.code == 0, ended
    assert "2 faults were planned: 2 x process killed." in ended.out
    assert "Faults of the plan were carried out 2 times." in ended.out
    assert "2 clients were trained again" in ended.out
    assert "Each of the 10 clients of all cohorts has exactly one fate." in ended.out
    assert "The result was not changed" in ended.out
    assert "what went wrong, by kind" in ended.out
    assert "the 1 disturbed round" in ended.out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["changed"], found["planned"]["by_kind"], found["disturbed_rounds"]) == (False, {"kill": 2}, [1])
    assert (found["fates"]["fates"]["retried"], found["fates"]["trained_again"]) == (2, 2)


def test_dropped_clients_and_no_table_of_rounds(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = fedray("explain", runs["dropped"], "--rounds", "0", folder=tmp_path)
    assert ended.code == 0, ended
    assert (
        "2 of 10 updates were left out (2 dropped, as failures.on_death is drop), 20.00 % of the examples" in ended.out
    )
    assert "disturbed round\n" not in ended.out


def test_run_without_faults_is_one_sentence(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = fedray("explain", runs["calm"], folder=tmp_path)
    assert ended.code == 0, ended
    assert ended.out == (
        "No fault was planned and none happened in 2 rounds, and each of the 10 clients of all cohorts has its fate, "
        "ok.\n"
    )


def test_what_is_no_run_ends_with_2(runs: dict[str, Path], tmp_path: Path) -> None:
    assert_refused(fedray("explain", "nowhere", folder=tmp_path), "nowhere is no folder")
    assert_refused(fedray("explain", tmp_path, folder=tmp_path), "is no run folder")
    assert_refused(fedray("explain", runs["calm"], "--plot", "a.pdf", folder=tmp_path), "pictures are PNG files")
    assert_refused(fedray("explain", runs["calm"], "--rounds", "-1", folder=tmp_path), "fedray explain --help")
