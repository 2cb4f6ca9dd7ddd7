"""Run-to-failure series: operating regimes, scaling by training rows, and windows over each engine's cycles.

Shapes: M cycles of all engines together, E engines, R regimes, S sensors, W windows, T cycles of a window.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from fedray.messages import Array, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The cycles of many engines, in order of engine and cycle.

    Attributes:
        engine: Engine index of each row, int64, shape (M,), ascending.
        settings: Operating settings, shape (M, 3).
        sensors: Readings, shape (M, S).
    """

    engine: Ints
    settings: Array
    sensors: Array

    @property
    def num_engines(self) -> int:
        """Number of engines."""
        return int(self.engine[-1]) + 1

    @property
    def lengths(self) -> Ints:
        """Cycles of each engine, shape (E,)."""
        return np.bincount(self.engine)

    def rul_to_last(self) -> Ints:
        """Cycles from each row to the last row of its engine, shape (M,): 0 at failure."""
        return (np.cumsum(self.lengths) - 1)[self.engine] - np.arange(len(self.engine))

    def with_sensors(self, sensors: Array) -> Self:
        """The same cycles with other readings."""
        return replace(self, sensors=sensors)


def find_regimes(settings: Array) -> tuple[Ints, Array]:
    """Operating regimes of training rows.

    C-MAPSS flies at a few set points with a little jitter; the first and third setting (altitude in kft, throttle
    resolver angle in degrees), rounded to whole numbers, tell them apart.

    Returns:
        The regime of each row, shape (M,), and the mean settings of each regime, shape (R, 3).
    """
    points = np.round(settings[:, [0, 2]])
    regimes = np.unique(points, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    counts = np.bincount(regimes)
    sums = [np.bincount(regimes, weights=column) for column in settings.T]
    return regimes, np.stack(sums, axis=1) / counts[:, None]


def nearest_regime(settings: Array, centres: Array) -> Ints:
    """The training regime nearest to each row's settings, shape (M,)."""
    return ((settings[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Standardises readings by regime.

    Attributes:
        mean: Shape (R, S).
        deviation: Shape (R, S); 1 where a sensor is constant in a regime.
        varies: Whether a sensor varies within any regime, shape (S,).
    """

    mean: Array
    deviation: Array
    varies: Array

    @classmethod
    def fit(cls, sensors: Array, regimes: Ints, how: Literal["none", "global", "regime"]) -> Self:
        """Statistics of training rows alone."""
        num_regimes = int(regimes.max()) + 1
        groups = [sensors[regimes == r] for r in range(num_regimes)]
        constant = [g.std(axis=0) <= 1e-6 * np.maximum(1.0, np.abs(g.mean(axis=0))) for g in groups]
        shape = (num_regimes, sensors.shape[1])
        if how == "none":
            mean, deviation = np.zeros(shape), np.ones(shape)
        elif how == "global":
            mean, deviation = (
                np.tile(sensors.mean(axis=0), (num_regimes, 1)),
                np.tile(sensors.std(axis=0), (num_regimes, 1)),
            )
            deviation = np.where(deviation <= 1e-6 * np.maximum(1.0, np.abs(mean)), 1.0, deviation)
        else:
            mean = np.stack([g.mean(axis=0) for g in groups])
            deviation = np.where(constant, 1.0, np.stack([g.std(axis=0) for g in groups]))
        return cls(mean=mean, deviation=deviation, varies=~np.all(constant, axis=0))

    def apply(self, sensors: Array, regimes: Ints) -> Floats:
        """Standardised readings, float32, shape (M, S)."""
        return ((sensors - self.mean[regimes]) / self.deviation[regimes]).astype(np.float32)


def windows(engines: Engines, length: int, stride: int) -> tuple[Floats, Ints]:
    """All windows of every engine, counted back from its last cycle, so that the failure itself is always seen.

    Args:
        engines: Cycles, readings of shape (M, S).
        length: Cycles of a window, T; an engine with fewer gives one window, its first row repeated in front.
        stride: Cycles between windows.

    Returns:
        Windows, float32, shape (W, S, T), and the row where each one ends, shape (W,), ascending.
    """
    stops = np.cumsum(engines.lengths)
    starts = stops - engines.lengths
    ends = [
        np.arange(stop - 1, min(start + length - 1, stop - 1) - 1, -stride)[::-1]
        for start, stop in zip(starts, stops, strict=True)
    ]
    last = np.concatenate(ends).astype(np.int64)
    return _cut(engines, last, length), last


def last_windows(engines: Engines, length: int) -> Floats:
    """The last window of every engine, float32, shape (E, S, T)."""
    return _cut(engines, np.cumsum(engines.lengths) - 1, length)


def _cut(engines: Engines, ends: Ints, length: int) -> Floats:
    first = (np.cumsum(engines.lengths) - engines.lengths)[engines.engine[ends]]
    rows = np.maximum(ends[:, None] + np.arange(1 - length, 1), first[:, None])
    return np.ascontiguousarray(engines.sensors[rows].transpose(0, 2, 1), dtype=np.float32)
