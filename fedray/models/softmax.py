"""Softmax and linear regression: one dense layer on the flattened features."""

from collections import OrderedDict
from typing import Literal

from torch import nn

from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.shapes import num_features


class Softmax(ModelConfig):
    """Multinomial logistic regression (the softmax is in the loss)."""

    name: Literal["softmax"] = "softmax"

    def build(self, spec: DataSpec) -> nn.Module:
        return _one_layer(spec)


class Linear(ModelConfig):
    """Linear regression: the same layer as `softmax` under the name used for real targets."""

    name: Literal["linear"] = "linear"

    def build(self, spec: DataSpec) -> nn.Module:
        return _one_layer(spec)


def _one_layer(spec: DataSpec) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    layers["output"] = nn.Linear(num_features(spec), spec.num_outputs)
    return nn.Sequential(layers)
