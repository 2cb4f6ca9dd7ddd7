"""The root of all settings, and the one place where an experiment is put together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import yaml
from pydantic import Field, model_validator
from torch import nn

from fedray.aggregation.ring import Ring
from fedray.client.device import chosen, repeatable
from fedray.client.engines import choose
from fedray.client.training import TrainingConfig
from fedray.client.trial import failed_step
from fedray.client.vectorised import rows_of
from fedray.client.workload import Workload
from fedray.compression.settings import CompressionConfig
from fedray.config import Config, parse, users_own
from fedray.data.base import FederatedData
from fedray.data.fleet import Fleet
from fedray.data.holdout import Holdout
from fedray.data.table import AnyData, AnyPartition
from fedray.data.table import load as load_data
from fedray.errors import ConfigError, ModelError
from fedray.messages import Shard
from fedray.models.base import Layout, check
from fedray.models.mlp import Mlp
from fedray.models.table import AnyModel, build
from fedray.models.tasks import AnyTask, Task, make_task
from fedray.models.threads import threads
from fedray.population.devices import DevicesConfig
from fedray.runtime.placement import NO_FORK, ActorsConfig
from fedray.server.hierarchy import Hierarchy
from fedray.server.protocols import AnyProtocol
from fedray.server.sampling import CohortConfig
from fedray.server.strategies import AnyStrategy, FedAvg
from fedray.server.strategy import ImportedStrategy, Strategy
from fedray.server.synchronous import Synchronous
from fedray.simulation.faults import expand as faults
from fedray.simulation.faults.settings import AnyFault
from fedray.simulation.plan import Plan
from fedray.simulation.rounds import Rounds
from fedray.simulation.settings import (
    BaselinesConfig,
    BlockConfig,
    CheckpointConfig,
    EvaluationConfig,
    FailureConfig,
    RingConfig,
)
from fedray.tracking.settings import TrackingConfig


class Experiment(Config):
    """One experiment: everything that decides its result, and where it runs and is recorded.

    `actors`, `checkpoint`, `tracking`, `runs` and `name` never change a result; everything else may.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = "experiment"
    """Name of the experiment: letters, digits, dot, dash and underscore."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Everything random follows from it."""
    rounds: Annotated[int, Field(ge=1)] = 10
    """Rounds of training."""
    data: AnyData = Fleet()
    """Where the examples come from."""
    partition: AnyPartition | None = None
    """Who owns which examples; null: the source's own clients."""
    model: AnyModel = Mlp()
    """What is trained."""
    task: AnyTask | None = None
    """Loss and metrics; null: as the data says."""
    training: TrainingConfig = TrainingConfig()
    """What each client does in a round."""
    compression: CompressionConfig = CompressionConfig()
    """What is done to updates and models on their way."""
    cohort: CohortConfig = CohortConfig()
    """Who takes part in a round."""
    devices: DevicesConfig | None = None
    """The devices that clients are: slow or fast, there or away; null: no device and no virtual time is simulated."""
    protocol: AnyProtocol | None = None
    """How rounds follow in virtual time; null: synchronous."""
    hierarchy: Hierarchy | None = None
    """Servers between the clients and the cloud; null: clients train for the cloud itself."""
    strategy: AnyStrategy = FedAvg()
    """What the server makes of the updates; with a hierarchy, what the cloud makes of the reports."""
    blocks: BlockConfig = BlockConfig()
    """How a cohort is cut up."""
    ring: RingConfig = RingConfig()
    """How updates become integers."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """When and on what the model is evaluated."""
    baselines: BaselinesConfig = BaselinesConfig()
    """What the federation is compared with."""
    failures: FailureConfig = FailureConfig()
    """What follows when a client gives no update."""
    faults: tuple[AnyFault, ...] = ()
    """What goes wrong on purpose."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When the state is saved."""
    threads: Annotated[int, Field(ge=1)] = 1
    """torch threads of one actor; more can change the last bits of a result."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where clients train and evaluate; auto: cuda where fedray is started on a machine with a GPU. It is a part of the
    experiment, since another device gives other bits; the run folder has what auto became."""
    actors: ActorsConfig = ActorsConfig()
    """Where clients run."""
    tracking: TrackingConfig = TrackingConfig()
    """MLflow."""
    runs: str = "runs"
    """Folder in which run folders are made."""

    @property
    def client_strategy(self) -> Strategy:
        """The strategy of the servers for which clients train."""
        return self.strategy if self.hierarchy is None else self.hierarchy.levels[0].strategy

    @model_validator(mode="after")
    def _one_proximal_term(self) -> "Experiment":
        if self.training.proximal and self.client_strategy.name == "fedprox":
            raise ValueError(
                "training.proximal and strategy fedprox both set the proximal term; remove training.proximal"
            )
        return self

    @model_validator(mode="after")
    def _devices_of_protocol(self) -> "Experiment":
        if self.protocol is not None and self.devices is None:
            raise ValueError(
                "protocol is for virtual time, but no devices are simulated; set devices, or remove protocol"
            )
        if self.devices is not None and self.cohort.sampling.name == "without_replacement":
            raise ValueError(
                "cohort.sampling without_replacement has a fixed order, but devices are not always there; set "
                "cohort.sampling to uniform or weighted"
            )
        if self.protocol is None or self.protocol.name == "synchronous":
            return self
        if self.protocol.name == "fedasync" and self.cohort.size != 1:
            raise ValueError("fedasync takes a step for each update; set cohort.size to 1")
        if self.cohort.sampling.name != "uniform":
            raise ValueError(
                f"cohort.sampling is {self.cohort.sampling.name}, but {self.protocol.name} asks in random order; set "
                "cohort.sampling to uniform"
            )
        return self

    @model_validator(mode="after")
    def _fits_hierarchy(self) -> "Experiment":
        if self.hierarchy is None:
            return self
        if self.protocol is not None and self.protocol.name != "synchronous":
            raise ValueError(
                f"protocol {self.protocol.name} has one server, but hierarchy has several; remove one of the two"
            )
        period = self.hierarchy.periods[-1]
        if self.rounds % period:
            raise ValueError(
                f"rounds is {self.rounds}, but reports reach the cloud after every {period} rounds; "
                f"set rounds to a multiple of {period}"
            )
        for name, strategy in (
            *((f"level {level.name}", level.strategy) for level in self.hierarchy.levels[1:]),
            ("the cloud", self.strategy),
        ):
            if strategy.name == "fedprox":
                raise ValueError(
                    f"strategy fedprox changes what clients train, but {name} has none; set it for level "
                    f"{self.hierarchy.levels[0].name}"
                )
        return self

    @model_validator(mode="after")
    def _device_of_actors(self) -> "Experiment":
        if self.device == "cpu" and self.actors.gpus_per_actor is not None:
            raise ValueError(
                f"actors.gpus_per_actor is {self.actors.gpus_per_actor:g}, but device is cpu; set device to cuda, or "
                "remove actors.gpus_per_actor"
            )
        if self.device == "cuda" and self.actors.fork is True:
            raise ValueError(f"actors.fork is true and device is cuda, but {NO_FORK}; set actors.fork to auto")
        return self


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads an experiment file.

    Args:
        path: A YAML file.
        overrides: Settings that replace those of the file: "training.optimizer.lr=0.05".

    Raises:
        ConfigError: The file is missing or is no YAML, or a setting is wrong.
    """
    path = Path(path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give an experiment file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict | None):
        raise ConfigError(f"{path} holds {type(settings).__name__}, but an experiment is a mapping of settings")
    return parse(Experiment, override({"name": _name(path), **(settings or {})}, overrides), str(path))


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-")[:100] or "experiment"


def override(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Replaces settings.

    Args:
        settings: Nested mappings.
        overrides: "key.sub=value", the value in YAML.

    Raises:
        ConfigError: An override has no equals sign, or its value is no YAML.
    """
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(settings)))
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {text!r} has no '='; write -s training.epochs=2")
        place, *path = parts = key.strip().split(".")
        target = result
        for depth, part in enumerate(path, start=1):
            inner = target.get(place) if place in target else _default_name(parts[:depth])
            if isinstance(inner, str):
                inner = {"name": inner}  # `model: mlp` is short for `model: {name: mlp}`
            target[place] = dict(inner) if isinstance(inner, Mapping) else {}
            target, place = target[place], part
        try:
            target[place] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"override {text!r} has a value that is no YAML; quote it") from None
    return result


