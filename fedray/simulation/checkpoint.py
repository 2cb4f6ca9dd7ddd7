"""The server state on disk: versioned, checksummed, written whole or not at all; the newest valid one wins."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedray.errors import RunFolderError
from fedray.files import write_bytes
from fedray.server.strategy import ServerState

VERSION = 1


def digest(state: ServerState) -> str:
    """SHA-256 of the server's parameters, as hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(state.parameters, "<f4").data).hexdigest()


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint is two files: the arrays, then a manifest with their checksum. Without its manifest it does not count.

    Args:
        folder: Where they are.
        keep: How many are kept.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def save(self, state: ServerState) -> None:
        """Writes a checkpoint, then removes old ones."""
        self._folder.mkdir(exist_ok=True)
        arrays = {"parameters": state.parameters, **{f"slot.{name}": value for name, value in state.slots.items()}}
        data = save({name: np.array(value, order="C") for name, value in arrays.items()})
        manifest = {"version": VERSION, "round": state.round, "sha256": hashlib.sha256(data).hexdigest()}
        write_bytes(self._arrays(state.round), data)
        write_bytes(self._manifest(state.round), json.dumps(manifest).encode())
        for round in self._rounds()[: -self._keep]:
            self._manifest(round).unlink()
            self._arrays(round).unlink(missing_ok=True)

    def latest(self) -> ServerState | None:
        """The newest valid checkpoint, or None when there never was one.

        Raises:
            RunFolderError: There are checkpoints, but none of them is valid.
        """
        rounds = self._rounds()
        for round in reversed(rounds):
            state = self._load(round)
            if state is not None:
                return state
        if rounds:
            raise RunFolderError(
                f"{self._folder} is damaged: none of its {len(rounds)} checkpoints is valid; run again"
            )
        return None

    def _load(self, round: int) -> ServerState | None:
        try:
            manifest = json.loads(self._manifest(round).read_bytes())
            data = self._arrays(round).read_bytes()
            if manifest["version"] != VERSION or manifest["sha256"] != hashlib.sha256(data).hexdigest():
                return None
            arrays = load(data)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        slots = {name.removeprefix("slot."): value for name, value in arrays.items() if name != "parameters"}
        return ServerState(round=round, parameters=arrays["parameters"], slots=slots)

    def _rounds(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("round-")) for path in self._folder.glob("round-*.json"))

    def _arrays(self, round: int) -> Path:
        return self._folder / f"round-{round:08d}.safetensors"

    def _manifest(self, round: int) -> Path:
        return self._folder / f"round-{round:08d}.json"
