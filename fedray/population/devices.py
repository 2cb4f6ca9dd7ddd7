"""The devices of a population: what each can do, and when it is there."""

from typing import Annotated

import numpy as np

from fedray.config import Choices, Config
from fedray.errors import ConfigError
from fedray.messages import Ints
from fedray.population.availability import Always, Availability, AvailabilityConfig, Bernoulli
from fedray.population.calendars import Diurnal, Shifts
from fedray.population.chains import Markov, Outages
from fedray.population.drawn import Alike, LogNormal, Tiers
from fedray.population.measured import FedScale, Flash, Table
from fedray.population.profiles import ProfileConfig, Profiles
from fedray.population.trace import FedScaleAvailability, TraceAvailability

PROFILES = Choices(
    "device profile",
    {"alike": Alike, "lognormal": LogNormal, "tiers": Tiers, "table": Table, "flash": Flash, "fedscale": FedScale},
)
AVAILABILITY = Choices(
    "availability",
    {
        "always": Always,
        "bernoulli": Bernoulli,
        "diurnal": Diurnal,
        "shifts": Shifts,
        "markov": Markov,
        "trace": TraceAvailability,
        "fedscale": FedScaleAvailability,
    },
)
AnyProfile = Annotated[ProfileConfig, PROFILES]
AnyAvailability = Annotated[AvailabilityConfig, AVAILABILITY]


class Devices:
    """What is known of every device.

    Args:
        profiles: What they can do.
        availability: When they are there.
    """

    def __init__(self, profiles: Profiles, availability: Availability) -> None:
        self.profiles, self.availability = profiles, availability

    def __len__(self) -> int:
        return len(self.profiles)

    def able(self, memory_bytes: float) -> Ints:
        """The devices with memory enough to train, in order of their ids.

        Raises:
            ConfigError: There is none.
        """
        able = np.flatnonzero(self.profiles.memory_bytes >= memory_bytes)
        if not len(able):
            most = float(self.profiles.memory_bytes.max())
            raise ConfigError(
                f"training takes {memory_bytes / 1e6:.1f} MB, but no device has more than {most / 1e6:.1f} MB; "
                "set devices.profile.memory_mb higher, or take a smaller model"
            )
        return able


class DevicesConfig(Config):
    """The devices that clients are. With them a run has a virtual clock, and a client can be away, slow or lost."""

    profile: AnyProfile = LogNormal()
    """What devices can do."""
    availability: AnyAvailability = Always()
    """When they are there."""
    outages: Outages | None = None
    """Lines or plants that drop out as a whole; null: none do."""

    def build(self, num_devices: int, seed: int) -> Devices:
        """The devices of a population, one for each client.

        Raises:
            ConfigError: A file cannot be read, or holds what cannot be.
        """
        profiles = self.profile.build(num_devices, seed)
        availability = self.availability.build(num_devices, seed)
        if self.outages is not None:
            availability = self.outages.over(availability, num_devices, seed)
        return Devices(profiles, availability)
