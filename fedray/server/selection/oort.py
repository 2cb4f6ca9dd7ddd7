"""Oort: Lai et al. 2021, algorithm 1, https://www.usenix.org/conference/osdi21/presentation/lai.

Where paper and published code (https://github.com/SymbioticLab/FedScale, thirdparty/oort) differ, this follows the
code: the preferred duration is a quantile of the devices' durations, and durations come from their profiles.

Shapes: N clients of the population, M candidates, E of them explored.
"""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray.messages import Array, Ints
from fedray.server.draws import draw
from fedray.server.selection.base import Candidates, Memory, Outcome, Selection

_CONFIDENCE = 0.1
"""Weight of the time since a client was chosen last."""
_TINY = float(np.finfo(np.float64).tiny)


class Oort(Selection):
    """Exploits clients of high utility, and explores those that never reported.

    The statistical utility of a client is |B| sqrt(sum of squared losses / |B|). The ledger has the mean loss of its
    examples and not of their squares, so it is |B| * mean loss here: equal where its examples have equal losses, less
    where they differ.
    Utilities are capped, and taken as parts of the cap before the confidence term is added, as the term needs a scale.
    Without devices there is no system utility, and the pacer does nothing.
    """

    learns: ClassVar[bool] = True
    name: Literal["oort"] = "oort"
    exploration: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Part of the first cohort that explores."""
    exploration_decay: Annotated[float, Field(gt=0, le=1)] = 0.98
    """That part is multiplied by this after every round,"""
    exploration_min: Annotated[float, Field(ge=0, le=1)] = 0.2
    """but is never less than this."""
    clip: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Utilities are capped at this quantile, so that no outlier is always chosen."""
    cutoff: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Who has this part of the utility of the last that would be taken can be drawn too."""
    penalty: Annotated[float, Field(ge=0)] = 2.0
    """A device that takes longer than preferred has its utility times (preferred / its duration) to this power."""
    pace: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The preferred duration at first: this quantile of the candidates' durations."""
    pace_step: Annotated[float, Field(ge=0, le=1)] = 0.05
    """What that quantile grows by when a window of rounds has brought less utility than the one before."""
    pace_window: Annotated[int, Field(ge=1)] = 20
    """Rounds of a window."""
    max_times: Annotated[int, Field(ge=1)] | None = None
    """Who was chosen so often is not chosen any more, as long as there are others enough; null: no limit."""

    def start(self, num_clients: int, duration_s: Array | None = None) -> Memory:
        return {
            "loss": np.full(num_clients, np.nan, np.float32),
            "last": np.zeros(num_clients, np.int32),
            "times": np.zeros(num_clients, np.int32),
            "pace": np.array(self.pace),
            "window": np.zeros(2),  # utility of the window before, and of this one so far
        }

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        candidates = self._allowed(candidates, memory)
        is_new = np.isnan(memory["loss"][candidates.clients])
        new, explored = candidates.take(is_new), candidates.take(~is_new)
        wanted, system = candidates.wanted, self._system(candidates, memory)
        num_new = min(int(self._part(candidates.round) * wanted), len(new.clients))
        num_explored = min(wanted - num_new, len(explored.clients))
        picked = self._exploit(explored, memory, system[~is_new], num_explored)
        weights, num_new = new.sizes * system[is_new], wanted - num_explored
        found = draw(weights, num_new, candidates.seed, candidates.round, "exploration")
        return np.concatenate([explored.clients[picked], new.clients[found]])

    def _allowed(self, candidates: Candidates, memory: Memory) -> Candidates:
        """Those that were not chosen too often, or all where they are too few."""
        if self.max_times is None:
            return candidates
        allowed = memory["times"][candidates.clients] < self.max_times
        return candidates.take(allowed) if allowed.sum() >= candidates.wanted else candidates

    def _part(self, round: int) -> float:
        """The part of a cohort that explores."""
        return max(self.exploration * self.exploration_decay ** (round - 1), self.exploration_min)

    def _system(self, candidates: Candidates, memory: Memory) -> Array:
        """The system utility, at most 1, shape (M,)."""
        duration_s = candidates.duration_s
        if duration_s is None:
            return np.ones(len(candidates.clients))
        preferred_s = np.quantile(duration_s, float(memory["pace"]))
        return np.minimum(1.0, preferred_s / np.maximum(duration_s, _TINY)) ** self.penalty

    def _exploit(self, explored: Candidates, memory: Memory, system: Array, num: int) -> Ints:
        """Positions of some explored ones, drawn by utility from the best, shape (num,)."""
        if num == 0:
            return np.zeros(0, np.int64)
        utility = self._utility(explored, memory) * system
        least = self.cutoff * np.partition(utility, -num)[-num]
        good = np.flatnonzero(utility >= least)
        return good[draw(utility[good], num, explored.seed, explored.round, "exploitation")]

    def _utility(self, explored: Candidates, memory: Memory) -> Array:
        """The capped statistical utility and the confidence term, shape (E,)."""
        statistical = _statistical(explored.sizes, memory["loss"][explored.clients])
        cap = max(float(np.quantile(statistical, self.clip)), _TINY)
        last = memory["last"][explored.clients]
        return np.minimum(statistical / cap, 1.0) + np.sqrt(_CONFIDENCE * math.log(explored.round) / last)

    def note(self, memory: Memory, outcome: Outcome) -> Memory:
        loss, last, times = (memory[name].copy() for name in ("loss", "last", "times"))
        loss[outcome.clients[outcome.reported]] = outcome.loss[outcome.reported]
        last[outcome.clients] = outcome.round
        times[outcome.clients] += 1
        return {"loss": loss, "last": last, "times": times, **self._paced(memory, outcome)}

    def _paced(self, memory: Memory, outcome: Outcome) -> Memory:
        """The pacer: the preferred duration grows when utility falls."""
        utility = _statistical(outcome.sizes, outcome.loss)[outcome.reported]
        before, present = memory["window"] + (0.0, math.fsum(utility.tolist()))
        if outcome.round % self.pace_window:
            return {"pace": memory["pace"], "window": np.array([before, present])}
        pace = float(memory["pace"]) + (self.pace_step if before > present else 0.0)
        return {"pace": np.array(min(1.0, pace)), "window": np.array([present, 0.0])}


def _statistical(sizes: Ints, loss: Array) -> Array:
    return sizes * loss.astype(np.float64)
