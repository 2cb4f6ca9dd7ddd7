"""Vectors worked through in pieces, so that nothing large is ever held beside them.

Shapes: C clients, P parameters.
"""

from collections.abc import Iterator

from torch import Tensor

_PIECE = 1 << 17
"""Numbers that are worked on at once: half a megabyte of float32, which stays in the processor's cache."""
_PIECE_ON_GPU = 1 << 24
"""The same on a GPU, which is filled by large pieces."""
_WHOLE = 1 << 20
"""Numbers that are worked on at once where vectors cannot be cut; at least one vector."""


def columns(delta_CP: Tensor, multiple: int = 1) -> Iterator[slice]:
    """Neighbouring coordinates of all rows: slices of P, each but the last a multiple of some number long."""
    num = _PIECE if delta_CP.device.type == "cpu" else _PIECE_ON_GPU
    return _slices(delta_CP.shape[1], max(1, num // max(1, len(delta_CP) * multiple)) * multiple)


def rows(delta_CP: Tensor) -> Iterator[slice]:
    """Whole vectors: slices of C."""
    return _slices(len(delta_CP), max(1, _WHOLE // delta_CP.shape[1]))


def _slices(num: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, num)) for start in range(0, num, size))
