"""How sure the fit is: the same fit on measurements drawn again from those there are.

Bootstrap (Efron 1979, https://doi.org/10.1214/aos/1176344552): repeats of a setup are drawn with replacement, then
rounds of each. It assumes that repeats are independent; rounds of one repeat need not be.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fedray import seeds
from fedray.scaling.cost import Cost, Grouped, noise_of, of_rounds
from fedray.scaling.grid import Setup
from fedray.scaling.measurement import Measurement
from fedray.scaling.model import CostModel, fit

DRAWS = 400
LOW, HIGH = 5.0, 95.0
"""Percentiles that hold 90 % between them."""


def models(measured: Grouped, seed: int, draws: int = DRAWS) -> list[CostModel]:
    """Fits to measurements drawn again.

    Args:
        measured: The repeats of each setup.
        seed: Decides the draws.
        draws: How many fits.
    """
    keys = seeds.keys(seed, "scaling bootstrap", 0, np.arange(draws))
    noise = {setup: noise_of(repeats) for setup, repeats in measured.items()}
    return [fit(_drawn(measured, noise, np.random.default_rng(int(key)))) for key in keys]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """What holds 90 % of the values."""
    low, high = np.percentile(values, [LOW, HIGH])
    return float(low), float(high)


def _drawn(measured: Grouped, noise: Mapping[Setup, float], generator: np.random.Generator) -> list[Cost]:
    return [_cost(repeats, noise[setup], generator) for setup, repeats in measured.items()]


def _cost(repeats: Sequence[Measurement], noise: float, generator: np.random.Generator) -> Cost:
    rounds = [
        repeats[chosen].rounds[position]
        for chosen in generator.integers(len(repeats), size=len(repeats))
        for position in generator.integers(len(repeats[chosen].rounds), size=len(repeats[chosen].rounds))
    ]
    return of_rounds(repeats[0], rounds, noise)
