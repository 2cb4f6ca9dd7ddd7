"""Finding a source's files: a path that was set, the folder of FEDRAY_DATA, or a download when that is allowed."""

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from abc import ABC
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from fedray.data.base import DataConfig
from fedray.data.download import Remote, download
from fedray.errors import DataError, first_line
from fedray.messages import Array

BESIDE = Path("../shared/data")
"""Where data is looked for when nothing is set, relative to the current folder."""

_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, tarfile.TarError, zlib.error)


class FileSource(DataConfig, ABC):
    """Settings shared by the sources that read well-known files."""

    path: str | None = None
    """The data file, or the folder that holds it; null looks in the folder of FEDRAY_DATA, then in ../shared/data."""
    download: bool = False
    """Fetch the files from their public address when they are not found."""
    cache: str = "~/.cache/fedray"
    """Folder that keeps downloads."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """Checksum that a download must have, by file name. Where the source's own list has none, nothing is checked."""

    packed: ClassVar[tuple[str, ...]] = ()
    remotes: ClassVar[tuple[Remote, ...]] = ()

    def locate(self) -> Path:
        """The file of the source, or the folder that holds its files as published.

        Raises:
            DataError: Nothing was found, or the download failed.
        """
        if self.download and self.path is None:
            try:
                return find(None, *self.packed)
            except DataError:
                return self._fetch()
        return find(self.path, *self.packed)

    def _fetch(self) -> Path:
        if not self.remotes:
            raise DataError(f"data '{self.name}' has no public address to download from; set data.path to its file")
        folder = Path(self.cache).expanduser() / self.name
        for remote in self.remotes:
            download(remote.url, folder / remote.file, self.sha256.get(remote.file, remote.sha256))
        return folder


def find(path: str | None, *default_names: str) -> Path:
    """The data file or folder to read.

    Args:
        path: What the user set: a file, or a folder. A folder that holds one of the default names means that file,
            any other folder is returned as it is.
        default_names: File names to look for when `path` is None, best first: in the folder of the environment
            variable FEDRAY_DATA if it is set, else in `../shared/data`.

    Raises:
        DataError: Nothing is there.
    """
    folder = Path(path or os.environ.get("FEDRAY_DATA") or BESIDE).expanduser()
    for name in default_names:
        if (folder / name).is_file():
            return folder / name
    if path is not None and folder.exists():
        return folder
    if path is not None:
        raise DataError(f"data.path is '{path}', which does not exist; change data.path")
    names = " or ".join(default_names)
    raise DataError(
        f"no data file {names} in {folder}; set data.path to the file, or the environment variable FEDRAY_DATA to its "
        "folder (some sources can be fetched with data.download: true)"
    )


def load_npz(path: Path, *names: str) -> list[Array]:
    """Named arrays of an `.npz` file; object arrays are refused.

    Raises:
        DataError: The file is damaged, or an array is missing.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise unreadable(path, ValueError("not an .npz file"))
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [name for name in names if name not in file.files]
            if missing:
                raise DataError(
                    f"{path} has no array '{missing[0]}' (it has {', '.join(file.files)}); change data.path"
                )
            return [file[name] for name in names]
    except _DAMAGE as error:
        raise unreadable(path, error) from error


def read_member(place: Path, name: str) -> bytes:
    """The contents of the file `name` in a folder or an archive: plain, gzipped, or inside a zip or tar file.

    Args:
        place: A folder, a `.zip` or a `.tar.gz`; archives inside a folder or inside a zip are looked into.
        name: File name without folders.

    Raises:
        DataError: It is not there, or the archive is damaged.
    """
    try:
        found = _in_folder(place, name) if place.is_dir() else _in_archive(place.name, place.read_bytes(), name)
    except _DAMAGE as error:
        raise unreadable(place, error) from error
    if found is None:
        raise DataError(f"there is no file '{name}' in {place}; set data.path to the folder or archive that holds it")
    return found


def unreadable(path: Path, error: Exception) -> DataError:
    """The error for a file that exists but cannot be read."""
    return DataError(f"{path} cannot be read ({first_line(error)}); replace the file or change data.path")


def _in_folder(folder: Path, name: str) -> bytes | None:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            data = file.read_bytes()
            return gzip.decompress(data) if file.suffix == ".gz" else data
    archives = (f for f in sorted(folder.iterdir()) if f.name.endswith((".zip", ".tar.gz")))
    return next((data for f in archives if (data := _in_archive(f.name, f.read_bytes(), name)) is not None), None)


def _in_archive(archive: str, data: bytes, name: str) -> bytes | None:
    if archive.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            for member in tar:
                file = tar.extractfile(member) if Path(member.name).name == name else None
                if file is not None:
                    return file.read()
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        for member in zipped.namelist():
            if Path(member).name == name:
                return zipped.read(member)
        inner = (m for m in zipped.namelist() if m.endswith(".zip"))
        return next((d for m in inner if (d := _in_archive(m, zipped.read(m), name)) is not None), None)
