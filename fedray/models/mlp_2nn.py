"""The "2NN" of McMahan et al. 2017, https://arxiv.org/abs/1602.05629, section 3."""

from typing import Literal

from torch import nn

from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.mlp import Mlp


class Mlp2nn(ModelConfig):
    """Two hidden layers of 200 with ReLU: 199,210 parameters on MNIST (784-200-200-10)."""

    name: Literal["mlp_2nn"] = "mlp_2nn"

    def build(self, spec: DataSpec) -> nn.Module:
        return Mlp(hidden=(200, 200)).build(spec)
