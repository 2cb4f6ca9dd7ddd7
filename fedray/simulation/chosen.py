"""The clients of a round: who is trained, from what, and what becomes of the others.

Shapes: S clients of a round, T of them trained, E edges.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fedray.messages import Array, Failure, Ints
from fedray.server.trips import LATE, REPORTED, WHY, Timeline
from fedray.simulation.blocks import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """What went through the links above the edges of a hierarchy after a round.

    Attributes:
        reached: The highest level whose models changed, by its name; "cloud" for the last.
        up: Bytes of reports.
        down: Bytes of models.
    """

    reached: str
    up: int
    down: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The clients of a round.

    Attributes:
        cohort: All of them, sorted; each has a fate at the end.
        training: Those whose updates count, sorted, shape (T,).
        version: After which round each of `training` was sent the model, shape (T,).
        scale: What the update of each is multiplied by, shape (T,).
        most_steps: Steps that each takes at most, shape (T,); None: all of them.
        edge: The edge of each, from whose model it starts; zeros without a hierarchy, shape (T,).
        missed: The others, and why.
        later: Versions of the model before this round's end that clients of later rounds start from.
        times: What all do in virtual time, where devices are simulated.
        mixing: The part of the client's model in the server's new one, where it is mixed in (FedAsync).
        tier: The tier whose round it is, where there are tiers (FedAT).
        next_s: When each edge begins to select the next round's clients, in virtual time, shape (E,).
        wide: What went through the links above the edges, where there is a hierarchy.
    """

    cohort: Ints
    training: Ints
    version: Ints
    scale: Array
    edge: Ints
    most_steps: Ints | None = None
    missed: dict[int, Failure] = field(default_factory=dict[int, Failure])
    later: tuple[int, ...] = ()
    times: Timeline | None = None
    mixing: float | None = None
    tier: int | None = None
    next_s: tuple[float, ...] = (0.0,)
    wide: Wide | None = None

    @property
    def committed(self) -> bool:
        """Whether any update counts."""
        return self.times is None or self.times.committed

    @property
    def starts(self) -> list[tuple[int, int]]:
        """What clients start from, each once: an edge, and a version of its model."""
        return [divmod(key, self._num_versions) for key in np.unique(self._keys).tolist()]

    @property
    def _num_versions(self) -> int:
        return int(self.version.max(initial=0)) + 1

    @property
    def _keys(self) -> Ints:
        return self.edge * self._num_versions + self.version

    def groups(self, absent: Container[int]) -> list[Group]:
        """Those to train, by what they start from, without some."""
        keys = self._keys
        present = np.array([client not in absent for client in self.training.tolist()], bool) if absent else True
        return [
            Group(
                clients=self.training[mine],
                start_from=place,
                scale=float(self.scale[mine][0]),
                into=int(self.edge[mine][0]),
                most_steps=None if self.most_steps is None else self.most_steps[mine],
            )
            for place, key in enumerate(np.unique(keys).tolist())
            if (mine := (keys == key) & present).any()
        ]


def sampled(clients: Ints, round: int) -> Chosen:
    """A round of some clients that all take part."""
    ones = np.ones(len(clients))
    version = np.full(len(clients), round - 1)
    return Chosen(cohort=clients, training=clients, version=version, scale=ones, edge=np.zeros_like(clients))


def timed(times: Timeline, scale: Array) -> Chosen:
    """A round in virtual time.

    Args:
        times: All that happens in it.
        scale: What the updates that count are multiplied by, in the order of their clients.
    """
    training = times.clients[times.counts]
    return Chosen(
        cohort=times.clients,
        training=training,
        version=times.version[times.counts],
        scale=scale,
        edge=np.zeros_like(training),
        most_steps=None if times.most_steps is None else times.most_steps[times.counts],
        missed=_missed(times),
        later=times.versions,
        times=times,
        next_s=(times.end,),
    )


def joined(parts: Sequence[Chosen]) -> Chosen:
    """The round of several edges, one part each, in order."""
    training = np.concatenate([part.training for part in parts])
    edge = np.repeat(np.arange(len(parts)), [len(part.training) for part in parts])
    order = np.argsort(training)
    times = [part.times for part in parts if part.times is not None]
    together = times[0].join(*times[1:]) if times else None
    return replace(
        parts[0],
        cohort=np.sort(np.concatenate([part.cohort for part in parts])),
        training=training[order],
        version=np.concatenate([part.version for part in parts])[order],
        scale=np.concatenate([part.scale for part in parts])[order],
        edge=edge[order],
        missed={client: failure for part in parts for client, failure in part.missed.items()},
        most_steps=None if together is None or together.most_steps is None else together.most_steps[together.counts],
        times=together,
        next_s=tuple(time for part in parts for time in part.next_s),
    )


def _missed(times: Timeline) -> dict[int, Failure]:
    """Those whose updates do not count."""
    missed = dict[int, Failure]()
    for place in np.flatnonzero(~times.counts).tolist():
        client, fate, why = int(times.clients[place]), int(times.fate[place]), WHY[int(times.why[place])]
        if fate == REPORTED:
            missed[client] = Failure(fate="abandoned", cause="too few updates came, and the round changed nothing")
        else:
            missed[client] = Failure(fate="late" if fate == LATE else "vanished", cause=why)
    return missed
