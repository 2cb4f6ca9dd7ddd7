"""Whole runs on the serial backend."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import Run, Tiny

from fedray import api
from fedray.aggregation.ring import Ring
from fedray.client.host import Alone, Host
from fedray.client.sequential import SequentialEngine
from fedray.config import parse
from fedray.errors import ClientError, ConfigError, UpdateRejected
from fedray.experiment import Experiment
from fedray.messages import Block, Shard
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.server.sampling import choose
from fedray.simulation.backend import SerialBackend
from fedray.simulation.evaluation import spread
from fedray.simulation.watch import Watch


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("reference")).go()


def test_same_seed_same_digest_other_seed_another(tmp_path: Path, reference: Run):
    assert Run(tmp_path / "a").go().digests == reference.digests
    assert not set(Run(tmp_path / "b", seed=1).go().digests) & set(reference.digests)
    assert len(set(reference.digests)) == 4


@pytest.mark.parametrize("size", [1, 5, 6, "auto"])
def test_block_size_changes_no_digest_of_the_sequential_engine(tmp_path: Path, reference: Run, size: int | str):
    run = Run(tmp_path, blocks={"size": size}).go()
    assert run.digests == reference.digests
    columns = ["round", "client", "fate", "examples", "steps", "loss"]
    assert run.clients[columns].equals(reference.clients[columns])


@pytest.mark.parametrize("holdout", [0.0, 0.5, 0.9])
def test_holdout(tmp_path: Path, holdout: float):
    run = Run(tmp_path, evaluation={"holdout": holdout, "clients": "all", "clients_every": 2}).go(rounds=2)
    trained = dict(run.clients[["client", "examples"]].drop_duplicates().to_numpy().tolist())
    evaluated = run.evaluated.set_index("client")["examples"]
    assert len(evaluated) == 12
    for client, examples in trained.items():
        size = int(run.data.sizes[client])
        assert 1 <= examples <= size
        assert evaluated[client] == (size - examples if holdout else size)


def test_one_round_equals_federated_averaging_written_by_hand(tmp_path: Path):
    run = Run(tmp_path, rounds=1, strategy="fedavg", evaluation={"holdout": 0.0}).go()
    plan, workload = run.plan, run.plan.workload
    module = build(workload.model, workload.spec, workload.seed)
    start = Layout(module).flatten(module)
    engine = SequentialEngine(module, workload.task, workload.training, workload.seed)
    total, examples = np.zeros(len(start)), 0
    for client in choose(plan.cohort, run.data.sizes, workload.seed, 1).tolist():
        shard = run.data.shard(client)
        total += engine.train(start, [shard], 1, np.array([client])).delta[0].double().numpy() * len(shard)
        examples += len(shard)
    saved = run.folder.path / "checkpoint" / "round-00000001.safetensors"
    from safetensors.numpy import load_file

    np.testing.assert_allclose(load_file(saved)["parameters"], start.numpy() + total / examples, rtol=0, atol=1e-7)
    assert run.rounds[0]["weight"] == run.rounds[0]["examples"] == examples


def test_every_round_and_client_has_one_fate(reference: Run):
    clients = reference.clients
    assert len(clients) == 4 * 6
    assert not clients.duplicated(["round", "client"]).any()
    assert set(clients["fate"]) == {"ok"}
    assert (clients["attempts"] == 1).all()
    for record in reference.rounds:
        assert sum(record["fates"].values()) == record["cohort"] == 6


def test_global_state_of_torch_is_left_alone(tmp_path: Path):
    torch.manual_seed(5)
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    Run(tmp_path, threads=threads + 1, baselines={"central": True}).go(rounds=2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)


def test_state_of_torch_has_no_influence(tmp_path: Path, reference: Run):
    torch.manual_seed(123)
    np.random.seed(5)
    assert Run(tmp_path).go().digests == reference.digests


def raising(client: int, shard: Shard) -> Shard:
    if client % 4 == 3:
        raise ValueError("the sensor is gone\nsince monday")
    return shard


def nan(client: int, shard: Shard) -> Shard:
    return Shard(x=np.full_like(shard.x, np.nan), y=shard.y) if client % 4 == 3 else shard


def test_client_that_raises_is_named(tmp_path: Path):
    run = Run(tmp_path, data=Tiny(spoil=raising), cohort={"fraction": 1.0})
    with pytest.raises(ClientError, match=r"client 3 failed in round 1: ValueError: the sensor is gone$"):
        run.go()
    assert run.status["state"] == "failed"
    assert run.status["error"] == "client 3 failed in round 1: ValueError: the sensor is gone"
    assert "since monday" in (tmp_path / "errors" / "round-1-client-3.txt").read_text()


def test_client_that_raises_is_dropped_and_changes_nothing_else(tmp_path: Path):
    run = Run(tmp_path, data=Tiny(spoil=raising), cohort={"fraction": 1.0}, failures={"client_error": "drop"})
    run.go(rounds=2)
    clients = run.clients
    assert set(clients.loc[clients["fate"] == "failed", "client"]) == {3, 7, 11}
    assert (clients.loc[clients["fate"] == "failed", "examples"] == 0).all()
    for record in run.rounds:
        assert record["fates"] == {
            "ok": 9,
            "failed": 3,
            **dict.fromkeys(("retried", "rejected", "dropped", "quarantined"), 0),
        }
        assert record["weight"] == record["examples"]
        assert np.isfinite(record["metrics"]["train/loss"])


def test_client_that_cannot_evaluate_is_named_or_left_out(tmp_path: Path):
    class Half(Tiny):
        def shard(self, client: int) -> Shard:
            return raising(client, super().shard(client)) if client not in chosen else super().shard(client)

    more = {"rounds": 1, "evaluation": {"clients": "all"}}
    chosen = set(Run(tmp_path / "a", **more).go().clients["client"])
    run = Run(tmp_path / "b", data=Half(), **more)
    first = min({3, 7, 11} - chosen)
    with pytest.raises(ClientError, match=f"client {first} failed in round 1: ValueError: the sensor is gone"):
        run.go()
    run = Run(tmp_path / "c", data=Half(), failures={"client_error": "drop"}, **more).go()
    assert set(run.evaluated["client"]) == set(range(12)) - ({3, 7, 11} - chosen)
    assert (tmp_path / "c" / "errors" / f"round-1-client-{first}.txt").exists()


def test_update_of_nan_is_rejected_with_its_client(tmp_path: Path):
    run = Run(tmp_path / "a", data=Tiny(spoil=nan), cohort={"fraction": 1.0})
    with pytest.raises(
        UpdateRejected, match="the update of client 3 in round 1 was rejected: it holds NaN or infinite"
    ):
        run.go()
    drop = {"rejected_update": "drop"}
    run = Run(tmp_path / "b", data=Tiny(spoil=nan), cohort={"fraction": 1.0}, failures=drop).go(rounds=2)
    assert run.rounds[1]["fates"] == {
        "ok": 9,
        "rejected": 3,
        **dict.fromkeys(("retried", "failed", "dropped", "quarantined"), 0),
    }
    dropped = Run(
        tmp_path / "c", data=Tiny(spoil=raising), cohort={"fraction": 1.0}, failures={"client_error": "drop"}
    ).go(rounds=2)
    assert run.digests == dropped.digests  # whatever the reason, the others' mean is the same


def test_update_too_large_says_how_large(tmp_path: Path):
    run = Run(
        tmp_path, training={"optimizer": {"name": "sgd", "lr": 1e9}, "batch_size": None}, ring={"fraction_bits": 52}
    )
    with pytest.raises(UpdateRejected, match=r"a parameter changed by .*e\+0\d, but at most .* fits the sum"):
        run.go()


def test_nobody_left_ends_the_run(tmp_path: Path):
    def all_of_them(client: int, shard: Shard) -> Shard:
        raise OSError("no network")

    run = Run(tmp_path, data=Tiny(spoil=all_of_them), failures={"client_error": "drop"})
    with pytest.raises(ClientError, match=r"OSError: no network \(and no client of the cohort has a usable update\)"):
        run.go()


def test_uniform_weighting_counts_clients(tmp_path: Path):
    assert Run(tmp_path, training={"weighting": "uniform"}).go(rounds=1).rounds[0]["weight"] == 6


def host(run: Run) -> Host:
    return Host(run.plan.workload, run.data)


def test_blocks_on_several_hosts_make_the_same_sum(tmp_path: Path):
    run = Run(tmp_path)
    module = build(run.plan.workload.model, run.plan.workload.spec, 0)
    parameters = Layout(module).flatten(module).numpy()
    blocks = [Block(round=1, index=i, start=2 * i, clients=np.array([2 * i, 2 * i + 1]), work=1.0) for i in range(4)]
    one = host(run)
    for b in blocks:
        one.train(parameters, [b])
    first, second = host(run), host(run)
    for target, i in ((first, 3), (second, 0), (second, 2), (first, 1)):
        target.train(parameters, [blocks[i]])
    (alone,), (merged,) = one.collect(1), first.merge(second.collect(1), first.collect(1))
    assert np.array_equal(alone.total, merged.total)
    assert alone.blocks == merged.blocks == (0, 1, 2, 3)
    assert (alone.weight, alone.num_updates) == (merged.weight, merged.num_updates)
    one.train(parameters, [blocks[2]])
    with pytest.raises(ValueError, match="block 2 is already in the sum"):
        one.train(parameters, [blocks[2]])


def test_sum_of_a_round_does_not_reach_into_the_next(tmp_path: Path):
    run = Run(tmp_path)
    one, module = host(run), build(run.plan.workload.model, run.plan.workload.spec, 0)
    parameters = Layout(module).flatten(module).numpy()
    block = Block(round=1, index=0, start=0, clients=np.array([1]), work=1.0)
    one.train(parameters, [block])
    one.train(parameters, [Block(round=2, index=0, start=0, clients=np.array([1, 2]), work=1.0)])
    assert one.collect(1) == ()
    one.train(parameters, [Block(round=3, index=0, start=0, clients=np.array([1, 2]), work=1.0)])
    assert one.collect(3)[0].num_updates == 2
    assert one.collect(3) == ()


class Accuracy:
    """As far as `spread` asks."""

    headline, higher_is_better = "accuracy", True


class Error:
    headline, higher_is_better = "rmse", False


def test_spread_over_clients():
    values = np.arange(20.0)[::-1].copy()
    values = np.append(values, [np.nan, np.inf])
    wanted = {"mean": 9.5, "p10": 1.9, "p50": 9.5, "p90": 17.1, "worst10": 0.5}
    assert spread(Accuracy(), values) == pytest.approx({f"clients/accuracy_{k}": v for k, v in wanted.items()})
    assert spread(Error(), values)["clients/rmse_worst10"] == 18.5
    assert spread(Error(), np.array([3.0]))["clients/rmse_worst10"] == 3.0
    assert spread(Error(), np.array([np.nan])) == {}


def test_clients_evaluate_the_model_of_the_round(tmp_path: Path):
    run = Run(tmp_path, evaluation={"clients": "all", "clients_every": 2, "holdout": 0.0, "every": 3}).go()
    assert run.evaluated["round"].tolist() == [2] * 12 + [4] * 12
    last = run.evaluated[run.evaluated["round"] == 4]
    rows = last.set_index("client")
    assert rows["examples"].tolist() == run.data.sizes.tolist()
    np.testing.assert_allclose(rows["accuracy"], rows["correct"] / rows["examples"])
    metrics = run.rounds[3]["metrics"]
    assert metrics["clients/accuracy"] == pytest.approx(rows["correct"].sum() / rows["examples"].sum())
    assert metrics["clients/accuracy_p50"] == pytest.approx(float(np.quantile(rows["accuracy"], 0.5)))
    assert metrics["clients/accuracy_worst10"] == rows["accuracy"].min()
    assert [round["round"] for round in run.rounds if "test/loss" in round["metrics"]] == [3, 4]


def test_test_set_is_evaluated_as_a_whole_whatever_the_batch(tmp_path: Path):
    whole = Run(tmp_path / "a").go(rounds=2).rounds[1]["metrics"]
    parts = Run(tmp_path / "b", evaluation={"clients": 5, "clients_every": 2, "holdout": 0.25, "batch_size": 7})
    for name, value in parts.go(rounds=2).rounds[1]["metrics"].items():
        assert value == pytest.approx(whole[name], rel=1e-6)


def test_baselines(tmp_path: Path):
    run = Run(tmp_path, baselines={"central": True, "local": True, "local_clients": 3, "epochs": 5}).go(rounds=2)
    found = run.folder.summary()["baselines"]
    assert set(found) == {"central", "local"}
    names = {name for name in run.rounds[-1]["metrics"] if name.startswith("test/")}
    assert set(found["central"]) == set(found["local"]) == names
    assert found["central"]["test/accuracy"] > found["local"]["test/accuracy"]
    assert run.digests == Run(tmp_path / "b").go(rounds=2).digests


def test_central_baseline_is_one_client_with_all_examples(tmp_path: Path):
    run = Run(tmp_path, evaluation={"holdout": 0.0})
    module = build(run.plan.workload.model, run.plan.workload.spec, 0)
    start = Layout(module).flatten(module).numpy()
    backend = SerialBackend(run.plan.workload, run.data, Watch())
    two = backend.ask("train_alone", start, [Alone(clients=np.array([1, 2]), epochs=2)] * 2).wait()
    assert two[0].stats["loss_sum"] == two[1].stats["loss_sum"]
    backend.close()


def test_epochs_of_the_baselines_are_those_of_a_client_in_the_federation(tmp_path: Path):
    from fedray.simulation.baselines import epochs

    def of(name: str, **more) -> int:
        run = Run(tmp_path / name, **more)
        return epochs(run.plan, run.data.sizes)

    assert of("a", training={"epochs": 3}) == 6  # 4 rounds x 6 of 12 clients x 3 epochs
    assert of("b", baselines={"epochs": 2}) == 2
    assert of("c", rounds=1) == 1
    assert of("d", training={"steps": 100, "batch_size": 1}) == round(2 * np.mean(100 / (4 + np.arange(12) % 5)))
    assert of("e", training={"steps": 3, "batch_size": None}) == 6


def test_cohort_larger_than_the_population_is_refused_before_anything_starts(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cohort\.size is 13, but the population has only 12 clients"):
        Run(tmp_path, cohort={"size": 13})


def test_ring_of_the_plan_holds_a_whole_cohort(tmp_path: Path):
    assert Run(tmp_path).plan.workload.ring == Ring(fraction_bits=30, cohort=6)


def settings(runs: Path, **more) -> Experiment:
    data = {"name": "fleet", "machines": 6, "rows": 10, "features": 3, "test_machines": 1}
    actors, tracking = {"backend": "serial"}, {"enabled": False}
    return parse(
        Experiment,
        {"data": data, "rounds": 3, "cohort": {"size": 3}, "actors": actors, "tracking": tracking, "runs": str(runs)}
        | more,
    )


def test_run_and_resume_from_python(tmp_path: Path):
    short = api.run(settings(tmp_path / "a", rounds=2))
    assert short.state == "finished"
    longer = api.resume(short.folder, ["rounds=3"])
    events = []
    whole = api.run(settings(tmp_path / "b"), on_event=events.append)
    assert longer.digest == whole.digest
    assert len(whole.history) == 3
    assert len(whole.clients) == 9
    assert {"folder", "block", "round", "starting"} <= {event.kind for event in events}
    with pytest.raises(ConfigError, match="has finished its 3 rounds; to go on, raise rounds: -s rounds=6"):
        api.resume(whole.folder)
    with pytest.raises(ConfigError, match="seed may not change in a resumed run"):
        api.resume(whole.folder, ["seed=3"])


def test_error_of_the_one_who_watches_stops_the_run(tmp_path: Path):
    def watcher(event) -> None:
        if event.kind == "round":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        api.run(settings(tmp_path, rounds=100_000), on_event=watcher)
    folder = next(tmp_path.iterdir())
    result = api.Result(folder)
    assert result.state == "interrupted"
    assert 0 < len(result.history) < 100_000
