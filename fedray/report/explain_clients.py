"""What became of the clients of a run: whether each has a fate, and what of the result is missing."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fedray.errors import RunFolderError
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.faults.kinds import CLIENT
from fedray.simulation.ledger import FATES
from fedray.simulation.policy import MISSED
from fedray.simulation.run_folder import Record, RunFolder

LOST = ("dropped", "failed", "rejected", "quarantined")
"""Fates of clients without a usable update."""
NO_EVENT = "no fault"
"""The kind of a client's loss that no line of `faults.jsonl` tells of: its own training failed."""
_COLUMNS = ("round", "client", "fate", "attempts", "block", "cause", "examples", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one kind of fault took from the result.

    Attributes:
        fates: Fate to number of clients, those without a usable update.
        examples: Examples that these clients would have trained on.
    """

    fates: dict[str, int]
    examples: float

    @property
    def clients(self) -> int:
        """All of them."""
        return sum(self.fates.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """The fates of a whole run.

    Attributes:
        fates: Fate to number of clients, summed over rounds.
        cohorts: Sum of the cohorts.
        ledger_rows: Rows of the ledger in those rounds that it has, or None where it is not written yet.
        ledger_rounds: Rounds that the ledger has.
        open_rounds: Rounds whose ledger has not exactly one known fate for each client of the cohort.
        losses: Kind of fault to what it took from the result; of the rounds that the ledger has.
        usable_examples: Examples of all updates in the result, of the same rounds.
        num_guessed: Lost clients of which no round tells the number of examples: the mean of the others is taken.
        trained_again: Clients that were begun with more than once and trained, each round counted.
        trained_again_s: Seconds of their training.
    """

    fates: dict[str, int]
    cohorts: int
    ledger_rows: int | None
    ledger_rounds: int
    open_rounds: tuple[int, ...]
    losses: dict[str, Loss]
    usable_examples: int
    num_guessed: int
    trained_again: int
    trained_again_s: float

    @property
    def is_closed(self) -> bool:
        """Whether every client has exactly one fate, as far as the folder tells."""
        return not self.open_rounds and sum(self.fates.values()) == self.cohorts

    @property
    def num_lost(self) -> int:
        """Clients without a usable update."""
        return sum(self.fates.get(fate, 0) for fate in LOST)

    def share(self, examples: float) -> float:
        """Part of the weight of a run in which nobody is lost, 0 to 1, in examples."""
        whole = self.usable_examples + sum(loss.examples for loss in self.losses.values())
        return examples / whole if whole else 0.0

    @property
    def lost_share(self) -> float:
        """Part of the examples that is not in the result, 0 to 1."""
        return self.share(sum(loss.examples for loss in self.losses.values()))


def ledger(run: RunFolder) -> pd.DataFrame | None:
    """One row for each (round, client), in the order of the run, or None where no checkpoint has written it yet.

    Raises:
        RunFolderError: It is damaged, or of a version that knew less.
    """
    table = run.clients.read()
    if table is None:
        return None
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise RunFolderError(f"{run.path} is damaged: the ledger has no column {missing[0]}; run again")
    return table.select(list(_COLUMNS)).to_pandas()


def fates(
    records: Sequence[Record], rows: pd.DataFrame | None, events: Sequence[FaultEvent], *, is_finished: bool
) -> Fates:
    """Adds up what became of the clients.

    Args:
        records: The lines of rounds.jsonl.
        rows: The ledger.
        events: What went wrong.
        is_finished: The run has ended as it should, so that the ledger has every round.
    """
    told = Counter[str]()
    for record in records:
        told.update(record.get("fates") or {})
    cohorts = {int(record["round"]): int(record.get("cohort") or 0) for record in records}
    if rows is None:
        rows = pd.DataFrame({name: pd.Series(dtype="float") for name in _COLUMNS})
        num_rows = None
    else:
        rows = rows[rows["round"].isin(list(cohorts))]
        num_rows = len(rows)
    losses, num_guessed = _losses(rows, events)
    usable = rows["fate"].isin(["ok", "retried"])
    again = rows[(rows["attempts"] > 1) & ~rows["fate"].isin(["dropped", "quarantined"])]
    return Fates(
        fates={name: told[name] for name in dict.fromkeys([*FATES, *told]) if told[name] or name not in MISSED},
        cohorts=sum(cohorts.values()),
        ledger_rows=num_rows,
        ledger_rounds=rows["round"].nunique(),
        open_rounds=() if num_rows is None else _open_rounds(cohorts, rows, is_finished),
        losses=losses,
        usable_examples=int(rows.loc[usable, "examples"].sum()),
        num_guessed=num_guessed,
        trained_again=len(again),
        trained_again_s=float(again["seconds"].sum()),
    )


def _open_rounds(cohorts: dict[int, int], rows: pd.DataFrame, is_finished: bool) -> tuple[int, ...]:
    known = rows[rows["fate"].isin(FATES)].groupby("round")["client"]
    distinct, all_rows = known.nunique().to_dict(), rows.groupby("round").size().to_dict()
    told = cohorts if is_finished else [round for round in cohorts if round in all_rows]
    return tuple(r for r in told if not distinct.get(r, 0) == all_rows.get(r, 0) == cohorts[r])


def _losses(rows: pd.DataFrame, events: Sequence[FaultEvent]) -> tuple[dict[str, Loss], int]:
    """Kind to loss, and how many clients' examples had to be guessed: a lost client's row has none."""
    lost = rows[rows["fate"].isin(LOST)].sort_values("round", kind="stable")
    trained = rows[rows["examples"] > 0].groupby("client")["examples"].max()
    sizes: dict[Hashable, Any] = trained.to_dict()
    mean = float(trained.mean()) if len(trained) else 0.0
    fates: dict[str, Counter[str]] = {}
    examples = Counter[str]()
    clients: list[int] = lost["client"].tolist()
    for client, fate, kind in zip(clients, lost["fate"].tolist(), _kinds(lost, events), strict=True):
        fates.setdefault(kind, Counter())[fate] += 1
        examples[kind] += sizes.get(client, mean)
    found = {kind: Loss(fates=dict(counts), examples=float(examples[kind])) for kind, counts in fates.items()}
    return found, len(set(clients) - sizes.keys())


def _kinds(lost: pd.DataFrame, events: Sequence[FaultEvent]) -> list[str]:
    """What kind of fault each lost client was lost to."""
    of_client: dict[tuple[int, int], str] = {}
    of_block: dict[tuple[int, int], list[FaultEvent]] = {}
    for event in events:
        if event.detected_at is None or event.block < 0:
            continue
        if event.kind in CLIENT:
            of_client[event.round, event.client] = event.kind
        else:
            of_block.setdefault((event.round, event.block), []).append(event)
    quarantined: dict[int, str] = {}
    kinds: list[str] = []
    columns = ("round", "client", "block", "fate", "cause")
    for round, client, block, fate, cause in zip(*(lost[name].tolist() for name in columns), strict=True):
        if fate in ("failed", "rejected"):
            kind = of_client.get((round, client), NO_EVENT)
        elif block < 0:
            kind = quarantined.get(client, NO_EVENT)
        else:
            kind = _of_cause(of_block.get((round, block), []), cause)
        if fate == "quarantined":
            quarantined[client] = kind
        kinds.append(kind)
    return kinds


def _of_cause(events: Sequence[FaultEvent], cause: str) -> str:
    """The kind of the last event of a block whose cause the ledger gives, or else of the last event."""
    named = [event for event in events if event.cause and event.cause in cause]
    return (named or events)[-1].kind if events else NO_EVENT
