"""Gradients of many clients for any suitable module: one client's losses, mapped over the stack by `torch.func`.

Only the forward pass is mapped; the backward pass is torch's own, on stacked tensors, cheaper than mapping both.
Layers whose mapped form is slow, or does not exist, are replaced by ones with the same parameters.

Shapes: C clients, B examples in a batch.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fedray.client.convolution import StackedConv
from fedray.client.dropout import Dropouts, Masks, key_dropout
from fedray.client.pooling import replaced_pool
from fedray.client.products import StackedLinear
from fedray.client.recurrent import Layerwise
from fedray.client.rewrite import rewrite
from fedray.client.stack import Batch
from fedray.models.base import Layout
from fedray.models.tasks import Task

Use = tuple[float, tuple[int, ...]]
"""One use of a dropout layer: what part is dropped, and the shape of its mask."""


class MappedGradients:
    """Gradients of any module that `torch.func` can map.

    Args:
        module: The model; it has no buffers.
        task: Loss of the task.
    """

    def __init__(self, module: nn.Module, task: Task) -> None:
        self._task, self._dropouts = task, ListedDropouts()
        self._module = mappable(module, self._dropouts)
        self._names = [slot.name for slot in Layout(module).slots]
        self.shapes = tuple(slot.shape for slot in Layout(module).slots)
        self._mapped = vmap(self._losses)

    def __call__(self, weights: Sequence[Tensor], batch: Batch, masks: Masks, out: Sequence[Tensor]) -> Tensor:
        leaves = tuple(weight.detach().requires_grad_() for weight in weights)
        drawn = self._draw(leaves, batch, masks)
        losses = self._mapped(leaves, batch.x, batch.y, drawn) * batch.share
        found = torch.autograd.grad(losses.sum(), leaves, materialize_grads=True)
        for target, gradient in zip(out, found, strict=True):
            target.copy_(gradient)
        return losses.detach()

    def _draw(self, leaves: tuple[Tensor, ...], batch: Batch, masks: Masks) -> tuple[Tensor, ...]:
        """The masks of all dropout layers in the order of their use, (C, *shape) each."""
        if not self._dropouts.num_layers:
            return ()
        first, x = tuple(leaf[0] for leaf in leaves), batch.x[0].clone()
        uses = self._dropouts.uses(lambda: self._outputs(first, x))
        return tuple(masks.draw(use, p, shape).to(x.device) for use, (p, shape) in enumerate(uses))

    def _losses(self, weights: tuple[Tensor, ...], x: Tensor, y: Tensor, drawn: tuple[Tensor, ...]) -> Tensor:
        """Losses of one client's examples, (B,): x (B, *features), y (B,)."""
        self._dropouts.give(drawn)
        return self._task.losses(self._outputs(weights, x), y)

    def _outputs(self, weights: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return functional_call(self._module, dict(zip(self._names, weights, strict=True)), (x,))


class ListedDropouts(Dropouts):
    """Gives masks that were drawn before; a first run, without masks, finds out which ones are needed."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[Tensor] | None = None
        self._uses: list[Use] = []

    def uses(self, run: Callable[[], object]) -> list[Use]:
        """The masks needed in one forward pass; batches always have the same shape."""
        if self._given is None:
            self._uses.clear()
            with torch.no_grad():
                run()
        return self._uses

    def give(self, masks: Sequence[Tensor]) -> None:
        """The masks of the next forward pass, in order."""
        self._given = list(masks)[::-1]

    def mask(self, p: float, shape: tuple[int, ...]) -> Tensor:
        if self._given is not None:
            return self._given.pop()
        self._uses.append((p, shape))
        return torch.ones(())


def mappable(module: nn.Module, dropouts: Dropouts) -> nn.Module:
    """A copy of a module in training mode, with the same parameters, that can be mapped over clients.

    Args:
        module: The model.
        dropouts: Gives the masks.
    """

    def replaced(layer: nn.Module) -> nn.Module | None:
        if isinstance(layer, nn.LSTM | nn.GRU | Layerwise):
            return Layerwise(layer, layer.between if isinstance(layer, Layerwise) else None, stacked=True)
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            return StackedConv(layer)
        if type(layer) is nn.Linear:
            return StackedLinear(layer)
        return replaced_pool(layer)

    copied = copy.deepcopy(module).train()
    key_dropout(copied, dropouts)
    rewrite(copied, replaced)
    return copied
