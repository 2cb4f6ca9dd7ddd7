"""What is due when, and whom it hits: reproducible, and the same whatever runs the clients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import blocks, faults_of, plan, rounds_of

from fedray.errors import ConfigError, RunFolderError
from fedray.simulation.faults.expand import check
from fedray.simulation.faults.plan import NO_FAULTS, FaultPlan, keep

KILL: dict[str, Any] = {"kind": "kill", "actors": 2}


def same(one: FaultPlan, other: FaultPlan) -> bool:
    columns = ((column, other.columns[name]) for name, column in one.columns.items())
    return one.rounds == other.rounds and all(a.tolist() == b.tolist() for a, b in columns)


@pytest.mark.parametrize(
    ("when", "rounds"),
    [
        ({"rounds": [7, 3, 3, 21]}, [3, 7]),
        ({"every": 6}, [6, 12, 18]),
        ({"every": 6, "first": 1}, [1, 7, 13, 19]),
        ({"every": 6, "first": 2, "last": 14}, [2, 8, 14]),
        ({"rate": 1.0}, list(range(1, 21))),
    ],
)
def test_rounds_that_are_due(when: dict[str, Any], rounds: list[int]):
    assert rounds_of(plan({"kind": "kill_driver", **when})) == rounds
    assert rounds_of(plan({**KILL, **when})) == rounds
    assert rounds_of(plan({"kind": "exception", "clients": [3, 4, 3], **when})) == sorted(rounds * 2)


def test_rate_is_a_probability_for_each_round():
    drawn = rounds_of(plan({"kind": "storage_full", "rate": 0.3}, rounds=4000))
    assert abs(len(drawn) - 1200) < 5 * np.sqrt(4000 * 0.3 * 0.7)
    assert len(set(drawn)) == len(drawn)


def test_rate_is_a_probability_for_each_target():
    deviation = np.sqrt(4000 * 0.3 * 0.7)
    clients = plan({"kind": "hang", "clients": [1, 2, 3, 4], "rate": 0.3}, rounds=1000)
    actors = plan({"kind": "hang", "actors": 0.4, "rate": 0.3}, rounds=1000)
    assert abs(len(clients) - 1200) < 5 * deviation
    assert abs(actors.columns["num"].sum() - 1200) < 5 * deviation
    assert set(actors.columns["num"].tolist()) == {1, 2, 3, 4}
    shares = plan({"kind": "hang", "blocks": 0.5, "rate": 0.3}, {"kind": "exception", "fraction": 0.25, "rate": 0.5})
    hit = [faults_of(shares.due(round, blocks())) for round in range(1, 21)]
    assert 0 < sum(f.kind == "hang" for faults in hit for f in faults) < 20 * 4
    assert 0 < sum(f.kind == "exception" for faults in hit for f in faults) < 20 * 6


def test_mean_rounds_gives_exponential_gaps():
    """Rounds are short against the mean, so that rounding up to a whole round is small."""
    rounds = np.array(rounds_of(plan({"kind": "kill_node", "mean_rounds": 200}, rounds=400_000)))
    gaps = np.diff(rounds)
    assert abs(gaps.mean() - 200) < 5 * 200 / np.sqrt(len(gaps))
    assert abs((gaps > 200).mean() - np.exp(-1)) < 0.06
    assert abs((gaps > 400).mean() - np.exp(-2)) < 0.04


def test_mean_of_less_than_a_round_comes_more_than_once_in_one():
    rounds = rounds_of(plan({"kind": "kill_node", "mean_rounds": 0.5}, rounds=1000))
    assert abs(len(rounds) - 2000) < 5 * np.sqrt(2000)
    assert max(rounds.count(round) for round in range(1, 50)) > 2
    draws = plan({**KILL, "mean_rounds": 0.5}, rounds=50).columns["draw"].tolist()
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize(
    ("who", "clients", "num_blocks"),
    [
        ({"clients": [104, 101, 110]}, {101, 104, 110}, 3),
        ({"actors": 3}, None, 3),
        ({"actors": 0.3}, None, 3),
        ({"actors": 0.01}, None, 1),
        ({"actors": 500}, None, 8),
        ({"blocks": 3}, None, 3),
        ({"blocks": 0.25}, None, 2),
        ({"blocks": 1.0}, None, 8),
        ({"block": 6}, None, 1),
    ],
)
def test_whom_a_fault_of_a_process_hits(who: dict[str, Any], clients: set[int] | None, num_blocks: int):
    due = plan({"kind": "kill", "rounds": [1], **who}).due(1, blocks())
    faults = faults_of(due)
    assert len({fault.block for fault in faults}) == len(faults) == num_blocks
    assert due.others == ()
    for block in due.blocks:
        for fault in block.faults:
            assert fault.block == block.index
            assert fault.client in block.clients
    assert clients is None or {fault.client for fault in faults} == clients
    assert "block" not in who or faults[0].block == 6


def test_whom_a_fault_of_a_client_hits():
    due = plan({"kind": "exception", "rounds": [1], "fraction": 0.25}).due(1, blocks())
    clients = [fault.client for fault in faults_of(due)]
    assert len(set(clients)) == len(clients) == 6
    assert {fault.id for fault in faults_of(due)} == {0}
    assert [f.client in block.clients for block in due.blocks for f in block.faults] == [True] * 6
    assert [
        f.client for f in faults_of(plan({"kind": "exception", "rounds": [1], "clients": [107]}).due(1, blocks()))
    ] == [107]


@pytest.mark.parametrize("who", [{"clients": [99]}, {"block": 8}])
def test_fault_without_a_target_is_told(who: dict[str, Any]):
    due = plan({"kind": "kill", "rounds": [1], **who}).due(1, blocks())
    assert faults_of(due) == []
    assert [(fault.kind, fault.block) for fault in due.others] == [("kill", -1)]


def test_round_of_no_clients_has_no_targets():
    due = plan(KILL | {"rounds": [1]}, {"kind": "exception", "rounds": [1], "fraction": 0.5}).due(1, ())
    assert due.blocks == due.others == ()


def test_round_without_faults_is_left_alone():
    round = blocks()
    assert plan({**KILL, "rounds": [3]}).due(2, round).blocks is round
    assert NO_FAULTS.due(1, round).blocks is round


SOME = st.lists(
    st.sampled_from(
        [
            {"kind": "kill", "actors": 2, "every": 3},
            {"kind": "hang", "blocks": 0.3, "rate": 0.4},
            {"kind": "kill", "clients": [100, 104, 120], "mean_rounds": 2.5, "repeat": True},
            {"kind": "exception", "fraction": 0.2, "every": 2},
            {"kind": "corrupt", "how": "nan", "clients": [103], "rate": 0.5},
            {"kind": "kill_driver", "mean_rounds": 3},
        ]
    ),
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(faults=SOME, seed=st.integers(0, 2**63 - 1), num_actors=st.integers(1, 400), rounds=st.integers(1, 12))
def test_plan_follows_from_the_seed_and_from_no_pool(faults: list, seed: int, num_actors: int, rounds: int):
    """The same again; the same with any number of actors; and the first rounds of a longer run are the same."""
    once, longer = plan(*faults, seed=seed, rounds=rounds), plan(*faults, seed=seed, rounds=12, num_actors=num_actors)
    assert same(once, plan(*faults, seed=seed, rounds=rounds, num_actors=num_actors))
    for round in range(1, rounds + 1):
        due = once.due(round, blocks())
        assert faults_of(due) == faults_of(once.due(round, blocks()))
        assert faults_of(due) == faults_of(longer.due(round, blocks()))
        assert due.others == longer.due(round, blocks()).others
        assert [fault.id for fault in due.others] == sorted(fault.id for fault in due.others)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), num_blocks=st.integers(1, 40), num=st.integers(1, 50))
def test_actors_killed_are_as_many_blocks(seed: int, num_blocks: int, num: int):
    due = plan({"kind": "kill", "actors": num, "rounds": [1]}, seed=seed).due(1, blocks(num_blocks))
    hit = [fault.block for fault in faults_of(due)]
    assert hit == sorted(set(hit))
    assert len(hit) == min(num, num_blocks)


def test_seeds_rounds_and_rows_draw_differently():
    def hit(seed: int, round: int, row: int) -> tuple[int, ...]:
        faults = plan(KILL | {"every": 1}, KILL | {"every": 1}, seed=seed).due(round, blocks(40))
        return tuple(fault.block for fault in faults_of(faults) if fault.id % 2 == row)

    assert len({hit(seed, round, row) for seed in range(3) for round in (1, 2, 3) for row in (0, 1)}) == 18


def test_every_block_and_every_client_of_it_is_hit_some_time():
    faults = plan({"kind": "kill", "actors": 1, "every": 1}, rounds=400)
    hit = [faults_of(faults.due(round, blocks()))[0] for round in range(1, 401)]
    assert {fault.block for fault in hit} == set(range(8))
    assert {fault.client for fault in hit} == set(range(100, 124))


def test_plan_survives_its_file(tmp_path: Path):
    before = plan(
        {"kind": "kill", "actors": 0.3, "every": 2},
        {"kind": "corrupt", "how": "inf", "fraction": 0.1, "rate": 0.5},
        {"kind": "kill", "clients": [3, 4], "rounds": [2], "repeat": True},
    )
    before.save(tmp_path)
    after = FaultPlan.load(tmp_path)
    assert after is not None
    assert same(before, after)
    assert {name: column.dtype for name, column in before.columns.items()} == {
        name: column.dtype for name, column in after.columns.items()
    }
    for round in range(1, 21):
        assert faults_of(before.due(round, blocks())) == faults_of(after.due(round, blocks()))


def test_plan_without_rows_survives_its_file(tmp_path: Path):
    plan({**KILL, "rounds": [99]}).save(tmp_path)
    after = FaultPlan.load(tmp_path)
    assert after is not None
    assert (len(after), after.rounds) == (0, 20)
    assert after.due(3, blocks()).others == ()


def test_damaged_plan_is_a_sentence(tmp_path: Path):
    assert FaultPlan.load(tmp_path) is None
    (tmp_path / "faults.parquet").write_bytes(b"no table")
    with pytest.raises(RunFolderError, match=r"faults\.parquet is damaged \(.*\); run again"):
        FaultPlan.load(tmp_path)


def test_run_keeps_the_plan_it_began_with(tmp_path: Path):
    """On another pool a fraction of the actors is another number: that counts only for rounds that come anew."""
    share = {"kind": "kill", "actors": 0.5, "every": 1}
    assert same(keep(tmp_path, plan(share, rounds=3, num_actors=4)), plan(share, rounds=3, num_actors=4))
    assert same(keep(tmp_path, plan(share, rounds=3, num_actors=8)), plan(share, rounds=3, num_actors=4))
    longer = keep(tmp_path, plan(share, rounds=5, num_actors=8))
    assert longer.columns["num"].tolist() == [2, 2, 2, 4, 4]
    assert [longer.row(id).id for id in range(5)] == [0, 1, 2, 3, 4]
    assert same(keep(tmp_path, plan(share, rounds=2, num_actors=1)), longer)


def test_run_without_faults_has_no_plan_in_its_folder(tmp_path: Path):
    assert keep(tmp_path, NO_FAULTS) is NO_FAULTS
    assert list(tmp_path.iterdir()) == []


def test_clients_that_are_not_there_are_refused():
    faults = plan({"kind": "kill", "clients": [3, 12], "rounds": [2]})
    check(faults, 13)
    with pytest.raises(ConfigError, match="a fault of round 2 hits client 12, but the population has 12 clients"):
        check(faults, 12)
    check(NO_FAULTS, 1)
