"""A trained model on disk: `model.safetensors` holds its named tensors, `model.json` how to build it. No pickle."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from fedray.config import Config, parse
from fedray.errors import ConfigError, RunFolderError
from fedray.files import write_bytes, write_json
from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.table import AnyModel, build

TENSORS, SETTINGS = "model.safetensors", "model.json"


class _Saved(Config):
    """What `model.json` holds."""

    model: AnyModel
    spec: DataSpec
    sha256: str
    """Of `model.safetensors`: the two files belong together."""


def save(folder: Path, module: nn.Module, config: ModelConfig, spec: DataSpec) -> None:
    """Writes a model.

    Args:
        folder: Where; made when it is missing.
        module: From `build(config, spec, ...)`, trained.
        config: The model's settings.
        spec: What the data was.

    Raises:
        CapacityError: The disk is full.
    """
    data = to_bytes({name: tensor.detach().clone() for name, tensor in _tensors(module).items()})
    write_bytes(folder / TENSORS, data)
    settings = {"model": config.model_dump(mode="json"), "spec": asdict(spec), "sha256": _digest(data)}
    write_json(folder / SETTINGS, settings)


def load(folder: Path) -> nn.Module:
    """Reads a model that `save` wrote, in evaluation mode.

    Raises:
        RunFolderError: A file is missing or damaged.
        ConfigError: The model is a user's own, and cannot be imported here.
    """
    saved = _read_settings(folder / SETTINGS)
    data = _read(folder / TENSORS)
    if _digest(data) != saved.sha256:
        raise RunFolderError(_damaged(folder / TENSORS, f"its SHA-256 is not the one in {SETTINGS}"))
    module = build(saved.model, saved.spec, seed=0)
    _fill(module, data, folder / TENSORS)
    return module.eval()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; what is shared between layers appears once."""
    return dict([*module.named_parameters(), *module.named_buffers()])


@torch.no_grad()
def _fill(module: nn.Module, data: bytes, path: Path) -> None:
    try:
        read = from_bytes(data)
    except SafetensorError as error:
        raise RunFolderError(_damaged(path, str(error))) from error
    tensors = _tensors(module)
    if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in read.items()}:
        raise RunFolderError(_damaged(path, f"its tensors are not those of the model in {SETTINGS}"))
    for name, tensor in tensors.items():
        tensor.copy_(read[name])


def _read_settings(path: Path) -> _Saved:
    try:
        return parse(_Saved, json.loads(_read(path)))
    except (ValueError, ConfigError) as error:
        raise RunFolderError(_damaged(path, str(error))) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror}); give the folder of a saved model") from error


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}); save the model again or take it from another run"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
