"""The server state as it is saved: versioned, checksummed, written whole or not at all; the newest valid one wins.

A checkpoint is two files: the arrays, then a manifest with their length and SHA-256 and its own. Without a manifest
that fits it does not count, so that it is whole or absent also where files cannot be replaced in one step. For the same
reason a checkpoint is never written over: a second one of the same round gets a name of its own.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedray.errors import RunFolderError
from fedray.files import disk_errors
from fedray.messages import Array, Floats
from fedray.server.strategy import EdgeState, ServerState
from fedray.simulation.settings import CheckpointConfig
from fedray.simulation.storage import open_storage
from fedray.simulation.stores import FolderStore, Store

VERSION = 2
_OWNER = "run"
"""The file that says whose the place is."""
_NAME = re.compile(r"(round-(\d+)(?:\.(\d+))?)\.json")

Extra = Mapping[str, Any]
"""What is kept beside the arrays: plain JSON, keys are text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a run goes on from.

    Attributes:
        state: The server state.
        extra: What else was given to be kept.
    """

    state: ServerState
    extra: Extra = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """Which checkpoint: the number of its round, and of those of the same round."""

    round: int
    again: int = 0

    @property
    def stem(self) -> str:
        return f"round-{self.round:08d}" + (f".{self.again}" if self.again else "")

    @property
    def manifest(self) -> str:
        return f"{self.stem}.json"

    @property
    def arrays(self) -> str:
        return f"{self.stem}.safetensors"


def digest(state: ServerState) -> str:
    """SHA-256 of the server's parameters, as hexadecimal; then of those of the servers below it, where any differ."""
    found = hashlib.sha256(np.ascontiguousarray(state.parameters, "<f4").data)
    below = [server.parameters for level in state.below for server in level]
    if not all(parameters is state.parameters or np.array_equal(parameters, state.parameters) for parameters in below):
        for parameters in below:
            found.update(np.ascontiguousarray(parameters, "<f4").data)
    return found.hexdigest()


