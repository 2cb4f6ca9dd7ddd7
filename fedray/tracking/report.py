"""What of a run is still missing in MLflow, seen from the run folder alone; needs no server and no mlflow."""

from dataclasses import dataclass

from fedray.tracking import state
from fedray.tracking.folder import RunFolder, RunStatus
from fedray.tracking.settings import store_uri, without_password
from fedray.tracking.state import Delivered
from fedray.tracking.tail import read_new

MLFLOW_STATUS = {"running": "RUNNING", "finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """How far a run is delivered.

    Attributes:
        uri: Server or database, without password.
        run_id: MLflow run, or None when it does not exist yet.
        rounds: Last round delivered; 0 when none is.
        missing_rounds: Rounds in the folder that MLflow does not have.
        missing: What else it does not have: "params", "system metrics", "summary", "artifacts", "model", "status".
        ended: Whether the run has ended.
        error: Why the last attempt failed, or None.
    """

    uri: str
    run_id: str | None
    rounds: int
    missing_rounds: int
    missing: tuple[str, ...]
    ended: bool
    error: str | None

    @property
    def complete(self) -> bool:
        """Whether MLflow has all that the folder holds so far."""
        return self.missing_rounds == 0 and not self.missing

    def __str__(self) -> str:
        if self.complete:
            return f"MLflow at {self.uri} has the run ({self.rounds} rounds, run {self.run_id})"
        rounds = (f"{self.missing_rounds} rounds",) if self.missing_rounds else ()
        because = f" ({self.error})" if self.error else ""
        return (
            f"MLflow at {self.uri} lacks {', '.join(rounds + self.missing)}{because}; run `fedray sync` to deliver it"
        )


def compare(run: RunFolder, uri: str | None = None, abandoned: bool = False) -> SyncReport:
    """Compares the run folder with what was acknowledged.

    Args:
        run: The run folder.
        uri: Server or database instead of the one in the run's config.
        abandoned: The run's processes are gone, though its status says that it runs.
    """
    status = run.status()
    delivered = state.load(run.path, without_password(store_uri(run.settings(uri), run.runs)))
    missing = [step for step in steps(run, status) if step not in done(delivered, status)]
    if read_new(run.path / "system.jsonl", "time", delivered.system, skip_damaged=True):
        missing.insert(0, "system metrics")
    if delivered.status != mlflow_status(status, abandoned):
        missing.append("status")
    return SyncReport(
        uri=delivered.uri,
        run_id=delivered.run_id,
        rounds=max(0, int(delivered.rounds.last)),
        missing_rounds=len(read_new(run.path / "rounds.jsonl", "round", delivered.rounds)),
        missing=tuple(missing),
        ended=status.is_over,
        error=delivered.error,
    )


def steps(run: RunFolder, status: RunStatus) -> list[str]:
    """What is to be delivered besides metrics and status, in this order."""
    if not status.is_over:
        return ["params"]
    return ["params", "summary", "artifacts", *(["model"] if run.has_model() else [])]


def done(delivered: Delivered, status: RunStatus) -> tuple[str, ...]:
    """The steps that are done; those at the end of a run are done again when it was resumed."""
    if status.is_over and delivered.ended == status.ended:
        return delivered.done
    return tuple(step for step in delivered.done if step == "params")


def mlflow_status(status: RunStatus, abandoned: bool) -> str:
    """MLflow's word for the run's state."""
    return MLFLOW_STATUS["interrupted" if abandoned and not status.is_over else status.state]
