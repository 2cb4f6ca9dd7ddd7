"""The selection of a run and what it remembers, which a resumed run reads from its ledger.

Shapes: N clients of the population, M candidates, S clients of a round.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from fedray.messages import Array, Ints
from fedray.server.selection.base import Candidates, Losses, Outcome, Selection, nobody_asked

_COLUMNS = ("client", "fate", "loss")
"""What a selection learns from, of the ledger."""
_USABLE = ("ok", "retried")


class Selecting:
    """Chooses clients, and learns from each round where the selection does.

    A selection that learns does not choose clients in quarantine; for the others they are clients as all.

    Args:
        selection: How to choose.
        sizes: Training examples of each client, shape (N,).
        wanted: Updates that a round wants.
        seed: What its random choices follow from.
        duration_s: How long each device takes for a round, shape (N,); None where no devices are simulated.
        clients: Their ids, sorted, shape (N,): those of an edge; None: all, from 0.
    """

    def __init__(
        self,
        selection: Selection,
        sizes: Ints,
        wanted: int,
        seed: int,
        duration_s: Array | None = None,
        clients: Ints | None = None,
    ) -> None:
        self._selection, self._sizes, self._wanted, self._seed = selection, sizes, wanted, seed
        self._duration_s, self._clients = duration_s, np.arange(len(sizes)) if clients is None else clients
        self._are_all = np.array_equal(self._clients, np.arange(len(sizes)))
        self._forget()

    def _forget(self) -> None:
        self.memory = self._selection.start(len(self._sizes), self._duration_s)
        self._is_out = np.zeros(len(self._sizes), bool)

    @property
    def learns(self) -> bool:
        """Whether a choice needs the ledger of the round before."""
        return self._selection.learns

    def select(self, clients: Ints, num: int, round: int, losses: Losses = nobody_asked) -> Ints:
        """So many of some clients, or all where they are fewer, sorted.

        Args:
            clients: Who can take part, sorted, shape (M,).
            num: How many to choose.
            round: Round number, from 1.
            losses: Asks clients for the loss of the round's model.
        """
        places = clients if self._are_all else np.searchsorted(self._clients, clients)
        if self._is_out.any():
            places = places[~self._is_out[places]]
        if not len(places):
            return places
        is_whole = len(places) == len(self._sizes)
        candidates = Candidates(
            clients=places,
            sizes=self._sizes if is_whole else self._sizes[places],
            wanted=min(num, len(places)),
            seed=self._seed,
            round=round,
            duration_s=None if self._duration_s is None else self._duration_s[places],
            losses=lambda asked: losses(self._clients[asked]),
        )
        return np.sort(self._clients[self._selection.select(candidates, self.memory)])

    def note(self, round: int, columns: Mapping[str, Array]) -> None:
        """Learns from the ledger of a round, of which others may be, too."""
        if not self.learns:
            return
        mine = np.isin(columns["client"], self._clients)
        clients, fate, loss = (columns[name][mine] for name in _COLUMNS)
        clients = np.searchsorted(self._clients, clients)
        outcome = Outcome(
            round=round,
            clients=clients,
            sizes=self._sizes[clients],
            reported=np.isin(fate, _USABLE) & np.isfinite(loss),
            loss=loss,
            wanted=self._wanted,
        )
        self.memory = self._selection.note(self.memory, outcome)
        self._is_out[clients[fate == "quarantined"]] = True

    def remember(self, ledger: pa.Table | None) -> None:
        """Learns from the ledger of all rounds so far, and forgets what it knew before."""
        self._forget()
        if not self.learns or ledger is None:
            return
        columns = {name: ledger[name].to_numpy() for name in _COLUMNS}
        rounds, starts = np.unique(ledger["round"].to_numpy(), return_index=True)
        for round, rows in zip(rounds.tolist(), np.split(np.arange(len(ledger)), starts[1:]), strict=True):
            self.note(round, {name: values[rows] for name, values in columns.items()})
