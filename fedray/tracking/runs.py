"""Finding or creating the MLflow run of a run folder, and what it is started with."""

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from mlflow import MlflowClient
from mlflow.entities import Experiment, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from fedray.errors import TrackingError
from fedray.tracking.folder import RunFolder
from fedray.tracking.settings import TrackingConfig

FOLDER_TAG = "fedray.folder_id"
DIGEST_TAG = "fedray.digest"
PARAMS_PER_BATCH = 100
PARAM_LENGTH = 6000
KEY_LENGTH = 250
TAG_LENGTH = 5000
PRIVATE = ("tracking.uri",)
"""Settings that may hold a password."""


def is_missing(error: MlflowException) -> bool:
    """Whether the server says that it does not have what was asked for."""
    return error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


def open_experiment(client: MlflowClient, name: str, artifact_location: str | None) -> Experiment:
    """The experiment of that name, created when missing.

    Raises:
        TrackingError: It was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment '{name}' was deleted; restore it with `mlflow experiments restore` "
            "or change tracking.experiment"
        )
    return found


def find_run(client: MlflowClient, experiment: Experiment, identity: str) -> list[Run]:
    """The runs made for a run folder, oldest first; more than one only when an answer came too late."""
    return list(
        client.search_runs(
            [experiment.experiment_id], f"tags.`{FOLDER_TAG}` = '{identity}'", order_by=["attributes.start_time ASC"]
        )
    )


def create_run(client: MlflowClient, experiment: Experiment, run: RunFolder, settings: TrackingConfig) -> Run:
    """A new MLflow run that carries the folder's identity."""
    status = run.status()
    return client.create_run(
        experiment.experiment_id, start_time=int(status.started * 1000), tags=tags(run, settings), run_name=status.name
    )


def tags(run: RunFolder, settings: TrackingConfig) -> dict[str, str]:
    """The tags of the run: the user's, the folder, the parent run, and where it was computed."""
    environment = run.read_json("environment.json", optional=True)
    found = {FOLDER_TAG: run.identity(), "fedray.run_folder": str(run.path)}
    if settings.parent_run:
        found["mlflow.parentRunId"] = settings.parent_run
    if "command" in environment:
        found |= {"mlflow.source.name": _source(environment["command"]), "mlflow.source.type": "LOCAL"}
        found["fedray.command"] = _text(environment["command"])
    if environment.get("git_commit"):
        found["mlflow.source.git.commit"] = _text(environment["git_commit"])
    if "host" in environment:
        found["fedray.host"] = _text(environment["host"])
    versions = environment.get("packages")
    if isinstance(versions, Mapping):
        for name, version in cast(Mapping[str, Any], versions).items():
            found[f"fedray.version.{name}"] = _text(version)
    return {name: value[:TAG_LENGTH] for name, value in {**found, **settings.tags}.items()}


def missing_params(run: RunFolder, present: Mapping[str, str]) -> Iterator[list[Param]]:
    """The settings of the run that the server lacks, in batches; MLflow never changes a parameter it has."""
    named = {key[:KEY_LENGTH]: text[:PARAM_LENGTH] for key, text in flatten(run.config()) if key not in PRIVATE}
    wanted = [Param(key, text) for key, text in named.items() if key not in present]
    for start in range(0, len(wanted), PARAMS_PER_BATCH):
        yield wanted[start : start + PARAMS_PER_BATCH]


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `training.optimizer.lr` and text."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(cast(Mapping[str, Any], value), f"{name}.")
        else:
            yield name, _text(value)


def _source(command: list[str]) -> str:
    """The command without folders and options: MLflow's pages show of a source what follows its last slash."""
    return " ".join(Path(word).name for word in takewhile(lambda word: not word.startswith("-"), command))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in cast(list[object], value)):
        return " ".join(cast(list[str], value))
    return json.dumps(value, default=str)
