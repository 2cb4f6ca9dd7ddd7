"""NASA C-MAPSS: simulated turbofan engines run to failure; an engine is a natural client.

A. Saxena, K. Goebel, D. Simon, N. Eklund, "Damage propagation modeling for aircraft engine run-to-failure
simulation", PHM 2008, https://doi.org/10.1109/PHM.2008.4711414. Data: https://data.nasa.gov (CMAPSSData.zip).

Shapes: M cycles of all engines together, W windows, S sensors, T cycles of a window.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from fedray.data.base import Table
from fedray.data.download import Remote
from fedray.data.engine_windows import Engines, Normaliser, find_regimes, last_windows, nearest_regime, windows
from fedray.data.files import FileSource, load_npz, read_member
from fedray.errors import DataError
from fedray.messages import Array, DataSpec, Shard

INFORMATIVE = (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)
"""The 14 sensors that are not constant in FD001, as usual in the literature, numbered from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subset:
    train: Engines
    test: Engines
    rul: Array


class Cmapss(FileSource):
    """C-MAPSS turbofan engines: remaining useful life, or failure soon, from windows of sensor readings.

    Windows of every training engine are the examples, owned by their engine. The test set is the last window of every
    test engine, with the official remaining useful life. Statistics for scaling come from training engines alone.
    """

    name: Literal["cmapss"] = "cmapss"
    subset: Literal["FD001", "FD002", "FD003", "FD004"] = "FD001"
    """FD001 and FD003: one operating regime; FD002 and FD004: six. FD003 and FD004 have two fault modes."""
    window: PositiveInt = 30
    """Cycles in a window; an engine with fewer repeats its first row in front."""
    stride: PositiveInt = 1
    """Cycles between the windows of one training engine, counted back from its last."""
    rul_cap: PositiveFloat | None = 125.0
    """Training targets are at most this, in cycles (the usual piecewise-linear target); null leaves them uncapped."""
    cap_test: bool = False
    """Cap the test targets too. Published FD001 figures often do, which lowers the error; the official targets,
    which this leaves alone by default, reach 145 cycles in FD001 and 195 in FD004."""
    task: Literal["rul", "failure"] = "rul"
    """Remaining useful life in cycles, or whether it is at most `horizon`."""
    horizon: PositiveInt = 30
    """Task failure: cycles that count as failing soon."""
    sensors: Literal["informative", "varying", "all"] | tuple[int, ...] = "informative"
    """The 14 informative sensors, those that vary in the training engines, all 21, or a list numbered from 1."""
    normalise: Literal["none", "global", "regime"] = "regime"
    """Standardise by all training rows, or by the training rows of the same operating regime."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """Checksum that a download must have, by file name (CMAPSSData.zip); NASA publishes none, so none is built in."""

    packed: ClassVar[tuple[str, ...]] = ("cmapss.npz",)
    remotes: ClassVar[tuple[Remote, ...]] = (
        Remote(url="https://data.nasa.gov/docs/legacy/CMAPSSData.zip", file="CMAPSSData.zip"),
    )

    def table(self, seed: int) -> Table:
        """Reads the subset; nothing is drawn, so the seed has no part in it."""
        subset = self._read(self.locate())
        regimes, centres = find_regimes(subset.train.settings)
        test_regimes = nearest_regime(subset.test.settings, centres)
        normaliser = Normaliser.fit(subset.train.sensors, regimes, self.normalise)
        columns = self._columns(normaliser, subset.train)
        train = subset.train.with_sensors(normaliser.apply(subset.train.sensors, regimes)[:, columns])
        test = subset.test.with_sensors(normaliser.apply(subset.test.sensors, test_regimes)[:, columns])
        x, ends = windows(train, self.window, self.stride)
        return Table(
            train=Shard(x=x, y=self._targets(train.rul_to_last()[ends], capped=True)),
            test=Shard(x=last_windows(test, self.window), y=self._targets(subset.rul, capped=self.cap_test)),
            spec=self._spec(columns, train),
            owners=train.engine[ends],
            regimes=regimes[ends],
        )

    def _read(self, place: Path) -> _Subset:
        if place.suffix == ".npz":
            names = (f"{self.subset}_train", f"{self.subset}_test", f"{self.subset}_rul")
            train, test, rul = load_npz(place, *names)
        else:
            train, test, rul = (self._text(place, kind) for kind in ("train", "test", "RUL"))
        parsed = _Subset(
            train=_engines(train, "train", place),
            test=_engines(test, "test", place),
            rul=rul.reshape(-1).astype(np.float64),
        )
        if len(parsed.rul) != parsed.test.num_engines:
            raise DataError(
                f"{place} has {parsed.test.num_engines} test engines in {self.subset}, but {len(parsed.rul)} remaining "
                "lives; change data.path"
            )
        return parsed

    def _text(self, place: Path, kind: str) -> Array:
        name = f"{kind}_{self.subset}.txt"
        try:
            return np.loadtxt(io.BytesIO(read_member(place, name)), ndmin=2)
        except ValueError as error:
            raise DataError(f"{name} in {place} is not a table of numbers ({error}); change data.path") from error

    def _columns(self, normaliser: Normaliser, train: Engines) -> list[int]:
        if self.sensors == "all":
            return list(range(train.sensors.shape[1]))
        if self.sensors == "varying":
            return [int(c) for c in np.flatnonzero(normaliser.varies)]
        chosen = INFORMATIVE if self.sensors == "informative" else self.sensors
        wrong = [s for s in chosen if not 1 <= s <= train.sensors.shape[1]]
        if wrong or not chosen:
            raise DataError(f"data.sensors is {chosen}, but sensors are numbered 1 to 21; change data.sensors")
        return [s - 1 for s in chosen]

    def _targets(self, rul: Array, capped: bool) -> Array:
        if self.task == "failure":
            return (rul <= self.horizon).astype(np.int64)
        return np.minimum(rul, self.rul_cap if capped and self.rul_cap else np.inf).astype(np.float32)

    def _spec(self, columns: list[int], train: Engines) -> DataSpec:
        names = tuple(f"sensor{c + 1}" for c in columns)
        features = (len(columns), self.window)
        if self.task == "failure":
            classes = ("healthy", f"fails within {self.horizon} cycles")
            return DataSpec(
                features=features, task="classification", num_outputs=2, feature_names=names, class_names=classes
            )
        scale = self.rul_cap or float(train.rul_to_last().max())
        return DataSpec(
            features=features, task="regression", num_outputs=1, target_scale=scale or 1.0, feature_names=names
        )


def _engines(rows: Array, kind: str, place: Path) -> Engines:
    """Checks the 26 columns: engine, cycle, three settings, 21 sensors."""
    if rows.ndim != 2 or rows.shape[1] != 26 or not len(rows):
        raise DataError(
            f"the {kind} table in {place} has the shape {rows.shape}, but needs 26 columns; change data.path"
        )
    if not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise DataError(f"row {row} of the {kind} table in {place} holds a value that is not finite; repair the file")
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows = rows[order].astype(np.float64)
    engine = np.unique(rows[:, 0], return_inverse=True)[1].astype(np.int64)
    return Engines(engine=engine, settings=rows[:, 2:5], sensors=rows[:, 5:])
