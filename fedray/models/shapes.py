"""What a model needs of the data's shape, checked with a sentence instead of an error deep inside torch."""

import math

from fedray.errors import ModelError
from fedray.messages import DataSpec


def num_features(spec: DataSpec) -> int:
    """Features of one example when it is flattened."""
    return math.prod(spec.features)


def image_shape(spec: DataSpec, model: str, smallest: int) -> tuple[int, int, int]:
    """The data's (channels, height, width).

    Args:
        spec: What the data is.
        model: The model's name, for the message.
        smallest: Smallest height and width that the model can take, in pixels.

    Raises:
        ModelError: The examples are not images, or too small.
    """
    if len(spec.features) != 3:
        raise ModelError(_misfit(spec, model, "(channels, height, width)"))
    channels, height, width = spec.features
    if min(height, width) < smallest:
        raise ModelError(
            _misfit(spec, model, f"(channels, height, width) with at least {smallest} x {smallest} pixels")
        )
    return channels, height, width


def window_shape(spec: DataSpec, model: str, shortest: int = 1) -> tuple[int, int]:
    """The data's (channels, time).

    Args:
        spec: What the data is.
        model: The model's name, for the message.
        shortest: Fewest time steps that the model can take.

    Raises:
        ModelError: The examples are not sensor windows, or too short.
    """
    if len(spec.features) != 2:
        raise ModelError(_misfit(spec, model, "(channels, time)"))
    channels, time = spec.features
    if time < shortest:
        raise ModelError(_misfit(spec, model, f"(channels, time) with at least {shortest} time steps"))
    return channels, time


def _misfit(spec: DataSpec, model: str, wanted: str) -> str:
    return f"model {model} takes examples of shape {wanted}, but those of the data have {spec.features}; change model"
