import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fedray.config import parse
from fedray.data.npz import NpzArrays
from fedray.data.tabular import CsvTable, ParquetTable
from fedray.data.torch_dataset import TorchDataset
from fedray.errors import ConfigError, DataError

CSV = "plant,torque,speed,state\nB,1,10,ok\nA,2,20,bad\nB,3,30,ok\nA,4,40,bad\n"


@pytest.fixture
def csv(tmp_path):
    file = tmp_path / "plant.csv"
    file.write_text(CSV)
    return file


def test_csv_with_text_labels_and_clients(csv):
    table = CsvTable(path=str(csv), label="state", client="plant", test_fraction=0, standardise=False).table(0)
    assert table.train.x.tolist() == [[1, 10], [2, 20], [3, 30], [4, 40]]
    assert table.train.y.tolist() == [1, 0, 1, 0]
    assert table.owners.tolist() == [1, 0, 1, 0]
    assert table.spec.class_names == ("bad", "ok")
    assert table.spec.feature_names == ("torque", "speed")
    assert table.test is None


def test_csv_regression_scales_by_training_rows(csv):
    settings = CsvTable(path=str(csv), label="speed", features=("torque",), task="regression", test_fraction=0.5)
    table = settings.table(3)
    assert table.spec.task == "regression"
    assert table.spec.target_scale == pytest.approx(table.train.y.std())
    assert table.train.x.mean() == pytest.approx(0, abs=1e-6)
    assert sorted([*table.train.y.tolist(), *table.test.y.tolist()]) == [10, 20, 30, 40]


def test_a_test_file_of_its_own(csv, tmp_path):
    (tmp_path / "test.csv").write_text("speed,torque,state\n50,5,bad\n")
    table = CsvTable(
        path=str(csv),
        label="state",
        features=("torque", "speed"),
        test_path=str(tmp_path / "test.csv"),
        standardise=False,
    ).table(0)
    assert table.test.x.tolist() == [[5, 50]]
    assert table.test.y.tolist() == [0]
    (tmp_path / "test.csv").write_text("speed,torque,state\n50,5,worse\n")
    with pytest.raises(DataError, match="test row 0 has the label worse, which no training row has"):
        CsvTable(
            path=str(csv), label="state", features=("torque",), test_path=str(tmp_path / "test.csv"), standardise=False
        ).table(0)


def test_parquet_equals_csv(csv, tmp_path):
    columns = {
        "plant": ["B", "A", "B", "A"],
        "torque": [1, 2, 3, 4],
        "speed": [10, 20, 30, 40],
        "state": ["ok", "bad"] * 2,
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "plant.parquet")
    one = CsvTable(path=str(csv), label="state", client="plant", test_fraction=0.5).table(0)
    two = ParquetTable(path=str(tmp_path / "plant.parquet"), label="state", client="plant", test_fraction=0.5).table(0)
    assert one.train.x.tobytes() == two.train.x.tobytes()
    assert one.owners.tolist() == two.owners.tolist()


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (CSV, {"label": "stat"}, r"no column 'stat' \(did you mean 'state'\?\); change data\.label"),
        (CSV, {"label": "state", "features": ("torq",)}, r"did you mean 'torque'\?\); change data\.features"),
        (CSV, {"label": "state", "client": "plants"}, r"did you mean 'plant'\?\); change data\.client"),
        (CSV, {"label": "state"}, r"column 'plant' of f\.csv holds 'B', which is no number"),
        (CSV, {"label": "state", "features": ("state",)}, "also a feature"),
        (CSV, {"label": "state", "task": "regression", "client": "plant"}, "no regression target"),
        ("a,y\n1,1\n,0\n3,1\n", {"label": "y"}, r"column 'a' of f\.csv has no finite value in row 1 \(1 rows"),
        ("a,y\n1,1\n2,\n3,1\n", {"label": "y"}, r"column 'y' of f\.csv has no value in row 1"),
        ("a,y\n1,1\n2,1\n", {"label": "y"}, "nothing to learn"),
        ("a,y\n", {"label": "y"}, "has no rows"),
        ("", {"label": "y"}, "cannot be read"),
    ],
)
def test_wrong_tables_are_one_sentence(tmp_path, text, settings, message):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        CsvTable(path=str(tmp_path / "f.csv"), **settings).table(0)


def test_npz_arrays(tmp_path):
    x, y = np.arange(24, dtype=np.float32).reshape(6, 2, 2), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "a.npz", sensors=x, state=y, plant=np.array(["b", "a"] * 3), tx=x[:1], ty=y[:1])
    path = str(tmp_path / "a.npz")
    table = NpzArrays(path=path, features="sensors", label="state", client="plant", test_fraction=0).table(0)
    assert table.train.x.tobytes() == x.tobytes()
    assert table.owners.tolist() == [1, 0] * 3
    assert (table.spec.features, table.spec.num_outputs) == ((2, 2), 3)
    fixed = NpzArrays(path=path, features="sensors", label="state", test_features="tx", test_label="ty").table(0)
    assert (len(fixed.train), len(fixed.test)) == (6, 1)
    with pytest.raises(DataError, match=r"no array 'x' \(it has sensors, state, plant, tx, ty\)"):
        NpzArrays(path=path).table(0)
    with pytest.raises(DataError, match=r"set data\.test_label"):
        NpzArrays(path=path, features="sensors", label="state", test_features="tx").table(0)
    with pytest.raises(DataError, match="shape"):
        NpzArrays(path=path, features="sensors", label="ty").table(0)


def test_npz_refuses_nan_and_objects(tmp_path):
    np.savez(tmp_path / "nan.npz", x=np.array([[1.0], [np.nan]]), y=np.array([0, 1]))
    with pytest.raises(DataError, match="not finite in row 1"):
        NpzArrays(path=str(tmp_path / "nan.npz")).table(0)
    np.savez(tmp_path / "object.npz", x=np.array([[1.0], None], dtype=object), y=np.array([0, 1]))
    with pytest.raises(DataError, match="cannot be read"):
        NpzArrays(path=str(tmp_path / "object.npz")).table(0)


MODULE = """
import torch
class Squares(torch.utils.data.Dataset):
    def __init__(self, num=8, real=False):
        self.num, self.real = num, real
    def __len__(self):
        return self.num
    def __getitem__(self, i):
        return torch.full((2, 3), float(i)), torch.tensor(i / 2) if self.real else i % 2
class Broken(Squares):
    def __getitem__(self, i):
        raise RuntimeError("no disk")
"""


def test_a_torch_dataset_is_copied_into_arrays(elsewhere):
    (elsewhere / "own_sets.py").write_text(MODULE)
    settings = parse(TorchDataset, {"dataset": "own_sets:Squares", "test": "own_sets:Squares", "test_args": {"num": 3}})
    table = settings.table(0)
    assert table.train.x.shape == (8, 2, 3)
    assert table.train.y.tolist() == [0, 1] * 4
    assert len(table.test) == 3
    real = TorchDataset(dataset="own_sets:Squares", args={"real": True}, test_fraction=0.25).table(0)
    assert real.spec.task == "regression"
    assert (len(real.train), len(real.test)) == (6, 2)
    with pytest.raises(DataError, match="RuntimeError: no disk"):
        TorchDataset(dataset="own_sets:Broken").table(0)
    with pytest.raises(ConfigError, match="cannot be imported"):
        TorchDataset(dataset="own_sets:Cubes").table(0)
