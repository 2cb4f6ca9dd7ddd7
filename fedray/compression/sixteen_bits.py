"""float16 and bfloat16: two bytes a parameter, rounded to nearest, ties to even.

Finite numbers never become infinite: what is beyond the largest number of the format is sent as that number.

Shapes: C clients, P parameters.
"""

from abc import ABC
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fedray.compression.codec import Codec
from fedray.compression.pieces import columns
from fedray.messages import Floats
from fedray.models.tensors import as_tensor
from fedray.seeds import Words


class SixteenBits(Codec, ABC):
    """A floating-point format of two bytes."""

    kind: ClassVar[torch.dtype]

    def num_bytes(self, num_parameters: int) -> int:
        return 2 * num_parameters

    def relative_error(self, num_parameters: int) -> float:
        """The same for all numbers that are neither below the smallest normal one nor beyond the largest."""
        return (torch.finfo(self.kind).eps / 2) ** 2

    def apply(self, delta_CP: Tensor, keys_C: Words) -> Tensor:
        decoded_CP = torch.empty_like(delta_CP)
        for piece in columns(delta_CP):
            decoded_CP[:, piece] = self._rounded(delta_CP[:, piece])
        return decoded_CP

    def encode(self, row_P: Floats, key: Words) -> bytes:
        return self._rounded(as_tensor(row_P)).view(torch.int16).numpy().tobytes()

    def decode(self, data: bytes, num_parameters: int, key: Words) -> Floats:
        return torch.frombuffer(bytearray(data), dtype=self.kind).float().numpy()

    def _rounded(self, delta: Tensor) -> Tensor:
        largest = torch.finfo(self.kind).max
        return torch.where(delta.isinf(), delta, delta.clamp(-largest, largest)).to(self.kind)


class Float16(SixteenBits):
    """IEEE 754 binary16: 11 significant bits, from 6e-8 to 65,504.

    Magnitudes above 65,504 are sent as 65,504; those of up to 3e-8, which changes of a model may well have, as 0.
    """

    name: Literal["float16"] = "float16"
    kind: ClassVar[torch.dtype] = torch.float16


class BFloat16(SixteenBits):
    """bfloat16: 8 significant bits, and the range of float32; magnitudes above 3.39e38 are sent as that."""

    name: Literal["bfloat16"] = "bfloat16"
    kind: ClassVar[torch.dtype] = torch.bfloat16
