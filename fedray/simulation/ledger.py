"""The ledger: for every (round, client) exactly one fate."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedray.errors import ClientError, RoundFailed, UpdateRejected
from fedray.messages import Array, Block, BlockReport, Failure, Ints
from fedray.simulation.policy import MISSED, enough
from fedray.simulation.settings import FailureConfig

FATES = ("ok", "retried", "failed", "rejected", "dropped", "quarantined", *MISSED)
"""retried: usable, after the actor that had it died; failed: its training raised; rejected: its update was refused;
dropped: its actor died, and the round went on without it; quarantined: it is not trained any more. In virtual
time, late: the round was over before its update was there; vanished: the device or its update was lost; abandoned: too
few others reported, and the round changed nothing."""
_NUMBERS = {"examples": np.int32, "steps": np.int32, "loss": np.float32, "seconds": np.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One round's fates.

    Attributes:
        columns: One row a client in the order of the cohort, those in no block last, shape (K,).
        failures: Clients without a usable update.
        fates: Fate to number of clients; the sum is the cohort.
    """

    columns: dict[str, Array]
    failures: dict[int, Failure]
    fates: dict[str, int]

    @property
    def loss(self) -> float:
        """Mean training loss over the examples of all usable updates."""
        usable = self.columns["examples"] * np.isin(self.columns["fate"], ("ok", "retried"))
        return float(np.sum(np.where(usable > 0, self.columns["loss"], 0.0) * usable) / max(1, usable.sum()))


def close(
    cohort: Ints,
    blocks: Sequence[Block],
    reports: Sequence[BlockReport],
    attempts: Mapping[int, int],
    dropped: Mapping[int, Failure],
    *,
    is_virtual: bool = False,
) -> Ledger:
    """Puts what came back in a round together.

    Args:
        cohort: Client ids.
        blocks: Those of the cohort that were to be trained.
        reports: What came back, in any order.
        attempts: Position of the first client of a report, or of what was dropped, to how often it was begun with,
            where that was more than once.
        dropped: Clients that nothing came back of, and why.
        is_virtual: Whether there are the fates of virtual time.

    Raises:
        RuntimeError: A client has no fate, or two, or is not of the cohort: a defect of fedray.
    """
    reports, now = sorted(reports, key=lambda report: report.start), time.time()
    rows = np.concatenate([np.zeros(0, np.int64), *(report.columns["client"] for report in reports)])
    _check_once(cohort, np.concatenate([rows, np.array(list(dropped), np.int64)]))
    clients, block = _in_order(cohort, blocks)
    tries = _tries(blocks, attempts, len(clients))
    places = _places(clients, rows)
    lengths = [len(report.columns["client"]) for report in reports]

    def spread(dtype: type, values: Sequence[object], otherwise: object) -> Array:
        """One value a report, as one a client."""
        column = np.full(len(clients), otherwise, dtype)
        column[places] = np.repeat(np.array(values, dtype), lengths)
        return column

    tries[places] = np.repeat([attempts.get(report.start, 1) for report in reports], lengths)
    failures = {c: failure for report in reports for c, failure in report.failures.items()} | dict(dropped)
    decided = spread(np.float64, [report.time or now for report in reports], now)
    fate, cause = _fates(clients, tries, failures, decided)
    columns = {
        "client": clients,
        "fate": fate.astype(str),
        "attempts": tries.astype(np.int16),
        "block": block.astype(np.int32),
        "actor": spread(np.int32, [report.actor for report in reports], -1),
        "node": spread(object, [report.node for report in reports], ""),
        "pid": spread(np.int32, [report.pid for report in reports], 0),
        "cause": cause,
        "time": decided,
    }
    for name, dtype in _NUMBERS.items():
        columns[name] = np.full(len(clients), np.nan if name == "loss" else 0, dtype)
        if reports:
            columns[name][places] = np.concatenate([report.columns[name] for report in reports]).astype(dtype)
    fates = {name: int((fate == name).sum()) for name in FATES if is_virtual or name not in MISSED}
    if sum(fates.values()) != len(cohort):
        raise RuntimeError(f"the ledger does not close: {fates} are not the {len(cohort)} clients of the cohort")
    return Ledger(columns=columns, failures=failures, fates=fates)


