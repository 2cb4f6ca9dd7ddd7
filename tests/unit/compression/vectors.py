"""Vectors and codecs that all tests of this folder use."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from fedray import seeds
from fedray.compression.codec import Codec
from fedray.compression.int8 import Int8
from fedray.compression.qsgd import Qsgd
from fedray.compression.randomk import RandomK
from fedray.compression.sixteen_bits import BFloat16, Float16
from fedray.compression.topk import TopK
from fedray.seeds import Words

EVERY: list[Codec] = [
    Float16(),
    BFloat16(),
    Int8(),
    Int8(bits=2, bucket=3),
    Qsgd(),
    Qsgd(levels=1, bucket=7),
    Qsgd(levels=32_767, bucket=64),
    TopK(),
    TopK(fraction=0.3),
    TopK(fraction=1.0),
    RandomK(),
    RandomK(fraction=0.3, unbiased=False),
]

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
MODERATE = st.floats(-(2.0**40), 2.0**40, width=32)
"""Of which neither squares nor sums leave float32."""


def label(codec: Codec) -> str:
    return ",".join(str(value) for value in codec.model_dump().values())


def keys(num: int, round: int = 1) -> Words:
    return seeds.keys(3, "compression", round, np.arange(num))


def updates(num_clients: int, num_parameters: int, seed: int = 0) -> Tensor:
    """Of very different sizes, with zeros and equal magnitudes among them."""
    random = torch.Generator().manual_seed(seed)
    delta = torch.randn(num_clients, num_parameters, generator=random)
    delta *= 10.0 ** torch.randint(-6, 3, (num_clients, 1), generator=random)
    delta[torch.rand(delta.shape, generator=random) < 0.1] = 0
    coarse = torch.rand(num_clients, 1, generator=random) < 0.3
    return torch.where(coarse, delta.sign(), delta)


def row(values: list[float]) -> Tensor:
    return torch.tensor([values], dtype=torch.float32)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether all bits are equal; any NaN equals any other."""
    a, b = (torch.where(x.isnan(), torch.nan, x).view(torch.int32) for x in (a, b))
    return torch.equal(a, b)


def squared(x: Tensor) -> Tensor:
    return x.double().square().sum(dim=-1)
