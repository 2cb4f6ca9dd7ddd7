"""A simulated fleet of machines: run-to-failure sensor series, any part of which can be computed from the machine's id.

A machine runs, wears, fails, is repaired and runs again. A reading of sensor f in cycle t is

    level[regime, f] + offset[machine, f] + gain[machine] * wear_effect[regime, f] * wear^4 + fault effect + noise

with wear = age / life. The sign and size of the wear effect depend on the regime, as for controlled quantities, so
that a linear model sees little of it. Everything is drawn from the integer streams of `fedray.seeds` and computed
with additions, multiplications and divisions alone, element by element: a machine's readings are the same bits in any
batch and on any machine that computes them.

Shapes: C machines, S cycles, F sensors, R regimes, K fault modes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedray import seeds
from fedray.messages import Array, Floats, Ints

_EPISODE_CYCLES = 10
_CHUNK_VALUES = 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What all machines of the fleet have in common.

    Attributes:
        seed: The experiment's seed.
        level: Reading of a new machine, shape (R, F).
        wear_effect: Change of the reading from new to failed, shape (R, F).
        fault_effect: Change of the reading under each fault mode, shape (K, F).
        noise: Deviation of the sensor noise.
        life: Mean cycles from repair to failure.
        fault_rate: Probability that a fault is present in an episode of ten cycles.
        heterogeneity: How different the machines are, in [0, 1].
    """

    seed: int
    level: Floats
    wear_effect: Floats
    fault_effect: Floats
    noise: float
    life: int
    fault_rate: float
    heterogeneity: float

    @property
    def num_features(self) -> int:
        """Number of sensors."""
        return self.level.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What happened to some machines.

    Attributes:
        readings: float32, shape (C, S, F).
        rul: Cycles left before the failure, int64, shape (C, S): 0 in the last cycle of a life.
        fault: Fault mode, int64, shape (C, S): 0 healthy, else 1 to K.
        regime: Operating regime, int64, shape (C, S).
    """

    readings: Floats
    rul: Ints
    fault: Ints
    regime: Ints


def design(
    *,
    seed: int,
    features: int,
    regimes: int,
    fault_modes: int,
    noise: float,
    life: int,
    fault_rate: float,
    heterogeneity: float,
) -> Design:
    """Draws the fleet's common properties from the seed."""

    def draw(purpose: str, rows: int) -> Floats:
        return seeds.bells(seeds.keys(seed, f"fleet {purpose}", 0, np.arange(rows)), features)

    common, own = draw("common wear", 1), draw("wear", regimes)
    return Design(
        seed=seed,
        level=draw("levels", regimes),
        wear_effect=(np.float32(0.3) * common + np.float32(0.9) * own).astype(np.float32),
        fault_effect=(np.float32(0.5) * draw("faults", fault_modes)).astype(np.float32),
        noise=noise,
        life=life,
        fault_rate=fault_rate,
        heterogeneity=heterogeneity,
    )


def simulate(fleet: Design, machines: ArrayLike, cycles: int) -> Series:
    """The first cycles of some machines.

    Args:
        fleet: What they have in common.
        machines: Machine ids, shape (C,).
        cycles: Number of cycles, S; more cycles begin with the same ones.
    """
    ids = np.atleast_1d(np.asarray(machines, dtype=np.int64))
    step = max(1, _CHUNK_VALUES // (cycles * fleet.num_features))
    readings = np.empty((len(ids), cycles, fleet.num_features), dtype=np.float32)
    rul, fault, regime = (np.empty((len(ids), cycles), dtype=np.int64) for _ in range(3))
    for start in range(0, len(ids), step):
        part = slice(start, start + step)
        life, age, gain = _lives(fleet, ids[part], cycles)
        rul[part] = life - 1 - age
        regime[part] = _regimes(fleet, ids[part], cycles)
        fault[part] = _faults(fleet, ids[part], cycles)
        wear = ((age + 1) / life).astype(np.float32)
        worn: Floats = (gain * (wear * wear) * (wear * wear)).astype(np.float32)
        _read(fleet, ids[part], worn, regime[part], fault[part], readings[part])
    return Series(readings=readings, rul=rul, fault=fault, regime=regime)


def _keys(fleet: Design, purpose: str, machines: Ints) -> seeds.Words:
    return seeds.keys(fleet.seed, f"fleet {purpose}", 0, machines)


def _lives(fleet: Design, machines: Ints, cycles: int) -> tuple[Ints, Ints, Floats]:
    """Life in cycles (C, 1), age in each cycle (C, S), and how strongly wear shows (C, 1)."""
    keys = _keys(fleet, "lives", machines)
    drawn = seeds.uniforms(keys, 2)
    spread = 0.4 * fleet.heterogeneity * (2.0 * drawn[:, :1] - 1.0)
    life = np.maximum(np.floor(fleet.life * (1.0 + spread) + 0.5), 1.0).astype(np.int64)
    first = np.floor(drawn[:, 1:] * life).astype(np.int64)
    age = (first + np.arange(cycles)) % life
    shown = seeds.bells(_keys(fleet, "gains", machines), 1)
    return life, age, np.float32(1.0) + np.float32(0.25 * fleet.heterogeneity) * shown


def _regimes(fleet: Design, machines: Ints, cycles: int) -> Ints:
    """The regime of each cycle (C, S), from the machine's own mix: even, or mostly a few regimes."""
    drawn = seeds.uniforms(_keys(fleet, "mix", machines), len(fleet.level))
    peaked = drawn * drawn * drawn * drawn
    weights = (1.0 - fleet.heterogeneity) + fleet.heterogeneity * 8.0 * peaked * peaked
    bounds = np.cumsum(weights, axis=1)
    ticket = seeds.uniforms(_keys(fleet, "regimes", machines), cycles) * bounds[:, -1:]
    regime = np.zeros(ticket.shape, dtype=np.int64)
    for r in range(bounds.shape[1] - 1):
        regime += ticket >= bounds[:, r : r + 1]
    return regime


def _faults(fleet: Design, machines: Ints, cycles: int) -> Ints:
    """The fault mode of each cycle (C, S): one draw for each episode of ten cycles."""
    num_episodes = -(-cycles // _EPISODE_CYCLES)
    drawn = seeds.uniforms(_keys(fleet, "episodes", machines), num_episodes)
    modes = np.zeros(drawn.shape, dtype=np.int64)
    if fleet.fault_rate > 0.0:
        num_modes = len(fleet.fault_effect)
        mode = 1 + np.minimum(np.floor(drawn / fleet.fault_rate * num_modes), num_modes - 1).astype(np.int64)
        modes = np.where(drawn < fleet.fault_rate, mode, 0)
    return np.repeat(modes, _EPISODE_CYCLES, axis=1)[:, :cycles]


def _read(fleet: Design, machines: Ints, worn: Floats, regime: Ints, fault: Ints, readings: Array) -> None:
    """Writes the readings (C, S, F) of one chunk in place."""
    shape = readings.shape
    noise = seeds.bells(_keys(fleet, "noise", machines), shape[1] * shape[2])
    np.multiply(noise.reshape(shape), np.float32(fleet.noise), out=readings)
    readings += fleet.level[regime]
    effect: NDArray[np.float32] = fleet.wear_effect[regime]
    effect *= worn[:, :, None]
    readings += effect
    offsets = seeds.bells(_keys(fleet, "offsets", machines), shape[2])
    readings += (offsets * np.float32(0.5 * fleet.heterogeneity))[:, None, :]
    ill = np.nonzero(fault)
    readings[ill] += fleet.fault_effect[fault[ill] - 1]
