"""SECOM: pass or fail of a semiconductor line (real), with missing measurements.

M. McCann, A. Johnston, "SECOM", UCI 179, https://doi.org/10.24432/C54305, CC BY 4.0.
"""

import io
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedray.data.base import Table
from fedray.data.columns import numbers, pick, read_columns
from fedray.data.download import Remote
from fedray.data.examples import Examples, split, to_table
from fedray.data.files import FileSource, read_member, unreadable
from fedray.messages import Array


class Secom(FileSource):
    """SECOM: 104 of 1,567 production entities fail; hundreds of raw measurements, some missing.

    Missing values become the training median. Columns that the training rows do not fill are left out.
    """

    name: Literal["secom"] = "secom"
    owner: Literal["day", "week"] = "day"
    """Natural client: the entities tested on one calendar day, or in one week from the first day."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of each class that becomes the test set, drawn from the seed."""

    packed: ClassVar[tuple[str, ...]] = ("secom_431.csv.gz",)
    remotes: ClassVar[tuple[Remote, ...]] = (
        Remote(url="https://archive.ics.uci.edu/static/public/179/secom.zip", file="secom.zip"),
    )

    def table(self, seed: int) -> Table:
        """Reads the measurements (431 columns in the packed file, 590 as published)."""
        place = self.locate()
        published = place.is_dir() or place.suffix == ".zip"
        x, labels, times, names = _published(place) if published else _packed(place)
        days = (times.astype("datetime64[D]") - times.min().astype("datetime64[D]")).astype(np.int64)
        examples = Examples(x=x, labels=labels, owners=days if self.owner == "day" else days // 7)
        train, test = split(labels, self.test_fraction, seed)
        filled = np.flatnonzero(~np.isnan(x[train]).all(axis=0))
        examples = Examples(x=x[:, filled], labels=labels, owners=examples.owners)
        return to_table(
            examples.rows(train),
            examples.rows(test),
            feature_names=tuple(names[f] for f in filled),
            class_names=("pass", "fail"),
        )


def _packed(path: Path) -> tuple[Array, Array, Array, list[str]]:
    columns = read_columns(path)
    names = [c for c in columns if c not in ("label", "timestamp")]
    x = numbers(columns, names, "data.path", path.name, missing_allowed=True)
    times = pick(columns, "timestamp", "data.path", path.name).astype("datetime64[s]")
    return x, pick(columns, "label", "data.path", path.name), times, names


def _published(place: Path) -> tuple[Array, Array, Array, list[str]]:
    data, answers = read_member(place, "secom.data"), read_member(place, "secom_labels.data")
    try:
        x = np.loadtxt(io.BytesIO(data), ndmin=2)
        lines = [line.split(None, 1) for line in answers.decode().splitlines() if line.strip()]
        labels = np.array([int(label) for label, _ in lines])
        times = [datetime.strptime(time.strip().strip('"'), "%d/%m/%Y %H:%M:%S") for _, time in lines]
    except ValueError as error:
        raise unreadable(place, error) from error
    return x, labels, np.array(times, dtype="datetime64[s]"), [f"x{i:03d}" for i in range(x.shape[1])]
