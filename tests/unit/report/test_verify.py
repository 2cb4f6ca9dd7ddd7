"""Two runs beside each other: the same or not, from which round on, and why as far as their folders tell."""

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from fedray.errors import RunFolderError
from fedray.report.verify import Comparison, Difference, verify
from fedray.report.verify_table import sentences, show
from fedray.simulation.run_folder import RunFolder

CONFIG: dict[str, Any] = {
    "name": "press",
    "seed": 1,
    "rounds": 3,
    "training": {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1}},
    "actors": {"num_actors": 1},
    "checkpoint": {"every_s": 10},
    "tracking": {"enabled": False},
    "runs": "runs",
}
ENVIRONMENT: dict[str, Any] = {
    "python": "3.11.7",
    "platform": "Linux",
    "machine": "x86_64",
    "host": "plant-1",
    "cpus": 2,
    "packages": {"torch": "2.13.0", "numpy": "2.4.0"},
    "command": ["fedray", "run"],
    "git_commit": None,
}


class Made:
    """A run folder written by hand: clients 1 to 4, digests a1, a2, a3."""

    def __init__(self, path: Path, rounds: int = 3, **config: Any) -> None:
        path.mkdir(parents=True)
        self.path, self.folder = path, RunFolder(path)
        self.folder.write_config({**CONFIG, **config})
        (path / "status.json").write_text(json.dumps({"state": "finished"}))
        (path / "environment.json").write_text(json.dumps(ENVIRONMENT))
        for round in range(1, rounds + 1):
            self.round(round)
        self.clients()

    def round(self, round: int, digest: str | None = None, **more: Any) -> None:
        record = {"round": round, "digest": digest or f"a{round}", "cohort": 4, "examples": 40, "weight": 40.0, **more}
        self.folder.append("rounds", record)

    def set_round(self, round: int, **more: Any) -> None:
        records = self.folder.lines("rounds")
        (self.path / "rounds.jsonl").unlink()
        for record in records:
            self.folder.append("rounds", {**record, **more} if record["round"] == round else record)

    def clients(self, round: int = 0, **columns: Any) -> None:
        """The ledger, in which some columns are other ones in one round."""
        shutil.rmtree(self.path / "clients", ignore_errors=True)
        for each in range(1, len(self.folder.lines("rounds")) + 1):
            rows = {
                "client": np.array([4, 2, 3, 1]),
                "fate": np.array(["ok"] * 4),
                "examples": np.array([10] * 4, np.int32),
                "steps": np.array([5] * 4, np.int32),
                "loss": np.array([0.5, 0.25, np.nan, 0.125], np.float32),
                "seconds": np.random.default_rng().random(4),
                "pid": np.array([each] * 4),
            }
            self.folder.clients.append(each, {**rows, **(columns if each == round else {})})
        self.folder.clients.flush(10**6)()


@pytest.fixture
def a(tmp_path: Path) -> Made:
    return Made(tmp_path / "a")


@pytest.fixture
def b(tmp_path: Path) -> Made:
    return Made(tmp_path / "b")


def reasons(found: Comparison) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in sentences(found) if line.startswith("why ")]


def differing(a: Made, b: Made, round: int = 2, **more: Any) -> Comparison:
    b.set_round(round, digest="other", **more)
    return verify(a.path, b.path)


def test_same_runs(a: Made, b: Made):
    found = verify(a.path, b.path)
    assert found == Comparison(
        rounds=(3, 3), compared=3, differs_from=None, digests=("a3", "a3"), settings=(), versions=()
    )
    assert sentences(found) == ["verdict      the same: 3 rounds compared, equal bit for bit"]
    assert verify(a.path, a.path).is_same


@pytest.mark.parametrize(("round", "before"), [(1, ""), (2, "; 1 round before that"), (3, "; 2 rounds before that")])
def test_first_round_that_differs_is_named(a: Made, b: Made, round: int, before: str):
    for later in range(round, 4):
        b.set_round(later, digest=f"b{later}")
    found = verify(a.path, b.path)
    assert (found.differs_from, found.digests) == (round, (f"a{round}", f"b{round}"))
    assert sentences(found)[0].startswith(f"verdict      different from round {round} on{before}")


def test_common_part_is_compared_and_the_rest_said(a: Made, tmp_path: Path):
    longer = Made(tmp_path / "longer", rounds=5)
    found = verify(a.path, longer.path)
    assert (found.is_same, found.rounds, found.compared, found.digests) == (True, (3, 5), 3, ("a3", "a3"))
    assert sentences(found)[-1] == "rest         the second run has 2 rounds more, with nothing to compare"
    found = differing(longer, a, 3)
    assert found.differs_from == 3
    assert "the first run has 2 rounds more" in sentences(found)[-1]


def test_settings_that_never_change_a_result_are_no_reason(a: Made, tmp_path: Path):
    places = {"actors": {"num_actors": 9}, "checkpoint": {"every_s": 0}, "tracking": {}, "runs": "x", "name": "y"}
    found = differing(a, Made(tmp_path / "c", **places, rounds=3))
    assert found.settings == ()
    assert reasons(found) == [
        "nothing in the folders tells: settings, versions and every client's training are the same"
    ]


def test_settings_are_a_reason_by_their_whole_name(a: Made, tmp_path: Path):
    training = {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.9}}
    found = differing(a, Made(tmp_path / "c", seed=2, training=training))
    assert found.settings == (
        Difference(name="seed", first=1, second=2),
        Difference(name="training.optimizer.lr", first=0.1, second=0.5),
        Difference(name="training.optimizer.momentum", first=None, second=0.9),
    )
    wanted = "settings that may change a result differ: seed, training.optimizer.lr, training.optimizer.momentum"
    assert reasons(found) == [wanted]


