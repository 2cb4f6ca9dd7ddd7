import zipfile

import numpy as np
import pytest

from fedray.config import parse
from fedray.data.cmapss import Cmapss
from fedray.errors import DataError


def row(engine, cycle, altitude=0.0, reading=0.0):
    return [engine, cycle, altitude, 0.0, 100.0, *(reading + 100 * s for s in range(1, 22))]


def write(folder, train, test, rul):
    for name, rows in (("train", train), ("test", test), ("RUL", [[r] for r in rul])):
        text = "".join(" ".join(str(v) for v in values) + "  \n" for values in rows)
        (folder / f"{name}_FD001.txt").write_text(text)
    return folder


@pytest.fixture
def engines(tmp_path):
    """Two training engines of 4 and 2 cycles, two test engines of 3 and 1; sensor s reads 100 s + something."""
    train = [row(1, c, reading=c) for c in (1, 2, 3, 4)] + [row(2, c, reading=10 * c) for c in (1, 2)]
    test = [row(1, c, reading=c) for c in (1, 2, 3)] + [row(2, 1, reading=7)]
    return write(tmp_path, train, test, [50, 200])


def settings(folder, **more):
    return Cmapss(path=str(folder), **{"window": 3, "sensors": (1, 21), "normalise": "none", **more})


def test_windows_targets_and_owners_of_two_engines(engines):
    table = settings(engines).table(0)
    expected = [[[101, 102, 103], [2101, 2102, 2103]], [[102, 103, 104], [2102, 2103, 2104]]]
    assert table.train.x.dtype == np.float32
    assert table.train.x[:2].tolist() == expected
    assert table.train.x[2].tolist() == [[110, 110, 120], [2110, 2110, 2120]]
    assert table.train.y.tolist() == [1.0, 0.0, 0.0]
    assert table.owners.tolist() == [0, 0, 1]
    assert table.spec.features == (2, 3)
    assert table.spec.feature_names == ("sensor1", "sensor21")
    assert table.spec.target_scale == 125.0


def test_test_set_is_the_last_window_with_the_official_life(engines):
    table = settings(engines).table(0)
    assert table.test.x[:, 0].tolist() == [[101, 102, 103], [107, 107, 107]]
    assert table.test.y.tolist() == [50.0, 200.0]
    assert settings(engines, cap_test=True).table(0).test.y.tolist() == [50.0, 125.0]


def test_stride_counts_back_from_the_failure(engines):
    table = settings(engines, window=1, stride=2).table(0)
    assert table.train.y.tolist() == [2.0, 0.0, 0.0]
    assert table.train.x[:, 0, 0].tolist() == [102.0, 104.0, 120.0]


def test_targets_can_be_capped_or_be_failure_within_a_horizon(engines):
    assert settings(engines, window=1, rul_cap=2).table(0).train.y.tolist() == [2, 2, 1, 0, 1, 0]
    uncapped = settings(engines, window=1, rul_cap=None).table(0)
    assert uncapped.train.y.tolist() == [3, 2, 1, 0, 1, 0]
    assert uncapped.spec.target_scale == 3.0
    failure = settings(engines, window=1, task="failure", horizon=1).table(0)
    assert failure.train.y.tolist() == [0, 0, 1, 1, 1, 1]
    assert failure.test.y.tolist() == [0, 0]
    assert (failure.spec.task, failure.spec.num_outputs) == ("classification", 2)


def test_normalisation_is_per_regime_and_test_rows_take_the_nearest(tmp_path):
    train = [row(1, 1, 0.001, 0), row(1, 2, -0.001, 2), row(1, 3, 35.001, 10), row(1, 4, 34.999, 14)]
    folder = write(tmp_path, train, [row(1, 1, 34.0, 16), row(2, 1, 0.4, 3)], [1, 2])
    table = settings(folder, window=1, sensors=(1,), normalise="regime").table(0)
    assert table.train.x.ravel().tolist() == pytest.approx([-1, 1, -1, 1])
    assert table.regimes.tolist() == [0, 0, 1, 1]
    assert table.test.x.ravel().tolist() == pytest.approx([2, 2])
    together = settings(folder, window=1, sensors=(1,), normalise="global").table(0)
    readings = np.array([0, 2, 10, 14])
    assert together.train.x.ravel().tolist() == pytest.approx(((readings - 6.5) / readings.std()).tolist())


