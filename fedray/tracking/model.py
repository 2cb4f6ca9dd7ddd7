"""The trained model as an MLflow model with signature and example, logged once and registered once."""

import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.types import Schema, TensorSpec

from fedray.messages import Array
from fedray.tracking import loader
from fedray.tracking.folder import MODEL_FILES, RunFolder
from fedray.tracking.runs import DIGEST_TAG, FOLDER_TAG

REQUIRED = ("fedray", "torch", "numpy", "safetensors")
EXAMPLES = 5
VERSIONS_TAG = "mlflow.modelVersions"
"""By which MLflow's page of a model shows where it is registered."""


def log_model(client: MlflowClient, run: RunFolder, entry: Run, digest: str, register_as: str | None) -> None:
    """Logs and registers the folder's model; what of this was done before is found and not done again.

    Args:
        client: The server.
        run: A run folder with a model.
        entry: Its MLflow run.
        digest: Digest of the parameters: a resumed run that trained further logs another model.
        register_as: Name in the registry, or None.
    """
    logged = _find_or_create(client, entry, {FOLDER_TAG: run.identity(), DIGEST_TAG: digest})
    if logged.status != "READY":
        with tempfile.TemporaryDirectory() as folder:
            _write(run, logged, Path(folder))
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "mlflow"))
        client.finalize_logged_model(logged.model_id, "READY")
    outputs = entry.outputs.model_outputs if entry.outputs else []
    if logged.model_id not in [output.model_id for output in outputs]:
        client.log_outputs(entry.info.run_id, [LoggedModelOutput(logged.model_id, step=run.status().round)])
    if register_as:
        _register(client, register_as, logged, entry.info.run_id)


def _find_or_create(client: MlflowClient, entry: Run, tags: dict[str, str]) -> LoggedModel:
    wanted = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    experiment = entry.info.experiment_id
    found = client.search_logged_models([experiment], wanted, order_by=[{"field_name": "creation_timestamp"}])
    if found:
        return found[0]
    return client.create_logged_model(experiment, "model", entry.info.run_id, tags, model_type="fedray")


def _write(run: RunFolder, logged: LoggedModel, folder: Path) -> None:
    """Writes the MLflow model; requirements are given, or mlflow would look for them on the network."""
    from mlflow.pyfunc import save_model

    data = folder / "model"
    data.mkdir()
    for name in MODEL_FILES:
        shutil.copy2(run.path / name, data / name)
    extra: dict[str, Any] = _example(run.path / "input_example.npz", data)
    save_model(
        str(folder / "mlflow"),
        loader_module=loader.__name__,
        data_path=str(data),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIRED],
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=logged.source_run_id,
            model_id=logged.model_id,
        ),
        **extra,
    )


def _example(path: Path, data: Path) -> dict[str, Any]:
    """Example and signature, taken from what the model really answers; nothing without an example."""
    if not path.is_file():
        return {}
    with np.load(path) as file:
        x: Array = file["x"][:EXAMPLES].astype(np.float32)
    y = loader._load_pyfunc(str(data)).predict(x)  # pyright: ignore[reportPrivateUsage]
    return {"input_example": x, "signature": ModelSignature(inputs=_schema(x), outputs=_schema(y))}


def _schema(values: Array) -> Schema:
    return Schema([TensorSpec(values.dtype, (-1, *values.shape[1:]))])


def _register(client: MlflowClient, name: str, logged: LoggedModel, run_id: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    source = _source(client, logged)
    versions = client.search_model_versions(f"name = '{name}'")
    version = next((v for v in versions if v.source == source), None)
    if version is None:
        version = client.create_model_version(name, source, run_id, model_id=logged.model_id)
    noted = json.dumps([{"name": name, "version": version.version}])
    if logged.tags.get(VERSIONS_TAG) != noted:
        client.set_logged_model_tags(logged.model_id, {VERSIONS_TAG: noted})


def _source(client: MlflowClient, logged: LoggedModel) -> str:
    """Where a version's files are: a database takes no model's id, it would ask mlflow's global server for it."""
    is_server = urlsplit(client.tracking_uri).scheme in ("http", "https")
    return f"models:/{logged.model_id}" if is_server else logged.artifact_location
