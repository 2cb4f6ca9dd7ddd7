"""A run in virtual time: its rounds, what devices did in one of them, what it cost, and who took part how often."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedray.errors import RunFolderError
from fedray.simulation.run_folder import Record, RunFolder

_METRICS = ("accuracy", "rmse", "auprc", "balanced_accuracy", "mae")
"""The metric that stands for a run: the first of these that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTime:
    """One round in virtual time.

    Attributes:
        round: Its number, from 1.
        selecting_s: When its selection began, in virtual seconds since the start of the run.
        begin_s: When the model was sent.
        end_s: When it was over.
        committed: Whether it changed the model.
        fates: Fate to number of clients, those that occur.
        bytes: "down", "up" and "lost".
        joules: Energy of its devices.
        device_s: Time that devices gave to it, summed over them.
        metric: The run's main metric on the test set after it, or None where it was not evaluated.
    """

    round: int
    selecting_s: float
    begin_s: float
    end_s: float
    committed: bool
    fates: dict[str, int]
    bytes: dict[str, float]
    joules: float
    device_s: float
    metric: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A run in virtual time.

    Attributes:
        rounds: All rounds.
        metric: Name of the main metric, or None where the test set was never evaluated.
        shown: The round of which `devices` tells.
        devices: One row for each client of that round, as in the ledger.
        taken_part: How many clients had so many updates that counted: times to clients, those that had one at least.
        staleness: How many updates that counted were so many steps old: steps to updates.
        population: Clients in all.
    """

    rounds: tuple[RoundTime, ...]
    metric: str | None
    shown: RoundTime
    devices: pd.DataFrame
    taken_part: dict[int, int]
    staleness: dict[int, int]
    population: int

    @property
    def end_s(self) -> float:
        """Virtual seconds of the whole run."""
        return self.rounds[-1].end_s

    @property
    def fates(self) -> dict[str, int]:
        """Fate to number of clients, over all rounds."""
        return dict(sum((Counter(r.fates) for r in self.rounds), Counter[str]()))

    @property
    def fairness(self) -> float:
        """Jain's index of how often each client's update counted: 1 all alike, 1/N one alone.

        R. Jain, D. Chiu and W. Hawe 1984, https://arxiv.org/abs/cs/9809099.
        """
        total = sum(times * clients for times, clients in self.taken_part.items())
        squares = sum(times**2 * clients for times, clients in self.taken_part.items())
        return total**2 / (self.population * squares) if squares else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return {
            "end_s": self.end_s,
            "metric": self.metric,
            "fates": self.fates,
            "fairness": self.fairness,
            "taken_part": {str(times): clients for times, clients in self.taken_part.items()},
            "staleness": {str(steps): updates for steps, updates in self.staleness.items()},
            "rounds": [asdict(each) for each in self.rounds],
        }


def timeline(folder: Path, round: int | None = None) -> Timeline:
    """Reads a run.

    Args:
        folder: The run folder.
        round: The round whose devices shall be shown; None: the one with the median length among those that committed.

    Raises:
        RunFolderError: It is none, it is damaged, it simulated no devices, or has no such round.
    """
    run = RunFolder.open(folder)
    records = [record for record in run.lines("rounds") if "virtual" in record]
    if not records:
        raise RunFolderError(f"{folder} has no virtual time; set devices, and run again")
    metric = main_metric(records)
    rounds = tuple(_round(record, metric) for record in records)
    shown = _shown(rounds, round, folder)
    rows = run.clients.read()
    if rows is None:
        raise RunFolderError(f"{folder} is damaged: it has no ledger; run again")
    frame = rows.to_pandas()
    counted = frame[frame["fate"].isin(["ok", "retried"])]
    return Timeline(
        rounds=rounds,
        metric=metric,
        shown=shown,
        devices=frame[frame["round"] == shown.round].reset_index(drop=True),
        taken_part=_counts(counted["client"].value_counts()),
        staleness=_counts(counted["round"] - 1 - counted["version"]),
        population=int(run.summary().get("clients") or frame["client"].max() + 1),
    )


def _counts(values: "pd.Series[int]") -> dict[int, int]:
    """How often each value is there, in order."""
    found, counts = np.unique(values.to_numpy(), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def main_metric(records: Sequence[Record]) -> str | None:
    """The metric of the test set that stands for a run, without its prefix; None where there is none."""
    known = {name for record in records for name in record["metrics"]}
    return next((name for name in _METRICS if f"test/{name}" in known), None)


def _round(record: Record, metric: str | None) -> RoundTime:
    virtual = record["virtual"]
    return RoundTime(
        round=record["round"],
        fates={fate: num for fate, num in record["fates"].items() if num},
        metric=record["metrics"].get(f"test/{metric}"),
        **virtual,
    )


def _shown(rounds: Sequence[RoundTime], wanted: int | None, folder: Path) -> RoundTime:
    if wanted is not None:
        found = next((each for each in rounds if each.round == wanted), None)
        if found is None:
            raise RunFolderError(f"{folder} has rounds 1 to {rounds[-1].round}, but no round {wanted}; change --round")
        return found
    told = [each for each in rounds if each.committed] or list(rounds)
    order = np.argsort([each.end_s - each.begin_s for each in told], kind="stable")
    return told[int(order[len(order) // 2])]
