"""Pooling over all of space, in operations that can be mapped over clients whatever the memory layout."""

from torch import Tensor, nn


class MeanPool(nn.Module):
    """The mean over the last dimensions, which stay, with size 1.

    Args:
        dims: How many dimensions.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self._dims = tuple(range(-dims, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, K, *X) to (B, K, 1, ...)."""
        return x.mean(dim=self._dims, keepdim=True)


def replaced_pool(layer: nn.Module) -> nn.Module | None:
    """What takes the place of a pooling layer, or None to keep it."""
    if isinstance(layer, nn.AdaptiveAvgPool1d) and layer.output_size in (1, (1,)):
        return MeanPool(1)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        return MeanPool(2)
    return None
