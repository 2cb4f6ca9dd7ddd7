"""What a study says: efficiency, sentences, tables, pictures and plain values."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_studies import REQUEST, TRUTH, blocks_of, measurements

from fedray.scaling import figures, results, tables, words
from fedray.scaling.analysis import Analysis, analyse
from fedray.scaling.grid import Setup
from fedray.scaling.model import CostModel
from fedray.scaling.request import Request, Target


def analysis(**options) -> Analysis:
    some = measurements(**{"cores": 4, "noise": 0.03, **options})
    return analyse("plants", some, blocks_of, [Target(actors=64, clients=100_000)])


@pytest.fixture(scope="module")
def plants() -> Analysis:
    """A study as most are; nothing of it can be changed."""
    return analysis()


def test_strong_and_weak_efficiency():
    request = Request(clients=(1000, 2000, 4000), actors=(1, 2, 4), repeats=2, rounds=4)
    found = analyse("plants", measurements(request, cores=4), blocks_of)
    for entry in found.strong:
        one, here = found.costs[Setup(clients=entry.setup.clients, actors=1)], found.costs[entry.setup]
        assert entry.efficiency == pytest.approx(one.round_s / (entry.setup.actors * here.round_s))
    weak = {entry.setup: entry for entry in found.weak}
    four = Setup(clients=4000, actors=4)
    base = Setup(clients=1000, actors=1)
    assert weak[four].base == base
    assert weak[four].efficiency == pytest.approx(found.costs[base].round_s / found.costs[four].round_s)


def test_serial_fraction_of_amdahls_law():
    """Half of a round that no actor shortens: two actors are 4/3 as fast."""
    seconds = {**dict.fromkeys(TRUTH.seconds, 0.0), "train_example": 1e-5, "driver_client": 1e-3}
    request = Request(clients=(1600, 3200), actors=(1, 2), repeats=1, rounds=3)
    found = analyse("plants", measurements(request, cores=2, truth=CostModel(seconds=seconds, longest=1)), blocks_of)
    two = next(entry for entry in found.strong if entry.setup == Setup(clients=1600, actors=2))
    assert two.speedup == pytest.approx(4 / 3)
    assert two.serial == pytest.approx(0.5)
    assert found.fitted is not None
    assert found.fitted.serial == pytest.approx(0.5)


def test_bottleneck_is_training_and_then_something_else(plants: Analysis):
    found = plants
    assert found.fitted is not None
    assert found.fitted.crossover is not None
    said = words.bottleneck(found, found.fitted)
    assert said.startswith("at 10,000 clients, 4 actors, ")
    assert "% of a round is training" in said
    assert f"would be the bottleneck from about {found.fitted.crossover:,} actors" in said


def test_bottleneck_can_be_the_driver_already():
    slow = CostModel(seconds={**TRUTH.seconds, "driver_client": 1e-2}, longest=1)
    found = analysis(truth=slow)
    assert found.fitted is not None
    assert words.bottleneck(found, found.fitted).endswith("the driver's own work is the bottleneck already")


def test_actors_beyond_the_cores_are_marked_and_not_fitted():
    found = analysis(cores=2)
    assert {setup.actors for setup in found.oversubscribed} == {4}
    assert found.fitted is not None
    assert {setup.actors for setup in found.fitted.setups} == {1, 2}
    with_all = analyse("plants", found.measurements, blocks_of, with_oversubscribed=True)
    assert with_all.fitted is not None
    assert {setup.actors for setup in with_all.fitted.setups} == {1, 2, 4}
    assert "4 *" in tables.markdown(found)
    assert any(line.startswith("* oversubscribed") for line in words.sentences(found))


def test_one_number_of_actors_gives_no_model_and_says_why():
    found = analysis(cores=1)
    assert found.fitted is None
    assert "--actors" in found.why_not
    assert found.why_not in words.sentences(found)
    assert results.to_dict(found)["model"] is None


def test_prediction_says_its_interval_and_its_assumption(plants: Analysis):
    lines = words.sentences(plants)
    prediction = next(line for line in lines if line.startswith("prediction: 100,000 clients on 64 actors"))
    assert "90 % interval" in prediction
    assert any("assume machines like this one" in line for line in lines)


def test_idle_actors_are_told():
    found = analyse("plants", measurements(), blocks_of, [Target(actors=64, clients=1000)])
    assert any("its 17 blocks leave 47 actors idle (blocks.size)" in line for line in words.sentences(found))


def test_default_prediction_is_sixteen_times_the_largest():
    found = analyse("plants", measurements(), blocks_of)
    assert found.fitted is not None
    assert [(f.load.actors, f.load.clients) for f in found.fitted.forecasts] == [(64, 10_000), (64, 160_000)]


def test_plain_values_are_json_and_hold_every_point(plants: Analysis):
    plain = json.loads(json.dumps(results.to_dict(plants), allow_nan=False))
    assert len(plain["points"]) == 27
    point = plain["points"][0]
    assert set(point["params"]) == {"clients", "actors", "nodes", "repeat", "rounds"}
    assert {"round_s", "clients_per_s", "efficiency", "seconds/train"} <= set(point["metrics"])
    assert plain["digests"]["100"] == f"{100:064x}"
    assert plain["model"]["coefficients"]["train_example"]["low"] <= TRUTH.seconds["train_example"]


def test_tables(plants: Analysis):
    console = Console(width=80, record=True, file=StringIO())
    tables.show(console, plants)
    text = console.export_text()
    assert "…" not in text
    assert text.count("10,000") >= 6
    assert tables.markdown(plants).count("| 10,000 | 4 |") == 3


def test_pictures(plants: Analysis, tmp_path: Path):
    paths = figures.draw_all(plants, tmp_path)
    assert sorted(path.name for path in paths) == ["breakdown.png", "efficiency.png", "predicted.png", "round_time.png"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_pictures_of_a_single_setup(tmp_path: Path):
    one = Request(clients=(100,), actors=(1,), repeats=1, rounds=3)
    found = analyse("plants", measurements(one), blocks_of)
    assert sorted(path.name for path in figures.draw_all(found, tmp_path)) == ["breakdown.png", "round_time.png"]


def test_nodes_are_shown_where_they_vary():
    request = REQUEST.model_copy(update={"nodes": (1, 2), "actors": (1, 2)})
    some = [replace(m, cores=2, machine_cores=2) for m in measurements(request, cores=2)]
    found = analyse("plants", some, blocks_of)
    assert "| clients | actors | nodes |" in tables.markdown(found)
    assert {entry.base.nodes == entry.setup.nodes for entry in found.strong} == {True}
