"""Run folders written by hand, as the simulation writes them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from fedray.messages import DataSpec
from fedray.models.files import save
from fedray.models.mlp import Mlp

STARTED = 1_700_000_000.0
DIGEST = "d" * 64
SPEC = DataSpec(features=(6,), task="classification", num_outputs=3)


@dataclass(frozen=True)
class HandMadeRun:
    path: Path

    def config(self, **tracking: Any) -> None:
        training = {"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}, "hidden": [64, 32], "note": "x" * 7000}
        config = {"seed": 1, "training": training, "tracking": {"experiment": "plants", **tracking}}
        (self.path / "config.yaml").write_text(yaml.safe_dump(config))

    def status(self, state: str, round: int = 0, ended: float | None = None) -> None:
        status = {"state": state, "round": round, "rounds": 9, "started": STARTED, "ended": ended, "error": None}
        temporary = self.path / ".status.tmp"
        temporary.write_text(json.dumps({**status, "name": "press-line"}))
        temporary.replace(self.path / "status.json")

    def round(self, round: int, late_s: float = 0.0, **more: float | None) -> None:
        with (self.path / "rounds.jsonl").open("a") as file:
            file.write(line(round, late_s, **more))

    def cut_after(self, round: int) -> None:
        path = self.path / "rounds.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(text for text in lines if json.loads(text)["round"] <= round))

    def system(self, step: int) -> None:
        metrics = {"system/cpu_utilization_percentage": 50.0 + step, "system/system_memory_usage_megabytes": 100.0}
        with (self.path / "system.jsonl").open("a") as file:
            file.write(json.dumps({"time": STARTED + step, "step": step, "metrics": metrics}) + "\n")

    def finish(self, rounds: int, digest: str = DIGEST) -> None:
        summary = {"digest": digest, "metrics": {"test/accuracy": 0.9}, "baselines": {"central": {"accuracy": 0.95}}}
        (self.path / "summary.json").write_text(json.dumps(summary))
        (self.path / "clients.parquet").write_bytes(b"PAR1")
        (self.path / "loss.png").write_bytes(b"png")
        self.status("finished", rounds, STARTED + 100 + rounds)

    def model(self) -> torch.nn.Module:
        config = Mlp(hidden=(4,))
        module = config.build(SPEC).eval()
        save(self.path, module, config, SPEC)
        np.savez(self.path / "input_example.npz", x=examples())
        return module

    def tracked(self) -> dict[str, Any]:
        return json.loads((self.path / "tracking.json").read_text())


def line(round: int, late_s: float = 0.0, **more: float | None) -> str:
    metrics = {"train/loss": 1 / round, **({"test/accuracy": round / 10} if round % 2 else {}), **more}
    record = {"round": round, "time": STARTED + round + late_s, "digest": f"{round:064x}", "metrics": metrics}
    return json.dumps({**record, "seconds": {"train": 0.5}, "fates": {"ok": 8}, "cohort": 8}) + "\n"


def examples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)


def make_run(runs: Path, name: str = "run-1", rounds: int = 0, **tracking: Any) -> HandMadeRun:
    run = HandMadeRun(runs / name)
    run.path.mkdir(parents=True)
    run.config(**tracking)
    run.status("running")
    environment = {
        "packages": {"fedray": "0.1", "ray": "2.60"},
        "host": "edge-1",
        "command": ["fedray", "run", "a.yaml"],
    }
    (run.path / "environment.json").write_text(json.dumps(environment))
    for round in range(1, rounds + 1):
        run.round(round)
    return run


def histories(client: Any, run_id: str) -> dict[str, list[tuple[int, int, float]]]:
    """Every row of every metric: step, time in ms, value."""
    keys = client.get_run(run_id).data.metrics
    return {k: sorted((m.step, m.timestamp, m.value) for m in client.get_metric_history(run_id, k)) for k in keys}
