"""Folders that driver and executors share: a disk that all of them see, or object storage, of which each
process has a copy.

`Place` is either a Path, which every process opens as it stands, or a RemotePath, which has the part of
Path's ways that jobs use. `local` gives the files of either on this process's own disk: those of object
storage are fetched, once for all Python workers of an executor.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow.fs as pafs

from newslake.files.paths import hadoop, uri
from newslake.files.storage import Storage

_AT_ONCE = 8
_CHUNK = 1 << 22


@dataclass(frozen=True)
class RemotePath:
    """A file or folder of object storage.

    Attributes:
        place: as Hadoop takes it, such as s3a://bucket/lake/_staging.
        storage: by which settings pyarrow opens it.
    """

    place: str
    storage: Storage

    def __str__(self) -> str:
        return self.place

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.place}/{name}", self.storage)

    @property
    def name(self) -> str:
        """The last part."""
        return self.place.rsplit("/", 1)[1]

    @property
    def parent(self) -> "RemotePath":
        """The folder that holds it."""
        return RemotePath(self.place.rsplit("/", 1)[0], self.storage)

    def with_name(self, name: str) -> "RemotePath":
        """Another name in the same folder."""
        return self.parent / name

    def exists(self) -> bool:
        """Whether there is such a file or folder; pyarrow leaves an empty folder where it deletes what was in
        it."""
        return bool(self._info().type != pafs.FileType.NotFound)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: object storage has no folders, only files below a name."""

    def iterdir(self) -> list["RemotePath"]:
        """What lies in the folder, by name."""
        return sorted((self / info.base_name for info in self.below(recursive=False)), key=str)

    def glob(self, pattern: str) -> list["RemotePath"]:
        """What fits a pattern of names, such as */model.json."""
        found = [self]
        for part in pattern.split("/"):
            if any(sign in part for sign in "*?["):
                found = [
                    child for folder in found for child in folder.iterdir() if fnmatchcase(child.name, part)
                ]
            else:
                found = [folder / part for folder in found if (folder / part).exists()]
        return found

    def read_bytes(self) -> bytes:
        """The file's content."""
        system, path = self.opened()
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file's content, as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write the file; it is there as a whole, or as it was."""
        system, path = self.opened()
        with system.open_output_stream(path) as stream:
            stream.write(content)

    def write_text(self, content: str, encoding: str = "utf-8") -> None:
        """Write the file, as text."""
        self.write_bytes(content.encode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file."""
        if not missing_ok or self.exists():
            system, path = self.opened()
            system.delete_file(path)

    def opened(self) -> tuple[pafs.FileSystem, str]:
        """pyarrow's file system, and the path in it."""
        return self.storage.opened(uri(self.place))

    def below(self, *, recursive: bool) -> list[pafs.FileInfo]:
        """What lies below; nothing where there is no such folder."""
        system, path = self.opened()
        found: list[pafs.FileInfo] = system.get_file_info(
            pafs.FileSelector(path, allow_not_found=True, recursive=recursive)
        )
        return found

    def _info(self) -> pafs.FileInfo:
        system, path = self.opened()
        return system.get_file_info(path)


Place = Path | RemotePath


def hadoop_name(place: Place) -> str:
    """The place as Hadoop and Spark take it."""
    return place.place if isinstance(place, RemotePath) else hadoop(place)


def matching(folder: Place, pattern: str) -> list[Place]:
    """What lies in a folder and fits a pattern of names, such as */model.json, in order."""
    found: list[Place] = [*folder.glob(pattern)]
    return sorted(found, key=str)


def local(place: Place) -> Path:
    """The file or folder on this machine's own disk; of object storage a copy, of which only what changed is
    fetched again."""
    if isinstance(place, Path):
        return place
    system, path = place.opened()
    info = system.get_file_info(path)
    copy = _copies() / sha256(place.place.encode()).hexdigest()[:16] / place.name
    files = (
        [info]
        if info.type == pafs.FileType.File
        else [one for one in place.below(recursive=True) if one.type == pafs.FileType.File]
    )
    if info.type != pafs.FileType.File:
        copy.mkdir(parents=True, exist_ok=True)
    wanted = [(one, copy / one.path[len(path) :].lstrip("/") if one is not info else copy) for one in files]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda pair: _fetch(system, *pair), wanted))
    return copy


def remove(place: Place) -> None:
    """Leave nothing of a folder, nor of its copy on this machine; there may be none."""
    if isinstance(place, Path):
        shutil.rmtree(place, ignore_errors=True)
        return
    system, path = place.opened()
    if place.exists():
        system.delete_dir(path)
    shutil.rmtree(_copies() / sha256(place.place.encode()).hexdigest()[:16], ignore_errors=True)


def modified(place: Place) -> datetime:
    """When a file, or a file below a folder, was written last; UTC without a zone."""
    if isinstance(place, Path):
        return datetime.fromtimestamp(place.stat().st_mtime, UTC).replace(tzinfo=None)
    system, path = place.opened()
    infos = [
        one for one in (system.get_file_info(path), *place.below(recursive=True)) if one.mtime is not None
    ]
    return max(one.mtime for one in infos).astimezone(UTC).replace(tzinfo=None)


@contextmanager
def writing(place: Place) -> Iterator[IO[bytes] | Any]:
    """A file to write, as pyarrow, numpy and torch take one."""
    if isinstance(place, Path):
        with place.open("wb") as file:
            yield file
        return
    system, path = place.opened()
    with system.open_output_stream(path) as stream:
        yield stream


def save_array(place: Place, array: npt.NDArray[np.float32]) -> None:
    """Write an array as a file (npy) of float32 that `opened_array` reads."""
    with writing(place) as sink:
        np.save(sink, np.ascontiguousarray(array, dtype=np.float32))


def opened_array(place: Place) -> npt.NDArray[np.float32]:
    """The array of a file (npy), read as it is needed."""
    found: npt.NDArray[np.float32] = np.load(local(place), mmap_mode="r")
    return found


@contextmanager
def filled(final: Place, last: str) -> Iterator[Path]:
    """A folder of this machine to fill, which becomes `final` when the block ends well, in place of what is
    there.

    Args:
        final: on a disk it is there completely or not at all. In object storage, which renames nothing,
            `last` says that it is complete: that file goes first of what was there, and comes last of what is
            new.
        last: a file in it.
    """
    if isinstance(final, Path):
        temporary = final.with_name(f"{final.name}.tmp-{uuid4().hex[:8]}")
        temporary.mkdir(parents=True)
        try:
            yield temporary
            shutil.rmtree(final, ignore_errors=True)
            os.rename(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)
        (final / last).unlink(missing_ok=True)
        remove(final)
        for file in sorted(Path(scratch).iterdir(), key=lambda file: file.name == last):
            with writing(final / file.name) as stream, file.open("rb") as source:
                shutil.copyfileobj(source, stream, _CHUNK)


def _fetch(system: pafs.FileSystem, info: pafs.FileInfo, to: Path) -> None:
    if to.exists() and (to.stat().st_size, to.stat().st_mtime_ns) == (info.size, info.mtime_ns or 0):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{to.name}.{uuid4().hex[:8]}")  # two workers may fetch the same file at once
    with system.open_input_stream(info.path) as source, temporary.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    os.utime(temporary, ns=(info.mtime_ns or 0, info.mtime_ns or 0))
    os.replace(temporary, to)


@cache
def _copies() -> Path:
    """Where this process has its copies: in an executor among Spark's own files, which go with it; else a
    folder that goes at the end."""
    if spark := os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0]:
        return Path(spark) / "newslake"
    made = tempfile.mkdtemp(prefix="newslake-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)
