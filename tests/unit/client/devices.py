"""Looking at where tensors are, on a machine without a GPU."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
"""A device that knows shapes and no numbers: what is read back from it raises an error."""


class OneDevice(TorchDispatchMode):
    """Refuses an operation on tensors of two devices, as CUDA would; copies and single numbers are free to mix.

    The meta device itself lets some of them pass, matrix products among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_there = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = list(_tensors([*args, *(kwargs or {}).values()]))
        found = {tensor.device.type for tensor in tensors if tensor.dim() or tensor.device.type != "cpu"}
        copies = func.overloadpacket in (torch.ops.aten.copy_, torch.ops.aten._to_copy)
        if len(found) > 1 and not copies:
            raise AssertionError(f"{func} takes tensors on {sorted(found)}")
        self.num_there += found == {META.type}
        return func(*args, **(kwargs or {}))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
