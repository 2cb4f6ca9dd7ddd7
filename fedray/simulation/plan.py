"""Everything the round loop needs, checked and put together; nothing in it says where clients run."""

from dataclasses import dataclass

from fedray.client.workload import Workload
from fedray.population.devices import DevicesConfig
from fedray.server.hierarchy import Hierarchy
from fedray.server.protocols import Protocol
from fedray.server.sampling import CohortConfig
from fedray.server.strategy import Strategy
from fedray.server.synchronous import Synchronous
from fedray.simulation.faults.plan import NO_FAULTS, FaultPlan
from fedray.simulation.settings import BaselinesConfig, CheckpointConfig, EvaluationConfig, FailureConfig

_PROTOCOL = Synchronous()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One experiment.

    Attributes:
        name: Name of the experiment.
        rounds: Rounds of training.
        workload: The client side.
        num_clients: Size of the population.
        cohort: Who takes part.
        cohort_size: Clients in a round.
        block_size: Clients in a block.
        strategy: The server side.
        evaluation: When and on what the model is evaluated.
        checkpoint: When the state is saved.
        failures: What follows when a client gives no update.
        baselines: What the federation is compared with.
        faults: What goes wrong on purpose.
        num_actors: Client actors for which the faults were planned.
        devices: The devices that clients are, or None: then there is no virtual time.
        protocol: How rounds follow in virtual time.
        hierarchy: The servers between the clients and the cloud, or None.
    """

    name: str
    rounds: int
    workload: Workload
    num_clients: int
    cohort: CohortConfig
    cohort_size: int
    block_size: int
    strategy: Strategy
    evaluation: EvaluationConfig
    checkpoint: CheckpointConfig
    failures: FailureConfig
    baselines: BaselinesConfig
    faults: FaultPlan = NO_FAULTS
    num_actors: int = 1
    devices: DevicesConfig | None = None
    protocol: Protocol = _PROTOCOL
    hierarchy: Hierarchy | None = None
