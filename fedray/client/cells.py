"""One LSTM or GRU layer of many clients over a window: batched products, with the backward pass written by hand.

Torch's autograd would add up the gradients of the recurrent weights time step by time step; here they are one product
over all of them.

Shapes: C clients, B batch, T time steps, F features, H hidden. Within, time comes first or directly after clients.
"""

from typing import Any

import torch
from torch import Tensor

from fedray.client.products import padded, wide

aten = torch.ops.aten


def lstm(
    x: Tensor, hidden: Tensor, cell: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory as `torch.nn.LSTM`.

    Args:
        x: Inputs, (C, B, T, F).
        hidden: Hidden state before, (C, B, H).
        cell: Cell state before, (C, B, H).
        w_ih: Weights of the inputs, (C, 4H, F): input, forget, cell and output gate.
        w_hh: Weights of the hidden state, (C, 4H, H).
        b_ih: Their biases, (C, 4H).
        b_hh: Their biases, (C, 4H).

    Returns:
        Hidden states, (C, B, T, H), and the hidden and cell state after the last time step.
    """
    width = wide(x.shape[-1])
    x, w_ih = padded(x, width), padded(w_ih, width)
    outputs, last = _Lstm.apply(x, hidden, cell, w_ih, w_hh, b_ih, b_hh)  # pyright: ignore[reportGeneralTypeIssues]
    return outputs, outputs[:, :, -1], last


def gru(x: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> tuple[Tensor, Tensor]:
    """Gated recurrent units as `torch.nn.GRU`; arguments as of `lstm`, with reset, update and new gate: (C, 3H, .)."""
    width = wide(x.shape[-1])
    x, w_ih = padded(x, width), padded(w_ih, width)
    outputs: Tensor = _Gru.apply(x, hidden, w_ih, w_hh, b_ih, b_hh)  # pyright: ignore[reportAssignmentType]
    return outputs, outputs[:, :, -1]


def _by_time(x: Tensor) -> Tensor:
    """(C, B, T, F) as (C, T * B, F)."""
    return x.transpose(1, 2).reshape(len(x), -1, x.shape[-1])


def _by_client(steps: Tensor) -> Tensor:
    """(T, C, B, F) as (C, T * B, F)."""
    return steps.transpose(0, 1).reshape(steps.shape[1], -1, steps.shape[-1])


def _to_inputs(flow: Tensor, w_ih: Tensor, shape: torch.Size) -> Tensor:
    """The gradient of the inputs, (C, B, T, F), from that of the gates, (C, T * B, .)."""
    clients, batch, time, features = shape
    return torch.bmm(flow, w_ih).view(clients, time, batch, features).transpose(1, 2)


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, cell: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        clients, batch, time, _ = x.shape
        size = hidden.shape[-1]
        inputs, turned = _by_time(x), w_hh.transpose(1, 2)
        to_gates = torch.baddbmm((b_ih + b_hh)[:, None], inputs, w_ih.transpose(1, 2)).view(clients, time, batch, -1)
        gates = x.new_empty(time, clients, batch, 4 * size)
        hiddens, cells = (x.new_empty(time + 1, clients, batch, size) for _ in range(2))
        curved = x.new_empty(time, clients, batch, size)
        hiddens[0], cells[0] = hidden, cell
        for t in range(time):
            torch.baddbmm(to_gates[:, t], hiddens[t], turned, out=gates[t])
            gates[t, ..., : 2 * size].sigmoid_()
            gates[t, ..., 2 * size : 3 * size].tanh_()
            gates[t, ..., 3 * size :].sigmoid_()
            enter, forget, new, leave = gates[t].chunk(4, dim=-1)
            torch.mul(enter, new, out=cells[t + 1]).addcmul_(forget, cells[t])
            torch.tanh(cells[t + 1], out=curved[t])
            torch.mul(leave, curved[t], out=hiddens[t + 1])
        ctx.save_for_backward(inputs, w_ih, w_hh, gates, hiddens, cells, curved)
        ctx.shape = x.shape
        return hiddens[1:].permute(1, 2, 0, 3).contiguous(), cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, gates, hiddens, cells, curved = ctx.saved_tensors
        size = hiddens.shape[-1]
        from_outputs, to_cell = grads[0].permute(2, 0, 1, 3).contiguous(), grads[1]
        slopes = gates * (1 - gates)
        new_gate = slice(2 * size, 3 * size)
        slopes[..., new_gate] = 1 - gates[..., new_gate].square()
        flows, to_hidden = torch.empty_like(gates), torch.zeros_like(hiddens[0])
        for t in range(len(gates) - 1, -1, -1):
            enter, forget, new, leave = gates[t].chunk(4, dim=-1)
            to_hidden = to_hidden + from_outputs[t]
            to_cell = aten.tanh_backward(to_hidden * leave, curved[t]).add_(to_cell)
            parts = flows[t].chunk(4, dim=-1)
            torch.mul(to_cell, new, out=parts[0])
            torch.mul(to_cell, cells[t], out=parts[1])
            torch.mul(to_cell, enter, out=parts[2])
            torch.mul(to_hidden, curved[t], out=parts[3])
            flows[t].mul_(slopes[t])
            to_hidden, to_cell = torch.bmm(flows[t], w_hh), to_cell * forget
        flow = _by_client(flows)
        to_w_ih, to_w_hh = (torch.bmm(flow.transpose(1, 2), seen) for seen in (inputs, _by_client(hiddens[:-1])))
        to_x = _to_inputs(flow, w_ih, ctx.shape) if ctx.needs_input_grad[0] else None
        to_bias = flow.sum(dim=1)
        return to_x, to_hidden, to_cell, to_w_ih, to_w_hh, to_bias, to_bias


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        clients, batch, time, _ = x.shape
        size = hidden.shape[-1]
        inputs, turned, both = _by_time(x), w_hh.transpose(1, 2), slice(2 * size)
        to_gates = torch.baddbmm(b_ih[:, None], inputs, w_ih.transpose(1, 2)).view(clients, time, batch, -1)
        gates = x.new_empty(time, clients, batch, 3 * size)
        recalled = x.new_empty(time, clients, batch, size)
        hiddens = x.new_empty(time + 1, clients, batch, size)
        hiddens[0] = hidden
        for t in range(time):
            again = torch.baddbmm(b_hh[:, None], hiddens[t], turned)
            torch.add(to_gates[:, t, :, both], again[..., both], out=gates[t, ..., both]).sigmoid_()
            reset, update, new = gates[t].chunk(3, dim=-1)
            recalled[t] = again[..., 2 * size :]
            torch.addcmul(to_gates[:, t, :, 2 * size :], reset, recalled[t], out=new).tanh_()
            torch.sub(hiddens[t], new, out=hiddens[t + 1]).mul_(update).add_(new)
        ctx.save_for_backward(inputs, w_ih, w_hh, gates, recalled, hiddens)
        ctx.shape = x.shape
        return hiddens[1:].permute(1, 2, 0, 3).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, gates, recalled, hiddens = ctx.saved_tensors
        size = hiddens.shape[-1]
        from_outputs = grads[0].permute(2, 0, 1, 3).contiguous()
        flows, again, to_hidden = torch.empty_like(gates), torch.empty_like(gates), torch.zeros_like(hiddens[0])
        both = slice(2 * size)
        for t in range(len(gates) - 1, -1, -1):
            reset, update, new = gates[t].chunk(3, dim=-1)
            to_reset, to_update, to_new = flows[t].chunk(3, dim=-1)
            to_hidden = to_hidden + from_outputs[t]
            torch.mul(to_hidden, hiddens[t] - new, out=to_update)
            kept = to_hidden * update
            to_new.copy_(aten.tanh_backward(to_hidden - kept, new))
            torch.mul(to_new, recalled[t], out=to_reset)
            flows[t, ..., both] = aten.sigmoid_backward(flows[t, ..., both], gates[t, ..., both])
            again[t, ..., both] = flows[t, ..., both]
            torch.mul(to_new, reset, out=again[t, ..., 2 * size :])
            to_hidden = torch.baddbmm(kept, again[t], w_hh)
        flow, flow_again = _by_client(flows), _by_client(again)
        to_w_ih = torch.bmm(flow.transpose(1, 2), inputs)
        to_w_hh = torch.bmm(flow_again.transpose(1, 2), _by_client(hiddens[:-1]))
        to_x = _to_inputs(flow, w_ih, ctx.shape) if ctx.needs_input_grad[0] else None
        return to_x, to_hidden, to_w_ih, to_w_hh, flow.sum(dim=1), flow_again.sum(dim=1)
