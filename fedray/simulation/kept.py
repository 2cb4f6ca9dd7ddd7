"""What clients keep between rounds, on its way to hosts and back.

Shapes: C clients of some blocks, P parameters.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fedray.messages import Block, BlockReport, Floats

Kept = Mapping[int, Floats]
"""A vector of shape (P,) for each client that has taken part, by its id."""


def rows(kept: Kept | None, blocks: Sequence[Block], num_parameters: int) -> Floats | None:
    """What the clients of some blocks have kept, zeros at first, shape (C, P); None where nothing is ever kept."""
    if kept is None:
        return None
    clients = np.concatenate([block.clients for block in blocks]).tolist()
    found = np.zeros((len(clients), num_parameters), np.float32)
    for place, client in enumerate(clients):
        if client in kept:
            found[place] = kept[client]
    return found


def by_client(kept: Floats | None, reports: Sequence[BlockReport]) -> dict[int, Floats]:
    """What the clients with a usable update keep.

    Args:
        kept: Of all clients of the reports, in their order, shape (C, P); None: nothing.
        reports: What they were trained for.
    """
    if kept is None:
        return {}
    clients = np.concatenate([report.columns["client"] for report in reports]).tolist()
    failed = {client for report in reports for client in report.failures}
    return {client: row.copy() for client, row in zip(clients, kept, strict=True) if client not in failed}
