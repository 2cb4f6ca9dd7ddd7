import errno
import json
import os

import pytest
import torch

from fedray.errors import CapacityError, RunFolderError
from fedray.files import write_bytes, write_json, write_text
from fedray.messages import DataSpec
from fedray.models.base import Layout
from fedray.models.files import load, save
from fedray.models.imported import ImportedModel
from fedray.models.mlp import Mlp
from fedray.models.table import build

SPEC = DataSpec(features=(4,), task="regression", num_outputs=1, target_scale=9.5, feature_names=("a", "b", "c", "d"))


class Normed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dense, self.again = torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
        self.tied = self.dense

    def forward(self, x):
        return self.again(self.tied(self.dense(self.norm(x))))


@pytest.mark.parametrize("config", [Mlp(hidden=(5,)), ImportedModel(name=f"{__name__}:Normed")])
def test_saved_and_loaded_model_is_bit_identical(tmp_path, config):
    module, x = build(config, SPEC, 1), torch.randn(6, 4)
    layout = Layout(module)
    layout.bind(module, torch.randn(layout.num_parameters).abs())
    module.train()(x)
    save(tmp_path / "model", module, config, SPEC)
    again = load(tmp_path / "model")
    assert torch.equal(layout.flatten(again), layout.flatten(module))
    assert torch.equal(again(x), module.eval()(x))
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]


def damage_bytes(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def change_settings(folder):
    path = folder / "model.json"
    settings = json.loads(path.read_text())
    settings["model"]["hidden"] = [6]
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (damage_bytes, "model.safetensors is damaged .its SHA-256"),
        (change_settings, "model.safetensors is damaged .its tensors are not those of the model"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors cannot be read .No such file"),
        (lambda f: (f / "model.json").write_text("{"), "model.json is damaged"),
        (lambda f: (f / "model.json").write_bytes(b"\xff"), "model.json is damaged"),
        (lambda f: (f / "model.json").write_text('{"model": "mlp"}'), "model.json is damaged .spec is missing"),
        (lambda f: (f / "model.json").unlink(), "model.json cannot be read"),
    ],
)
def test_damaged_files_are_run_folder_errors(tmp_path, damage, sentence):
    save(tmp_path, build(Mlp(), SPEC, 1), Mlp(), SPEC)
    damage(tmp_path)
    with pytest.raises(RunFolderError, match=sentence):
        load(tmp_path)


def test_files_are_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_text(path, "old")
    write_json(path, {"a": [1, float("nan")], "b": float("inf")})
    assert json.loads(path.read_text()) == {"a": [1, None], "b": None}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_keeps_the_old_file_and_is_one_sentence(tmp_path, monkeypatch, code):
    write_bytes(tmp_path / "file", b"old")

    def full(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CapacityError, match="file cannot be written because the disk is full; free"):
        write_bytes(tmp_path / "file", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(RunFolderError, match=r"cannot be written .*; choose another"):
        write_bytes(tmp_path / "file" / "inner", b"")
