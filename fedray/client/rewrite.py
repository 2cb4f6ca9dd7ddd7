"""Replacing layers inside a module."""

from collections.abc import Callable

from torch import nn


def rewrite(module: nn.Module, replaced: Callable[[nn.Module], nn.Module | None]) -> None:
    """Replaces layers inside a module, in place.

    Args:
        module: Any module; it is itself never replaced. A layer that is found in two places stays one layer.
        replaced: Gives what takes the place of a layer, which has no layers of its own, or None to keep it.
    """
    known: dict[nn.Module, nn.Module | None] = {}
    for path, layer in list(module.named_modules(remove_duplicate=False)):
        parent, _, name = path.rpartition(".")
        if not name:
            continue
        if layer not in known:
            known[layer] = replaced(layer)
        if (new := known[layer]) is not None:
            setattr(module.get_submodule(parent), name, new)
