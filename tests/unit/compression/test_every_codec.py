"""What every codec promises."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vectors import EVERY, FINITE, keys, label, same_bits, squared, updates

from fedray.compression.codec import Codec
from fedray.compression.codecs import CODECS, AnyCodec
from fedray.compression.int8 import Int8
from fedray.compression.topk import TopK
from fedray.config import Config, parse
from fedray.errors import ConfigError

BAD = [float("nan"), float("inf"), float("-inf")]
every = pytest.mark.parametrize("codec", EVERY, ids=label)


class Settings(Config):
    codec: AnyCodec = Int8()


def over_the_wire(codec: Codec, delta: torch.Tensor) -> torch.Tensor:
    num, keys_C = delta.shape[1], keys(len(delta))
    rows = []
    for place, row in enumerate(delta.numpy()):
        data = codec.encode(row, keys_C[place : place + 1])
        assert len(data) == codec.num_bytes(num)
        rows.append(torch.from_numpy(codec.decode(data, num, keys_C[place : place + 1])))
    return torch.stack(rows)


@every
@pytest.mark.parametrize("num", [1, 2, 65, 513, 1200])
def test_what_is_applied_is_what_the_wire_carries(codec: Codec, num: int):
    delta = updates(5, num)
    assert same_bits(codec.apply(delta, keys(5)), over_the_wire(codec, delta))


@every
@settings(max_examples=10, deadline=None)
@given(values=st.lists(FINITE | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, *BAD]), min_size=1, max_size=40))
@example(values=[3.4e38] * 9)
@example(values=[-1e-45] * 9)
def test_the_wire_carries_any_vector(codec: Codec, values: list[float]):
    delta = torch.tensor([values], dtype=torch.float32)
    decoded = codec.apply(delta, keys(1))
    assert same_bits(decoded, over_the_wire(codec, delta))
    if not delta.isfinite().all():
        assert not decoded.isfinite().all()


@every
@pytest.mark.parametrize(("clients", "num"), [(1, 1), (40, 1), (7, 66), (200, 530), (3, 50_001)])
def test_a_row_is_what_it_is_alone(codec: Codec, clients: int, num: int):
    delta = updates(clients, num, seed=clients)
    together, keys_C = codec.apply(delta, keys(clients)), keys(clients)
    for place in {0, 1, clients // 2, clients - 1} & set(range(clients)):
        alone = slice(place, place + 1)
        assert same_bits(codec.apply(delta[alone], keys_C[alone]), together[alone])
    order = torch.randperm(clients, generator=torch.Generator().manual_seed(1))
    assert same_bits(codec.apply(delta[order], keys_C[order.numpy()]), together[order])


@every
def test_layout_in_memory_does_not_matter_and_nothing_is_changed(codec: Codec):
    delta = updates(6, 700)
    before, expected = delta.clone(), codec.apply(delta, keys(6))
    assert same_bits(codec.apply(delta.T.contiguous().T, keys(6)), expected)
    assert same_bits(codec.apply(torch.cat([delta, delta], dim=1)[:, :700], keys(6)), expected)
    assert same_bits(codec.apply(delta[:1].expand(6, 700), keys(6))[:1], expected[:1])
    assert same_bits(delta, before)
    assert expected.dtype == torch.float32


@every
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [1299])
def test_what_is_not_finite_stays_so_and_the_others_do_not_mind(codec: Codec, bad: float, place: int):
    delta = updates(4, 1300)
    expected = codec.apply(delta, keys(4))
    delta[2, place] = bad
    decoded = codec.apply(delta, keys(4))
    assert decoded.isfinite().all(dim=1).tolist() == [True, True, False, True]
    assert same_bits(decoded[[0, 1, 3]], expected[[0, 1, 3]])
    assert same_bits(over_the_wire(codec, delta), decoded)


@every
@pytest.mark.parametrize("num", [1, 5, 600])
def test_zeros_stay_zeros(codec: Codec, num: int):
    assert same_bits(codec.apply(torch.zeros(3, num), keys(3)), torch.zeros(3, num))


@every
def test_no_rows(codec: Codec):
    assert codec.apply(torch.zeros(0, 5), keys(0)).shape == (0, 5)


@every
@settings(max_examples=10, deadline=None)
@given(num=st.integers(1, 5000))
def test_more_parameters_take_no_fewer_bytes(codec: Codec, num: int):
    assert 0 < codec.num_bytes(num) <= codec.num_bytes(num + 1)


@every
def test_error_is_as_announced(codec: Codec):
    """In the mean of 400 keys; where single errors deviate by the bound, 6 deviations of the mean are 0.3 of it."""
    num = 100
    delta = updates(6, num, seed=2).clamp(-1e4, 1e4)
    delta[delta.abs() < 2.0**-14] = 0  # what float16 calls normal
    errors = squared(codec.apply(delta.repeat(400, 1), keys(2400)) - delta.repeat(400, 1))
    mean = errors.view(400, 6).mean(dim=0)
    assert (mean <= 1.3 * codec.relative_error(num) * squared(delta) + 1e-12 * squared(delta)).all()


@every
def test_one_parameter_is_sent(codec: Codec):
    sent = codec.apply(torch.tensor([[0.75]]), keys(1))
    assert sent.tolist() == [[0.75]]


@every
def test_large_vectors_are_worked_through_in_pieces(codec: Codec):
    """The random numbers of a coordinate do not depend on the piece that it is in."""
    delta = updates(1, 50_001, seed=4)
    together = codec.apply(delta.expand(3, -1), np.repeat(keys(1), 3))
    assert same_bits(together, codec.apply(delta, keys(1)).expand(3, -1))


def test_every_codec_has_its_line_in_the_table():
    assert {type(codec) for codec in EVERY} == set(CODECS.options.values())
    assert all(parse(Settings, {"codec": name}).codec == kind() for name, kind in CODECS.options.items())
    assert parse(Settings, {"codec": {"name": "topk", "fraction": 0.5}}).codec == TopK(fraction=0.5)


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        ({"name": "int8", "bits": 9}, "codec.bits is 9, but must be less than or equal to 8; change codec.bits"),
        ({"name": "int8", "bits": 1}, "codec.bits is 1, but must be greater than or equal to 2; change codec.bits"),
        (
            {"name": "int8", "bucket": 0},
            "codec.bucket is 0, but must be greater than or equal to 1; change codec.bucket",
        ),
        (
            {"name": "qsgd", "levels": 0},
            "codec.levels is 0, but must be greater than or equal to 1; change codec.levels",
        ),
        ({"name": "qsgd", "levels": 40_000}, "codec.levels is 40000, but must be less than or equal to 32767; change "),
        ({"name": "topk", "fraction": 0}, "codec.fraction is 0, but must be greater than 0; change codec.fraction"),
        ({"name": "randomk", "fraction": 1.5}, "codec.fraction is 1.5, but must be less than or equal to 1; change "),
        (
            {"name": "randomk", "unbiased": "so"},
            "codec.unbiased is 'so', but must be a valid boolean.*; change codec.unbiased",
        ),
        ({"name": "float16", "bits": 8}, "codec: unknown key 'bits'"),
        ("topq", r"codec: no codec is called 'topq' \(did you mean 'topk'\?\)"),
    ],
)
def test_bad_settings_are_one_sentence(codec: object, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        parse(Settings, {"codec": codec})
