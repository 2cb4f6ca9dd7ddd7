import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from fedray.models.metrics import auprc, nasa_score
from fedray.models.tasks import Classification, Regression, merge


def predictions(num_classes, num, share_of_last, seed=0):
    rng = np.random.default_rng(seed)
    rest = (1 - share_of_last) / (num_classes - 1)
    y = rng.choice(num_classes, num, p=[rest] * (num_classes - 1) + [share_of_last])
    outputs = rng.normal(0, 1.5, (num, num_classes)) + 2 * np.eye(num_classes)[y]
    outputs[:, -1] += math.log(share_of_last)
    return torch.from_numpy(outputs.astype(np.float32)), torch.from_numpy(y)


@pytest.mark.parametrize(("num_classes", "share"), [(2, 0.5), (2, 0.01), (5, 0.2)])
def test_classification_metrics_equal_scikit_learn_on_raw_predictions(num_classes, share):
    outputs, y = predictions(num_classes, 4000, share)
    task = Classification(num_classes=num_classes)
    found = task.metrics(merge(*(task.statistics(o, t) for o, t in zip(outputs.split(700), y.split(700), strict=True))))
    guess, p = outputs.argmax(1), outputs.double().softmax(1).numpy()
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, guess), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, guess), abs=1e-12)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, guess, average="macro"), abs=1e-12)
    assert found["loss"] == pytest.approx(sk.log_loss(y, p), rel=1e-6)
    if num_classes == 2:
        assert found["recall"] == pytest.approx(sk.recall_score(y, guess), abs=1e-12)
        assert found["auprc"] == pytest.approx(sk.average_precision_score(y, p[:, 1]), abs=0.01)
    else:
        assert "recall" not in found
        expected = sk.average_precision_score(np.eye(num_classes)[y], p, average="macro")
        assert found["auprc"] == pytest.approx(expected, abs=0.01)


def test_a_small_confusion_by_hand():
    outputs = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    stats = Classification(num_classes=2).statistics(outputs, torch.tensor([0, 0, 1, 1]))
    assert stats["confusion"].tolist() == [[2, 0], [1, 1]]
    assert stats["scores"].sum(axis=2).tolist() == [[2, 2], [2, 2]]
    found = Classification(num_classes=2).metrics(stats)
    assert (found["accuracy"], found["recall"], found["balanced_accuracy"]) == (0.75, 0.5, 0.75)


def test_absent_classes_give_no_warnings():
    task, outputs = Classification(num_classes=2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = task.metrics(task.statistics(outputs, torch.tensor([0, 0])))
    assert math.isnan(found["recall"])
    assert math.isnan(found["auprc"])
    assert (found["accuracy"], found["balanced_accuracy"]) == (0.5, 0.5)
    nothing = task.metrics(task.statistics(outputs[:0], torch.zeros(0, dtype=torch.int64)))
    assert all(math.isnan(value) for value in nothing.values())
    none = Regression()
    assert math.isnan(none.metrics(none.statistics(torch.zeros(0, 1), torch.zeros(0)))["rmse"])


def test_diverged_outputs_are_counted_not_raised():
    outputs = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [-math.inf, math.inf]])
    task = Classification(num_classes=2)
    found = task.metrics(task.statistics(outputs, torch.tensor([0, 1, 1])))
    assert math.isnan(found["loss"])
    assert 0 <= found["accuracy"] <= 1
    regression = Regression()
    wrong = regression.metrics(regression.statistics(torch.tensor([[math.nan], [1e30]]), torch.tensor([1.0, 2.0])))
    assert math.isnan(wrong["rmse"])


def test_many_classes_keep_no_scores():
    task = Classification(num_classes=101)
    stats = task.statistics(torch.randn(5, 101), torch.arange(5))
    assert "scores" not in stats
    assert "auprc" not in task.metrics(stats)


def test_perfect_scores_have_area_one():
    counts = np.zeros((2, 2, 256), dtype=np.int64)
    counts[:, 0, 3], counts[:, 1, 200] = 7, 2
    assert auprc(counts) == 1.0


def test_regression_metrics_equal_scikit_learn():
    rng = np.random.default_rng(3)
    y = rng.normal(120, 40, 500).astype(np.float32)
    guess = (y + rng.normal(0, 20, 500)).astype(np.float32)
    task = Regression(target_scale=40.0)
    outputs, targets = torch.from_numpy(guess)[:, None], task.targets(y)
    found = task.metrics(
        merge(*(task.statistics(o, t) for o, t in zip(outputs.split(99), targets.split(99), strict=True)))
    )
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, guess), rel=1e-6)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, guess), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(y, guess), rel=1e-6)
    assert found["loss"] == pytest.approx((found["rmse"] / 40) ** 2, rel=1e-5)


def test_r2_of_constant_targets_is_undefined():
    task = Regression()
    stats = task.statistics(torch.zeros(3, 1), torch.full((3,), 0.1))
    assert math.isnan(task.metrics(stats)["r2"])


def test_nasa_score_punishes_late_predictions_more():
    scores = nasa_score(torch.tensor([-13.0, 0.0, 10.0], dtype=torch.float64))
    assert scores.tolist() == pytest.approx([math.e - 1, 0.0, math.e - 1])


def test_counting_never_loads_scikit_learn():
    code = (
        "import sys, torch; from fedray.models.tasks import Classification;"
        "t = Classification(num_classes=2); t.statistics(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64));"
        "sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
