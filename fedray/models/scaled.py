"""A module whose outputs are in units of the target."""

from torch import Tensor, nn


class Scaled(nn.Module):
    """Multiplies what `module` gives by a constant, so that a regression's predictions need no post-processing.

    Args:
        module: Gives outputs of about 1.
        scale: Size of the targets, in their unit; a constant, not a parameter.
    """

    def __init__(self, module: nn.Module, scale: float) -> None:
        super().__init__()
        self.module, self.scale = module, scale

    def forward(self, x: Tensor) -> Tensor:
        """Outputs in units of the target, (B, num_outputs)."""
        return self.module(x) * self.scale
