"""The largest changes of a model, and nothing else (Aji and Heafield 2017, https://arxiv.org/abs/1704.05021).

On the wire stand k float32 values in the order of their positions, and then the positions: k numbers of ceil(log2 P)
bits, or a bitmap of P bits where that is shorter.

Shapes: C clients, P parameters.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedray.compression.packing import pack, packed_bytes, unpack
from fedray.compression.pieces import rows
from fedray.compression.sparse import Sparse, largest
from fedray.messages import Floats, Ints
from fedray.models.tensors import as_tensor
from fedray.seeds import Words

_MAGNITUDE = 2**31 - 1
"""All bits of a float32 but its sign. As integers they are in the order of the magnitudes, NaN above all."""


class TopK(Sparse):
    """The k largest magnitudes of the whole vector are sent exactly, of equal ones those that come first."""

    name: Literal["topk"] = "topk"

    def num_bytes(self, num_parameters: int) -> int:
        k = self.num_sent(num_parameters)
        by_index, by_bitmap = packed_bytes(k, _width(num_parameters)), packed_bytes(num_parameters, 1)
        return 4 * k + min(by_index, by_bitmap)

    def relative_error(self, num_parameters: int) -> float:
        return 1 - self.num_sent(num_parameters) / num_parameters

    def apply(self, delta_CP: Tensor, keys_C: Words) -> Tensor:
        decoded_CP = torch.empty_like(delta_CP)
        for some in rows(delta_CP):
            decoded_CP[some] = torch.where(self._chosen(delta_CP[some]), delta_CP[some], 0.0)
        return decoded_CP

    def encode(self, row_P: Floats, key: Words) -> bytes:
        chosen_P = self._chosen(as_tensor(row_P)[None])[0].numpy()
        return row_P[chosen_P].tobytes() + _pack_positions(np.flatnonzero(chosen_P), len(row_P))

    def decode(self, data: bytes, num_parameters: int, key: Words) -> Floats:
        k, row_P = self.num_sent(num_parameters), np.zeros(num_parameters, np.float32)
        row_P[_unpack_positions(data[4 * k :], k, num_parameters)] = np.frombuffer(data[: 4 * k], np.float32)
        return row_P

    def _chosen(self, delta_CP: Tensor) -> Tensor:
        magnitudes_CP = delta_CP.view(torch.int32) & _MAGNITUDE
        return largest(magnitudes_CP, self.num_sent(delta_CP.shape[1]))


def _width(num_parameters: int) -> int:
    """Bits of a position."""
    return (num_parameters - 1).bit_length()


def _as_bitmap(k: int, num_parameters: int) -> bool:
    return packed_bytes(num_parameters, 1) < packed_bytes(k, _width(num_parameters))


def _pack_positions(positions: Ints, num_parameters: int) -> bytes:
    if not _as_bitmap(len(positions), num_parameters):
        return pack(positions, _width(num_parameters))
    is_sent = np.zeros(num_parameters, np.int64)
    is_sent[positions] = 1
    return pack(is_sent, 1)


def _unpack_positions(data: bytes, k: int, num_parameters: int) -> Ints:
    if _as_bitmap(k, num_parameters):
        return np.flatnonzero(unpack(data, num_parameters, 1))
    return unpack(data, k, _width(num_parameters))
