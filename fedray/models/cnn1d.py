"""A convolutional network over time, for windows of sensor readings."""

from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator
from torch import nn

from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.shapes import window_shape


class Cnn1d(ModelConfig):
    """Convolutions over time, each with ReLU and max-pooling by two, then the mean over time and a dense layer."""

    name: Literal["cnn1d"] = "cnn1d"
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 64)
    """Output channels of the convolutions."""
    kernel_size: PositiveInt = 5
    """Width of the convolutions, in time steps."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the last layer."""
    num_groups: PositiveInt | None = None
    """Groups of group normalisation after each convolution; null does not normalise."""

    @model_validator(mode="after")
    def _groups_divide(self) -> "Cnn1d":
        bad = [c for c in self.channels if self.num_groups and c % self.num_groups]
        if bad:
            raise ValueError(f"num_groups is {self.num_groups}, which does not divide {bad[0]} of channels; change one")
        return self

    def build(self, spec: DataSpec) -> nn.Module:
        channels, _ = window_shape(spec, self.name, shortest=2 ** len(self.channels))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, out in enumerate(self.channels, start=1):
            layers[f"conv{i}"] = nn.Conv1d(channels, out, self.kernel_size, padding=self.kernel_size // 2)
            if self.num_groups:
                layers[f"norm{i}"] = nn.GroupNorm(self.num_groups, out)
            layers[f"activation{i}"] = nn.ReLU()
            layers[f"pool{i}"] = nn.MaxPool1d(2)
            channels = out
        layers["mean"] = nn.AdaptiveAvgPool1d(1)
        layers["flatten"] = nn.Flatten()
        if self.dropout:
            layers["dropout"] = nn.Dropout(self.dropout)
        layers["output"] = nn.Linear(channels, spec.num_outputs)
        return nn.Sequential(layers)
