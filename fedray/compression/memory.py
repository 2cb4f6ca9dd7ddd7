"""Error feedback: what a codec takes away from an update is kept, and added to the next.

Seide et al. 2014 (https://doi.org/10.21437/Interspeech.2014-274), who quantise to one bit; Karimireddy et al. 2019
(https://arxiv.org/abs/1901.09847, algorithm 2), who show that any codec whose relative error is below 1 converges so.

Shapes: C clients, P parameters.
"""

from torch import Tensor

from fedray.compression.codec import Codec
from fedray.seeds import Words


def with_memory(codec: Codec, delta_CP: Tensor, residual_CP: Tensor, keys_C: Words) -> tuple[Tensor, Tensor]:
    """Compresses updates and what was kept of earlier ones.

    Args:
        codec: How; with a relative error of 1 or more residuals can grow without limit.
        delta_CP: New updates, float32, shape (C, P); not changed.
        residual_CP: What was kept of each client's earlier updates, zeros at first, shape (C, P); not changed.
        keys_C: One stream a row, shape (C,).

    Returns:
        What the receiver decodes, and what is kept, both of shape (C, P). Neither is finite where an update is not: the
        receiver refuses it, and the client should keep its earlier residual.
    """
    wanted_CP = delta_CP + residual_CP
    decoded_CP = codec.apply(wanted_CP, keys_C)
    return decoded_CP, wanted_CP.sub_(decoded_CP)
