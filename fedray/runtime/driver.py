"""The driver actor: owns the round loop and the server state."""

import os
from pathlib import Path

import torch

from fedray.data.base import FederatedData
from fedray.errors import ClusterError
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.runtime.answers import RayRef, get
from fedray.runtime.backend import RayBackend
from fedray.runtime.lost import ActorDied
from fedray.runtime.placement import Placement
from fedray.runtime.pool import Pool
from fedray.runtime.run_faults import RunFaults
from fedray.simulation.plan import Plan
from fedray.simulation.run import execute
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Event, Watch


class Driver:
    """Runs an experiment on client actors. A plain class; made an actor in `cluster.py`, with threads for its methods.

    Args:
        plan: The experiment.
        placement: How many client actors.
        start_timeout_s: How long they may take to start.
        folder: The run folder.
    """

    def __init__(self, plan: Plan, placement: Placement, start_timeout_s: float, folder: str) -> None:
        torch.set_num_threads(plan.workload.num_threads)
        self._plan, self._placement, self._start_timeout_s = plan, placement, start_timeout_s
        self._folder = RunFolder(Path(folder))
        self._watch = Watch()

    def run(self, data_ref: list[RayRef]) -> None:
        """The whole run.

        Args:
            data_ref: Reference of the population's data, in a list so that Ray hands over the reference itself.

        Raises:
            FedrayError: The run cannot go on.
        """
        data = self._fetch(data_ref[0])
        workload = self._plan.workload
        module = build(workload.model, workload.spec, workload.seed)

        def backend() -> RayBackend:
            pool = Pool(
                placement=self._placement,
                workload=workload,
                data=data_ref[0],
                retries=self._plan.failures.retries,
                start_timeout_s=self._start_timeout_s,
                watch=self._watch,
            )
            return RayBackend(pool, Layout(module).num_parameters, self._plan.failures)

        faults = RunFaults(self._folder.path, self._watch)
        execute(
            plan=self._plan,
            data=data,
            backend=backend,
            folder=self._folder,
            watch=self._watch,
            inject=faults.carry_out,
        )

    def _fetch(self, ref: RayRef) -> FederatedData:
        try:
            return get(ref, self._start_timeout_s)
        except ActorDied as error:
            raise ClusterError(
                f"the data did not reach the driver ({error}); resume, or raise actors.start_timeout_s"
            ) from error

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def poll(self) -> list[Event]:
        """Events since the last call."""
        return self._watch.take()

    def stop(self) -> None:
        """Asks the run to stop."""
        self._watch.stop()
