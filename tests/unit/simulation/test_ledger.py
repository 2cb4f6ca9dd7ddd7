import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_runs import block

from fedray.errors import ClientError, RoundFailed, UpdateRejected
from fedray.messages import Block, BlockReport, Failure, Fault
from fedray.simulation.blocks import form, part
from fedray.simulation.ledger import FATES, Ledger, close, judge
from fedray.simulation.policy import MISSED
from fedray.simulation.settings import FailureConfig

BLOCKS = (block(0, 0, 7, 3), block(1, 2, 1, 9), block(2, 4, 5))
COHORT = np.array([1, 3, 5, 7, 9])


def report(of: Block, pid: int = 1, more: dict[str, Any] | None = None, **failures: Failure) -> BlockReport:
    num = len(of.clients)
    columns = {
        "client": of.clients,
        "examples": of.clients * 10,
        "steps": np.full(num, 2),
        "loss": of.clients / 10,
        "seconds": np.full(num, 0.5),
    }
    failed = {int(name[1:]): failure for name, failure in failures.items()}
    return BlockReport(block=of.index, start=of.start, columns=columns, failures=failed, pid=pid, **(more or {}))


def test_reports_in_any_order_close_to_the_cohort():
    reports = [report(BLOCKS[2], 4), report(BLOCKS[0], 5), report(BLOCKS[1], 6)]
    ledger = close(COHORT, BLOCKS, reports, {2: 3}, {})
    assert ledger.columns["client"].tolist() == [7, 3, 1, 9, 5]
    assert ledger.columns["examples"].tolist() == [70, 30, 10, 90, 50]
    assert ledger.columns["fate"].tolist() == ["ok", "ok", "retried", "retried", "ok"]
    assert ledger.columns["attempts"].tolist() == [1, 1, 3, 3, 1]
    assert ledger.columns["block"].tolist() == [0, 0, 1, 1, 2]
    assert ledger.columns["pid"].tolist() == [5, 5, 6, 6, 4]
    assert ledger.fates == {"ok": 3, "retried": 2, "failed": 0, "rejected": 0, "dropped": 0, "quarantined": 0}
    assert ledger.columns["cause"].tolist() == [""] * 5
    assert ledger.columns["actor"].tolist() == [-1] * 5
    assert ledger.columns["node"].tolist() == [""] * 5


def test_ledger_says_where_and_when():
    """A backend says it where it knows; what it does not say is when the ledger closes."""
    before = time.time()
    reports = [report(BLOCKS[0], more={"actor": 4, "node": "b", "time": 12.5}), *map(report, BLOCKS[1:])]
    columns = close(COHORT, BLOCKS, reports, {}, {}).columns
    assert columns["actor"].tolist() == [4, 4, -1, -1, -1]
    assert columns["node"].tolist() == ["b", "b", "", "", ""]
    assert columns["time"].dtype == np.float64
    assert columns["time"][:2].tolist() == [12.5, 12.5]
    assert (columns["time"][2:] >= before).all()


def test_clients_of_which_nothing_came_have_their_fate_and_cause():
    """9 of block 1 was lost at the second attempt, when 1 had come alone; 20 was in no block at all."""
    lost = {
        9: Failure(fate="dropped", cause="its actor died", time=7.0),
        20: Failure(fate="quarantined", cause="2 actors died"),
    }
    alone = report(block(8, 2, 1), more={"actor": 3})
    reports = [alone, report(BLOCKS[0]), report(BLOCKS[2])]
    ledger = close(np.append(COHORT, 20), BLOCKS, reports, {2: 2, 3: 3}, lost)
    assert ledger.columns["client"].tolist() == [7, 3, 1, 9, 5, 20]
    assert ledger.columns["fate"].tolist() == ["ok", "ok", "retried", "dropped", "ok", "quarantined"]
    assert ledger.columns["attempts"].tolist() == [1, 1, 2, 3, 1, 0]
    assert ledger.columns["block"].tolist() == [0, 0, 1, 1, 2, -1]
    assert ledger.columns["actor"].tolist() == [-1, -1, 3, -1, -1, -1]
    assert ledger.columns["examples"].tolist() == [70, 30, 10, 0, 50, 0]
    assert ledger.columns["cause"].tolist() == ["", "", "", "its actor died", "", "2 actors died"]
    assert ledger.columns["time"][3] == 7.0
    assert ledger.fates == {"ok": 3, "retried": 1, "failed": 0, "rejected": 0, "dropped": 1, "quarantined": 1}
    assert ledger.loss == pytest.approx((70 * 0.7 + 30 * 0.3 + 10 * 0.1 + 50 * 0.5) / 160)


def test_round_of_which_nothing_came_closes():
    lost = {client: Failure(fate="dropped", cause="gone") for client in COHORT.tolist()}
    ledger = close(COHORT, BLOCKS, [], {}, lost)
    assert ledger.fates["dropped"] == 5
    with pytest.raises(RoundFailed, match=r"round 4 has 0 usable updates of 5 clients \(5 dropped\), and no mean"):
        judge(ledger, FailureConfig(), 4)


def test_every_client_has_exactly_one_fate():
    failures = {"c3": Failure(fate="failed", cause="a"), "c9": Failure(fate="rejected", cause="b")}
    reports = [report(BLOCKS[0], c3=failures["c3"]), report(BLOCKS[1], c9=failures["c9"]), report(BLOCKS[2])]
    ledger = close(COHORT, BLOCKS, reports, {2: 2}, {})
    assert ledger.columns["fate"].tolist() == ["ok", "failed", "retried", "rejected", "ok"]
    assert sum(ledger.fates.values()) == 5
    assert set(ledger.fates) == set(FATES) - set(MISSED)
    assert ledger.failures == {3: failures["c3"], 9: failures["c9"]}


