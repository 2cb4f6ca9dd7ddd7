"""Synthetic but learnable data: a prototype for each class, and noise."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.workloads import Workload

_CHUNK = 50
_PATCH = 8


def prototypes(workload: Workload) -> NDArray[np.float32]:
    """One example a class without noise, (classes, *features); those of images are coarse, as convolutions like it."""
    draw = np.random.Generator(np.random.Philox(key=workload.seed))
    patch = _PATCH if len(workload.features) == 3 else 1
    channels, *size = workload.features
    coarse = draw.standard_normal((workload.classes, channels, *(-(-n // patch) for n in size)), np.float32)
    for axis, length in enumerate(size, start=2):
        coarse = coarse.repeat(patch, axis=axis).take(np.arange(length), axis=axis)
    return coarse * np.float32(workload.spread)


def examples(workload: Workload, part: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Some examples, a function of (workload, part) alone.

    Args:
        workload: Shapes, classes, seed.
        part: Which piece of the data set; every piece has random numbers of its own.
        count: Examples.

    Returns:
        Features (count, *features) and labels (count,).
    """
    draw = np.random.Generator(np.random.Philox(key=[workload.seed, part + 1]))
    y = draw.integers(workload.classes, size=count)
    x = draw.standard_normal((count, *workload.features), np.float32)
    x += prototypes(workload)[y]
    return x, y


def write(workload: Workload, folder: Path) -> None:
    """Writes x, y, test_x and test_y as .npy files, in pieces, so that no machine needs the memory for all of it."""
    shape = (workload.clients, workload.rows)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (*shape, *workload.features))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.int64, shape)
    for part, start in enumerate(range(0, workload.clients, _CHUNK), start=1):
        piece = slice(start, min(start + _CHUNK, workload.clients))
        features, labels = examples(workload, part, (piece.stop - start) * workload.rows)
        x[piece], y[piece] = features.reshape(x[piece].shape), labels.reshape(y[piece].shape)
    x.flush()
    y.flush()
    test_x, test_y = examples(workload, 0, workload.test_rows)
    np.save(folder / "test_x.npy", test_x)
    np.save(folder / "test_y.npy", test_y)
