"""`sync`: deliver to MLflow exactly what it lacks of a run; as often as one likes."""

from pathlib import Path

from fedray.errors import UserError
from fedray.tracking import environment, report, state
from fedray.tracking.folder import RunFolder
from fedray.tracking.lock import locked
from fedray.tracking.report import SyncReport


def sync(folder: Path, *, uri: str | None = None, abandoned: bool = False) -> SyncReport:
    """Delivers what the run folder holds and MLflow lacks, and says what is still missing.

    The run folder is the record: nothing in it is changed but tracking's own notes. mlflow is imported only when
    there is something to deliver, and under the settings that keep it from waiting long or calling home.

    Args:
        folder: The run folder, of a run that goes on or has ended.
        uri: Server or database instead of the one in the run's config.
        abandoned: The run's processes are gone, though its status says that it runs: MLflow shows it as killed.

    Raises:
        RunFolderError: The folder is damaged or is not a run folder.
        TrackingError: The server is away or refused; the next sync goes on from there.
    """
    run = RunFolder(folder)
    run.status()
    with locked(run.path):
        found = report.compare(run, uri, abandoned)
        if found.complete:
            return found
        settings = run.settings(uri)
        with environment.told(settings.timeout_s):
            from fedray.tracking.deliver import deliver

            try:
                deliver(run, settings, abandoned)
            except UserError as error:
                state.save(run.path, state.load(run.path, found.uri).model_copy(update={"error": str(error)}))
                raise
        return report.compare(run, uri, abandoned)
