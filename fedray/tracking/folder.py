"""A run folder as tracking reads it: written by the simulation, never changed here except for its identity."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard, cast, get_args

import yaml

from fedray.config import parse
from fedray.errors import RunFolderError
from fedray.files import write_text
from fedray.tracking.settings import TrackingConfig

State = Literal["running", "finished", "interrupted", "failed"]
ARTIFACTS = (
    "config.yaml",
    "environment.json",
    "rounds.jsonl",
    "faults.jsonl",
    "faults.parquet",
    "clients.parquet",
    "evaluations.parquet",
    "summary.json",
)
MODEL_FILES = ("model.safetensors", "model.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """What status.json says.

    Attributes:
        state: Where the run stands.
        name: The run's name.
        round: The last round that is done.
        started: Unix time in seconds.
        ended: Unix time in seconds, or None while the run goes on.
    """

    state: State
    name: str
    round: int
    started: float
    ended: float | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is written to the folder."""
        return self.state != "running"


class RunFolder:
    """The files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.runs = self.path.parent

    def status(self) -> RunStatus:
        """The run's state.

        Raises:
            RunFolderError: There is no usable status.json.
        """
        data = self.read_json("status.json")
        state, started, ended = data.get("state"), data.get("started"), data.get("ended")
        if not _is_state(state) or not isinstance(started, (int, float)):
            raise RunFolderError(
                f"{self.path / 'status.json'} has state {state!r} and started {started!r}; is it a run?"
            )
        return RunStatus(
            state=state,
            name=str(data.get("name") or self.path.name),
            round=int(data.get("round") or 0),
            started=float(started),
            ended=float(ended) if isinstance(ended, (int, float)) else None,
        )

    def config(self) -> dict[str, Any]:
        """The resolved experiment as nested mappings."""
        path = self.path / "config.yaml"
        try:
            data = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise RunFolderError(f"{self.path} is not a run folder: config.yaml is missing") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{path} cannot be read: {error}") from None
        return _mapping(data, path)

    def settings(self, uri: str | None = None) -> TrackingConfig:
        """The run's tracking settings; `uri` delivers it elsewhere than its config says."""
        settings = self.config().get("tracking") or {}
        return parse(
            TrackingConfig, {**settings, "uri": uri} if uri else settings, f"{self.path / 'config.yaml'}: tracking"
        )

    def read_json(self, name: str, optional: bool = False) -> dict[str, Any]:
        """The mapping in a JSON file, or {} when it is optional and not there."""
        path = self.path / name
        try:
            return _mapping(json.loads(path.read_text()), path)
        except FileNotFoundError:
            if optional:
                return {}
            raise RunFolderError(f"{self.path} is not a run folder: {name} is missing") from None
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged: {error}") from None

    def artifacts(self) -> list[Path]:
        """The files to upload, those that exist."""
        named = [self.path / name for name in ARTIFACTS]
        return [p for p in named if p.is_file()] + sorted(self.path.glob("*.png"))

    def has_model(self) -> bool:
        """Whether a trained model was saved."""
        return all((self.path / name).is_file() for name in MODEL_FILES)

    def identity(self) -> str:
        """A name that no other run folder has, made on first use; by it a server knows the folder again."""
        path = self.path / "folder_id"
        if not path.exists():
            write_text(path, uuid.uuid4().hex)
        return path.read_text().strip()


def _is_state(value: object) -> TypeGuard[State]:
    return value in get_args(State)


def _mapping(data: object, path: Path) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise RunFolderError(f"{path} is damaged: it holds no mapping")
    return dict(cast(Mapping[str, Any], data))