def _default_name(path: Sequence[str]) -> str | None:
    """The alternative that a setting chooses by default: "sgd" for training.optimizer."""
    value: Any = Experiment()
    for part in path:
        value = getattr(value, part, None)
    return getattr(value, "name", None) if isinstance(value, Config) else None


def settled(experiment: Experiment) -> Experiment:
    """The experiment with a device that this machine has in place of auto.

    Raises:
        CapacityError: device is cuda, and there is none here.
    """
    device = chosen(experiment.device)
    actors = experiment.actors.model_copy(update={"gpus_per_actor": None}) if device == "cpu" else experiment.actors
    return experiment.model_copy(update={"device": device, "actors": actors})


def build_data(experiment: Experiment) -> FederatedData:
    """The population's data.

    Raises:
        DataError: It cannot be read or cut up.
        ConfigError: Source and partition do not go together.
    """
    return load_data(experiment.data, experiment.partition, experiment.seed)


def build_strategy(experiment: Experiment) -> Strategy:
    """The strategy; a user's own is imported."""
    strategy = experiment.strategy
    return strategy.resolve() if isinstance(strategy, ImportedStrategy) else strategy


def build_plan(experiment: Experiment, data: FederatedData) -> Plan:
    """Puts an experiment together and checks it against its data, before anything starts.

    Raises:
        ModelError: The model does not fit the data.
        ConfigError: A setting does not fit the data.
    """
    cohort_size = experiment.cohort.resolve(data.num_clients)
    strategy = build_strategy(experiment)
    training = experiment.training
    proximal = experiment.client_strategy.client_proximal
    if proximal:
        training = training.model_copy(update={"proximal": proximal})
    if (experiment.baselines.central or experiment.baselines.local) and data.test() is None:
        raise ConfigError(f"baselines need a test set, but data '{experiment.data.name}' has none; remove baselines")
    _check_enough(experiment.failures, cohort_size)
    device, task = chosen(experiment.device), make_task(experiment.task, data.spec)
    holdout = Holdout(data, experiment.evaluation.holdout, experiment.seed)
    with threads(experiment.threads), repeatable(device) as where:
        module = _checked_module(experiment, data, training, task, where)
        engine = choose(module, training, holdout.sizes, data.spec, where)
    workload = Workload(
        model=experiment.model,
        spec=data.spec,
        task=task,
        training=training,
        engine=engine,
        ring=Ring(fraction_bits=experiment.ring.fraction_bits, cohort=cohort_size),
        seed=experiment.seed,
        holdout=experiment.evaluation.holdout,
        evaluation_batch=experiment.evaluation.batch_size,
        num_threads=experiment.threads,
        device=device,
        compression=experiment.compression,
    )
    layout = Layout(module)
    experiment.compression.check(layout.num_parameters, min(data.num_clients, experiment.rounds * cohort_size))
    plan = Plan(
        name=experiment.name,
        rounds=experiment.rounds,
        workload=workload,
        num_clients=data.num_clients,
        cohort=experiment.cohort,
        cohort_size=cohort_size,
        block_size=experiment.blocks.resolve(
            cohort_size, engine.name, training.passes(float(np.mean(holdout.sizes))), rows_of(module, where) or 1
        ),
        strategy=strategy,
        evaluation=experiment.evaluation,
        checkpoint=experiment.checkpoint,
        failures=experiment.failures,
        baselines=experiment.baselines,
        devices=experiment.devices,
        protocol=experiment.protocol or Synchronous(),
        hierarchy=experiment.hierarchy,
    )
    if plan.devices is not None or plan.hierarchy is not None:
        Rounds(plan, holdout.sizes, layout.num_parameters)  # refuses devices or servers that do not fit
    return with_actors(experiment, plan, _num_actors(experiment.actors, data.num_clients))


