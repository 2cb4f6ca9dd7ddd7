"""The cost model recovers what made the measurements, and says how sure it is."""

import numpy as np
import pytest
from synthetic_studies import REQUEST, TRUTH, blocks_of, measurements

from fedray.scaling import bootstrap, validation
from fedray.scaling.cost import Load, grouped, of_measurements
from fedray.scaling.forecast import crossover, forecast, load_of
from fedray.scaling.grid import Setup
from fedray.scaling.model import COEFFICIENTS, CostModel, fit, longest_path
from fedray.scaling.request import Request, Target


def costs(**options):
    return {setup: of_measurements(repeats) for setup, repeats in grouped(measurements(**options)).items()}


def test_fit_recovers_known_coefficients():
    model = fit(list(costs().values()))
    assert model.seconds == pytest.approx(TRUTH.seconds, rel=1e-6)
    assert model.longest == pytest.approx(1)


def test_evaluation_at_the_end_is_no_part_of_a_round():
    for setup, cost in costs().items():
        assert cost.round_s == pytest.approx(TRUTH.predict(cost.load).round_s), setup


def test_noisy_fit_predicts_rounds_closely():
    model = fit(list(costs(noise=0.1).values()))
    for cost in costs().values():
        assert model.predict(cost.load).round_s == pytest.approx(cost.round_s, rel=0.1)


def test_single_slow_rounds_change_nothing():
    slow = measurements()
    for measurement in slow:
        first = measurement.rounds[0]
        first.seconds["train"] *= 20
    found = {setup: of_measurements(repeats) for setup, repeats in grouped(slow).items()}
    assert fit(list(found.values())).seconds == pytest.approx(TRUTH.seconds, rel=0.02)


def test_intervals_hold_the_truth_about_nine_times_in_ten():
    held = dict.fromkeys(("train_example", "transfer_actor", "driver_client"), 0)
    for seed in range(20):
        drawn = bootstrap.models(grouped(measurements(noise=0.1, seed=seed)), seed=seed, draws=60)
        for name in held:
            low, high = bootstrap.interval([model.seconds[name] for model in drawn])
            held[name] += low <= TRUTH.seconds[name] <= high
    assert all(times >= 14 for times in held.values()), held


def test_bootstrap_is_the_same_for_the_same_seed():
    some = grouped(measurements(noise=0.1))
    assert bootstrap.models(some, seed=1, draws=5) == bootstrap.models(some, seed=1, draws=5)
    assert bootstrap.models(some, seed=1, draws=5) != bootstrap.models(some, seed=2, draws=5)


def test_smaller_half_predicts_the_larger():
    checks = validation.validate(costs(noise=0.03))
    assert len(checks) == 4
    assert min(check.setup.clients for check in checks) >= 1000
    worst = validation.largest(checks)
    assert worst is not None
    assert abs(worst.error) < validation.TARGET


def test_validation_shows_a_model_that_is_wrong():
    bent = costs()
    largest = Setup(clients=10_000, actors=4)
    bent[largest] = of_measurements(
        [m for m in measurements(truth=CostModel(seconds={**TRUTH.seconds, "driver_client": 1e-4}, longest=1.0))
         if m.point.setup == largest]
    )  # fmt: skip
    worst = validation.largest(validation.validate(bent))
    assert worst is not None
    assert worst.setup == largest
    assert worst.error < -0.15


def test_too_few_setups_are_not_validated():
    some = {setup: cost for setup, cost in costs().items() if setup.clients == 1000}
    assert validation.validate(some) == []


def work(blocks: int, slots: int) -> Load:
    return Load(clients=100, examples=100, blocks=blocks, actors=slots, slots=slots, crowding=0)


@pytest.mark.parametrize(
    ("blocks", "slots", "longest_s", "path_s"),
    [
        (8, 2, 1.0, 4.0),
        (9, 2, 1.0, 5.0),
        (3, 8, 1.0, 1.0),
        (3, 8, 1.5, 1.5),
        (1, 1, 1.0, 1.0),
        (5, 2, 1.0, 3.0),
    ],
)
def test_longest_path_of_equal_blocks_is_whole_turns(blocks: int, slots: int, longest_s: float, path_s: float):
    assert longest_path(float(blocks), work(blocks, slots), longest_s) == pytest.approx(path_s)


def test_longest_path_is_within_the_bounds_of_list_schedules():
    generator = np.random.default_rng(3)
    for _ in range(200):
        slots, sizes = int(generator.integers(1, 9)), generator.random(int(generator.integers(1, 40)))
        path_s = longest_path(float(sizes.sum()), work(len(sizes), slots), float(sizes.max()))
        assert path_s >= sizes.sum() / min(slots, len(sizes)) - 1e-9
        assert path_s >= min(sizes.max(), path_s)
        assert path_s <= sizes.sum() / min(slots, len(sizes)) + sizes.max() + 1e-9


def test_forecast_of_a_larger_cluster_holds_the_truth():
    some = costs(noise=0.05)
    model = fit(list(some.values()))
    drawn = bootstrap.models(grouped(measurements(noise=0.05)), seed=0, draws=100)
    target = Target(actors=64, clients=160_000)
    found = forecast(target, some, blocks_of, model, drawn, ratios=[0.95, 1.0, 1.05], seed=0)
    truth_s = TRUTH.predict(load_of(target, some, blocks_of)).round_s
    assert found.load.blocks == 625
    assert found.load.crowding == 1
    assert found.low_s <= truth_s <= found.high_s
    assert found.parts.round_s == pytest.approx(truth_s, rel=0.1)
    assert 0 < found.efficiency < 1


def test_crossover_is_where_training_stops_to_be_the_largest_part():
    load = work(400, 1)
    model = CostModel(seconds={**dict.fromkeys(COEFFICIENTS, 0.0), "train_block": 0.01, "driver_fixed": 0.1}, longest=1)
    assert crossover(model, load) == 40
    slower = CostModel(seconds={**model.seconds, "train_fixed": 0.2}, longest=1)
    assert crossover(slower, load) is None


def test_points_have_different_blocks_in_the_synthetic_grid():
    assert [blocks_of(clients) for clients in REQUEST.clients] == [4, 17, 40]


def test_noise_is_not_taken_for_a_price_of_blocks():
    """Two cohorts whose blocks grow like their training, by chance: examples explain it nearly as well."""
    request = Request(clients=(500, 1000), actors=(1, 2), repeats=2, rounds=6)
    seconds = {**dict.fromkeys(COEFFICIENTS, 0.0), "train_block": 0.0105}
    some = grouped(measurements(request, cores=2, truth=CostModel(seconds=seconds, longest=1.0), noise=0.1))
    model = fit([of_measurements(repeats) for repeats in some.values()])
    assert model.seconds["train_example"] > 0
    large = load_of(Target(actors=1, clients=4000), {s: of_measurements(m) for s, m in some.items()}, blocks_of)
    assert model.predict(large).train_s > 0.4
