"""Servers between the clients and the cloud: plants, regions. Who is below whom, and how they are connected.

Liu et al. 2020, Client-edge-cloud hierarchical federated learning (HierFAVG), https://arxiv.org/abs/1905.06641: clients
train for an edge; after some rounds of their own, edges report to the server above them, and go on from its model.

Shapes: N clients of the population, S servers of a level.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from fedray.config import Config
from fedray.errors import ConfigError
from fedray.messages import Ints
from fedray.population.calendars import group_of
from fedray.population.files import read_columns
from fedray.population.profiles import MBIT
from fedray.server.strategies import AnyStrategy, FedAvg


class Level(Config):
    """All servers of one kind, and the links to those above them."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")] = "plant"
    """What they are, in one word: plant, region."""
    servers: Annotated[int, Field(ge=1)]
    """How many there are."""
    rounds: Annotated[int, Field(ge=1)] = 1
    """Rounds of their own between two reports to the level above: for the lowest level rounds with clients, for others
    reports of the level below."""
    strategy: AnyStrategy = FedAvg()
    """What they make of the updates or reports that they get."""
    up_mbps: Annotated[float, Field(gt=0)] | None = 100.0
    """Megabits a second from one of them to the server above; null: in no time."""
    down_mbps: Annotated[float, Field(gt=0)] | None = 100.0
    """Megabits a second from the server above to one of them; null: in no time."""
    latency_s: Annotated[float, Field(ge=0)] = 0.05
    """Seconds before the first byte of a report or model is there."""

    def up_s(self, num_bytes: int) -> float:
        """Seconds that a report takes."""
        return self.latency_s + (num_bytes / (self.up_mbps * MBIT) if self.up_mbps else 0.0)

    def down_s(self, num_bytes: int) -> float:
        """Seconds that a model takes."""
        return self.latency_s + (num_bytes / (self.down_mbps * MBIT) if self.down_mbps else 0.0)


class Hierarchy(Config):
    """Levels of servers from the clients up; above the last one is the cloud, with the experiment's own strategy.

    Rounds are those of the lowest level. The cloud's model, which is the one that is evaluated, changes when reports
    have come up to it.
    """

    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    """The levels, that of the clients' own servers first."""
    table: str | None = None
    """CSV or Parquet file with the columns client and one for each level, whose values are the numbers of servers, from
    0; null: neighbours by client id have the same server, and servers are as large as each other."""

    @model_validator(mode="after")
    def _levels_differ(self) -> "Hierarchy":
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ValueError(f"levels are named {', '.join(names)}; give each a name of its own")
        if any(above.servers > below.servers for below, above in pairwise(self.levels)):
            raise ValueError("a level has more servers than the one below it; lower its servers, or swap them")
        return self

    @property
    def periods(self) -> list[int]:
        """Rounds between two reports of each level."""
        return list(accumulate((level.rounds for level in self.levels), mul))

    def num_reporting(self, round: int) -> int:
        """Levels that report after a round, from 1, the lowest first; all of them: the cloud's model changes."""
        return sum(round % period == 0 for period in self.periods)

    def build(self, num_clients: int) -> "Tree":
        """Who is below whom.

        Raises:
            ConfigError: There are fewer clients than servers, or the table is wrong.
        """
        most = self.levels[0].servers
        if most > num_clients:
            raise ConfigError(
                f"hierarchy.levels has {most} servers of {num_clients} clients; lower {self.levels[0].name}'s servers"
            )
        if self.table is not None:
            return _from_table(self, self.table, num_clients)
        edge = group_of(num_clients, most)
        sizes = [level.servers for level in self.levels]
        above = [group_of(below, size) for below, size in pairwise(sizes)]
        return Tree(edge=edge, above=(*above, np.zeros(sizes[-1], np.int64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Who is below whom.

    Attributes:
        edge: The server of each client, shape (N,).
        above: For each level the server above each of its servers, shape (S,); 0 for the last: the cloud.
    """

    edge: Ints
    above: tuple[Ints, ...]

    def clients(self) -> Iterator[Ints]:
        """The clients of each edge, sorted."""
        order = np.argsort(self.edge, kind="stable")
        yield from np.split(order, np.cumsum(np.bincount(self.edge, minlength=len(self.above[0])))[:-1])

    def children(self, level: int) -> list[list[int]]:
        """The servers of a level below each server of the next."""
        above = self.above[level]
        num = len(self.above[level + 1]) if level + 1 < len(self.above) else 1
        return [np.flatnonzero(above == server).tolist() for server in range(num)]


def shares(wanted: int, sizes: Ints) -> Ints:
    """How many of the clients of a round each edge has, in proportion to its own, at least one: largest remainders.

    Args:
        wanted: Clients of a round; at least one for each edge.
        sizes: Clients of each edge, shape (S,).
    """
    exact = wanted * sizes / sizes.sum()
    share = np.maximum(1, np.floor(exact)).astype(np.int64)
    while share.sum() != wanted:  # one more or less, where it is least unfair
        missing = int(np.sign(wanted - share.sum()))
        unfair = (exact - share) * missing
        share[np.argmax(np.where((share + missing >= 1) & (share + missing <= sizes), unfair, -math.inf))] += missing
    return share


def _from_table(hierarchy: Hierarchy, path: str, num_clients: int) -> Tree:
    names, setting = [level.name for level in hierarchy.levels], "hierarchy.table"
    found = read_columns(path, setting, ("client", *names), ("client", *names))
    clients, *columns = (found[name] for name in ("client", *names))
    if not np.array_equal(np.sort(clients), np.arange(num_clients)):
        raise ConfigError(f"{path} has not each of the {num_clients} clients once; change {setting}")
    for level, column in zip(hierarchy.levels, columns, strict=True):
        if not np.array_equal(np.unique(column), np.arange(level.servers)):
            raise ConfigError(
                f"{path} has not each of the {level.servers} servers from 0 in column '{level.name}'; change "
                f"{setting}, or the level's servers"
            )
    servers = [column.astype(np.int64)[np.argsort(clients)] for column in columns]
    pairs = zip(pairwise(names), pairwise(servers), strict=True)
    above = [_parents(*named, *numbered, path) for named, numbered in pairs]
    return Tree(edge=servers[0], above=(*above, np.zeros(hierarchy.levels[-1].servers, np.int64)))


def _parents(below: str, above: str, child: Ints, parent: Ints, path: str) -> Ints:
    """The server above each server of a level."""
    pairs = np.unique(np.stack([child, parent]), axis=1)
    twice = np.flatnonzero(np.diff(pairs[0]) == 0)
    if len(twice):
        raise ConfigError(
            f"{path} has {below} {pairs[0, twice[0]]} below two servers of {above}; change hierarchy.table"
        )
    return pairs[1]
