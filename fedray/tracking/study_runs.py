"""The MLflow runs of a study; imported only when there is something to deliver."""

import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run
from mlflow.exceptions import MlflowException

from fedray.tracking import environment, metrics, runs
from fedray.tracking.folder import RunFolder
from fedray.tracking.server import connect, explained
from fedray.tracking.settings import TrackingConfig, artifact_location, store_uri
from fedray.tracking.study import RESULTS, StudyNotes, artifacts, save

_PARENT_TAG = "mlflow.parentRunId"


def deliver(folder: Path, settings: TrackingConfig, results: dict[str, Any], notes: StudyNotes) -> StudyNotes:
    """Delivers the parent, then the points, then the results; gives the new notes.

    Args:
        folder: The study folder, locked by the caller.
        settings: The study's tracking settings.
        results: What study.json holds.
        notes: What was delivered before.

    Raises:
        TrackingError: The server is away or refused.
    """
    uri = store_uri(settings, folder.parent)
    with explained(uri):
        return StudyDelivery(folder, settings, connect(uri, folder.parent), notes).all(results)


class StudyDelivery:
    """One delivery of one study.

    Args:
        folder: The study folder.
        settings: Its tracking settings.
        client: The server.
        notes: What was delivered before.
    """

    def __init__(self, folder: Path, settings: TrackingConfig, client: MlflowClient, notes: StudyNotes) -> None:
        self.folder, self.settings, self.client, self.notes = folder, settings, client, notes
        self.identity = RunFolder(folder).identity()

    def all(self, results: dict[str, Any]) -> StudyNotes:
        """Everything, in order; each answer is noted before the next call."""
        location = artifact_location(store_uri(self.settings, self.folder.parent), self.folder.parent)
        experiment = runs.open_experiment(self.client, self.settings.experiment, location)
        started = min(point["started"] for point in results["points"])
        tags = {"fedray.study_folder": str(self.folder), **self.settings.tags}
        parent = self._open(experiment, self.notes.parent, self.identity, results["name"], started, tags)
        if parent.info.run_id != self.notes.parent:
            self._note(parent=parent.info.run_id, points={}, results=None)
        for point in results["points"]:
            if point["name"] not in self.notes.points:
                self._point(experiment, parent.info.run_id, point)
        checksum = f"{zlib.crc32((self.folder / RESULTS).read_bytes()):08x}"
        if checksum != self.notes.results:
            self._results(parent, results)
            self._note(results=checksum)
        return self.notes

    def _note(self, **changes: Any) -> None:
        self.notes = self.notes.model_copy(update=changes)
        save(self.folder, self.notes)

    def _open(
        self,
        experiment: Experiment,
        run_id: str | None,
        identity: str,
        name: str,
        started: float,
        tags: Mapping[str, str],
    ) -> Run:
        """The run noted, or the one that the server knows by its tag, or a new one."""
        if run_id is not None:
            try:
                entry = self.client.get_run(run_id)
            except MlflowException as error:
                if not runs.is_missing(error):
                    raise
            else:
                if entry.info.lifecycle_stage == "active":
                    return entry
        found = runs.find_run(self.client, experiment, identity)
        if found:
            return found[0]
        all_tags = {**tags, runs.FOLDER_TAG: identity}
        return self.client.create_run(
            experiment.experiment_id, start_time=int(started * 1000), tags=all_tags, run_name=name
        )

    def _point(self, experiment: Experiment, parent: str, point: dict[str, Any]) -> None:
        """One child run: params, metrics at the time of the measurement, so that sending twice changes nothing."""
        tags = {
            _PARENT_TAG: parent,
            runs.DIGEST_TAG: point["digest"],
            "fedray.run_folder": str(self.folder / point["folder"]),
            "fedray.host": point["host"],
            "fedray.oversubscribed": str(point["oversubscribed"]).lower(),
        }
        identity = f"{self.identity}-{point['name']}"
        entry = self._open(experiment, None, identity, point["name"], point["started"], tags)
        run_id, present = entry.info.run_id, entry.data.params
        params = [Param(name, str(value)) for name, value in point["params"].items() if name not in present]
        self.client.log_batch(run_id, params=params, metrics=_metrics(point["metrics"], point["ended"]))
        self.client.set_terminated(run_id, status="FINISHED", end_time=int(point["ended"] * 1000))
        self._note(points={**self.notes.points, point["name"]: run_id})

    def _results(self, parent: Run, results: dict[str, Any]) -> None:
        run_id, ended = parent.info.run_id, max(point["ended"] for point in results["points"])
        model = results.get("model") or {}
        numbers = {f"model/{name}_s": entry["seconds"] for name, entry in model.get("coefficients", {}).items()}
        numbers |= {f"model/{name}": model[name] for name in ("serial_fraction", "largest_error") if model.get(name)}
        self.client.log_batch(run_id, metrics=_metrics({**numbers, "points": len(results["points"])}, ended))
        self.client.set_tag(run_id, "mlflow.note.content", "\n".join(f"- {line}" for line in results["sentences"]))
        with environment.told(self.settings.timeout_s * environment.UPLOAD_FACTOR):
            for path in artifacts(self.folder):
                self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, status="FINISHED", end_time=int((ended or time.time()) * 1000))


def _metrics(named: Mapping[str, Any], time_s: float) -> list[Metric]:
    return metrics.as_metrics(named, time_s, 0)
