"""The gated recurrent unit of Cho et al. 2014, https://arxiv.org/abs/1406.1078."""

from typing import Literal

from torch import nn

from fedray.messages import DataSpec
from fedray.models.recurrent import Recurrent, RecurrentConfig
from fedray.models.shapes import window_shape


class Gru(RecurrentConfig):
    """Gated recurrent units over windows of shape (channels, time)."""

    name: Literal["gru"] = "gru"

    def build(self, spec: DataSpec) -> nn.Module:
        channels, _ = window_shape(spec, self.name)
        cells = nn.GRU(channels, self.hidden, self.layers, batch_first=True, dropout=self.between_layers)
        return Recurrent(cells, self.dropout, spec.num_outputs)
