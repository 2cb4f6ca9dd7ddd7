"""Whether the model can be believed: fitted to the smaller half of the setups, it predicts the larger half."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedray.scaling.cost import Cost
from fedray.scaling.grid import Setup
from fedray.scaling.model import fit

TARGET = 0.15
"""Largest relative error that a good model makes."""
_LEAST_SETUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A setup that the model predicted without having seen it.

    Attributes:
        setup: The setup.
        measured_s: Median time of a round.
        predicted_s: What the model said.
    """

    setup: Setup
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """Relative error of the prediction: positive where it is too long."""
        return self.predicted_s / self.measured_s - 1


def validate(costs: Mapping[Setup, Cost]) -> list[Check]:
    """Fits to the smaller setups and predicts the larger ones; nothing where there are too few.

    Setups are ordered by cohort, then by work: the same cohort is more work for fewer actors. The smaller half holds
    two cohort sizes at least, since with one nothing tells what a client costs.
    """
    ordered = sorted(costs, key=lambda setup: (setup.clients, -setup.actors))
    half = len(ordered) - len(ordered) // 2
    while half < len(ordered) and ordered[half - 1].clients == ordered[0].clients:
        half += 1
    smaller, larger = ordered[:half], ordered[half:]
    if len(ordered) < _LEAST_SETUPS or not larger:
        return []
    model = fit([costs[setup] for setup in smaller])
    return [
        Check(setup=setup, measured_s=costs[setup].round_s, predicted_s=model.predict(costs[setup].load).round_s)
        for setup in sorted(larger)
    ]


def largest(checks: list[Check]) -> Check | None:
    """The check with the largest error."""
    return max(checks, key=lambda check: abs(check.error), default=None)
