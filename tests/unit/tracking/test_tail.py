from pathlib import Path

import pytest
from run_folders import line

from fedray.errors import RunFolderError
from fedray.tracking.tail import Cursor, read_new


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "rounds.jsonl").write_text(line(1) + line(2) + line(3))
    return tmp_path / "rounds.jsonl"


def rounds(path: Path, cursor: Cursor) -> list[int]:
    return [int(r.cursor.last) for r in read_new(path, "round", cursor)]


def test_reads_only_what_is_new(path: Path):
    records = read_new(path, "round", Cursor())
    assert [r.values["round"] for r in records] == [1, 2, 3]
    assert rounds(path, records[1].cursor) == [3]
    assert rounds(path, records[2].cursor) == []


def test_missing_and_empty_files_have_no_records(tmp_path: Path):
    assert rounds(tmp_path / "rounds.jsonl", Cursor()) == []
    (tmp_path / "rounds.jsonl").touch()
    assert rounds(tmp_path / "rounds.jsonl", Cursor(last=3, start=9, checksum=1)) == []


def test_torn_last_line_is_left_until_it_is_complete(path: Path):
    whole = line(4)
    for cut in range(1, len(whole)):
        path.write_text(line(3) + whole[:cut])
        assert rounds(path, Cursor()) == [3]
    path.write_text(line(3) + whole)
    assert rounds(path, Cursor()) == [3, 4]


def test_file_cut_and_written_again_gives_only_rounds_not_delivered(path: Path):
    cursor = read_new(path, "round", Cursor())[-1].cursor
    path.write_text(line(1) + line(2))
    assert rounds(path, cursor) == []
    path.write_text(line(1) + line(2) + line(3, late_s=7) + line(4) + line(5))
    assert rounds(path, cursor) == [4, 5]
    path.write_text("".join(line(r, late_s=0.25) for r in range(1, 9)))
    assert rounds(path, cursor) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("bad", ["{\n", "[]\n", '{"round": "x"}\n', '{"time": 1}\n', "7\n"])
def test_damaged_line_is_named(path: Path, bad: str):
    start = path.stat().st_size
    with path.open("a") as file:
        file.write(bad)
    with pytest.raises(RunFolderError, match=f"the line at byte {start} is no record with a round"):
        read_new(path, "round", Cursor())
