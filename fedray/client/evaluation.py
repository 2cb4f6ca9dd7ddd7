"""Evaluation of parameters on a test set, and on every client's own examples."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fedray.client.failure import failed
from fedray.messages import Array, Failure, Ints, Shard, Stats
from fedray.models.tasks import Task, merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Statistics of some examples.

    Attributes:
        stats: Statistics that add, over all examples.
        columns: Cheap statistics with one row a client, shape (C,); empty for a test set.
        failures: Clients that could not evaluate; they are in neither.
    """

    stats: Stats
    columns: dict[str, Array]
    failures: dict[int, Failure] = field(default_factory=dict[int, Failure])


@torch.no_grad()
def evaluate(module: nn.Module, task: Task, shard: Shard, batch_size: int) -> Evaluated:
    """Statistics of one set of examples.

    Args:
        module: The model, with the parameters to evaluate.
        task: What to measure.
        shard: The examples.
        batch_size: Examples at once.
    """
    module.eval()
    parts: list[Stats] = []
    for outputs, targets in _predict(module, task, shard, batch_size):
        parts.append(task.statistics(outputs, targets))
    return Evaluated(stats=merge(*parts), columns={})


@torch.no_grad()
def evaluate_clients(
    module: nn.Module, task: Task, clients: Ints, shard_of: Callable[[int], Shard], batch_size: int
) -> Evaluated:
    """Statistics of several clients, and a row for each.

    Args:
        module: The model, with the parameters to evaluate.
        task: What to measure.
        clients: Client ids, in canonical order.
        shard_of: The examples that a client evaluates on.
        batch_size: Examples at once.
    """
    module.eval()
    total: Stats | None = None
    rows: list[dict[str, float]] = []
    failures: dict[int, Failure] = {}
    for client in clients.tolist():
        try:
            predicted = list(_predict(module, task, shard_of(client), batch_size))
        except Exception as error:
            failures[client] = failed(error)
            continue
        outputs, targets = (torch.cat(part) for part in zip(*predicted, strict=True))
        stats = task.statistics(outputs, targets)
        total = stats if total is None else merge(total, stats)
        rows.append({"client": client, **task.row(outputs, targets)})
    columns: dict[str, Array] = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else {})}
    if rows:
        columns["client"] = columns["client"].astype(np.int64)
    return Evaluated(stats=total or {}, columns=columns, failures=failures)


def _predict(module: nn.Module, task: Task, shard: Shard, batch_size: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Outputs and targets by batches, on the processor, wherever the model is.

    The model gets a copy of the examples, because it may change its input.
    """
    device = next(module.parameters()).device
    for start in range(0, len(shard), batch_size):
        part = slice(start, start + batch_size)
        yield module(torch.tensor(shard.x[part], device=device)).cpu(), task.targets(shard.y[part])
