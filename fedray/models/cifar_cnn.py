"""The CIFAR-10 CNN of the pfl-research benchmarks.

Granqvist et al. 2024, https://arxiv.org/abs/2404.06430; `simple_cnn` in
https://github.com/apple/pfl-research/blob/main/benchmarks/model/pytorch/cnn.py.
"""

from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.shapes import image_shape


class CifarCnn(ModelConfig):
    """Two unpadded 3x3 convolutions (32, 64 channels), max-pooling, 128 units: 1,626,442 parameters on CIFAR-10.

    Weights start as in the benchmark: Glorot uniform; biases keep torch's default.
    """

    name: Literal["cifar_cnn"] = "cifar_cnn"
    dropout_conv: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Dropout after the convolutions."""
    dropout_dense: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout before the last layer."""

    def build(self, spec: DataSpec) -> nn.Module:
        channels, height, width = image_shape(spec, self.name, smallest=6)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(channels, 32, kernel_size=3)
        layers["activation1"] = nn.ReLU()
        layers["conv2"] = nn.Conv2d(32, 64, kernel_size=3)
        layers["activation2"] = nn.ReLU()
        layers["pool"] = nn.MaxPool2d(2)
        layers["dropout1"] = nn.Dropout(self.dropout_conv)
        layers["flatten"] = nn.Flatten()
        layers["dense"] = nn.Linear(64 * ((height - 4) // 2) * ((width - 4) // 2), 128)
        layers["activation3"] = nn.ReLU()
        layers["dropout2"] = nn.Dropout(self.dropout_dense)
        layers["output"] = nn.Linear(128, spec.num_outputs)
        for layer in layers.values():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        return nn.Sequential(layers)
