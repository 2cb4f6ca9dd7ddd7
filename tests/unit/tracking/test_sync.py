import json
import math
from pathlib import Path

import pytest
from run_folders import DIGEST, STARTED, histories, make_run

from fedray.errors import RunFolderError, TrackingError
from fedray.tracking.lock import locked
from fedray.tracking.sync import sync


def entries(client):
    experiment = client.get_experiment_by_name("plants")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_whole_run_arrives(runs: Path, client):
    run = make_run(runs, rounds=4, tags={"line": "3"}, parent_run="parent")
    run.system(1)
    run.finish(4)
    report = sync(run.path)
    assert report.complete
    assert report.ended
    assert report.rounds == 4
    [entry] = entries(client)
    assert entry.info.run_id == report.run_id
    assert entry.info.run_name == "press-line"
    assert (entry.info.status, entry.info.start_time, entry.info.end_time) == (
        "FINISHED",
        1_700_000_000_000,
        1_700_000_104_000,
    )
    assert entry.data.params["training.optimizer.lr"] == "0.1"
    assert entry.data.params["training.hidden"] == "[64, 32]"
    assert len(entry.data.params["training.note"]) == 6000
    tags = entry.data.tags
    assert (tags["line"], tags["mlflow.parentRunId"], tags["fedray.digest"]) == ("3", "parent", DIGEST)
    assert (tags["mlflow.source.name"], tags["fedray.version.ray"]) == ("fedray run a.yaml", "2.60")
    rows = histories(client, report.run_id)
    assert rows["train/loss"] == [(r, 1_700_000_000_000 + r * 1000, 1 / r) for r in (1, 2, 3, 4)]
    assert [step for step, _, _ in rows["test/accuracy"]] == [1, 3]
    assert rows["seconds/train"][0] == (1, 1_700_000_001_000, 0.5)
    assert rows["fates/ok"][0][2] == rows["round/cohort"][0][2] == 8
    assert rows["system/cpu_utilization_percentage"] == [(1, 1_700_000_001_000, 51.0)]
    assert rows["final/test/accuracy"] == [(4, 1_700_000_104_000, 0.9)]
    assert rows["baseline/central/accuracy"] == [(4, 1_700_000_104_000, 0.95)]
    files = {f.path for f in client.list_artifacts(report.run_id)}
    assert files == {"config.yaml", "environment.json", "rounds.jsonl", "clients.parquet", "summary.json", "loss.png"}
    assert (runs / "mlartifacts").is_dir()


def test_syncing_in_steps_equals_syncing_once(runs: Path, client):
    steps, once = make_run(runs, "steps"), make_run(runs, "once", rounds=6)
    sync(steps.path)
    for round in range(1, 7):
        steps.round(round)
        assert sync(steps.path).rounds == round
    for run in (steps, once):
        run.finish(6)
    first = histories(client, sync(steps.path).run_id)
    assert first == histories(client, sync(once.path).run_id)


def test_syncing_again_changes_nothing(runs: Path, client):
    run = make_run(runs, rounds=3)
    run.finish(3)
    report = sync(run.path)
    before, noted = histories(client, report.run_id), run.tracked()
    assert sync(run.path) == report
    assert run.tracked() == noted
    assert histories(client, report.run_id) == before
    assert len(entries(client)) == 1


def test_many_metrics_go_in_batches_of_a_thousand(runs: Path, client):
    run = make_run(runs, rounds=20)
    for round in range(21, 26):
        run.round(round, **{f"wide {i}": float(i) for i in range(700)})
    run.round(26, **{f"wide {i}": float(i) for i in range(2500)})
    report = sync(run.path)
    rows = histories(client, report.run_id)
    assert len(rows["train/loss"]) == 26
    assert len(rows["wide 699"]) == 6
    assert len(client.get_run(report.run_id).data.metrics) == 2505


