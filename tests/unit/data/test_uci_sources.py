import zipfile

import numpy as np
import pytest

from fedray.data.ai4i import Ai4i
from fedray.data.cwru import Cwru
from fedray.data.hydraulic import Hydraulic
from fedray.data.secom import Secom
from fedray.data.steel_plates import SteelPlates
from fedray.errors import DataError

AI4I_HEADER = (
    "UDI,Product ID,Type,Air temperature [K],Process temperature [K],Rotational speed [rpm],Torque [Nm],"
    "Tool wear [min],Machine failure,TWF,HDF,PWF,OSF,RNF\n"
)


def ai4i_text(num=20):
    rows = []
    for i in range(num):
        failed = int(i % 5 == 0)
        rows.append(
            f"{i},P{i},{'LMH'[i % 3]},{300 + i},{310 + i},{1500 + i},{40 + i},{3 * (i % 10)},{failed},{failed},0,0,0,0"
        )
    return AI4I_HEADER + "\n".join(rows) + "\n"


def test_ai4i_has_no_failure_mode_among_its_features(tmp_path):
    (tmp_path / "ai4i2020.csv").write_text(ai4i_text())
    table = Ai4i(path=str(tmp_path)).table(1)
    assert len(table.spec.feature_names) == 8
    assert not {"TWF", "HDF", "PWF", "OSF", "RNF", "Machine failure", "UDI"} & set(table.spec.feature_names)
    assert (len(table.train), len(table.test)) == (16, 4)
    assert table.test.y.sum() == 1
    assert set(table.owners.tolist()) == {0, 1}
    assert table.train.x.mean(axis=0).tolist() == pytest.approx([0] * 8, abs=1e-6)
    assert len(np.unique(Ai4i(path=str(tmp_path), owner="type").table(1).owners)) == 3


def test_ai4i_reads_the_published_zip(tmp_path):
    (tmp_path / "ai4i2020.csv").write_text(ai4i_text())
    with zipfile.ZipFile(tmp_path / "any.zip", "w") as zipped:
        zipped.writestr("ai4i2020.csv", ai4i_text())
    plain, packed = (Ai4i(path=str(tmp_path / n)).table(1) for n in ("ai4i2020.csv", "any.zip"))
    assert plain.train.x.tobytes() == packed.train.x.tobytes()


def test_ai4i_test_rows_never_change_the_scaling(tmp_path):
    file = tmp_path / "ai4i2020.csv"
    file.write_text(ai4i_text())
    before = Ai4i(path=str(file)).table(1)
    lines = ai4i_text().splitlines()
    train = {tuple(x) for x in before.train.x.tolist()}
    changed = 0
    for i in range(1, len(lines)):
        cells = lines[i].split(",")
        trial = [*lines[:i], ",".join([*cells[:3], "9999", *cells[4:]]), *lines[i + 1 :]]
        file.write_text("\n".join(trial) + "\n")
        changed += {tuple(x) for x in Ai4i(path=str(file)).table(1).train.x.tolist()} == train
    assert changed == len(before.test)


def test_secom_fills_gaps_with_the_training_median(tmp_path):
    lines = ["label,timestamp,x000,x001,x002"]
    for i in range(20):
        gap = "" if i == 3 else str(i)
        lines.append(f"{1 if i % 5 == 0 else -1},2008-07-{19 + i // 10}T0{i % 10}:00:00,{gap},{i * i},")
    (tmp_path / "secom.csv").write_text("\n".join(lines) + "\n")
    table = Secom(path=str(tmp_path / "secom.csv"), test_fraction=0.1).table(1)
    assert np.isfinite(table.train.x).all()
    assert table.spec.feature_names == ("x000", "x001")
    assert set(table.owners.tolist()) == {0, 1}
    assert table.spec.class_names == ("pass", "fail")


def test_secom_reads_the_published_files(tmp_path):
    data = "\n".join(f"{i} NaN {2 * i}" for i in range(10))
    answers = "\n".join(f'{1 if i % 3 == 0 else -1} "{19 + i // 5}/07/2008 11:55:0{i}"' for i in range(10))
    (tmp_path / "secom.data").write_text(data)
    (tmp_path / "secom_labels.data").write_text(answers)
    table = Secom(path=str(tmp_path)).table(0)
    assert table.spec.feature_names == ("x000", "x002")
    assert len(table.train) + len(table.test) == 10
    assert table.owners.max() == 1


