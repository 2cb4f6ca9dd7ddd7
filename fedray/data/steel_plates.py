"""Steel plates faults: seven kinds of surface fault (real).

M. Buscema, S. Terzi, W. Tastle, "Steel Plates Faults", UCI 198, https://doi.org/10.24432/C5J88N, CC BY 4.0.
"""

import io
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray.data.base import Table
from fedray.data.columns import Columns, numbers, read_columns
from fedray.data.download import Remote
from fedray.data.examples import Examples, split_table
from fedray.data.files import FileSource, read_member, unreadable
from fedray.errors import DataError

_NUM_FEATURES = 27


class SteelPlates(FileSource):
    """Steel plates: which of seven faults, from 27 measurements of 1,941 plates.

    The data names no machine or plant. As natural clients serve the products: plates of one steel type and thickness;
    the product is also the operating regime. Sizes are very uneven.
    """

    name: Literal["steel_plates"] = "steel_plates"
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""

    packed: ClassVar[tuple[str, ...]] = ("steel_plates.csv", "steel_plates.csv.gz")
    remotes: ClassVar[tuple[Remote, ...]] = (
        Remote(url="https://archive.ics.uci.edu/static/public/198/steel+plates+faults.zip", file="steel_plates.zip"),
    )

    def table(self, seed: int) -> Table:
        """Reads the plates: 27 feature columns, then seven columns of which exactly one is 1."""
        place = self.locate()
        published = place.is_dir() or place.suffix == ".zip"
        columns = _published(place) if published else read_columns(place)
        names = list(columns)
        values = numbers(columns, names, "data.path", place.name)
        x, faults = values[:, :_NUM_FEATURES], values[:, _NUM_FEATURES:]
        if faults.shape[1] != 7 or (faults.sum(axis=1) != 1).any():
            raise DataError(
                f"{place} does not have 27 measurements and one of seven faults in each row; change data.path"
            )
        orders = columns["TypeOfSteel_A300"] * 10_000.0 + columns["Steel_Plate_Thickness"]
        groups = np.unique(orders, return_inverse=True)[1]
        return split_table(
            Examples(x=x, labels=faults.argmax(axis=1), owners=groups, regimes=groups),
            self.test_fraction,
            seed,
            feature_names=tuple(names[:_NUM_FEATURES]),
            class_names=tuple(n.removesuffix("_Fault") for n in names[_NUM_FEATURES:]),
        )


def _published(place: Path) -> Columns:
    names = read_member(place, "Faults27x7_var").decode().split()
    try:
        values = np.loadtxt(io.BytesIO(read_member(place, "Faults.NNA")), ndmin=2)
    except ValueError as error:
        raise unreadable(place, error) from error
    if len(names) != values.shape[1]:
        raise DataError(f"{place} names {len(names)} columns but has {values.shape[1]}; change data.path")
    return {name: values[:, i] for i, name in enumerate(names)}
