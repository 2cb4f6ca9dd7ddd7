"""What every codec gives: bytes on the wire, and the vector that the receiver decodes.

Shapes: C clients, P parameters.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from fedray.config import Config
from fedray.messages import Floats
from fedray.seeds import Words


class Codec(Config, ABC):
    """Settings of a codec; also its arithmetic, which is a pure function of (vector, key).

    `apply` is what a simulation needs. `encode` and `decode` are the wire itself: they are slow, and prove that `apply`
    gives no number that `num_bytes` could not carry.
    """

    name: str

    @abstractmethod
    def num_bytes(self, num_parameters: int) -> int:
        """Bytes on the wire of one vector of P >= 1 parameters; known before anybody trains."""

    @abstractmethod
    def relative_error(self, num_parameters: int) -> float:
        """The bound of E|decoded - x|^2 / |x|^2 in exact arithmetic; error feedback needs one below 1."""

    @abstractmethod
    def apply(self, delta_CP: Tensor, keys_C: Words) -> Tensor:
        """What the receiver decodes, each row as if it were alone.

        Args:
            delta_CP: What is sent, float32, shape (C, P); not changed.
            keys_C: One stream a row, shape (C,); for codecs that draw.

        Returns:
            Float32, shape (C, P), on the same device. A row that holds NaN or infinite values decodes to one that does.
        """

    @abstractmethod
    def encode(self, row_P: Floats, key: Words) -> bytes:
        """One vector on the wire, `num_bytes(P)` long.

        Args:
            row_P: What is sent, shape (P,).
            key: Its stream, shape (1,).
        """

    @abstractmethod
    def decode(self, data: bytes, num_parameters: int, key: Words) -> Floats:
        """The vector that `encode` put on the wire, shape (P,): to the bit the row of `apply`.

        Args:
            data: From `encode`.
            num_parameters: P.
            key: Its stream, shape (1,).
        """
