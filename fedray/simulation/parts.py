"""A table that grows by parts: each part a Parquet file written whole, all of them one file at the end."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedray.errors import RunFolderError
from fedray.files import replacing
from fedray.messages import Array


class PartTable:
    """A Parquet table of a run folder. Rows are kept until `flush`, so that a checkpoint knows what it covers.

    Args:
        folder: The run folder.
        name: Name of the table: "clients" becomes clients.parquet at the end, and clients/part-ROUND.parquet before.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._parts, self._whole = folder / name, folder / f"{name}.parquet"
        self._rows: list[tuple[int, dict[str, Array]]] = []

    def append(self, round: int, columns: dict[str, Array]) -> None:
        """Adds the rows of one round; all columns have the same length."""
        self._rows.append((round, columns))

    def flush(self, round: int) -> Callable[[], None]:
        """Takes all rows up to a round; what is given back writes them as one part, named after the round.

        Rows of a round that broke off stay out.
        """
        rows = [(row_round, columns) for row_round, columns in self._rows if row_round <= round]
        self._rows = []
        return lambda: self._write(round, pa.concat_tables([_table(*row) for row in rows])) if rows else None

    def _write(self, round: int, rows: pa.Table) -> None:
        with replacing(self._parts / f"part-{round:08d}.parquet") as temporary:
            pq.write_table(rows, temporary)

    def truncate(self, round: int) -> None:
        """Forgets what came after a round: a resumed run computes it again."""
        self._rows = []
        pa.table({"round": np.zeros(0), "text": np.zeros(0, object)})  # imports pandas: now, not in a round
        for part in self._files():
            if int(part.stem.removeprefix("part-")) > round:
                rows = _read(part)
                kept = rows.filter(pc.field("round") <= round)
                if len(kept):
                    self._write(round, kept)
                part.unlink()

    def finish(self) -> None:
        """Puts all parts into one file."""
        parts = self._files()
        if not parts:
            return
        schema = _read(parts[0]).schema
        with replacing(self._whole) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for part in parts:
                writer.write_table(_read(part))
        shutil.rmtree(self._parts)

    def reopen(self) -> None:
        """Makes the finished table the first part again, when a finished run goes on."""
        if self._whole.exists():
            rounds = _read(self._whole)["round"].to_numpy()
            self._parts.mkdir(exist_ok=True)
            for part in self._files():  # left by a crash while the parts were put together
                part.unlink()
            self._whole.rename(self._parts / f"part-{rounds.max():08d}.parquet")

    def read(self) -> pa.Table | None:
        """All rows, of a finished or an unfinished run."""
        files = [self._whole] if self._whole.exists() else self._files()
        return pa.concat_tables([_read(file) for file in files]) if files else None

    def _files(self) -> list[Path]:
        return sorted(self._parts.glob("part-*.parquet"))


def _table(round: int, columns: dict[str, Array]) -> pa.Table:
    length = len(next(iter(columns.values())))
    return pa.table({"round": np.full(length, round, np.int32), **columns})


def _read(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read()
    except (pa.ArrowInvalid, OSError) as error:
        raise RunFolderError(f"{path} is damaged ({str(error).splitlines()[0]}); run again") from None
