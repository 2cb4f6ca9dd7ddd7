from pathlib import Path

import numpy as np
import pytest
import torch
from run_folders import DIGEST, examples, make_run

from fedray.tracking.environment import told
from fedray.tracking.sync import sync


@pytest.fixture
def load(runs: Path, client):
    with told(timeout_s=5):
        import mlflow
        import mlflow.pyfunc

    mlflow.set_tracking_uri(f"sqlite:///{runs / 'mlflow.db'}")
    yield mlflow.pyfunc.load_model
    mlflow.set_tracking_uri(None)


def test_logged_model_predicts_as_the_torch_model(runs: Path, client, load):
    run = make_run(runs, rounds=2, register_model="press")
    module = run.model()
    run.finish(2)
    report = sync(run.path)
    [output] = client.get_run(report.run_id).outputs.model_outputs
    with torch.no_grad():
        wanted = module(torch.from_numpy(examples())).numpy()
    for address in (f"models:/{output.model_id}", "models:/press/1"):
        model = load(address)
        np.testing.assert_array_equal(model.predict(examples()), wanted)
    assert [s.shape for s in model.metadata.signature.inputs.inputs] == [(-1, 6)]
    assert [s.shape for s in model.metadata.signature.outputs.inputs] == [(-1, 3)]
    np.testing.assert_array_equal(model.input_example, examples()[:5])
    logged = client.get_logged_model(output.model_id)
    assert (logged.status, logged.tags["fedray.digest"]) == ("READY", DIGEST)


def test_model_is_logged_and_registered_once_and_again_when_trained_further(runs: Path, client, load):
    run = make_run(runs, rounds=2, register_model="press")
    run.model()
    run.finish(2)
    report = sync(run.path)
    (run.path / "tracking.json").unlink()
    sync(run.path)
    assert len(client.search_model_versions("name = 'press'")) == 1
    assert len(client.get_run(report.run_id).outputs.model_outputs) == 1
    run.status("running", 2)
    run.round(3)
    run.model()
    run.finish(3, digest="e" * 64)
    sync(run.path)
    assert len(client.search_model_versions("name = 'press'")) == 2
    assert len(client.get_run(report.run_id).outputs.model_outputs) == 2
