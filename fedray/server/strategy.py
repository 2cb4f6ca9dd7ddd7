"""The server side of an algorithm: state in, aggregate in, state out.

Shapes: P parameters, T of them trainable (the rest are frozen tensors and buffers, which every strategy replaces by
their mean).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from fedray.config import Config, load_object, parse
from fedray.errors import ConfigError
from fedray.messages import Array, Floats
from fedray.models.tensors import as_tensor

Slots = dict[str, Array]
"""What a strategy remembers between rounds: name to a float64 array of shape (T,) or ()."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeState:
    """A server below the cloud, between two rounds.

    Attributes:
        parameters: float32, shape (P,).
        slots: What its strategy remembers.
        weight: What went into its model since its last report: the sum of the weights of updates.
    """

    parameters: Floats
    slots: Slots = field(default_factory=dict[str, Array])
    weight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """The federation between two rounds.

    Attributes:
        round: Rounds done.
        parameters: float32, shape (P,).
        slots: What the strategy remembers.
        past: Parameters after earlier rounds, by their number, that clients still start from.
        kept: What clients keep between their rounds, shape (P,) each, by their ids.
        below: The servers of each level of a hierarchy, that of the clients first; or the one level of FedAT's tiers.
    """

    round: int
    parameters: Floats
    slots: Slots = field(default_factory=dict[str, Array])
    past: dict[int, Floats] = field(default_factory=dict[int, Floats])
    kept: dict[int, Floats] = field(default_factory=dict[int, Floats])
    below: tuple[tuple[EdgeState, ...], ...] = ()


class Strategy(Config, ABC):
    """Settings of a strategy; also its arithmetic."""

    name: str

    @property
    def client_proximal(self) -> float:
        """FedProx's mu, which clients add to their loss; 0 for every other strategy."""
        return 0.0

    def start(self, weights: Array) -> Slots:
        """What is remembered before the first round, for weights of shape (T,)."""
        return {}

    @abstractmethod
    def step(self, weights: Array, delta: Array, slots: Slots) -> tuple[Array, Slots]:
        """One server step.

        Args:
            weights: Trainable parameters, float64, shape (T,).
            delta: Weighted mean of the clients' changes, float64, shape (T,).
            slots: What was remembered.

        Returns:
            New weights and what to remember; nothing is changed in place.
        """


class ImportedStrategy(Strategy):
    """A strategy of the user's own: `name: my_pkg.strategies:Mine`, a subclass of `Strategy`."""

    name: str
    args: dict[str, Any] = {}
    """Settings of the imported strategy."""

    def resolve(self) -> Strategy:
        """The imported strategy with its settings.

        Raises:
            ConfigError: It cannot be imported, or is no Strategy.
        """
        found = load_object(self.name, "strategy.name")
        if not (isinstance(found, type) and issubclass(found, Strategy)):
            raise ConfigError(
                f"strategy.name is {self.name!r}, which is no subclass of fedray.Strategy; change strategy.name"
            )
        named = found.model_fields["name"].is_required()
        return parse(found, {"name": self.name, **self.args} if named else self.args, "strategy.args")

    @property
    def client_proximal(self) -> float:
        return self.resolve().client_proximal

    def start(self, weights: Array) -> Slots:
        return self.resolve().start(weights)

    def step(self, weights: Array, delta: Array, slots: Slots) -> tuple[Array, Slots]:
        return self.resolve().step(weights, delta, slots)


def begin(strategy: Strategy, parameters: Floats, num_trainable: int) -> ServerState:
    """The state before the first round."""
    slots = strategy.start(parameters[:num_trainable].astype(np.float64))
    return ServerState(round=0, parameters=parameters, slots=slots)


def advance(strategy: Strategy, state: ServerState, delta: Array, num_trainable: int) -> ServerState:
    """The state after a round.

    Args:
        strategy: What to do with the mean.
        state: Before the round.
        delta: Weighted mean of the clients' changes, float64, shape (P,).
        num_trainable: T.
    """
    before = as_tensor(state.parameters).double().numpy()
    weights, slots = strategy.step(before[:num_trainable], delta[:num_trainable], state.slots)
    parameters = np.empty_like(state.parameters)
    torch.from_numpy(parameters[:num_trainable]).copy_(torch.from_numpy(np.ascontiguousarray(weights)))
    parameters[num_trainable:] = before[num_trainable:] + delta[num_trainable:]
    return replace(state, round=state.round + 1, parameters=parameters, slots=slots)
