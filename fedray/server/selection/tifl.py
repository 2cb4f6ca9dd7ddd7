"""TiFL: Chai et al. 2020, algorithm 2, https://arxiv.org/abs/2001.09249: a round has clients of one tier of speed.

One thing is other than in the paper: how well the model does on a tier is told by the training losses that its clients
last reported, where the paper evaluates it on examples of each tier; so a lower loss stands for a higher accuracy.

Shapes: N clients of the population, M candidates, T tiers.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray import seeds
from fedray.messages import Array, Ints
from fedray.server.selection.base import Candidates, Memory, Outcome, Selection

_LEAST = 1e-9
"""The chance that every tier has at least, and the least sum of losses that is divided by."""


class Tifl(Selection):
    """Draws a tier, then clients of it, all alike: nobody waits for a device that is much slower than its own.

    Tiers are as large as each other, by how long devices take for a round; without devices all clients are one tier. A
    tier that the model does badly on is drawn more often. Where too few of a tier are there, its neighbours fill up.
    """

    learns: ClassVar[bool] = True
    name: Literal["tifl"] = "tifl"
    tiers: Annotated[int, Field(ge=1)] = 5
    """Tiers."""
    interval: Annotated[int, Field(ge=1)] = 20
    """Rounds after which the chances of tiers may change: they do where the last tier's loss has not fallen."""
    credits: Annotated[int, Field(ge=1)] | None = None
    """How often a tier may be drawn, so that slow ones do not take all the time; null: as often as it may be."""

    def start(self, num_clients: int, duration_s: Array | None = None) -> Memory:
        tier = np.zeros(num_clients, np.int32)
        if duration_s is not None:
            tier[np.argsort(duration_s, kind="stable")] = np.arange(num_clients) * self.tiers // num_clients
        return {
            "tier": tier,
            "loss": np.full(num_clients, np.nan, np.float32),
            "chance": np.full(self.tiers, 1 / self.tiers),
            "before": np.full(self.tiers, np.inf),  # losses of tiers an interval ago
            "times": np.zeros(self.tiers, np.int64),
        }

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        tier_of = memory["tier"][candidates.clients]
        tier = self._drawn(candidates, memory, np.bincount(tier_of, minlength=self.tiers))
        keys = seeds.keys(candidates.seed, "cohort of a tier", candidates.round, candidates.clients)
        order = np.lexsort((seeds.words(keys, 1)[:, 0], np.abs(tier_of - tier)))
        return candidates.clients[order[: candidates.wanted]]

    def _drawn(self, candidates: Candidates, memory: Memory, there: Ints) -> int:
        """A tier with enough candidates and credits; with less of them, where no tier has both."""
        enough = there >= candidates.wanted
        has_credits = np.ones(self.tiers, bool) if self.credits is None else memory["times"] < self.credits
        allowed = next(some for some in (enough & has_credits, enough, there > 0) if some.any())
        chance = np.where(allowed, np.maximum(memory["chance"], _LEAST), 0)
        point = seeds.generator(candidates.seed, "tier", candidates.round).random() * chance.sum()
        return int(np.searchsorted(np.cumsum(chance), point, side="right"))

    def note(self, memory: Memory, outcome: Outcome) -> Memory:
        loss, times = memory["loss"].copy(), memory["times"].copy()
        loss[outcome.clients[outcome.reported]] = outcome.loss[outcome.reported]
        tier = int(np.bincount(memory["tier"][outcome.clients], minlength=self.tiers).argmax())
        times[tier] += 1
        memory = {**memory, "loss": loss, "times": times}
        if outcome.round % self.interval:
            return memory
        now = self._losses(memory)
        if now[tier] >= memory["before"][tier]:
            memory["chance"] = now / max(float(now.sum()), _LEAST)
        return {**memory, "before": now}

    def _losses(self, memory: Memory) -> Array:
        """The mean loss of each tier; where none of its clients has told one, the highest of the others."""
        known = np.isfinite(memory["loss"])
        tier, loss = memory["tier"][known], memory["loss"][known].astype(np.float64)
        count, total = np.bincount(tier, minlength=self.tiers), np.bincount(tier, loss, minlength=self.tiers)
        means = total / np.maximum(count, 1)
        return np.where(count > 0, means, means.max(initial=0.0) or 1.0)
