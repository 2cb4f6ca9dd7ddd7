"""A study arrives in MLflow as a parent run with a child for each point, once, however often it is delivered."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedray.errors import RunFolderError, TrackingError
from fedray.tracking.study import is_study, sync_study

NAMES = ("c100-a1-n1-r1", "c100-a2-n1-r1")


def point(name: str, actors: int) -> dict[str, Any]:
    return {
        "name": name,
        "params": {"clients": 100, "actors": actors, "nodes": 1, "repeat": 1},
        "metrics": {"round_s": 0.5 / actors, "clients_per_s": 200.0 * actors, "seconds/train": 0.4, "efficiency": 0.9},
        "digest": "d" * 64,
        "oversubscribed": False,
        "folder": f"runs/{name}",
        "host": "edge-1",
        "started": 1_700_000_000.0,
        "ended": 1_700_000_010.0 + actors,
    }


def make_study(path: Path, finished: bool = True, **tracking: Any) -> Path:
    path.mkdir()
    settings = {"experiment": {"tracking": {"experiment": "plants", **tracking}}, "request": {}}
    (path / "study.yaml").write_text(yaml.safe_dump(settings))
    (path / "points.jsonl").write_text("{}\n")
    (path / "round_time.png").write_bytes(b"png")
    if finished:
        write_results(path)
    return path


def write_results(path: Path, *sentences: str) -> None:
    points = [point(name, actors) for actors, name in enumerate(NAMES, start=1)]
    model = {"coefficients": {"train_block": {"seconds": 0.002}}, "serial_fraction": 0.1, "largest_error": None}
    results = {"name": "press", "sentences": list(sentences), "points": points, "model": model}
    (path / "study.json").write_text(json.dumps(results))


def entries(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("plants")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    assert len({entry.info.run_name for entry in found}) == len(found)
    return {entry.info.run_name: entry for entry in found}


def test_parent_and_children_arrive(runs: Path, client: Any):
    study = make_study(runs / "study", tags={"line": "3"})
    assert is_study(study)
    said = sync_study(study)
    found = entries(client)
    assert set(found) == {"press", *NAMES}
    parent, child = found["press"], found[NAMES[1]]
    assert "2 points" in said
    assert parent.info.run_id in said
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["fedray.digest"] == "d" * 64
    assert child.data.params == {"clients": "100", "actors": "2", "nodes": "1", "repeat": "1"}
    assert child.data.metrics == {
        "round_s": 0.25,
        "clients_per_s": 400.0,
        "seconds/train": 0.4,
        "efficiency": 0.9,
    }
    assert (child.info.status, child.info.end_time) == ("FINISHED", 1_700_000_012_000)
    assert parent.data.metrics == {"model/train_block_s": 0.002, "model/serial_fraction": 0.1, "points": 2.0}
    assert parent.data.tags["line"] == "3"
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"study.yaml", "points.jsonl", "study.json", "round_time.png"}


def test_delivering_again_changes_nothing(runs: Path, client: Any):
    study = make_study(runs / "study")
    said = sync_study(study)
    notes = (study / "tracking.json").read_bytes()
    assert sync_study(study) == said
    assert (study / "tracking.json").read_bytes() == notes
    assert len(entries(client)) == 3


def test_lost_notes_find_the_same_runs(runs: Path, client: Any):
    study = make_study(runs / "study")
    said = sync_study(study)
    before = {name: entry.info.run_id for name, entry in entries(client).items()}
    (study / "tracking.json").unlink()
    assert sync_study(study) == said
    assert {name: entry.info.run_id for name, entry in entries(client).items()} == before


def test_new_results_of_the_same_points_update_the_parent(runs: Path, client: Any):
    study = make_study(runs / "study")
    sync_study(study)
    write_results(study, "another prediction")
    sync_study(study)
    assert entries(client)["press"].data.tags["mlflow.note.content"] == "- another prediction"


def test_server_that_is_away_loses_nothing(runs: Path, client: Any):
    study = make_study(runs / "study", uri="http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(TrackingError, match="nothing listens there"):
        sync_study(study)
    sync_study(study, uri=f"sqlite:///{runs / 'mlflow.db'}")
    assert set(entries(client)) == {"press", *NAMES}


def test_unfinished_and_damaged_studies_are_refused(runs: Path):
    with pytest.raises(RunFolderError, match="fedray scale --resume"):
        sync_study(make_study(runs / "half", finished=False))
    damaged = make_study(runs / "damaged")
    (damaged / "study.yaml").write_text("[1, 2]")
    with pytest.raises(RunFolderError, match="is damaged"):
        sync_study(damaged)
