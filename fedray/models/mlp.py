"""The multi-layer perceptron, with any widths."""

from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import nn

from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.shapes import num_features

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class Mlp(ModelConfig):
    """Dense layers on the flattened features."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[PositiveInt, ...] = (64, 32)
    """Widths of the hidden layers, from input to output; empty is softmax regression."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of each hidden layer's outputs that is dropped in training."""
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    """Function after each hidden layer."""

    def build(self, spec: DataSpec) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        width = num_features(spec)
        for i, hidden in enumerate(self.hidden, start=1):
            layers[f"hidden{i}"] = nn.Linear(width, hidden)
            layers[f"activation{i}"] = ACTIVATIONS[self.activation]()
            if self.dropout:
                layers[f"dropout{i}"] = nn.Dropout(self.dropout)
            width = hidden
        layers["output"] = nn.Linear(width, spec.num_outputs)
        return nn.Sequential(layers)
