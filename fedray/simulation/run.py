"""A whole run, wherever its clients run: start, rounds, baselines, what is left behind."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from fedray.data.base import FederatedData
from fedray.errors import ClientError, RunFolderError
from fedray.files import replacing, write_json
from fedray.models import files as model_files
from fedray.server.strategy import ServerState
from fedray.simulation import baselines
from fedray.simulation.backend import Backend
from fedray.simulation.checkpoint import digest
from fedray.simulation.faults.event import Inject, not_here
from fedray.simulation.faults.plan import keep
from fedray.simulation.loop import Simulation
from fedray.simulation.plan import Plan
from fedray.simulation.run_folder import Record, RunFolder
from fedray.simulation.system import SystemSampler
from fedray.simulation.watch import Interrupted, Watch

_EXAMPLES = 5


def execute(
    *,
    plan: Plan,
    data: FederatedData,
    backend: Callable[[], Backend],
    folder: RunFolder,
    watch: Watch,
    inject: Inject = not_here,
) -> None:
    """Runs an experiment to its end and leaves the state of affairs in the run folder, whatever happens.

    Args:
        plan: The experiment.
        data: The population's data.
        backend: Starts what runs the clients.
        folder: The run folder.
        watch: Told of what happens; asked whether to stop.
        inject: Carries out planned faults of the run itself.

    Raises:
        Interrupted: Somebody asked to stop; `resume` goes on.
        FedrayError: The run cannot go on.
    """
    folder.mend()
    folder.write_status(state="running", started=time.time(), ended=None, rounds=plan.rounds, error=None)
    try:
        plan = replace(plan, faults=keep(folder.path, plan.faults))
        _run(plan, data, backend, folder, watch, inject)
    except Interrupted:
        folder.write_status(state="interrupted", ended=time.time(), round=_done(folder))
        raise
    except Exception as error:
        if isinstance(error, ClientError) and error.details:
            folder.write_error(error.round, error.client, error.details)
        folder.write_status(state="failed", ended=time.time(), round=_done(folder), error=str(error))
        raise
    folder.write_status(state="finished", ended=time.time(), round=plan.rounds)


def _run(
    plan: Plan,
    data: FederatedData,
    start_backend: Callable[[], Backend],
    folder: RunFolder,
    watch: Watch,
    inject: Inject,
) -> None:
    began = time.perf_counter()
    backend = start_backend()
    try:
        simulation = Simulation(plan=plan, data=data, backend=backend, folder=folder, watch=watch, inject=inject)
        initial, state = simulation.layout.flatten(simulation.module).numpy(), simulation.start()
        watch.tell("starting", text=f"round {state.round + 1} of {plan.rounds}", seconds=time.perf_counter() - began)
        with SystemSampler(folder):
            state = simulation.run(state)
            compared = baselines.run(plan, data, backend, initial, watch)
        _leave(simulation, state, data, compared)
    finally:
        backend.close()


def _leave(
    simulation: Simulation, state: ServerState, data: FederatedData, compared: dict[str, baselines.Metrics]
) -> None:
    """The model, some examples and the summary."""
    plan, folder = simulation.plan, simulation.folder
    simulation.layout.bind(simulation.module, torch.tensor(state.parameters))
    model_files.save(folder.path, simulation.module, plan.workload.model, plan.workload.spec)
    with replacing(folder.path / "input_example.npz") as beside, beside.open("wb") as file:
        np.savez(file, x=data.shard(0).x[:_EXAMPLES])
    folder.finish()
    write_json(folder.path / "summary.json", _summary(plan, state, folder, compared))


def _summary(plan: Plan, state: ServerState, folder: RunFolder, compared: dict[str, baselines.Metrics]) -> Record:
    rounds = folder.lines("rounds")
    metrics: dict[str, float] = {}
    for record in rounds:
        metrics |= record["metrics"]
    wall = sum(record["seconds"]["round"] for record in rounds)
    train = sum(record["seconds"]["train"] for record in rounds)
    return {
        "digest": digest(state),
        "rounds": state.round,
        "clients": plan.num_clients,
        "metrics": metrics,
        "baselines": compared,
        "seconds": {"rounds": wall, "train": train},
        "clients_per_s": sum(record.get("trained", record["cohort"]) for record in rounds) / train if train else None,
        "bytes": sum(sum(record["bytes"].values()) for record in rounds),
        "memory_bytes": {
            who: max(record["memory_bytes"][who] for record in rounds) for who in rounds[0]["memory_bytes"]
        },
        **_virtual(rounds),
        **_wide(rounds),
    }


def _virtual(rounds: Sequence[Record]) -> Record:
    """What the simulated devices spent, where there are any."""
    told = [record["virtual"] for record in rounds if "virtual" in record]
    if not told:
        return {}
    spent = {name: sum(virtual[name] for virtual in told) for name in ("device_s", "joules")}
    moved = {way: sum(virtual["bytes"][way] for virtual in told) for way in told[0]["bytes"]}
    return {"virtual": {"end_s": told[-1]["end_s"], **spent, "bytes": moved}}


def _wide(rounds: Sequence[Record]) -> Record:
    """What went through the links above the edges, where there is a hierarchy."""
    told = [record["wide"] for record in rounds if "wide" in record]
    return {"wide": {way: sum(wide[way] for wide in told) for way in ("up", "down")}} if told else {}


def _done(folder: RunFolder) -> int:
    try:
        rounds = folder.lines("rounds")
    except RunFolderError:  # told by whoever needs the rounds
        return 0
    return rounds[-1]["round"] if rounds else 0
