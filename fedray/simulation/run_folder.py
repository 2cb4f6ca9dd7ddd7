"""The run folder: the record of truth of a run.

    config.yaml          the experiment, every default visible
    environment.json     versions, machine, command
    status.json          where the run is: running, finished, interrupted or failed
    rounds.jsonl         one line a round: metrics, digest, fates, seconds, bytes, virtual time
    system.jsonl         use of the machine, sampled
    faults.parquet       the fault plan, where there is one
    faults.jsonl         one line for each fault that happened, planned or not
    clients.parquet      one row for each (round, client): the ledger
    evaluations.parquet  one row for each (round, client) that evaluated the model
    checkpoint/          the server state after a round, checksummed; elsewhere with checkpoint.uri
    model.safetensors, model.json, input_example.npz    the trained model, at the end
    summary.json         final metrics, baselines, digest, at the end
    errors/              tracebacks of clients

Journals (.jsonl) are appended; everything else is written whole or not at all. Lines after the last checkpoint are
dropped when a run resumes, and computed again. Lines of faults stay: what happened, happened.
"""

import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from fedray.errors import RunFolderError, first_line
from fedray.files import disk_errors, exclusive, write_json, write_text
from fedray.simulation.parts import PartTable

Record = dict[str, Any]
_JOURNALS = ("rounds", "system", "faults")


class RunFolder:
    """Reads and writes one run folder.

    Args:
        path: The folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clients = PartTable(path, "clients")
        self.evaluations = PartTable(path, "evaluations")

    @staticmethod
    def create(runs: Path, name: str) -> "RunFolder":
        """Makes a new folder `name-DATE-TIME` below `runs`.

        Raises:
            CapacityError: The disk is full or cannot be written.
        """
        stamp = time.strftime("%Y%m%d-%H%M%S")
        with disk_errors(runs):
            runs.mkdir(parents=True, exist_ok=True)
            for number in range(1, 1000):
                path = runs / (f"{name}-{stamp}" if number == 1 else f"{name}-{stamp}-{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return RunFolder(path)
        raise RunFolderError(f"{runs} holds a thousand runs called {name}-{stamp}; set runs to another folder")

    @staticmethod
    def open(path: Path) -> "RunFolder":
        """Opens a run folder.

        Raises:
            RunFolderError: It is none, or it is damaged.
        """
        if not path.is_dir():
            raise RunFolderError(f"{path} is no folder; give the run folder that `fedray run` printed")
        folder = RunFolder(path)
        folder.config()
        folder.status()
        return folder

    @contextmanager
    def lock(self) -> Generator[None]:
        """Keeps other processes from running in this folder.

        Raises:
            RunFolderError: One does.
        """
        with exclusive(self.path, "run"):
            yield

    def config(self) -> Record:
        """The experiment, as nested mappings."""
        try:
            config = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(
                f"{self.path} is no run folder, or it is damaged: config.yaml: {first_line(error)}"
            ) from None
        if not isinstance(config, dict):
            raise RunFolderError(f"{self.path} is damaged: config.yaml holds no experiment")
        return config

    def write_config(self, config: Record) -> None:
        """Writes the experiment."""
        write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    def status(self) -> Record:
        """Where the run is."""
        status = self._json("status.json")
        if "state" not in status:
            raise RunFolderError(f"{self.path} is damaged: status.json holds no state of a run")
        return status

    def write_status(self, **values: Any) -> None:
        """Changes some values of the status."""
        path = self.path / "status.json"
        before = self._json(path.name) if path.exists() else {}
        write_json(path, {**before, **values})

    def summary(self) -> Record:
        """Final metrics, baselines and digest; empty until the run has ended."""
        return self._json("summary.json") if (self.path / "summary.json").exists() else {}

    def write_error(self, round: int, client: int, text: str) -> None:
        """Keeps a client's traceback."""
        (self.path / "errors").mkdir(exist_ok=True)
        write_text(self.path / "errors" / f"round-{round}-client-{client}.txt", text)

    def append(self, journal: str, *records: Record) -> None:
        """Adds lines to "rounds", "system" or "faults": all of them whole, or nothing where the disk is full."""
        path = self.path / f"{journal}.jsonl"
        line = "".join(json.dumps(record) + "\n" for record in records).encode()
        with disk_errors(path), path.open("ab", buffering=0) as file:
            start = file.tell()
            try:
                written = file.write(line)
                if written < len(line):
                    file.write(line[written:])  # says why there was no room
            except OSError:
                file.truncate(start)
                raise

    def mend(self) -> None:
        """Cuts off the last line of a journal where a crash left it torn, before more lines follow it."""
        for path in (self.path / f"{journal}.jsonl" for journal in _JOURNALS):
            data = path.read_bytes() if path.exists() else b""
            if data and not data.endswith(b"\n"):
                with disk_errors(path):
                    os.truncate(path, data.rfind(b"\n") + 1)

    def lines(self, journal: str) -> list[Record]:
        """All whole lines of a journal."""
        path = self.path / f"{journal}.jsonl"
        if not path.exists():
            return []
        records: list[Record] = []
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                records.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                raise RunFolderError(
                    f"{path} is damaged: line {number} is no JSON; remove it and all after it"
                ) from None
        return records

    def flush(self, round: int) -> Callable[[], None]:
        """Takes everything up to a round; what is given back brings it to the disk, before the round's checkpoint."""
        tables = [self.clients.flush(round), self.evaluations.flush(round)]
        path = self.path / "rounds.jsonl"

        def write() -> None:
            for table in tables:
                table()
            if path.exists():
                with disk_errors(path), path.open("a", encoding="utf-8") as file:
                    os.fsync(file.fileno())

        return write

    def truncate(self, round: int) -> None:
        """Drops all records after a round, and the half line that a killed process may have left."""
        kept = {"rounds": [r for r in self.lines("rounds") if r["round"] <= round], "system": self.lines("system")}
        for journal, records in kept.items():
            text = "".join(json.dumps(record) + "\n" for record in records)
            write_text(self.path / f"{journal}.jsonl", text)
        (self.path / "summary.json").unlink(missing_ok=True)
        for table in (self.clients, self.evaluations):
            table.reopen()
            table.truncate(round)

    def finish(self) -> None:
        """Puts the tables together, at the end of a run."""
        self.clients.finish()
        self.evaluations.finish()

    def _json(self, name: str) -> Record:
        try:
            return dict(json.loads((self.path / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunFolderError(
                f"{self.path} is no run folder, or it is damaged: {name}: {first_line(error)}"
            ) from None
