"""The failure policy, as tables."""

from typing import Any

import pytest

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.simulation.ledger import FATES
from fedray.simulation.policy import (
    Abort,
    Decision,
    Drop,
    Quarantine,
    Retry,
    Status,
    deadline_s,
    decide,
    enough,
)
from fedray.simulation.settings import FailureConfig


def failures(**settings: Any) -> FailureConfig:
    return parse(FailureConfig, settings)


def after(attempts: int, clients: tuple[int, ...] = (7, 3), deaths: int = 0, **settings: Any) -> Decision:
    return decide(
        Status(
            failures=failures(**settings),
            round=4,
            block=2,
            clients=clients,
            attempts=attempts,
            cause="signal 9",
            history={clients[0]: deaths},
        )
    )


WHOLE, ONE_BY_ONE, ALONE = Retry(parts=((7, 3),)), Retry(parts=((7,), (3,))), Retry(parts=((7,),))
QUARANTINE = {"quarantine_after": 2}
OUT = Quarantine(client=7, cause="2 actors died that trained it alone (signal 9)")


@pytest.mark.parametrize(
    ("attempts", "clients", "deaths", "settings", "decision"),
    [
        (1, (7, 3), 0, {}, WHOLE),
        (2, (7, 3), 0, {}, ONE_BY_ONE),
        (3, (7, 3), 0, {}, ONE_BY_ONE),
        (3, (7,), 1, {}, ALONE),
        (1, (7, 3), 0, {"retries": 1}, WHOLE),
        (1, (7, 3), 0, QUARANTINE, WHOLE),
        (9, (7, 3), 0, QUARANTINE, ONE_BY_ONE),
        (9, (7,), 1, QUARANTINE, ALONE),
        (9, (7,), 2, QUARANTINE, OUT),
        (2, (7,), 2, QUARANTINE | {"retries": 9}, OUT),
        (2, (7,), 2, {"quarantine_after": 3}, ALONE),
        (1, (7, 3), 0, {"on_death": "drop"}, Drop(clients=(7, 3), cause="signal 9")),
        (1, (7,), 5, {"on_death": "drop", **QUARANTINE}, Drop(clients=(7,), cause="signal 9")),
    ],
)  # fmt: skip
def test_what_follows_a_death(
    attempts: int, clients: tuple[int, ...], deaths: int, settings: dict[str, Any], decision: Decision
):
    assert after(attempts, clients, deaths, **settings) == decision


@pytest.mark.parametrize(
    ("attempts", "clients", "settings", "sentence"),
    [
        (4, (7, 3), {}, "the training of block 2 in round 4 lost its actor 4 times (signal 9); look for a client that "
         "kills its process or needs too much memory, set failures.quarantine_after, or raise failures.retries"),
        (1, (7,), {"retries": 0}, "the training of client 7 of block 2 in round 4 lost its actor once (signal 9); "
         "look for a client that kills its process or needs too much memory, set failures.quarantine_after, or raise "
         "failures.retries"),
        (1, (7, 3), {"on_death": "abort"}, "the training of block 2 in round 4 lost its actor (signal 9); set "
         "failures.on_death to replace or drop"),
    ],
)  # fmt: skip
def test_sentence_that_ends_a_run(attempts: int, clients: tuple[int, ...], settings: dict[str, Any], sentence: str):
    assert after(attempts, clients, **settings) == Abort(sentence=sentence)


def test_client_that_kills_its_actors_ends_in_quarantine_whatever_it_was_trained_with():
    """Walks through the decisions as a backend does: 3 kills every actor, 7 and 5 are innocent."""
    waiting, deaths, trained, begun = [((7, 3, 5), 1)], 0, [], 0
    while waiting:
        clients, attempts = waiting.pop(0)
        begun += 1
        if 3 not in clients:
            trained += clients
            continue
        deaths += len(clients) == 1
        status = Status(failures=failures(**QUARANTINE), round=1, block=0, clients=clients, attempts=attempts,
                        cause="", history={3: deaths})  # fmt: skip
        decision = decide(status)
        if isinstance(decision, Quarantine):
            assert decision.client == 3
            continue
        assert isinstance(decision, Retry)
        assert sum(decision.parts, ()) == clients
        waiting += [(part, attempts + 1) for part in decision.parts]
    assert sorted(trained) == [5, 7]
    assert (deaths, begun) == (2, 6)


def fates(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(FATES, 0) | numbers


@pytest.mark.parametrize(
    ("min_clients", "numbers", "needed"),
    [
        (None, {"ok": 1, "dropped": 9}, None),
        (4, {"ok": 2, "retried": 2, "failed": 6}, None),
        (5, {"ok": 2, "retried": 2, "failed": 6}, 5),
        (0.4, {"ok": 4, "rejected": 6}, None),
        (0.41, {"ok": 4, "rejected": 6}, 5),
        (1.0, {"ok": 10}, None),
        (1.0, {"ok": 9, "quarantined": 1}, 10),
        (2, {"ok": 1, "rejected": 9}, 2),
    ],
)
def test_updates_that_a_round_needs(min_clients: int | float | None, numbers: dict[str, int], needed: int | None):
    abort = enough(failures(min_clients=min_clients), fates(**numbers), 3)
    assert (abort is None) == (needed is None)
    if abort is not None:
        assert f"but failures.min_clients needs {needed}; " in abort.sentence
        assert abort.sentence.endswith("or lower failures.min_clients")


def test_sentence_of_too_few_updates_says_what_became_of_the_others():
    abort = enough(failures(min_clients=5), fates(ok=2, retried=1, dropped=4, failed=3), 8)
    assert abort == Abort(
        sentence="round 8 has 3 usable updates of 10 clients (3 failed, 4 dropped), but failures.min_clients needs 5; "
        "set failures.on_death to replace, or lower failures.min_clients"
    )


SEEN = [(100.0, 10.0)] * 9 + [(100.0, 1000.0)]


@pytest.mark.parametrize(
    ("deadline", "work", "seen", "seconds"),
    [
        (None, 100.0, SEEN, None),
        (7.5, 100.0, [], 7.5),
        ("auto", 100.0, [], None),
        ("auto", 100.0, SEEN[:4], None),
        ("auto", 100.0, SEEN[:5], 100.0),
        ("auto", 1000.0, SEEN[:5], 1000.0),
        ("auto", 1.0, SEEN[:5], 30.0),
        ("auto", 0.0, [(0.0, 0.0)] * 5, 30.0),
    ],
)
def test_deadline(deadline: Any, work: float, seen: list[tuple[float, float]], seconds: float | None):
    assert deadline_s(failures(deadline=deadline), work, seen) == (None if seconds is None else pytest.approx(seconds))


def test_learnt_deadline_is_not_moved_by_one_that_hung():
    twenty = [(100.0, 10.0)] * 19
    assert deadline_s(failures(deadline="auto"), 100.0, [*twenty, (100.0, 1e6)]) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"on_death": "ignore"}, "on_death is 'ignore', but must be 'replace', 'drop' or 'abort'; change on_death"),
        ({"quarantine_after": 1}, "quarantine_after is 1, but must be greater than or equal to 2; change"),
        ({"min_clients": 0}, "min_clients: 0 is neither a whole number from 1 nor a part above 0 and up to 1.0"),
        ({"min_clients": 1.5}, "min_clients: 1.5 is neither a whole number from 1 nor a part"),
        ({"deadline": 0}, "deadline is 0, but must be greater than 0; change deadline"),
        ({"retries": -1}, "retries is -1, but must be greater than or equal to 0; change retries"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        failures(**settings)
