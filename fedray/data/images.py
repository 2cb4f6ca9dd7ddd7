"""MNIST, Fashion-MNIST and CIFAR-10: small images, standardised by the training images.

Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist; H. Xiao, K. Rasul, R. Vollgraf,
https://arxiv.org/abs/1708.07747; A. Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.

The built-in checksums are those that many public loaders of these files agree on; fedray's authors did not compute
them from a download of their own.

Shapes: N images, C colours, H height, W width.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from fedray import seeds
from fedray.data.base import Table
from fedray.data.download import Remote
from fedray.data.files import FileSource, load_npz, read_member
from fedray.errors import DataError
from fedray.messages import Array, DataSpec, Floats, Shard

_FOUR = ("x_train", "y_train", "x_test", "y_test")
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _idx_files(base: str, *sha256: str) -> tuple[Remote, ...]:
    pairs = zip(_IDX, sha256, strict=True)
    return tuple(Remote(url=f"{base}/{name}.gz", file=f"{name}.gz", sha256=digest) for name, digest in pairs)


class _Images(FileSource, ABC):
    """Settings of an image set of ten classes."""

    num_train: PositiveInt | None = None
    """Take only so many training images, drawn from the seed; null takes all."""
    num_test: PositiveInt | None = None
    """Take only so many test images, drawn from the seed; null takes all."""

    classes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def _published(self, place: Path) -> list[Array]:
        """The four arrays from the files as published: x uint8 (N, H, W) or (N, H, W, C), y (N,)."""

    def table(self, seed: int) -> Table:
        """Reads the images as float32 of shape (C, H, W), mean 0 and deviation 1 for each colour."""
        place = self.locate()
        arrays = load_npz(place, *_FOUR) if place.suffix == ".npz" else self._published(place)
        x_train, y_train = _draw(arrays[0], arrays[1], self.num_train, seed, "training images")
        x_test, y_test = _draw(arrays[2], arrays[3], self.num_test, seed, "test images")
        mean, deviation = _colour_statistics(x_train)
        spec = DataSpec(
            features=_colours_first(x_train[:1]).shape[1:],
            task="classification",
            num_outputs=10,
            class_names=self.classes,
        )
        return Table(
            train=Shard(x=_scale(x_train, mean, deviation), y=y_train.astype(np.int64)),
            test=Shard(x=_scale(x_test, mean, deviation), y=y_test.astype(np.int64)),
            spec=spec,
        )


class _Idx(_Images, ABC):
    """Images in the four gzipped IDX files of MNIST."""

    def _published(self, place: Path) -> list[Array]:
        return [parse_idx(read_member(place, name), name) for name in _IDX]


class Mnist(_Idx):
    """MNIST: handwritten digits, 1 x 28 x 28."""

    name: Literal["mnist"] = "mnist"
    packed: ClassVar[tuple[str, ...]] = ("mnist.npz",)
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    remotes: ClassVar[tuple[Remote, ...]] = _idx_files(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    )


class FashionMnist(_Idx):
    """Fashion-MNIST: articles of clothing, 1 x 28 x 28."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    packed: ClassVar[tuple[str, ...]] = ("fashion_mnist.npz", "fashion_mnist_15k.npz")
    classes: ClassVar[tuple[str, ...]] = (
        *("T-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    )
    remotes: ClassVar[tuple[Remote, ...]] = _idx_files(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    )


class Cifar10(_Images):
    """CIFAR-10: photographs of ten kinds of things, 3 x 32 x 32."""

    name: Literal["cifar10"] = "cifar10"
    packed: ClassVar[tuple[str, ...]] = ("cifar10.npz", "cifar10_20k.npz")
    classes: ClassVar[tuple[str, ...]] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    remotes: ClassVar[tuple[Remote, ...]] = (
        Remote(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            file="cifar-10-binary.tar.gz",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    )

    def _published(self, place: Path) -> list[Array]:
        train = b"".join(read_member(place, f"data_batch_{i}.bin") for i in range(1, 6))
        return [*parse_cifar(train), *parse_cifar(read_member(place, "test_batch.bin"))]


def parse_idx(data: bytes, name: str) -> Array:
    """An array of bytes in the IDX format of MNIST.

    Raises:
        DataError: The header does not fit the contents.
    """
    if len(data) < 8 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{name} is not an IDX file of bytes; replace the file or change data.path")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", count=data[3], offset=4))
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if body.size != np.prod(shape):
        raise DataError(f"{name} announces the shape {shape} but holds {body.size} bytes; replace the file")
    return body.reshape(shape)


def parse_cifar(data: bytes) -> tuple[Array, Array]:
    """Images (N, H, W, C) and labels (N,) of CIFAR-10's binary format: one label byte, then 3 x 32 x 32 bytes.

    Raises:
        DataError: The length does not fit.
    """
    if not data or len(data) % 3073:
        raise DataError(f"a CIFAR-10 batch has {len(data)} bytes, which is no multiple of 3073; replace the file")
    rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]


def _draw(x: Array, y: Array, num: int | None, seed: int, what: str) -> tuple[Array, Array]:
    if num is None or num >= len(y):
        return x, y
    rows = np.sort(seeds.generator(seed, what).choice(len(y), size=num, replace=False))
    return x[rows], y[rows]


def _colours_first(x: Array) -> Array:
    return x[:, None] if x.ndim == 3 else np.moveaxis(x, 3, 1)


def _colour_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and deviation of each colour in [0, 1], from exact counts of the 256 byte values, shape (C,)."""
    colours = _colours_first(x)
    counts = np.stack([np.bincount(colours[:, c].ravel(), minlength=256) for c in range(colours.shape[1])])
    values = np.arange(256) / 255.0
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    deviation = np.sqrt(share @ values**2 - mean**2)
    return mean, np.where(deviation > 0.0, deviation, 1.0)


def _scale(x: Array, mean: Array, deviation: Array) -> Floats:
    """Bytes to float32 (N, C, H, W): one look-up of 256 values for each colour."""
    table = ((np.arange(256)[None] / 255.0 - mean[:, None]) / deviation[:, None]).astype(np.float32)
    colours = _colours_first(x)
    return np.stack([table[c][colours[:, c]] for c in range(len(table))], axis=1)
