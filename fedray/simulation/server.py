"""The server of a run: the state it begins with, what it sends, and the step it takes after a round.

Shapes: P parameters.
"""

from dataclasses import replace

from torch import nn

from fedray import seeds
from fedray.messages import Floats
from fedray.models.base import Layout
from fedray.models.tensors import as_tensor
from fedray.server.edges import begin_below, climb
from fedray.server.fedasync import mixed
from fedray.server.hierarchy import Tree
from fedray.server.strategy import ServerState, advance, begin
from fedray.server.tiers import FedAT, begin_tiers, step_of_tier
from fedray.simulation.backend import CohortResult
from fedray.simulation.chosen import Chosen
from fedray.simulation.plan import Plan


class Server:
    """One server, or all of a hierarchy; keeps nothing between rounds.

    Args:
        plan: The experiment.
        layout: The model's.
        tree: Who is below whom, where there is a hierarchy.
    """

    def __init__(self, plan: Plan, layout: Layout, tree: Tree | None) -> None:
        self._plan, self._layout, self._tree = plan, layout, tree

    def initial(self, module: nn.Module) -> ServerState:
        """The state before the first round, from a model."""
        plan, num_trainable = self._plan, self._layout.num_trainable
        state = begin(plan.strategy, self._layout.flatten(module).numpy(), num_trainable)
        if isinstance(plan.protocol, FedAT) and plan.devices is not None:
            return begin_tiers(state, plan.protocol.tiers)
        return state if plan.hierarchy is None else begin_below(state, plan.hierarchy, num_trainable)

    def sent(self, state: ServerState, edge: int, version: int) -> Floats:
        """What some clients start from, shape (P,): the model of their edge, or one of the server's, as it arrives."""
        has_edges = self._plan.hierarchy is not None
        model = state.below[0][edge].parameters if has_edges else version_of(state, version)
        codec = self._plan.workload.compression.down
        if codec is None:
            return model
        keys = seeds.keys(self._plan.workload.seed, "sent", version, [edge])
        return codec.apply(as_tensor(model)[None], keys)[0].numpy()

    def step(self, state: ServerState, result: CohortResult, chosen: Chosen) -> ServerState:
        """The state after a round, whose sums may be none: then it was abandoned."""
        plan, num_trainable = self._plan, self._layout.num_trainable
        reports = {p.into: (plan.workload.ring.mean(p), p.weight) for p in result.partials if p.weight}
        if plan.hierarchy is not None and self._tree is not None:
            return climb(state, plan.hierarchy, self._tree, plan.strategy, reports, num_trainable)
        if not result.partials:
            return replace(state, round=state.round + 1)
        mean, _ = reports[0]
        if chosen.tier is not None:
            start = self.sent(state, *chosen.starts[0])
            return step_of_tier(state, plan.strategy, chosen.tier, start, mean, num_trainable)
        if chosen.mixing is not None:
            mean = mixed(state.parameters, self.sent(state, *chosen.starts[0]), mean, chosen.mixing)
        return advance(plan.strategy, state, mean, num_trainable)


def version_of(state: ServerState, version: int) -> Floats:
    """The parameters after an earlier round, or this one."""
    return state.parameters if version == state.round else state.past[version]
