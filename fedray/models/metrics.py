"""From statistics that add to metrics: scikit-learn's functions, with counts as sample weights.

scikit-learn is imported where metrics are made, so that client actors, which only count, never load it.

Shapes: B batch, K classes, N bins of scores.
"""

import numpy as np
import torch
from torch import Tensor

from fedray.messages import Array

NUM_BINS = 256
"""Bins of a score histogram."""
MAX_LOGIT = 12.0
"""Scores are binned by their logit in [-12, 12], probabilities from 6e-6 to 1 - 6e-6; beyond, in the outermost bins."""


def score_histogram(outputs: Tensor, targets: Tensor) -> Array:
    """Counts of one-vs-rest softmax scores.

    Bins are even in the logit of the score: the scores of a rare class crowd at zero, where even bins of the
    probability itself would lump them together.

    Args:
        outputs: Logits, shape (B, K).
        targets: Classes, shape (B,).

    Returns:
        int64, shape (K, 2, N): by class, whether it is the true one, and bin.
    """
    num_classes = outputs.shape[1]
    log_p = outputs.double().log_softmax(dim=1)
    logits = torch.nan_to_num(log_p - torch.log1p(-log_p.exp()), nan=-MAX_LOGIT)
    bins = ((logits + MAX_LOGIT) * (NUM_BINS / (2 * MAX_LOGIT))).clamp(0, NUM_BINS - 1).long()
    classes = torch.arange(num_classes)
    positive = (targets[:, None] == classes).long()
    cells = (classes * 2 + positive) * NUM_BINS + bins
    counts = torch.bincount(cells.reshape(-1), minlength=num_classes * 2 * NUM_BINS)
    return counts.reshape(num_classes, 2, NUM_BINS).numpy()


def auprc(scores: Array) -> float:
    """Area under the precision-recall curve (average precision), from `score_histogram`.

    Args:
        scores: Counts, shape (K, 2, N).

    Returns:
        Of class 1 where there are two; else the mean over the classes that occur; NaN where none does.
    """
    from sklearn.metrics import average_precision_score

    classes = scores[1:] if len(scores) == 2 else scores
    bins = np.tile(np.arange(NUM_BINS), 2)
    positive = np.repeat([0, 1], NUM_BINS)
    areas = [
        float(average_precision_score(positive, bins, sample_weight=counts.reshape(-1)))
        for counts in classes
        if counts[1].any()
    ]
    return float(np.mean(areas)) if areas else float("nan")


def of_confusion(confusion: Array) -> dict[str, float]:
    """Metrics of class decisions: NaN where the classes that they are about do not occur.

    Args:
        confusion: Counts by (true, predicted) class, shape (K, K).

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall of the classes that occur), `macro_f1`, and for two classes
        `recall` of class 1.
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    binary = len(confusion) == 2
    true, predicted = np.nonzero(confusion)
    if not len(true):
        names = ("accuracy", "balanced_accuracy", "macro_f1", *(("recall",) if binary else ()))
        return dict.fromkeys(names, float("nan"))
    count = confusion[true, predicted]
    occurring = np.unique(true)
    recall = recall_score(true, predicted, labels=occurring, average="macro", sample_weight=count)
    found = {
        "accuracy": accuracy_score(true, predicted, sample_weight=count),
        "balanced_accuracy": recall,
        "macro_f1": f1_score(true, predicted, average="macro", sample_weight=count),
    }
    if binary:
        found["recall"] = confusion[1, 1] / confusion[1].sum() if confusion[1].any() else np.nan
    return {name: float(value) for name, value in found.items()}


def nasa_score(errors: Tensor) -> Tensor:
    """The asymmetric score of Saxena et al. 2008 (https://doi.org/10.1109/PHM.2008.4711414) for remaining useful life.

    Args:
        errors: Predicted minus true life, in cycles, any shape; late predictions (> 0) cost more than early ones.
    """
    return torch.where(errors < 0, torch.expm1(-errors / 13), torch.expm1(errors / 10))
