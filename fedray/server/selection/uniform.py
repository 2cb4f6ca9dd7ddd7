"""Everybody alike: McMahan et al. 2017, algorithm 1, https://arxiv.org/abs/1602.05629."""

from typing import Literal

from fedray import seeds
from fedray.messages import Ints
from fedray.server.selection.base import Candidates, Memory, Selection


class Uniform(Selection):
    """Every round draws anew, everybody with the same chance."""

    name: Literal["uniform"] = "uniform"

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        draw = seeds.generator(candidates.seed, "cohort", candidates.round)
        return candidates.clients[draw.choice(len(candidates.clients), candidates.wanted, replace=False, shuffle=False)]
