"""Where the time of a run went, read from rounds.jsonl of this and of older versions."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fedray.errors import RunFolderError
from fedray.report.breakdown import as_record, of_record, read
from fedray.report.profile import UNACCOUNTED, of_rounds, profile
from fedray.report.profile_figure import draw, plot
from fedray.report.profile_table import sentences, show


def record(round: int, train: float = 0.8, whole: float = 1.0, **more: Any) -> dict[str, Any]:
    """A round in which two actors were busy three quarters of the time."""
    seconds = {"sample": 0.01, "put": 0.02, "train": train, "aggregate": 0.05, "server": 0.02, "round": whole}
    values = {"bytes": {"put": 1_000_000, "aggregate": 4_000_000}, "busy_s": 1.5 * train, "slots": 2}
    blocks = {"blocks": 4, "longest_block_s": 0.4, "cohort": 100, "examples": 2000}
    return {"round": round, "seconds": seconds, **values, **blocks, **more}


def run_folder(path: Path, *records: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump({"name": "press-line"}))
    (path / "status.json").write_text(json.dumps({"state": "finished"}))
    (path / "rounds.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in records))
    return path


def test_steps_add_up_to_the_wall_time(tmp_path: Path):
    found = profile(run_folder(tmp_path / "run", record(1), record(2), record(3, train=1.8, whole=2.1)))
    totals = {step.name: step.total_s for step in found.steps}
    assert totals == pytest.approx(
        {"sample": 0.03, "put": 0.06, "train": 3.4, "aggregate": 0.15, "server": 0.06, UNACCOUNTED: 0.4}
    )
    assert sum(totals.values()) == pytest.approx(found.wall_s) == pytest.approx(4.1)
    assert found.accounted == pytest.approx(1 - 0.4 / 4.1)
    assert sum(step.share for step in found.steps) == pytest.approx(1)


def test_bytes_speed_utilisation_and_clients_a_second(tmp_path: Path):
    found = profile(run_folder(tmp_path / "run", record(1), record(2)))
    steps = {step.name: step for step in found.steps}
    assert steps["put"].bytes == 2_000_000
    assert steps["put"].bytes_per_s == pytest.approx(5e7)
    assert steps["train"].bytes is None
    assert found.bytes == 10_000_000
    assert found.utilisation == pytest.approx(0.75)
    assert found.clients_per_s == pytest.approx(100)


def test_slowest_round_and_the_step_that_made_it_slow(tmp_path: Path):
    found = profile(run_folder(tmp_path / "run", record(1), record(2), record(3, train=2.8, whole=3.0)))
    slowest = found.slowest
    assert (slowest.round, slowest.step, slowest.times_median) == (3, "train", pytest.approx(3.0))
    assert slowest.more_s == pytest.approx(2.0)
    assert "round 3 took 3,000 ms, 3.0 times the median: 2,000 ms more in train" in sentences(found)[-1]


def test_time_that_no_step_names_can_be_why(tmp_path: Path):
    found = profile(run_folder(tmp_path / "run", record(1), record(2), record(3, whole=3.0)))
    assert found.slowest.step == UNACCOUNTED
    assert "2,000 ms more in no named step" in sentences(found)[-1]
    assert "less than the 97 % that it should be" in sentences(found)[0]


def test_old_runs_have_dashes_and_no_traceback(tmp_path: Path):
    old = {"round": 1, "seconds": {"train": 0.5, "round": 0.6}, "bytes": 512, "cohort": 10}
    found = profile(run_folder(tmp_path / "run", old))
    assert (found.utilisation, found.bytes) == (None, 512)
    assert all(step.bytes is None for step in found.steps)
    assert sentences(found)[1] == "actors busy  -"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"seconds": None},
        {"seconds": {"train": "long", "round": float("nan")}, "bytes": "many", "cohort": None, "busy_s": [1]},
        {"seconds": {"train": -1}, "slots": True, "blocks": {}},
    ],
)
def test_odd_values_are_missing_values(odd: dict[str, Any]):
    cost = of_record(odd, number=7)
    assert (cost.round, cost.wall_s, cost.seconds, cost.bytes) == (7, 0, {}, {})
    assert (cost.cohort, cost.busy_s, cost.slots, cost.blocks) == (0, None, None, None)


def test_steps_that_came_later_are_shown_too():
    entry = record(1)
    entry["seconds"]["noise"] = 0.05
    assert [step.name for step in of_rounds((of_record(entry),)).steps][-2:] == ["noise", UNACCOUNTED]


def test_record_and_back():
    cost = of_record(record(3))
    assert of_record(as_record(cost)) == cost


def test_torn_last_line_is_left_out(tmp_path: Path):
    folder = run_folder(tmp_path / "run", record(1))
    with (folder / "rounds.jsonl").open("a") as file:
        file.write('{"round": 2, "seco')
    assert len(read(folder)) == 1


def test_damaged_line_folder_without_rounds_and_no_folder_are_refused(tmp_path: Path):
    with pytest.raises(RunFolderError, match="has no finished round yet"):
        profile(run_folder(tmp_path / "empty"))
    with pytest.raises(RunFolderError, match="no seconds in them"):
        profile(run_folder(tmp_path / "untimed", {"round": 1}))
    damaged = run_folder(tmp_path / "damaged", record(1))
    (damaged / "rounds.jsonl").write_text("garbage\n" + json.dumps(record(2)) + "\n")
    with pytest.raises(RunFolderError, match="line 1 is no JSON"):
        profile(damaged)
    with pytest.raises(RunFolderError, match="is no folder"):
        profile(tmp_path / "nowhere")


def test_table_and_plain_values(tmp_path: Path):
    found = profile(run_folder(tmp_path / "run", record(1), record(2)))
    console = Console(width=100, record=True, file=StringIO())
    show(console, found, "press-line")
    text = console.export_text()
    assert "press-line: where 2.00 s of 2 rounds went" in text
    assert "actors busy  75.0 % of their training time" in text
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["num_rounds"] == 2
    assert plain["steps"][1] == {
        "name": "put",
        "total_s": 0.04,
        "share": 0.02,
        "median_s": 0.02,
        "p95_s": 0.02,
        "bytes": 2_000_000,
        "bytes_per_s": 5e7,
    }


@pytest.mark.parametrize("rounds", [1, 12, 80])
def test_picture(rounds: int, tmp_path: Path):
    found = of_rounds(tuple(of_record(record(number)) for number in range(1, rounds + 1)))
    plot(found, tmp_path / "profile.png", "press-line")
    assert (tmp_path / "profile.png").stat().st_size > 10_000
    over_rounds, shares = draw(found, "press-line").axes
    assert [text.get_text() for text in over_rounds.get_legend().get_texts()][-1] == "train"
    assert shares.texts[0].get_text() == "80 %"
