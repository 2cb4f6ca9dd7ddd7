"""The models that can be chosen by name, and how one is built."""

from typing import Annotated

import torch
from torch import nn

from fedray import seeds
from fedray.config import Choices
from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.cifar_cnn import CifarCnn
from fedray.models.cnn1d import Cnn1d
from fedray.models.gru import Gru
from fedray.models.imported import ImportedModel
from fedray.models.lstm import Lstm
from fedray.models.mlp import Mlp
from fedray.models.mlp_2nn import Mlp2nn
from fedray.models.mnist_cnn import MnistCnn
from fedray.models.scaled import Scaled
from fedray.models.softmax import Linear, Softmax

MODELS = Choices(
    "model",
    {
        "softmax": Softmax,
        "linear": Linear,
        "mlp": Mlp,
        "mlp_2nn": Mlp2nn,
        "mnist_cnn": MnistCnn,
        "cifar_cnn": CifarCnn,
        "cnn1d": Cnn1d,
        "gru": Gru,
        "lstm": Lstm,
    },
    imported=ImportedModel,
)
AnyModel = Annotated[ModelConfig, MODELS]


def build(config: ModelConfig, spec: DataSpec, seed: int) -> nn.Module:
    """A new module, whose initial parameters depend on the seed alone; torch's own generator is left as it was.

    Args:
        config: The model's settings.
        spec: What the data is.
        seed: The experiment's seed.

    Returns:
        A module that maps (B, *features) to (B, num_outputs); for regression in units of the target.

    Raises:
        ModelError: The model cannot take this data.
        ConfigError: The model of a user cannot be imported.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.torch_seed(seed, "model"))
        module = config.build(spec)
    if spec.task == "regression" and spec.target_scale != 1:
        return Scaled(module, spec.target_scale)
    return module
