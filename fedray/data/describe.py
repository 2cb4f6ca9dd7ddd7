"""What a population's data looks like: how many clients and examples, how uneven, how different.

Shapes: C clients looked at, K classes or quantile bins.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedray import seeds
from fedray.data.base import ArrayData, FederatedData
from fedray.messages import Array, Ints, Shard

MAX_GENERATED = 1000
"""Clients of a generated population that are looked at; of stored data, all are."""
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A population's data in numbers.

    Attributes:
        num_clients: Size of the population.
        num_examples: Training examples of the whole population.
        num_test: Examples of the central test set, 0 without one.
        size_quantiles: Examples of a client: least, 25 %, median, 75 %, most.
        clients_looked_at: Clients behind the figures below; fewer than num_clients if the data is generated.
        names: Names of the classes, or of the target's quantile bins for regression; length K.
        shares: Share of each class or bin in the examples looked at, shape (K,).
        classes_per_client: Median number of classes (bins) that a client has.
        label_distance: Mean total variation distance between a client's shares and `shares`: 0 alike, towards 1 each
            client its own class.
        label_distance_if_random: The same if the same clients drew their labels at random; the distance of small
            shards is never 0, so compare with this.
    """

    num_clients: int
    num_examples: int
    num_test: int
    size_quantiles: tuple[int, int, int, int, int]
    clients_looked_at: int
    names: tuple[str, ...]
    shares: Array
    classes_per_client: float
    label_distance: float
    label_distance_if_random: float

    def rows(self) -> list[tuple[str, str]]:
        """What and how much, as text for a table on the screen."""
        least, lower, median, upper, most = self.size_quantiles
        sample = "" if self.clients_looked_at == self.num_clients else f" (from {self.clients_looked_at:,} clients)"
        shares = ", ".join(f"{n} {s:.1%}" for n, s in zip(self.names[:10], self.shares[:10], strict=True))
        more = f", and {len(self.names) - 10} more" if len(self.names) > 10 else ""
        distance = f"{self.label_distance:.3f} ({self.label_distance_if_random:.3f} if labels were random)"
        return [
            ("clients", f"{self.num_clients:,}"),
            ("training examples", f"{self.num_examples:,}"),
            ("test examples", f"{self.num_test:,}"),
            ("examples of a client", f"{least} least, {lower} / {median} / {upper} quartiles, {most} most"),
            (f"labels{sample}", shares + more),
            (f"classes of a client, median{sample}", f"{self.classes_per_client:g} of {len(self.names)}"),
            (f"label distance{sample}", distance),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """How often each client has each class.

    Attributes:
        clients: Ids of the clients looked at, shape (C,).
        counts: Examples of each class or bin, int64, shape (C, K).
        names: Names of the classes or bins, length K.
    """

    clients: Ints
    counts: Ints
    names: tuple[str, ...]


def summarise(data: FederatedData) -> Summary:
    """Counts sizes and labels; looks at no more than 1,000 clients, evenly spaced, if the data is generated."""
    labels = count_labels(data, MAX_GENERATED)
    test: Shard | None = data.test()
    totals = labels.counts.sum(axis=0)
    shares = totals / totals.sum()
    random = seeds.generator(0, "describe").multinomial(labels.counts.sum(axis=1), shares)
    quantiles = np.quantile(data.sizes, [0.0, 0.25, 0.5, 0.75, 1.0], method="nearest")
    least, lower, median, upper, most = (int(q) for q in quantiles)
    return Summary(
        num_clients=data.num_clients,
        num_examples=int(data.sizes.sum()),
        num_test=len(test) if test is not None else 0,
        size_quantiles=(least, lower, median, upper, most),
        clients_looked_at=len(labels.clients),
        names=labels.names,
        shares=shares,
        classes_per_client=float(np.median((labels.counts > 0).sum(axis=1))),
        label_distance=_distance(labels.counts, shares),
        label_distance_if_random=_distance(random, shares),
    )


def count_labels(data: FederatedData, max_generated: int) -> Labels:
    """Label counts of all clients of stored data, or of some evenly spaced clients of generated data."""
    if isinstance(data, ArrayData):
        clients = np.arange(data.num_clients)
        y, owners = data.table.train.y[data.partition.indices], np.repeat(clients, data.sizes)
    else:
        clients = np.unique(np.linspace(0, data.num_clients - 1, min(max_generated, data.num_clients)).astype(np.int64))
        parts = [shard.y for start in range(0, len(clients), 64) for shard in data.shards(clients[start : start + 64])]
        y, owners = np.concatenate(parts), np.repeat(np.arange(len(clients)), [len(p) for p in parts])
    kinds, names = _kinds(data, y)
    flat = np.bincount(owners * len(names) + kinds, minlength=len(clients) * len(names))
    return Labels(clients=clients, counts=flat.reshape(len(clients), len(names)), names=names)


def _kinds(data: FederatedData, y: Array) -> tuple[Ints, tuple[str, ...]]:
    """Class of each example, or the bin of its target among the quantiles of all targets looked at."""
    if data.spec.task == "classification":
        names = data.spec.class_names or tuple(str(k) for k in range(data.spec.num_outputs))
        return y.astype(np.int64), names
    edges: NDArray[np.float64] = np.unique(np.quantile(y, np.linspace(0.0, 1.0, _BINS + 1)))
    kinds = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = tuple(f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)) or (f"{edges[0]:.4g}",)
    return kinds.astype(np.int64), names


def _distance(counts: Ints, shares: Array) -> float:
    own = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return float((np.abs(own - shares).sum(axis=1) / 2.0).mean())
