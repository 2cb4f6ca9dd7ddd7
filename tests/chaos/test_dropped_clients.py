"""What the policy takes out of a round on Ray is what it takes out serially."""

from pathlib import Path
from typing import Any

import pytest
from runs import MACHINE, PLACES, assert_equal, serial
from strikes import BUT_CAUSE, TWO, events, fates, faulty, of_block, run_in, serially

from fedray import Result
from fedray.errors import RoundFailed
from fedray.simulation.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("ray_here")

MOMENTS = ("before", "during", "after")
KILLS = [{"kind": "kill", "at": at, "blocks": 1, "rounds": [round]} for round, at in enumerate(MOMENTS, start=1)]
DROP: dict[str, Any] = {"rounds": 4, "failures": {"on_death": "drop"}}
BAD = 5
ALWAYS = {"kind": "kill", "clients": [BAD], "every": 1, "repeat": True}


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return serially(tmp_path_factory.mktemp("dropped"), *KILLS, **DROP)


@pytest.mark.parametrize("num_actors", [2, 3])
def test_dropped_clients_are_those_of_a_serial_run(dropped: Result, num_actors: int, tmp_path: Path) -> None:
    result = faulty(tmp_path, *KILLS, actors={"num_actors": num_actors}, **DROP)
    assert_equal(result, dropped, (*MACHINE, "cause"))
    for round, at in enumerate(MOMENTS, start=1):
        (line,) = events(result, round)
        became = fates(result, round)
        assert {c for c, fate in became.items() if fate == "dropped"} == of_block(result, round, line["block"])
        assert set(became.values()) == {"ok", "dropped"}
        rows = result.clients[(result.clients["round"] == round) & (result.clients["fate"] == "dropped")]
        assert rows["cause"].str.startswith(f"planned: kill {at} training; ").all()
        assert line["recovered_at"] is None
    records, usable = RunFolder(result.folder).lines("rounds"), result.clients[result.clients["fate"] == "ok"]
    assert [record["weight"] for record in records] == usable.groupby("round")["examples"].sum().tolist()


def test_abort_is_one_sentence(tmp_path: Path) -> None:
    sentence = (
        r"^the training of block \d in round 1 lost its actor \(planned: kill before training; .*\); set failures"
    )
    with pytest.raises(RoundFailed, match=sentence) as caught:
        faulty(tmp_path, KILLS[0], failures={"on_death": "abort"})
    assert "\n" not in str(caught.value)
    result = run_in(tmp_path)
    assert result.state == "failed"
    (line,) = events(result)
    assert (line["fault"], line["kind"], line["recovered_at"]) == (0, "kill", None)
    assert line["injected_at"] <= line["detected_at"]


def test_client_that_kills_every_actor_is_quarantined_as_in_a_serial_run(tmp_path: Path) -> None:
    more: dict[str, Any] = {"rounds": 3, "failures": {"quarantine_after": 2}}
    reference = serially(tmp_path / "serial", ALWAYS, **more)
    result = faulty(tmp_path, ALWAYS, **more)
    assert_equal(result, reference, BUT_CAUSE)
    for round in (1, 2, 3):
        became = fates(result, round)
        assert [client for client, fate in became.items() if fate == "quarantined"] == [BAD]
        assert set(became.values()) <= ({"ok", "retried", "quarantined"} if round == 1 else {"ok", "quarantined"})
    rows = result.clients[result.clients["client"] == BAD]
    assert rows["attempts"].tolist() == reference.clients.loc[rows.index, "attempts"].tolist() == [4, 0, 0]
    assert rows["cause"].str.startswith("2 actors died that trained it alone (planned: kill during training").all()
    assert result.history["deaths"].tolist() == [4, 0, 0]


def test_client_that_kills_every_actor_is_named(tmp_path: Path) -> None:
    sentence = (
        rf"^the training of client {BAD} of block \d in round 1 lost its actor 3 times \(planned: kill .*retries$"
    )
    with pytest.raises(RoundFailed, match=sentence):
        faulty(tmp_path, ALWAYS, failures={"retries": 2})
    assert run_in(tmp_path).state == "failed"
    assert [event["fault"] for event in events(run_in(tmp_path))] == [0, 0, 0]


def test_client_with_an_actor_of_its_own_takes_no_other_with_it(tmp_path: Path) -> None:
    six: dict[str, Any] = {"data": {"name": "fleet", "machines": 6}}
    result = faulty(tmp_path, *KILLS[:2], actors={"clients_per_actor": 1}, **six)
    assert_equal(result, serial(tmp_path / "serial", **six), PLACES)
    assert result.history["deaths"].tolist() == [1, 1, 0]
    for round in (1, 2):
        (line,) = events(result, round)
        assert [client for client, fate in fates(result, round).items() if fate == "retried"] == [line["client"]]
        assert line["num_recomputed"] == 1


def test_clients_own_failures_are_those_of_a_serial_run(tmp_path: Path) -> None:
    plan = [
        {"kind": "exception", "fraction": 0.2, "rounds": [1]},
        {"kind": "corrupt", "how": "nan", "fraction": 0.2, "rounds": [2]},
        {"kind": "corrupt", "how": "bit_flip", "fraction": 0.2, "rounds": [3]},
    ]
    more: dict[str, Any] = {"failures": {"client_error": "drop", "rejected_update": "drop"}}
    reference = serially(tmp_path / "serial", *plan, **more)
    result = faulty(tmp_path, *plan, actors=TWO, **more)
    assert_equal(result, reference)
    assert [list(fates(result, round).values()).count(fate) for round, fate in ((1, "failed"), (2, "rejected"))] == [
        4,
        4,
    ]
    known = ("fault", "round", "kind", "block", "client", "cause")

    def told(run: Result) -> list[tuple[Any, ...]]:
        return sorted(tuple(event[name] for name in known) for event in events(run))

    assert told(result) == told(reference)
    assert len(told(result)) == 12
    assert all(event["actor"] in (0, 1) and event["pid"] and event["node"] for event in events(result))
