"""Candidates and outcomes by hand, and rounds without training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedray.server.selection.base import Candidates, Memory, Outcome, Selection


def among(clients: Sequence[int], wanted: int, **more: Any) -> Candidates:
    """Candidates, with ten examples each."""
    defaults = {"sizes": np.full(len(clients), 10), "seed": 0, "round": 1}
    return Candidates(clients=np.array(clients), wanted=wanted, **{**defaults, **more})


def outcome(round: int, loss: dict[int, float | None], wanted: int | None = None, size: int = 10) -> Outcome:
    """What became of some clients: their losses, or None where they did not report."""
    values = np.array([np.nan if value is None else value for value in loss.values()], np.float32)
    return Outcome(
        round=round,
        clients=np.array(list(loss), np.int64),
        sizes=np.full(len(loss), size),
        reported=~np.isnan(values),
        loss=values,
        wanted=wanted or len(loss),
    )


def same(memory: Memory, other: Memory) -> bool:
    return memory.keys() == other.keys() and all(np.array_equal(memory[k], other[k], equal_nan=True) for k in memory)


def counts(
    selection: Selection,
    num_clients: int,
    wanted: int,
    rounds: int,
    there: Callable[[int], np.ndarray] | None = None,
    duration_s: np.ndarray | None = None,
) -> np.ndarray:
    """How often each client is chosen in rounds in which everybody reports, with losses that differ by client."""
    memory, times = selection.start(num_clients, duration_s), np.zeros(num_clients, int)
    for round in range(1, rounds + 1):
        clients = np.arange(num_clients) if there is None else there(round)
        time = None if duration_s is None else duration_s[clients]
        number = min(wanted, len(clients))
        chosen = selection.select(among(clients, number, round=round, duration_s=time), memory)
        assert len(set(chosen.tolist())) == number
        times[chosen] += 1
        loss = {client: 1 + client / num_clients for client in np.sort(chosen).tolist()}
        memory = selection.note(memory, outcome(round, loss, wanted))
    return times
