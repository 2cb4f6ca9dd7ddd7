"""What MLflow's pages need of a delivery, looked at without a browser."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from run_folders import make_run

from fedray.tracking.preview import PREVIEW_ROWS, last_rows, preview
from fedray.tracking.sync import sync


@pytest.mark.parametrize("group", [1, 7, 100])
def test_last_rows_are_the_same_however_the_table_is_cut(tmp_path: Path, group: int):
    path = tmp_path / "clients.parquet"
    pq.write_table(pa.table({"client": range(100)}), path, row_group_size=group)
    assert last_rows(path, 10)["client"].to_pylist() == list(range(90, 100))
    assert last_rows(path, 1000)["client"].to_pylist() == list(range(100))


def test_table_has_a_preview_and_nothing_else_has(tmp_path: Path):
    path = tmp_path / "clients.parquet"
    pq.write_table(pa.table({"round": [1, 1], "fate": ["ok", "failed"]}), path)
    with preview(path) as file:
        assert file is not None
        assert file.name == f"clients_last_{PREVIEW_ROWS}.csv"
        assert pyarrow.csv.read_csv(file).to_pydict() == {"round": [1, 1], "fate": ["ok", "failed"]}
    assert not file.exists()
    for name in ("config.yaml", "damaged.parquet"):
        (tmp_path / name).write_text("a: 1")
        with preview(tmp_path / name) as file:
            assert file is None


def test_empty_table_has_a_preview_of_its_columns(tmp_path: Path):
    pq.write_table(pa.table({"round": pa.array([], pa.int64())}), tmp_path / "clients.parquet")
    with preview(tmp_path / "clients.parquet") as file:
        assert file is not None
        assert file.read_text() == '"round"\n'


def test_model_is_registered_in_a_database_that_mlflow_does_not_know_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mlflow import MlflowClient

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = make_run(tmp_path / "runs", rounds=1, register_model="press")
    run.model()
    run.finish(1)
    report = sync(run.path)
    assert report.complete
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    [version] = client.search_model_versions("name = 'press'")
    [output] = client.get_run(report.run_id).outputs.model_outputs
    tags = client.get_logged_model(output.model_id).tags
    assert (version.run_id, version.status) == (report.run_id, "READY")
    assert json.loads(tags["mlflow.modelVersions"]) == [{"name": "press", "version": 1}]
    assert os.listdir() == []


def test_source_is_short_and_the_command_is_whole(tmp_path: Path):
    from mlflow import MlflowClient

    run = make_run(tmp_path / "runs", rounds=1)
    command = ["fedray", "run", "/plants/press.yaml", "-s", "runs=/data/runs"]
    environment = {"command": command, "git_commit": "abc", "packages": {"ray": "2.60"}}
    (run.path / "environment.json").write_text(json.dumps(environment))
    tags = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}").get_run(sync(run.path).run_id).data.tags
    assert tags["mlflow.source.name"] == "fedray run press.yaml"
    assert tags["fedray.command"] == "fedray run /plants/press.yaml -s runs=/data/runs"
    assert (tags["mlflow.source.git.commit"], tags["fedray.version.ray"]) == ("abc", "2.60")
