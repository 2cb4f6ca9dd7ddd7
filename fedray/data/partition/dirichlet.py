"""Label skew: each client's class shares are drawn from a Dirichlet distribution.

T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the effects of non-identical data distribution for federated visual
classification", 2019, https://arxiv.org/abs/1909.06335, section 3. Sizes "varied": M. Yurochkin et al., "Bayesian
nonparametric federated learning of neural networks", ICML 2019, https://arxiv.org/abs/1905.12022.

Shapes: N examples, C clients, K classes.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from fedray import seeds
from fedray.data.base import Partition, Table
from fedray.data.partition.base import (
    PartitionConfig,
    check_enough,
    equal_sizes,
    group,
    labels_or_bins,
    top_up,
)
from fedray.messages import Ints


class Dirichlet(PartitionConfig):
    """Class shares of each client from Dirichlet(alpha * K * p), p being the share of each class in all the data.

    With balanced classes that is Dirichlet(alpha, ..., alpha), the usual convention. (Hsu et al. write alpha * p, so
    their alpha is K times this one.)
    """

    name: Literal["dirichlet"] = "dirichlet"
    num_clients: PositiveInt = 100
    """Number of clients."""
    alpha: PositiveFloat = 0.5
    """Concentration: near 0 a client has one class, from about 100 on all clients are alike."""
    min_size: PositiveInt = 1
    """Examples that every client has at least."""
    sizes: Literal["equal", "varied"] = "equal"
    """Equal: every client has as many examples (Hsu et al.; where a class runs out, the rest is drawn from the client's
    other classes). Varied: each class is dealt out by a Dirichlet draw over clients (Yurochkin et al.); clients below
    min_size then get random examples of those above."""
    bins: PositiveInt = 10
    """Regression: targets are put into so many quantile bins, which stand for classes."""

    def partition(self, table: Table, seed: int) -> Partition:
        """Draws the shares and deals the examples of each class."""
        check_enough(table, self.num_clients, self.min_size, "partition.num_clients or partition.min_size")
        random = seeds.generator(seed, "partition")
        labels = np.unique(labels_or_bins(table, self.bins), return_inverse=True)[1]
        available = np.bincount(labels)
        if self.sizes == "varied":
            return top_up(group(self._deal_classes(labels, available, random), self.num_clients), self.min_size, random)
        counts = _equal_counts(available, self.num_clients, self.alpha, random)
        return group(_hand_out(labels, counts, random), self.num_clients)

    def _deal_classes(self, labels: Ints, available: Ints, random: np.random.Generator) -> Ints:
        alphas = np.full(self.num_clients, self.alpha)
        counts = np.stack([random.multinomial(n, random.dirichlet(alphas)) for n in available], axis=1)
        return _hand_out(labels, counts, random)


def _equal_counts(available: Ints, num_clients: int, alpha: float, random: np.random.Generator) -> Ints:
    """Examples of each class for each client, shape (C, K): every row and column sum as it must be.

    All clients ask for classes by their own shares. A class that is asked for more often than it has examples serves
    a random part and is closed; the unserved ask again among the open classes.
    """
    num_classes = len(available)
    shares = random.dirichlet(alpha * num_classes * available / available.sum(), size=num_clients)
    missing, left = equal_sizes(int(available.sum()), num_clients), available.astype(np.int64)
    counts = np.zeros((num_clients, num_classes), dtype=np.int64)
    while missing.any():
        asked = random.multinomial(missing, _open_shares(shares, left))
        for k in np.flatnonzero(asked.sum(axis=0) > left):
            asked[:, k] = random.multivariate_hypergeometric(asked[:, k], left[k], method="marginals")
        counts += asked
        left -= asked.sum(axis=0)
        missing -= asked.sum(axis=1)
    return counts


def _open_shares(shares: NDArray[np.float64], left: Ints) -> NDArray[np.float64]:
    """Shares among the classes that have examples left; clients that want none of them take what there is."""
    rest = np.where(left > 0, shares, 0.0)
    lost = rest.sum(axis=1) < 1e-12
    rest[lost] = left / left.sum()
    return rest / rest.sum(axis=1, keepdims=True)


def _hand_out(labels: Ints, counts: Ints, random: np.random.Generator) -> Ints:
    """The owner of each example, shape (N,), given how many of each class a client gets, shape (C, K)."""
    owners = np.full(len(labels), -1, dtype=np.int64)
    shuffled = random.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))])
    for k in range(counts.shape[1]):
        takers = np.repeat(np.arange(len(counts)), counts[:, k])
        owners[by_class[starts[k] : starts[k] + len(takers)]] = takers
    return owners
