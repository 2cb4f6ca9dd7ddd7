"""Cutting a cohort into blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedray.messages import Block, Ints


def form(cohort: Ints, sizes: Ints, block_size: int, round: int) -> tuple[Block, ...]:
    """The blocks of a round, a function of the experiment alone.

    Args:
        cohort: Client ids.
        sizes: Training examples of each client of the population.
        block_size: Clients in a block; the last one may be smaller.
        round: Round number, from 1.

    Returns:
        Blocks over the cohort in canonical order: by size of the shard, then by id, so that the clients of a block have
        about the same work.
    """
    return form_groups([Group(clients=cohort)], sizes, block_size, round)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Clients that start from the same parameters.

    Attributes:
        clients: Client ids.
        start_from: Which of the round's parameter vectors.
        scale: What their updates are multiplied by.
        into: Which of the round's sums their updates are added to.
        most_steps: Steps that each takes at most; None: all of them.
    """

    clients: Ints
    start_from: int = 0
    scale: float = 1.0
    into: int = 0
    most_steps: Ints | None = None


def form_groups(groups: Sequence[Group], sizes: Ints, block_size: int, round: int) -> tuple[Block, ...]:
    """The blocks of a round of several groups, as `form`: no block has clients of two of them."""
    blocks, offset = list[Block](), 0
    for group in groups:
        order = np.lexsort((group.clients, sizes[group.clients]))
        ordered, most_steps = group.clients[order], None if group.most_steps is None else group.most_steps[order]
        for start in range(0, len(ordered), block_size):
            clients = ordered[start : start + block_size]
            block = Block(
                round=round,
                index=len(blocks),
                start=offset + start,
                clients=clients,
                work=float(sizes[clients].sum()),
                start_from=group.start_from,
                scale=group.scale,
                into=group.into,
                most_steps=None if most_steps is None else most_steps[start : start + block_size],
            )
            blocks.append(block)
        offset += len(ordered)
    return tuple(blocks)


def part(block: Block, clients: Sequence[int], num_blocks: int) -> Block:
    """Some neighbours of a block as a block of their own, whose index no block of the round has.

    Args:
        block: The block, as the round was cut up.
        clients: Whom to keep: one client, or neighbours in the order of the block.
        num_blocks: Blocks of the round.

    Returns:
        The part. It keeps the faults of its clients.
    """
    if len(clients) == len(block.clients):
        return block
    place = block.clients.tolist().index(clients[0])
    kept = block.clients[place : place + len(clients)]
    start = block.start + place
    return replace(
        block,
        index=num_blocks + start,
        start=start,
        clients=kept,
        most_steps=None if block.most_steps is None else block.most_steps[place : place + len(kept)],
        work=block.work * len(kept) / len(block.clients),
        faults=tuple(fault for fault in block.faults if fault.client in kept),
    )
