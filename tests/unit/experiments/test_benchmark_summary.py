"""Figures from records: exact numbers on tiny hand-made runs."""

import pytest
from rich.console import Console

from experiments.benchmarks import chart, tables
from experiments.benchmarks.protocol import Request
from experiments.benchmarks.runners import fedray as fedray_runner
from experiments.benchmarks.runs import Run
from experiments.benchmarks.summary import TARGETS, judged, rows


def timed(runner: str, *rounds: float, repeat: int = 1) -> Run:
    return Run(workload="W1", runner=runner, kind="timed", repeat=repeat, cohort=100, round_s=list(rounds), start_s=2.0)


def check(runner: str, peak_bytes: int) -> Run:
    return Run(
        workload="W1",
        runner=runner,
        kind="check",
        repeat=0,
        cohort=100,
        round_s=[1.0],
        peak_bytes=peak_bytes,
        processes=[("driver", 1), ("actor", 2)],
        loss=0.5,
        accuracy=0.75,
        distance=1e-7,
    )


RUNS = [
    check("fedray", 10**9),
    check("flower", 2 * 10**9),
    timed("fedray", 9.0, 0.1, 0.1),
    timed("fedray", 9.0, 0.2, 0.2, repeat=2),
    timed("fedray", 9.0, 0.05, 0.05, repeat=3),
    timed("flower", 9.0, 20.0),
    timed("pfl-1", 1.0, 1.0),
    timed("pfl-n", 1.0, 0.5),
]


def test_first_round_is_no_part_of_the_speed():
    assert timed("fedray", 99.0, 0.5, 0.5).clients_per_s == pytest.approx(200.0)


def test_row_is_the_median_of_repeats_and_the_better_variant():
    found = {row.family: row for row in rows(RUNS)}
    assert found["fedray"].speed == pytest.approx((1000.0, 500.0, 2000.0))
    assert found["fedray"].round_s == pytest.approx(0.1)
    assert found["pfl-research"].variant == "pfl-n"
    assert found["pfl-research"].peak_bytes is None


def test_failed_runs_are_left_out():
    failed = Run(workload="W1", runner="plain-n", kind="timed", repeat=1, cohort=100, error="it broke")
    assert all(row.family != "plain loop" for row in rows([*RUNS, failed]))


def test_targets_are_judged():
    verdicts = {(target.workload, target.other, target.measure): value for target, value in judged(rows(RUNS))}
    assert verdicts["W1", "Flower", "speed"] == pytest.approx(200.0)
    assert verdicts["W1", "pfl-research", "speed"] == pytest.approx(5.0)
    assert verdicts["W1", "Flower", "memory"] == pytest.approx(2.0)
    assert verdicts["W3", "Flower", "speed"] is None
    lines = tables.verdicts(rows(RUNS))
    assert len(lines) == len(TARGETS)
    assert {line[-1] for line in lines} == {"met", "NOT met", "not measured"}


def test_tables_and_picture(tmp_path):
    found = rows(RUNS)
    text = tables.markdown(found, "somewhere")
    assert "| fedray | 1,000 | 500-2,000 |" in text
    assert "| W1 | speed by that of pfl-research | 5.00x | >= 15.0x | NOT met |" in text
    tables.show(found, Console(quiet=True))
    chart.draw(found, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 1000


@pytest.mark.parametrize(("number", "text"), [(0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1,230"), (0, "0")])
def test_three_figures(number, text):
    assert tables.figures(number) == text


def test_time_between_fedrays_rounds_is_spread_over_them():
    request = Request(shards="", out="", rounds=3, workers=2, processes=2, same_orders=False, started=10.0)
    records = [{"time": now, "seconds": {"train": 1.0, "round": 1.0}} for now in (20.0, 21.5, 23.0)]
    answer = fedray_runner.answer(records, request)
    assert answer.round_s == pytest.approx([1.0, 1.5, 1.5])
    assert answer.start_s == pytest.approx(9.0)


def test_accounted_leaves_the_first_round_out():
    records = [
        {"seconds": {"train": 0.0, "round": 9.0}},
        {"seconds": {"train": 0.8, "put": 0.1, "round": 1.0}},
    ]
    assert fedray_runner.accounted(records) == pytest.approx(0.9)
