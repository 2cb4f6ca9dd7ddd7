"""The setting `device`: what auto becomes is recorded, and what a machine lacks is refused before a run."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import fedray
from fedray.config import parse
from fedray.errors import CapacityError

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU, and here is one")


def experiment(folder: Path, **more: Any) -> fedray.Experiment:
    settings = {
        "rounds": 2,
        "data": {"name": "fleet", "machines": 6, "rows": 20, "features": 4, "test_machines": 2},
        "model": {"name": "mlp", "hidden": [4]},
        "cohort": {"size": 4},
        "actors": {"backend": "serial"},
        "tracking": {"enabled": False},
        "runs": str(folder / "runs"),
    }
    return parse(fedray.Experiment, {**settings, **more})


@without_cuda
def test_auto_is_recorded_as_what_it_became(tmp_path: Path):
    auto = experiment(tmp_path, device="auto", actors={"backend": "serial", "gpus_per_actor": 0.5})
    found, plain = fedray.run(auto), fedray.run(experiment(tmp_path))
    recorded = yaml.safe_load((Path(found.folder) / "config.yaml").read_text())
    assert recorded["device"] == "cpu"
    assert found.digest == plain.digest
    assert fedray.resume(found.folder, ["rounds=3"]).state == "finished"


@without_cuda
def test_run_of_a_gpu_does_not_go_on_without_one(tmp_path: Path):
    done = Path(fedray.run(experiment(tmp_path)).folder)
    config = yaml.safe_load((done / "config.yaml").read_text())
    (done / "config.yaml").write_text(yaml.safe_dump({**config, "device": "cuda"}))
    with pytest.raises(CapacityError, match="device is cuda, but"):
        fedray.resume(done, ["rounds=3"])
    with pytest.raises(CapacityError, match="device is cuda, but"):
        fedray.run(experiment(tmp_path / "other", device="cuda"))
    assert not (tmp_path / "other").exists()
