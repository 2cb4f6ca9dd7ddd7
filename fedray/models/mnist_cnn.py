"""The MNIST CNN of McMahan et al. 2017, https://arxiv.org/abs/1602.05629, section 3."""

from collections import OrderedDict
from typing import Literal

from torch import nn

from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.shapes import image_shape


class MnistCnn(ModelConfig):
    """Two 5x5 convolutions (32, 64 channels), each max-pooled by two, then 512 units: 1,663,370 parameters on MNIST."""

    name: Literal["mnist_cnn"] = "mnist_cnn"

    def build(self, spec: DataSpec) -> nn.Module:
        channels, height, width = image_shape(spec, self.name, smallest=4)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(channels, 32, kernel_size=5, padding=2)
        layers["activation1"] = nn.ReLU()
        layers["pool1"] = nn.MaxPool2d(2)
        layers["conv2"] = nn.Conv2d(32, 64, kernel_size=5, padding=2)
        layers["activation2"] = nn.ReLU()
        layers["pool2"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        layers["dense"] = nn.Linear(64 * (height // 4) * (width // 4), 512)
        layers["activation3"] = nn.ReLU()
        layers["output"] = nn.Linear(512, spec.num_outputs)
        return nn.Sequential(layers)
