"""Runs of one experiment under different faults, one after another, and what each of them cost."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray

import fedray
from experiments.fault_tolerance.pauses import Pauses
from fedray import Result
from fedray.files import write_json
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run.

    Attributes:
        name: What was done to it.
        digest: Of its last round.
        rounds_s: Wall seconds of all rounds.
        paused_s: Seconds in which the machine stood still meanwhile; not in them.
        deaths: Client actors that died.
        driver_deaths: Drivers that died.
        fates: Fate to number of clients, of all rounds.
        recomputed: Clients that were trained again.
        weight: Part of the weight of all clients that reached the model; one that never trained counts as the others.
        metrics: Of the last round.
        folder: The run folder.
    """

    name: str
    digest: str
    rounds_s: float
    deaths: int
    driver_deaths: int
    fates: dict[str, int]
    recomputed: int
    weight: float
    metrics: dict[str, float]
    folder: str
    paused_s: float = 0.0


def run(name: str, file: str, settings: Sequence[str] = ()) -> Cost:
    """One run of an experiment file of this folder, with settings replaced."""
    print(f"{name} ...", flush=True)
    with Pauses() as pauses:
        result = fedray.run(fedray.load(HERE / file, settings), on_event=_warn)
    return cost(name, result, pauses)


def cost(name: str, result: Result, pauses: Pauses | None = None) -> Cost:
    """What a run cost, by its folder; time in which the machine stood still is not counted."""
    clients, faults = result.clients, result.faults
    fates = {str(fate): int(num) for fate, num in clients["fate"].value_counts().items()}
    reached = clients.loc[clients["fate"].isin(["ok", "retried"]), "examples"].sum()
    known = clients.groupby("client")["examples"].max()
    known = known.where(known > 0)  # a dropped client's row has no examples
    each = known.fillna(known.mean())
    wall_s = float(result.history["seconds/round"].sum())
    ended = RunFolder(result.folder).lines("rounds")[-1]["time"]
    paused_s = 0.0 if pauses is None else pauses.within(ended - wall_s, ended)
    return Cost(
        name=name,
        digest=result.digest,
        rounds_s=wall_s - paused_s,
        paused_s=paused_s,
        deaths=int(result.history["deaths"].sum()),
        driver_deaths=0 if faults.empty else int((faults["kind"] == "driver died").sum()),
        fates=fates,
        recomputed=0 if faults.empty else int(faults["num_recomputed"].sum()),
        weight=float(reached / clients["client"].map(each).sum()),
        metrics=result.metrics,
        folder=str(result.folder),
    )


def start_ray(num_cpus: int = 2) -> None:
    """One Ray for all runs of a study."""
    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(num_cpus=num_cpus, **quiet)


def save(name: str, costs: Sequence[Cost]) -> Path:
    """Writes what was measured."""
    file = RESULTS / f"{name}.json"
    write_json(file, [asdict(one) for one in costs])
    return file


def read(name: str) -> list[dict[str, Any]]:
    """What was measured before."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _warn(event: Event) -> None:
    """Prints warnings, but for the deaths that a study is about."""
    if event.kind == "warning" and "died and is replaced" not in event.values["text"]:
        print(f"  {event.values['text']}", file=sys.stderr)