def test_steel_plates_reads_the_published_files(tmp_path):
    names = [f"f{i}" for i in range(27)]
    names[11], names[13] = "TypeOfSteel_A300", "Steel_Plate_Thickness"
    faults = [f"{k}_Fault" for k in "abcdefg"]
    rng = np.random.default_rng(0)
    rows = []
    for i in range(28):
        x = rng.normal(size=27).round(3)
        x[11], x[13] = i % 2, 40 + 10 * (i % 3)
        rows.append("\t".join(map(str, [*x, *np.eye(7, dtype=int)[i % 7]])))
    with zipfile.ZipFile(tmp_path / "steel.zip", "w") as zipped:
        zipped.writestr("Faults.NNA", "\n".join(rows))
        zipped.writestr("Faults27x7_var", "\n".join([*names, *faults]))
    table = SteelPlates(path=str(tmp_path / "steel.zip"), test_fraction=0.25).table(0)
    assert (len(table.train), len(table.test)) == (21, 7)
    assert np.bincount(table.test.y).tolist() == [1] * 7
    assert table.spec.class_names == tuple("abcdefg")
    assert len(np.unique(table.owners)) == 6


def test_hydraulic_reads_the_published_files(tmp_path):
    for k, sensor in enumerate(("CE", "CP", "SE", "TS1", "TS2", "TS3", "TS4", "VS1")):
        rows = ["\t".join(str(k + r + c / 60) for c in range(60)) for r in range(12)]
        (tmp_path / f"{sensor}.txt").write_text("\n".join(rows))
    (tmp_path / "profile.txt").write_text(
        "\n".join(f"{(3, 20)[r % 2]}\t{(73, 100)[r // 6]}\t0\t130\t1" for r in range(12))
    )
    table = Hydraulic(path=str(tmp_path), block_cycles=4, test_fraction=0.17).table(0)
    assert table.train.x.shape == (10, 8, 60)
    assert table.spec.class_names == ("73", "100")
    assert set(table.owners.tolist()) == {0, 1, 2}
    assert set(table.regimes.tolist()) == {0, 1}


def test_real_tables(real):
    ai4i = Ai4i().table(0)
    assert len(ai4i.train) + len(ai4i.test) == 10000
    assert ai4i.train.y.sum() + ai4i.test.y.sum() == 339
    assert ai4i.owners.max() + 1 == 120
    secom = Secom().table(0)
    assert secom.train.x.shape[1] == 431
    assert secom.train.y.sum() + secom.test.y.sum() == 104
    steel = SteelPlates().table(0)
    assert steel.spec.num_outputs == 7
    assert len(steel.train) + len(steel.test) == 1941
    hydraulic = Hydraulic(label="cooler").table(0)
    assert hydraulic.spec.class_names == ("3", "20", "100")
    assert hydraulic.owners.max() + 1 == 49


def test_real_bearings_can_hold_out_a_load(real):
    table = Cwru(label="fault and diameter", test_load_hp=3).table(0)
    assert table.spec.num_outputs == 10
    assert (len(table.train), len(table.test)) == (1679, 540)
    assert set(table.regimes.tolist()) == {0, 1, 2}
    random = Cwru().table(0)
    assert np.bincount(np.concatenate([random.train.y, random.test.y])).tolist() == [59, 720, 720, 720]


def test_a_source_without_an_address_says_so(elsewhere):
    with pytest.raises(DataError, match=r"no public address to download from; set data\.path"):
        Cwru(download=True).table(0)


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "ai4i2020.csv").write_text("Type,Torque\nL\n")
    with pytest.raises(DataError, match="cannot be read"):
        Ai4i(path=str(tmp_path / "ai4i2020.csv")).table(0)
    (tmp_path / "ai4i2020.csv").write_text("Type,Torque\nL,1\n")
    with pytest.raises(DataError, match=r"no column 'Air temperature \[K\]'"):
        Ai4i(path=str(tmp_path / "ai4i2020.csv")).table(0)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04half")
    with pytest.raises(DataError, match="cannot be read"):
        Hydraulic(path=str(tmp_path / "cut.npz")).table(0)
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04half")
    with pytest.raises(DataError, match="cannot be read"):
        SteelPlates(path=str(tmp_path / "cut.zip")).table(0)
