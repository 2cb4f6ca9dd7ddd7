"""Device profiles that were measured: from a table, from FLASH's and from FedScale's files."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from fedray.errors import ConfigError
from fedray.messages import Array, Ints
from fedray.population.drawn import Columns, DeviceConfig, in_profile_units
from fedray.population.files import numbers, read_columns, read_json, read_plain_pickle
from fedray.population.profiles import ProfileConfig, Profiles, drawn, gathered, picked

_SETTING = "devices.profile.path"
_COLUMNS = tuple(DeviceConfig.model_fields)
_KBIT, _KIB = 1e3 / 8, 1024.0
_LEAST = 0.1
"""The least part of its mean that a network speed of FLASH has: its normal distributions reach below zero."""


class Table(DeviceConfig, ProfileConfig):
    """A CSV or Parquet file with a row for each device, and columns named like these settings.

    A column that is not there, and a value that is missing, has the value of the setting.
    """

    name: Literal["table"] = "table"
    path: str
    """The file: .csv, .csv.gz or .parquet."""
    assign: Literal["order", "draw"] = "draw"
    """order: client 0 is the device in the first row, and so on; draw: each client is one of the devices, by chance."""

    def build(self, num_devices: int, seed: int) -> Profiles:
        found = read_columns(self.path, _SETTING, _COLUMNS)
        rows = assigned(self.assign, num_devices, seed, len(next(iter(found.values()))), self.path, "devices.profile")
        values: Columns = {**self.values()}
        for name, column in found.items():
            values[name] = np.where(np.isnan(column), values[name], column)[rows]
        return gathered(num_devices, **in_profile_units(values)).check(_SETTING)


def assigned(assign: str, num_devices: int, seed: int, num_rows: int, path: str, setting: str) -> Ints:
    """Which row of a table each device is, shape (N,).

    Args:
        assign: "order" or "draw".
        num_devices: N.
        seed: The experiment's seed.
        num_rows: Rows of the table.
        path: Its file, for the message.
        setting: The settings that it belongs to, for the message.

    Raises:
        ConfigError: In order, and there are fewer rows than devices.
    """
    if assign == "draw":
        return picked(num_devices, seed, "row", num_rows)
    if num_rows < num_devices:
        raise ConfigError(
            f"{path} has {num_rows} devices, but the population has {num_devices} clients; set {setting}.assign to draw"
        )
    return np.arange(num_devices)


class FedScale(DeviceConfig, ProfileConfig):
    """FedScale's `client_device_capacity`: milliseconds of inference on an example, and kilobits a second.

    Training takes `backward` times as long, 3 as in FedScale (Lai et al. 2022, https://arxiv.org/abs/2105.11367). The
    file is a pickle of plain numbers; one with anything else is refused, and nothing in it is run.
    """

    name: Literal["fedscale"] = "fedscale"
    path: str
    """The file."""
    backward: Annotated[float, Field(ge=1)] = 3.0
    """Time of a training step by that of inference."""
    assign: Literal["order", "draw"] = "draw"
    """order: client 0 is the first device of the file, and so on; draw: each client is one of them, by chance."""

    def build(self, num_devices: int, seed: int) -> Profiles:
        found = read_plain_pickle(self.path, _SETTING)
        inference_ms = numbers(found, "computation", self.path, _SETTING)
        network = numbers(found, "communication", self.path, _SETTING) * _KBIT
        rows = assigned(self.assign, num_devices, seed, len(found), self.path, "devices.profile")
        one = np.ones(num_devices)
        with np.errstate(divide="ignore"):
            speed = 1e3 / (self.backward * inference_ms[rows])
        columns = self.columns(one, one) | {"examples_per_s": speed, "download": network[rows], "upload": network[rows]}
        return gathered(num_devices, **columns).check(_SETTING)


class Flash(DeviceConfig, ProfileConfig):
    """Phones of FLASH (Yang et al. 2021, https://arxiv.org/abs/2006.06983): a model and a user's network for each.

    A device is one of the phone models that FLASH's users had, as fast as its AI Benchmark score
    (https://ai-benchmark.com) by that of the median phone, which trains on `examples_per_s`. Its bandwidths are drawn
    once from the normal distributions of one of FLASH's users.
    """

    name: Literal["flash"] = "flash"
    path: str
    """The folder of the tables benchmark2score, real2benchmark and speed_distri (.json or .json.gz, also with flash_
    before their names)."""

    def build(self, num_devices: int, seed: int) -> Profiles:
        scores, networks = self._scores(), self._networks()
        speed = (scores / np.median(scores))[picked(num_devices, seed, "model", len(scores))]
        user = picked(num_devices, seed, "network user", len(networks["down_u"]))
        rates = {way: _rate(networks, way, user, drawn(num_devices, seed, way)) for way in ("down", "up")}
        columns = self.columns(speed, np.ones(num_devices))
        return gathered(num_devices, **columns | {"download": rates["down"], "upload": rates["up"]}).check(_SETTING)

    def _scores(self) -> Array:
        """The scores of all phone models in use that have one, a score for each name that users' phones have."""
        score_of, model_of = self._read("benchmark2score"), self._read("real2benchmark")
        try:
            found = [float(score_of[model]) for model in model_of.values() if model in score_of]
        except (TypeError, ValueError, AttributeError):
            raise ConfigError(f"the phone models in {self.path} have no scores; change {_SETTING}") from None
        if not found:
            raise ConfigError(f"no phone model in {self.path} has a score; change {_SETTING}")
        return np.array(found)

    def _networks(self) -> dict[str, Array]:
        """Means and deviations of each user's bandwidths, in KiB/s."""
        found = self._read("speed_distri")
        return {
            name: numbers(found, name, self.path, _SETTING) for name in ("down_u", "down_sigma", "up_u", "up_sigma")
        }

    def _read(self, table: str) -> dict[str, Any]:
        names = [f"{before}{table}.json{after}" for before in ("", "flash_") for after in ("", ".gz")]
        path = next((path for name in names if (path := Path(self.path) / name).is_file()), None)
        if path is None:
            raise ConfigError(f"{self.path} holds no {table}.json; change {_SETTING}")
        found = read_json(path, _SETTING)
        if not isinstance(found, dict) or not found:
            raise ConfigError(f"{path} holds no table; change {_SETTING}")
        return found


def _rate(networks: dict[str, Array], way: str, user: Ints, normal: Array) -> Array:
    """Bytes a second of each device."""
    mean = networks[f"{way}_u"][user]
    return np.maximum(_LEAST * mean, mean + networks[f"{way}_sigma"][user] * normal) * _KIB
