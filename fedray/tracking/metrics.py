"""Records as batches of MLflow metrics.

A metric's time is its record's, never the time of sending, so that sending a batch twice changes nothing: MLflow
keeps one row for equal key, time, step and value.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from mlflow import MlflowClient
from mlflow.entities import Metric

from fedray.tracking.tail import Cursor, Record

METRICS_PER_BATCH = 1000
KEY_LENGTH = 250
NOT_METRICS = ("round", "time", "digest", "metrics")
FORBIDDEN = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is sent in one call.

    Attributes:
        metrics: At most 1,000.
        cursor: The last record that is complete with this batch, or None.
    """

    metrics: list[Metric]
    cursor: Cursor | None


def batches(records: Iterable[Record], metrics_of: Callable[[Record], list[Metric]]) -> Iterator[Batch]:
    """Packs whole records into batches; only a record of more than 1,000 metrics is cut."""
    waiting: list[Metric] = []
    cursor: Cursor | None = None
    for record in records:
        metrics = metrics_of(record)
        if waiting and len(waiting) + len(metrics) > METRICS_PER_BATCH:
            yield Batch(metrics=waiting, cursor=cursor)
            waiting, cursor = [], None
        while len(metrics) > METRICS_PER_BATCH:
            yield Batch(metrics=metrics[:METRICS_PER_BATCH], cursor=None)
            metrics = metrics[METRICS_PER_BATCH:]
        waiting, cursor = waiting + metrics, record.cursor
    if cursor is not None:
        yield Batch(metrics=waiting, cursor=cursor)


def of_round(record: Record) -> list[Metric]:
    """The metrics of one round by their names; its other numbers as `seconds/...`, `fates/...` or `round/...`."""
    named: dict[str, Any] = dict(record.values.get("metrics") or {})
    others = {key: value for key, value in record.values.items() if key not in NOT_METRICS}
    groups = {key: value for key, value in others.items() if isinstance(value, Mapping)}
    named |= numbers({key: value for key, value in others.items() if key not in groups}, "round")
    for group, values in groups.items():
        named |= numbers(values, group)
    return as_metrics(named, record.values["time"], int(record.cursor.last))


def of_system(record: Record) -> list[Metric]:
    """The metrics of one system sample, by MLflow's own names."""
    return as_metrics(record.values.get("metrics", {}), record.values["time"], int(record.values.get("step", 0)))


def as_metrics(named: Mapping[str, Any], time_s: float, step: int) -> list[Metric]:
    """Numbers as MLflow metrics; missing and infinite values, which it cannot keep, are left out."""
    return [
        Metric(FORBIDDEN.sub("_", name)[:KEY_LENGTH], float(value), int(time_s * 1000), step)
        for name, value in named.items()
        if isinstance(value, (int, float)) and not math.isinf(value)
    ]


def numbers(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Nested mappings as (`prefix/name`, number); what is not a number is left out."""
    for key, value in values.items():
        name = f"{prefix}/{key}"
        if isinstance(value, Mapping):
            yield from numbers(cast(Mapping[str, Any], value), name)
        elif isinstance(value, (int, float)):
            yield name, float(value)


def last_round(client: MlflowClient, run_id: str, records: list[Record]) -> int:
    """The last round that the server has, asked by a metric that every one of `records` has.

    Batches hold whole rounds and are sent in order, so one metric tells of all.
    """
    names = [dict.fromkeys(m.key for m in of_round(record)) for record in records]
    in_all = [name for name in names[0] if all(name in others for others in names)]
    asked = in_all[-1:] or sorted({name for some in names for name in some})
    known = client.get_run(run_id).data.metrics
    return max((m.step for n in asked if n in known for m in client.get_metric_history(run_id, n)), default=0)
