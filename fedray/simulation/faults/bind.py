"""What the faults of a round hit: its blocks and clients, drawn from the seed by integers alone."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fedray import seeds
from fedray.messages import Block, Fault, Ints
from fedray.simulation.faults.kinds import CLIENT, ROUND
from fedray.simulation.share import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A fault that is due in a round; of the last six, a kind uses what it needs.

    Attributes:
        id: Row of the plan.
        round: Round number, from 1.
        kind: What goes wrong.
        at: When.
        how: A kind of the kind.
        seconds: How long.
        amount: How much.
        repeat: At every attempt.
        client: The client, or -1.
        block: Index of the block, or -1.
        num: How many blocks, or 0.
        share: Which part of the blocks, or of the cohort's clients, or 0.
        chance: Probability for each of those drawn by share.
        draw: Key of the stream that draws.
    """

    id: int
    round: int
    kind: str
    at: Literal["before", "during", "after"]
    how: str
    seconds: float
    amount: float
    repeat: bool
    client: int
    block: int
    num: int
    share: float
    chance: float
    draw: int

    def fault(self, client: int, block: int) -> Fault:
        """The fault, bound."""
        return Fault(
            id=self.id,
            round=self.round,
            kind=self.kind,
            client=client,
            block=block,
            at=self.at,
            how=self.how,
            seconds=self.seconds,
            amount=self.amount,
            repeat=self.repeat,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFaults:
    """The faults of one round.

    Attributes:
        blocks: The round's blocks, each with its faults.
        others: Faults of the round itself, and those that found no target: their client or block is not in the round.
    """

    blocks: tuple[Block, ...]
    others: tuple[Fault, ...]


def bind(dues: Sequence[Due], blocks: tuple[Block, ...]) -> RoundFaults:
    """Binds faults to the blocks and clients of a round."""
    if not dues:
        return RoundFaults(blocks=blocks, others=())
    owners = {client: block for block in blocks for client in block.clients.tolist()}
    faults = [fault for due in dues for fault in _bound(due, blocks, owners)]
    hit: dict[int, list[Fault]] = {}
    for fault in faults:
        hit.setdefault(fault.block, []).append(fault)
    others = tuple(hit.pop(-1, ()))
    return RoundFaults(
        blocks=tuple(replace(b, faults=tuple(hit[b.index])) if b.index in hit else b for b in blocks),
        others=others,
    )


def _bound(due: Due, blocks: Sequence[Block], owners: dict[int, Block]) -> Generator[Fault]:
    if due.kind in ROUND:
        yield due.fault(-1, -1)
    elif due.client >= 0:
        owner = owners.get(due.client)
        yield due.fault(due.client, -1 if owner is None else owner.index)
    elif due.kind in CLIENT:
        clients = np.sort(np.array(list(owners), np.int64))
        for place in _drawn(due, len(clients)).tolist():
            client = int(clients[place])
            yield due.fault(client, owners[client].index)
    elif due.block >= len(blocks):
        yield due.fault(-1, -1)
    else:
        for index in [due.block] if due.block >= 0 else _drawn(due, len(blocks)).tolist():
            yield due.fault(_client_of(due, blocks[index]), index)


def _drawn(due: Due, num: int) -> Ints:
    """Which of `num` blocks or clients it hits, in order of their position."""
    if not num:
        return np.zeros(0, np.int64)
    wanted = min(num, due.num or nearest(due.share, num))
    places = np.sort(seeds.permutations(_key(due, 0), num)[0, :wanted])
    return places[seeds.uniforms(_key(due, 1), num)[0, places] < due.chance]


def _client_of(due: Due, block: Block) -> int:
    """The client of a block for whom its fault counts where the block is divided."""
    word = int(seeds.words(seeds.split(_key(due, 2), block.index), 1)[0, 0])
    return int(block.clients[word % len(block.clients)])


def _key(due: Due, what: int) -> seeds.Words:
    return seeds.split(np.array([due.draw], np.uint64), what)
