"""What of a round's record becomes metrics of MLflow."""

from typing import Any

from fedray.tracking.metrics import of_round
from fedray.tracking.tail import Cursor, Record


def test_faults_deaths_and_fates_of_a_round_are_metrics() -> None:
    fates = {"ok": 90, "retried": 4, "failed": 1, "rejected": 2, "dropped": 3, "quarantined": 0}
    values: dict[str, Any] = {"round": 7, "time": 1000.5, "faults": 6, "deaths": 5, "fates": fates, "digest": "d"}
    found = of_round(Record(values=values, cursor=Cursor(last=7)))
    assert {metric.key: metric.value for metric in found} == {
        "round/faults": 6,
        "round/deaths": 5,
        "fates/ok": 90,
        "fates/retried": 4,
        "fates/failed": 1,
        "fates/rejected": 2,
        "fates/dropped": 3,
        "fates/quarantined": 0,
    }
    assert {(metric.step, metric.timestamp) for metric in found} == {(7, 1_000_500)}