def test_versions_are_a_reason_but_not_the_host(a: Made, b: Made):
    packages = {"torch": "2.12.0", "numpy": "2.4.0"}
    other = {**ENVIRONMENT, "host": "plant-2", "cpus": 64, "machine": "aarch64", "packages": packages}
    (b.path / "environment.json").write_text(json.dumps(other))
    found = differing(a, b)
    assert {d.name: (d.first, d.second) for d in found.versions} == {
        "torch": ("2.13.0", "2.12.0"),
        "machine": ("x86_64", "aarch64"),
    }
    assert reasons(found) == ["versions differ, which can change the last bits: torch, machine"]
    (b.path / "environment.json").unlink()
    assert verify(a.path, b.path).versions == ()


def test_cohort_examples_and_weight_of_that_round_are_a_reason(a: Made, b: Made):
    b.set_round(3, weight=1.0)  # of another round: no reason
    found = differing(a, b, cohort=3, examples=30)
    assert found.records == (
        Difference(name="cohort", first=4, second=3),
        Difference(name="examples", first=40, second=30),
    )
    assert reasons(found) == ["round 2 had another cohort and examples"]


def test_other_fates_name_the_clients(a: Made, b: Made):
    a.clients(2, fate=np.array(["ok", "retried", "ok", "ok"]))
    b.clients(2, client=np.array([4, 2, 3, 9]), fate=np.array(["failed", "ok", "ok", "ok"]))
    found = differing(a, b)
    assert found.fates == (
        Difference(name="1", first="ok", second=None),
        Difference(name="4", first="ok", second="failed"),
        Difference(name="9", first=None, second="ok"),
    )
    assert reasons(found) == [
        "in the cohort of round 2 of one run only: client 1, 9",
        "another fate in round 2 for client 4",
    ]


def test_training_that_went_another_way_names_the_clients(a: Made, b: Made):
    b.clients(2, loss=np.array([0.5, 0.75, np.nan, 0.125], np.float32), steps=np.array([5, 6, 5, 7], np.int32))
    found = differing(a, b)
    assert found.training == (
        Difference(name="1", first={"steps": 5}, second={"steps": 7}),
        Difference(name="2", first={"steps": 5, "loss": 0.25}, second={"steps": 6, "loss": 0.75}),
    )
    assert reasons(found) == ["the training of that round went another way for client 1, 2"]


def test_ledger_that_does_not_reach_the_round_is_said(a: Made, b: Made):
    b.folder.clients.truncate(1)
    found = differing(a, b)
    assert (found.are_clients_known, found.fates, found.training) == (False, (), ())
    assert "which clients differ is not known: a ledger does not have round 2 yet" in reasons(found)


def test_many_clients_are_counted(a: Made, b: Made):
    b.clients(2, client=np.array([11, 12, 13, 14]))
    assert reasons(differing(a, b)) == ["in the cohort of round 2 of one run only: client 1, 2, 3, 4, 11 and 3 more"]


def test_json_holds_everything(a: Made, b: Made):
    b.clients(2, fate=np.array(["failed", "ok", "ok", "ok"]))
    found = json.loads(json.dumps(differing(a, b, weight=30.0).to_dict()))
    assert (found["same"], found["differs_from"], found["digests"]) == (False, 2, ["a2", "other"])
    assert found["records"] == [{"name": "weight", "first": 40.0, "second": 30.0}]
    assert found["fates"] == [{"name": "4", "first": "ok", "second": "failed"}]


def test_what_is_printed_is_readable(a: Made, b: Made):
    b.clients(2, client=np.array([4, 2, 3, 9]))
    b.folder.write_config({**CONFIG, "data": {"path": "[red]x.csv"}})
    text = StringIO()
    show(Console(file=text, width=100), differing(a, b), ("a", "b"))
    lines = [line.strip("│┃ ").split("│") for line in text.getvalue().splitlines()]
    rows = {cells[0].strip(): tuple(cell.strip() for cell in cells[1:]) for cells in lines if len(cells) == 3}
    assert rows == {
        "rounds": ("3", "3"),
        "digest after round 2": ("a2", "other"),
        "data.path": ("-", "[red]x.csv"),
        "client 1": ("ok", "not in the cohort"),
        "client 9": ("not in the cohort", "ok"),
    }
    assert "verdict      different from round 2 on; 1 round before that equal bit for bit" in text.getvalue()


def test_bad_folders_are_one_sentence(a: Made, b: Made, tmp_path: Path):
    with pytest.raises(RunFolderError, match="nowhere is no folder"):
        verify(a.path, tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="has no finished round yet"):
        verify(a.path, Made(tmp_path / "empty", rounds=0).path)
    b.set_round(2, digest=None)
    with pytest.raises(RunFolderError, match=r"rounds\.jsonl is damaged: line 2 has no round or no digest"):
        verify(a.path, b.path)
    b.set_round(2, digest="other")
    shutil.rmtree(b.path / "clients")
    b.folder.clients.append(2, {"client": np.array([1])})
    b.folder.clients.flush(2)()
    with pytest.raises(RunFolderError, match="the ledger has no column examples"):
        verify(a.path, b.path)
    (b.path / "environment.json").write_text("[1")
    with pytest.raises(RunFolderError, match=r"environment\.json is damaged"):
        verify(a.path, b.path)
    (b.path / "config.yaml").write_text(yaml.safe_dump([1]))
    with pytest.raises(RunFolderError, match=r"config\.yaml"):
        verify(b.path, a.path)
