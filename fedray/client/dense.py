"""Chains of dense layers as batched matrix products, with the backward pass written by hand.

Shapes: C clients, B examples in a batch, K outputs, I and O inputs and outputs of a layer; weights and gradients are
one tensor a slot of the layout, each with the clients in front: (C, *shape).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedray.client.dropout import Masks
from fedray.client.products import cut, padded, wide
from fedray.client.stack import Batch
from fedray.models.scaled import Scaled
from fedray.models.tasks import Task


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation without memory of its own; it keeps zeros, so that padding stays zero.

    Attributes:
        forward: What it gives for what it takes.
        over: The same, written over what it takes where the backward pass does not read that.
        backward: The gradient of what it takes, given that of what it gave, what it took and what it gave: one pass
            over memory, where `flow * (after > 0)` takes ten times as long.
    """

    forward: Callable[[Tensor], Tensor]
    over: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        torch.relu, torch.relu_, lambda flow, before, after: torch.ops.aten.threshold_backward(flow, after, 0)
    ),
    nn.Tanh: Activation(torch.tanh, torch.tanh_, lambda flow, before, after: torch.ops.aten.tanh_backward(flow, after)),
    nn.GELU: Activation(
        functional.gelu, functional.gelu, lambda flow, before, after: torch.ops.aten.gelu_backward(flow, before)
    ),
}
"""Sigmoid is not there: the bits that torch gives for it depend on where in memory an element is."""


def dense_chain(module: nn.Module) -> list[nn.Module] | None:
    """The layers of a chain of dense layers, activations and dropout, or None where the module is something else."""
    inner = module.module if isinstance(module, Scaled) else module
    if type(inner) is not nn.Sequential:
        return None
    bare = not any(isinstance(layer, nn.Flatten) for layer in list(inner)[1:])
    kept = [layer for layer in inner if not isinstance(layer, nn.Flatten) and not _is_idle(layer)]
    known = all(type(layer) in (nn.Linear, nn.Dropout) or type(layer) in _ACTIVATIONS for layer in kept)
    known &= not any(isinstance(layer, nn.GELU) and layer.approximate != "none" for layer in kept)
    once = len(set(kept)) == len(kept)
    trains = all(parameter.requires_grad for parameter in module.parameters())
    return kept if known and once and bare and trains else None


def _has_bias(layer: nn.Linear) -> bool:
    return layer.bias is not None  # pyright: ignore[reportUnnecessaryComparison]


def _is_idle(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Identity) or (type(layer) is nn.Dropout and layer.p == 0)


@dataclass(frozen=True, slots=True)
class Descent:
    """A step of plain gradient descent, taken within the products that give the gradients.

    Attributes:
        lr: Learning rate.
        decay: Weight decay.
    """

    lr: float
    decay: float

    def weight(self, weight: Tensor, flow: Tensor, before: Tensor) -> None:
        """Steps (C, O, I), given the gradients of a layer's outputs, (C, B, O), and its inputs, (C, B, I)."""
        weight.baddbmm_(flow.transpose(1, 2), before, beta=1 - self.lr * self.decay, alpha=-self.lr)

    def bias(self, bias: Tensor, flow: Tensor) -> None:
        """Steps (C, O)."""
        if self.decay:
            bias.mul_(1 - self.lr * self.decay)
        bias.add_(flow.sum(dim=1), alpha=-self.lr)


