"""What every model gives, and how a module becomes one flat vector.

Shapes: P = parameters and floating-point buffers together, B = batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fedray.config import Config
from fedray.errors import ModelError
from fedray.messages import DataSpec


class ModelConfig(Config, ABC):
    """Settings of a model; also its builder."""

    name: str

    @abstractmethod
    def build(self, spec: DataSpec) -> nn.Module:
        """A new module that maps (B, *features) to (B, num_outputs) (regression with one output: (B, 1)).

        Raises:
            ModelError: The model cannot take this data.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where one named tensor lives in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Layout:
    """The order of a module's tensors in one flat float32 vector: parameters first, then floating-point buffers.

    Integer buffers (such as the batch count of a normalisation layer) are not part of the vector; they stay with the
    module that was built.

    Args:
        module: Any module; parameters shared between layers appear once.
    """

    def __init__(self, module: nn.Module) -> None:
        if any(is_lazy(p) for p in module.parameters()):
            raise ModelError("the model has lazy layers, whose size is not known yet; give its layers their input size")
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        frozen = [(n, p) for n, p in module.named_parameters() if not p.requires_grad]
        buffers = [(n, b) for n, b in module.named_buffers() if b.is_floating_point()]
        self.slots: tuple[Slot, ...] = ()
        self.num_trainable = sum(p.numel() for _, p in named)
        start = 0
        for name, tensor in [*named, *frozen, *buffers]:
            if tensor.dtype != torch.float32:
                raise ModelError(f"tensor '{name}' of the model is {tensor.dtype}, but fedray trains float32 models")
            slot = Slot(name=name, shape=tuple(tensor.shape), start=start, stop=start + tensor.numel())
            self.slots, start = (*self.slots, slot), slot.stop
        self.num_parameters = start
        if self.num_trainable == 0:
            raise ModelError("the model has no trainable parameters; change model")

    def flatten(self, module: nn.Module) -> Tensor:
        """A copy of the module's tensors as one vector, shape (P,)."""
        tensors = dict([*module.named_parameters(), *module.named_buffers()])
        return torch.cat([tensors[s.name].detach().reshape(-1) for s in self.slots])

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Named views of a flat vector, shape (..., P); leading dimensions are kept."""
        lead = vector.shape[:-1]
        return {s.name: vector[..., s.start : s.stop].view((*lead, *s.shape)) for s in self.slots}

    def bind(self, module: nn.Module, vector: Tensor) -> None:
        """Makes the module's tensors views of `vector`, so that writing the vector changes the module."""
        views = self.split(vector)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name in views:
                tensor.data = views[name]


def check(module: nn.Module, spec: DataSpec, features: Tensor) -> None:
    """Runs the module on real examples once, before anything starts.

    Args:
        module: The model.
        spec: What the data is.
        features: Some examples, shape (B, *features), B >= 2.

    Raises:
        ModelError: It raises, or its output does not have the shape the task needs.
    """
    module.eval()
    try:
        with torch.no_grad():
            outputs = module(features)
    except Exception as error:
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"the model cannot take examples of shape {spec.features} ({cause}); change model") from error
    wanted = (len(features), spec.num_outputs)
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != wanted:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ModelError(
            f"the model gives {got} for a batch, but {spec.task} of this data needs {wanted}; change model"
        )
