import warnings

import pytest
import torch
from torch import nn

from fedray.errors import ModelError
from fedray.models.base import Layout


class Tied(nn.Module):
    """Two layers with one weight, a scalar parameter, a frozen one and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)
        self.frozen = nn.Parameter(torch.ones(2, 3), requires_grad=False)
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.second(self.norm(self.first(x))) * self.temperature


def test_layout_holds_trainable_then_frozen_then_buffers():
    layout = Layout(Tied())
    assert [s.name for s in layout.slots] == [
        "temperature",
        "first.weight",
        "first.bias",
        "second.bias",
        "norm.weight",
        "norm.bias",
        "frozen",
        "norm.running_mean",
        "norm.running_var",
    ]
    assert (layout.num_trainable, layout.num_parameters) == (1 + 16 + 4 + 4 + 8, 33 + 6 + 8)
    assert layout.slots[-1].stop == layout.num_parameters


def test_flatten_bind_flatten_is_the_identity():
    module = Tied()
    layout, vector = Layout(module), torch.randn(47)
    layout.bind(module, vector)
    assert torch.equal(layout.flatten(module), vector)
    assert module.second.weight is module.first.weight


def test_flatten_is_a_copy():
    module = Tied()
    layout = Layout(module)
    layout.flatten(module).zero_()
    assert layout.flatten(module).any()


def test_writing_the_bound_vector_changes_the_module():
    module, x = Tied(), torch.randn(5, 4)
    layout = Layout(module)
    vector = layout.flatten(module)
    layout.bind(module, vector)
    before = module(x).detach()
    vector[0] = 4.0
    torch.testing.assert_close(module(x).detach(), before * 2)


def test_training_writes_buffers_into_the_bound_vector():
    module = Tied()
    layout = Layout(module)
    vector = layout.flatten(module)
    layout.bind(module, vector)
    before = vector.clone()
    module.train()(torch.randn(5, 4) + 3)
    changed = (vector != before).nonzero().flatten().tolist()
    assert changed == list(range(39, 47))


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_split_keeps_leading_dimensions_and_gives_views(lead):
    layout = Layout(Tied())
    vectors = torch.randn(*lead, 47)
    parts = layout.split(vectors)
    assert parts["first.weight"].shape == (*lead, 4, 4)
    assert parts["temperature"].shape == lead
    assert torch.equal(torch.cat([p.reshape(*lead, -1) for p in parts.values()], dim=-1), vectors)
    parts["frozen"].zero_()
    assert not vectors[..., 33:39].any()


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ModelError, match="no trainable parameters; change model"):
        Layout(nn.ReLU())
    with pytest.raises(ModelError, match=r"tensor 'weight' of the model is torch.float64, but fedray trains float32"):
        Layout(nn.Linear(2, 2).double())
    with warnings.catch_warnings(action="ignore"):
        lazy = nn.LazyLinear(2)
    with pytest.raises(ModelError, match="lazy layers"):
        Layout(lazy)
