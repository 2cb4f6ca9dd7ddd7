import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import EVERY, keys, label, same_bits, squared, updates

from fedray.compression.codec import Codec
from fedray.compression.int8 import Int8
from fedray.compression.memory import with_memory
from fedray.compression.randomk import RandomK
from fedray.compression.topk import TopK

every = pytest.mark.parametrize("codec", [c for c in EVERY if c.relative_error(120) < 1], ids=label)


def test_by_hand():
    codec, residual = TopK(fraction=0.5), torch.zeros(1, 2)
    sent = []
    for _ in range(4):
        decoded, residual = with_memory(codec, torch.tensor([[3.0, 2.0]]), residual, keys(1))
        sent.append(decoded[0].tolist())
    assert sent == [[3.0, 0.0], [0.0, 4.0], [6.0, 0.0], [0.0, 4.0]]
    assert residual.tolist() == [[3.0, 0.0]]


@every
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), rounds=st.integers(1, 12))
def test_what_was_sent_and_what_is_kept_is_all_there_was(codec: Codec, seed: int, rounds: int):
    deltas = [torch.randn(3, 120, generator=torch.Generator().manual_seed(seed + r)) for r in range(rounds)]
    residual, sent = torch.zeros(3, 120), torch.zeros(3, 120, dtype=torch.float64)
    for round, delta in enumerate(deltas):
        decoded, residual = with_memory(codec, delta, residual, keys(3, round))
        sent += decoded.double()
    total = sum(delta.double() for delta in deltas)
    assert (sent + residual - total).abs().max() < 2e-5 * rounds  # magnitudes of up to 100, rounded to 2^-24 of them


@every
def test_residuals_do_not_grow_without_limit(codec: Codec):
    """Karimireddy et al., lemma 3: |e|^2 <= 4 r / (1 - r)^2 |x|^2 for a relative error r, updates of equal norm."""
    residual, delta = torch.zeros(3, 120), torch.randn(3, 120, generator=torch.Generator().manual_seed(0))
    error = codec.relative_error(120)
    for round in range(100):
        _, residual = with_memory(codec, delta, residual, keys(3, round))
    assert (squared(residual) <= 4 * error / (1 - error) ** 2 * squared(delta) + 1e-6).all()


def test_scaled_random_coordinates_grow():
    """Why `unbiased` must be false with error feedback, and what a relative error of 1 or more says."""
    codec, residual, delta = RandomK(fraction=0.1), torch.zeros(1, 50), torch.ones(1, 50)
    assert codec.relative_error(50) == pytest.approx(9)
    for round in range(30):
        _, residual = with_memory(codec, delta, residual, keys(1, round))
    assert float(residual.abs().max()) > 1e3


def test_a_row_is_what_it_is_alone_and_nothing_is_changed():
    delta, residual = updates(9, 700), updates(9, 700, seed=1)
    before = delta.clone(), residual.clone()
    together = with_memory(Int8(), delta, residual, keys(9))
    alone = with_memory(Int8(), delta[4:5], residual[4:5], keys(9)[4:5])
    assert all(same_bits(a[4:5], b) for a, b in zip(together, alone, strict=True))
    assert same_bits(delta, before[0])
    assert same_bits(residual, before[1])


@every
def test_what_is_not_finite_stays_so(codec: Codec):
    delta = torch.ones(2, 120)
    delta[1, 7] = float("inf")
    for given_back in with_memory(codec, delta, torch.zeros(2, 120), keys(2)):
        assert given_back.isfinite().all(dim=1).tolist() == [True, False]
