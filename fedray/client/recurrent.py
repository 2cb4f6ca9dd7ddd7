"""Recurrent layers one at a time: by torch, with dropout of our own between them, or stacked for many clients.

Shapes: B batch, T time steps, F features, H hidden, L layers, D directions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fedray.client.cells import gru, lstm
from fedray.client.stacked import over_clients


class Layerwise(nn.Module):
    """Takes the place of `nn.LSTM` or `nn.GRU`, with its parameters.

    Args:
        source: The layers.
        between: What comes between two layers: dropout, or None.
        stacked: Whether it runs for many clients, mapped by `torch.func`.
    """

    def __init__(
        self, source: "nn.RNNBase | Layerwise", between: nn.Module | None = None, stacked: bool = False
    ) -> None:
        super().__init__()
        for name, parameter in source.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.between, self.stacked = between or nn.Identity(), stacked
        self.mode, self.num_layers, self.hidden_size = source.mode, source.num_layers, source.hidden_size
        self.bias, self.batch_first, self.bidirectional = source.bias, source.batch_first, source.bidirectional

    @staticmethod
    def obstacle(layer: nn.RNNBase) -> str | None:
        """Why recurrent layers cannot be stacked, or None."""
        if not isinstance(layer, nn.LSTM | nn.GRU):
            return f"{type(layer).__name__} layers cannot be stacked"
        if layer.hidden_size % 4:
            return f"a hidden width of {layer.hidden_size} is not a multiple of 4, without which bits depend on company"
        return "LSTM layers with projections cannot be stacked" if layer.proj_size else None

    def flatten_parameters(self) -> None:
        """Nothing: there is no copy of the parameters to keep."""

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """As the layers it stands for: x (B, T, F), or (T, B, F); states of (L * D, B, H)."""
        if x.dim() != 3:
            raise ValueError(f"recurrent layers need batches of windows, but the input has shape {tuple(x.shape)}")
        x = x if self.batch_first else x.transpose(0, 1)
        starts = self._starts(x, hx)
        ends: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            x = x if layer == 0 else self.between(x)
            num = 2 if self.bidirectional else 1
            span = slice(layer * num, (layer + 1) * num)
            x, last = (self._stacked if self.stacked else self._torch)(x, layer, [start[span] for start in starts])
            ends.append(last)
        states = tuple(torch.cat(parts) for parts in zip(*ends, strict=True))
        return x if self.batch_first else x.transpose(0, 1), states if self.mode == "LSTM" else states[0]

    def _starts(self, x: Tensor, hx: Any) -> Sequence[Tensor]:
        if hx is not None:
            return hx if self.mode == "LSTM" else (hx,)
        shape = (self.num_layers * (2 if self.bidirectional else 1), x.shape[0], self.hidden_size)
        return tuple(x.new_zeros(shape) for _ in range(2 if self.mode == "LSTM" else 1))

    def _weights(self, layer: int, suffix: str) -> list[Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
        return [getattr(self, f"{name}_l{layer}{suffix}") for name in names]

    def _torch(self, x: Tensor, layer: int, starts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One layer, all directions: the outputs, and the last states, (D, B, H)."""
        weights = self._weights(layer, "") + (self._weights(layer, "_reverse") if self.bidirectional else [])
        rest = (self.bias, 1, 0.0, self.training, self.bidirectional, True)
        if self.mode == "LSTM":
            outputs, hidden, cell = torch.lstm(x, list(starts), weights, *rest)
            return outputs, [hidden, cell]
        outputs, hidden = torch.gru(x, starts[0], weights, *rest)
        return outputs, [hidden]

    def _stacked(self, x: Tensor, layer: int, starts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        outputs: list[Tensor] = []
        ends: list[list[Tensor]] = []
        for direction, suffix in enumerate(("", "_reverse") if self.bidirectional else ("",)):
            weights = self._weights(layer, suffix)
            if not self.bias:
                weights += [weights[0].new_zeros(weights[0].shape[0])] * 2
            inputs = x.flip(1) if direction else x
            run = lstm if self.mode == "LSTM" else gru
            output, *last = over_clients(run, inputs, *(start[direction] for start in starts), *weights)
            outputs.append(output.flip(1) if direction else output)
            ends.append(last)
        return torch.cat(outputs, dim=-1), [torch.stack(parts) for parts in zip(*ends, strict=True)]
