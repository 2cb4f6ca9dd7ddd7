"""The device of an experiment: what is refused, what is set for a while, and that every tensor is where it belongs.

Nothing is computed on a GPU here; `test_cuda.py` does that where there is one.
"""

import numpy as np
import pytest
import torch
from devices import META, OneDevice
from test_vectorised import (
    CLASSES,
    CLIENTS,
    IMAGES,
    MODELS,
    SIZES,
    SPEEDS,
    WINDOWS,
    ByHand,
    engines,
    one_thread,
    shards,
)
from torch import Tensor, nn

from fedray.client.device import CPU, chosen, generators, no_cuda, repeatable
from fedray.client.engines import choose
from fedray.client.evaluation import evaluate
from fedray.client.optimizers import Adam
from fedray.client.sequential import SequentialEngine
from fedray.client.training import TrainingConfig
from fedray.client.trial import failed_step
from fedray.client.vectorised import VectorisedEngine, rows_of
from fedray.errors import CapacityError
from fedray.messages import DataSpec
from fedray.models.base import Layout, ModelConfig
from fedray.models.cifar_cnn import CifarCnn
from fedray.models.lstm import Lstm
from fedray.models.mlp import Mlp
from fedray.models.table import build
from fedray.models.tasks import make_task

__all__ = ["one_thread"]  # a fixture for all tests here

CUDA = torch.device("cuda")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU, and here is one")


@without_cuda
def test_cuda_where_there_is_none_is_one_sentence_and_auto_is_the_processor():
    with pytest.raises(CapacityError, match=r"^device is cuda, but .*torch .*; set device to cpu or auto, or run on"):
        chosen("cuda")
    assert chosen("auto") == chosen("cpu") == "cpu"
    assert no_cuda() is not None


def settings() -> list[object]:
    return [
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    ]


