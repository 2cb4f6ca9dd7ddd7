"""All that a study says, from its measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedray.scaling import bootstrap, efficiency, validation
from fedray.scaling.cost import Cost, grouped, of_measurements
from fedray.scaling.efficiency import Efficiency
from fedray.scaling.forecast import BlocksOf, Forecast, crossover, forecast, targets
from fedray.scaling.grid import Setup
from fedray.scaling.measurement import Measurement
from fedray.scaling.model import COEFFICIENTS, CostModel, fit
from fedray.scaling.request import Target
from fedray.scaling.study import check_digests
from fedray.scaling.validation import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The model, and how sure it is.

    Attributes:
        model: The fit to all setups that count.
        intervals: Of each coefficient, what holds 90 % of fits to measurements drawn again.
        setups: What was fitted.
        checks: The larger half, predicted from the smaller one; empty where there are too few setups.
        crossover: From how many actors on the largest cohort trains for less of a round than all else takes, or None.
        serial: Part of a round of the largest cohort on one actor that more actors do not shorten.
        forecasts: Predictions.
    """

    model: CostModel
    intervals: dict[str, tuple[float, float]]
    setups: tuple[Setup, ...]
    checks: tuple[Check, ...]
    crossover: int | None
    serial: float
    forecasts: tuple[Forecast, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All that a study says.

    Attributes:
        name: The study's name.
        measurements: All points.
        costs: What each setup costs.
        oversubscribed: Setups with more actors than cores.
        digests: Of each cohort size, SHA-256 of the parameters, the same whatever the actors.
        strong: The same cohort with more actors.
        weak: As many clients for each actor, with more actors.
        fitted: The model, or None.
        why_not: Why there is no model.
    """

    name: str
    measurements: tuple[Measurement, ...]
    costs: Mapping[Setup, Cost]
    oversubscribed: frozenset[Setup]
    digests: Mapping[int, str]
    strong: tuple[Efficiency, ...]
    weak: tuple[Efficiency, ...]
    fitted: Fitted | None
    why_not: str = ""


def analyse(
    name: str,
    measurements: Sequence[Measurement],
    blocks_of: BlocksOf,
    wanted: Sequence[Target] = (),
    with_oversubscribed: bool = False,
    seed: int = 0,
) -> Analysis:
    """Analyses a study.

    Args:
        name: The study's name.
        measurements: All points, at least one.
        blocks_of: The number of blocks of a cohort.
        wanted: What to predict; nothing: a default.
        with_oversubscribed: Whether setups with more actors than cores are fitted too.
        seed: Decides the draws of the bootstrap.

    Raises:
        DigestMismatch: The same cohort gave different parameters.
    """
    measured = grouped(measurements)
    costs = {setup: of_measurements(repeats) for setup, repeats in measured.items()}
    crowded = frozenset(setup for setup, repeats in measured.items() if repeats[0].oversubscribed)
    counting = [setup for setup in costs if with_oversubscribed or setup not in crowded]
    why_not = _why_not(counting)
    fitted = None
    if not why_not:
        some = {setup: measured[setup] for setup in counting}
        drawn = bootstrap.models(some, seed)
        fitted = _fitted({setup: costs[setup] for setup in counting}, drawn, blocks_of, wanted, seed)
    return Analysis(
        name=name,
        measurements=tuple(measurements),
        costs=costs,
        oversubscribed=crowded,
        digests=check_digests(measurements),
        strong=tuple(efficiency.strong(costs)),
        weak=tuple(efficiency.weak(costs)),
        fitted=fitted,
        why_not=why_not,
    )


def _why_not(counting: Sequence[Setup]) -> str:
    """Why the setups are too few for a model; nothing where they are not."""
    for option, values in (("--clients", {s.clients for s in counting}), ("--actors", {s.actors for s in counting})):
        if len(values) < 2:
            return (
                f"no model: a fit needs two different {option} without more actors than cores; give more to {option}, "
                "or add --fit-oversubscribed"
            )
    return ""


def _fitted(
    costs: Mapping[Setup, Cost],
    drawn: Sequence[CostModel],
    blocks_of: BlocksOf,
    wanted: Sequence[Target],
    seed: int,
) -> Fitted:
    model, checks = fit(list(costs.values())), validation.validate(costs)
    largest = costs[max(costs)].load
    unseen = [check.measured_s / check.predicted_s for check in checks]
    seen = [cost.round_s / model.predict(cost.load).round_s for cost in costs.values()]
    return Fitted(
        model=model,
        intervals={name: bootstrap.interval([m.seconds[name] for m in drawn]) for name in COEFFICIENTS},
        setups=tuple(costs),
        checks=tuple(checks),
        crossover=crossover(model, largest),
        serial=_serial(model, costs),
        forecasts=tuple(
            forecast(target, costs, blocks_of, model, drawn, unseen or seen, seed)
            for target in (wanted or targets(list(costs)))
        ),
    )


def _serial(model: CostModel, costs: Mapping[Setup, Cost]) -> float:
    """Part of a round on the fewest actors that the blocks of clients have no part in."""
    first = min((setup for setup in costs if setup.clients == max(costs).clients), key=lambda setup: setup.actors)
    parts = model.predict(costs[first].load)
    shared_s = parts.train_s - model.seconds["train_fixed"]
    return 1 - shared_s / parts.round_s if parts.round_s else 0.0
