"""AI4I 2020: failures of a milling machine (synthetic).

S. Matzka, "Explainable artificial intelligence for predictive maintenance applications", AI4I 2020,
https://doi.org/10.24432/C5HS5C. Data: UCI 601, CC BY 4.0.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray.data.base import Table
from fedray.data.columns import numbers, pick, read_columns
from fedray.data.download import Remote
from fedray.data.examples import Examples, split_table
from fedray.data.files import FileSource, read_member

_MEASURED = (
    *("Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]", "Torque [Nm]", "Tool wear [min]"),
)
_TYPES = ("L", "M", "H")


class Ai4i(FileSource):
    """AI4I 2020: does the machine fail (339 of 10,000), from five measurements and the product's quality type.

    The failure-mode columns TWF, HDF, PWF, OSF and RNF say why a machine failed; they are never features.
    """

    name: Literal["ai4i"] = "ai4i"
    owner: Literal["tool", "type"] = "tool"
    """Natural client: one cutting tool, from one change to the next (rows are in time order and tool wear falls back
    when a tool is changed), or the product's quality type (three clients: L, M, H)."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""

    packed: ClassVar[tuple[str, ...]] = ("ai4i2020.csv", "ai4i2020.csv.gz")
    remotes: ClassVar[tuple[Remote, ...]] = (
        Remote(
            url="https://archive.ics.uci.edu/static/public/601/ai4i+2020+predictive+maintenance+dataset.zip",
            file="ai4i2020.zip",
        ),
    )

    def table(self, seed: int) -> Table:
        """Reads the table; regimes are the quality types."""
        place = self.locate()
        in_archive = place.is_dir() or place.suffix == ".zip"
        columns = read_columns(read_member(place, "ai4i2020.csv") if in_archive else place, "ai4i2020.csv")
        file = place.name
        measured = numbers(columns, list(_MEASURED), "data.path", file)
        types = pick(columns, "Type", "data.path", file).astype(str)
        one_hot = np.stack([types == t for t in _TYPES], axis=1).astype(np.float64)
        wear = measured[:, _MEASURED.index("Tool wear [min]")]
        tools = np.concatenate([[0], np.cumsum(np.diff(wear) < 0)])
        examples = Examples(
            x=np.concatenate([measured, one_hot], axis=1),
            labels=pick(columns, "Machine failure", "data.path", file),
            owners=tools if self.owner == "tool" else types,
            regimes=one_hot.argmax(axis=1),
        )
        names = (*_MEASURED, *(f"Type {t}" for t in _TYPES))
        return split_table(
            examples, self.test_fraction, seed, feature_names=names, class_names=("healthy", "machine failure")
        )
