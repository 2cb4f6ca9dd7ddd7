"""Targets of a run: a metric and the value that it shall reach, and by which round it did.

A target is `METRIC>=VALUE`, `METRIC<=VALUE` or `METRIC=VALUE`. With the last the name of the metric gives the
direction: less is better where one of its words is loss, error, mse, rmse, mae or nasa, as in clients/rmse_p90; else
more is.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedray.errors import ConfigError

_LESS_IS_BETTER = frozenset({"loss", "error", "mse", "rmse", "mae", "nasa"})
_FORM = re.compile(r"(?P<metric>[^<>=\s]+)\s*(?P<sign><=|>=|=)\s*(?P<value>\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a run shall reach.

    Attributes:
        metric: Its whole name, as in rounds.jsonl: "test/auprc".
        sign: Whether the metric shall be at least or at most the value.
        value: The value.
    """

    metric: str
    sign: Literal[">=", "<="]
    value: float

    def is_reached(self, metric: float) -> bool:
        """Whether a value of the metric will do."""
        return metric >= self.value if self.sign == ">=" else metric <= self.value

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.value:.10g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run fared with a target.

    Attributes:
        target: The target.
        round: The first recorded round that reached it; where none did, the one that came nearest.
        metric: The metric in that round.
        spent: What the run had cost when that round was over.
    """

    target: Target
    round: int
    metric: float
    spent: dict[str, float]

    @property
    def is_reached(self) -> bool:
        """Whether a recorded round reached it."""
        return self.target.is_reached(self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return {**asdict(self), "target": str(self.target), "is_reached": self.is_reached}


def parse_target(text: str) -> Target:
    """A target, as it is written on the command line.

    Raises:
        ConfigError: It is none.
    """
    found = _FORM.fullmatch(text.strip())
    value = _number(found["value"]) if found else None
    if found is None or value is None:
        raise ConfigError(f"target {text!r} is no metric with a value to reach; write --target test/auprc=0.8")
    return Target(metric=found["metric"], sign=_sign(found["metric"], found["sign"]), value=value)


def is_less_better(metric: str) -> bool:
    """Whether the name of a metric says that it is a loss or an error."""
    return not _LESS_IS_BETTER.isdisjoint(metric.rpartition("/")[2].split("_"))


def first_or_best(target: Target, metric: Mapping[int, float]) -> int:
    """The first round that reaches a target, or the one that comes nearest.

    Args:
        target: The target.
        metric: Round to the value of its metric, in order; at least one.
    """
    best = max if target.sign == ">=" else min
    reached = (round for round, value in metric.items() if target.is_reached(value))
    return next(reached, best(metric, key=lambda round: metric[round]))


def _sign(metric: str, sign: str) -> Literal[">=", "<="]:
    return "<=" if sign == "<=" or (sign == "=" and is_less_better(metric)) else ">="


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
