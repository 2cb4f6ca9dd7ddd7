"""The fault plan: a table of what is due in which round, decided before the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fedray.errors import RunFolderError
from fedray.files import replacing
from fedray.messages import Array, Block
from fedray.simulation.faults.bind import Due, RoundFaults, bind

_TYPES: dict[str, Any] = {
    "round": np.int64,
    "kind": object,
    "at": object,
    "how": object,
    "seconds": np.float64,
    "amount": np.float64,
    "repeat": np.bool_,
    "client": np.int64,
    "block": np.int64,
    "num": np.int64,
    "share": np.float64,
    "chance": np.float64,
    "draw": np.uint64,
}
_FILE = "faults.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """What goes wrong in a run, as far as it is known before: which clients and blocks a round has, it shows itself.

    Attributes:
        rounds: It covers the rounds up to this one.
        columns: One row a fault, sorted by round: the attributes of `Due`, but for the id, which is the row.
    """

    rounds: int
    columns: dict[str, Array]

    @staticmethod
    def of(rounds: int, dues: Sequence[dict[str, Any]]) -> "FaultPlan":
        """The plan of some rows, in any order of their rounds."""
        ordered = sorted(dues, key=lambda due: due["round"])  # stable: the order of the settings within a round
        columns = {name: np.array([due[name] for due in ordered], dtype) for name, dtype in _TYPES.items()}
        return FaultPlan(rounds=rounds, columns=columns)

    def __len__(self) -> int:
        return len(self.columns["round"])

    def row(self, id: int) -> Due:
        """One row of the table."""
        values = {name: column[id] for name, column in self.columns.items()}
        return Due(id=id, **{name: v.item() if isinstance(v, np.generic) else v for name, v in values.items()})

    def num_due(self, round: int) -> int:
        """How many faults are due in a round, from 1."""
        first, end = np.searchsorted(self.columns["round"], [round, round + 1]).tolist()
        return end - first

    def due(self, round: int, blocks: tuple[Block, ...]) -> RoundFaults:
        """Binds the faults of a round to its blocks and clients; a function of the plan and the blocks alone.

        Args:
            round: Round number, from 1.
            blocks: The round's blocks; the index of each is its position.
        """
        first, end = np.searchsorted(self.columns["round"], [round, round + 1]).tolist()
        return bind([self.row(id) for id in range(first, end)], blocks)

    def then(self, later: "FaultPlan") -> "FaultPlan":
        """This plan, and what another has for the rounds after it."""
        if later.rounds <= self.rounds:
            return self
        after = later.columns["round"] > self.rounds
        columns = {name: np.concatenate([column, later.columns[name][after]]) for name, column in self.columns.items()}
        return FaultPlan(rounds=later.rounds, columns=columns)

    def save(self, folder: Path) -> None:
        """Writes `faults.parquet` of a run folder."""
        table = pa.table({"id": np.arange(len(self)), **{n: pa.array(c, _arrow(n)) for n, c in self.columns.items()}})
        with replacing(folder / _FILE) as beside:
            pq.write_table(table.replace_schema_metadata({"rounds": str(self.rounds)}), beside)

    @staticmethod
    def load(folder: Path) -> "FaultPlan | None":
        """The plan of a run folder, or None where it has none.

        Raises:
            RunFolderError: The file is damaged.
        """
        path = folder / _FILE
        if not path.exists():
            return None
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
            rounds = int((table.schema.metadata or {})[b"rounds"])
            columns = {name: np.array(table[name].to_pylist(), dtype) for name, dtype in _TYPES.items()}
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise RunFolderError(f"{path} is damaged ({str(error).splitlines()[0]}); run again") from None
        return FaultPlan(rounds=rounds, columns=columns)


NO_FAULTS = FaultPlan.of(0, ())
"""The plan of a run without faults on purpose."""


def keep(folder: Path, plan: FaultPlan) -> FaultPlan:
    """The plan that a run follows, kept in its folder: a resumed run has the plan it began with.

    Args:
        folder: The run folder.
        plan: The plan by the settings of today. It counts for rounds that the folder's plan does not cover.
    """
    if not plan.rounds:
        return plan
    saved = FaultPlan.load(folder)
    followed = plan if saved is None else saved.then(plan)
    if saved is None or followed.rounds > saved.rounds:
        followed.save(folder)
    return followed


def _arrow(name: str) -> pa.DataType | None:
    return pa.string() if _TYPES[name] is object else None
