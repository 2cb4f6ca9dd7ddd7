"""Runs of one experiment under different faults, one after another, and what each of them cost."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ray

import fedray
from experiments.fault_tolerance.pauses import Pauses
from fedray import Result
from fedray.files import write_json
from fedray.simulation.watch import Event

HERE = Path(__file__).parent
RESULTS = HERE / "results"
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run.

    Attributes:
        name: What was done to it.
        digest: Of its last round.
        rounds_s: Wall seconds of all rounds.
        deaths: Client actors that died.
        driver_deaths: Drivers that died.
        fates: Fate to number of clients, of all rounds.
        recomputed: Clients that were trained again.
        weight: Part of the weight of all clients that reached the model.
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
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


def run(name: str, file: str, settings: Sequence[str] = ()) -> Cost:
    """One run of an experiment file of this folder, with settings replaced; again where the machine stood still."""
    print(f"{name} ...", flush=True)
    return cost(name, undisturbed(lambda: fedray.run(fedray.load(HERE / file, settings), on_event=_warn)))


def undisturbed(work: Callable[[], Result]) -> Result:
    """Does something, again where the machine stood still in it, so that its wall time counts; three times at most."""
    for _ in range(_TRIES - 1):
        with Pauses() as pauses:
            done = work()
        if not pauses.seconds:
            return done
        print(f"  the machine stood still for {pauses.seconds:.0f} s: once more", file=sys.stderr)
    return work()


def cost(name: str, result: Result) -> Cost:
    """What a run cost, by its folder."""
    clients, faults = result.clients, result.faults
    fates = {str(fate): int(num) for fate, num in clients["fate"].value_counts().items()}
    reached = clients.loc[clients["fate"].isin(["ok", "retried"]), "examples"].sum()
    each = clients.groupby("client")["examples"].max()
    return Cost(
        name=name,
        digest=result.digest,
        rounds_s=float(result.history["seconds/round"].sum()),
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
