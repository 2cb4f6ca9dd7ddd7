"""Delivering a scalability study: one parent run, and a child run for each point.

It reads the study folder only, and notes in `tracking.json` what the server acknowledged, so that a delivery goes on
where the last one stopped and changes nothing when all is there. Runs are known again by a tag, should the notes be
lost.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fedray.config import Config, parse
from fedray.errors import RunFolderError
from fedray.files import write_text
from fedray.tracking import environment
from fedray.tracking.folder import RunFolder
from fedray.tracking.lock import locked
from fedray.tracking.settings import TrackingConfig, store_uri, without_password

HEAD, RESULTS, NOTES = "study.yaml", "study.json", "tracking.json"
ARTIFACTS = (HEAD, "points.jsonl", RESULTS, "table.md")


class StudyNotes(Config):
    """What a server has acknowledged of a study."""

    uri: str
    """Server or database, without password."""
    parent: str | None = None
    """MLflow run of the study."""
    points: dict[str, str] = {}
    """MLflow run of each point that is delivered whole, by the point's name."""
    results: str | None = None
    """Checksum of the results that were delivered."""


def is_study(folder: Path) -> bool:
    """Whether the folder holds a study and not a run."""
    return (folder / HEAD).is_file()


def settings_of(folder: Path, uri: str | None = None) -> TrackingConfig:
    """The study's tracking settings; `uri` delivers it elsewhere than its experiment says.

    Raises:
        RunFolderError: The study is damaged.
    """
    try:
        head = yaml.safe_load((folder / HEAD).read_text(encoding="utf-8"))
        settings = dict(head["experiment"].get("tracking") or {})
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise RunFolderError(f"{folder / HEAD} is damaged: it holds no study with an experiment") from None
    return parse(TrackingConfig, {**settings, **({"uri": uri} if uri else {})}, f"{folder / HEAD}: tracking")


def sync_study(folder: Path, *, uri: str | None = None) -> str:
    """Delivers what MLflow lacks of a study.

    Args:
        folder: The study folder.
        uri: Server or database instead of the study's own.

    Returns:
        A sentence for the user.

    Raises:
        RunFolderError: The study is damaged, or not all of its points are measured.
        TrackingError: The server is away or refused; the next delivery goes on from there.
    """
    folder = folder.resolve()
    settings = settings_of(folder, uri)
    results = RunFolder(folder).read_json(RESULTS, optional=True)
    if not results:
        raise RunFolderError(f"{folder} has points to measure still; finish it with `fedray scale --resume {folder}`")
    address = without_password(store_uri(settings, folder.parent))
    with locked(folder), environment.told(settings.timeout_s):
        from fedray.tracking.study_runs import deliver

        notes = deliver(folder, settings, results, load(folder, address))
    return f"MLflow at {address} has the study ({len(notes.points)} points, run {notes.parent})"


def load(folder: Path, uri: str) -> StudyNotes:
    """What was delivered to `uri`; nothing, when the notes are missing, damaged or about another server."""
    try:
        notes = StudyNotes.model_validate_json((folder / NOTES).read_bytes())
    except (FileNotFoundError, ValidationError):
        return StudyNotes(uri=uri)
    return notes if notes.uri == uri else StudyNotes(uri=uri)


def save(folder: Path, notes: StudyNotes) -> None:
    """Replaces the notes at once."""
    write_text(folder / NOTES, notes.model_dump_json(indent=2) + "\n")


def artifacts(folder: Path) -> list[Path]:
    """The files to upload, those that exist."""
    named = [folder / name for name in ARTIFACTS]
    return [path for path in named if path.is_file()] + sorted(folder.glob("*.png"))


Results = dict[str, Any]
