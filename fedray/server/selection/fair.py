"""Fairness-constrained selection: Huang et al. 2020, RBCS-F, algorithm 2, https://arxiv.org/abs/2011.01783.

Each client has a virtual queue that grows by its guaranteed rate in every round and shrinks by one when it is chosen.
A choice minimises V * (how long its slowest takes) - (sum of its queues), over those that are there: as long as no
queue grows without end, everybody is chosen at its rate at least (Lyapunov's drift plus penalty).

Two things are simpler than in the paper. Durations are those of the devices' profiles, where the paper learns them with
a linear bandit (C2MAB) from what devices say of themselves; and the rate is given as a part of the even one.

Shapes: N clients of the population, M candidates.
"""

import heapq
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray import seeds
from fedray.messages import Array, Ints
from fedray.server.selection.base import Candidates, Memory, Outcome, Selection

_AT_ONCE = 1000
"""Candidates that are looked at together, to pass over most of them quickly."""


class Fair(Selection):
    """The quickest cohort with which nobody falls behind its guaranteed rate in the long run.

    Chosen counts, whether the update comes or not: a device that is always late is guaranteed its attempts.
    """

    learns: ClassVar[bool] = True
    name: Literal["fair"] = "fair"
    guarantee: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The least rate at which each client is chosen, by the even one: beta = guarantee * K / N."""
    speed: Annotated[float, Field(ge=0)] = 0.1
    """What a round that is longer by the candidates' mean duration costs, in units of queues (the paper's V, which is
    for seconds): 0 looks at queues alone, more lets slow devices wait longer. Counts with devices only."""

    def start(self, num_clients: int, duration_s: Array | None = None) -> Memory:
        return {"queue": np.zeros(num_clients)}

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        queue = memory["queue"][candidates.clients]
        keys = seeds.keys(candidates.seed, "cohort of equals", candidates.round, candidates.clients)
        places = np.argsort(seeds.words(keys, 1)[:, 0])  # those with equal queues in random order
        if candidates.duration_s is not None and self.speed:
            cost = self.speed * candidates.duration_s / candidates.duration_s.mean()
            places = places[cost[places] <= _limit(queue, cost, candidates.wanted)]
        longest = places[np.argsort(-queue[places], kind="stable")]
        return candidates.clients[longest[: candidates.wanted]]

    def note(self, memory: Memory, outcome: Outcome) -> Memory:
        queue = memory["queue"] + self.guarantee * outcome.wanted / len(memory["queue"])
        queue[outcome.clients] -= 1
        return {"queue": np.maximum(queue, 0)}


def _limit(queue: Array, cost: Array, num: int) -> float:
    """The cost of the slowest in the best choice of `num`.

    With the slowest given, the best choice is the longest queues among all that are no slower; so it is enough to try
    each as the slowest. Only who has a longer queue than one that was taken before can be worth the time.
    """
    order = np.argsort(cost, kind="stable")
    taken, limit = queue[order[:num]].tolist(), float(cost[order[num - 1]])
    heapq.heapify(taken)
    total = sum(taken)
    least = limit - total
    for some in np.split(order[num:], range(_AT_ONCE, len(order) - num, _AT_ONCE)):
        some = some[queue[some] > taken[0]]
        for longer, later in zip(queue[some].tolist(), cost[some].tolist(), strict=True):
            if longer > taken[0]:
                total += longer - heapq.heapreplace(taken, longer)
                if later - total < least:
                    least, limit = later - total, later
    return limit
