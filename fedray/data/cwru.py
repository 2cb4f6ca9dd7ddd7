"""CWRU bearings: vibration of healthy and damaged bearings (real), windows of 1,024 samples.

Case Western Reserve University Bearing Data Center, https://engineering.case.edu/bearingdatacenter: drive end, 12 kHz.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray.data.base import Table
from fedray.data.examples import Examples, split_table, to_table
from fedray.data.files import FileSource, load_npz

_FAULTS = ("normal", "ball", "inner race", "outer race")


class Cwru(FileSource):
    """CWRU bearings: which fault, from 1,024 samples of acceleration; the motor load (0-3 hp) is the natural domain.

    Windows of one recording resemble each other, so a random test fraction flatters a model; `test_load_hp` holds out
    a whole load instead. The healthy recording exists at 0 hp only.
    """

    name: Literal["cwru"] = "cwru"
    label: Literal["fault", "fault and diameter"] = "fault"
    """Four classes, or ten with the diameter of the damage."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""
    test_load_hp: Literal[1, 2, 3] | None = None
    """Hold out one motor load as the test set instead, in horsepower."""

    packed: ClassVar[tuple[str, ...]] = ("cwru_de12k_windows.npz",)

    def table(self, seed: int) -> Table:
        """Reads the windows, shape (1, 1024); owners and regimes are the motor loads."""
        x, fault, diameter, load = load_npz(self.locate(), "x", "fault", "diameter_mil", "load_hp")
        labels, names = fault.astype(np.int64), _FAULTS
        if self.label == "fault and diameter":
            pairs = np.stack([fault, diameter], axis=1).astype(np.int64)
            kinds, labels = np.unique(pairs, axis=0, return_inverse=True)
            names = tuple(f"{_FAULTS[f]} {d} mil" if f else _FAULTS[f] for f, d in kinds)
        examples = Examples(x=x[:, None, :], labels=labels.reshape(-1), owners=load, regimes=load)
        if self.test_load_hp is None:
            return split_table(examples, self.test_fraction, seed, class_names=names)
        held_out = load == self.test_load_hp
        train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        return to_table(examples.rows(train), examples.rows(test), class_names=names)
