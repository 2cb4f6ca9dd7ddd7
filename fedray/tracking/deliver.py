"""Delivering a run folder to MLflow: what is missing, in order, each answer noted before the next call."""

import time
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fedray.errors import TrackingError
from fedray.tracking import environment, metrics, report, runs, state
from fedray.tracking.folder import RunFolder
from fedray.tracking.preview import preview
from fedray.tracking.server import connect, explained
from fedray.tracking.settings import TrackingConfig, artifact_location, store_uri, without_password
from fedray.tracking.tail import read_new

UPLOADS = ("artifacts", "model")


def deliver(run: RunFolder, settings: TrackingConfig, abandoned: bool = False) -> None:
    """Delivers what the folder holds and the server lacks.

    Args:
        run: The run folder, locked by the caller.
        settings: The run's tracking settings.
        abandoned: The run's processes are gone, though its status says that it runs.

    Raises:
        TrackingError: The server is away or refused; what it acknowledged before is noted.
    """
    uri = store_uri(settings, run.runs)
    with explained(uri):
        Delivery(run, settings, connect(uri, run.runs), without_password(uri)).all(abandoned)


class Delivery:
    """One delivery of one run.

    Args:
        run: The run folder.
        settings: Its tracking settings.
        client: The server.
        uri: The server's address as it is noted.
    """

    def __init__(self, run: RunFolder, settings: TrackingConfig, client: MlflowClient, uri: str) -> None:
        self.run, self.settings, self.client = run, settings, client
        self.delivered = state.load(run.path, uri)
        self.status = run.status()  # read first, so that an ended run's files are read complete

    def all(self, abandoned: bool) -> None:
        """Everything, in order."""
        entry = self._open()
        self._note(done=report.done(self.delivered, self.status), ended=self.status.ended, error=None)
        self._step("params", entry)
        self._rounds(entry.info.run_id)
        self._system(entry.info.run_id)
        for step in report.steps(self.run, self.status):
            self._step(step, entry)
        self._status(entry, abandoned)

    def _note(self, **changes: Any) -> None:
        new = self.delivered.model_copy(update=changes)
        if new != self.delivered:
            state.save(self.run.path, new)
            self.delivered = new

    def _open(self) -> Run:
        """The run noted, or the one the server knows by the folder's identity, or a new one."""
        if self.delivered.run_id:
            entry = self._get(self.delivered.run_id)
            if entry is not None:
                return entry
            self.delivered = state.Delivered(uri=self.delivered.uri)
        location = artifact_location(store_uri(self.settings, self.run.runs), self.run.runs)
        experiment = runs.open_experiment(self.client, self.settings.experiment, location)
        found = runs.find_run(self.client, experiment, self.run.identity())
        entry = found[0] if found else runs.create_run(self.client, experiment, self.run, self.settings)
        self._note(experiment=experiment.name, run_id=entry.info.run_id, in_doubt=bool(found))
        return entry

    def _get(self, run_id: str) -> Run | None:
        """The run, or None where the server has lost it."""
        try:
            entry = self.client.get_run(run_id)
        except MlflowException as error:
            if runs.is_missing(error):
                return None
            raise
        if entry.info.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow run {run_id} of {self.run.path} was deleted; restore it with `mlflow runs restore`, "
                f"or delete {self.run.path / 'folder_id'} and {state.FILE} to deliver a new one"
            )
        return entry

    def _rounds(self, run_id: str) -> None:
        records = read_new(self.run.path / "rounds.jsonl", "round", self.delivered.rounds)
        if records and self.delivered.in_doubt:
            arrived = metrics.last_round(self.client, run_id, records)
            last = max(self.delivered.rounds.last, arrived)
            self._note(in_doubt=False, rounds=self.delivered.rounds.model_copy(update={"last": last}))
            records = [r for r in records if r.cursor.last > last]
        for batch in metrics.batches(records, metrics.of_round):
            self._note(in_doubt=True)
            self.client.log_batch(run_id, metrics=batch.metrics)
            self._note(in_doubt=False, **({"rounds": batch.cursor} if batch.cursor else {}))

    def _system(self, run_id: str) -> None:
        """Samples are never rewritten: a batch sent twice is the same rows."""
        path = self.run.path / "system.jsonl"
        records = read_new(path, "time", self.delivered.system, skip_damaged=True)
        for batch in metrics.batches(records, metrics.of_system):
            self.client.log_batch(run_id, metrics=batch.metrics)
            if batch.cursor:
                self._note(system=batch.cursor)

    def _step(self, step: str, entry: Run) -> None:
        if step in self.delivered.done:
            return
        steps = {"params": self._params, "summary": self._summary, "artifacts": self._artifacts, "model": self._model}
        timeout_s = self.settings.timeout_s * (environment.UPLOAD_FACTOR if step in UPLOADS else 1)
        with environment.told(timeout_s):
            steps[step](entry)
        self._note(done=(*self.delivered.done, step))

    def _params(self, entry: Run) -> None:
        for batch in runs.missing_params(self.run, entry.data.params):
            self.client.log_batch(entry.info.run_id, params=batch)

    def _summary(self, entry: Run) -> None:
        """The results as `final/...`, `baseline/...` and `summary/...`, side by side in the table of runs."""
        summary = self.run.read_json("summary.json", optional=True)
        named = dict(metrics.numbers(summary.pop("metrics", None) or {}, "final"))
        named |= dict(metrics.numbers(summary.pop("baselines", None) or {}, "baseline"))
        named |= dict(metrics.numbers(summary, "summary"))
        found = metrics.as_metrics(named, self.status.ended or self.status.started, self.status.round)
        for start in range(0, len(found), metrics.METRICS_PER_BATCH):
            self.client.log_batch(entry.info.run_id, metrics=found[start : start + metrics.METRICS_PER_BATCH])
        if "digest" in summary:
            self.client.set_tag(entry.info.run_id, runs.DIGEST_TAG, str(summary["digest"]))

    def _artifacts(self, entry: Run) -> None:
        for path in self.run.artifacts():
            self.client.log_artifact(entry.info.run_id, str(path))
            with preview(path) as table:
                if table is not None:
                    self.client.log_artifact(entry.info.run_id, str(table))

    def _model(self, entry: Run) -> None:
        from fedray.tracking.model import log_model  # here, because torch is not needed while a run goes on

        digest = str(self.run.read_json("summary.json", optional=True).get("digest", ""))
        log_model(self.client, self.run, entry, digest, self.settings.register_model)

    def _status(self, entry: Run, abandoned: bool) -> None:
        wanted = report.mlflow_status(self.status, abandoned)
        if wanted == self.delivered.status:
            return
        if wanted == "RUNNING":
            self.client.update_run(entry.info.run_id, status=wanted)
        else:
            self._delete_twins(entry)
            ended_s = self.status.ended or time.time()
            self.client.set_terminated(entry.info.run_id, status=wanted, end_time=int(ended_s * 1000))
        self._note(status=wanted)

    def _delete_twins(self, entry: Run) -> None:
        """Deletes empty runs of this folder: made by calls that a slow server carried out after they were given up."""
        experiment = self.client.get_experiment(entry.info.experiment_id)
        for twin in runs.find_run(self.client, experiment, self.run.identity()):
            if twin.info.run_id != entry.info.run_id and not twin.data.metrics and not twin.data.params:
                self.client.delete_run(twin.info.run_id)
