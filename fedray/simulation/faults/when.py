"""In which rounds a fault is due: settings, and the rounds, from the seed by integers alone."""

from collections.abc import Generator
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from fedray import seeds
from fedray.config import Config

_WAYS = ("rounds", "every", "rate", "mean_rounds")


class When(Config):
    """When a fault is due: exactly one of rounds, every, rate and mean_rounds."""

    rounds: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """These rounds; those after the last round never come."""
    every: Annotated[int, Field(ge=1)] | None = None
    """Every so many rounds."""
    first: Annotated[int, Field(ge=1)] | None = None
    """With every: the first of these rounds; null: the first multiple."""
    last: Annotated[int, Field(ge=1)] | None = None
    """With every: no round after this one; null: to the end."""
    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """Each round with this probability; where there are several targets, each of them in each round."""
    mean_rounds: Annotated[float, Field(ge=0.1)] | None = None
    """Mean number of rounds between two faults, with exponential gaps: the mean time between failures."""

    @model_validator(mode="after")
    def _one_of_all(self) -> "When":
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            what = " and ".join(given) + " are all set" if given else "nothing says when it is due"
            raise ValueError(f"{what}; set exactly one of {', '.join(_WAYS)}")
        if self.every is None and (self.first is not None or self.last is not None):
            raise ValueError("first and last go with every; set every, or remove them")
        return self

    def due(self, seed: int, row: int, num_rounds: int) -> list[int]:
        """The rounds in which it is due; a round comes twice where mean_rounds says so.

        With `rate` it is every round: what is hit is drawn for each target.

        Args:
            seed: The experiment's seed.
            row: Position among the fault settings: each has its own randomness.
            num_rounds: Rounds of training; more rounds change nothing in the first ones.
        """
        if self.rounds is not None:
            return sorted({round for round in self.rounds if round <= num_rounds})
        if self.every is not None:
            last = num_rounds if self.last is None else min(self.last, num_rounds)
            return list(range(self.first or self.every, last + 1, self.every))
        if self.mean_rounds is not None:
            return list(_failures(self.mean_rounds, seed, row, num_rounds))
        return list(range(1, num_rounds + 1))


def _failures(mean_rounds: float, seed: int, row: int, num_rounds: int) -> Generator[int]:
    """The rounds in which failures with exponential gaps fall."""
    over, under = mean_rounds.as_integer_ratio()
    elapsed, number = 0, 0  # elapsed is in means, with 64 bits behind the point
    while True:
        number += 1
        elapsed += _exponential(seed, row, number)
        round = -(-elapsed * over // (under << 64))
        if round > num_rounds:
            return
        yield max(1, round)


def _exponential(seed: int, row: int, number: int) -> int:
    """An exponential number of mean 1 with 64 bits behind the point, by comparing integers alone.

    John von Neumann, Various techniques used in connection with random digits, 1951: of falling runs of uniform
    numbers, the first number of a run of odd length is the fraction, and the runs of even length before it are the
    whole part.
    """
    key = seeds.keys(seed, f"fault {row} gap", 0, [number])
    whole = 0
    while True:
        draws = seeds.words(seeds.split(key, whole), 64)[0]
        rises = np.flatnonzero(draws[1:] >= draws[:-1])
        length = int(rises[0]) + 1 if len(rises) else len(draws)
        if length % 2:
            return (whole << 64) + int(draws[0])
        whole += 1
