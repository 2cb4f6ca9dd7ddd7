"""Norms of the gradients of many clients, each the same whoever the others are.

Shapes: C clients, P parameters.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_LANES = 128


def norms(parts: Sequence[Tensor]) -> Tensor:
    """L2 norm of each client's gradient.

    Torch's own sum over a row depends in its last bits on the number of rows. A sum over the middle of three dimensions
    does not: it adds whole lanes, one after another. The lanes are then added by halves.

    Args:
        parts: One tensor a slot, (C, *shape).

    Returns:
        Norms, (C,).
    """
    rows = [part.flatten(1) for part in parts]
    excess = sum(row.shape[1] for row in rows) % _LANES
    if excess:
        rows.append(rows[0].new_zeros(len(rows[0]), _LANES - excess))
    squares = torch.cat(rows, dim=1).square_().view(len(rows[0]), -1, _LANES).sum(dim=1)
    while (width := squares.shape[1]) > 1:
        squares = squares[:, : width // 2] + squares[:, width // 2 :]
    return squares[:, 0].sqrt()
