"""A whole study: checks, measurements, results, delivery."""

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fedray import experiment as experiments
from fedray.errors import ConfigError
from fedray.experiment import Experiment
from fedray.files import write_json, write_text
from fedray.runtime.placement import place
from fedray.scaling import figures, results, study, tables
from fedray.scaling.analysis import Analysis, analyse
from fedray.scaling.folder import RESULTS, StudyFolder
from fedray.scaling.forecast import BlocksOf
from fedray.scaling.grid import setups
from fedray.scaling.measure import Runner, Session
from fedray.scaling.measurement import Measurement
from fedray.scaling.request import Request, Target
from fedray.scaling.stop import Stop
from fedray.simulation.plan import Plan

Tell = Callable[[str], None]


def measure_all(experiment: Experiment, request: Request, path: Path, tell: Tell, on_point: study.OnPoint) -> bool:
    """Measures what is missing of a study; makes its folder when all checks have passed.

    Args:
        experiment: What each point runs.
        request: The grid.
        path: The study folder.
        tell: Shown what happens.
        on_point: Told of each point.

    Returns:
        Whether all points are measured; not when the study was interrupted.

    Raises:
        UserError: The study cannot be run; nothing is left behind then.
        DigestMismatch: The same cohort gave different parameters.
    """
    plan = check(experiment, request)
    with ExitStack() as stack:
        session = stack.enter_context(_cluster(experiment, request, plan))
        stop = Stop()
        stack.enter_context(stop.on_signals())
        was_there = path.exists()
        folder = StudyFolder.create(path, request, experiment, plan.workload.engine.name)
        stack.enter_context(folder.lock())
        tell(f"study folder {path}")
        runner = Runner(experiment, request.rounds, path, tell, session, stop)
        try:
            return study.run(folder, runner, on_point, stop)
        except Exception:
            if not was_there and not folder.measurements():
                shutil.rmtree(path, ignore_errors=True)
            raise


def check(experiment: Experiment, request: Request) -> Plan:
    """Checks the study against its data, before anything starts.

    Returns:
        The plan of the largest cohort.

    Raises:
        ConfigError: The population is too small, or the backend has no actors.
        UserError: The experiment cannot be run.
    """
    grid = setups(request)
    if experiment.actors.backend == "serial" and (request.actors, request.nodes) != ((1,), (1,)):
        raise ConfigError("actors.backend is serial, which has no actors to vary; set it to ray, or give --actors 1")
    if max(request.nodes) > 1 and experiment.actors.address is not None:
        raise ConfigError("--nodes starts Ray nodes on this machine; leave actors.address unset, or --nodes out")
    data, largest = experiments.build_data(experiment), max(setup.clients for setup in grid)
    if largest > data.num_clients:
        raise ConfigError(
            f"the largest cohort of the study has {largest:,} clients, but the population only {data.num_clients:,}; "
            "lower --clients, or raise the population (for a fleet: -s data.machines=...)"
        )
    cohort = experiment.cohort.model_copy(update={"size": largest, "fraction": None})
    return experiments.build_plan(experiment.model_copy(update={"cohort": cohort}), data)


def conclude(folder: StudyFolder, wanted: Sequence[Target], with_oversubscribed: bool) -> Analysis:
    """Analyses a study whose points are all measured, and writes its results.

    Args:
        folder: The study.
        wanted: What to predict; nothing: a default.
        with_oversubscribed: Whether setups with more actors than cores are fitted too.

    Raises:
        DigestMismatch: The same cohort gave different parameters.
    """
    experiment, measurements = folder.experiment(), folder.measurements()
    analysis = analyse(
        experiment.name,
        measurements,
        _blocks_of(experiment, folder.engine(), measurements),
        wanted,
        with_oversubscribed,
        folder.request().seed,
    )
    figures.draw_all(analysis, folder.path)
    write_text(folder.path / "table.md", tables.markdown(analysis))
    write_json(folder.path / RESULTS, results.to_dict(analysis))
    return analysis


def _blocks_of(experiment: Experiment, engine: Any, measurements: Sequence[Measurement]) -> BlocksOf:
    rounds = [cost for measurement in measurements for cost in measurement.rounds]
    examples = sum(cost.examples for cost in rounds) / max(1, sum(cost.cohort for cost in rounds))
    passes = experiment.training.passes(max(1.0, examples))
    return lambda clients: -(-clients // experiment.blocks.resolve(clients, engine, passes))


@contextmanager
def _cluster(experiment: Experiment, request: Request, plan: Plan) -> Generator[Session]:
    """One Ray for all points, so that a point does not wait for its start; local nodes are started for each point."""
    if experiment.actors.backend == "serial":
        yield lambda nodes: nullcontext()
        return
    if request.nodes != (1,):
        from fedray.runtime.local_nodes import local_nodes

        yield lambda nodes: local_nodes(nodes, experiment.actors.num_cpus)
        return
    from fedray.runtime import cluster

    with cluster.connect(experiment.actors) as shape:
        most = experiment.actors.model_copy(update={"num_actors": max(request.actors), "clients_per_actor": "auto"})
        place(most, plan.num_clients, experiments.num_parameters(plan), shape, plan.workload.device == "cuda")
        yield lambda nodes: nullcontext()