class DenseGradients:
    """Gradients of a chain of dense layers.

    Args:
        module: A module for which `dense_chain` gives layers.
        task: Loss of the task.
    """

    def __init__(self, module: nn.Module, task: Task) -> None:
        layers = dense_chain(module)
        assert layers is not None  # the engine asked before
        self._task, self._layers = task, layers
        self._biased = {layer for layer in layers if isinstance(layer, nn.Linear) and _has_bias(layer)}
        self._scale = module.scale if isinstance(module, Scaled) else 1.0
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        self._num_inputs, self._num_outputs = linear[0].in_features, linear[-1].out_features
        self.shapes: tuple[tuple[int, ...], ...] = ()
        for layer in linear:
            outputs = max(layer.out_features, 2) if layer is linear[-1] else wide(layer.out_features)
            self.shapes += ((outputs, wide(layer.in_features)),)
            if _has_bias(layer):
                self.shapes += ((outputs,),)

    @torch.no_grad()
    def __call__(self, weights: Sequence[Tensor], batch: Batch, masks: Masks, out: Sequence[Tensor]) -> Tensor:
        return self._run(weights, batch, masks, out)

    @torch.no_grad()
    def descend(self, weights: Sequence[Tensor], batch: Batch, masks: Masks, descent: Descent) -> Tensor:
        """One step of plain gradient descent on `weights`, without gradients in memory: 0.7 of the time.

        Returns:
            What each example's loss before the step counts in the mean of its client, (C, B).
        """
        return self._run(weights, batch, masks, descent)

    def _run(self, weights: Sequence[Tensor], batch: Batch, masks: Masks, out: Sequence[Tensor] | Descent) -> Tensor:
        seen, drawn = self._forward(weights, padded(batch.x.flatten(2), self.shapes[0][1]), masks)
        outputs = cut(seen[-1], self._num_outputs)
        outputs = outputs * self._scale if self._scale != 1 else outputs
        losses, slope = self._task.output_gradient(outputs.flatten(0, 1), batch.y.flatten())
        share = batch.share[..., None] if isinstance(batch.share, Tensor) else batch.share
        flow = slope.view(outputs.shape) * share  # then the scale: a share times it rounds otherwise than a number does
        flow = flow * self._scale if self._scale != 1 else flow
        self._backward(weights, seen, drawn, padded(flow, seen[-1].shape[-1]), out)
        return losses.view(batch.y.shape) * batch.share

    def _forward(self, weights: Sequence[Tensor], x: Tensor, masks: Masks) -> tuple[list[Tensor], list[Tensor]]:
        """The input and what each layer gave, and the masks of the dropout layers."""
        seen, drawn, slot, width = [x], list[Tensor](), 0, self._num_inputs
        for position, layer in enumerate(self._layers):
            before = seen[-1]
            if isinstance(layer, nn.Linear):
                matrix = weights[slot].transpose(1, 2)
                has_bias, width = layer in self._biased, layer.out_features
                seen.append(torch.baddbmm(weights[slot + 1][:, None], before, matrix) if has_bias else before @ matrix)
                slot += 2 if has_bias else 1
            elif isinstance(layer, nn.Dropout):
                mask = masks.draw(len(drawn), layer.p, (before.shape[1], width))
                drawn.append(padded(mask.to(before.device), before.shape[2]))
                seen.append(before * drawn[-1])
            else:
                activation = _ACTIVATIONS[type(layer)]
                after_linear = position > 0 and isinstance(self._layers[position - 1], nn.Linear)  # only this reads it
                seen.append(activation.over(before) if after_linear else activation.forward(before))
        return seen, drawn

    def _backward(
        self,
        weights: Sequence[Tensor],
        seen: list[Tensor],
        drawn: list[Tensor],
        flow: Tensor,
        out: Sequence[Tensor] | Descent,
    ) -> None:
        """From the gradient of the outputs to those of all slots, or to a step with them."""
        slot, masks = len(weights), list(drawn)
        for position in range(len(self._layers) - 1, -1, -1):
            layer, before, after = self._layers[position], seen[position], seen[position + 1]
            if isinstance(layer, nn.Dropout):
                flow = flow * masks.pop()
            elif not isinstance(layer, nn.Linear):
                flow = _ACTIVATIONS[type(layer)].backward(flow, before, after)
            else:
                slot -= 2 if layer in self._biased else 1
                below = torch.bmm(flow, weights[slot]) if slot else flow  # before a step changes the weights
                if isinstance(out, Descent):
                    out.weight(weights[slot], flow, before)
                    if layer in self._biased:
                        out.bias(weights[slot + 1], flow)
                else:
                    torch.bmm(flow.transpose(1, 2), before, out=out[slot])
                    if layer in self._biased:
                        torch.sum(flow, dim=1, out=out[slot + 1])
                flow = below
