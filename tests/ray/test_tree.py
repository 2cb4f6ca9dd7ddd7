"""How the sums of many actors are brought together."""

from typing import Any

import pytest

from fedray.runtime import tree


class Calls:
    """Stands for a pool: gives a name to each sum that is asked for, and remembers who adds it."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[int, tuple[str, ...]]] = {}

    def submit(self, actor: int, method: str, *parts: str) -> str:
        assert method == "merge"
        name = f"sum {len(self.made)}"
        self.made[name] = (actor, parts)
        return name

    def leaves(self, ref: str) -> list[str]:
        parts = self.made[ref][1] if ref in self.made else ()
        return [leaf for part in parts for leaf in self.leaves(part)] if parts else [ref]


def merge(nodes: list[str]) -> tuple[Calls, list[tree.Sum]]:
    calls: Any = Calls()
    leaves: Any = {actor: f"leaf {actor}" for actor in range(len(nodes))}
    return calls, tree.merge(calls, leaves, nodes, small=False)


@pytest.mark.parametrize("num_actors", [1, 2, 8, 9, 40, 400, 3000])
@pytest.mark.parametrize("num_nodes", [1, 2, 5, 100])
def test_each_sum_reaches_the_driver_once(num_actors: int, num_nodes: int):
    calls, sums = merge([f"node {actor % num_nodes}" for actor in range(num_actors)])
    assert len(sums) <= 8
    assert all(len(parts) <= 8 for _, parts in calls.made.values())
    reached: Any = [leaf for part in sums for leaf in calls.leaves(str(part.ref))]
    assert sorted(reached) == sorted(f"leaf {actor}" for actor in range(num_actors))
    for part in sums:
        assert sorted(part.leaves.values()) == sorted(calls.leaves(str(part.ref)))


def test_few_actors_of_one_node_answer_the_driver_themselves():
    calls, sums = merge(["here"] * 8)
    assert not calls.made
    assert [part.ref for part in sums] == [f"leaf {actor}" for actor in range(8)]


def test_node_sends_one_sum_that_it_added_itself():
    nodes = ["a", "b", "a", "b", "b", "a"]
    calls, sums = merge(nodes)
    assert len(sums) == 2
    for part in sums:
        actor, parts = calls.made[str(part.ref)]
        assert {nodes[int(leaf.split()[1])] for leaf in parts} == {nodes[actor]}


@pytest.mark.parametrize(
    ("nodes", "flat"),
    [
        (["a"] * 8, True),
        (["a"] * 9, False),
        (["a", "b"], False),
        (["a", "", "a"], True),
        (["a", "", "b"], False),
    ],
)
def test_actors_of_one_node_send_their_sums_to_the_driver_also_while_another_starts(nodes: list[str], flat: bool):
    assert tree.is_flat(nodes, small=False) == flat
    assert tree.is_flat(nodes, small=True) == (len(set(nodes) - {""}) == 1)
