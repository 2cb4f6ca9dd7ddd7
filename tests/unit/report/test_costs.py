"""What a run cost, added up by hand from a folder made by hand."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from fedray.errors import ConfigError, RunFolderError
from fedray.models.tasks import Classification, Regression
from fedray.report.amount import energy, number, size
from fedray.report.costs import costs
from fedray.report.costs_clients import Distribution, distribution
from fedray.report.costs_figure import draw, plot
from fedray.report.costs_table import sentences, show
from fedray.report.costs_target import Target, first_or_best, is_less_better, parse_target
from fedray.report.result import Result
from fedray.simulation.run_folder import RunFolder

ROUNDS: tuple[dict[str, Any], ...] = (
    {
        "end_s": 3600.0,
        "metrics": {"train/loss": 1.0, "test/auprc": 0.3, "test/loss": 0.9},
        "client": [1, 2],
        "fate": ["ok", "late"],
        "started_s": [0.0, 0.0],
        "until_s": [1800.0, 3600.0],
        "bytes_down": [100, 100],
        "bytes_up": [50, 0],
        "joules": [2.0, 1.0],
    },
    {
        "end_s": 7200.0,
        "metrics": {"train/loss": 0.8},
        "client": [1, 3],
        "fate": ["ok", "vanished"],
        "started_s": [5400.0, 5400.0],
        "until_s": [7200.0, 6300.0],
        "bytes_down": [100, 60],
        "bytes_up": [50, 0],
        "joules": [2.0, 0.5],
        "lost": 60.0,
    },
    {
        "end_s": 10800.0,
        "metrics": {"train/loss": 0.5, "test/auprc": 0.6, "test/loss": 0.4},
        "client": [1, 2],
        "fate": ["ok", "retried"],
        "started_s": [9000.0, 9000.0],
        "until_s": [10800.0, 10800.0],
        "bytes_down": [100, 100],
        "bytes_up": [50, 50],
        "joules": [2.0, 3.0],
    },
)
COLUMNS = ("started_s", "until_s", "bytes_down", "bytes_up", "joules")
TOTAL = {
    "wall_s": 1.5,
    "moved_bytes": 3000.0,
    "virtual_s": 10800.0,
    "device_s": 11700.0,
    "bytes_down": 560.0,
    "bytes_up": 200.0,
    "bytes_lost": 60.0,
    "joules": 10.5,
}


def virtual(row: dict[str, Any]) -> dict[str, Any]:
    """What the record of a round says of its devices."""
    device_s = float(np.subtract(row["until_s"], row["started_s"]).sum())
    moved = {"down": float(sum(row["bytes_down"])), "up": float(sum(row["bytes_up"])), "lost": row.get("lost", 0.0)}
    return {"end_s": row["end_s"], "device_s": device_s, "bytes": moved, "joules": sum(row["joules"])}


def made(path: Path, *, devices: bool = True, recorded: int = 3, in_ledger: int = 3) -> Path:
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump({"name": "press-line"}))
    (path / "status.json").write_text(json.dumps({"state": "finished"}))
    folder = RunFolder(path)
    for round, row in enumerate(ROUNDS[:recorded], start=1):
        record = {"round": round, "seconds": {"train": 0.4, "round": 0.5}, "bytes": {"put": 600, "aggregate": 400}}
        folder.append("rounds", {**record, "metrics": row["metrics"], **({"virtual": virtual(row)} if devices else {})})
    for round, row in enumerate(ROUNDS[:in_ledger], start=1):
        spent = {name: np.array(row[name]) for name in COLUMNS} if devices else {}
        columns = {"client": np.array(row["client"]), "fate": np.array(row["fate"]), "seconds": np.array([0.25, 0.5])}
        folder.clients.append(round, {**columns, **spent})
    folder.clients.flush(in_ledger)()
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made(tmp_path / "run")


def text(found: Any) -> str:
    console = Console(width=100, record=True, file=StringIO())
    show(console, found, "press-line")
    return console.export_text()


def test_totals(run: Path):
    found = costs(run)
    assert found.total == TOTAL
    assert found.spent["device_s"].tolist() == [5400, 8100, 11700]
    assert found.spent["virtual_s"].tolist() == [3600, 7200, 10800]
    assert sentences(found) == [
        "rounds       3 in 1.5 s of wall time, 3 kB moved by the simulation",
        "devices      3.25 device-hours in 3 virtual hours",
        "network      560 B down, 200 B up, 60 B of them lost",
        "energy       10.5 J",
        "updates      4 counted; others did not: 1 late, 1 vanished",
        "wasted       33.3 % of the updates, 38.5 % of the device-hours, 21.1 % of the bytes, 14.3 % of the energy",
    ]


def test_what_clients_spent(run: Path):
    clients = costs(run).clients
    assert (clients.num_clients, clients.num_counted) == (3, 4)
    assert clients.fates == {"ok": 3, "late": 1, "vanished": 1, "retried": 1}
    rounds = Distribution(min=1, median=2, mean=2, p95=pytest.approx(2.9), max=3, gini=pytest.approx(4 / 18))
    assert clients.each["rounds"] == rounds  # of clients 3, 2 and 1
    device_s = clients.each["device_s"]  # 900, 5400 and 5400
    assert (device_s.min, device_s.median, device_s.mean, device_s.max) == (900, 5400, 3900, 5400)
    assert device_s.gini == pytest.approx(2 * 4500 / (3 * 11700))
    assert clients.wasted == {"rounds": 2, "device_s": 4500, "bytes_down": 160, "bytes_up": 0, "joules": 1.5}
    assert clients.total == {name: TOTAL[name] for name in TOTAL if name in clients.total} | {"rounds": 6}


def test_gini():
    assert distribution(np.array([7.0, 7.0, 7.0])).gini == 0
    assert distribution(np.array([0.0, 0.0, 0.0, 8.0])).gini == pytest.approx(3 / 4)
    assert distribution(np.zeros(2)).gini == 0


@pytest.mark.parametrize(
    ("target", "round"),
    [("test/auprc=0.5", 3), ("test/auprc>=0.3", 1), ("test/loss=0.5", 3), ("test/loss>=0.5", 1), ("train/loss=0.8", 2)],
)
def test_first_round_that_reaches_a_target(run: Path, target: str, round: int):
    (outcome,) = costs(run, [target]).outcomes
    assert (outcome.is_reached, outcome.round) == (True, round)
    assert outcome.metric == ROUNDS[round - 1]["metrics"][outcome.target.metric]
    assert outcome.spent["virtual_s"] == 3600 * round


def test_costs_up_to_a_target(run: Path):
    found = costs(run, ["train/loss=0.8", "test/auprc=0.9", "test/loss<=0.1"])
    spent = {"wall_s": 1.0, "moved_bytes": 2000, "virtual_s": 7200, "device_s": 8100, "joules": 5.5}
    assert found.outcomes[0].spent == {**spent, "bytes_down": 360, "bytes_up": 100, "bytes_lost": 60}
    assert text(found).splitlines()[-3:] == [
        "target       train/loss<=0.8 by round 2 (0.8): 2 virtual hours, 2.25 device-hours, 460 B down and up, 5.5 J, "
        "1.0 s of wall time",
        "target       test/auprc>=0.9 not reached: best 0.6 in round 3",
        "target       test/loss<=0.1 not reached: best 0.4 in round 3",
    ]


def test_target_as_it_is_written():
    assert parse_target("test/auprc=0.8") == Target(metric="test/auprc", sign=">=", value=0.8)
    assert parse_target(" test/auprc <= 8e-1 ") == Target(metric="test/auprc", sign="<=", value=0.8)
    assert str(parse_target("clients/rmse_p90=12")) == "clients/rmse_p90<=12"
    assert first_or_best(parse_target("a>=3"), {1: 2.0, 2: 2.5, 4: 2.5}) == 2


@pytest.mark.parametrize(
    "text", ["test/auprc", "=0.8", "test/auprc=", "test/auprc=high", "a=nan", "a<=inf", "a=>1", ""]
)
def test_what_is_no_target_is_refused(run: Path, text: str):
    with pytest.raises(ConfigError, match=r"is no metric with a value to reach; write --target test/auprc=0\.8"):
        costs(run, [text])


@pytest.mark.parametrize("task", [Classification, Regression])
def test_direction_is_that_of_the_task(task: Any):
    assert is_less_better(f"test/{task.headline}") is not task.higher_is_better
    assert is_less_better(f"clients/{task.headline}_worst10") is not task.higher_is_better


def test_direction_of_other_metrics():
    assert all(map(is_less_better, ("train/loss", "test/mae", "test/nasa_score", "test/error_rate")))
    assert not any(map(is_less_better, ("test/r2", "test/macro_f1", "test/recall", "loss/recall")))


def test_unknown_metric_is_refused_with_those_that_there_are(run: Path):
    with pytest.raises(ConfigError, match=r"has no metric test/f1; .*: test/auprc, test/loss, train/loss$"):
        costs(run, ["test/f1=0.8"])


def test_run_without_devices(tmp_path: Path):
    found = costs(made(tmp_path / "plain", devices=False), ["test/auprc=0.5"])
    assert found.total == {"wall_s": 1.5, "moved_bytes": 3000}
    assert found.clients.total == {"rounds": 6, "seconds": 2.25}
    assert "devices      none, so no virtual costs; set devices for them" in sentences(found)
    assert "target       test/auprc>=0.5 by round 3 (0.6): 1.5 s of wall time" in text(found)
    assert [axes.get_xlabel() for axes in draw(found, "plain").axes] == ["wall seconds", "MB moved by the simulation"]


def test_rounds_after_the_last_checkpoint_are_left_out(tmp_path: Path):
    found = costs(made(tmp_path / "going-on", in_ledger=2))
    assert (len(found.spent), found.left_out, found.total["device_s"]) == (2, 1, 8100)
    assert found.clients.total["device_s"] == 8100
    assert sentences(found)[-1] == "left out     rounds after the last checkpoint: 1"


def test_folder_without_rounds_and_no_folder_are_refused(tmp_path: Path):
    with pytest.raises(RunFolderError, match="has no round before a checkpoint yet"):
        costs(made(tmp_path / "empty", recorded=0, in_ledger=0))
    with pytest.raises(RunFolderError, match="has no round before a checkpoint yet"):
        costs(made(tmp_path / "begun", recorded=1, in_ledger=0))
    with pytest.raises(RunFolderError, match="is no folder"):
        costs(tmp_path / "nowhere")


def test_table_leaves_out_what_nobody_spent(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert "energy" in text(costs(run))
    for row in ROUNDS:
        monkeypatch.setitem(row, "joules", [0.0, 0.0])
    assert "energy" not in text(costs(made(tmp_path / "frugal")))


def test_plain_values(run: Path):
    plain = json.loads(json.dumps(Result(run).costs("test/auprc=0.5").to_dict()))
    assert (plain["rounds"], plain["left_out"], plain["updates_counted"]) == (3, 0, 4)
    assert plain["total"] == TOTAL
    assert plain["targets"] == [
        {"target": "test/auprc>=0.5", "is_reached": True, "round": 3, "metric": 0.6, "spent": TOTAL}
    ]
    assert [each["round"] for each in plain["spent"]] == [1, 2, 3]


def test_picture(run: Path, tmp_path: Path):
    plot(costs(run), tmp_path / "costs.png", "press-line")
    assert (tmp_path / "costs.png").read_bytes()[:4] == b"\x89PNG"
    figure = draw(costs(run, ["test/loss=0.5"]), "press-line")
    hours, moved, device_hours = figure.axes
    assert hours.get_ylabel() == "test/loss"
    assert [axes.get_xlabel() for axes in figure.axes] == ["virtual hours", "MB down and up", "device-hours"]
    curve, dashed, mark = hours.lines
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1, 3], [0.9, 0.4])
    assert set(dashed.get_ydata()) == {0.5}
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([3], [0.4])
    assert moved.lines[0].get_xdata()[-1] == pytest.approx(760 / 1e6)
    assert device_hours.lines[0].get_xdata()[-1] == 3.25


def test_picture_of_a_target_that_was_not_reached(run: Path):
    assert len(draw(costs(run, ["test/auprc=0.9"]), "press-line").axes[0].lines) == 2


def test_amounts():
    assert [number(value) for value in (0, 0.01234, 9.996, 99.96, 999.6, 12345.6)] == [
        "0",
        "0.0123",
        "10",
        "100",
        "1,000",
        "12,346",
    ]
    assert [size(value) for value in (0, 999, 1500, 2.34e6, 5e9, 7e15)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.34 MB",
        "5 GB",
        "7,000 TB",
    ]
    assert [energy(value) for value in (0.5, 2500, 3.6e6)] == ["0.5 J", "2.5 kJ", "1 kWh"]
