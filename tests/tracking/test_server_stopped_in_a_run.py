"""A whole `fedray run` whose MLflow server is stopped in the middle and started again afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow_servers import Server, until

from fedray.simulation.run_folder import RunFolder
from fedray.tracking.environment import told

ROUNDS = 250
EXPERIMENT = """
seed: 3
rounds: {rounds}
data: {{name: fleet, machines: 40, rows: 60, test_machines: 20}}
cohort: {{size: 10}}
training: {{batch_size: 10}}
actors: {{backend: serial}}
tracking: {{uri: "{uri}"}}
"""


def fedray(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fedray", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def output_of(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def notes(folder: Path) -> dict:
    path = folder / "tracking.json"
    return json.loads(path.read_text()) if path.exists() else {"run_id": None, "rounds": {"last": 0}}


def results(server: Server, folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every metric that does not depend on the clock, round by round."""
    with told(5):
        from mlflow import MlflowClient

        client, run = MlflowClient(tracking_uri=server.uri), notes(folder)["run_id"]
        names = [n for n in client.get_run(run).data.metrics if n.startswith(("train/", "test/", "final/", "fates/"))]
        return {name: sorted((m.step, m.value) for m in client.get_metric_history(run, name)) for name in names}


@pytest.mark.timeout(300)
def test_server_stopped_in_the_middle_of_a_run_has_everything_after_sync(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(rounds=ROUNDS, uri=server.uri))
        output_of(fedray(tmp_path, "run", "experiment.yaml", "-s", "name=undisturbed"))
        disturbed = fedray(tmp_path, "run", "experiment.yaml", "-s", "name=disturbed")
        until(lambda: any((tmp_path / "runs").glob("disturbed-*/tracking.json")), "the first delivery")
        folder = next((tmp_path / "runs").glob("disturbed-*"))
        until(lambda: notes(folder)["rounds"]["last"] >= 1, "the first rounds in MLflow")
        server.stop()
        done = len(RunFolder(folder).lines("rounds"))
        assert done < ROUNDS, "the run was over before the server was stopped: raise ROUNDS"
        assert "run `fedray sync` to deliver it" in output_of(disturbed)

        server.start()
        assert f"has the run ({ROUNDS} rounds" in output_of(fedray(tmp_path, "sync", str(folder)))
        expected = results(server, next((tmp_path / "runs").glob("undisturbed-*")))
        assert len(expected["train/loss"]) == len(expected["test/accuracy"]) == ROUNDS
        assert results(server, folder) == expected
    finally:
        server.stop()
