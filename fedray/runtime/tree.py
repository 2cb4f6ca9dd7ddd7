"""Sums of many actors, added by actors: within each node first, then between nodes, so that little travels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from fedray.runtime.answers import Ref
from fedray.runtime.pool import Pool

_FAN_IN = 8
"""Sums that one process adds: the driver itself adds no more, however many actors and nodes there are."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum that is somewhere, or will be.

    Attributes:
        ref: The sum.
        leaves: What it is made of: each actor's own sum, by the position of the actor.
    """

    ref: Ref
    leaves: dict[int, Ref]


def is_flat(nodes: Sequence[str], *, small: bool) -> bool:
    """Whether all actors send their sums to the driver themselves.

    Args:
        nodes: Where the actors are; one that still starts is on "".
        small: Whether the sums are: then adding one takes no longer than asking another actor to.
    """
    return (small or len(nodes) <= _FAN_IN) and len(set(nodes) - {""}) == 1


def merge(pool: Pool, leaves: Mapping[int, Ref], nodes: Sequence[str], *, small: bool) -> list[Sum]:
    """Has actors add sums, without waiting for any of them; none where all actors send theirs to the driver.

    Args:
        pool: The actors.
        leaves: The sum of each actor, by its position.
        nodes: The node of each actor of the pool.
        small: Whether the sums are.

    Returns:
        The sums for the driver to add: at most eight where they are not small, and one from each of several nodes.
    """
    if is_flat(nodes, small=small):
        return [Sum(ref, {actor: ref}) for actor, ref in leaves.items()]
    by_node: dict[str, list[Sum]] = {}
    for actor, ref in leaves.items():
        by_node.setdefault(nodes[actor], []).append(Sum(ref, {actor: ref}))
    each = 1 if len(by_node) > 1 else _FAN_IN
    return _reduced(pool, list(chain(*(_reduced(pool, sums, each) for sums in by_node.values()))), _FAN_IN)


def _reduced(pool: Pool, sums: list[Sum], wanted: int) -> list[Sum]:
    """As many sums as wanted, or fewer."""
    while len(sums) > wanted:
        num_groups = -(-len(sums) // _FAN_IN)
        sums = [_merged(pool, sums[group::num_groups]) for group in range(num_groups)]
    return sums


def _merged(pool: Pool, sums: list[Sum]) -> Sum:
    """The sum of some, added by the first actor among them."""
    leaves = {actor: ref for part in sums for actor, ref in part.leaves.items()}
    return Sum(pool.submit(next(iter(leaves)), "merge", *(part.ref for part in sums)), leaves)
