"""What `gru` and `lstm` share: a recurrent network over a window of sensor readings, and its settings."""

from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fedray.models.base import ModelConfig


class RecurrentConfig(ModelConfig):
    """Settings of a recurrent model."""

    hidden: PositiveInt = 64
    """Width of the hidden state."""
    layers: PositiveInt = 1
    """Recurrent layers on top of one another."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout between the layers, and before the last, dense one."""

    @property
    def between_layers(self) -> float:
        """Dropout between recurrent layers, of which there must be two."""
        return self.dropout if self.layers > 1 else 0.0


class Recurrent(nn.Module):
    """The hidden state after the last time step, through a dense layer.

    Args:
        cells: Recurrent layers, batch first.
        dropout: Dropout before the dense layer.
        num_outputs: Outputs of the dense layer.
    """

    def __init__(self, cells: nn.GRU | nn.LSTM, dropout: float, num_outputs: int) -> None:
        super().__init__()
        self.cells = cells
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(cells.hidden_size, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps windows of shape (B, channels, time) to (B, num_outputs)."""
        states, _ = self.cells(x.transpose(1, 2))
        return self.output(self.dropout(states[:, -1]))