def test_values_that_are_no_numbers(runs: Path, client):
    run = make_run(runs)
    run.round(1, **{"none": None, "nan": math.nan, "inf": math.inf, "odd#name": 1.0})
    report = sync(run.path)
    rows = histories(client, report.run_id)
    assert math.isnan(rows["nan"][0][2])
    assert rows["odd_name"][0][2] == 1.0
    assert not {"none", "inf"} & set(rows)


@pytest.fixture
def lost_answer(monkeypatch: pytest.MonkeyPatch):
    """The server does what it is asked, once, and its answer does not arrive."""
    from mlflow import MlflowClient

    def lose(method: str, times: int) -> None:
        real, left = getattr(MlflowClient, method), [times]

        def call(*args, **kwargs):
            answer = real(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                raise ConnectionError("the answer was lost")
            return answer

        monkeypatch.setattr(MlflowClient, method, call)

    return lose


def test_batch_whose_answer_was_lost_is_not_sent_twice(runs: Path, client, lost_answer):
    run = make_run(runs, rounds=3)
    sync(run.path)
    for round in (4, 5):
        run.round(round)
    lost_answer("log_batch", 1)
    with pytest.raises(TrackingError, match="the answer was lost"):
        sync(run.path)
    assert run.tracked()["in_doubt"]
    run.cut_after(3)
    for round in (4, 5, 6):
        run.round(round, late_s=50)
    rows = histories(client, sync(run.path).run_id)
    assert [(s, (t - 1_700_000_000_000) // 1000) for s, t, _ in rows["train/loss"]] == [
        (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 56),
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["create_experiment", "create_run", "log_batch", "log_artifact", "set_terminated"])
def test_run_is_delivered_once_whatever_answer_is_lost(runs: Path, client, lost_answer, method: str):
    undisturbed, run = make_run(runs, "a", rounds=5), make_run(runs, "b", rounds=5)
    lost_answer(method, 1)
    for made in (undisturbed, run):
        made.system(1)
        made.finish(5)
    with pytest.raises(TrackingError, match=r"tracking\.uri"):
        sync(run.path)
    report = sync(run.path)
    assert report.complete
    assert report.error is None
    assert histories(client, report.run_id) == histories(client, sync(undisturbed.path).run_id)
    assert len(entries(client)) == 2


def test_empty_run_that_a_slow_server_made_too_late_is_deleted(runs: Path, client):
    run = make_run(runs, rounds=1)
    report = sync(run.path)
    experiment = client.get_run(report.run_id).info.experiment_id
    client.create_run(experiment, tags={"fedray.folder_id": (run.path / "folder_id").read_text()})
    run.finish(1)
    assert sync(run.path).run_id == report.run_id
    assert [entry.info.run_id for entry in entries(client)] == [report.run_id]


def test_lost_notes_are_found_again_at_the_server(runs: Path, client):
    run = make_run(runs, rounds=4)
    run.system(1)
    run.finish(4)
    report = sync(run.path)
    before = histories(client, report.run_id)
    (run.path / "tracking.json").unlink()
    run.cut_after(0)
    for round in range(1, 5):
        run.round(round, late_s=9)
    assert sync(run.path).run_id == report.run_id
    assert histories(client, report.run_id) == before
    (run.path / "tracking.json").write_text("{torn")
    assert sync(run.path).run_id == report.run_id
    assert histories(client, report.run_id) == before
    assert len(entries(client)) == 1


def test_lost_database_is_filled_again(runs: Path, client, empty_database: Path):
    run = make_run(runs, rounds=2)
    sync(run.path, uri=f"sqlite:///{runs / 'other.db'}")
    (runs / "other.db").rename(runs / "moved.db")
    run.round(3)
    report = sync(run.path)
    assert len(histories(client, report.run_id)["train/loss"]) == 3
    assert sync(run.path, uri=f"sqlite:///{runs / 'moved.db'}").rounds == 3


def test_resumed_run_goes_on_and_ends_again(runs: Path, client):
    run = make_run(runs, rounds=3)
    run.status("interrupted", 3, STARTED + 10)
    report = sync(run.path)
    assert client.get_run(report.run_id).info.status == "KILLED"
    run.status("running", 3)
    run.round(4)
    assert sync(run.path).complete
    assert client.get_run(report.run_id).info.status == "RUNNING"
    run.finish(4)
    assert sync(run.path).missing == ()
    entry = client.get_run(report.run_id)
    assert entry.info.status == "FINISHED"
    assert entry.data.metrics["final/test/accuracy"] == 0.9


def test_failed_run_is_shown_as_failed(runs: Path, client):
    run = make_run(runs, rounds=1)
    run.status("failed", 1, STARTED + 10)
    assert client.get_run(sync(run.path).run_id).info.status == "FAILED"


def test_abandoned_run_is_shown_as_killed(runs: Path, client):
    run = make_run(runs, rounds=1)
    assert client.get_run(sync(run.path, abandoned=True).run_id).info.status == "KILLED"


def test_changed_setting_of_a_resumed_run_does_not_stop_delivery(runs: Path, client):
    run = make_run(runs, rounds=1)
    sync(run.path)
    run.config(register_model="press", tags={})
    (run.path / "tracking.json").unlink()
    params = client.get_run(sync(run.path).run_id).data.params
    assert params["tracking.register_model"] == "press"


def test_deleted_run_and_experiment_are_named(runs: Path, client):
    run = make_run(runs, rounds=1)
    client.delete_run(sync(run.path).run_id)
    run.round(2)
    with pytest.raises(TrackingError, match="was deleted; restore it with `mlflow runs restore`"):
        sync(run.path)
    client.delete_experiment(client.get_experiment_by_name("plants").experiment_id)
    with pytest.raises(TrackingError, match="'plants' was deleted; restore it"):
        sync(make_run(runs, "run-2").path)


def test_password_of_the_server_is_no_parameter(runs: Path, client):
    run = make_run(runs, uri=f"sqlite:///{runs / 'mlflow.db'}")
    assert "tracking.uri" not in client.get_run(sync(run.path).run_id).data.params


def test_folder_in_use_is_refused(runs: Path):
    run = make_run(runs)
    with (
        locked(run.path),
        pytest.raises(TrackingError, match="being delivered by another process"),
        locked(run.path, 0.1),
    ):
        pass


@pytest.mark.parametrize("missing", ["status.json", "config.yaml"])
def test_folder_that_is_no_run_is_refused(runs: Path, missing: str):
    run = make_run(runs)
    (run.path / missing).unlink()
    with pytest.raises(RunFolderError, match=f"is not a run folder: {missing} is missing"):
        sync(run.path)


def test_damaged_line_is_refused_and_noted(runs: Path):
    run = make_run(runs, rounds=2)
    sync(run.path)
    with (run.path / "rounds.jsonl").open("a") as file:
        file.write('{"rou{"round": 3}\n')
    with pytest.raises(RunFolderError, match="delete the line and sync again"):
        sync(run.path)


def test_sample_torn_by_a_killed_process_is_passed_over(runs: Path, client):
    run = make_run(runs, rounds=1)
    run.system(1)
    with (run.path / "system.jsonl").open("a") as file:
        file.write('{"time": 17')
    run.system(2)
    run.system(3)
    rows = histories(client, sync(run.path).run_id)
    assert [step for step, _, _ in rows["system/cpu_utilization_percentage"]] == [1, 3]


def test_report_says_what_is_missing(runs: Path):
    run = make_run(runs, rounds=2, uri="http://127.0.0.1:9")
    run.finish(2)
    with pytest.raises(TrackingError, match="nothing listens there"):
        sync(run.path)
    tracked = json.loads((run.path / "tracking.json").read_text())
    assert "nothing listens there" in tracked["error"]
    from fedray.tracking.folder import RunFolder
    from fedray.tracking.report import compare

    text = str(compare(RunFolder(run.path)))
    assert text.startswith("MLflow at http://127.0.0.1:9 lacks 2 rounds, params, summary, artifacts, status (")
    assert text.endswith("run `fedray sync` to deliver it")