@pytest.mark.parametrize("normalise", ["none", "global", "regime"])
@pytest.mark.parametrize("sensors", ["informative", "varying"])
def test_changing_test_data_never_changes_training_arrays(engines, tmp_path, normalise, sensors):
    before = settings(engines, normalise=normalise, sensors=sensors).table(0)
    other = [row(1, c, 20.0, reading=1e6 * c) for c in (1, 2, 3)] + [row(2, 1, 42.0, reading=-5)]
    text = "".join(" ".join(map(str, values)) + "\n" for values in other)
    (engines / "test_FD001.txt").write_text(text)
    after = settings(engines, normalise=normalise, sensors=sensors).table(0)
    assert before.train.x.tobytes() == after.train.x.tobytes()
    assert before.train.y.tobytes() == after.train.y.tobytes()
    assert before.test.x.tobytes() != after.test.x.tobytes()


def test_varying_sensors_leave_out_constant_ones(tmp_path):
    train = [row(1, c) for c in (1, 2, 3)]
    for c, values in enumerate(train):
        values[5 + 3] = 0.5 * c
    folder = write(tmp_path, train, [row(1, 1)], [9])
    assert settings(folder, sensors="varying").table(0).spec.feature_names == ("sensor4",)


def test_the_zip_as_nasa_hosts_it_is_read(engines, tmp_path):
    archive = tmp_path / "CMAPSSData.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in engines.glob("*.txt"):
            zipped.write(file, f"CMAPSSData/{file.name}")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as zipped:
        zipped.write(archive, "6. Turbofan/CMAPSSData.zip")
    plain = settings(engines).table(0)
    assert settings(archive).table(0).train.x.tobytes() == plain.train.x.tobytes()
    assert settings(outer).table(0).train.x.tobytes() == plain.train.x.tobytes()


def test_wrong_files_are_one_sentence(engines, elsewhere):
    with pytest.raises(DataError, match=r"no data file cmapss\.npz .* set data\.path"):
        Cmapss().table(0)
    with pytest.raises(DataError, match=r"data\.path is '/nowhere', which does not exist"):
        settings("/nowhere").table(0)
    with pytest.raises(DataError, match=r"no file 'train_FD003\.txt'"):
        settings(engines, subset="FD003").table(0)
    with pytest.raises(DataError, match="numbered 1 to 21"):
        settings(engines, sensors=(0,)).table(0)
    (engines / "RUL_FD001.txt").write_text("5\n")
    with pytest.raises(DataError, match="2 test engines in FD001, but 1 remaining"):
        settings(engines).table(0)
    (engines / "RUL_FD001.txt").write_text("five\n")
    with pytest.raises(DataError, match="not a table of numbers"):
        settings(engines).table(0)
    (engines / "RUL_FD001.txt").write_text("5\n5\n")
    (engines / "train_FD001.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match="needs 26 columns"):
        settings(engines).table(0)


@pytest.mark.parametrize(
    ("subset", "train", "test", "num_regimes"),
    [("FD001", 100, 100, 1), ("FD002", 260, 259, 6), ("FD003", 100, 100, 1), ("FD004", 249, 248, 6)],
)
def test_real_engines(real, subset, train, test, num_regimes):
    table = parse(Cmapss, {"subset": subset, "stride": 10}).table(0)
    assert table.train.x.shape[1:] == (14, 30)
    assert len(np.unique(table.owners)) == train
    assert len(np.unique(table.regimes)) == num_regimes
    assert len(table.test) == test
    assert table.train.y.max() == 125.0
    assert (table.train.y == 0.0).sum() == train


def test_real_regimes_standardise_every_sensor(real):
    table = Cmapss(subset="FD002", window=1).table(0)
    for regime in range(6):
        x = table.train.x[table.regimes == regime, :, 0].astype(np.float64)
        assert np.abs(x.mean(axis=0)).max() < 1e-4
        assert x.std(axis=0).max() < 1.001


def test_real_numbers_of_fd001(real):
    table = Cmapss(window=1, normalise="none", rul_cap=None).table(0)
    assert len(table.train) == 20631
    assert table.train.y[0] == 191.0
    assert table.train.x[0, :3, 0].tolist() == pytest.approx([641.82, 1589.70, 1400.60])
    assert table.test.y[:5].tolist() == [112, 98, 69, 82, 91]
