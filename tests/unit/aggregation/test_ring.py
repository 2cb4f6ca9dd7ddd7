import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.aggregation.ring import Ring, RunningSum, RunningSums, merge
from fedray.messages import Partial


def one(update: torch.Tensor, weight: int, ring: Ring, block: int) -> Partial:
    total = RunningSum(len(update))
    assert total.add(ring, update[None], np.array([weight])).all()
    total.name(block)
    return total.partial()


def together(*partials: Partial) -> Partial:
    (total,) = merge(*((partial,) for partial in partials))
    return total


def test_encode_is_exact_to_half_a_unit():
    ring = Ring(fraction_bits=8, cohort=4)
    encoded, fits = ring.encode(torch.tensor([[1.0, -0.5, 1 / 256, 1 / 512, 3 / 512]]), torch.tensor([3]))
    assert encoded.tolist() == [[768, -384, 3, 2, 4]]  # 1.5 and 4.5 go to the even neighbour
    assert encoded.dtype == torch.int64
    assert fits.tolist() == [True]
    assert ring.decode(encoded[0].numpy()).tolist() == [3.0, -1.5, 3 / 256, 2 / 256, 4 / 256]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_order_and_any_tree_gives_the_same_bits(data: st.DataObject):
    num = data.draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    ring = Ring(fraction_bits=30, cohort=num)
    weights = torch.randint(1, 1000, (num,), generator=generator).tolist()
    scales = 10.0 ** torch.randint(-9, 2, (num, 1), generator=generator)
    updates = torch.randn(num, 17, generator=generator) * scales
    partials = [one(update, weight, ring, i) for i, (update, weight) in enumerate(zip(updates, weights, strict=True))]
    expected = together(*partials)
    trees = data.draw(st.permutations(partials))
    while len(trees) > 1:  # a random tree: two neighbours at a random place become one
        place = data.draw(st.integers(0, len(trees) - 2))
        trees[place : place + 2] = [together(trees[place], trees[place + 1])]
    assert np.array_equal(trees[0].total, expected.total)
    assert trees[0].blocks == expected.blocks == tuple(range(num))
    assert (trees[0].weight, trees[0].num_updates) == (sum(weights), num)
    mean = np.average(updates.double().numpy(), axis=0, weights=weights)
    unit = 2.0**-30 * num / sum(weights)
    assert np.abs(ring.mean(expected) - mean).max() <= unit / 2 + 1e-15 * np.abs(updates.numpy()).max()


def test_mean_is_as_good_as_float64():
    generator = torch.Generator().manual_seed(0)
    updates, weights = torch.randn(500, 40, generator=generator) * 0.01, torch.arange(1, 501)
    ring, total = Ring(fraction_bits=30, cohort=500), RunningSum(40)
    assert total.add(ring, updates, weights.numpy()).all()
    exact = np.average(updates.double().numpy(), axis=0, weights=weights.numpy())
    assert np.abs(ring.mean(total.partial()) - exact).max() < 2e-12
    floats = (updates * weights[:, None]).sum(0).numpy() / weights.sum().numpy()
    assert np.abs(ring.mean(total.partial()) - exact).max() < np.abs(floats - exact).max()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30, -1e30, 3e38])
def test_update_that_does_not_fit_is_refused_and_the_others_are_not(bad: float):
    updates = torch.ones(3, 4)
    updates[1, 2] = bad
    encoded, fits = Ring(fraction_bits=30, cohort=3).encode(updates, torch.tensor([1, 2, 3]))
    assert fits.tolist() == [True, False, True]
    assert encoded.tolist() == [[2**30] * 4, [0] * 4, [3 * 2**30] * 4]


@pytest.mark.parametrize("largest", [1e-3, 1e5, 1e8])  # in the fast path, across it and beyond it
@pytest.mark.parametrize("clients", [1, 3])
def test_adding_is_encoding_and_summing(largest: float, clients: int):
    generator = torch.Generator().manual_seed(0)
    updates = torch.randn(clients, 150_001, generator=generator) * largest / 5
    updates[-1, 7], weights = float("nan"), torch.arange(3, 3 + clients)
    ring, total = Ring(fraction_bits=20, cohort=50), torch.ones(150_001, dtype=torch.int64)
    encoded, fits = ring.encode(updates, weights)
    assert fits.tolist() == [True] * (clients - 1) + [False]
    assert torch.equal(ring.add(updates, weights, total), fits)
    assert torch.equal(total, encoded.sum(dim=0) + 1)
    exact = (updates.double() * weights[:, None].double() * 2.0**20).round()
    assert torch.equal(encoded[fits], exact[fits].to(torch.int64))


