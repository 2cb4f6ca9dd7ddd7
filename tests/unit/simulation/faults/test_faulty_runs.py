"""Runs with faults on purpose, serially: what each policy makes of them, in bits, in the ledger and in the events."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plans import csv
from tiny_runs import Run, Tiny, crash_in

from fedray import experiment as experiments
from fedray.errors import ClientError, ConfigError, FedrayError, RoundFailed, UpdateRejected
from fedray.messages import Fault
from fedray.server.sampling import CohortConfig, choose
from fedray.simulation.backend import SerialBackend
from fedray.simulation.faults.event import FaultEvent, Note
from fedray.simulation.faults.kinds import STORAGE
from fedray.simulation.faults.plan import FaultPlan
from fedray.simulation.faults.settings import KINDS
from fedray.simulation.run import execute

LOSSES: dict[str, dict[str, Any]] = {
    "kill": {"at": "after"},
    "hang": {},
    "exhaust_memory": {"bytes": 10**9},
    "lose_result": {},
}
DELAYS: dict[str, dict[str, Any]] = {"slow": {"factor": 3, "seconds": 1}, "delay_result": {"seconds": 1}}
OF_THE_RUN: dict[str, dict[str, Any]] = {
    "kill_node": {},
    "kill_driver": {},
    "tracking_away": {"seconds": 1},
    "storage_full": {},
    "storage_error": {},
    "restart_control": {},
}
CLIENTS = [int(client) for client in range(12)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("undisturbed")).go()


def go(folder: Path, *faults: dict[str, Any], **more: Any) -> Run:
    return Run(folder, faults=list(faults), **more).go()


def events(run: Run) -> list[dict[str, Any]]:
    return run.folder.lines("faults")


def only_fates(record: dict[str, Any]) -> dict[str, int]:
    return {fate: num for fate, num in record["fates"].items() if num}


@pytest.mark.parametrize("kind", LOSSES)
def test_replaced_process_leaves_no_trace_in_the_result(tmp_path: Path, undisturbed: Run, kind: str):
    run = go(tmp_path, {"kind": kind, "blocks": 2, "every": 2, **LOSSES[kind]})
    assert run.digests == undisturbed.digests
    assert [only_fates(record) for record in run.rounds] == [{"ok": 6}, {"ok": 2, "retried": 4}] * 2
    assert set(run.clients.loc[run.clients["fate"] == "retried", "attempts"]) == {2}
    assert [record["metrics"] for record in run.rounds] == [record["metrics"] for record in undisturbed.rounds]
    assert [record["faults"] for record in run.rounds] == [0, 2, 0, 2]
    for event in events(run):
        assert (event["kind"], event["num_recomputed"]) == (kind, 2)
        assert event["injected_at"] <= event["detected_at"] <= event["recovered_at"]
        assert event["recomputed_s"] > 0
        assert event["cause"] == f"planned: {kind} {'after' if kind in ('kill', 'lose_result') else 'during'} training"


def test_every_process_of_every_round_lost_twice(tmp_path: Path, undisturbed: Run):
    both = {"blocks": 1.0, "every": 1}
    run = go(tmp_path, {"kind": "kill", **both}, {"kind": "hang", **both})
    assert run.digests == undisturbed.digests
    assert set(run.clients["attempts"]) == {3}
    assert set(run.clients["fate"]) == {"retried"}
    assert len(events(run)) == 4 * 3 * 2
    assert all(event["num_recomputed"] == 2 for event in events(run))


def test_moment_of_a_death_changes_nothing_where_clients_are_dropped(tmp_path: Path, undisturbed: Run):
    drop, kill = {"on_death": "drop"}, {"kind": "kill", "blocks": 1, "rounds": [2, 3]}
    runs = [go(tmp_path / at, {**kill, "at": at}, failures=drop) for at in ("before", "during", "after")]
    for run in runs:
        assert run.digests == runs[0].digests
        assert [only_fates(record) for record in run.rounds] == [{"ok": 6}, *[{"ok": 4, "dropped": 2}] * 2, {"ok": 6}]
    assert runs[0].digests[0] == undisturbed.digests[0]
    assert runs[0].digests[1] != undisturbed.digests[1]


def test_dropped_clients_count_nothing(tmp_path: Path):
    """The mean of the others, as if those had failed by themselves."""
    dropping = {"on_death": "drop", "client_error": "drop"}
    more = {"rounds": 1, "failures": dropping, "blocks": {"size": 1}}
    dropped = go(tmp_path / "a", {"kind": "kill", "clients": CLIENTS[:6], "rounds": [1]}, **more)
    failed = go(tmp_path / "b", {"kind": "exception", "clients": CLIENTS[:6], "rounds": [1]}, **more)
    assert dropped.digests == failed.digests
    out = dropped.clients[dropped.clients["fate"] == "dropped"]
    assert set(out["client"]) == set(dropped.clients["client"]) & set(CLIENTS[:6]) != set()
    assert set(out["cause"]) == {"planned: kill during training"}
    assert (out["examples"] == 0).all()
    assert out["loss"].isna().all()
    record = dropped.rounds[0]
    assert record["weight"] == record["examples"] == dropped.clients["examples"].sum()
    assert record["metrics"]["train/loss"] == failed.rounds[0]["metrics"]["train/loss"]


def test_abort_ends_the_run_with_a_sentence_and_a_record(tmp_path: Path):
    run = Run(tmp_path, faults=[{"kind": "hang", "block": 1, "rounds": [2]}], failures={"on_death": "abort"})
    sentence = r"^the training of block 1 in round 2 lost its actor \(planned: hang during training\); set failures"
    with pytest.raises(RoundFailed, match=sentence) as caught:
        run.go()
    assert run.status["state"] == "failed"
    assert run.status["error"] == str(caught.value)
    assert [(event["kind"], event["round"], event["recovered_at"]) for event in events(run)] == [("hang", 2, None)]


def test_error_with_its_faults_survives_pickling():
    fault = Fault(id=3, round=1, kind="kill_node", client=-1, block=-1, at="before")
    error = RoundFailed("it ends here", [FaultEvent.of(fault, "planned")])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.faults) == ("it ends here", error.faults)


def repeated(clients: list[int]) -> dict[str, Any]:
    return {"kind": "kill", "clients": clients, "every": 1, "repeat": True}


def test_client_that_always_kills_its_process_ends_the_run(tmp_path: Path):
    run = Run(tmp_path, faults=[repeated([3])], failures={"retries": 2}, cohort={"size": 12})
    with pytest.raises(RoundFailed, match=r"^the training of client 3 of block \d in round 1 lost its actor 3 times"):
        run.go()


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_quarantine_keeps_one_client_out_and_no_other(tmp_path: Path, size: int):
    """In this round and all later ones, whatever it is trained with; the others' mean is as if it had failed."""
    all_of_them = {"cohort": {"size": 12}, "blocks": {"size": size}}
    run = go(tmp_path / "a", repeated([3, 7]), failures={"quarantine_after": 2}, **all_of_them)
    failing = {"kind": "exception", "clients": [3, 7], "every": 1}
    assert run.digests == go(tmp_path / "b", failing, failures={"client_error": "drop"}, **all_of_them).digests
    clients = run.clients
    out = clients[clients["fate"] == "quarantined"]
    assert sorted(zip(out["round"], out["client"], strict=True)) == [(r, c) for r in (1, 2, 3, 4) for c in (3, 7)]
    assert set(out["cause"]) == {"2 actors died that trained it alone (planned: kill during training)"}
    assert (out.loc[out["round"] == 1, "attempts"] == (2 if size == 1 else 4)).all()
    assert (out.loc[out["round"] > 1, "attempts"] == 0).all()
    assert (out.loc[out["round"] > 1, "block"] == -1).all()
    assert (clients.loc[clients["round"] > 1, "fate"].isin(["ok", "quarantined"])).all()
    assert len(clients) == 4 * 12
    assert {event["cause"] for event in events(run) if event["round"] > 1} == {
        f"no target: client {client} is not in the blocks of round {round}" for client in (3, 7) for round in (2, 3, 4)
    }


