"""Settings of compression: of updates on their way up, and of models on their way down."""

import psutil
from pydantic import model_validator

from fedray.compression.codecs import AnyCodec
from fedray.compression.sparse import Sparse
from fedray.config import Config
from fedray.errors import ConfigError

_KEPT = 0.4
"""Part of a machine's memory that what clients keep may take."""


class CompressionConfig(Config):
    """What travels between devices and server; the server decodes updates before it weights and sums them."""

    up: AnyCodec | None = None
    """Codec of updates; null: float32 as they are."""
    down: AnyCodec | None = None
    """Codec of models; null: float32 as they are. Devices train from what they decode, the server keeps what it has."""
    error_feedback: bool = False
    """What the codec takes away from a client's update is added to its next. The driver keeps a vector of P numbers for
    each client that took part, and checkpoints hold them."""

    @model_validator(mode="after")
    def _fits(self) -> "CompressionConfig":
        if self.error_feedback and self.up is None:
            raise ValueError("error_feedback is for what a codec takes away; set up, or remove error_feedback")
        if isinstance(self.down, Sparse):
            raise ValueError(
                f"down is {self.down.name}, which sends zeros for most coordinates, but a model needs all of them; set "
                "down to float16, bfloat16, int8 or qsgd"
            )
        return self

    def check(self, num_parameters: int, num_clients: int) -> None:
        """Refuses what cannot work for a model of so many parameters and so many clients that may take part.

        Raises:
            ConfigError: With error feedback, what is kept could grow without limit, or is too much for this machine.
        """
        if not self.error_feedback or self.up is None:
            return
        error = self.up.relative_error(num_parameters)
        if error >= 1:
            remedy = "set unbiased to false" if self.up.name == "randomk" else "raise its levels, or lower its bucket"
            raise ConfigError(
                f"compression.up is {self.up.name}, whose error can be {error:.3g} of an update: with error_feedback "
                f"what is kept would grow without limit; {remedy}"
            )
        needed, there = 4 * num_parameters * num_clients, psutil.virtual_memory().total
        if needed > _KEPT * there:
            raise ConfigError(
                f"compression.error_feedback keeps {num_parameters:,} numbers for each of up to {num_clients:,} "
                f"clients, {needed / 1e9:.1f} GB, which is more than {_KEPT:.0%} of this machine's "
                f"{there / 1e9:.1f} GB; set it to false, or take fewer clients or a smaller model"
            )

    def up_bytes(self, num_parameters: int) -> int:
        """Bytes of an update."""
        return _bytes(self.up, num_parameters)

    def down_bytes(self, num_parameters: int) -> int:
        """Bytes of a model."""
        return _bytes(self.down, num_parameters)


def _bytes(codec: AnyCodec | None, num_parameters: int) -> int:
    return 4 * num_parameters if codec is None else codec.num_bytes(num_parameters)