def test_loss_is_the_mean_over_examples_of_usable_updates():
    nan = report(BLOCKS[0], c3=Failure(fate="failed", cause="a"))
    nan.columns["loss"] = np.array([0.7, np.nan])
    ledger = close(COHORT, BLOCKS, [nan, report(BLOCKS[1]), report(BLOCKS[2])], {}, {})
    assert ledger.loss == pytest.approx((70 * 0.7 + 10 * 0.1 + 90 * 0.9 + 50 * 0.5) / 220)


@pytest.mark.parametrize(
    "reports",
    [
        [],
        [0, 1],
        [0, 2],
        [1, 2],
        [0, 1, 2, 2],
        [0, 1, 1, 2],
        [0, 0, 1, 2],
    ],
)
def test_ledger_that_does_not_close_is_a_defect(reports: list[int]):
    with pytest.raises(RuntimeError, match="the ledger does not close"):
        close(COHORT, BLOCKS, [report(BLOCKS[i]) for i in reports], {}, {})


def test_single_missing_report_is_a_defect():
    with pytest.raises(RuntimeError, match="the ledger does not close"):
        close(BLOCKS[0].clients, BLOCKS[:1], [], {}, {})


@pytest.mark.parametrize(
    ("reported", "dropped", "sentence"),
    [
        ((7, 3), (), "client 5 has no fate"),
        ((7, 7), (5,), "client 7 has two fates"),
        ((7, 3), (5, 3), "client 3 has two fates"),
        ((7, 4), (5, 3), "client 4 is not in the cohort"),
        ((7, 3), (5, 6), "client 6 is not in the cohort"),
        ((7,), (), r"client 3 has no fate \(and 1 more\)"),
    ],
)
def test_ledger_goes_by_client_ids(reported: tuple[int, ...], dropped: tuple[int, ...], sentence: str):
    """Lengths and positions alone would fit in some of these."""
    lost = {client: Failure(fate="dropped", cause="gone") for client in dropped}
    with pytest.raises(RuntimeError, match=f"^the ledger does not close: {sentence}$"):
        close(np.array([3, 5, 7]), (block(0, 0, 3, 5, 7),), [report(block(0, 0, *reported))], {}, lost)


def ledger(**failures: Failure) -> Ledger:
    return close(BLOCKS[0].clients, BLOCKS[:1], [report(BLOCKS[0], **failures)], {}, {})


FAILED = Failure(fate="failed", cause="ValueError: no", details="trace")
REJECTED = Failure(fate="rejected", cause="it holds NaN")


def test_abort_names_the_client():
    with pytest.raises(ClientError, match=r"^client 3 failed in round 8: ValueError: no$") as caught:
        judge(ledger(c3=FAILED), FailureConfig(), 8)
    assert caught.value.details == "trace"
    with pytest.raises(UpdateRejected, match=r"^the update of client 3 in round 8 was rejected: it holds NaN$"):
        judge(ledger(c3=REJECTED), FailureConfig(), 8)


def test_each_policy_is_about_its_own_kind_of_failure():
    drop_failed, drop_rejected = FailureConfig(client_error="drop"), FailureConfig(rejected_update="drop")
    judge(ledger(c3=FAILED), drop_failed, 1)
    judge(ledger(c3=REJECTED), drop_rejected, 1)
    with pytest.raises(UpdateRejected):
        judge(ledger(c3=REJECTED), drop_failed, 1)
    with pytest.raises(ClientError):
        judge(ledger(c3=FAILED), drop_rejected, 1)


def test_round_without_any_usable_update_ends_the_run_whatever_the_policy():
    drop = FailureConfig(client_error="drop", rejected_update="drop")
    with pytest.raises(ClientError, match="no client of the cohort has a usable update"):
        judge(ledger(c3=FAILED, c7=REJECTED), drop, 1)
    judge(ledger(), drop, 1)


def test_blocks_are_cut_by_size_of_shard_then_id():
    sizes = np.array([5, 1, 5, 3, 1, 9])
    blocks = form(np.array([0, 1, 2, 4, 5]), sizes, 2, 6)
    assert [b.clients.tolist() for b in blocks] == [[1, 4], [0, 2], [5]]
    assert [(b.round, b.index, b.start, b.work) for b in blocks] == [(6, 0, 0, 2.0), (6, 1, 2, 10.0), (6, 2, 4, 9.0)]


def test_blocks_do_not_depend_on_the_order_of_the_cohort():
    random = np.random.default_rng(0)
    sizes, cohort = random.integers(1, 9, 200), random.choice(200, 90, replace=False)
    first, second = form(np.sort(cohort), sizes, 7, 1), form(cohort, sizes, 7, 1)
    assert all(np.array_equal(a.clients, b.clients) for a, b in zip(first, second, strict=True))
    assert np.array_equal(np.sort(np.concatenate([b.clients for b in first])), np.sort(cohort))


def test_part_of_a_block_has_its_faults_and_an_index_of_its_own():
    def fault(client: int) -> Fault:
        return Fault(id=client, round=1, kind="kill", client=client, block=1, at="before")

    whole = replace(block(1, 4, 9, 3, 5, 7), work=8.0, faults=(fault(3), fault(7)))
    middle, last = part(whole, (3, 5), 6), part(whole, (7,), 6)
    assert (middle.index, middle.start, middle.clients.tolist(), middle.work) == (11, 5, [3, 5], 4.0)
    assert (last.index, last.start, last.clients.tolist(), last.work) == (13, 7, [7], 2.0)
    assert ([f.client for f in middle.faults], [f.client for f in last.faults]) == ([3], [7])
    assert {f.block for f in (*middle.faults, *last.faults)} == {1}
    assert part(whole, (9, 3, 5, 7), 6) is whole
