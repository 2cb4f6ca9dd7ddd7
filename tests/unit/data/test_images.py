import gzip
import io
import struct
import tarfile

import numpy as np
import pytest

from fedray.data.images import Cifar10, FashionMnist, Mnist, parse_cifar, parse_idx
from fedray.errors import DataError


def idx(array):
    return struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (30, 28, 28), dtype=np.uint8), np.arange(30, dtype=np.uint8) % 10
    parts = {
        "train-images-idx3": x[:20],
        "train-labels-idx1": y[:20],
        "t10k-images-idx3": x[20:],
        "t10k-labels-idx1": y[20:],
    }
    for name, part in parts.items():
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx(part)))
    return x, y


def test_published_idx_files_are_read_and_standardised_by_training_images(tmp_path):
    x, y = write_mnist(tmp_path)
    table = Mnist(path=str(tmp_path)).table(0)
    mean, deviation = (x[:20] / 255).mean(), (x[:20] / 255).std()
    assert table.train.x.shape == (20, 1, 28, 28)
    np.testing.assert_allclose(table.test.x[:, 0], (x[20:] / 255 - mean) / deviation, rtol=1e-5, atol=1e-6)
    assert table.test.y.tolist() == y[20:].tolist()
    assert table.spec.features == (1, 28, 28)


def test_published_cifar_archive_is_read(tmp_path):
    rng = np.random.default_rng(0)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
            rows = rng.integers(0, 256, (4, 3073), dtype=np.uint8)
            rows[:, 0] = np.arange(4)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = rows.size
            tar.addfile(info, io.BytesIO(rows.tobytes()))
    table = Cifar10(path=str(tmp_path)).table(0)
    assert table.train.x.shape == (20, 3, 32, 32)
    assert table.train.y.tolist() == [0, 1, 2, 3] * 5
    assert table.train.x.mean(axis=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert table.train.x.std(axis=(0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_wrong_bytes_are_refused():
    with pytest.raises(DataError, match="not an IDX file"):
        parse_idx(b"hello world", "file")
    with pytest.raises(DataError, match=r"announces the shape \(3,\) but holds 2 bytes"):
        parse_idx(struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"ab", "file")
    with pytest.raises(DataError, match="no multiple of 3073"):
        parse_cifar(b"abc")


def test_a_part_of_the_images_is_drawn_from_the_seed(real):
    settings = FashionMnist(num_train=100, num_test=50)
    first, again, other = settings.table(1), settings.table(1), settings.table(2)
    assert first.train.x.shape == (100, 1, 28, 28)
    assert len(first.test) == 50
    assert first.train.x.tobytes() == again.train.x.tobytes()
    assert first.train.x.tobytes() != other.train.x.tobytes()


def test_real_mnist(real):
    table = Mnist(num_train=1000).table(0)
    assert len(table.test) == 10000
    assert np.bincount(table.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
