"""Faults of clients: really carried out, the same in both engines, and nothing else changes by a bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedray.client.block import BlockTraining
from fedray.client.faults import ClientFaults
from fedray.client.host import Host
from fedray.config import parse
from fedray.data.base import FederatedData
from fedray.errors import InjectedFault
from fedray.experiment import Experiment, build_plan
from fedray.messages import Block, BlockReport, DataSpec, Fault, Partial, Shard
from fedray.models.base import Layout
from fedray.models.table import build

CLIENTS = np.array([4, 0, 7, 2])


class Few(FederatedData):
    def __init__(self) -> None:
        self.spec, self.sizes = DataSpec(features=(3,), task="classification", num_outputs=2), 4 + np.arange(8) % 3

    def shard(self, client: int) -> Shard:
        draw = np.random.default_rng(client)
        x = draw.normal(size=(int(self.sizes[client]), 3)).astype(np.float32)
        return Shard(x=x, y=(x[:, 0] > 0).astype(np.int64))

    def test(self) -> Shard | None:
        return None


def fault(client: int, kind: str = "corrupt", how: str = "", amount: float = 0, round: int = 1) -> Fault:
    return Fault(id=6, round=round, kind=kind, client=client, block=0, at="after", how=how, amount=amount)


def block(*faults: Fault, clients: np.ndarray = CLIENTS, index: int = 0) -> Block:
    return Block(round=1, index=index, start=0, clients=clients, work=1.0, faults=faults)


def train(engine: str, *blocks: Block) -> tuple[list[BlockReport], Partial]:
    settings = {
        "model": {"name": "mlp", "hidden": [5]},
        "training": {"batch_size": 2, "engine": engine},
        "cohort": {"size": 8},
        "actors": {"backend": "serial"},
    }
    plan = build_plan(parse(Experiment, settings), Few())
    assert plan.workload.engine.name == engine
    host = Host(plan.workload, Few())
    module = build(plan.workload.model, plan.workload.spec, 0)
    reports = host.train(Layout(module).flatten(module).numpy(), blocks).reports
    (total,) = host.collect(1)
    return reports, total


ENGINES = pytest.mark.parametrize("engine", ["sequential", "vectorised"])
SPOILT = [
    (fault(7, "exception"), "failed", "InjectedFault: the training of client 7 fails as fault 6 says"),
    (fault(7, how="nan"), "rejected", "it holds NaN or infinite values"),
    (fault(7, how="inf"), "rejected", "it holds NaN or infinite values"),
    (fault(7, how="bit_flip", amount=30), "rejected", "a parameter changed by "),
    (fault(7, how="shape"), "rejected", "it holds 31 parameters, but the model has 32"),
]


@ENGINES
@pytest.mark.parametrize(("wrong", "fate", "cause"), SPOILT, ids=lambda value: getattr(value, "how", None))
def test_client_is_refused_and_no_other_changes_by_a_bit(engine: str, wrong: Fault, fate: str, cause: str):
    (spoilt,), total = train(engine, block(wrong))
    (whole,), _ = train(engine, block())
    _, without = train(engine, block(clients=CLIENTS[CLIENTS != 7]))
    assert np.array_equal(total.total, without.total)
    assert (total.weight, total.num_updates) == (without.weight, 3)
    assert list(spoilt.failures) == [7]
    assert spoilt.failures[7].fate == fate
    assert spoilt.failures[7].cause.startswith(cause)
    assert bool(spoilt.failures[7].details) == (fate == "failed")
    others = CLIENTS != 7
    for name in ("client", "examples", "loss", "steps"):
        assert np.array_equal(spoilt.columns[name][others], whole.columns[name][others])
    assert spoilt.columns["examples"][2] == 0
    assert np.isnan(spoilt.columns["loss"][2])


@ENGINES
def test_all_clients_of_a_block_can_be_spoilt(engine: str):
    hows = ("nan", "shape", "inf", "shape")
    (report,), total = train(engine, block(*(fault(c, how=h) for c, h in zip(CLIENTS.tolist(), hows, strict=True))))
    assert sorted(report.failures) == sorted(CLIENTS)
    assert (total.weight, total.num_updates) == (0, 0)
    assert not total.total.any()


@ENGINES
def test_faults_hit_their_client_in_whatever_company_it_is_trained(engine: str):
    """Blocks trained together, and one client of a block by itself."""
    faults = (fault(7, how="nan"), fault(0, "exception"))
    first, second = block(*faults, clients=CLIENTS[:2]), block(*faults, clients=CLIENTS[2:], index=1)
    (one, other), total = train(engine, first, replace(second, start=2))
    assert (list(one.failures), list(other.failures)) == ([0], [7])
    _, whole = train(engine, block(*faults))
    assert np.array_equal(total.total, whole.total)
    (alone,), _ = train(engine, block(*faults, clients=np.array([7])))
    (untouched,), _ = train(engine, block(*faults, clients=np.array([4])))
    assert (list(alone.failures), list(untouched.failures)) == ([7], [])


def test_both_engines_flip_the_same_bit():
    """A sign: it fits the sum, and both engines have a changed total of which only one parameter differs."""
    for engine in ("sequential", "vectorised"):
        _, flipped = train(engine, block(fault(7, how="bit_flip", amount=31)))
        _, whole = train(engine, block())
        assert flipped.weight == whole.weight
        places = np.flatnonzero(flipped.total != whole.total)
        assert len(places) == 1
        delta = torch.zeros(1, 32)
        ClientFaults([block(fault(7, how="nan"))], 0).damage(np.array([7]), delta)
        assert places[0] == int(delta.isnan().nonzero()[0, 1])


@pytest.mark.parametrize("bit", range(32))
def test_exactly_one_bit_flips(bit: int):
    before = torch.randn(3, 9, generator=torch.Generator().manual_seed(1))
    after = before.clone()
    faults = ClientFaults([block(fault(0, how="bit_flip", amount=bit))], 5)
    assert faults.damage(np.array([4, 0, 7]), after) == {}
    changed = (before.view(torch.int32) ^ after.view(torch.int32)).numpy().view(np.uint32)
    assert changed[[0, 2]].sum() == 0
    assert sorted(changed[1].tolist()) == [0] * 8 + [1 << bit]


@pytest.mark.parametrize("how", ["nan", "inf"])
def test_exactly_one_parameter_is_damaged_drawn_for_each_round_and_client(how: str):
    places = set()
    for round in range(1, 9):
        for client in (3, 5):
            delta = torch.ones(1, 50)
            faults = ClientFaults([block(fault(client, how=how, round=round))], 5)
            assert faults.damage(np.array([client]), delta) == {}
            assert int((~delta.isfinite()).sum()) == 1
            places.add(int((~delta.isfinite()).nonzero()[0, 1]))
    assert len(places) > 8


def test_wrong_shape_is_given_back_apart():
    delta = torch.arange(12.0).view(3, 4)
    resized = ClientFaults([block(fault(0, how="shape"))], 5).damage(np.array([4, 0, 7]), delta)
    assert {row: update.tolist() for row, update in resized.items()} == {1: [4.0, 5.0, 6.0]}
    assert torch.equal(delta, torch.arange(12.0).view(3, 4))


def test_only_the_client_itself_raises():
    faults = ClientFaults([block(fault(7, "exception"))], 5)
    faults.check(np.array([4, 0]))
    with pytest.raises(InjectedFault, match=r"^the training of client 7 fails as fault 6 says$"):
        faults.check(CLIENTS)


@ENGINES
@pytest.mark.parametrize("faults", [(), (fault(7, "kill"), fault(0, "slow"))])
def test_blocks_without_faults_of_clients_are_not_looked_at(
    engine: str, faults: tuple[Fault, ...], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*args: object) -> None:
        raise AssertionError("looked at")

    for cls, name in ((ClientFaults, "check"), (ClientFaults, "damage"), (BlockTraining, "_damaged")):
        monkeypatch.setattr(cls, name, refuse)
    (report,), total = train(engine, block(*faults))
    assert report.failures == {}
    assert total.num_updates == 4
