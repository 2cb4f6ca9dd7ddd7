"""What a run cost its clients: the ledger added up by client, and by whether an update counted.

Shapes: C clients that took part.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from fedray.messages import Array

COUNTED = ("ok", "retried")
"""Fates of updates that counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A cost over the clients that took part.

    Attributes:
        min: The least that a client spent.
        median: Half of the clients spent no more.
        mean: The mean.
        p95: 95 % of the clients spent no more.
        max: The most.
        gini: Gini's coefficient: 0 all alike, (C - 1) / C one client bears everything.
    """

    min: float
    median: float
    mean: float
    p95: float
    max: float
    gini: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What the clients of a run spent.

    The measures are "rounds", how often a client was in a cohort, and with devices "device_s", "bytes_down", "bytes_up"
    and "joules"; without them "seconds", the wall time of its training.

    Attributes:
        num_clients: C.
        fates: Fate to number of updates, over all rounds.
        each: Measure to how it is distributed.
        total: Measure to what all spent.
        wasted: Measure to what was spent on updates that did not count.
    """

    num_clients: int
    fates: dict[str, int]
    each: dict[str, Distribution]
    total: dict[str, float]
    wasted: dict[str, float]

    @property
    def num_counted(self) -> int:
        """Updates that counted."""
        return sum(self.fates.get(fate, 0) for fate in COUNTED)


def shares(ledger: pa.Table) -> Shares:
    """Adds the ledger of a run up; it has a row at least."""
    rows = _rows(ledger)
    costs = rows.drop(columns=["client", "fate"])
    by_client = costs.groupby(rows["client"]).sum()
    return Shares(
        num_clients=len(by_client),
        fates={str(fate): int(num) for fate, num in rows["fate"].value_counts().items()},
        each={str(name): distribution(by_client[name].to_numpy()) for name in by_client},
        total=_sums(costs),
        wasted=_sums(costs[~rows["fate"].isin(COUNTED)]),
    )


def distribution(values_C: Array) -> Distribution:
    """How values that are not negative are distributed, at least one."""
    middle, p95 = np.percentile(values_C, [50, 95])
    return Distribution(
        min=float(values_C.min()),
        median=float(middle),
        mean=float(values_C.mean()),
        p95=float(p95),
        max=float(values_C.max()),
        gini=_gini(values_C),
    )


def _gini(values_C: Array) -> float:
    """Half the mean difference of two clients over the mean (C. Gini 1912, Variabilità e mutabilità)."""
    num, total = len(values_C), float(values_C.sum())
    ranks = 2 * np.arange(1, num + 1) - num - 1
    return float(ranks @ np.sort(values_C)) / (num * total) if total else 0.0


def _rows(ledger: pa.Table) -> pd.DataFrame:
    """One row for each (round, client): its fate and its costs, as float64."""
    spent = ["started_s", "until_s", "bytes_down", "bytes_up", "joules"]
    names = spent if "until_s" in ledger.column_names else ["seconds"]
    rows = ledger.select(["client", "fate", *names]).to_pandas()
    rows = rows.astype(dict.fromkeys(names, "float64")).assign(rounds=1.0)
    if "until_s" in rows:
        rows["device_s"] = rows.pop("until_s") - rows.pop("started_s")
    return rows


def _sums(costs: pd.DataFrame) -> dict[str, float]:
    return {str(name): float(costs[name].sum()) for name in costs}
