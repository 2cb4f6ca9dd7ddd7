import json
from pathlib import Path

import numpy as np
import pytest

from fedray.errors import RunFolderError
from fedray.simulation.parts import PartTable
from fedray.simulation.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path, "press")
    made.write_config({"name": "press", "rounds": 3})
    made.write_status(state="running", round=0)
    return made


def add(table: PartTable, *rounds: int) -> None:
    for round in rounds:
        table.append(round, {"client": np.arange(2), "fate": np.array(["ok", "failed"])})


def rounds(table: PartTable) -> list[int]:
    found = table.read()
    return [] if found is None else found["round"].to_pylist()[::2]


def test_folders_of_the_same_second_do_not_meet(tmp_path: Path):
    paths = {RunFolder.create(tmp_path / "a" / "b", "x").path for _ in range(5)}
    assert len(paths) == 5


def test_runs_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunFolder.create(tmp_path / "file" / "runs", "x")


def test_journal_comes_back_as_written(folder: RunFolder):
    records = [{"round": i, "digest": "ü\n", "x": 0.1 + 0.2} for i in range(3)]
    for record in records:
        folder.append("rounds", record)
    assert folder.lines("rounds") == records
    assert folder.lines("system") == []


def test_lines_that_are_added_together_are_as_those_added_one_by_one(folder: RunFolder):
    records = [{"round": 1, "cause": "a\nb"}, {"round": 2, "cause": ""}]
    folder.append("faults", *records)
    assert folder.lines("faults") == records
    folder.append("faults", records[0])
    assert folder.lines("faults") == [*records, records[0]]


def test_faults_stay_when_their_round_is_computed_again(folder: RunFolder):
    for round in (1, 2, 3):
        folder.append("faults", {"round": round})
        folder.append("rounds", {"round": round})
    folder.truncate(1)
    assert [record["round"] for record in folder.lines("rounds")] == [1]
    assert [event["round"] for event in folder.lines("faults")] == [1, 2, 3]


def test_torn_last_line_is_not_a_line(folder: RunFolder):
    folder.append("rounds", {"round": 1})
    with (folder.path / "rounds.jsonl").open("a") as file:
        file.write('{"round": 2, "dig')
    assert folder.lines("rounds") == [{"round": 1}]


@pytest.mark.parametrize("journal", ["rounds", "system", "faults"])
def test_mended_journal_goes_on_after_a_torn_line(folder: RunFolder, journal: str):
    folder.append(journal, {"round": 1})
    with (folder.path / f"{journal}.jsonl").open("ab") as file:
        file.write(b'{"round": \xff\x00')
    folder.mend()
    folder.append(journal, {"round": 2})
    assert folder.lines(journal) == [{"round": 1}, {"round": 2}]
    folder.mend()
    assert len(folder.lines(journal)) == 2


def test_journal_of_one_torn_line_is_empty_when_mended(folder: RunFolder):
    (folder.path / "rounds.jsonl").write_text('{"rou')
    folder.mend()
    assert (folder.path / "rounds.jsonl").read_text() == ""


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"3", b"null", b""])
def test_damaged_line_is_named(folder: RunFolder, line: bytes):
    (folder.path / "rounds.jsonl").write_bytes(b'{"round": 1}\n' + line + b'\n{"round": 3}\n')
    with pytest.raises(RunFolderError, match="line 2 is no JSON; remove it and all after it"):
        folder.lines("rounds")


def test_truncate_drops_what_came_after(folder: RunFolder):
    for round in (1, 2, 3, 4):
        folder.append("rounds", {"round": round})
        add(folder.clients, round)
        folder.flush(round)()
    (folder.path / "summary.json").write_text("{}")
    folder.truncate(2)
    assert [record["round"] for record in folder.lines("rounds")] == [1, 2]
    assert rounds(folder.clients) == [1, 2]
    assert folder.summary() == {}
    folder.truncate(0)
    assert folder.lines("rounds") == []
    assert rounds(folder.clients) == []


def test_rows_of_a_round_that_broke_off_are_not_flushed(folder: RunFolder):
    add(folder.clients, 1, 2)
    folder.flush(1)()
    assert rounds(folder.clients) == [1]
    add(folder.clients, 2)
    folder.flush(2)()
    assert rounds(folder.clients) == [1, 2]


