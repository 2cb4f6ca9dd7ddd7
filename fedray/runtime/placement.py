"""How many client actors a run has, and whether they fit: decided before anything starts, and without Ray.

The figures are measured on a 2-core machine with Ray 2.60 and torch 2.13: see `tests/ray/test_placement_facts.py` and
`tests/ray/test_forked_actors.py`.
"""

import math
import os
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedray.config import Config
from fedray.errors import CapacityError
from fedray.runtime.limits import Limit

ACTOR_BYTES = 300_000_000
"""Private memory of an actor that has imported torch and trains a small model."""
FORKED_ACTOR_BYTES = 36_000_000
"""The same, of an actor that is forked from a preloaded process: what it does not share with the others."""
CUDA_BYTES = 1_500_000_000
"""What CUDA's libraries and context add to that in the machine's own memory; an estimate, nobody measured it."""
VECTORS_PER_ACTOR = 8
"""Float32 vectors of all parameters that an actor holds at its peak: weights, gradients, update, sums in the ring."""


NO_FORK = "CUDA does not work in a forked process"
_SHARES = 10_000
"""Ray counts in such parts of a GPU."""


class ActorsConfig(Config):
    """Where clients run. Nothing here changes a result."""

    backend: Literal["ray", "serial"] = "ray"
    """Ray actors, or one client after another in this process."""
    clients_per_actor: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """1: every client is an actor of its own; a number: that many share one; auto: an actor for each processor, and for
    each that joins the cluster later, or for each share of a GPU."""
    num_actors: Annotated[int, Field(ge=1)] | None = None
    """Number of client actors, instead of clients_per_actor."""
    address: str | None = None
    """Ray cluster to use, "auto" for the one on this machine; null takes RAY_ADDRESS, or starts Ray here."""
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    """Processors of a Ray that is started here; null: all."""
    fork: bool | Literal["auto"] = "auto"
    """Fork actors from a preloaded process, which takes an eighth of the memory; auto: where there are several, on a
    Ray of this Linux machine alone; true: also on a cluster whose nodes have Python and fedray at the same paths;
    false: never."""
    gpus_per_actor: Annotated[float, Field(ge=1 / _SHARES, le=1)] | None = None
    """Share of a GPU of each client actor, where device is cuda: with 0.25 four of them share one, its memory included;
    null: a whole one for each, or where the number of actors is set, what lets all of them run."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """How long to wait for the next actor to start."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "ActorsConfig":
        if self.num_actors is not None and self.clients_per_actor != "auto":
            raise ValueError("clients_per_actor and num_actors are both set; set only one of them")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterShape:
    """What a cluster has.

    Attributes:
        cpus: Processors in all.
        gpus: GPUs in all.
        memory_bytes: Memory that Ray may give to actors.
        nodes: Number of nodes.
        here: Whether all of them are this machine.
        limits: What limits the number of actors besides memory; known only of this machine.
    """

    cpus: float
    memory_bytes: int
    nodes: int
    gpus: float = 0
    here: bool = False
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The chosen placement.

    Attributes:
        num_actors: Client actors.
        slots: How many of them train at once.
        cpus_per_actor: Ray's share of a processor for each, so that actors spread over nodes in proportion.
        actor_bytes: Estimated memory of one.
        own_actor: Every client has an actor of its own.
        forked: Actors are forked from a preloaded process.
        gpus_per_actor: Ray's share of a GPU for each.
        most: How many actors there may be when nodes join; `num_actors` where the settings fix the number.
    """

    num_actors: int
    slots: int
    cpus_per_actor: float
    actor_bytes: int
    own_actor: bool
    forked: bool = False
    gpus_per_actor: float = 0
    most: int = 0

    def fitting(self, cpus: float, memory_bytes: int) -> int:
        """How many such actors a cluster holds: one for each processor, as far as there is memory."""
        return _fitting(self.most, self.actor_bytes, cpus, memory_bytes)

    def refitted(self, cpus: float, memory_bytes: int) -> "Placement":
        """The placement for a cluster that may have changed; the same where the settings fix the number of actors."""
        if self.most == self.num_actors:
            return self
        num_actors = self.fitting(cpus, memory_bytes)
        return replace(self, num_actors=num_actors, slots=num_actors)

    def __str__(self) -> str:
        actors = "1 client actor" if self.num_actors == 1 else f"{self.num_actors} client actors"
        need = self.num_actors * self.actor_bytes / 1e9
        gpu = f", {self.gpus_per_actor:g} of a GPU each" if self.gpus_per_actor else ""
        return f"{actors}, {self.slots} at a time, about {need:.1f} GB{gpu}{', forked' if self.forked else ''}"


def place(
    config: ActorsConfig, num_clients: int, num_parameters: int, cluster: ClusterShape, on_gpu: bool = False
) -> Placement:
    """Chooses the placement.

    Args:
        config: What the user wants.
        num_clients: Size of the population.
        num_parameters: P.
        cluster: What there is.
        on_gpu: Whether clients train on GPUs.

    Raises:
        CapacityError: The actors need more memory, threads, open files or GPUs than there are, or cannot be forked; the
            message names a setting that fits.
    """
    slots = max(1, int(cluster.cpus))
    fixed_bytes = VECTORS_PER_ACTOR * 4 * num_parameters + (CUDA_BYTES if on_gpu else 0)
    num_actors = _wanted(config, num_clients, cluster, ACTOR_BYTES + fixed_bytes, on_gpu)
    forked = _forks(config, num_actors, cluster, on_gpu)
    actor_bytes = (FORKED_ACTOR_BYTES if forked else ACTOR_BYTES) + fixed_bytes
    gpus_per_actor = _gpu_share(config, num_actors, num_clients, cluster) if on_gpu else 0.0
    _check_memory(config, num_actors, actor_bytes, num_clients, cluster)
    _check_limits(config, num_actors, num_clients, cluster)
    share = min(1.0, int(cluster.cpus / num_actors * 1000) / 1000)
    own = config.clients_per_actor == 1
    return Placement(
        num_actors=num_actors,
        slots=min(slots, num_actors),
        cpus_per_actor=share,
        actor_bytes=actor_bytes,
        own_actor=own,
        forked=forked,
        gpus_per_actor=gpus_per_actor,
        most=num_clients if _is_free(config) and not on_gpu else num_actors,
    )


def cannot_fork() -> str | None:
    """Why this machine cannot fork actors, or None where it can."""
    if sys.platform != "linux":
        return f"that works on Linux, and this is {sys.platform}"
    if not hasattr(os, "pidfd_open"):
        return "this Python has no os.pidfd_open"
    return None


def _wanted(config: ActorsConfig, num_clients: int, cluster: ClusterShape, actor_bytes: int, on_gpu: bool) -> int:
    if config.num_actors is not None:
        return min(config.num_actors, num_clients)
    if config.clients_per_actor == "auto":
        most = min(num_clients, max(1, _on_gpus(cluster, config.gpus_per_actor or 1.0))) if on_gpu else num_clients
        return _fitting(most, actor_bytes, cluster.cpus, cluster.memory_bytes)
    return -(-num_clients // config.clients_per_actor)


def _on_gpus(cluster: ClusterShape, share: float) -> int:
    """Actors with such a share that fit the GPUs; Ray never divides an actor's share between two."""
    return int(cluster.gpus) * (_SHARES // round(share * _SHARES))


def _gpu_share(config: ActorsConfig, num_actors: int, num_clients: int, cluster: ClusterShape) -> float:
    """Ray's share of a GPU for each actor.

    Raises:
        CapacityError: There are no GPUs, or too few for the actors.
    """
    gpus, together = int(cluster.gpus), "1 GPU" if int(cluster.gpus) == 1 else f"{int(cluster.gpus)} GPUs"
    if gpus == 0:
        raise CapacityError(
            "device is cuda, but the Ray cluster has no GPUs; set device to cpu, or start its nodes with "
            "`ray start --num-gpus`"
        )
    most = _SHARES // math.ceil(num_actors / gpus) / _SHARES
    if most == 0:
        fitting = gpus * _SHARES
        raise CapacityError(
            f"{num_actors} client actors are too many for {together}; {fitting} would fit: "
            f"{_setting(config, num_clients, fitting)}"
        )
    share = most if config.gpus_per_actor is None else config.gpus_per_actor
    fitting = _on_gpus(cluster, share)
    if fitting < num_actors:
        raise CapacityError(
            f"{num_actors} client actors with {share:g} of a GPU each need more than the {together} of the cluster, "
            f"where {fitting} fit; set actors.gpus_per_actor to at most {most:g}, or "
            f"{_setting(config, num_clients, fitting)}"
        )
    return share


def _is_free(config: ActorsConfig) -> bool:
    """Whether the number of actors follows from the cluster."""
    return config.num_actors is None and config.clients_per_actor == "auto"


def _fitting(most: int, actor_bytes: int, cpus: float, memory_bytes: int) -> int:
    return min(max(1, int(cpus)), most, max(1, memory_bytes // actor_bytes))


def _forks(config: ActorsConfig, num_actors: int, cluster: ClusterShape, on_gpu: bool) -> bool:
    """Whether actors are forked.

    Raises:
        CapacityError: They should be, and cannot.
    """
    reason = NO_FORK if on_gpu else cannot_fork()
    if config.fork is True and reason is not None:
        raise CapacityError(f"actors.fork is true, but actors cannot be forked here: {reason}; set actors.fork to auto")
    if config.fork == "auto":
        return reason is None and cluster.here and num_actors > 1
    return config.fork


def _check_memory(
    config: ActorsConfig, num_actors: int, actor_bytes: int, num_clients: int, cluster: ClusterShape
) -> None:
    if num_actors * actor_bytes <= cluster.memory_bytes:
        return
    fitting = cluster.memory_bytes // actor_bytes
    need, have = num_actors * actor_bytes / 1e9, cluster.memory_bytes / 1e9
    if fitting == 0:
        raise CapacityError(
            f"one client actor of this model needs about {need / num_actors:.1f} GB, but the cluster has {have:.1f} GB "
            "for actors; choose a smaller model or a larger machine"
        )
    raise CapacityError(
        f"{num_actors} client actors need about {need:.1f} GB, but the cluster has {have:.1f} GB for actors; "
        f"{fitting} would fit: {_setting(config, num_clients, fitting)}"
    )


def _check_limits(config: ActorsConfig, num_actors: int, num_clients: int, cluster: ClusterShape) -> None:
    for limit in sorted(cluster.limits, key=lambda limit: limit.num_actors):
        fitting = limit.num_actors
        if fitting >= num_actors:
            return
        need = f"{num_actors} client actors need about {limit.used + num_actors * limit.per_actor} {limit.what}"
        if fitting == 0:
            raise CapacityError(f"{need}, but the limit is {limit.value} and not one fits: {limit.remedy}")
        raise CapacityError(
            f"{need}, but the limit is {limit.value}: {limit.remedy}; "
            f"{fitting} would fit: {_setting(config, num_clients, fitting)}"
        )


def _setting(config: ActorsConfig, num_clients: int, fitting: int) -> str:
    """The setting to change, and a value that fits."""
    if config.num_actors is not None:
        return f"set actors.num_actors to at most {fitting}, or to null"
    return f"set actors.clients_per_actor to at least {-(-num_clients // fitting)}, or to auto"
