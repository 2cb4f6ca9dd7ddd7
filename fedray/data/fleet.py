"""A fleet of machines whose data is generated from the machine's id: a million machines need no storage.

Shapes: C machines, N examples of a machine, F sensors, T cycles of a window.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from fedray import seeds
from fedray.data.base import FederatedData, GeneratedDataConfig
from fedray.data.machines import Design, Series, design, simulate
from fedray.messages import Array, DataSpec, Floats, Ints, Joined, Shard


class Fleet(GeneratedDataConfig):
    """Machines that run to failure under changing regimes, each with its own wear, offsets and mix of regimes.

    Consecutive examples are consecutive cycles. After a failure the machine is repaired and wears anew; a window may
    reach back over a repair.
    """

    name: Literal["fleet"] = "fleet"
    machines: PositiveInt = 1000
    """Clients."""
    rows: PositiveInt | tuple[PositiveInt, PositiveInt] = 100
    """Examples of each machine, or [least, most] to draw the number for each machine."""
    features: PositiveInt = 32
    """Sensors."""
    window: PositiveInt = 1
    """Cycles of an example: 1 gives examples of shape (features,), more gives (features, window)."""
    regimes: PositiveInt = 4
    """Operating regimes of the fleet."""
    noise: NonNegativeFloat = 0.7
    """Deviation of the sensor noise; the regimes' levels differ by about 1."""
    target: Literal["failure", "fault", "rul"] = "failure"
    """Failure within `horizon` cycles (two classes), the fault mode (healthy and `fault_modes` more), or remaining
    useful life in cycles."""
    horizon: PositiveInt = 20
    """Target failure: cycles that count as failing soon. A share of about horizon / life of all examples does."""
    life: PositiveInt = 200
    """Mean cycles from repair to failure; a machine's own life differs by up to 40 % times `heterogeneity`."""
    rul_cap: PositiveFloat | None = 125.0
    """Target rul: remaining lives are at most this, in cycles; null leaves them uncapped."""
    fault_modes: PositiveInt = 3
    """Kinds of faults."""
    fault_rate: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05
    """Probability that a fault is present in an episode of ten cycles."""
    heterogeneity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """How different the machines are in life, wear, offsets and mix of regimes: 0 alike, 1 very different."""
    test_machines: NonNegativeInt = 100
    """Machines beyond the population whose examples make the central test set; 0 for none."""

    @model_validator(mode="after")
    def _check(self) -> "Fleet":
        if isinstance(self.rows, tuple) and self.rows[0] > self.rows[1]:
            raise ValueError(f"rows is {list(self.rows)}, but must be [least, most]; change rows")
        if self.horizon >= self.life:
            raise ValueError(f"horizon is {self.horizon}, but must be less than life, {self.life}; change horizon")
        return self

    @property
    def max_rows(self) -> int:
        """Most examples that a machine can have."""
        return self.rows[1] if isinstance(self.rows, tuple) else self.rows

    def load(self, seed: int) -> "FleetData":
        """The fleet; nothing is computed but the sizes."""
        return FleetData(self, seed)

    def spec(self) -> DataSpec:
        """Shapes and task."""
        features = (self.features,) if self.window == 1 else (self.features, self.window)
        names = tuple(f"sensor{f + 1}" for f in range(self.features))
        if self.target == "rul":
            scale = self.rul_cap or float(self.life)
            return DataSpec(
                features=features, task="regression", num_outputs=1, target_scale=scale, feature_names=names
            )
        classes = ("healthy", f"fails within {self.horizon} cycles")
        if self.target == "fault":
            classes = ("healthy", *(f"fault {k + 1}" for k in range(self.fault_modes)))
        return DataSpec(
            features=features,
            task="classification",
            num_outputs=len(classes),
            feature_names=names,
            class_names=classes,
        )


class FleetData(FederatedData):
    """The data of a fleet, generated when asked for.

    Args:
        config: The fleet's settings.
        seed: The experiment's seed.
    """

    def __init__(self, config: Fleet, seed: int) -> None:
        self.config, self.seed, self.spec = config, seed, config.spec()
        self.sizes = self._sizes(np.arange(config.machines))
        self._design: Design = design(
            seed=seed,
            features=config.features,
            regimes=config.regimes,
            fault_modes=config.fault_modes,
            noise=config.noise,
            life=config.life,
            fault_rate=config.fault_rate,
            heterogeneity=config.heterogeneity,
        )

    def _sizes(self, machines: Ints) -> Ints:
        rows = self.config.rows
        if not isinstance(rows, tuple):
            return np.full(len(machines), rows, dtype=np.int64)
        drawn = seeds.uniforms(seeds.keys(self.seed, "fleet sizes", 0, machines), 1)[:, 0]
        return rows[0] + np.floor(drawn * (rows[1] - rows[0] + 1)).astype(np.int64)

    def generate(self, clients: ArrayLike, rows: int | None = None) -> tuple[Floats, Array]:
        """The first examples of many machines at once.

        Args:
            clients: Machine ids, shape (C,).
            rows: Examples of each, N; None means the most that a machine can have, whatever its own size.

        Returns:
            Features, float32, (C, N, F) or (C, N, F, T); labels int64 or targets float32, (C, N).
        """
        num = self.config.max_rows if rows is None else rows
        window = self.config.window
        series = simulate(self._design, clients, num + window - 1)
        x = series.readings
        if window > 1:
            x = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(x, window, axis=1))
        return x, self._targets(series)[:, window - 1 :]

    def _targets(self, series: Series) -> Array:
        if self.config.target == "failure":
            return (series.rul <= self.config.horizon).astype(np.int64)
        if self.config.target == "fault":
            return series.fault
        return np.minimum(series.rul, self.config.rul_cap or np.inf).astype(np.float32)

    def shard(self, client: int) -> Shard:
        x, y = self.generate([client], int(self.sizes[client]))
        return Shard(x=x[0], y=np.ascontiguousarray(y[0]))

    def shards(self, clients: Ints) -> list[Shard]:
        sizes = self.sizes[clients]
        x, y = self.generate(clients, int(sizes.max(initial=1)))
        return [Shard(x=x[i, :n], y=y[i, :n]) for i, n in enumerate(sizes)]

    def joined(self, clients: Ints) -> Joined:
        sizes = self.sizes[clients]
        x, y = self.generate(clients, int(sizes.max(initial=1)))
        rows = np.flatnonzero(np.arange(x.shape[1]) < sizes[:, None])
        return Joined(x=x.reshape(-1, *x.shape[2:]), y=y.reshape(-1), rows=rows, sizes=sizes)

    def test(self) -> Shard | None:
        if not self.config.test_machines:
            return None
        first = self.config.machines
        x, y = self.generate(np.arange(first, first + self.config.test_machines))
        return Shard(x=x.reshape(-1, *self.spec.features), y=y.reshape(-1))
