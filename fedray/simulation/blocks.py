"""Cutting a cohort into blocks."""

from collections.abc import Sequence
from dataclasses import replace

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
    ordered = cohort[np.lexsort((cohort, sizes[cohort]))]
    return tuple(
        Block(
            round=round,
            index=index,
            start=start,
            clients=ordered[start : start + block_size],
            work=float(sizes[ordered[start : start + block_size]].sum()),
        )
        for index, start in enumerate(range(0, len(ordered), block_size))
    )


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
        work=block.work * len(kept) / len(block.clients),
        faults=tuple(fault for fault in block.faults if fault.client in kept),
    )
