"""Reports up a hierarchy and models down it, in virtual time and in bytes.

Shapes: E edges.
"""

from dataclasses import dataclass

import numpy as np

from fedray.messages import Array
from fedray.server.hierarchy import Hierarchy, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Travel:
    """What goes through the links of a hierarchy after a round.

    Attributes:
        reached: The highest level whose models change, by its name; "cloud" for the last.
        end: When they have changed, in virtual time.
        next_s: When each edge can go on, shape (E,).
        up: Bytes of reports.
        down: Bytes of models.
    """

    reached: str
    end: float
    next_s: Array
    up: int
    down: int


def travel(hierarchy: Hierarchy, tree: Tree, round: int, end_s: Array, num_bytes: int) -> Travel:
    """Has the levels that are due report, and the new models come down to all edges below.

    A server waits for all below it, whether they have something to report or not. Links are not shared: each server has
    its own to the one above.

    Args:
        hierarchy: The levels.
        tree: Who is below whom.
        round: Round number, from 1.
        end_s: When each edge is done with its clients, shape (E,).
        num_bytes: Bytes of a model, and of a report.
    """
    due, times = hierarchy.num_reporting(round), end_s
    levels = hierarchy.levels[:due]
    for level, above in zip(levels, tree.above, strict=False):
        arrived = np.zeros(int(above.max()) + 1)
        np.maximum.at(arrived, above, times + level.up_s(num_bytes))
        times = arrived
    end = float(times.max())
    for level, above in reversed(list(zip(levels, tree.above, strict=False))):
        times = times[above] + level.down_s(num_bytes)
    names = [*(level.name for level in hierarchy.levels), "cloud"]
    moved = num_bytes * sum(level.servers for level in levels)
    return Travel(reached=names[due], end=end, next_s=times, up=moved, down=moved)