def test_settings_for_equal_bits_are_made_for_a_while(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = settings()
    with repeatable("cpu") as device:
        assert device == CPU
        assert settings() == before
    with repeatable("cuda") as device:
        assert device == CUDA
        assert settings() == [2, False, "highest", False, False, True]
        assert torch.are_deterministic_algorithms_enabled()
    assert settings() == before
    assert generators(CPU) == []


PLAIN = TrainingConfig(batch_size=8)
HARD = TrainingConfig(batch_size=8, clip_norm=0.5, proximal=0.1, optimizer=Adam(weight_decay=0.01))
TRAININGS = [PLAIN, HARD]
EVERY_MODEL = [*MODELS, (ByHand(kind="images"), IMAGES)]


@pytest.mark.parametrize("training", TRAININGS, ids=lambda t: t.optimizer.name)
@pytest.mark.parametrize(("model", "spec"), EVERY_MODEL, ids=repr)
def test_sequential_training_mixes_no_devices(model: ModelConfig, spec: DataSpec, training: TrainingConfig):
    engine = SequentialEngine(build(model, spec, 0), make_task(None, spec), training, 5, META)
    with OneDevice() as seen, pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta"):
        engine.train(torch.zeros(len(engine.weights)), shards(spec)[1:2], 1, CLIENTS[1:2])
    assert seen.num_there > 10 * training.num_steps(SIZES[1])


@pytest.mark.parametrize("training", TRAININGS, ids=lambda t: t.optimizer.name)
@pytest.mark.parametrize(("model", "spec"), EVERY_MODEL, ids=repr)
def test_stacked_training_mixes_no_devices(
    model: ModelConfig, spec: DataSpec, training: TrainingConfig, monkeypatch: pytest.MonkeyPatch
):
    module = build(model, spec, 0)
    engine = VectorisedEngine(module, make_task(None, spec), training, 5, max(SIZES), META)
    parameters = torch.zeros(Layout(module).num_parameters)
    monkeypatch.setattr(Tensor, "cpu", lambda there: torch.zeros(there.shape, dtype=there.dtype))  # losses, read back
    with OneDevice() as seen:
        trained = engine.train(parameters, shards(spec), 1, CLIENTS)
    assert seen.num_there > 10 * trained.steps.max()
    assert (trained.delta.device, trained.delta.shape) == (META, (len(CLIENTS), len(parameters)))


def test_evaluation_mixes_no_devices_and_gives_what_is_on_the_processor(monkeypatch: pytest.MonkeyPatch):
    module, data = build(Mlp(hidden=(8,)), CLASSES, 0), shards(CLASSES)[0]
    monkeypatch.setattr(Tensor, "cpu", lambda there: torch.zeros(there.shape, dtype=there.dtype))
    with OneDevice() as seen:
        found = evaluate(module.to(META), make_task(None, CLASSES), data, 16)
    assert seen.num_there
    assert found.stats["examples"] == len(data)


def test_mixed_devices_would_be_seen():
    with OneDevice(), pytest.raises(AssertionError, match="bmm"):
        torch.bmm(torch.zeros(1, 2, 2, device=META), torch.zeros(1, 2, 2))


@pytest.mark.parametrize("training", TRAININGS, ids=lambda t: t.optimizer.name)
@pytest.mark.parametrize(("model", "spec"), EVERY_MODEL, ids=repr)
def test_stacks_of_fixed_size_give_the_same_bits_in_any_company(
    model: ModelConfig, spec: DataSpec, training: TrainingConfig
):
    """What a GPU does, done on the processor."""
    sequential, _ = engines(model, spec, training)
    fixed = VectorisedEngine(build(model, spec, 0), make_task(None, spec), training, 5, max(SIZES), num_rows=4)
    parameters, data = sequential.weights.clone(), shards(spec)
    together = fixed.train(parameters, data, 2, CLIENTS)
    expected = sequential.train(parameters, data, 2, CLIENTS)
    tolerance = 3e-3 if isinstance(training.optimizer, Adam) else 1e-5
    scale = max(1.0, float(expected.delta.abs().max()))
    torch.testing.assert_close(together.delta, expected.delta, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(together.loss, expected.loss, rtol=1e-4)
    assert together.steps.tolist() == expected.steps.tolist()
    for group in ([2], [5, 2], [5, 4, 3, 2, 1]):
        part = fixed.train(parameters, [data[i] for i in group], 2, CLIENTS[group])
        assert torch.equal(part.delta, together.delta[group])
        assert part.loss.tolist() == together.loss[group].tolist()


@pytest.mark.parametrize(("model", "spec"), [(Mlp(hidden=(8,)), CLASSES), (Lstm(hidden=4), SPEEDS)], ids=repr)
def test_every_step_of_a_fixed_stack_has_the_same_shapes(model: ModelConfig, spec: DataSpec):
    """So whatever a library chooses by shape, it chooses the same for a client in whatever company."""
    training = TrainingConfig(batch_size=8)
    engine = VectorisedEngine(build(model, spec, 0), make_task(None, spec), training, 5, max(SIZES), num_rows=4)
    inner, shapes = engine._gradients, set()

    class Spy:
        shapes = inner.shapes

        def __call__(self, weights, batch, masks, out):
            tensors = [*weights, *out, batch.x, batch.y]
            shapes.add((tuple(t.shape for t in tensors), tuple(t.data_ptr() % 16 for t in tensors[:-2])))
            return inner(weights, batch, masks, out)

    engine._gradients = Spy()
    parameters, data = Layout(build(model, spec, 0)).flatten(build(model, spec, 0)), shards(spec)
    for group in ([0, 1, 2, 3, 4, 5], [2], [5, 1, 2]):
        engine.train(parameters, [data[i] for i in group], 1, CLIENTS[group])
    assert len(shapes) == 1


PICTURES = DataSpec(features=(3, 32, 32), task="classification", num_outputs=10)


def test_rows_on_a_gpu_depend_on_the_model_alone():
    for model, spec, rows in (
        (Mlp(), CLASSES, 128),
        (CifarCnn(), PICTURES, 32),
        (Mlp(hidden=(4096, 4096)), CLASSES, 3),
    ):
        assert rows_of(build(model, spec, 0), CUDA) == rows
        assert rows_of(build(model, spec, 0), CPU) is None


def choice(model: ModelConfig, spec: DataSpec, device: torch.device, **training):
    """By the model and the device alone: without data no trial is made, which would need the device."""
    settings = TrainingConfig(**{"batch_size": 8, **training})
    return choose(build(model, spec, 0), settings, np.array(SIZES), None, device)


def test_engine_is_chosen_by_the_device_too():
    for model, spec in ((Mlp(hidden=(1000, 1000)), CLASSES), (CifarCnn(), PICTURES), (Lstm(hidden=128), WINDOWS)):
        assert choice(model, spec, CPU).name == "sequential"
        found = choice(model, spec, CUDA)
        assert (found.name, found.why) == ("vectorised", "one client leaves most of a GPU idle")
    large = choice(Mlp(hidden=(4096, 4096)), CLASSES, CUDA)
    assert large.name == "sequential"
    assert "too few fit a stack" in large.why
    assert choice(Mlp(), CLASSES, CUDA, engine="sequential").name == "sequential"


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError("kettle_backward does not have a deterministic implementation\nand more")


class Kettle(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return NoBackward.apply(super().forward(input))


def test_model_that_cannot_train_on_a_device_is_found_before_a_run():
    task, data, training = make_task(None, CLASSES), shards(CLASSES)[0], TrainingConfig()
    found = failed_step(Kettle(6, 3), training, task, data, CPU)
    assert found == "RuntimeError: kettle_backward does not have a deterministic implementation"
    module = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5))
    before, state = Layout(module).flatten(module), torch.get_rng_state()
    assert failed_step(module, training, task, data, CPU) is None
    assert torch.equal(Layout(module).flatten(module), before)
    assert torch.equal(torch.get_rng_state(), state)
