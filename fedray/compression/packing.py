"""Whole numbers of a few bits each, side by side in bytes."""

import numpy as np

from fedray.messages import Ints


def packed_bytes(num: int, width: int) -> int:
    """Bytes that `num` numbers of `width` bits take."""
    return -(-num * width // 8)


def pack(numbers: Ints, width: int) -> bytes:
    """Numbers in [0, 2^width), lowest bit first; the last byte is filled with zeros."""
    bits = (numbers[:, None] >> np.arange(width)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def unpack(data: bytes, num: int, width: int) -> Ints:
    """The numbers that `pack` put side by side, shape (num,)."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=num * width, bitorder="little")
    return bits.reshape(num, width).astype(np.int64) @ (1 << np.arange(width))
