"""Random coordinates: both sides draw the same k positions, and only their values travel.

Konecny et al. 2016 (https://arxiv.org/abs/1610.05492, section 3, random mask); with error feedback Stich et al. 2018
(https://arxiv.org/abs/1809.07599).

Shapes: C clients, P parameters.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedray.compression.lanes import lanes
from fedray.compression.pieces import columns, rows
from fedray.compression.sparse import Sparse, largest
from fedray.messages import Floats
from fedray.models.tensors import as_tensor
from fedray.seeds import Words


class RandomK(Sparse):
    """k of P coordinates, every set of k as likely as any other, to 2^-31.

    On the wire stand k float32 values in the order of their positions. Where the vector is not finite all k are NaN,
    whether or not those positions were drawn, so that it is refused.
    """

    name: Literal["randomk"] = "randomk"
    unbiased: bool = True
    """Multiply what is sent by P / k, so that it is right in the mean; set it to false with error feedback, which sends
    the rest later and would otherwise grow without limit."""

    def num_bytes(self, num_parameters: int) -> int:
        return 4 * self.num_sent(num_parameters)

    def relative_error(self, num_parameters: int) -> float:
        k = self.num_sent(num_parameters)
        return num_parameters / k - 1 if self.unbiased else 1 - k / num_parameters

    def apply(self, delta_CP: Tensor, keys_C: Words) -> Tensor:
        decoded_CP = torch.empty_like(delta_CP)
        for some in rows(delta_CP):
            chosen_CP = self._chosen(keys_C[some], delta_CP.shape[1]).to(delta_CP.device)
            decoded_CP[some] = torch.where(chosen_CP, self._scaled(delta_CP[some]), 0.0)
        return decoded_CP

    def encode(self, row_P: Floats, key: Words) -> bytes:
        chosen_1P = self._chosen(key, len(row_P))
        return self._scaled(as_tensor(row_P)[None])[chosen_1P].numpy().tobytes()

    def decode(self, data: bytes, num_parameters: int, key: Words) -> Floats:
        row_P = np.zeros(num_parameters, np.float32)
        row_P[self._chosen(key, num_parameters)[0].numpy()] = np.frombuffer(data, np.float32)
        return row_P

    def _chosen(self, keys_C: Words, num_parameters: int) -> Tensor:
        """Those with the k largest of P numbers of 31 bits, bool, shape (C, P)."""
        ranks_CP = torch.empty(len(keys_C), num_parameters, dtype=torch.int32)
        for piece in columns(ranks_CP):
            ranks_CP.numpy()[:, piece] = lanes(keys_C, piece) >> np.uint32(1)
        return largest(ranks_CP, self.num_sent(num_parameters))

    def _scaled(self, delta_CP: Tensor) -> Tensor:
        """What would be sent of each coordinate: NaN throughout where a row is not finite."""
        num_parameters = delta_CP.shape[1]
        scale = num_parameters / self.num_sent(num_parameters) if self.unbiased else 1.0
        scales_C1 = delta_CP.isfinite().all(dim=1, keepdim=True).float().mul_(scale)
        return delta_CP * scales_C1.masked_fill_(scales_C1 == 0, torch.nan)
