"""What a study says, in sentences."""

from fedray.scaling.analysis import Analysis, Fitted
from fedray.scaling.forecast import Forecast
from fedray.scaling.grid import Setup
from fedray.scaling.model import CostModel
from fedray.scaling.validation import TARGET, largest


def sentences(analysis: Analysis) -> list[str]:
    """All sentences, in the order in which they are read."""
    lines = [digests(analysis)]
    if analysis.oversubscribed:
        cores = min(measurement.cores for measurement in analysis.measurements)
        lines.append(
            f"* oversubscribed: more actors than the {cores} cores here; that efficiency says nothing about a cluster"
        )
    if not analysis.weak:
        lines.append(
            "no weak scaling: no two setups have as many clients for each actor; give --clients 1000,2000 "
            "--actors 1,2, or --mode weak"
        )
    fitted = analysis.fitted
    if fitted is None:
        return [*lines, analysis.why_not]
    lines += [bottleneck(analysis, fitted), serial(fitted), believed(fitted)]
    lines += [told(entry, fitted) for entry in fitted.forecasts]
    return [*lines, assumption(analysis, fitted)]


def digests(analysis: Analysis) -> str:
    """That the same cohort gave the same bits."""
    said = ", ".join(f"{clients:,} clients {digest[:12]}" for clients, digest in analysis.digests.items())
    return f"same bits in all {len(analysis.measurements)} runs of the same cohort: {said}"


def bottleneck(analysis: Analysis, fitted: Fitted) -> str:
    """What takes the time, and what would with more actors."""
    setup = max(fitted.setups)
    cost, load = analysis.costs[setup], analysis.costs[setup].load
    parts = {
        "training": cost.train_s,
        "moving parameters and sums": cost.transfer_s,
        "the driver's own work": cost.driver_s,
    }
    name = max(parts, key=lambda part: parts[part])
    share = 100 * parts[name] / (sum(parts.values()) or 1.0)
    head = f"at {setup}, {share:.0f} % of a round is {name}"
    if fitted.crossover is None:
        return f"{head}; that stays so: the cohort's {load.blocks} blocks keep training the largest part (blocks.size)"
    other = _other(fitted.model, setup, fitted.crossover)
    if fitted.crossover <= setup.actors:
        return f"{head}; {other} is the bottleneck already"
    blocks = ""
    if fitted.crossover > load.blocks:
        blocks = f"; its {load.blocks} blocks occupy no more than {load.blocks} actors (blocks.size)"
    return f"{head}; {other} would be the bottleneck from about {fitted.crossover:,} actors{blocks}"


def _other(model: CostModel, setup: Setup, actors: int) -> str:
    s = model.seconds
    transfer_s = s["transfer_fixed"] + s["transfer_actor"] * actors
    driver_s = s["driver_fixed"] + s["driver_client"] * setup.clients
    return "moving parameters and sums" if transfer_s > driver_s else "the driver's own work"


def serial(fitted: Fitted) -> str:
    """The part of a round that more actors do not shorten."""
    most = f"at most {1 / fitted.serial:,.0f} times as fast" if fitted.serial > 0 else "as fast as there are actors"
    return (
        f"serial fraction at {max(fitted.setups).clients:,} clients: {100 * fitted.serial:.2f} % of a round on the "
        f"fewest actors; by Amdahl's law more actors make it {most}"
    )


def believed(fitted: Fitted) -> str:
    """How far the model was off where it had not seen the measurement."""
    worst = largest(list(fitted.checks))
    if worst is None:
        return "validation: too few points that count; 4 setups or more are needed"
    verdict = "within" if abs(worst.error) <= TARGET else "NOT within"
    return (
        f"validation: fitted to the smaller half, the model predicts the larger half with errors up to "
        f"{100 * abs(worst.error):.1f} % ({worst.setup}), {verdict} the target of {100 * TARGET:.0f} %"
    )


def told(forecast: Forecast, fitted: Fitted) -> str:
    """A prediction."""
    load = forecast.load
    text = (
        f"prediction: {load.clients:,} clients on {load.actors:,} actors take {_s(forecast.parts.round_s)} a round "
        f"(90 % interval {_s(forecast.low_s)} to {_s(forecast.high_s)}), "
        f"{load.clients / forecast.parts.round_s:,.0f} clients/s, efficiency {100 * forecast.efficiency:.0f} %"
    )
    if load.blocks < load.actors:
        text += f"; its {load.blocks:,} blocks leave {load.actors - load.blocks:,} actors idle (blocks.size)"
    return text


def assumption(analysis: Analysis, fitted: Fitted) -> str:
    """What the predictions rest on."""
    most = max(setup.actors for setup in fitted.setups)
    cost = analysis.costs[max(fitted.setups)]
    moved = f" ({cost.bytes / 1e6:.2f} MB a round)" if cost.bytes else ""
    return (
        "they assume machines like this one with a core for each actor, all cores training at once as measured here; "
        f"that transfer grows with each actor as it did up to {most} actors{moved}, over "
        "a network that is no slower than the one measured; and that the driver's work depends on the clients alone; "
        "the interval holds the noise of the measurements and the errors of the validation, not a breach of these"
    )


def _s(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.2f} s"
