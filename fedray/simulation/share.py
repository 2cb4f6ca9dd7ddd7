"""A number of things, or a part of all of them."""

import math
from typing import Annotated

from pydantic import AfterValidator


def _check(value: int | float) -> int | float:
    if isinstance(value, int) and value >= 1:
        return value
    if isinstance(value, float) and 0 < value <= 1:
        return value
    raise ValueError(f"{value} is neither a whole number from 1 nor a part above 0 and up to 1.0")


Share = Annotated[int | float, AfterValidator(_check)]
"""A setting: 4 means four, 0.3 means three tenths of all, 1.0 means all."""


def nearest(share: int | float, num: int) -> int:
    """How many of `num` a share is, at least one; a number stays what it is."""
    return share if isinstance(share, int) else max(1, math.floor(share * num + 0.5))


def at_least(share: int | float, num: int) -> int:
    """How many of `num` are enough; a number stays what it is."""
    return share if isinstance(share, int) else math.ceil(share * num)
