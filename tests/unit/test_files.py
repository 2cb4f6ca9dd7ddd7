import errno
import json
from pathlib import Path

import pytest

from fedray import files
from fedray.errors import CapacityError, RunFolderError


def test_write_makes_the_folder_and_leaves_nothing_beside(tmp_path: Path):
    path = tmp_path / "a" / "b" / "c.txt"
    files.write_text(path, "grün")
    files.write_text(path, "blau")
    assert path.read_text(encoding="utf-8") == "blau"
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def write_half(path: Path) -> None:
    with files.replacing(path) as beside:
        beside.write_bytes(b"ne")
        raise ZeroDivisionError


def test_error_while_writing_leaves_the_old_contents(tmp_path: Path):
    path = tmp_path / "a"
    files.write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_nobody_sees_half_a_file(tmp_path: Path):
    path = tmp_path / "a"
    with files.replacing(path) as beside:
        beside.write_bytes(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_sentence(tmp_path: Path, number: int):
    with pytest.raises(CapacityError, match="disk is full; free some space") as caught, files.disk_errors(tmp_path):
        raise OSError(number, "x")
    assert "\n" not in str(caught.value)


def test_folder_where_a_file_should_be_is_one_sentence(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunFolderError, match=r"a cannot be written \(Is a directory\); choose another folder"):
        files.write_text(tmp_path / "a", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be written"):
        files.write_text(tmp_path / "a" / "b", "x")


def test_json_has_no_nan(tmp_path: Path):
    inf = float("inf")
    files.write_json(tmp_path / "a.json", {"a": float("nan"), "b": [inf, (-inf, 1.5)], "c": {"d": 2, "e": None}})
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert found == {"a": None, "b": [None, [None, 1.5]], "c": {"d": 2, "e": None}}
