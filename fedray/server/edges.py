"""One round of a hierarchy: edges take a step, and those that are due report upwards.

Shapes: P parameters, T of them trainable.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fedray.messages import Array
from fedray.models.tensors import as_tensor
from fedray.server.hierarchy import Hierarchy, Tree
from fedray.server.strategy import EdgeState, ServerState, Strategy, advance

Report = tuple[Array, int]
"""The mean change of some updates or reports, float64, shape (P,), and their weight."""


def begin_below(state: ServerState, hierarchy: Hierarchy, num_trainable: int) -> ServerState:
    """The state before the first round, with all servers below the cloud."""
    weights = state.parameters[:num_trainable].astype(np.float64)
    below = [
        tuple([EdgeState(parameters=state.parameters, slots=level.strategy.start(weights))] * level.servers)
        for level in hierarchy.levels
    ]
    return replace(state, below=tuple(below))


def climb(
    state: ServerState,
    hierarchy: Hierarchy,
    tree: Tree,
    strategy: Strategy,
    reports: Mapping[int, Report],
    num_trainable: int,
) -> ServerState:
    """The state after a round.

    What a server reports is how far its model is from that of the server above, weighted by the examples that went into
    it since its last report. A server that had none has nothing to say. Afterwards all below go on from the new model.

    Args:
        state: Before the round.
        hierarchy: The levels.
        tree: Who is below whom.
        strategy: The cloud's.
        reports: What came to each edge from its clients; nothing for an edge that got no update.
        num_trainable: T.
    """
    state, due = replace(state, round=state.round + 1), hierarchy.num_reporting(state.round + 1)
    below = [list(servers) for servers in state.below]
    for edge, report in reports.items():
        below[0][edge] = _step(hierarchy.levels[0].strategy, below[0][edge], report, num_trainable)
    cloud = EdgeState(parameters=state.parameters, slots=state.slots)
    for level in range(due):
        is_last = level + 1 == len(below)
        above = [cloud] if is_last else below[level + 1]
        above_strategy = strategy if is_last else hierarchy.levels[level + 1].strategy
        for server, children in enumerate(tree.children(level)):
            report = _report(above[server], [below[level][child] for child in children])
            if report is not None:
                above[server] = _step(above_strategy, above[server], report, num_trainable)
        cloud = above[0] if is_last else cloud
    _hand_down(below, [cloud] if due == len(below) else below[due], tree, due)
    return replace(state, parameters=cloud.parameters, slots=cloud.slots, below=tuple(map(tuple, below)))


def _step(strategy: Strategy, server: EdgeState, report: Report, num_trainable: int) -> EdgeState:
    mean, weight = report
    before = ServerState(round=0, parameters=server.parameters, slots=server.slots)
    after = advance(strategy, before, mean, num_trainable)
    return EdgeState(parameters=after.parameters, slots=after.slots, weight=server.weight + weight)


def _report(above: EdgeState, children: list[EdgeState]) -> Report | None:
    """What the servers below one report together; None where none of them has anything to say."""
    told = [child for child in children if child.weight]
    if not told:
        return None
    base, weights = as_tensor(above.parameters).double(), [child.weight for child in told]
    changes = [as_tensor(child.parameters).double().sub_(base).numpy() for child in told]
    return _mean(changes, weights), sum(weights)


def _hand_down(below: list[list[EdgeState]], top: list[EdgeState], tree: Tree, due: int) -> None:
    """Has all servers below those that got reports go on from their models."""
    for level in reversed(range(due)):
        above = top if level == due - 1 else below[level + 1]
        for child, server in enumerate(tree.above[level].tolist()):
            below[level][child] = replace(below[level][child], parameters=above[server].parameters, weight=0)


def _mean(reports: list[Array], weights: list[int]) -> Array:
    """The weighted mean of reports, float64, summed in their order."""
    total = np.zeros_like(reports[0])
    for report, weight in zip(reports, weights, strict=True):
        total += weight * report
    return total / sum(weights)
