"""Device profiles from distributions: all alike, log-normal, or a mixture of tiers.

Speeds of devices in the field are skewed: most are near the median, a few are many times slower. A log-normal
distribution has that shape (Huba et al. 2022, https://arxiv.org/abs/2111.04877, fig. 2).
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray import seeds
from fedray.config import Config
from fedray.messages import Array
from fedray.population.profiles import MB, MBIT, ProfileConfig, Profiles, drawn, gathered

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Columns = dict[str, Array | float]


class DeviceConfig(Config):
    """A kind of device."""

    examples_per_s: Positive = 1000.0
    """Examples that it trains on in a second; the median where they spread."""
    download_mbps: Positive = 20.0
    """Megabits that it receives in a second; the median where they spread."""
    upload_mbps: Positive = 5.0
    """Megabits that it sends in a second; the median where they spread."""
    latency_s: NotNegative = 0.05
    """Seconds before the first byte of a transfer is there."""
    loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a transfer fails."""
    memory_mb: Positive | None = None
    """Memory for training; null: enough."""
    joules_per_example: NotNegative = 0.0
    """Energy of training on an example."""
    joules_per_mb: NotNegative = 0.0
    """Energy of a megabyte received or sent."""

    def values(self) -> dict[str, float]:
        """The settings as numbers, in their own units."""
        found = {name: getattr(self, name) for name in DeviceConfig.model_fields}
        return {name: np.inf if value is None else value for name, value in found.items()}

    def columns(self, speed: Array, network: Array) -> Columns:
        """The columns of some devices, given by how much each is faster than the median."""
        columns = in_profile_units(self.values())
        for name, factor in (("examples_per_s", speed), ("download", network), ("upload", network)):
            columns[name] = columns[name] * factor
        return columns


def in_profile_units(values: Mapping[str, Array | float]) -> Columns:
    """What `Profiles` holds, of values named and measured like the settings of `DeviceConfig`."""
    return {
        "examples_per_s": values["examples_per_s"],
        "download": values["download_mbps"] * MBIT,
        "upload": values["upload_mbps"] * MBIT,
        "latency_s": values["latency_s"],
        "loss": values["loss"],
        "memory_bytes": values["memory_mb"] * MB,
        "joules_per_example": values["joules_per_example"],
        "joules_per_byte": values["joules_per_mb"] / MB,
    }


class Alike(DeviceConfig, ProfileConfig):
    """All devices are the same."""

    name: Literal["alike"] = "alike"

    def build(self, num_devices: int, seed: int) -> Profiles:
        one = np.ones(num_devices)
        return gathered(num_devices, **self.columns(one, one))


class SpreadConfig(DeviceConfig):
    """A kind of device of which some are faster than others."""

    speed_spread: NotNegative = 0.5
    """Standard deviation of the logarithm of `examples_per_s`: with 0.5, one in six is 1.65 times slower or more."""
    network_spread: NotNegative = 0.5
    """The same of both bandwidths, which rise and fall together."""


class LogNormal(SpreadConfig, ProfileConfig):
    """Speeds and bandwidths are log-normal, independent of each other."""

    name: Literal["lognormal"] = "lognormal"

    def build(self, num_devices: int, seed: int) -> Profiles:
        speed = np.exp(self.speed_spread * drawn(num_devices, seed, "speed"))
        network = np.exp(self.network_spread * drawn(num_devices, seed, "network"))
        return gathered(num_devices, **self.columns(speed, network))


class Tier(SpreadConfig):
    """A part of the devices."""

    share: Positive = 1.0
    """Part of the devices, by weight: shares of 3 and 1 are three quarters and one quarter."""


class Tiers(ProfileConfig):
    """A mixture: gateways and sensors, this year's machines and those of ten years ago."""

    name: Literal["tiers"] = "tiers"
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    """The kinds of devices."""

    def build(self, num_devices: int, seed: int) -> Profiles:
        ends = np.cumsum([tier.share for tier in self.tiers])
        keys = seeds.keys(seed, "device tier", 0, np.arange(num_devices))
        tier_N = np.searchsorted(ends / ends[-1], seeds.uniforms(keys, 1)[:, 0], side="right")
        speed, network = drawn(num_devices, seed, "speed"), drawn(num_devices, seed, "network")
        columns: Columns = {}
        for index, tier in enumerate(self.tiers):
            mine = tier_N == index
            found = tier.columns(np.exp(tier.speed_spread * speed[mine]), np.exp(tier.network_spread * network[mine]))
            for name, values in found.items():
                column = columns.setdefault(name, np.empty(num_devices, np.float32))
                assert isinstance(column, np.ndarray)
                column[mine] = values
        return gathered(num_devices, **columns)
