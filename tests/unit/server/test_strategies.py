"""Two steps of every strategy, against numbers worked out by hand from its paper."""

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.experiment import Experiment, build_data, build_plan, build_strategy
from fedray.server.strategies import STRATEGIES
from fedray.server.strategies.fedadagrad import FedAdagrad
from fedray.server.strategies.fedadam import FedAdam
from fedray.server.strategies.fedavg import FedAvg
from fedray.server.strategies.fedavgm import FedAvgM
from fedray.server.strategies.fedprox import FedProx
from fedray.server.strategies.fedyogi import FedYogi
from fedray.server.strategy import ImportedStrategy, Strategy, advance, begin

DELTAS = (np.array([0.5, -1.0, 0.0]), np.array([-0.25, -1.0, 2.0]))
START = np.array([1.0, 2.0, 3.0])


def two_steps(strategy: Strategy) -> list[list[float]]:
    weights, slots = START, strategy.start(START)
    found = []
    for delta in DELTAS:
        weights, slots = strategy.step(weights, delta, slots)
        found.append(weights.tolist())
    return found


def test_fedavg_of_two_clients_is_the_mean_weighted_by_examples():
    old, first, second = np.array([1.0, 2.0]), np.array([2.0, 2.0]), np.array([5.0, -2.0])
    mean = (30 * (first - old) + 10 * (second - old)) / 40
    state = advance(FedAvg(), begin(FedAvg(), old.astype(np.float32), 2), mean, 2)
    assert state.parameters.tolist() == [30 / 40 * 2 + 10 / 40 * 5, 30 / 40 * 2 - 10 / 40 * 2]


def test_fedavg():
    assert two_steps(FedAvg()) == [[1.5, 1.0, 3.0], [1.25, 0.0, 5.0]]
    assert two_steps(FedAvg(lr=0.5)) == [[1.25, 1.5, 3.0], [1.125, 1.0, 4.0]]


def test_fedprox_steps_as_fedavg():
    assert two_steps(FedProx(lr=0.5)) == two_steps(FedAvg(lr=0.5))


def test_fedavgm():
    # v1 = delta1; v2 = 0.5 v1 + delta2
    assert two_steps(FedAvgM(lr=1, momentum=0.5)) == [[1.5, 1.0, 3.0], [1.5, -0.5, 5.0]]
    assert two_steps(FedAvgM(lr=2, momentum=0.0)) == two_steps(FedAvg(lr=2))


def by_hand(v1: list[float], v2: list[float], beta1: float, lr: float, tau: float) -> list[list[float]]:
    """Reddi et al. 2021, algorithm 2, lines 11 to 15, one coordinate at a time; v is worked out by the caller."""
    steps = [[], []]
    for i in range(3):
        m1 = (1 - beta1) * float(DELTAS[0][i])
        m2 = beta1 * m1 + (1 - beta1) * float(DELTAS[1][i])
        w1 = float(START[i]) + lr * m1 / (sqrt(v1[i]) + tau)
        steps[0].append(w1)
        steps[1].append(w1 + lr * m2 / (sqrt(v2[i]) + tau))
    return steps


def test_fedadagrad():
    # v0 = tau^2 = 0.01; v += delta^2
    wanted = by_hand([0.26, 1.01, 0.01], [0.3225, 2.01, 4.01], beta1=0.0, lr=0.1, tau=0.1)
    np.testing.assert_allclose(two_steps(FedAdagrad(lr=0.1, tau=0.1)), wanted, rtol=1e-14)


def test_fedadam():
    # v = 0.5 v + 0.5 delta^2
    wanted = by_hand([0.13, 0.505, 0.005], [0.09625, 0.7525, 2.0025], beta1=0.75, lr=0.1, tau=0.1)
    np.testing.assert_allclose(two_steps(FedAdam(lr=0.1, tau=0.1, beta1=0.75, beta2=0.5)), wanted, rtol=1e-14)


