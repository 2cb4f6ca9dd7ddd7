"""Reading what was appended to a file of JSON lines, also after the file was cut and written again."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedray.config import Config
from fedray.errors import RunFolderError


class Cursor(Config):
    """The last line that was delivered."""

    last: float = -1.0
    """Its position in the order of the file: its round, or its time."""
    start: int = 0
    """Byte at which it starts."""
    checksum: int | None = None
    """CRC-32 of the line; none: nothing was delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One complete line.

    Attributes:
        values: Its contents.
        cursor: The cursor once it is delivered.
    """

    values: dict[str, Any]
    cursor: Cursor


def read_new(path: Path, key: str, cursor: Cursor, *, skip_damaged: bool = False) -> list[Record]:
    """The complete lines after the cursor, in the order of the file.

    A line is read again from the start of the last one delivered. Where that line is no longer found, the file was
    cut and written again; then all of it is read, and lines at or before `cursor.last` are left out.

    Args:
        path: The file; a missing one has no lines.
        key: The field that orders the lines.
        cursor: The last line delivered.
        skip_damaged: Whether a damaged line, left by a process killed while it wrote, is passed over.

    Raises:
        RunFolderError: A complete line is not a JSON object with a number under `key`.
    """
    if not path.exists():
        return []
    lines = _lines(path, cursor.start)
    if cursor.checksum is None or not lines or zlib.crc32(lines[0][1]) != cursor.checksum:
        lines = _lines(path, 0)
    records: list[Record] = []
    for start, line in lines:
        record = _record(key, start, line)
        if record is not None and record.cursor.last > cursor.last:
            records.append(record)
        elif record is None and not skip_damaged:
            raise RunFolderError(
                f"{path} is damaged: the line at byte {start} is no record with a {key}; delete the line and sync again"
            )
    return records


def _lines(path: Path, start: int) -> list[tuple[int, bytes]]:
    """Complete lines with the byte at which each starts; the last line may still be being written."""
    with path.open("rb") as file:
        file.seek(start)
        text = file.read()
    lines: list[tuple[int, bytes]] = []
    for line in text.splitlines(keepends=True):
        if line.endswith(b"\n"):
            lines.append((start, line))
        start += len(line)
    return lines


def _record(key: str, start: int, line: bytes) -> Record | None:
    try:
        values = json.loads(line)
        last = float(values[key])
    except (ValueError, KeyError, TypeError):
        return None
    return Record(values=values, cursor=Cursor(last=last, start=start, checksum=zlib.crc32(line)))