class Checkpoints:
    """The checkpoints of one run.

    Args:
        store: Where they are.
        keep: How many are kept.
        before: Another place, in which a run that changed its place finds what it had; read only.
        owner: Whose the place is; null where nobody else can come there.
    """

    def __init__(self, store: Store, keep: int, before: Store | None = None, owner: bytes | None = None) -> None:
        self._store, self._keep, self._before, self._owner = store, keep, before, owner
        self._manifest: bytes | None = None
        self._damaged: set[_Key] = set()
        self._newest: int | None = None
        self._failing: int | None = None

    def fail_next(self, number: int) -> None:
        """Has the next save break off in the middle of its first file, with an error of the storage (`errno`)."""
        self._failing = number

    def save(self, state: ServerState, extra: Extra | None = None) -> None:
        """Writes a checkpoint, then removes old ones. The one that was saved or read last is not written again.

        Raises:
            CapacityError: There is no room.
            RunFolderError: It cannot be written for another reason.
            TypeError: `extra` is no plain JSON: a defect of fedray.
            ValueError: `extra` holds NaN or infinity: a defect of fedray.
        """
        data = _pack(state)
        manifest = _seal(state.round, data, extra or {})
        if manifest == self._manifest:
            return
        names = set(self._store.names())
        key = _Key(state.round)
        while key.manifest in names:
            key = _Key(key.round, key.again + 1)
        self._break_off(key, data)
        self._store.write(key.arrays, data)
        self._store.write(key.manifest, manifest)
        self._manifest, self._newest = manifest, state.round
        self._remove_others(key, names)

    def _break_off(self, key: _Key, data: bytes) -> None:
        number, self._failing = self._failing, None
        if number is not None:
            self._store.write(key.arrays, data[: len(data) // 2])
            with disk_errors(Path(f"{self._store}/{key.arrays}")):
                raise OSError(number, os.strerror(number))

    def latest(self) -> Checkpoint | None:
        """The newest valid checkpoint, or None when there never was one.

        Raises:
            RunFolderError: There are checkpoints, but none of them is valid; or the place is another run's, or does not
                answer.
        """
        self._claim()
        stores = (self._store, self._before) if self._before else (self._store,)
        keys = [(key, store) for store in stores for key in _keys(store.names())]
        for key, store in sorted(keys, key=lambda pair: pair[0], reverse=True):
            found = self._load(store, key)
            if found is not None:
                return found
        if keys and not (len(keys) == 1 and self._is_torn(*keys[0])):
            raise RunFolderError(f"{self._store} is damaged: none of its {len(keys)} checkpoints is valid; run again")
        return None

    @property
    def standing(self) -> str:
        """What the run has when a save has failed, in words."""
        what = "without a checkpoint" if self._newest is None else f"with the checkpoint of round {self._newest}"
        return f"the run goes on {what}, and tries again when the next is due"

    def _claim(self) -> None:
        """Two run folders on two machines may have the same name."""
        if self._owner is None:
            return
        if self._store.read(_OWNER) is None:
            self._store.write(_OWNER, self._owner)
        if self._store.read(_OWNER) != self._owner:
            raise RunFolderError(f"{self._store} holds the checkpoints of another run; change checkpoint.uri")

    def _is_torn(self, key: _Key, store: Store) -> bool:
        """Whether a save broke off in the manifest: that of a first checkpoint is as if it had never begun."""
        if not store.tears:
            return False
        try:
            json.loads(store.read(key.manifest) or b"")
        except ValueError:
            return True
        return False

    def _load(self, store: Store, key: _Key) -> Checkpoint | None:
        manifest = store.read(key.manifest)
        data = store.read(key.arrays) if manifest is not None else None
        found = _open(key.round, manifest, data) if manifest is not None and data is not None else None
        if store is self._store and found is None:
            self._damaged.add(key)
        elif store is self._store:
            self._manifest = manifest
        if found is not None:
            self._newest = key.round
        return found

    def _remove_others(self, newest: _Key, names: set[str]) -> None:
        """Leaves the newest ones; none that is damaged, later than the newest, or was never finished."""
        whole = sorted(key for key in _keys(names) if key < newest and key not in self._damaged)
        kept = {name for key in [*whole, newest][-self._keep :] for name in (key.manifest, key.arrays)}
        ours = [name for name in names if name.lstrip(".").startswith("round-") and name not in kept]
        for name in sorted(ours, key=lambda name: not name.endswith(".json")):
            self._store.remove(name)
        self._damaged.clear()


def open_checkpoints(settings: CheckpointConfig, run: Path) -> Checkpoints:
    """The checkpoints of the run in the folder `run`; behind a URI they lie below the folder's name.

    Raises:
        ConfigError: The URI cannot be used.
    """
    own = FolderStore(run / "checkpoint")
    if settings.uri is None:
        return Checkpoints(own, settings.keep)
    if own.read(_OWNER) is None:
        own.write(_OWNER, uuid.uuid4().hex.encode())
    store = open_storage(settings.uri, settings.timeout_s, run.resolve().name)
    return Checkpoints(store, settings.keep, before=own, owner=own.read(_OWNER))


def _keys(names: list[str] | set[str]) -> list[_Key]:
    found = [_NAME.fullmatch(name) for name in names]
    keys = [(_Key(int(match[2]), int(match[3] or 0)), match[1]) for match in found if match]
    return [key for key, stem in keys if key.stem == stem]


def _pack(state: ServerState) -> bytes:
    slots = {f"slot.{name}": value for name, value in state.slots.items()}
    past = {f"past.{round}": value for round, value in state.past.items()}
    arrays = {"parameters": state.parameters, **slots, **past}
    if state.kept:
        arrays |= {"kept.clients": np.array(list(state.kept)), "kept.rows": np.stack(list(state.kept.values()))}
    for level, servers in enumerate(state.below):
        for number, server in enumerate(servers):
            place = f"below.{level}.{number}"
            arrays |= {f"{place}.parameters": server.parameters, f"{place}.weight": np.array(server.weight)}
            arrays |= {f"{place}.slot.{name}": value for name, value in server.slots.items()}
    return save({name: np.array(value, order="C") for name, value in arrays.items()})


def _kept(arrays: Mapping[str, Array]) -> dict[int, Floats]:
    """What clients keep, by their ids."""
    return dict(zip(arrays["clients"].tolist(), arrays["rows"], strict=True)) if arrays else {}


def _below(arrays: Mapping[str, Array]) -> tuple[tuple[EdgeState, ...], ...]:
    """The servers below, of arrays named by level, server and what of it they are."""
    found: dict[tuple[int, int], dict[str, Array]] = {}
    for name, value in arrays.items():
        level, server, what = name.split(".", 2)
        found.setdefault((int(level), int(server)), {})[what] = value
    levels: dict[int, list[EdgeState]] = {}
    for (level, _), parts in sorted(found.items()):
        slots = {name.removeprefix("slot."): value for name, value in parts.items() if name.startswith("slot.")}
        state = EdgeState(parameters=parts["parameters"], slots=slots, weight=int(parts["weight"]))
        levels.setdefault(level, []).append(state)
    return tuple(map(tuple, levels.values()))


def _seal(round: int, data: bytes, extra: Extra) -> bytes:
    """The manifest of packed arrays."""
    arrays = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {"version": VERSION, "round": round, "arrays": arrays, "extra": dict(extra)}
    if json.loads(json.dumps(manifest, allow_nan=False)) != manifest:
        raise TypeError("the extra of a checkpoint holds tuples, or keys that are no text, which JSON has not")
    return _with_checksum(manifest)


def _with_checksum(manifest: dict[str, Any]) -> bytes:
    return json.dumps({**manifest, "sha256": hashlib.sha256(json.dumps(manifest).encode()).hexdigest()}).encode()


def _open(round: int, text: bytes, data: bytes) -> Checkpoint | None:
    """The checkpoint in the bytes of its two files, or None where they are not what was written."""
    try:
        manifest = json.loads(text)
        checksum = manifest.pop("sha256")
        if manifest["version"] == 1:
            is_whole, arrays = True, {"bytes": len(data), "sha256": checksum}
        else:
            is_whole, arrays = manifest["version"] == VERSION and _with_checksum(manifest) == text, manifest["arrays"]
        is_whole = is_whole and arrays == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if not is_whole or manifest["round"] != round:
            return None
        found = load(data)
        parts = {name.partition(".")[::2]: value for name, value in found.items()}
        slots = {name: value for (kind, name), value in parts.items() if kind == "slot"}
        past = {int(name): value for (kind, name), value in parts.items() if kind == "past"}
        below = _below({name: value for (kind, name), value in parts.items() if kind == "below"})
        kept = _kept({name: value for (kind, name), value in parts.items() if kind == "kept"})
        state = ServerState(round=round, parameters=found["parameters"], slots=slots, past=past, kept=kept, below=below)
        return Checkpoint(state=state, extra=manifest.get("extra", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError):
        return None
