"""How a logged model is loaded again, without pickles: MLflow calls `_load_pyfunc` by this module's name."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fedray.messages import Array, Floats


class Predictor:
    """The trained model behind MLflow's `predict`.

    Args:
        module: The model; it is put into evaluation mode.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval()

    def predict(self, x: Array, params: dict[str, Any] | None = None) -> Floats:
        """The model's outputs as they are: scores of the classes (logits), or the target.

        Args:
            x: Examples, shape (B, *features).
            params: Not used; part of MLflow's interface.
        """
        with torch.inference_mode():
            outputs: Floats = self.module(torch.from_numpy(np.asarray(x, dtype=np.float32))).numpy()
        return outputs


def _load_pyfunc(path: str) -> Predictor:  # pyright: ignore[reportUnusedFunction]
    from fedray.models.files import load

    return Predictor(load(Path(path)))
