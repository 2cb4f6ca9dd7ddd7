"""What holds for every selection."""

from typing import Any

import numpy as np
import pytest
from choosing import among, counts, outcome, same
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.experiment import Experiment, override
from fedray.server.sampling import CohortConfig, choose
from fedray.server.selection import SELECTIONS

LEARNING = [
    {"name": "power_of_choice"},
    {"name": "power_of_choice", "ratio": 3, "loss": "evaluated"},
    {"name": "oort"},
    {"name": "oort", "exploration": 0, "exploration_min": 0, "max_times": 2, "pace_window": 2},
    {"name": "fair"},
    {"name": "fair", "guarantee": 1, "speed": 2},
    {"name": "tifl"},
    {"name": "tifl", "tiers": 2, "interval": 2, "credits": 2},
]


def selection(sampling: Any):
    return parse(CohortConfig, {"sampling": sampling}).sampling


def test_every_selection_is_tested():
    assert {name for name, kind in SELECTIONS.options.items() if kind.learns} == {each["name"] for each in LEARNING}


@settings(max_examples=120, deadline=None)
@given(
    sampling=st.sampled_from(LEARNING), num=st.integers(1, 30), with_devices=st.booleans(), seed=st.integers(0, 10**6)
)
def test_as_many_as_are_wanted_of_the_candidates_and_nobody_twice(
    sampling: dict[str, Any], num: int, with_devices: bool, seed: int
):
    """Rounds of random candidates, in which chance decides who reports and with what loss, also none."""
    mine, random = selection(sampling), np.random.default_rng(seed)
    memory = mine.start(num)
    for round in range(1, 8):
        clients = np.flatnonzero(random.random(num) < 0.7)
        if not len(clients):
            continue
        wanted = int(random.integers(1, len(clients) + 1))
        losses = random.random(num)
        candidates = among(
            clients.tolist(),
            wanted,
            sizes=random.integers(1, 50, len(clients)),
            seed=seed,
            round=round,
            duration_s=random.exponential(size=len(clients)) if with_devices else None,
            losses=lambda asked, losses=losses: losses[asked],
        )
        before = {name: values.copy() for name, values in memory.items()}
        chosen = mine.select(candidates, memory)
        assert chosen.dtype == np.int64
        assert len(chosen) == len(set(chosen.tolist())) == wanted
        assert set(chosen.tolist()) <= set(clients.tolist())
        assert np.array_equal(chosen, mine.select(candidates, memory))
        reports = {client: random.choice([None, 0.0, float(losses[client])]) for client in np.sort(chosen).tolist()}
        following = mine.note(memory, outcome(round, reports))
        assert same(memory, before)  # nothing is changed in place
        assert {name: v.dtype for name, v in following.items()} == {name: v.dtype for name, v in before.items()}
        memory = following


@pytest.mark.parametrize("sampling", LEARNING, ids=str)
def test_rounds_differ_and_a_seed_decides(sampling: dict[str, Any]):
    config = parse(CohortConfig, {"size": 10, "sampling": sampling})
    sizes = np.full(200, 5)
    cohorts = {tuple(choose(config, sizes, seed, round).tolist()) for seed in range(3) for round in range(1, 20)}
    assert len(cohorts) == 3 * 19


@pytest.mark.parametrize("sampling", [each for each in LEARNING if each["name"] != "power_of_choice"], ids=str)
def test_everybody_takes_part(sampling: dict[str, Any]):
    assert (counts(selection(sampling), 40, 5, 200) > 0).all()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"cohort": {"sampling": "oort"}}, {"name": "oort"}),
        ({"cohort": {"sampling": {"name": "fair", "guarantee": 0.8}}}, {"name": "fair", "guarantee": 0.8}),
        ({"cohort": {"sampling": "uniform"}}, {"name": "uniform"}),
        ({}, {"name": "uniform"}),
    ],
)
def test_a_name_is_enough(settings: dict[str, Any], wanted: dict[str, Any]):
    found = parse(Experiment, settings).cohort.sampling
    assert found == selection(wanted)
    assert parse(Experiment, parse(Experiment, settings).model_dump()).cohort.sampling == found


def test_overrides_reach_the_settings_of_a_selection():
    settings = override({"cohort": {"sampling": "oort"}}, ["cohort.sampling.pace=0.5"])
    assert parse(Experiment, settings).cohort.sampling == selection({"name": "oort", "pace": 0.5})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"cohort": {"sampling": "ort"}}, r"cohort.sampling: no sampling is called 'ort' \(did you mean 'oort'\?\)"),
        ({"cohort": {"sampling": {"name": "fair", "guarantee": 2}}}, "cohort.sampling.guarantee is 2, but must"),
        ({"cohort": {"sampling": {"name": "power_of_choice", "d": 2}}}, "unknown key 'd'"),
        (
            {"cohort": {"sampling": "oort"}, "devices": {}, "protocol": {"name": "fedbuff", "concurrency": 5}},
            "cohort.sampling is oort, but fedbuff asks in random order; set cohort.sampling to uniform",
        ),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        parse(Experiment, settings)
