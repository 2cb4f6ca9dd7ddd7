"""Cutting a cohort into blocks."""

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