def test_fedyogi():
    # v = v - 0.5 delta^2 sign(v - delta^2): 0.01 + 0.125, 0.01 + 0.5, 0.01; then 0.135 - 0.03125, 0.51 + 0.5, 0.01 + 2
    wanted = by_hand([0.135, 0.51, 0.01], [0.10375, 1.01, 2.01], beta1=0.75, lr=0.1, tau=0.1)
    np.testing.assert_allclose(two_steps(FedYogi(lr=0.1, tau=0.1, beta1=0.75, beta2=0.5)), wanted, rtol=1e-14)


@pytest.mark.parametrize("name", list(STRATEGIES.options))
def test_step_changes_nothing_in_place(name: str):
    strategy = STRATEGIES.options[name]()
    weights, delta, slots = START.copy(), DELTAS[0].copy(), strategy.start(START)
    for array in (weights, delta, *slots.values()):
        array.flags.writeable = False
    _, after = strategy.step(weights, delta, slots)
    assert after.keys() == slots.keys()
    assert all(slot.shape in ((3,), ()) and slot.dtype == np.float64 for slot in after.values())


def test_buffers_are_averaged_and_not_stepped():
    strategy = FedAdam(lr=10.0)
    state = begin(strategy, np.array([1, 2, 3, 4], np.float32), 2)
    assert all(slot.shape == (2,) for slot in state.slots.values())
    after = advance(strategy, state, np.array([0.5, 0.5, 0.25, -1.0]), 2)
    assert after.parameters[2:].tolist() == [3.25, 3.0]
    assert after.parameters.dtype == np.float32
    assert after.round == 1
    assert state.parameters.tolist() == [1, 2, 3, 4]


def experiment(**more) -> Experiment:
    data = {"name": "fleet", "machines": 4, "rows": 10, "features": 3, "test_machines": 1}
    return parse(Experiment, {"data": data, **more})


def test_mu_of_fedprox_reaches_the_clients():
    chosen = experiment(strategy={"name": "fedprox", "mu": 0.3})
    assert build_plan(chosen, build_data(chosen)).workload.training.proximal == 0.3
    chosen = experiment(training={"proximal": 0.2})
    assert build_plan(chosen, build_data(chosen)).workload.training.proximal == 0.2


MODULE = """
from typing import Literal
import numpy as np
from fedray.server.strategy import Strategy

class Named(Strategy):
    name: Literal["named"] = "named"
    factor: float = 1.0

    @property
    def client_proximal(self):
        return 0.125

    def step(self, weights, delta, slots):
        return weights + self.factor * delta, slots

class Unnamed(Strategy):
    factor: float = 1.0

    def start(self, weights):
        return {"rounds": np.zeros(())}

    def step(self, weights, delta, slots):
        return weights + self.factor * delta, {"rounds": slots["rounds"] + 1}

def function():
    pass
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_strategies_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_strategies_of_a_user"


@pytest.mark.parametrize("name", ["Named", "Unnamed"])
def test_strategy_of_a_user(user_module: str, name: str):
    chosen = experiment(strategy={"name": f"{user_module}:{name}", "args": {"factor": 2.0}})
    assert isinstance(chosen.strategy, ImportedStrategy)
    strategy = build_strategy(chosen)
    assert two_steps(strategy) == two_steps(FedAvg(lr=2)) == two_steps(chosen.strategy)
    assert chosen.strategy.client_proximal == strategy.client_proximal == (0.125 if name == "Named" else 0)


def test_wrong_strategy_of_a_user_is_one_sentence(user_module: str):
    for setting, text in [
        ({"name": f"{user_module}:function"}, "is no subclass of fedray.Strategy; change strategy.name"),
        ({"name": f"{user_module}:Missing"}, "cannot be imported"),
        ({"name": f"{user_module}:Named", "args": {"facto": 2}}, "strategy.args: unknown key 'facto'"),
        ({"name": f"{user_module}:Named", "args": {"factor": "x"}}, "strategy.args: factor is 'x'"),
    ]:
        with pytest.raises(ConfigError, match=text):
            build_strategy(experiment(strategy=setting))
