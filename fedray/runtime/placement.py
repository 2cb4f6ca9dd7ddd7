"""How many client actors a run has, and whether they fit: decided before anything starts, and without Ray.

The figures are measured on a 2-core machine with Ray 2.60 and torch 2.13: see `tests/ray/test_placement_facts.py`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedray.config import Config
from fedray.errors import CapacityError

ACTOR_BYTES = 300_000_000
"""Private memory of an actor that has imported torch and trains a small model."""
VECTORS_PER_ACTOR = 8
"""Float32 vectors of all parameters that an actor holds at its peak: weights, gradients, update, sums in the ring."""


class ActorsConfig(Config):
    """Where clients run. Nothing here changes a result."""

    backend: Literal["ray", "serial"] = "ray"
    """Ray actors, or one client after another in this process."""
    clients_per_actor: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """1: every client is an actor of its own; a number: that many share one; auto: an actor for each processor."""
    num_actors: Annotated[int, Field(ge=1)] | None = None
    """Number of client actors, instead of clients_per_actor."""
    address: str | None = None
    """Ray cluster to use, "auto" for the one on this machine; null takes RAY_ADDRESS, or starts Ray here."""
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    """Processors of a Ray that is started here; null: all."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """How long the actors may take to start."""

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
        memory_bytes: Memory that Ray may give to actors.
        nodes: Number of nodes.
    """

    cpus: float
    memory_bytes: int
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The chosen placement.

    Attributes:
        num_actors: Client actors.
        slots: How many of them train at once.
        cpus_per_actor: Ray's share of a processor for each, so that actors spread over nodes in proportion.
        actor_bytes: Estimated memory of one.
        own_actor: Every client has an actor of its own.
    """

    num_actors: int
    slots: int
    cpus_per_actor: float
    actor_bytes: int
    own_actor: bool

    def __str__(self) -> str:
        actors = "1 client actor" if self.num_actors == 1 else f"{self.num_actors} client actors"
        need = self.num_actors * self.actor_bytes / 1e9
        return f"{actors}, {self.slots} at a time, about {need:.1f} GB"


def place(config: ActorsConfig, num_clients: int, num_parameters: int, cluster: ClusterShape) -> Placement:
    """Chooses the placement.

    Args:
        config: What the user wants.
        num_clients: Size of the population.
        num_parameters: P.
        cluster: What there is.

    Raises:
        CapacityError: The actors need more memory than the cluster has; the message names a setting that fits.
    """
    slots = max(1, int(cluster.cpus))
    actor_bytes = ACTOR_BYTES + VECTORS_PER_ACTOR * 4 * num_parameters
    if config.num_actors is not None:
        num_actors = min(config.num_actors, num_clients)
    elif config.clients_per_actor == "auto":
        num_actors = min(slots, num_clients, max(1, cluster.memory_bytes // actor_bytes))
    else:
        num_actors = -(-num_clients // config.clients_per_actor)
    _check_memory(config, num_actors, actor_bytes, num_clients, cluster)
    share = min(1.0, int(cluster.cpus / num_actors * 1000) / 1000)
    own = config.clients_per_actor == 1
    return Placement(
        num_actors=num_actors,
        slots=min(slots, num_actors),
        cpus_per_actor=share,
        actor_bytes=actor_bytes,
        own_actor=own,
    )


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
    setting = f"set actors.clients_per_actor to at least {-(-num_clients // fitting)}, or to auto"
    if config.num_actors is not None:
        setting = f"set actors.num_actors to at most {fitting}, or to null"
    raise CapacityError(
        f"{num_actors} client actors need about {need:.1f} GB, but the cluster has {have:.1f} GB for actors; "
        f"{fitting} would fit: {setting}"
    )
