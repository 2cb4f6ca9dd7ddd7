"""What devices can do, as arrays: one element a device, never an object a device. A million of them take 32 MB.

Shapes: N devices.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import numpy as np

from fedray import seeds
from fedray.config import Config
from fedray.errors import ConfigError
from fedray.messages import Array, Floats, Ints

MBIT = 1e6 / 8
"""Bytes of a megabit."""
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """What each device can do; float32, shape (N,).

    Attributes:
        examples_per_s: Examples that it trains on in a second.
        download: Bytes that it receives in a second.
        upload: Bytes that it sends in a second.
        latency_s: Seconds before the first byte of a transfer is there.
        loss: Probability that a transfer fails.
        memory_bytes: Memory for training; infinite where nothing is known.
        joules_per_example: Energy of training on an example.
        joules_per_byte: Energy of a byte received or sent.
    """

    examples_per_s: Floats
    download: Floats
    upload: Floats
    latency_s: Floats
    loss: Floats
    memory_bytes: Floats
    joules_per_example: Floats
    joules_per_byte: Floats

    def __len__(self) -> int:
        return len(self.examples_per_s)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def check(self, setting: str) -> "Profiles":
        """Itself.

        Raises:
            ConfigError: A value cannot be: a speed that is not positive, a probability above 1, NaN.
        """
        for name, allowed in (
            ("examples_per_s", self.examples_per_s > 0),
            ("download", self.download > 0),
            ("upload", self.upload > 0),
            ("latency_s", self.latency_s >= 0),
            ("loss", (self.loss >= 0) & (self.loss <= 1)),
            ("memory_bytes", self.memory_bytes > 0),
            ("joules_per_example", self.joules_per_example >= 0),
            ("joules_per_byte", self.joules_per_byte >= 0),
        ):
            wrong = np.flatnonzero(~allowed | ~(np.isfinite(getattr(self, name)) | (name == "memory_bytes")))
            if len(wrong):
                value = float(getattr(self, name)[wrong[0]])
                raise ConfigError(f"device {wrong[0]} has {name} {value:g}, which no device has; change {setting}")
        return self


class ProfileConfig(Config, ABC):
    """Settings of device profiles; also their builder."""

    name: str

    @abstractmethod
    def build(self, num_devices: int, seed: int) -> Profiles:
        """The profiles of a population: those of a device depend on its id and the seed alone.

        Raises:
            ConfigError: A file cannot be read, or holds values that no device has.
        """


def drawn(num_devices: int, seed: int, purpose: str) -> Array:
    """A number of the standard normal distribution for each device, float64, shape (N,)."""
    return seeds.normals(seeds.keys(seed, f"device {purpose}", 0, np.arange(num_devices)), 1)[:, 0]


def picked(num_devices: int, seed: int, purpose: str, num: int) -> Ints:
    """One of `num` things for each device, each as likely, shape (N,)."""
    keys = seeds.keys(seed, f"device {purpose}", 0, np.arange(num_devices))
    return (seeds.uniforms(keys, 1)[:, 0] * num).astype(np.int64)


def gathered(num_devices: int, **columns: Array | float) -> Profiles:
    """Profiles of columns, of which single numbers count for all devices."""
    return Profiles(**{name: np.full(num_devices, value, np.float32) for name, value in columns.items()})