def _fates(clients: Ints, tries: Ints, failures: Mapping[int, Failure], decided: Array) -> tuple[Array, Array]:
    """Each client's fate and cause; sets when it was decided where its failure says so."""
    fate, cause = np.where(tries > 1, "retried", "ok").astype(object), np.full(len(clients), "", object)
    for place in np.flatnonzero(np.isin(clients, list(failures))).tolist():
        failure = failures[int(clients[place])]
        fate[place], cause[place] = failure.fate, failure.cause
        decided[place] = failure.time or decided[place]
    return fate, cause


def _check_once(cohort: Ints, found: Ints) -> None:
    """Raises where a client of the cohort is not found, or twice, or another is found."""
    if np.array_equal(np.sort(cohort), np.sort(found)):
        return
    foreign, missing = np.setdiff1d(found, cohort), np.setdiff1d(cohort, found)
    ids, counts = np.unique(found, return_counts=True)
    for those, what in (
        (foreign, "is not in the cohort"),
        (ids[counts > 1], "has two fates"),
        (missing, "has no fate"),
    ):
        if len(those):
            more = f" (and {len(those) - 1} more)" if len(those) > 1 else ""
            raise RuntimeError(f"the ledger does not close: client {those[0]} {what}{more}")
    raise RuntimeError("the ledger does not close: the cohort itself has a client twice")


def _in_order(cohort: Ints, blocks: Sequence[Block]) -> tuple[Ints, Ints]:
    """The clients in the order of their blocks, those in no block last; and each one's block, or -1."""
    inside = np.concatenate([np.zeros(0, np.int64), *(block.clients for block in blocks)])
    index = np.repeat(np.array([block.index for block in blocks], np.int64), [len(block.clients) for block in blocks])
    if len(inside) == len(cohort):
        return inside, index
    outside = np.setdiff1d(cohort, inside)
    return np.concatenate([inside, outside]), np.concatenate([index, np.full(len(outside), -1)])


def _tries(blocks: Sequence[Block], attempts: Mapping[int, int], num: int) -> Ints:
    """How often each of `num` clients was begun with, by its own entry or its block's; never, those in no block."""
    tries, place = np.zeros(num, np.int64), 0
    for block in blocks:
        span = slice(place, place + len(block.clients))
        place = span.stop
        tries[span] = attempts.get(block.start, 1)
        if attempts:
            positions = range(block.start, block.start + len(block.clients))
            tries[span] = [attempts.get(position, tries[span.start]) for position in positions]
    return tries


def _places(clients: Ints, wanted: Ints) -> Ints | slice:
    """Where some clients are among all."""
    if np.array_equal(clients, wanted):
        return slice(None)
    order = np.argsort(clients)
    return order[np.searchsorted(clients, wanted, sorter=order)]


def losses(ledger: Ledger, round: int) -> list[str]:
    """A sentence for each cause by which clients were lost, but for what devices did in virtual time."""
    lost: dict[tuple[str, str], list[int]] = {}
    for client, failure in ledger.failures.items():
        if failure.fate not in MISSED:
            lost.setdefault((failure.fate, failure.cause), []).append(client)
    sentences = list[str]()
    for (fate, cause), clients in lost.items():
        who = f"client {clients[0]}" if len(clients) == 1 else f"{len(clients)} clients, {clients[0]} among them,"
        sentences.append(f"{who} in round {round} {'is' if len(clients) == 1 else 'are'} {fate}: {cause}")
    return sentences


def judge(ledger: Ledger, failures: FailureConfig, round: int) -> None:
    """Ends the run where the settings say so.

    Raises:
        ClientError: Its training raised, and `failures.client_error` is abort; or nobody is left.
        UpdateRejected: Its update was refused, and `failures.rejected_update` is abort.
        RoundFailed: Fewer usable updates than `failures.min_clients`.
    """
    for client, failure in sorted(ledger.failures.items()):
        if failure.fate == "failed" and failures.client_error == "abort":
            raise ClientError(client, round, failure.cause, failure.details)
        if failure.fate == "rejected" and failures.rejected_update == "abort":
            raise UpdateRejected(client, round, failure.cause)
    own = {client: f for client, f in ledger.failures.items() if f.fate in ("failed", "rejected")}
    if own and ledger.fates["ok"] + ledger.fates["retried"] == 0:
        client, failure = min(own.items())
        raise ClientError(
            client, round, f"{failure.cause} (and no client of the cohort has a usable update)", failure.details
        )
    abort = enough(failures, ledger.fates, round)
    if abort is not None:
        raise RoundFailed(abort.sentence)
