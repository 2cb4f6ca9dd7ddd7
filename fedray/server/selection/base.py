"""Who is chosen for a round: candidates and memory in, clients out.

A selection is a pure function. What it has learnt from earlier rounds is a value, its memory, which follows from the
ledger alone: a run that goes on reads the ledger once more and knows what it knew.

Shapes: N clients of the population, M candidates, K that are wanted, S clients of a round.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedray.config import Config
from fedray.messages import Array, Floats, Ints

Memory = dict[str, Array]
"""What a selection remembers between rounds: name to an array of shape (N,), or of a few numbers."""
Losses = Callable[[Ints], Array]
"""Asks clients for the present model's mean loss on their own examples; NaN where one has none to tell."""


def nobody_asked(clients: Ints) -> Array:
    """The losses where clients are never asked."""
    return np.full(len(clients), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """From whom to choose in a round.

    Attributes:
        clients: Client ids, sorted, shape (M,).
        sizes: Training examples of each, shape (M,).
        wanted: How many to choose, K, at most M.
        seed: The experiment's seed.
        round: Round number, from 1.
        duration_s: Virtual seconds from sending the model to each until its update is there, by its profile, shape
            (M,); None where no devices are simulated.
        losses: Asks some of them for the present model's loss.
    """

    clients: Ints
    sizes: Ints
    wanted: int
    seed: int
    round: int
    duration_s: Array | None = None
    losses: Losses = nobody_asked

    def take(self, places: Array) -> "Candidates":
        """Some of them, by position or mask."""
        return Candidates(
            clients=self.clients[places],
            sizes=self.sizes[places],
            wanted=self.wanted,
            seed=self.seed,
            round=self.round,
            duration_s=None if self.duration_s is None else self.duration_s[places],
            losses=self.losses,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of those that were chosen, by the ledger.

    Attributes:
        round: Round number, from 1.
        clients: Client ids, shape (S,).
        sizes: Training examples of each, shape (S,).
        reported: Whose updates counted, shape (S,).
        loss: Mean training loss of each, float32 as in the ledger; NaN where it did not report, shape (S,).
        wanted: Updates that a round wants, K.
    """

    round: int
    clients: Ints
    sizes: Ints
    reported: NDArray[np.bool_]
    loss: Floats
    wanted: int


class Selection(Config, ABC):
    """Settings of a selection; also its arithmetic.

    Attributes:
        learns: Whether a choice depends on the rounds before; then it is made when the ledger of the last is closed.
    """

    learns: ClassVar[bool] = False
    name: str

    def start(self, num_clients: int, duration_s: Array | None = None) -> Memory:
        """What is remembered before the first round.

        Args:
            num_clients: N.
            duration_s: How long each device takes for a round, shape (N,); None where no devices are simulated.
        """
        return {}

    @abstractmethod
    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        """As many client ids as are wanted, nobody twice, in any order, shape (K,)."""

    def note(self, memory: Memory, outcome: Outcome) -> Memory:
        """What to remember after a round; nothing is changed in place."""
        return memory
