"""Where clients train: the processor, or a GPU whose arithmetic is kept to what gives the same bits each time.

Torch's settings for that are those of the whole process, so they are set for a while and put back.
"""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch

from fedray.errors import CapacityError

DeviceName = Literal["cpu", "cuda"]
CPU = torch.device("cpu")
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS gives the same bits each time with workspaces of fixed size alone; torch reads this before its first product
(https://docs.nvidia.com/cuda/cublas/#results-reproducibility)."""


def chosen(wanted: Literal["cpu", "cuda", "auto"]) -> DeviceName:
    """The device of a setting: auto is cuda where this process can use one.

    Raises:
        CapacityError: cuda is asked for, and cannot be used here.
    """
    reason = None if wanted == "cpu" else no_cuda()
    if wanted == "cuda" and reason is not None:
        raise CapacityError(f"device is cuda, but {reason}; set device to cpu or auto, or run on a machine with a GPU")
    return "cpu" if wanted == "cpu" or reason is not None else "cuda"


def no_cuda() -> str | None:
    """Why this process cannot use CUDA, or None where it can."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return f"the installed torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} finds no CUDA device here"


def model_of_gpu(device: DeviceName) -> str | None:
    """What kind of GPU clients train on here, whose bits are its own; None on the processor."""
    return torch.cuda.get_device_name() if device == "cuda" else None


def generators(device: torch.device) -> list[int]:
    """The GPUs whose random generators training on a device changes, as `torch.random.fork_rng` wants them."""
    return [torch.cuda.current_device()] if device.type == "cuda" else []


@contextmanager
def repeatable(device: DeviceName) -> Generator[torch.device]:
    """The device, with arithmetic that gives the same bits each time; on the processor it does so by itself.

    Inside, operations without a deterministic form on the GPU raise an error, and products are those of float32.
    """
    if device == "cpu":
        yield CPU
        return
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    with ExitStack() as stack:
        stack.enter_context(_deterministic())
        stack.enter_context(_float32_products())
        stack.enter_context(
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        )
        yield torch.device(device)


@contextmanager
def _deterministic() -> Generator[None]:
    memory: Any = torch.utils.deterministic
    before, filled = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # it would write every new tensor once more, also on the processor
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        memory.fill_uninitialized_memory = filled


@contextmanager
def _float32_products() -> Generator[None]:
    """No TensorFloat-32, whose factors have 10 bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
