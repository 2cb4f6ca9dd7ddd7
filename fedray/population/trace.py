"""Availability as it was recorded: intervals of a table, or FedScale's behaviour traces.

Shapes: C clients, D recorded devices, I intervals of all of them.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray.errors import ConfigError
from fedray.messages import Array, Ints
from fedray.population.availability import Availability, AvailabilityConfig, Bools, Times, later
from fedray.population.calendars import joined
from fedray.population.files import read_columns, read_plain_pickle
from fedray.population.measured import assigned

_SETTING = "devices.availability.path"


class _Recorded(Availability):
    """Clients that do as recorded devices did.

    Args:
        spans: The intervals of each recorded device.
        period_s: After how long each begins anew, shape (D,); infinite: never.
        device_of: Which recorded device each client is, shape (N,).
    """

    def __init__(self, spans: list[list[tuple[float, float]]], period_s: Array, device_of: Ints) -> None:
        pieces = [joined(mine) for mine in spans]
        self._first = np.cumsum([0, *(len(begins) for begins, _ in pieces)])
        self._begins = np.concatenate([begins for begins, _ in pieces])
        self._ends = np.concatenate([ends for _, ends in pieces])
        self._period_s, self._device_of = period_s, device_of.astype(np.int32)

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        device = self._device_of[clients]
        period_s = self._period_s[device]
        turn = np.where(np.isfinite(period_s), np.floor(times / period_s), 0.0)
        offset = np.where(turn > 0, turn * np.where(np.isfinite(period_s), period_s, 0.0), 0.0)
        clock = times - offset
        first, end = self._first[device], self._first[device + 1]
        last = self._last_begun(first, end, clock)
        begun = last >= first
        there = begun & (clock < self._ends[np.maximum(last, 0)])
        following = np.where(last + 1 < end, self._begins[np.minimum(last + 1, len(self._begins) - 1)], np.inf)
        until = np.where(there, self._ends[np.maximum(last, 0)], following)
        return there, later(times, np.minimum(until, period_s) + offset)

    def _last_begun(self, first: Ints, end: Ints, clock: Times) -> Ints:
        """The last interval of each that has begun, or the one before its first: all searches side by side."""
        low, high = first.copy(), end.copy()
        while (low < high).any():
            middle = np.minimum((low + high) // 2, len(self._begins) - 1)
            begun = (low < high) & (self._begins[middle] <= clock)
            high = np.where((low < high) & ~begun, middle, high)
            low = np.where(begun, middle + 1, low)
        return low - 1


class TraceAvailability(AvailabilityConfig):
    """A CSV or Parquet file with the columns client, begin and end: intervals in seconds in which a device is there."""

    name: Literal["trace"] = "trace"
    path: str
    """The file: .csv, .csv.gz or .parquet."""
    period_s: Annotated[float, Field(gt=0)] | None = None
    """After so long all begins anew; null: what comes after the last interval is an absence for ever."""
    assign: Literal["order", "draw"] = "draw"
    """order: client 0 is the device with the lowest number, and so on; draw: each client is one of them, by chance."""

    def build(self, num_devices: int, seed: int) -> Availability:
        needed = ("client", "begin", "end")
        columns = read_columns(self.path, _SETTING, needed, needed)
        wrong = np.flatnonzero(~(columns["begin"] < columns["end"]) | ~(columns["begin"] >= 0))
        if len(wrong):
            raise ConfigError(
                f"{self.path}, row {wrong[0] + 1}: an interval from {columns['begin'][wrong[0]]:g} to "
                f"{columns['end'][wrong[0]]:g}; intervals begin at 0 or later and end after they begin"
            )
        devices, device = np.unique(columns["client"], return_inverse=True)
        spans = [list[tuple[float, float]]() for _ in devices]
        for index, begin, end in zip(device.tolist(), columns["begin"].tolist(), columns["end"].tolist(), strict=True):
            spans[index].append((begin, end))
        latest = float(columns["end"].max())
        if self.period_s is not None and latest > self.period_s:
            raise ConfigError(
                f"devices.availability.period_s is {self.period_s:g}, but {self.path} has an interval up to "
                f"{latest:g}; set devices.availability.period_s to at least {latest:g}"
            )
        period_s = np.full(len(devices), np.inf if self.period_s is None else self.period_s)
        return _Recorded(
            spans, period_s, assigned(self.assign, num_devices, seed, len(devices), self.path, "devices.availability")
        )


class FedScaleAvailability(AvailabilityConfig):
    """FedScale's `client_behave_trace`: seconds at which a device becomes active and inactive, again and again.

    Lai et al. 2022, https://arxiv.org/abs/2105.11367. The file is a pickle of plain numbers and text; one with anything
    else is refused, and nothing in it is run.
    """

    name: Literal["fedscale"] = "fedscale"
    path: str
    """The file."""
    assign: Literal["order", "draw"] = "draw"
    """order: client 0 is the first device of the file, and so on; draw: each client is one of them, by chance."""

    def build(self, num_devices: int, seed: int) -> Availability:
        found = read_plain_pickle(self.path, _SETTING)
        try:
            period_s = np.array([float(entry["finish_time"]) for entry in found.values()])
            spans = [_spans(entry["active"], entry["inactive"], entry["finish_time"]) for entry in found.values()]
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(
                f"{self.path} has a device without numbers 'active', 'inactive' and 'finish_time' ({error}); "
                f"change {_SETTING}"
            ) from None
        if (period_s <= 0).any():
            raise ConfigError(f"{self.path} has a device whose finish_time is not above 0; change {_SETTING}")
        return _Recorded(
            spans, period_s, assigned(self.assign, num_devices, seed, len(found), self.path, "devices.availability")
        )


def _spans(active: list[float], inactive: list[float], finish: float) -> list[tuple[float, float]]:
    """From each time of becoming active to the next of becoming inactive; the last may reach beyond the end."""
    begins, ends = sorted(map(float, active)), np.sort(np.array(inactive, float))
    spans = list[tuple[float, float]]()
    for begin in begins:
        place = int(np.searchsorted(ends, begin, side="right"))
        end = float(ends[place]) if place < len(ends) else float(finish)
        if begin < min(end, float(finish)):
            spans.append((begin, min(end, float(finish))))
    return spans
