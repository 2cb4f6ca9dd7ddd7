"""Quantisation by buckets: neighbouring coordinates share a scale, and each is one of a few multiples of a step.

On the wire stand the codes, `width` bits each, and then a float32 scale a bucket. The code q of a coordinate stands for
(q / levels) * scale, with q from -levels to levels.

Shapes: C clients, P parameters, B buckets, N coordinates of a bucket.
"""

from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from fedray.compression.codec import Codec
from fedray.compression.packing import pack, packed_bytes, unpack
from fedray.compression.pieces import columns
from fedray.messages import Floats
from fedray.models.tensors import as_tensor
from fedray.seeds import Words


class Bucketed(Codec, ABC):
    """A codec with one scale a bucket.

    A bucket that holds NaN or infinite values has a scale that is not finite, and decodes to NaN throughout.
    """

    bucket: Annotated[int, Field(ge=1)] = 512
    """Neighbouring coordinates that share a scale; the last bucket may be shorter."""

    @property
    @abstractmethod
    def largest(self) -> int:
        """The code of a coordinate that is as large as its bucket's scale."""

    @abstractmethod
    def scales(self, delta_CBN: Tensor) -> Tensor:
        """The scale of each bucket, no smaller than any magnitude in it, shape (C, B, 1); 0 where all are 0."""

    @abstractmethod
    def round(self, steps_CBN: Tensor, keys_C: Words, first: int) -> Tensor:
        """Multiples of a step as whole numbers, float32, never -0.

        Args:
            steps_CBN: In [-largest, largest], or NaN.
            keys_C: One stream a row.
            first: Position of the first coordinate in the vector.
        """

    def num_bytes(self, num_parameters: int) -> int:
        return packed_bytes(num_parameters, self._width) + 4 * -(-num_parameters // self.bucket)

    def apply(self, delta_CP: Tensor, keys_C: Words) -> Tensor:
        decoded_CP, size = torch.empty_like(delta_CP), self._size(delta_CP.shape[1])
        for piece in columns(delta_CP, multiple=size):
            codes_CBN, scales_CB1 = self._quantised(delta_CP[:, piece], size, keys_C, piece.start)
            decoded_CP[:, piece] = self._values(codes_CBN, scales_CB1).flatten(1)[:, : piece.stop - piece.start]
        return decoded_CP

    def encode(self, row_P: Floats, key: Words) -> bytes:
        codes_1BN, scales_1B1 = self._quantised(as_tensor(row_P)[None], self._size(len(row_P)), key, 0)
        codes_P = codes_1BN.flatten()[: len(row_P)].nan_to_num().to(torch.int64) + self.largest
        return pack(codes_P.numpy(), self._width) + scales_1B1.numpy().tobytes()

    def decode(self, data: bytes, num_parameters: int, key: Words) -> Floats:
        end, size = packed_bytes(num_parameters, self._width), self._size(num_parameters)
        codes_P = torch.from_numpy(unpack(data[:end], num_parameters, self._width) - self.largest).float()
        scales_1B1 = torch.from_numpy(np.frombuffer(data[end:], np.float32).copy())[None, :, None]
        return self._values(_cut(codes_P[None], size), scales_1B1).flatten()[:num_parameters].numpy()

    @property
    def _width(self) -> int:
        """Bits of a code: there are 2 * largest + 1 of them."""
        return (2 * self.largest).bit_length()

    def _size(self, num_parameters: int) -> int:
        return min(self.bucket, num_parameters)

    def _quantised(self, delta_CP: Tensor, size: int, keys_C: Words, first: int) -> tuple[Tensor, Tensor]:
        """Codes as float32, shape (C, B, N), without meaning where the scale is not finite; and scales, (C, B, 1)."""
        delta_CBN = _cut(delta_CP, size)
        scales_CB1 = self.scales(delta_CBN)
        steps_CBN = (delta_CBN / scales_CB1.masked_fill(scales_CB1 == 0, 1.0)).mul_(self.largest)
        return self.round(steps_CBN, keys_C, first), scales_CB1

    def _values(self, codes_CBN: Tensor, scales_CB1: Tensor) -> Tensor:
        largest = codes_CBN.new_full((), self.largest)  # a tensor: CUDA multiplies by the inverse of a plain number
        return (codes_CBN / largest).mul_(scales_CB1)


def _cut(delta_CP: Tensor, size: int) -> Tensor:
    """Coordinates in buckets, shape (C, B, size), the last one filled up with zeros."""
    missing = -delta_CP.shape[1] % size
    return (pad(delta_CP, (0, missing)) if missing else delta_CP).unflatten(1, (-1, size))
