"""The folder of a study: the record of what was asked and what was measured.

    study.yaml     the request and the experiment
    points.jsonl   one line for each measured point
    runs/          the run folder of each point
    study.json     the results, when all points are measured
    table.md       the same for people, with pictures beside it

Lines of points.jsonl are whole and on the disk, or they do not count.
"""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from fedray.config import parse
from fedray.errors import ConfigError, RunFolderError
from fedray.experiment import Experiment
from fedray.files import disk_errors, exclusive, write_text
from fedray.scaling.measurement import Measurement, of_line
from fedray.scaling.request import Request

HEAD, POINTS, RESULTS = "study.yaml", "points.jsonl", "study.json"
_FREE = ("tracking", "runs")
"""Settings that may differ when a study goes on: they change no measurement."""


class StudyFolder:
    """Reads and writes the folder of one study.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(path: Path, request: Request, experiment: Experiment, engine: str) -> "StudyFolder":
        """Makes a new study, or opens the one that is there if it was asked the same.

        Args:
            path: The folder; made when missing.
            request: The grid.
            experiment: What each point runs.
            engine: The engine that trains its blocks.

        Raises:
            ConfigError: The folder holds another study.
            RunFolderError: It holds something else, or cannot be written.
        """
        folder = StudyFolder(path)
        if (path / HEAD).exists():
            folder.check_same(request, experiment)
            return folder
        with disk_errors(path):
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunFolderError(f"{path} is there and is no study; give --out a new folder")
            path.mkdir(parents=True, exist_ok=True)
        settings = {"request": request.model_dump(mode="json"), "engine": engine}
        text = yaml.safe_dump({**settings, "experiment": experiment.model_dump(mode="json")}, sort_keys=False)
        write_text(path / HEAD, text)
        return folder

    @staticmethod
    def open(path: Path) -> "StudyFolder":
        """Opens a study.

        Raises:
            RunFolderError: It is none, or it is damaged.
        """
        folder = StudyFolder(path)
        folder.request()
        folder.experiment()
        return folder

    def check_same(self, request: Request, experiment: Experiment) -> None:
        """Whether the study was asked the same.

        Raises:
            ConfigError: It was not; the message names the first difference.
        """
        before, now = self.request().model_dump(), request.model_dump()
        before |= {f"setting {name}": value for name, value in _lasting(self.experiment()).items()}
        now |= {f"setting {name}": value for name, value in _lasting(experiment).items()}
        for name, value in now.items():
            if before[name] != value:
                what = name if name.startswith("setting ") else f"--{name}"
                raise ConfigError(
                    f"{self.path} holds another study, with {what} {_short(before[name])} instead of {_short(value)}; "
                    "give --out another folder, or --resume this one as it was begun"
                )

    def request(self) -> Request:
        """The grid."""
        return parse(Request, self._head().get("request"), f"{self.path / HEAD}: request")

    def experiment(self) -> Experiment:
        """What each point runs."""
        return parse(Experiment, self._head().get("experiment"), f"{self.path / HEAD}: experiment")

    def engine(self) -> Any:
        """The engine that trains the blocks."""
        return self._head().get("engine")

    @contextmanager
    def lock(self) -> Generator[None]:
        """Keeps other processes from measuring in this folder.

        Raises:
            RunFolderError: One does.
        """
        with exclusive(self.path, "measured"):
            yield

    def append(self, measurement: Measurement) -> None:
        """Adds a point; it is on the disk when this returns. A line torn before is cut off first."""
        path = self.path / POINTS
        with disk_errors(path):
            data = path.read_bytes() if path.exists() else b""
            if data and not data.endswith(b"\n"):
                os.truncate(path, data.rfind(b"\n") + 1)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(measurement.to_record()) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def measurements(self) -> tuple[Measurement, ...]:
        """The measured points, in the order of their measurement; a torn last line is none.

        Raises:
            RunFolderError: A line is damaged.
        """
        path = self.path / POINTS
        data = path.read_bytes() if path.exists() else b""
        found: list[Measurement] = []
        for number, line in enumerate(data.split(b"\n")[:-1], start=1):
            where = f"line {number} of {path}"
            try:
                record = json.loads(line)
            except ValueError:
                raise RunFolderError(f"{where} is no JSON; remove it, and the point is measured again") from None
            found.append(of_line(record, where))
        return tuple(found)

    def _head(self) -> dict[str, Any]:
        try:
            head = yaml.safe_load((self.path / HEAD).read_text(encoding="utf-8"))
        except OSError as error:
            raise RunFolderError(
                f"{self.path} is no study folder ({HEAD}: {error.strerror}); give one that `fedray scale` printed"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.path / HEAD} is damaged: {' '.join(str(error).split())}") from None
        if not isinstance(head, dict):
            raise RunFolderError(f"{self.path / HEAD} is damaged: it holds no study")
        return head


def _lasting(experiment: Experiment) -> dict[str, Any]:
    return {name: value for name, value in experiment.model_dump(mode="json").items() if name not in _FREE}


def _short(value: Any) -> str:
    text = ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