def test_blocks_that_were_divided_have_indices_of_their_own(tmp_path: Path):
    """Client 3 divides its block into parts, whose indices no other block of the round may have."""
    seen: list[int] = []

    class Looking(SerialBackend):
        def run_cohort(self, parameters, blocks, on_report, beside, kept=None):
            result = super().run_cohort(parameters, blocks, on_report, beside, kept)
            seen.extend(result.partial.blocks)
            return result

    more = {"cohort": {"size": 12}, "blocks": {"size": 3}, "failures": {"quarantine_after": 2}}
    run = Run(tmp_path, faults=[repeated([3])], rounds=1, **more).go(backend=Looking)
    assert len(seen) == len(set(seen)) == 3 + 2
    assert only_fates(run.rounds[0]) == {"ok": 9, "retried": 2, "quarantined": 1}


@pytest.mark.parametrize("round", [2, 3, 4])
@pytest.mark.parametrize("every_s", [0, 1e6])
def test_quarantine_and_plan_survive_a_resume(tmp_path: Path, round: int, every_s: float):
    """On a pool of another size half of the actors is another number, but the plan is the one it began with."""
    more: dict[str, Any] = {
        "faults": [repeated([3, 7]), {"kind": "kill", "actors": 0.5, "every": 1}],
        "failures": {"quarantine_after": 2},
        "checkpoint": {"every_s": every_s},
    }
    small, large = {"backend": "serial", "num_actors": 2}, {"backend": "serial", "num_actors": 12}
    unbroken = Run(tmp_path / "a", actors=small, **more).go()
    with pytest.raises(MemoryError):
        Run(tmp_path / "b", actors=small, **more).go(backend=crash_in(round, block=0))
    resumed = Run(tmp_path / "b", actors=large, **more)
    assert resumed.plan.faults.columns["num"].max() == 6
    resumed.go()
    assert resumed.digests == unbroken.digests
    pd.testing.assert_frame_equal(resumed.clients, unbroken.clients)
    assert "quarantined" in set(unbroken.clients["fate"])
    kept = FaultPlan.load(tmp_path / "b")
    assert kept is not None
    assert kept.columns["num"].max() == 1


