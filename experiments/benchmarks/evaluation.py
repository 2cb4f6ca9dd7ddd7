"""The one evaluation of all runners' final parameters."""

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.benchmarks import networks
from experiments.benchmarks.shards import Shards

_BATCH = 250


@torch.no_grad()
def evaluate(shards: Shards, parameters: NDArray[np.float32]) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on the test set.

    Args:
        shards: The workload.
        parameters: Shape (P,).
    """
    module = networks.build(shards.workload).eval()
    networks.bind(module).copy_(torch.from_numpy(parameters))
    loss, right = 0.0, 0
    x, y = (torch.from_numpy(part) for part in shards.test)
    for features, labels in zip(x.split(_BATCH), y.split(_BATCH), strict=True):
        outputs = module(features)
        loss += float(torch.nn.functional.cross_entropy(outputs, labels, reduction="sum"))
        right += int((outputs.argmax(dim=1) == labels).sum())
    return loss / len(y), right / len(y)
