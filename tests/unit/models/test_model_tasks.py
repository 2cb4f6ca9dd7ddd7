import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fedray.config import Config, parse
from fedray.errors import ConfigError
from fedray.messages import DataSpec
from fedray.models.classification import ClassificationConfig
from fedray.models.regression import RegressionConfig
from fedray.models.tasks import AnyTask, Classification, Regression, make_task, merge

CLASSES = DataSpec(features=(4,), task="classification", num_outputs=3)
TARGETS = DataSpec(features=(4,), task="regression", num_outputs=1, target_scale=20.0)
TASKS = [
    Classification(num_classes=3),
    Classification(num_classes=3, class_weights=(1.0, 2.0, 7.5), label_smoothing=0.1),
    Regression(),
    Regression(kind="mae", target_scale=20.0),
    Regression(kind="huber", target_scale=20.0),
]


class Root(Config):
    task: AnyTask = ClassificationConfig()


def examples(task, num, seed=0):
    rng = np.random.default_rng(seed)
    if isinstance(task, Classification):
        outputs = torch.from_numpy(rng.normal(0, 2, (num, task.num_classes)).astype(np.float32))
        return outputs, task.targets(rng.integers(0, task.num_classes, num))
    targets = task.targets(rng.normal(100, 30, num).astype(np.float32))
    return (targets + torch.from_numpy(rng.normal(0, 15, num).astype(np.float32)))[:, None], targets


@pytest.mark.parametrize("task", TASKS)
def test_loss_is_the_sum_of_losses_over_the_sum_of_weights(task):
    outputs, targets = examples(task, 40)
    outputs.requires_grad_()
    loss, losses = task.loss(outputs, targets), task.losses(outputs, targets)
    assert losses.shape == (40,)
    torch.testing.assert_close(loss, losses.sum() / task.weights(outputs, targets).sum())
    loss.backward()
    assert outputs.grad.any()
    if getattr(task, "class_weights", None) is None:
        assert torch.equal(loss, losses.mean())


def test_class_weights_follow_torch():
    outputs, targets = examples(TASKS[1], 40)
    expected = functional.cross_entropy(outputs, targets, torch.tensor([1.0, 2.0, 7.5]), label_smoothing=0.1)
    torch.testing.assert_close(TASKS[1].loss(outputs, targets), expected)


def test_regression_losses_are_of_scaled_errors():
    outputs, targets = torch.tensor([[10.0], [100.0]]), torch.tensor([20.0, 60.0])
    for kind, expected in (("mse", [0.25, 4.0]), ("mae", [0.5, 2.0]), ("huber", [0.125, 1.5])):
        assert Regression(kind=kind, target_scale=20.0).losses(outputs, targets).tolist() == expected


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_statistics_of_a_union_are_the_sum_of_the_statistics(task, sizes, seed):
    outputs, targets = examples(task, sum(sizes), seed)
    parts = zip(outputs.split(sizes), targets.split(sizes), strict=True)
    total, whole = merge(*(task.statistics(*part) for part in parts)), task.statistics(outputs, targets)
    assert total.keys() == whole.keys()
    for name, values in whole.items():
        assert total[name].dtype == values.dtype
        np.testing.assert_allclose(total[name], values, rtol=0 if values.dtype == np.int64 else 1e-9)


def test_merge_changes_none_of_its_arguments():
    first = {"examples": np.array(1), "sums": np.array([1.0, 2.0])}
    total = merge(first, first, first)
    assert total["examples"] == 3
    assert total["sums"].tolist() == [3.0, 6.0]
    assert first["sums"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("task", TASKS)
def test_row_and_client_metric_agree_with_the_metrics(task):
    outputs, targets = examples(task, 50)
    row, found = task.row(outputs, targets), task.metrics(task.statistics(outputs, targets))
    columns = {name: np.array([value, 0.0]) for name, value in row.items()}
    each = task.client_metric(columns)
    assert each[0] == pytest.approx(found[task.headline])
    assert np.isnan(each[1])
    assert row["examples"] == 50
    if getattr(task, "class_weights", None) is None:
        assert row["loss_sum"] / 50 == pytest.approx(found["loss"])
    assert found["loss"] == pytest.approx(task.loss(outputs, targets).item(), rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_tasks_survive_pickling(task):
    assert pickle.loads(pickle.dumps(task)) == task


def test_targets_of_read_only_arrays_are_copies():
    y = np.arange(3)
    y.flags.writeable = False
    assert Classification(num_classes=3).targets(y).dtype == torch.int64
    assert Regression().targets(y.astype(np.float64)).dtype == torch.float32


def test_task_follows_the_data_unless_it_is_chosen():
    assert make_task(None, CLASSES) == Classification(num_classes=3)
    assert make_task(None, TARGETS) == Regression(target_scale=20.0)
    chosen = parse(Root, {"task": {"name": "regression", "loss": "huber"}}).task
    assert make_task(chosen, TARGETS) == Regression(kind="huber", target_scale=20.0)
    assert (TASKS[0].headline, TASKS[0].higher_is_better) == ("accuracy", True)
    assert (TASKS[2].headline, TASKS[2].higher_is_better) == ("rmse", False)


def test_task_that_does_not_fit_the_data_is_one_sentence():
    with pytest.raises(ConfigError, match=r"task.class_weights has 2 weights, but the data has 3 classes; give"):
        make_task(ClassificationConfig(class_weights=(1, 2)), CLASSES)
    with pytest.raises(ConfigError, match="task is regression, but the data is for classification; change task"):
        make_task(RegressionConfig(), CLASSES)
    with pytest.raises(ConfigError, match="did you mean 'regression'"):
        parse(Root, {"task": "regresion"})
    with pytest.raises(ConfigError, match=r"task.loss is 'l2', but must be 'mse', 'mae' or 'huber'; change task.loss"):
        parse(Root, {"task": {"name": "regression", "loss": "l2"}})
