"""Long short-term memory of Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735."""

from typing import Literal

from torch import nn

from fedray.messages import DataSpec
from fedray.models.recurrent import Recurrent, RecurrentConfig
from fedray.models.shapes import window_shape


class Lstm(RecurrentConfig):
    """Long short-term memory over windows of shape (channels, time)."""

    name: Literal["lstm"] = "lstm"

    def build(self, spec: DataSpec) -> nn.Module:
        channels, _ = window_shape(spec, self.name)
        cells = nn.LSTM(channels, self.hidden, self.layers, batch_first=True, dropout=self.between_layers)
        return Recurrent(cells, self.dropout, spec.num_outputs)
