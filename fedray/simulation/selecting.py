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
        seed: The experiment's seed.
        duration_s: How long each device takes for a round, shape (N,); None where no devices are simulated.
    """

    def __init__(
        self, selection: Selection, sizes: Ints, wanted: int, seed: int, duration_s: Array | None = None
    ) -> None:
        self._selection, self._sizes, self._wanted, self._seed = selection, sizes, wanted, seed
        self._duration_s = duration_s
        self._forget()

    def _forget(self) -> None:
        self.memory = self._selection.start(len(self._sizes))
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
        clients = clients[~self._is_out[clients]]
        candidates = Candidates(
            clients=clients,
            sizes=self._sizes[clients],
            wanted=min(num, len(clients)),
            seed=self._seed,
            round=round,
            duration_s=None if self._duration_s is None else self._duration_s[clients],
            losses=losses,
        )
        return np.sort(self._selection.select(candidates, self.memory)) if len(clients) else clients

    def note(self, round: int, columns: Mapping[str, Array]) -> None:
        """Learns from the ledger of a round."""
        if not self.learns:
            return
        clients, fate, loss = (columns[name] for name in _COLUMNS)
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
