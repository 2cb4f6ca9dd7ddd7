"""How many clients take part in a round, and how they are chosen.

Shapes: N clients in the population, K in the cohort.
"""

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from fedray.config import Config
from fedray.errors import ConfigError
from fedray.messages import Ints
from fedray.server.selection import AnySelection
from fedray.server.selection.base import Candidates
from fedray.server.selection.uniform import Uniform


class CohortConfig(Config):
    """How many clients take part in a round, and how they are chosen."""

    size: Annotated[int, Field(ge=1)] | None = None
    """Clients in a round."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Clients in a round as a part of the population, instead of a size; 0.1 where neither is given."""
    sampling: AnySelection = Uniform()
    """Who they are: uniform, without_replacement, weighted, power_of_choice, oort, fair or tifl."""

    @model_validator(mode="after")
    def _size_or_fraction(self) -> "CohortConfig":
        if self.size is not None and self.fraction is not None:
            raise ValueError(f"size is {self.size} and fraction is {self.fraction}; set only one of them")
        return self

    def resolve(self, num_clients: int) -> int:
        """Clients in a round, for a population of `num_clients`.

        Raises:
            ConfigError: The cohort is larger than the population.
        """
        if self.size is None:
            return max(1, round((0.1 if self.fraction is None else self.fraction) * num_clients))
        if self.size > num_clients:
            raise ConfigError(
                f"cohort.size is {self.size}, but the population has only {num_clients} clients; "
                f"set cohort.size to at most {num_clients}"
            )
        return self.size


def choose(config: CohortConfig, sizes: Ints, seed: int, round: int) -> Ints:
    """The cohort of a round by one who knows nothing of the rounds before, as sorted client ids, shape (K,).

    Args:
        config: How to choose.
        sizes: Examples of each client, shape (N,).
        seed: The experiment's seed.
        round: Round number, from 1.
    """
    size, sampling = config.resolve(len(sizes)), config.sampling
    everybody = Candidates(clients=np.arange(len(sizes)), sizes=sizes, wanted=size, seed=seed, round=round)
    return np.sort(sampling.select(everybody, sampling.start(len(sizes))))
