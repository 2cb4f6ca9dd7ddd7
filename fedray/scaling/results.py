"""The results of a study as plain values, for study.json and for MLflow."""

from dataclasses import asdict
from typing import Any

from fedray.scaling.analysis import Analysis, Fitted
from fedray.scaling.cost import Cost, of_measurements
from fedray.scaling.efficiency import Efficiency
from fedray.scaling.grid import Setup
from fedray.scaling.measurement import Measurement
from fedray.scaling.model import COEFFICIENTS
from fedray.scaling.request import WARM_UP
from fedray.scaling.words import sentences


def to_dict(analysis: Analysis) -> dict[str, Any]:
    """Everything but the rounds themselves, which points.jsonl holds."""
    return {
        "name": analysis.name,
        "sentences": sentences(analysis),
        "digests": {str(clients): digest for clients, digest in analysis.digests.items()},
        "setups": [_setup(analysis, setup, cost) for setup, cost in analysis.costs.items()],
        "strong": [_efficiency(entry) for entry in analysis.strong],
        "weak": [_efficiency(entry) for entry in analysis.weak],
        "model": _model(analysis.fitted) if analysis.fitted else None,
        "points": [_point(analysis, measurement) for measurement in analysis.measurements],
    }


def _setup(analysis: Analysis, setup: Setup, cost: Cost) -> dict[str, Any]:
    fitted = analysis.fitted
    return {
        **asdict(setup),
        "oversubscribed": setup in analysis.oversubscribed,
        "clients_per_s": cost.clients_per_s,
        **asdict(cost),
        "fitted_s": fitted.model.predict(cost.load).round_s if fitted else None,
    }


def _efficiency(entry: Efficiency) -> dict[str, Any]:
    values = {"speedup": entry.speedup, "efficiency": entry.efficiency, "serial_fraction": entry.serial}
    return {**asdict(entry.setup), "base_actors": entry.base.actors, **values}


def _model(fitted: Fitted) -> dict[str, Any]:
    coefficients = {
        name: {
            "what": what,
            "seconds": fitted.model.seconds[name],
            "low": fitted.intervals[name][0],
            "high": fitted.intervals[name][1],
        }
        for name, what in COEFFICIENTS.items()
    }
    checks = [
        {**asdict(c.setup), "measured_s": c.measured_s, "predicted_s": c.predicted_s, "error": c.error}
        for c in fitted.checks
    ]
    forecasts = [
        {
            **asdict(f.load),
            **asdict(f.parts),
            "round_s": f.parts.round_s,
            "low_s": f.low_s,
            "high_s": f.high_s,
            "efficiency": f.efficiency,
        }
        for f in fitted.forecasts
    ]
    return {
        "coefficients": coefficients,
        "longest_block": fitted.model.longest,
        "setups": [setup.name for setup in fitted.setups],
        "serial_fraction": fitted.serial,
        "bottleneck_from_actors": fitted.crossover,
        "validation": checks,
        "largest_error": max((abs(check["error"]) for check in checks), default=None),
        "predictions": forecasts,
    }


def _point(analysis: Analysis, measurement: Measurement) -> dict[str, Any]:
    """One point as tracking delivers it: params and metrics."""
    setup, cost = measurement.point.setup, of_measurements([measurement])
    metrics = {
        "round_s": cost.round_s,
        "clients_per_s": cost.clients_per_s,
        "busy_s": cost.busy_s,
        "train_s": cost.train_s,
        "transfer_s": cost.transfer_s,
        "driver_s": cost.driver_s,
        **{f"seconds/{name}": seconds for name, seconds in cost.seconds.items()},
    }
    for name, entries in (("efficiency", analysis.strong), ("weak_efficiency", analysis.weak)):
        for entry in entries:
            if entry.setup == setup:
                metrics[name] = entry.efficiency
    return {
        "name": measurement.point.name,
        "params": {**asdict(setup), "repeat": measurement.point.repeat, "rounds": len(measurement.rounds) + WARM_UP},
        "metrics": metrics,
        "digest": measurement.digest,
        "oversubscribed": setup in analysis.oversubscribed,
        "folder": measurement.folder,
        "host": measurement.host,
        "started": measurement.started,
        "ended": measurement.ended,
    }
