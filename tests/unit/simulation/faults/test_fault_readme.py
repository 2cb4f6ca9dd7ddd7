"""What the README shows of faults can be loaded, run and resumed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import fedray
from fedray.config import parse
from fedray.errors import ConfigError
from fedray.simulation.faults.plan import FaultPlan

README = Path(__file__).parents[4] / "README.md"


def example() -> dict[str, Any]:
    section = README.read_text(encoding="utf-8").split("\n## Faults\n")[1].split("\n## ")[0]
    return yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])


def experiment(folder: Path, **more: Any) -> fedray.Experiment:
    small = {
        "rounds": 12,
        "data": {"name": "fleet", "machines": 20, "rows": 10, "features": 4},
        "model": {"name": "mlp", "hidden": [4]},
        "cohort": {"fraction": 1.0},
        "blocks": {"size": 3},
        "evaluation": {"every": 12},
        "actors": {"backend": "serial"},
        "tracking": {"enabled": False},
        "runs": str(folder),
    }
    return parse(fedray.Experiment, {**small, **more})


def test_example_of_the_readme_runs_and_goes_on(tmp_path: Path):
    whole = fedray.run(experiment(tmp_path, **example()))
    assert whole.state == "finished"
    assert set(whole.faults["kind"]) >= {"kill", "corrupt", "kill_driver"}
    assert set(whole.clients.loc[whole.clients["client"] == 17, "fate"]) == {"quarantined"}
    assert set(whole.clients["fate"]) >= {"ok", "retried", "rejected", "quarantined"}
    assert len(whole.clients) == 12 * 20

    part = fedray.run(experiment(tmp_path, **example(), rounds=5))
    resumed = fedray.resume(part.folder, ["rounds=12", "actors.num_actors=7"])
    assert resumed.digest == whole.digest
    assert list(resumed.clients["fate"]) == list(whole.clients["fate"])


def test_resumed_run_keeps_its_plan_and_may_change_the_policy(tmp_path: Path):
    faults = [{"kind": "kill", "actors": 0.5, "every": 1}]
    four = {"backend": "serial", "num_actors": 4}
    part = fedray.run(experiment(tmp_path, faults=faults, rounds=2, blocks={"size": 2}, actors=four))
    with pytest.raises(ConfigError, match=r"^faults may not change in a resumed run"):
        fedray.resume(part.folder, ["rounds=4", "faults=[{kind: kill, actors: 1, every: 1}]"])
    resumed = fedray.resume(part.folder, ["rounds=4", "actors.num_actors=8", "failures.on_death=drop"])
    assert resumed.history["fates/dropped"].tolist() == [0, 0, 8, 8]
    kept = FaultPlan.load(part.folder)
    assert kept is not None
    assert kept.columns["num"].tolist() == [2, 2, 4, 4]
    assert sorted(resumed.faults["fault"].unique()) == [0, 1, 2, 3]


def test_fault_of_a_client_that_is_not_there_is_refused_before_a_folder_is_made(tmp_path: Path):
    with pytest.raises(ConfigError, match="hits client 20, but the population has 20 clients, from 0 to 19"):
        fedray.run(experiment(tmp_path, faults=[{"kind": "exception", "clients": [20], "rounds": [1]}]))
    assert list(tmp_path.iterdir()) == []