@pytest.mark.parametrize("cohort", [1, 2, 3, 7, 1000, 10**6, 2**20])
@pytest.mark.parametrize("sign", [1, -1])
def test_whole_cohort_at_the_bound_does_not_wrap(cohort: int, sign: int):
    ring = Ring(fraction_bits=8, cohort=cohort)
    largest = torch.tensor([[sign * ring.largest(1)]], dtype=torch.float64)
    float32 = largest.float()
    if float(float32.abs()) > float(largest.abs()):
        float32 = torch.nextafter(float32, torch.zeros(1))
    encoded, fits = ring.encode(float32, torch.tensor([1]))
    assert fits.tolist() == [True]
    value = int(encoded[0, 0])
    assert abs(value) * cohort <= 2**62
    assert abs(value) * cohort > 0.99 * 2**62
    total = (
        np.sum(np.full(min(cohort, 1000), value, np.int64)) if cohort <= 1000 else np.int64(value) * np.int64(cohort)
    )
    assert int(total) == value * cohort


def test_just_above_the_bound_is_refused():
    ring = Ring(fraction_bits=8, cohort=4)
    limit = torch.tensor([[ring.largest(2)]])
    assert ring.largest(2) == 2**60 / 256 / 2
    assert ring.encode(limit, torch.tensor([2]))[1].tolist() == [True]
    assert ring.encode(torch.nextafter(limit, limit * 2), torch.tensor([2]))[1].tolist() == [False]


def test_updates_are_not_changed_by_encoding():
    updates = torch.full((2, 3), 0.123)
    updates[0, 0] = float("nan")
    before = updates.clone()
    Ring(fraction_bits=30, cohort=2).encode(updates, torch.tensor([1, 2]))
    assert torch.equal(updates.nan_to_num(), before.nan_to_num())


def test_block_counted_twice_is_refused():
    ring = Ring(fraction_bits=30, cohort=4)
    a, b = one(torch.ones(2), 1, ring, 0), one(torch.ones(2), 1, ring, 1)
    both = together(a, b)
    with pytest.raises(ValueError, match="block 1 is already in the sum; it would be counted twice"):
        together(both, b)
    assert together(a, b).num_updates == 2


def test_merging_changes_no_partial():
    ring = Ring(fraction_bits=30, cohort=4)
    a, b = one(torch.ones(2), 1, ring, 0), one(torch.ones(2), 1, ring, 1)
    for partial in (a, b):
        partial.total.flags.writeable = False  # as from Ray's object store
    together(a, b)
    assert a.total.tolist() == b.total.tolist() == [2**30] * 2


def test_rejected_half_of_a_sum_leaves_it_alone():
    ring, total = Ring(fraction_bits=30, cohort=4), RunningSum(2)
    total.include(one(torch.ones(2), 1, ring, 3))
    with pytest.raises(ValueError, match="block 3"):
        total.include(one(torch.ones(2), 1, ring, 3))
    assert (total.partial().total.tolist(), total.partial().num_updates) == ([2**30] * 2, 1)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_several_sums_stay_apart_in_any_tree(data: st.DataObject):
    ring, places = Ring(fraction_bits=30, cohort=12), data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    updates, hosts = torch.arange(2.0 * len(places)).view(-1, 2), [RunningSums(2) for _ in range(3)]
    for block, (place, update) in enumerate(zip(places, updates, strict=True)):
        total = hosts[data.draw(st.integers(0, 2))].into(place)
        assert total.add(ring, update[None], np.array([1 + block])).all()
        total.name(block)
    parts = data.draw(st.permutations([host.partials() for host in hosts]))
    found = merge(merge(*parts[:2]), parts[2])
    assert [partial.into for partial in found] == sorted(set(places))
    for partial in found:
        mine = [block for block, place in enumerate(places) if place == partial.into]
        expected = together(*(one(updates[block], 1 + block, ring, block) for block in mine))
        assert np.array_equal(partial.total, expected.total)
        assert (partial.blocks, partial.weight) == (tuple(mine), expected.weight)


def test_sum_of_nothing_is_none():
    assert merge((), ()) == ()
