"""tracking.json: what a server has acknowledged, written after every answer."""

from pathlib import Path

from pydantic import ValidationError

from fedray.config import Config
from fedray.files import write_text
from fedray.tracking.tail import Cursor

FILE = "tracking.json"


class Delivered(Config):
    """How far a run has been delivered."""

    uri: str
    """Server or database, without password."""
    experiment: str = ""
    """MLflow experiment."""
    run_id: str | None = None
    """MLflow run, once created or found."""
    in_doubt: bool = True
    """Whether rounds may have arrived that no answer told of: a batch was under way, or this file was lost."""
    rounds: Cursor = Cursor()
    """Last round delivered."""
    system: Cursor = Cursor()
    """Last sample of system metrics delivered."""
    status: str | None = None
    """MLflow status last sent."""
    ended: float | None = None
    """End of the run that `done` belongs to; a resumed run ends again."""
    done: tuple[str, ...] = ()
    """What is delivered besides metrics: params, summary, artifacts, model."""
    error: str | None = None
    """Why the last attempt failed; none: it did not."""


def load(folder: Path, uri: str) -> Delivered:
    """What was delivered to `uri`; nothing, when the file is missing, damaged or about another server."""
    try:
        delivered = Delivered.model_validate_json((folder / FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return Delivered(uri=uri)
    return delivered if delivered.uri == uri else Delivered(uri=uri)


def save(folder: Path, delivered: Delivered) -> None:
    """Replaces the file at once, so that a crash leaves the old one or the new one."""
    write_text(folder / FILE, delivered.model_dump_json(indent=2) + "\n")
