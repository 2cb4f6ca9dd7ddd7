"""How well more actors are used, as measured."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd

from fedray.scaling.cost import Cost
from fedray.scaling.grid import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """A setup beside the one with the fewest actors that it is compared with.

    Attributes:
        setup: The setup.
        base: What it is compared with.
        speedup: How many times as many clients a second.
        efficiency: The speedup for each actor more: 1 is ideal.
        serial: Part of the base's time that more actors did not shorten (Karp and Flatt 1990,
            https://doi.org/10.1145/78607.78614); None for the base itself and for weak scaling.
    """

    setup: Setup
    base: Setup
    speedup: float
    efficiency: float
    serial: float | None = None


def strong(costs: Mapping[Setup, Cost]) -> list[Efficiency]:
    """The same cohort with more actors: T(1) / (a T(a))."""
    return _compare(costs, lambda setup: (setup.nodes, setup.clients, 1), is_strong=True)


def weak(costs: Mapping[Setup, Cost]) -> list[Efficiency]:
    """As many clients for each actor, and more actors: T(1) / T(a)."""
    return _compare(costs, lambda setup: (setup.nodes, *_ratio(setup)), is_strong=False)


def _ratio(setup: Setup) -> tuple[int, int]:
    """Clients for each actor as a fraction in lowest terms."""
    common = gcd(setup.clients, setup.actors)
    return setup.clients // common, setup.actors // common


def _compare(
    costs: Mapping[Setup, Cost], key: Callable[[Setup], tuple[int, int, int]], is_strong: bool
) -> list[Efficiency]:
    groups: defaultdict[tuple[int, int, int], list[Setup]] = defaultdict(list)
    for setup in costs:
        groups[key(setup)].append(setup)
    found: list[Efficiency] = []
    for _, group in sorted(groups.items()):
        if len(group) > 1:
            ordered = sorted(group, key=lambda setup: setup.actors)
            found += [_beside(costs, setup, ordered[0], is_strong) for setup in ordered]
    return found


def _beside(costs: Mapping[Setup, Cost], setup: Setup, base: Setup, is_strong: bool) -> Efficiency:
    times = setup.actors / base.actors
    speedup = costs[setup].clients_per_s / costs[base].clients_per_s
    serial = (1 / speedup - 1 / times) / (1 - 1 / times) if is_strong and times > 1 else None
    return Efficiency(setup=setup, base=base, speedup=speedup, efficiency=speedup / times, serial=serial)