def with_actors(experiment: Experiment, plan: Plan, num_actors: int) -> Plan:
    """The plan with the faults that are due with so many client actors.

    Raises:
        ConfigError: A table of faults is wrong, or a fault names a client that is not there.
    """
    planned = faults.expand(experiment.faults, experiment.seed, experiment.rounds, num_actors)
    faults.check(planned, plan.num_clients)
    return replace(plan, faults=planned, num_actors=num_actors)


def _num_actors(actors: ActorsConfig, num_clients: int) -> int:
    """The client actors that the settings name, or one: what a placement would make of auto is not known yet."""
    if actors.num_actors is not None:
        return min(actors.num_actors, num_clients)
    return 1 if actors.clients_per_actor == "auto" else -(-num_clients // actors.clients_per_actor)


def _check_enough(failures: FailureConfig, cohort_size: int) -> None:
    needed = failures.min_clients
    if isinstance(needed, int) and needed > cohort_size:
        raise ConfigError(
            f"failures.min_clients is {needed}, but a cohort has {cohort_size} clients; "
            f"set failures.min_clients to at most {cohort_size}"
        )


def _checked_module(
    experiment: Experiment, data: FederatedData, training: TrainingConfig, task: Task, device: torch.device
) -> nn.Module:
    """The model, after it has taken two real examples, and on a GPU has trained on them."""
    module = build(experiment.model, data.spec, experiment.seed)
    Layout(module)  # refuses lazy layers, and tensors that are not float32
    with users_own("the shard of client 0", "data.name"):
        shard = data.shard(0)
    examples = np.resize(shard.x[:2], (2, *shard.x.shape[1:]))
    check(module, data.spec, torch.from_numpy(examples))
    if device.type != "cpu":
        two = Shard(x=examples, y=np.resize(shard.y[:2], 2))
        reason = failed_step(module, training, task, two, device)
        if reason is not None:
            raise ModelError(f"the model cannot train on {device.type} ({reason}); set device to cpu, or change model")
    return module


def num_parameters(plan: Plan) -> int:
    """Length of the flat parameter vector, P."""
    return Layout(build(plan.workload.model, plan.workload.spec, plan.workload.seed)).num_parameters