def test_whole_cohort_in_quarantine_ends_the_run(tmp_path: Path):
    run = Run(tmp_path, faults=[repeated(CLIENTS)], failures={"quarantine_after": 2}, cohort={"size": 12})
    with pytest.raises(RoundFailed, match=r"^round 1 has 0 usable updates of 12 clients \(12 quarantined\), and"):
        run.go()


def test_cohort_of_clients_in_quarantine_ends_the_run(tmp_path: Path):
    """The second part of the run chooses one client a round, and first the one that the first part put away."""
    bad = int(choose(CohortConfig(size=1), Tiny().sizes, 0, 2)[0])
    more: dict[str, Any] = {"failures": {"quarantine_after": 2}}
    run = Run(tmp_path, faults=[repeated([bad])], cohort={"size": 12}, **more).go(rounds=1)
    assert run.rounds[0]["fates"]["quarantined"] == 1
    with pytest.raises(RoundFailed, match="nobody is left to train in round 2: the whole cohort is quarantined"):
        Run(tmp_path, cohort={"size": 1}, **more).go()


def test_min_clients_ends_the_run_when_too_few_are_left(tmp_path: Path, undisturbed: Run):
    kill, drop = {"kind": "kill", "blocks": 1, "rounds": [2]}, {"on_death": "drop"}
    run = Run(tmp_path / "a", faults=[kill], failures={**drop, "min_clients": 5})
    sentence = (
        r"^round 2 has 4 usable updates of 6 clients \(2 dropped\), but failures.min_clients needs 5; "
        "set failures.on_death to replace, or lower failures.min_clients$"
    )
    with pytest.raises(RoundFailed, match=sentence):
        run.go()
    assert run.digests == undisturbed.digests[:1]
    assert len(go(tmp_path / "b", kill, failures={**drop, "min_clients": 4}).digests) == 4
    assert len(go(tmp_path / "c", kill, failures={**drop, "min_clients": 0.6}).digests) == 4
    resumed = Run(tmp_path / "a", faults=[kill], failures={"on_death": "replace", "min_clients": 5}).go()
    assert resumed.digests == undisturbed.digests


def test_min_clients_above_the_cohort_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^failures\.min_clients is 7, but a cohort has 6 clients; set"):
        Run(tmp_path, failures={"min_clients": 7})


@pytest.mark.parametrize("kind", [kind for kind in (*DELAYS, *OF_THE_RUN) if kind not in STORAGE])
def test_what_changes_no_result_is_recorded(tmp_path: Path, undisturbed: Run, kind: str):
    who = {"actors": 1} if kind in DELAYS else {}
    run = go(tmp_path, {"kind": kind, "rounds": [2], **who, **DELAYS.get(kind, OF_THE_RUN.get(kind, {}))})
    assert run.digests == undisturbed.digests
    pd.testing.assert_frame_equal(run.clients, undisturbed.clients)
    (event,) = events(run)
    assert (event["fault"], event["round"], event["kind"], event["injected_at"]) == (0, 2, kind, None)
    assert event["cause"].startswith(f"not carried out: {kind} ")


