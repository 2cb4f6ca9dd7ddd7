import pickle

import pytest
import torch

from fedray.config import Config, parse
from fedray.errors import ConfigError, ModelError
from fedray.messages import DataSpec
from fedray.models.base import Layout, check
from fedray.models.cnn1d import Cnn1d
from fedray.models.lstm import Lstm
from fedray.models.mlp import Mlp
from fedray.models.softmax import Linear, Softmax
from fedray.models.table import MODELS, AnyModel, build

IMAGE = DataSpec(features=(1, 28, 28), task="classification", num_outputs=10)
COLOUR = DataSpec(features=(3, 32, 32), task="classification", num_outputs=10)
WINDOW = DataSpec(features=(6, 20), task="classification", num_outputs=3)
ROW = DataSpec(features=(8,), task="regression", num_outputs=1, target_scale=50.0)


class Root(Config):
    model: AnyModel = Mlp()


class Pair(torch.nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(8, width)

    def forward(self, x):
        return self.dense(x)


class OwnConfig(Softmax):
    pass


def not_a_module() -> str:
    return "no"


def choose(model) -> AnyModel:
    return parse(Root, {"model": model}).model


def num_parameters(name: str, spec: DataSpec) -> int:
    return Layout(build(choose(name), spec, 1)).num_parameters


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("mnist_cnn", IMAGE, 1_663_370),
        ("mlp_2nn", IMAGE, 199_210),
        ("cifar_cnn", COLOUR, 1_626_442),
        ("softmax", IMAGE, 7_850),
        ("linear", ROW, 9),
    ],
)
def test_parameter_counts_are_those_of_the_papers(name, spec, expected):
    assert num_parameters(name, spec) == expected


@pytest.mark.parametrize("name", MODELS.options)
def test_every_model_takes_its_data_and_learns(name):
    spec = {"mnist_cnn": IMAGE, "cifar_cnn": COLOUR, "cnn1d": WINDOW, "gru": WINDOW, "lstm": WINDOW}.get(name, ROW)
    module, x = build(choose(name), spec, 1), torch.randn(4, *spec.features)
    check(module, spec, x)
    module(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
    assert MODELS.options[name]().name == name


def test_same_seed_same_parameters_and_torch_generator_untouched():
    before = torch.random.get_rng_state()
    first, again, other = (build(Mlp(), ROW, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    layout = Layout(first)
    assert torch.equal(layout.flatten(first), layout.flatten(again))
    assert not torch.equal(layout.flatten(first), layout.flatten(other))


def test_regression_predicts_in_units_of_the_target():
    plain = build(Linear(), DataSpec(features=(8,), task="regression", num_outputs=1), 1)
    scaled, x = build(Linear(), ROW, 1), torch.randn(5, 8)
    torch.testing.assert_close(scaled(x), plain(x) * 50)
    assert [s.name for s in Layout(scaled).slots] == ["module.output.weight", "module.output.bias"]
    assert torch.equal(pickle.loads(pickle.dumps(scaled))(x), scaled(x))


def test_recurrent_models_read_time_in_order():
    module, x = build(Lstm(), WINDOW, 1), torch.randn(2, 6, 20)
    assert not torch.allclose(module(x), module(x.flip(2)))


def test_cnn1d_normalises_groups():
    module = build(Cnn1d(channels=(8, 16), num_groups=4), WINDOW, 1)
    assert sum(isinstance(m, torch.nn.GroupNorm) for m in module.modules()) == 2
    with pytest.raises(ConfigError, match="num_groups is 3, which does not divide 8"):
        choose({"name": "cnn1d", "channels": [8], "num_groups": 3})


@pytest.mark.parametrize(
    ("name", "features", "sentence"),
    [
        ("mnist_cnn", (784,), r"model mnist_cnn takes examples of shape \(channels, height, width\), but .* \(784,\)"),
        ("cifar_cnn", (3, 5, 5), r"at least 6 x 6 pixels, but those of the data have \(3, 5, 5\); change model"),
        ("cnn1d", (6, 3), r"\(channels, time\) with at least 4 time steps, but those of the data have \(6, 3\)"),
        ("gru", (6,), r"model gru takes examples of shape \(channels, time\), but those of the data have \(6,\)"),
    ],
)
def test_data_that_does_not_fit_is_one_sentence(name, features, sentence):
    with pytest.raises(ModelError, match=sentence):
        build(choose(name), DataSpec(features=features, task="classification", num_outputs=2), 1)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("mlpp", "no model is called 'mlpp' \\(did you mean 'mlp'\\?\\)"),
        ({"name": "mlp", "hiden": [3]}, "unknown key 'hiden' \\(did you mean 'hidden'\\?\\)"),
        ({"name": "mlp", "hidden": [0]}, "model.hidden.0 is 0, but must be greater than 0; change model.hidden.0"),
    ],
)
def test_unknown_names_name_the_nearest(model, sentence):
    with pytest.raises(ConfigError, match=sentence):
        choose(model)


def test_imported_model_is_built_with_args():
    module = build(choose({"name": f"{__name__}:Pair", "args": {"width": 2}}), ROW, 1)
    assert module(torch.randn(3, 8)).shape == (3, 2)
    own = build(choose(f"{__name__}:OwnConfig"), IMAGE, 1)
    assert Layout(own).num_parameters == 7_850


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        (f"{__name__}:Pear", ConfigError, "cannot be imported .*; change model.name"),
        ("json:__name__", ConfigError, "which is a str, but must be a class or a function"),
        (f"{__name__}:not_a_module", ModelError, "which gives a str, but must give a torch module"),
        ({"name": f"{__name__}:Pair", "args": {"widht": 2}}, ModelError, "unexpected keyword.*; change model.args"),
        ({"name": f"{__name__}:OwnConfig", "args": {"a": 2}}, ConfigError, "model.args of .*unknown key 'a'"),
    ],
)
def test_imported_model_that_is_none_is_one_sentence(model, error, sentence):
    with pytest.raises(error, match=sentence):
        build(choose(model), ROW, 1)


def test_check_names_a_wrong_output_and_a_wrong_input():
    with pytest.raises(ModelError, match=r"gives \(4, 3\) for a batch, but regression of this data needs \(4, 1\)"):
        check(Pair(), ROW, torch.randn(4, 8))
    with pytest.raises(ModelError, match=r"cannot take examples of shape \(6, 20\) \(RuntimeError: .*\); change model"):
        check(Pair(), WINDOW, torch.randn(4, 6, 20))
