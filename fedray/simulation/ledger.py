"""The ledger: for every (round, client) exactly one fate."""

from dataclasses import dataclass

import numpy as np

from fedray.errors import ClientError, UpdateRejected
from fedray.messages import Array, Block, BlockReport, Failure
from fedray.simulation.settings import FailureConfig

FATES = ("ok", "retried", "failed", "rejected")
"""retried: usable, after the actor that had it died; failed: its training raised; rejected: its update was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One round's fates.

    Attributes:
        columns: One row a client in the order of the cohort, shape (K,).
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


def close(blocks: tuple[Block, ...], reports: list[BlockReport], attempts: dict[int, int]) -> Ledger:
    """Puts the reports of a round together.

    Args:
        blocks: The cohort.
        reports: What came back, in any order.
        attempts: Position of a block's first client to how often it was trained, where that was more than once.

    Raises:
        RuntimeError: A client has no fate, or two: a defect of fedray.
    """
    clients = np.concatenate([block.clients for block in blocks])
    reports = sorted(reports, key=lambda report: report.start)
    lengths = [len(report.columns["examples"]) for report in reports]
    if [report.start for report in reports] != np.cumsum([0, *lengths])[:-1].tolist() or sum(lengths) != len(clients):
        raise RuntimeError("the ledger does not close: the reports do not cover the cohort exactly once")
    failures = {client: failure for report in reports for client, failure in report.failures.items()}
    columns = {name: np.concatenate([r.columns[name] for r in reports]) for name in reports[0].columns}
    tries = np.repeat([attempts.get(report.start, 1) for report in reports], lengths).astype(np.int16)
    fate = np.where(tries > 1, "retried", "ok").astype(object)
    for position in np.flatnonzero(np.isin(clients, list(failures))):
        fate[position] = failures[int(clients[position])].fate
    columns = {
        "client": clients,
        "fate": fate.astype(str),
        "attempts": tries,
        "block": np.repeat([block.index for block in blocks], [len(b.clients) for b in blocks]).astype(np.int32),
        "pid": np.repeat([report.pid for report in reports], lengths).astype(np.int32),
        "examples": columns["examples"].astype(np.int32),
        "steps": columns["steps"].astype(np.int32),
        "loss": columns["loss"].astype(np.float32),
        "seconds": columns["seconds"].astype(np.float32),
    }
    fates = {name: int((fate == name).sum()) for name in FATES}
    return Ledger(columns=columns, failures=failures, fates=fates)


def judge(ledger: Ledger, failures: FailureConfig, round: int) -> None:
    """Ends the run where the settings say so.

    Raises:
        ClientError: Its training raised, and `failures.client_error` is abort.
        UpdateRejected: Its update was refused, and `failures.rejected_update` is abort; or nobody is left.
    """
    for client, failure in sorted(ledger.failures.items()):
        if failure.fate == "failed" and failures.client_error == "abort":
            raise ClientError(client, round, failure.cause, failure.details)
        if failure.fate == "rejected" and failures.rejected_update == "abort":
            raise UpdateRejected(client, round, failure.cause)
    if ledger.failures and ledger.fates["ok"] + ledger.fates["retried"] == 0:
        client, failure = min(ledger.failures.items())
        raise ClientError(
            client, round, f"{failure.cause} (and no client of the cohort has a usable update)", failure.details
        )