def test_truncate_within_a_part_keeps_its_beginning(folder: RunFolder):
    add(folder.clients, 1, 2)
    folder.flush(2)()
    add(folder.clients, 3, 4, 5)
    folder.flush(5)()
    folder.truncate(4)
    assert rounds(folder.clients) == [1, 2, 3, 4]
    folder.truncate(2)
    assert rounds(folder.clients) == [1, 2]


def test_finished_table_is_one_file_and_can_go_on(folder: RunFolder):
    add(folder.clients, 1)
    folder.flush(1)()
    add(folder.clients, 2, 3)
    folder.flush(3)()
    folder.finish()
    assert sorted(p.name for p in folder.path.iterdir() if "clients" in p.name) == ["clients.parquet"]
    assert rounds(folder.clients) == [1, 2, 3]
    folder.truncate(2)  # a checkpoint before the end is all that was valid
    add(folder.clients, 3, 4)
    folder.flush(4)()
    assert rounds(folder.clients) == [1, 2, 3, 4]
    folder.finish()
    assert rounds(RunFolder(folder.path).clients) == [1, 2, 3, 4]


def test_crash_while_the_parts_are_put_together_counts_no_row_twice(folder: RunFolder):
    add(folder.clients, 1)
    folder.flush(1)()
    part = (folder.path / "clients" / "part-00000001.parquet").read_bytes()
    add(folder.clients, 2)
    folder.flush(2)()
    folder.finish()
    (folder.path / "clients").mkdir()
    (folder.path / "clients" / "part-00000001.parquet").write_bytes(part)
    assert rounds(folder.clients) == [1, 2]
    folder.truncate(2)
    assert rounds(folder.clients) == [1, 2]


def test_crash_while_a_part_is_written_leaves_no_obstacle(folder: RunFolder):
    add(folder.clients, 1)
    folder.flush(1)()
    (folder.path / "clients" / ".part-00000002.parquet.12ab.tmp").write_bytes(b"PAR1")
    folder.finish()
    assert rounds(folder.clients) == [1]
    assert not (folder.path / "clients").exists()


def test_damaged_part_is_one_sentence(folder: RunFolder):
    add(folder.clients, 1)
    folder.flush(1)()
    (folder.path / "clients" / "part-00000001.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(RunFolderError, match=r"part-00000001\.parquet is damaged"):
        folder.clients.read()


def test_folder_whose_name_looks_like_a_partition_adds_no_column(tmp_path: Path):
    table = PartTable(tmp_path / "lr=0.1", "clients")
    (tmp_path / "lr=0.1").mkdir()
    add(table, 1)
    table.flush(1)()
    table.finish()
    assert table.read().column_names == ["round", "client", "fate"]


def test_only_one_runs_in_a_folder(folder: RunFolder):
    def enter() -> None:
        with RunFolder(folder.path).lock():
            pass

    with folder.lock(), pytest.raises(RunFolderError, match="is being run by another process"):
        enter()
    enter()


def test_error_inside_the_lock_is_not_taken_for_one_of_the_lock(folder: RunFolder):
    with pytest.raises(BlockingIOError), folder.lock():
        raise BlockingIOError


def test_status_changes_what_is_said_and_keeps_the_rest(folder: RunFolder):
    folder.write_status(round=2, error=None)
    assert folder.status() == {"state": "running", "round": 2, "error": None}


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("config.yaml", None),
        ("config.yaml", b"[1]"),
        ("config.yaml", b"a: ["),
        ("config.yaml", b"\xff\xfe\x00"),
        ("config.yaml", b""),
        ("status.json", None),
        ("status.json", b""),
        ("status.json", b"{"),
        ("status.json", b"[1]"),
        ("status.json", b"null"),
        ("status.json", b"{}"),
        ("status.json", b"\xff"),
    ],
)
def test_damaged_folder_is_one_sentence(folder: RunFolder, name: str, contents: bytes | None):
    path = folder.path / name
    path.unlink() if contents is None else path.write_bytes(contents)
    with pytest.raises(RunFolderError, match=name) as caught:
        RunFolder.open(folder.path)
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_is_one_sentence(tmp_path: Path):
    with pytest.raises(RunFolderError, match="is no folder; give the run folder that `fedray run` printed"):
        RunFolder.open(tmp_path / "none")


def test_nothing_in_the_folder_is_nan(folder: RunFolder):
    folder.write_status(best=float("nan"))
    assert json.loads((folder.path / "status.json").read_text())["best"] is None
