"""Condition of a hydraulic test rig (real): 2,205 load cycles of 60 s, sensors at 1 Hz.

N. Helwig, E. Pignanelli, A. Schütze, "Condition monitoring of a complex hydraulic system using multivariate
statistics", I2MTC 2015, https://doi.org/10.1109/I2MTC.2015.7151267. Data: UCI 447, CC BY 4.0.
"""

import io
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from fedray.data.base import Table
from fedray.data.download import Remote
from fedray.data.examples import Examples, split_table
from fedray.data.files import FileSource, load_npz, read_member, unreadable
from fedray.messages import Array

_SENSORS = ("CE", "CP", "SE", "TS1", "TS2", "TS3", "TS4", "VS1")
_PROFILE = {"cooler": 0, "valve": 1, "pump": 2, "accumulator": 3, "stable": 4}


class Hydraulic(FileSource):
    """Hydraulic rig: the condition of one component, from 60 s of eight sensors.

    Cycles next to each other resemble each other, so a random test fraction flatters a model a little.
    """

    name: Literal["hydraulic"] = "hydraulic"
    label: Literal["cooler", "valve", "pump", "accumulator", "stable"] = "valve"
    """What is predicted: cooler efficiency, valve condition, pump leakage, accumulator pressure, or stability."""
    owner: Literal["blocks", "cooler"] = "blocks"
    """Natural client: `block_cycles` consecutive cycles, or one of the three cooler settings. The cooler's label must
    not be combined with the cooler as owner: every client would hold one class only."""
    block_cycles: PositiveInt = 45
    """Cycles of a block; 45 gives 49 clients."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""

    packed: ClassVar[tuple[str, ...]] = ("hydraulic_1hz.npz",)
    remotes: ClassVar[tuple[Remote, ...]] = (
        Remote(
            url="https://archive.ics.uci.edu/static/public/447/condition+monitoring+of+hydraulic+systems.zip",
            file="hydraulic.zip",
        ),
    )

    def table(self, seed: int) -> Table:
        """Reads the cycles, shape (8, 60); regimes are the cooler settings."""
        place = self.locate()
        names = (*_SENSORS, "profile")
        arrays = load_npz(place, *names) if place.suffix == ".npz" else [_text(place, f"{n}.txt") for n in names]
        profile = arrays[-1].astype(np.int64)
        coolers = np.unique(profile[:, 0], return_inverse=True)[1]
        blocks = np.arange(len(profile)) // self.block_cycles
        examples = Examples(
            x=np.stack(arrays[:-1], axis=1),
            labels=profile[:, _PROFILE[self.label]],
            owners=blocks if self.owner == "blocks" else coolers,
            regimes=coolers,
        )
        return split_table(examples, self.test_fraction, seed, feature_names=_SENSORS)


def _text(place: Path, name: str) -> Array:
    try:
        return np.loadtxt(io.BytesIO(read_member(place, name)), ndmin=2)
    except ValueError as error:
        raise unreadable(place, error) from error