@pytest.mark.parametrize("kind", STORAGE)
def test_checkpoint_meets_a_storage_that_fails_and_the_run_goes_on(tmp_path: Path, undisturbed: Run, kind: str):
    run = go(tmp_path, {"kind": kind, "rounds": [2]}, checkpoint={"every_s": 0})
    assert run.digests == undisturbed.digests
    (event,) = events(run)
    assert (event["kind"], event["cause"]) == (kind, f"planned: {kind} at the next checkpoint")
    assert event["injected_at"] is not None
    with pytest.raises(FedrayError, match=r"round-0+\d+\.safetensors cannot be written"):
        go(tmp_path / "b", {"kind": kind, "rounds": [2]}, checkpoint={"every_s": 0, "on_error": "abort"})


def test_faults_of_the_run_are_carried_out_at_their_moment(tmp_path: Path):
    moments: list[tuple[str, int, list[str]]] = []

    class Telling(SerialBackend):
        def run_cohort(self, parameters, blocks, on_report, beside, kept=None):
            moments.append(("train", blocks[0].round, []))

            def look(report) -> None:
                on_report(report)
                if report.block == 1:
                    moments.append(("block", blocks[0].round, []))

            return super().run_cohort(parameters, blocks, look, beside, kept)

    def inject(fault: Fault, note: Note) -> None:
        moments.append((fault.at, fault.round, [path.name for path in tmp_path.glob("checkpoint/*.json")]))
        note(FaultEvent.of(fault, "done"))

    faults = [{"kind": "kill_driver", "rounds": [2], "at": at} for at in ("before", "during", "after")]
    run = Run(tmp_path, faults=faults, rounds=2, checkpoint={"every_s": 0}, evaluation={"every": 1})
    execute(
        plan=run.plan,
        data=run.data,
        backend=lambda: Telling(run.plan.workload, run.data, run.watch),
        folder=run.folder,
        watch=run.watch,
        inject=inject,
    )
    wanted = ["train 1", "block 1", "train 2", "before 2", "block 2", "during 2", "after 2"]
    assert [f"{what} {round}" for what, round, _ in moments] == wanted
    assert "round-00000002.json" not in moments[-1][2]
    assert [event["cause"] for event in events(run)] == ["done"] * 3


@pytest.mark.parametrize("at", ["before", "during", "after"])
@pytest.mark.parametrize("every_s", [0, 1e6])
def test_driver_that_is_killed_by_the_plan_is_killed_once(tmp_path: Path, undisturbed: Run, at: str, every_s: float):
    class Killed(BaseException):
        """As SIGKILL: nothing after it is run."""

    def kill(fault: Fault, note: Note) -> None:
        note(FaultEvent.of(fault, "killed"))
        raise Killed

    def start() -> Run:
        kills = {"kind": "kill_driver", "rounds": [2, 3], "at": at}
        run = Run(tmp_path, faults=[kills], checkpoint={"every_s": every_s})
        backend = lambda: SerialBackend(run.plan.workload, run.data, run.watch)  # noqa: E731
        execute(plan=run.plan, data=run.data, backend=backend, folder=run.folder, watch=run.watch, inject=kill)
        return run

    for _ in range(2):
        with pytest.raises(Killed):
            start()
    run = start()
    assert [(event["fault"], event["round"]) for event in events(run)] == [(0, 2), (1, 3)]
    assert run.digests == undisturbed.digests
    pd.testing.assert_frame_equal(run.clients, undisturbed.clients)


def test_client_in_no_cohort_is_no_target(tmp_path: Path, undisturbed: Run):
    cohort = set(undisturbed.clients.loc[undisturbed.clients["round"] == 1, "client"])
    absent = min(set(range(12)) - cohort)
    run = go(tmp_path, {"kind": "kill", "clients": [absent, min(cohort)], "rounds": [1]})
    assert run.digests == undisturbed.digests
    assert sorted(event["cause"] for event in events(run)) == [
        f"no target: client {absent} is not in the blocks of round 1",
        "planned: kill during training",
    ]


def test_injected_exceptions_are_the_clients_own_failures(tmp_path: Path):
    fault = {"kind": "exception", "fraction": 0.5, "rounds": [2]}
    with pytest.raises(ClientError, match=r"^client \d+ failed in round 2: InjectedFault: the training of"):
        go(tmp_path / "a", fault)
    run = go(tmp_path / "b", fault, failures={"client_error": "drop"})
    assert [only_fates(record) for record in run.rounds][1] == {"ok": 3, "failed": 3}
    failed = run.clients[run.clients["fate"] == "failed"]
    assert failed["cause"].str.startswith("InjectedFault: ").all()
    assert sorted(event["client"] for event in events(run)) == sorted(failed["client"])
    for client in failed["client"]:
        assert "InjectedFault" in (tmp_path / "b" / "errors" / f"round-2-client-{client}.txt").read_text()


