"""Power of choice: Cho, Wang and Joshi 2020, sections 4 and 5, https://arxiv.org/abs/2010.01243."""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray.messages import Array, Ints
from fedray.server.draws import draw
from fedray.server.selection.base import Candidates, Memory, Outcome, Selection


class PowerOfChoice(Selection):
    """Draws d candidates in proportion to their examples, and takes the K of them with the highest loss.

    The paper's server forms the plain mean of the updates, since candidates are drawn by size already: that is
    `training.weighting: uniform`. Its variant that estimates losses on a batch, cpow-d, is not here.
    """

    learns: ClassVar[bool] = True
    name: Literal["power_of_choice"] = "power_of_choice"
    ratio: Annotated[float, Field(ge=1)] = 2.0
    """Candidates by clients that are taken, d / K: 1 draws by size, more prefers high losses more."""
    loss: Literal["reported", "evaluated"] = "reported"
    """reported (rpow-d): the mean loss of the client's last training; who was never chosen comes first, and who was
    chosen but gave no update yet counts as the median of those that did in that round. evaluated (pow-d): every
    candidate evaluates the model before the round, on the examples that it evaluates on (`evaluation.holdout`); that
    takes wall time, but no virtual time."""

    def start(self, num_clients: int, duration_s: Array | None = None) -> Memory:
        return {"loss": np.full(num_clients, np.inf, np.float32)}

    def select(self, candidates: Candidates, memory: Memory) -> Ints:
        num = min(len(candidates.clients), math.ceil(self.ratio * candidates.wanted))
        clients = candidates.clients[draw(candidates.sizes, num, candidates.seed, candidates.round)]
        loss = memory["loss"][clients] if self.loss == "reported" else candidates.losses(clients)
        return clients[np.argsort(-loss, kind="stable")[: candidates.wanted]]

    def note(self, memory: Memory, outcome: Outcome) -> Memory:
        loss, told = memory["loss"].copy(), outcome.loss[outcome.reported]
        silent = outcome.clients[~outcome.reported]
        if len(told):
            loss[silent[np.isinf(loss[silent])]] = np.median(told)
        loss[outcome.clients[outcome.reported]] = told
        return {"loss": loss}
