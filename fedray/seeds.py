"""All randomness of a run, derived from `(seed, purpose, round, client)`; no generator object is ever stored.

The streams are counter-based: word `i` of the stream with key `k` is `mix(k + i * golden)` with the finaliser of
SplitMix64 (Steele, Lea and Flood 2014, https://doi.org/10.1145/2660193.2660195). They use integers only, so they are
the same on every machine, and whole cohorts are drawn at once: one row a client.

Shapes: C clients, N words.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(words: Words) -> Words:
    words = words ^ (words >> np.uint64(30))
    words *= _MIX_1
    words ^= words >> np.uint64(27)
    words *= _MIX_2
    words ^= words >> np.uint64(31)
    return words


def _hash(seed: int, purpose: str, round: int) -> bytes:
    return hashlib.blake2b(f"{seed}|{purpose}|{round}".encode(), digest_size=16).digest()


def keys(seed: int, purpose: str, round: int, clients: ArrayLike) -> Words:
    """The stream keys of many clients.

    Args:
        seed: The experiment's seed.
        purpose: What the randomness is for: "batches", "dropout".
        round: Round number, from 1; 0 for what happens once.
        clients: Client ids, shape (C,).

    Returns:
        One key a client, shape (C,).
    """
    first, second = np.frombuffer(_hash(seed, purpose, round), dtype=np.uint64)
    ids = np.atleast_1d(np.asarray(clients)).astype(np.uint64)
    return _mix(_mix(ids * _GOLDEN + first) + second)


def words(keys_C: Words, num: int, start: int = 0) -> Words:
    """`num` words of each stream, from place `start` on, shape (C, num)."""
    counter = np.arange(start + 1, start + num + 1, dtype=np.uint64) * _GOLDEN
    return _mix(keys_C[:, None] + counter[None, :])


def split(keys_C: Words, index: int) -> Words:
    """Keys of streams derived from each stream, one for every index >= 0, shape (C,)."""
    return _mix(keys_C + np.uint64((index + 1) * int(_GOLDEN) % 2**64))


def uniform_at(keys_C: Words, places_C: NDArray[np.int64]) -> NDArray[np.float64]:
    """The uniform number in [0, 1) at a place of each stream, places from 0, shape (C,)."""
    counter = (places_C.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    return (_mix(keys_C + counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniforms(keys_C: Words, num: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), shape (C, num)."""
    return (words(keys_C, num) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bells(keys_C: Words, num: int) -> NDArray[np.float32]:
    """Bell-shaped numbers, shape (C, num): mean 0, deviation 1, bounds +-3.46, the sum of four 16-bit uniforms.

    For simulated sensor noise: formed from integers, so exact on every machine, and fast. Not for privacy.
    """
    lanes = words(keys_C, num).view(np.uint16).reshape(len(keys_C), num, 4)
    total = lanes.sum(axis=2, dtype=np.int32) - np.int32(2 * 65535)
    return total.astype(np.float32) * np.float32(1.0 / np.sqrt(4 * (65536.0**2 - 1) / 12))


def normals(keys_C: Words, num: int) -> NDArray[np.float64]:
    """Numbers of the standard normal distribution, shape (C, num), by Box and Muller.

    Logarithm and cosine may differ in the last bit between machines. Not for privacy.
    """
    draw = uniforms(keys_C, 2 * num)
    return np.sqrt(-2.0 * np.log1p(-draw[:, :num])) * np.cos(2.0 * np.pi * draw[:, num:])


def permutations(keys_C: Words, num: int) -> NDArray[np.int64]:
    """A random order of `num` things for each stream, shape (C, num): there is only one, as no word comes twice."""
    return np.argsort(words(keys_C, num), axis=1)


def generator(seed: int, purpose: str, round: int = 0, client: int = 0) -> np.random.Generator:
    """A NumPy generator for what has no vectorised form here; use it and let it go."""
    key = int.from_bytes(_hash(seed, f"{purpose}|{client}", round), "little")
    return np.random.Generator(np.random.Philox(key=key))


def torch_seed(seed: int, purpose: str, round: int = 0, client: int = 0) -> int:
    """A seed for a torch generator, in [0, 2^63)."""
    return int.from_bytes(_hash(seed, f"{purpose}|{client}", round)[:8], "little") >> 1
