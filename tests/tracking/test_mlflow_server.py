"""Delivery to a real MLflow server, which stops, forgets to answer, and comes back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from mlflow_servers import LIMIT_S, Server, free_port, until
from run_folders import STARTED, examples, histories, make_run

from fedray.errors import TrackingError
from fedray.tracking import ui
from fedray.tracking.environment import told
from fedray.tracking.process import start, stop, wait
from fedray.tracking.sync import sync

ROUNDS = 6


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Every row of a run that was delivered without trouble."""
    from mlflow import MlflowClient

    run = make_run(tmp_path_factory.mktemp("runs"), rounds=ROUNDS, uri=server.uri)
    for step in range(3):
        run.system(step)
    run.finish(ROUNDS)
    return histories(MlflowClient(tracking_uri=server.uri), sync(run.path).run_id)


@pytest.fixture
def follower():
    """Starts followers and leaves none behind."""
    started = []

    def begin(folder: Path):
        started.append(start(folder, interval_s=0.05))
        return started[-1]

    yield begin
    for process in started:
        stop(process)


def test_server_stopped_in_the_middle_gets_all_of_an_undisturbed_run(server, client, tmp_path, follower, undisturbed):
    run = make_run(tmp_path, rounds=2, uri=server.uri, timeout_s=5)
    process = follower(run.path)
    until(lambda: (run.path / "tracking.json").exists() and run.tracked()["rounds"]["last"] == 2, "round 2")
    server.stop()
    try:
        for round in range(3, ROUNDS + 1):
            run.round(round)
        until(lambda: run.tracked()["error"] is not None, "the outage to be noted")
        assert run.tracked()["rounds"]["last"] == 2
    finally:
        server.start()
    for step in range(3):
        run.system(step)
    run.finish(ROUNDS)
    report = wait(process, run.path, finish_s=LIMIT_S)
    assert (process.returncode, report.complete, report.error) == (0, True, None)
    assert histories(client, report.run_id) == undisturbed
    assert client.get_run(report.run_id).info.status == "FINISHED"


def test_server_away_for_the_whole_run_gets_it_by_sync_afterwards(server, client, tmp_path, follower, undisturbed):
    run = make_run(tmp_path, rounds=ROUNDS, uri=f"http://127.0.0.1:{free_port()}", finish_s=0.2)
    for step in range(3):
        run.system(step)
    process = follower(run.path)
    run.finish(ROUNDS)
    began = time.monotonic()
    report = wait(process, run.path, finish_s=0.2)
    assert time.monotonic() - began < 30
    assert process.returncode == 1
    assert (report.missing_rounds, report.run_id, report.ended) == (ROUNDS, None, True)
    assert "nothing listens there" in str(report)
    run.config(uri=server.uri)
    assert histories(client, sync(run.path).run_id) == undisturbed


@pytest.mark.parametrize("call", ["runs/create", "runs/log-batch", "runs/set-tag", "runs/update"])
def test_answer_that_comes_too_late_duplicates_nothing(server, client, proxy, tmp_path, undisturbed, call):
    run = make_run(tmp_path, rounds=ROUNDS, uri=proxy.uri, timeout_s=1)
    for step in range(3):
        run.system(step)
    run.finish(ROUNDS)
    proxy.hold = f"POST /api/2.0/mlflow/{call}"
    with pytest.raises(TrackingError, match=r"it did not answer within tracking\.timeout_s"):
        sync(run.path)
    proxy.hold = ""
    proxy.held.clear()
    report = sync(run.path)
    assert histories(client, report.run_id) == undisturbed
    tag = f"tags.`fedray.folder_id` = '{(run.path / 'folder_id').read_text()}'"
    assert len(client.search_runs([client.get_run(report.run_id).info.experiment_id], tag)) == 1


def test_notes_lost_after_the_run_are_found_at_the_server(server, client, tmp_path, undisturbed):
    run = make_run(tmp_path, rounds=ROUNDS, uri=server.uri)
    for step in range(3):
        run.system(step)
    run.finish(ROUNDS)
    report = sync(run.path)
    (run.path / "tracking.json").unlink()
    assert sync(run.path).run_id == report.run_id
    assert histories(client, report.run_id) == undisturbed


def test_follower_killed_again_and_again_delivers_exactly_once(server, client, tmp_path, undisturbed):
    run = make_run(tmp_path, uri=server.uri)
    for round in range(1, ROUNDS + 1):
        run.round(round)
        process = start(run.path, interval_s=0.05)
        try:
            until(lambda: (run.path / "tracking.json").exists(), "the first notes")
            until(lambda round=round: run.tracked()["rounds"]["last"] >= round - 1, "the round before")
        finally:
            process.kill()
            process.wait(LIMIT_S)
    for step in range(3):
        run.system(step)
    run.finish(ROUNDS)
    assert histories(client, sync(run.path).run_id) == undisturbed


def test_follower_of_a_killed_run_shows_it_as_killed_and_leaves(server, client, tmp_path):
    run = make_run(tmp_path, rounds=2, uri=server.uri)
    code = (
        "import sys, time; from pathlib import Path; from fedray.tracking.process import start; "
        "print(start(Path(sys.argv[1]), interval_s=0.05).pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(lambda: (run.path / "tracking.json").exists() and run.tracked()["status"] == "RUNNING", "the delivery")
        parent.send_signal(signal.SIGKILL)
        parent.wait(LIMIT_S)
    until(lambda: run.tracked()["status"] == "KILLED", "the run to be shown as killed")
    assert client.get_run(run.tracked()["run_id"]).info.status == "KILLED"
    until(lambda: not is_running(pid), "the follower to leave")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_registered_model_comes_back_from_the_server(server, client, tmp_path):
    import mlflow

    run = make_run(tmp_path, rounds=1, uri=server.uri, register_model="press")
    module = run.model()
    run.finish(1)
    sync(run.path)
    assert [v.status for v in client.search_model_versions("name = 'press'")] == ["READY"]
    mlflow.set_tracking_uri(server.uri)
    try:
        with told(timeout_s=5):
            answer = mlflow.pyfunc.load_model("models:/press/1").predict(examples())
    finally:
        mlflow.set_tracking_uri(None)
    with torch.no_grad():
        np.testing.assert_array_equal(answer, module(torch.from_numpy(examples())).numpy())


def test_browser_pages_show_the_default_database(tmp_path):
    run = make_run(tmp_path, rounds=1)
    run.status("interrupted", 1, STARTED + 3)
    run_id = sync(run.path).run_id
    pages = Server(tmp_path)
    pages.start(ui.command(tmp_path, pages.port))
    try:
        assert "MLflow" in requests.get(pages.uri, timeout=10).text
        for host in ("localhost", "127.0.0.1"):
            address = f"http://{host}:{pages.port}/ajax-api/2.0/mlflow/runs/get?run_id={run_id}"
            assert requests.get(address, timeout=10).json()["run"]["info"]["run_name"] == "press-line"
        files = requests.get(f"{pages.uri}/get-artifact?path=config.yaml&run_id={run_id}", timeout=10)
        assert "optimizer" in files.text
        foreign = requests.get(f"{pages.uri}/api/2.0/mlflow/runs/get", headers={"Host": "evil.example"}, timeout=10)
        assert foreign.status_code == 403
    finally:
        pages.stop()
