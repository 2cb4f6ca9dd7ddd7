"""What a run cost: bytes, seconds, energy and device-hours, in all, by client, and until it reached a target."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fedray.errors import ConfigError, RunFolderError
from fedray.report.breakdown import of_record
from fedray.report.costs_clients import Shares, shares
from fedray.report.costs_target import Outcome, Target, first_or_best, parse_target
from fedray.report.timeline import main_metric
from fedray.simulation.run_folder import Record, RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a run cost.

    Attributes:
        spent: One row a round: what had been spent when it was over, since the start of the run. The simulation spends
            `wall_s` and `moved_bytes`; devices `virtual_s`, `device_s`, `bytes_down`, `bytes_up`, `bytes_lost` and
            `joules`; servers of a hierarchy `bytes_between`, which are reports and models.
        metrics: One row a round: metrics by their names, NaN where the round has none.
        main_metric: The name of the one that stands for the run, or None where the test set was never evaluated.
        clients: What the clients spent.
        outcomes: How the run fared with each target.
        left_out: Rounds that are recorded, but not yet in the ledger: those after the last checkpoint.
    """

    spent: pd.DataFrame
    metrics: pd.DataFrame
    main_metric: str | None
    clients: Shares
    outcomes: tuple[Outcome, ...]
    left_out: int

    @property
    def has_devices(self) -> bool:
        """Whether there was virtual time."""
        return "virtual_s" in self.spent

    @property
    def total(self) -> dict[str, float]:
        """What was spent in all, by the columns of `spent`."""
        return _row(self.spent, -1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return {
            "rounds": len(self.spent),
            "left_out": self.left_out,
            "total": self.total,
            "updates_counted": self.clients.num_counted,
            "clients": asdict(self.clients),
            "targets": [outcome.to_dict() for outcome in self.outcomes],
            "spent": self.spent.reset_index().to_dict("records"),
        }


def costs(folder: Path, targets: Iterable[str] = ()) -> Costs:
    """Reads a run.

    Args:
        folder: The run folder.
        targets: What the run shall reach: "test/auprc=0.8", "test/loss<=0.3".

    Raises:
        RunFolderError: It is none, it is damaged, or it has no round in its ledger yet.
        ConfigError: A target is none, or the run has no such metric.
    """
    wanted = [parse_target(text) for text in targets]
    run = RunFolder.open(folder)
    recorded, ledger = run.lines("rounds"), run.clients.read()
    if not recorded or ledger is None:
        raise RunFolderError(f"{folder} has no round before a checkpoint yet; go on with `fedray resume {folder}`")
    last = int(ledger["round"].to_numpy().max())
    records = [record for record in recorded if record["round"] <= last]
    spent, metrics = _spent(records), pd.DataFrame([record["metrics"] for record in records], index=_numbers(records))
    name = main_metric(records)
    return Costs(
        spent=spent,
        metrics=metrics,
        main_metric=None if name is None else f"test/{name}",
        clients=shares(ledger),
        outcomes=tuple(_outcome(target, records, spent, folder) for target in wanted),
        left_out=len(recorded) - len(records),
    )


def _spent(records: Sequence[Record]) -> pd.DataFrame:
    frame = pd.DataFrame([_of_round(record) for record in records], index=_numbers(records)).cumsum()
    if "device_s" in frame:
        frame["virtual_s"] = [record["virtual"]["end_s"] for record in records]
    return frame


def _of_round(record: Record) -> dict[str, float]:
    """What one round cost."""
    cost = of_record(record)
    spent = {"wall_s": cost.wall_s, "moved_bytes": float(sum(cost.bytes.values()))}
    if "wide" in record:
        spent["bytes_between"] = float(record["wide"]["up"] + record["wide"]["down"])
    if "virtual" not in record:
        return spent
    virtual = record["virtual"]
    moved = {f"bytes_{way}": num for way, num in virtual["bytes"].items()}
    return {**spent, "device_s": virtual["device_s"], **moved, "joules": virtual["joules"]}


def _numbers(records: Sequence[Record]) -> "pd.Index[Any]":
    return pd.Index([record["round"] for record in records], name="round")


def _outcome(target: Target, records: Sequence[Record], spent: pd.DataFrame, folder: Path) -> Outcome:
    name = target.metric
    values = {record["round"]: record["metrics"][name] for record in records if name in record["metrics"]}
    if not values:
        known = ", ".join(sorted({name for record in records for name in record["metrics"]})) or "none"
        raise ConfigError(f"{folder} has no metric {name}; change --target to one of those it has: {known}")
    round = first_or_best(target, values)
    return Outcome(target=target, round=round, metric=values[round], spent=_row(spent, list(spent.index).index(round)))


def _row(frame: pd.DataFrame, place: int) -> dict[str, float]:
    return {str(name): float(frame[name].iloc[place]) for name in frame}
