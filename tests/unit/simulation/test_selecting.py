"""Runs that learn whom to choose: what they remember, resume, devices."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_runs import Run, Tiny, crash_in

from fedray.errors import ClientError
from fedray.messages import Shard
from fedray.server.strategy import begin
from fedray.simulation.backend import SerialBackend
from fedray.simulation.evaluation import Evaluations
from fedray.simulation.loop import Simulation
from fedray.simulation.selecting import Selecting

LEARNING: list[dict[str, Any]] = [
    {"name": "power_of_choice", "ratio": 1.5},
    {"name": "power_of_choice", "ratio": 1.5, "loss": "evaluated"},
    {"name": "oort", "exploration": 0.4, "pace_window": 2, "max_times": 3},
    {"name": "fair", "speed": 0.5},
    {"name": "tifl", "tiers": 3, "interval": 2, "credits": 3},
]
DEVICES: dict[str, Any] = {
    "profile": {"name": "lognormal", "examples_per_s": 2, "speed_spread": 1},
    "availability": {"name": "markov", "mean_there_s": 30, "mean_away_s": 10},
}
PROTOCOL = {"name": "synchronous", "deadline_s": 12, "min_reports": 0.5, "over_selection": 1.5, "pause_s": 100}
VIRTUAL: dict[str, Any] = {"devices": DEVICES, "protocol": PROTOCOL}
PLANTS: dict[str, Any] = {"hierarchy": {"levels": [{"name": "plant", "servers": 3, "rounds": 2}]}}
PLACES = pytest.mark.parametrize("more", [{}, VIRTUAL, PLANTS], ids=["plain", "virtual", "plants"])
ALL = pytest.mark.parametrize("sampling", LEARNING, ids=lambda s: f"{s['name']}-{s.get('loss', '')}")


def run(folder: Path, sampling: Any, **more: Any) -> Run:
    settings = {"rounds": 6, "cohort": {"size": 4, "sampling": sampling}, "checkpoint": {"every_s": 0}}
    return Run(folder, **{**settings, **more})


def simulation(of: Run) -> Simulation:
    backend = SerialBackend(of.plan.workload, of.data, of.watch)
    return Simulation(plan=of.plan, data=of.data, backend=backend, folder=of.folder, watch=of.watch)


def selections(simulated: Simulation) -> list[Selecting]:
    """That of each edge."""
    return [edge.selecting for edge in simulated._rounds._edges]


def assert_same_memory(simulated: Simulation, others: Simulation) -> None:
    for mine, other in zip(selections(simulated), selections(others), strict=True):
        assert_same(mine, other)


def assert_same(mine: Selecting, other: Selecting) -> None:
    assert mine.memory.keys() == other.memory.keys()
    for name, values in mine.memory.items():
        assert values.dtype == other.memory[name].dtype
        np.testing.assert_array_equal(values, other.memory[name])
    np.testing.assert_array_equal(mine._is_out, other._is_out)


@ALL
@PLACES
def test_a_run_that_broke_off_goes_on_to_the_same_choices(tmp_path: Path, sampling: Any, more: dict[str, Any]):
    whole = run(tmp_path / "a", sampling, **more).go()
    for broken_in in (2, 5):
        with pytest.raises(MemoryError):
            run(tmp_path / "b", sampling, **more).go(backend=crash_in(broken_in, block=0))
    again = run(tmp_path / "b", sampling, **more).go()
    assert again.digests == whole.digests
    pd.testing.assert_frame_equal(again.clients, whole.clients)


@ALL
@PLACES
def test_memory_of_the_ledger_is_the_memory_that_was_carried_on(tmp_path: Path, sampling: Any, more: dict[str, Any]):
    mine = run(tmp_path, sampling, **more)
    carried = simulation(mine)
    carried.run(carried.start())
    read = simulation(mine)
    assert read.start().round == 6
    assert_same_memory(read, carried)


@ALL
def test_rounds_that_are_dropped_are_forgotten(tmp_path: Path, sampling: Any):
    """The ledger tells of six rounds; those after the third are dropped."""
    run(tmp_path / "a", sampling).go(rounds=3)
    short = simulation(run(tmp_path / "a", sampling))
    short.start()
    mine = run(tmp_path / "b", sampling)
    mine.go()
    mine.folder.truncate(3)
    long = simulation(run(tmp_path / "b", sampling))
    long._rounds.remember(mine.folder.clients.read())
    assert_same_memory(long, short)
    long._rounds.remember(None)
    start = simulation(run(tmp_path / "c", sampling))
    assert_same_memory(long, start)


def test_losses_in_memory_are_those_of_the_ledger(tmp_path: Path):
    mine = run(tmp_path, "oort")
    carried = simulation(mine)
    carried.run(carried.start())
    rows, memory = mine.folder.clients.read().to_pandas(), selections(carried)[0].memory
    newest = rows.groupby("client")["loss"].last()
    assert memory["loss"][newest.index.to_numpy()].tolist() == newest.tolist()
    assert memory["times"].sum() == len(rows) == 24


def test_power_of_choice_takes_the_highest_losses_of_the_round_before(tmp_path: Path):
    found = run(tmp_path, {"name": "power_of_choice", "ratio": 3}).go().clients  # all of 12 clients are candidates
    known = dict.fromkeys(range(12), np.inf)
    for _, rows in found.groupby("round"):
        least = min(known[client] for client in rows["client"])
        assert all(loss <= least for client, loss in known.items() if client not in set(rows["client"]))
        known |= dict(zip(rows["client"], rows["loss"], strict=True))


def test_candidates_evaluate_the_model_of_their_round(tmp_path: Path):
    mine = run(tmp_path, {"name": "power_of_choice", "ratio": 3, "loss": "evaluated"}, evaluation={})
    first = set(mine.go(rounds=1).clients["client"])
    simulated = simulation(mine)
    state = begin(mine.plan.strategy, simulated.layout.flatten(simulated.module).numpy(), 0)
    losses = simulated.evaluations.losses(state, np.arange(12))
    assert first == set(np.argsort(-losses)[:4].tolist())


def test_losses_of_many_clients_are_in_the_order_in_which_they_were_asked(tmp_path: Path):
    mine = run(tmp_path, "uniform", data=Tiny(80))
    simulated = simulation(mine)
    clients, state = np.arange(80)[::-1].copy(), simulated.start()
    backwards = simulated.evaluations.losses(state, clients)[::-1]
    assert backwards.tolist() == simulated.evaluations.losses(state, np.arange(80)).tolist()
    assert np.isfinite(backwards).all()


def broken(client: int, shard: Shard) -> Shard:
    return Shard(x=shard.x[:, :2], y=shard.y) if client in (1, 40) else shard


def test_a_candidate_that_cannot_evaluate(tmp_path: Path):
    data = Tiny(50, broken)
    for policy in ("drop", "abort"):
        mine = run(tmp_path / policy, "uniform", data=data, failures={"client_error": policy})
        simulated = simulation(mine)
        state = simulated.start()
        evaluations: Evaluations = simulated.evaluations
        if policy == "drop":
            assert np.flatnonzero(np.isnan(evaluations.losses(state, np.arange(50)))).tolist() == [1, 40]
        else:
            with pytest.raises(ClientError, match=r"client 1 .*round 1"):
                evaluations.losses(state, np.arange(50))


@ALL
def test_each_plant_chooses_among_its_own_clients(tmp_path: Path, sampling: Any):
    """Twelve clients, four at each of three plants, of which two, one and one take part in a round."""
    mine = run(tmp_path, sampling, **PLANTS)
    found = mine.go().clients
    simulated = simulation(mine)
    simulated.start()
    shares = [selecting._wanted for selecting in selections(simulated)]
    for edge, clients in enumerate(simulated._rounds.tree.clients()):
        assert (found[found["client"].isin(clients)].groupby("round").size() == shares[edge]).all()
        assert len(next(iter(selections(simulated)[edge].memory.values()))) == len(clients)


def test_candidates_of_a_plant_evaluate_its_own_model(tmp_path: Path):
    mine = run(tmp_path, {"name": "power_of_choice", "loss": "evaluated"}, **PLANTS).go(rounds=3)
    simulated = simulation(mine)
    state, clients = simulated.start(), np.arange(12)
    by_edge = [simulated.evaluations.losses(state, clients, edge).tolist() for edge in range(3)]
    assert len({tuple(losses) for losses in by_edge}) == 3  # a round after the second, in which they met


@ALL
def test_with_devices_only_those_that_are_there_are_chosen(tmp_path: Path, sampling: Any):
    mine = run(tmp_path, sampling, **VIRTUAL)
    mine.go()
    devices = mine.plan.devices.build(12, 0)
    for record in mine.rounds:
        rows = mine.clients[mine.clients["round"] == record["round"]]
        there = devices.availability.there(np.arange(12), record["virtual"]["begin_s"])
        assert there[rows["client"].to_numpy()].all()
        assert len(rows) == min(6, there.sum())
    assert mine.status["state"] == "finished"


def test_quarantined_clients_are_not_chosen_again(tmp_path: Path):
    kill = {"kind": "kill", "clients": [0, 7], "every": 1, "repeat": True}
    mine = run(tmp_path, {"name": "power_of_choice", "ratio": 3}, faults=[kill], failures={"quarantine_after": 2})
    found = mine.go().clients
    assert (found["fate"] == "quarantined").sum() == 2
    assert found["client"].value_counts()[[0, 7]].tolist() == [1, 1]
    assert (found.groupby("round").size() == 4).all()
    read = simulation(mine)
    read.start()
    assert np.flatnonzero(selections(read)[0]._is_out).tolist() == [0, 7]


def test_the_next_cohort_is_chosen_beside_the_training_only_by_who_does_not_learn(tmp_path: Path):
    for sampling, beside in (("uniform", True), ("oort", False)):
        simulated = simulation(run(tmp_path / sampling, sampling))
        simulated._beside(1)
        assert (2 in simulated._chosen) == beside
