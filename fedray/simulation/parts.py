"""A table that grows by parts: each part a Parquet file written whole, all of them one file at the end."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
        self._rows: list[pa.Table] = []

    def append(self, round: int, columns: dict[str, Array]) -> None:
        """Adds the rows of one round; all columns have the same length."""
        length = len(next(iter(columns.values())))
        self._rows.append(pa.table({"round": np.full(length, round, np.int32), **columns}))

    def flush(self, round: int) -> None:
        """Writes all rows so far as one part, named after the last round that it covers."""
        if not self._rows:
            return
        self._parts.mkdir(exist_ok=True)
        with replacing(self._parts / f"part-{round:08d}.parquet") as temporary:
            pq.write_table(pa.concat_tables(self._rows), temporary)
        self._rows = []

    def truncate(self, round: int) -> None:
        """Forgets what came after a round: a resumed run computes it again."""
        self._rows = []
        for part in self._files():
            if int(part.stem.removeprefix("part-")) > round:
                part.unlink()

    def finish(self) -> None:
        """Puts all parts into one file."""
        parts = self._files()
        if not parts:
            return
        schema = pq.read_schema(parts[0])
        with replacing(self._whole) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
        for part in parts:
            part.unlink()
        self._parts.rmdir()

    def reopen(self) -> None:
        """Makes the finished table the first part again, when a finished run goes on."""
        if self._whole.exists():
            rounds = pq.read_table(self._whole, columns=["round"])["round"].to_numpy()
            self._parts.mkdir(exist_ok=True)
            self._whole.rename(self._parts / f"part-{rounds.max():08d}.parquet")

    def read(self) -> pa.Table | None:
        """All rows, of a finished or an unfinished run."""
        files = [self._whole] if self._whole.exists() else self._files()
        return pa.concat_tables([pq.read_table(f) for f in files]) if files else None

    def _files(self) -> list[Path]:
        return sorted(self._parts.glob("part-*.parquet"))
