"""Settings of local training, and the order of its batches."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from fedray import seeds
from fedray.client.optimizers import AnyOptimizer, Sgd
from fedray.config import Config
from fedray.messages import Ints


class TrainingConfig(Config):
    """What each client of a cohort does with the parameters it receives."""

    engine: Literal["auto", "sequential", "vectorised"] = "auto"
    """How a block trains: one client after another, or all as one stacked problem; auto chooses by the model."""
    optimizer: AnyOptimizer = Sgd()
    """Local optimizer."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Passes over the client's shard in one round."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps in one round, instead of epochs."""
    batch_size: Annotated[int, Field(ge=1)] | None = 32
    """Examples in one step; null takes the whole shard at once. The last batch of an epoch may be shorter."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest L2 norm of the gradient of one step; null does not clip."""
    proximal: Annotated[float, Field(ge=0)] = 0.0
    """FedProx's mu: pull towards the round's parameters (Li et al. 2020, https://arxiv.org/abs/1812.06127)."""
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The learning rate is multiplied by this after every round."""
    weighting: Literal["examples", "uniform"] = "examples"
    """Weight of a client's update in the mean: its number of examples (n_k/n), or one for each client."""

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> "TrainingConfig":
        if self.steps is not None and self.epochs != 1:
            raise ValueError(f"epochs is {self.epochs} and steps is {self.steps}; set only one of them")
        return self

    def lr(self, round: int) -> float:
        """Learning rate of a round, from 1."""
        return self.optimizer.lr * self.lr_decay ** (round - 1)

    def num_steps(self, num_examples: int) -> int:
        """Optimizer steps of one round on a shard of this size."""
        if self.steps is not None:
            return self.steps
        return self.epochs * -(-num_examples // self.effective_batch(num_examples))

    def passes(self, num_examples: float) -> float:
        """Examples that a client of this size trains on in a round, each counted as often as it is seen."""
        if self.steps is None:
            return self.epochs * num_examples
        return self.steps * min(self.batch_size or num_examples, num_examples)

    def effective_batch(self, num_examples: int) -> int:
        """Examples in a full batch of a shard of this size."""
        return min(self.batch_size or num_examples, num_examples)


def batches(training: TrainingConfig, num_examples: int, seed: int, round: int, client: int) -> list[Ints]:
    """The batches of one client's round, as positions in its shard.

    Every epoch is a fresh random order of the whole shard, a function of (seed, round, client, epoch) alone.

    Returns:
        One array of positions a step.
    """
    size = training.effective_batch(num_examples)
    steps_per_epoch = -(-num_examples // size)
    num_steps = training.num_steps(num_examples)
    num_epochs = -(-num_steps // steps_per_epoch)
    chosen: list[Ints] = []
    for epoch in range(num_epochs):
        key = seeds.keys(seed, f"batches of epoch {epoch}", round, client)
        order = seeds.permutations(key, num_examples)[0]
        chosen.extend(order[i : i + size] for i in range(0, num_examples, size))
    return chosen[:num_steps]


def weights_of(training: TrainingConfig, sizes: Ints) -> Ints:
    """Weights of clients in the mean, shape (C,): their examples, or one each."""
    return sizes if training.weighting == "examples" else np.ones_like(sizes)