@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
@pytest.mark.parametrize("how", ["nan", "inf", "bit_flip", "shape"])
def test_damaged_updates_are_refused_and_change_no_other(tmp_path: Path, how: str, engine: str):
    more: dict[str, Any] = {"training": {"batch_size": 3, "engine": engine}, "rounds": 2, "blocks": {"size": 3}}
    damage = {"kind": "corrupt", "how": how, "fraction": 0.34, "every": 1}
    with pytest.raises(UpdateRejected, match=r"^the update of client \d+ in round 1 was rejected: "):
        go(tmp_path / "a", damage, **more)
    run = go(tmp_path / "b", damage, failures={"rejected_update": "drop"}, **more)
    assert only_fates(run.rounds[0]) == {"ok": 4, "rejected": 2}
    failing = {"kind": "exception", "fraction": 0.34, "every": 1}
    assert run.digests == go(tmp_path / "c", failing, failures={"client_error": "drop"}, **more).digests
    assert {event["cause"] for event in events(run)} == set(run.clients.loc[run.clients["fate"] == "rejected", "cause"])


def test_damage_that_fits_the_sum_goes_unnoticed(tmp_path: Path, undisturbed: Run):
    """As in reality: a flipped low bit of the exponent is no reason to refuse an update, and changes the model."""
    run = go(tmp_path, {"kind": "corrupt", "how": "bit_flip", "bit": 23, "fraction": 0.2, "rounds": [1]})
    assert run.digests[0] != undisturbed.digests[0]
    assert only_fates(run.rounds[0]) == {"ok": 6}
    assert [event["cause"] for event in events(run)] == ["it changed no fate"]


def test_same_plan_whatever_the_number_of_actors(tmp_path: Path):
    """Numbers of actors; a part of the actors is another number on another pool."""
    kills = [{"kind": "kill", "actors": 2, "every": 2}, {"kind": "hang", "clients": CLIENTS, "rate": 0.2}]
    more: dict[str, Any] = {"failures": {"on_death": "drop"}, "blocks": {"size": 1}}
    one = go(tmp_path / "a", *kills, **more, actors={"backend": "serial", "num_actors": 1})
    many = go(tmp_path / "b", *kills, **more, actors={"backend": "serial", "clients_per_actor": 1})
    assert "dropped" in set(one.clients["fate"])
    assert one.digests == many.digests
    pd.testing.assert_frame_equal(one.clients, many.clients)
    assert (one.plan.num_actors, many.plan.num_actors) == (1, 12)


def test_placement_gives_the_number_of_actors(tmp_path: Path):
    run = Run(tmp_path, faults=[{"kind": "kill", "actors": 0.5, "every": 1}])
    assert run.plan.num_actors == 1
    placed = experiments.with_actors(run.experiment, run.plan, 8)
    assert (placed.num_actors, placed.faults.columns["num"].tolist()) == (8, [4] * 4)


def test_table_of_faults_in_a_run(tmp_path: Path, undisturbed: Run):
    run = go(tmp_path / "run", csv(tmp_path, "round,kind,block,at\n1,kill,0,before\n1,kill,2,\n3,lose_result,1,\n"))
    assert run.digests == undisturbed.digests
    assert [(event["round"], event["kind"], event["block"]) for event in events(run)] == [
        (1, "kill", 0),
        (1, "kill", 2),
        (3, "lose_result", 1),
    ]


def test_every_kind_can_stand_in_an_experiment_file(tmp_path: Path):
    needs = {**LOSSES, **DELAYS, **OF_THE_RUN, "corrupt": {"how": "nan"}}
    faults = [
        {"kind": kind, "rounds": [1], **({} if kind in OF_THE_RUN else {"clients": [1]}), **needs.get(kind, {})}
        for kind in KINDS
    ]
    run = Run(tmp_path, faults=faults)
    assert run.plan.faults.columns["kind"].tolist() == list(KINDS)
    dumped = experiments.Experiment.model_validate(run.experiment.model_dump(mode="json"))
    assert dumped == run.experiment


def test_quiet_run_writes_nothing_of_faults(undisturbed: Run):
    assert not list(undisturbed.folder.path.glob("faults*"))
    assert np.isfinite([record["metrics"]["train/loss"] for record in undisturbed.rounds]).all()
