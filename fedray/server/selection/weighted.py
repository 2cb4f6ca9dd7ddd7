"""By data size: scheme I of Li et al. 2020, On the convergence of FedAvg on non-IID data, https://arxiv.org/abs/1907.02189.

There clients are drawn with replacement; here a client is in a round once.
"""

from typing import Literal

from fedray.messages import Ints
from fedray.server.draws import draw
from fedray.server.selection.base import Candidates, Memory, Selection


class Weighted(Selection):
    """Every round draws anew, in proportion to the number of examples.

    Who has more examples comes more often: with `training.weighting: uniform` examples count once, as in the paper.
    """

    name: Literal["weighted"] = "weighted"

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        places = draw(candidates.sizes, candidates.wanted, candidates.seed, candidates.round)
        return candidates.clients[places]
