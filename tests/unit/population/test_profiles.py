"""Device profiles: what settings and files become."""

import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.population.devices import DevicesConfig
from fedray.population.profiles import Profiles


def profiles(num: int = 4, seed: int = 1, **settings: object) -> Profiles:
    return parse(DevicesConfig, {"profile": settings}).build(num, seed).profiles


def test_all_alike():
    found = profiles(name="alike", examples_per_s=50, download_mbps=8, upload_mbps=4, latency_s=0.5, joules_per_mb=2)
    assert found.examples_per_s.tolist() == [50] * 4
    assert found.download.tolist() == [1e6] * 4
    assert found.upload.tolist() == [5e5] * 4
    assert found.latency_s.tolist() == [0.5] * 4
    assert np.allclose(found.joules_per_byte, 2e-6)
    assert np.isinf(found.memory_bytes).all()


def test_lognormal_has_the_median_and_the_spread_that_were_asked_for():
    found = profiles(20_000, name="lognormal", examples_per_s=50, speed_spread=0.8, network_spread=0.3)
    logs = np.log(found.examples_per_s.astype(float))
    assert abs(np.median(logs) - np.log(50)) < 0.02
    assert abs(logs.std() - 0.8) < 0.02
    assert abs(np.log(found.upload.astype(float)).std() - 0.3) < 0.01
    assert np.allclose(found.download / found.upload, 4, rtol=1e-5)  # they rise and fall together


def test_a_device_is_the_same_in_a_larger_population():
    few, many = profiles(10, name="lognormal"), profiles(1000, name="lognormal")
    assert np.array_equal(few.examples_per_s, many.examples_per_s[:10])
    assert not np.array_equal(few.examples_per_s, profiles(10, seed=2, name="lognormal").examples_per_s)


def test_tiers_have_their_shares():
    tiers = [
        {"share": 3, "examples_per_s": 1, "speed_spread": 0, "memory_mb": 1},
        {"share": 1, "examples_per_s": 9, "speed_spread": 0},
    ]
    found = profiles(20_000, name="tiers", tiers=tiers)
    assert set(found.examples_per_s.tolist()) == {1, 9}
    assert abs((found.examples_per_s == 1).mean() - 0.75) < 0.01
    assert np.array_equal(np.isinf(found.memory_bytes), found.examples_per_s == 9)


def test_a_million_devices_take_tens_of_megabytes():
    assert profiles(1_000_000, name="alike").nbytes == 32_000_000


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_table_in_order_with_gaps(tmp_path: Path, kind: str):
    path = tmp_path / f"devices.{kind}"
    if kind == "csv":
        path.write_text("examples_per_s,loss\n10,0.5\n20,\n30,0.25\n")
    else:
        columns = {"examples_per_s": [10.0, 20.0, 30.0], "loss": [0.5, None, 0.25]}
        pq.write_table(pa.table(columns), path)
    found = profiles(3, name="table", path=str(path), assign="order", loss=0.125, upload_mbps=8)
    assert found.examples_per_s.tolist() == [10, 20, 30]
    assert found.loss.tolist() == [0.5, 0.125, 0.25]
    assert found.upload.tolist() == [1e6] * 3


def test_table_drawn(tmp_path: Path):
    (tmp_path / "devices.csv").write_text("examples_per_s\n10\n20\n")
    found = profiles(1000, name="table", path=str(tmp_path / "devices.csv"))
    assert abs((found.examples_per_s == 10).mean() - 0.5) < 0.1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("speed\n1\n", "has a column 'speed'"),
        ("examples_per_s\n", "has no rows"),
        ("examples_per_s\nfast\n", "values that are no numbers"),
        ("examples_per_s\n0\n", "device 0 has examples_per_s 0"),
        ("loss\n2\n", "device 0 has loss 2"),
    ],
)
def test_wrong_table_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "devices.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        profiles(2, name="table", path=str(path))
    assert "devices.profile.path" in str(caught.value)


def test_table_with_too_few_rows_says_what_to_set(tmp_path: Path):
    (tmp_path / "devices.csv").write_text("examples_per_s\n10\n20\n")
    with pytest.raises(ConfigError, match=r"2 devices, but the population has 3 clients; set devices\.profile\.assign"):
        profiles(3, name="table", path=str(tmp_path / "devices.csv"), assign="order")


def test_fedscale_capacity(tmp_path: Path):
    path = tmp_path / "client_device_capacity"
    devices = {1: {"computation": 100.0, "communication": 8000.0}, 7: {"computation": 50.0, "communication": 800.0}}
    path.write_bytes(pickle.dumps(devices))
    found = profiles(2, name="fedscale", path=str(path), assign="order")
    assert np.allclose(found.examples_per_s, [1000 / 300, 1000 / 150])
    assert found.download.tolist() == found.upload.tolist() == [1e6, 1e5]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_nothing_in_a_fedscale_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("evil").write_bytes(pickle.dumps({1: Evil()}))
    with pytest.raises(ConfigError, match=r"mkdir, and only plain values are loaded"):
        profiles(2, name="fedscale", path="evil")
    assert not Path("was-run").exists()


def test_flash_tables(tmp_path: Path):
    tables = {
        "benchmark2score": {"slow": 100, "middle": 200, "fast": 400},
        "real2benchmark": {"A": "slow", "B": "middle", "C": "fast", "D": "unknown"},
        "speed_distri": {"user": {"down_u": 1000, "down_sigma": 0, "up_u": 500, "up_sigma": 1e9}},
    }
    for name, table in tables.items():
        (tmp_path / f"flash_{name}.json.gz").write_bytes(gzip.compress(json.dumps(table).encode()))
    found = profiles(300, name="flash", path=str(tmp_path), examples_per_s=10)
    assert set(found.examples_per_s.tolist()) == {5, 10, 20}
    assert set(found.download.tolist()) == {1000 * 1024}
    assert found.upload.min() == np.float32(50 * 1024)  # never less than a tenth of the mean


def test_flash_as_published():
    folder = Path(os.environ.get("FEDRAY_DATA", "../shared/data"))
    if not (folder / "flash_speed_distri.json.gz").is_file():
        pytest.skip(f"FLASH's tables are not in {folder}: set FEDRAY_DATA")
    found = profiles(10_000, name="flash", path=str(folder), examples_per_s=100)
    assert abs(np.median(found.examples_per_s) - 100) < 10
    assert 8 < found.examples_per_s.max() / np.median(found.examples_per_s) < 11  # of the 160 phones with a score
    assert 3e6 < np.median(found.download) < 7e6


def test_flash_without_tables(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"holds no benchmark2score\.json; change devices\.profile\.path"):
        profiles(name="flash", path=str(tmp_path))


def test_memory_decides_who_can_train():
    tiers = [{"memory_mb": 1}, {"memory_mb": 100}]
    devices = parse(DevicesConfig, {"profile": {"name": "tiers", "tiers": tiers}}).build(100, 1)
    able = devices.able(2e6)
    assert np.array_equal(able, np.flatnonzero(devices.profiles.memory_bytes > 2e6))
    with pytest.raises(ConfigError, match=r"training takes 200\.0 MB, but no device has more than 100\.0 MB"):
        devices.able(2e8)
