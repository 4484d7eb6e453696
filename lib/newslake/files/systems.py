"""Files and folders wherever Spark has them, seen from the driver: by Hadoop in this process's JVM, and in a
session of Spark Connect, which has none, by pyarrow.

There, what users name is looked for by Spark itself, on the server; what jobs write beside the tables lies on
a disk that client and server share, or in object storage.
"""

import re
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow.fs as pafs
from pyspark.sql import DataFrame, SparkSession

from newslake.files.paths import exactly, split_pattern, uri
from newslake.files.storage import storage_of
from newslake.spark.connect import is_connect


class FileSystem(Protocol):
    """What holds files and folders. Paths are as Hadoop takes them: with their scheme, and a % as it is."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""

    def is_folder(self, path: str) -> bool:
        """False where there is nothing, or a file."""

    def names(self, folder: str) -> list[str]:
        """What lies in the folder, in order; nothing where there is none."""

    def modified(self, path: str) -> float:
        """When a file or folder that is there was last changed, in seconds since 1970."""

    def read(self, path: str) -> bytes:
        """A small file's content."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file in place of what is there, making its folder."""

    def rename(self, path: str, to: str) -> bool:
        """Give a file or folder another name, where nothing has it; whether that was done."""

    def delete(self, path: str) -> bool:
        """Remove a file, or a folder with all in it; whether there was one."""

    def uri(self, path: str) -> str:
        """The path with its scheme, such as file:/data/mind."""


def file_system(spark: SparkSession, place: str) -> FileSystem:
    """The file system that holds a place.

    Raises:
        UserError: a session of Spark Connect, and pyarrow cannot open it.
    """
    return _ByArrow(spark, place) if is_connect(spark) else _ByHadoop(spark, place)


def exists(spark: SparkSession, place: str) -> bool:
    """Whether there is a file or folder of this name; False where nobody can tell, such as on a file system
    that Hadoop does not know."""
    try:
        if is_connect(spark):
            return bool(_files(spark, exactly(place)).columns)  # the server looks, and raises
        return file_system(spark, place).exists(place)
    except Exception:  # Py4J's own, which has no narrower type; who reads it then says what is wrong
        return False


def is_file(spark: SparkSession, place: str) -> bool:
    """Whether a user's path is that of one file."""
    return exists(spark, place) and not is_folder(spark, place)


def is_folder(spark: SparkSession, place: str) -> bool:
    """Whether a user's path is that of a folder, which is there."""
    if not is_connect(spark):
        return file_system(spark, place).is_folder(place)
    first = _files(spark, exactly(place)).head()
    return first is None or _path(first[0]) != _path(uri(place)).rstrip("/")


def files_in(spark: SparkSession, place: str) -> list[str]:
    """The names of what lies in a folder that a user names; in a session of Spark Connect those of its
    files."""
    if not is_connect(spark):
        return file_system(spark, place).names(place)
    found = _files(spark, exactly(place)).collect()
    return sorted(_path(path).rsplit("/", 1)[1] for (path,) in found)


def readable(spark: SparkSession, place: str) -> str:
    """What Spark is to read where a user names a path or a pattern: what is there as it is written, if only a
    folder above, is that."""
    there, rest = split_pattern(place, lambda path: exists(spark, path))
    return exactly(there) + rest


def _files(spark: SparkSession, place: str) -> DataFrame:
    """The URIs of the files; what is in them is not read."""
    return spark.read.format("binaryFile").load(place).select("_metadata.file_path")


def _path(found: str) -> str:
    return "/" + unquote(urlsplit(found).path).lstrip("/")


def _as_uri(path: str) -> str:
    return uri(path) if re.match(r"[A-Za-z][\w+.-]*:/", path) else f"file:{uri(path)}"


class _ByHadoop:
    """Any that Hadoop knows, by its settings in the session."""

    def __init__(self, spark: SparkSession, place: str) -> None:
        session: Any = spark
        jvm: Any = spark._jvm
        self._jvm = jvm
        configuration = session._jsparkSession.sessionState().newHadoopConf()
        self._system = self._at(place).getFileSystem(configuration)
        local = jvm.java.lang.Class.forName("org.apache.hadoop.fs.LocalFileSystem")
        self._has_checksums = local.isInstance(self._system)

    def _at(self, path: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(path)

    def exists(self, path: str) -> bool:
        return bool(self._system.exists(self._at(path)))

    def is_folder(self, path: str) -> bool:
        return self.exists(path) and bool(self._system.getFileStatus(self._at(path)).isDirectory())

    def names(self, folder: str) -> list[str]:
        if not self.exists(folder):
            return []
        return sorted(str(status.getPath().getName()) for status in self._system.listStatus(self._at(folder)))

    def modified(self, path: str) -> float:
        return float(self._system.getFileStatus(self._at(path)).getModificationTime()) / 1000

    def read(self, path: str) -> bytes:
        stream = self._system.open(self._at(path))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def write(self, path: str, content: bytes) -> None:
        # Through a stream: Hadoop's own copy of local files never ended on a server of tests that speaks S3.
        stream = self._system.create(self._at(path), True)
        try:
            stream.write(bytearray(content))
        finally:
            stream.close()
        self._forget_checksum(path)

    def rename(self, path: str, to: str) -> bool:
        if not self.exists(path):
            return False  # some of Hadoop's file systems say so, others raise
        self._system.mkdirs(self._at(to).getParent())
        done = bool(self._system.rename(self._at(path), self._at(to)))
        self._forget_checksum(to)
        return done

    def delete(self, path: str) -> bool:
        return bool(self._system.delete(self._at(path), True))

    def uri(self, path: str) -> str:
        at = self._at(path)
        return str(at.makeQualified(self._system.getUri(), self._system.getWorkingDirectory()).toString())

    def _forget_checksum(self, path: str) -> None:
        """Hadoop keeps `.name.crc` beside each local file; whoever edits the file would then find it
        unreadable."""
        if self._has_checksums:
            folder, _, name = path.rpartition("/")
            self._system.getRawFileSystem().delete(self._at(f"{folder}/.{name}.crc"), False)


class _ByArrow:
    """A disk, or object storage that pyarrow knows."""

    def __init__(self, spark: SparkSession, place: str) -> None:
        self._storage = storage_of(spark, [_as_uri(place)])
        self._system, _ = self._storage.opened(_as_uri(place))

    def _at(self, path: str) -> str:
        return self._storage.opened(_as_uri(path))[1].rstrip("/")

    def _info(self, path: str) -> pafs.FileInfo:
        return self._system.get_file_info(self._at(path))

    def exists(self, path: str) -> bool:
        return bool(self._info(path).type != pafs.FileType.NotFound)

    def is_folder(self, path: str) -> bool:
        return bool(self._info(path).type == pafs.FileType.Directory)

    def names(self, folder: str) -> list[str]:
        inside = pafs.FileSelector(self._at(folder), allow_not_found=True)
        return sorted(info.base_name for info in self._system.get_file_info(inside))

    def modified(self, path: str) -> float:
        info = self._info(path)
        return 0.0 if info.mtime is None else float(info.mtime.timestamp())

    def read(self, path: str) -> bytes:
        with self._system.open_input_stream(self._at(path)) as stream:
            return bytes(stream.read())

    def write(self, path: str, content: bytes) -> None:
        self._system.create_dir(self._at(path).rpartition("/")[0], recursive=True)
        with self._system.open_output_stream(self._at(path)) as stream:
            stream.write(content)
        self._forget_checksum(path)

    def rename(self, path: str, to: str) -> bool:
        if self.exists(to) or not self.exists(path):
            return False
        self._system.create_dir(self._at(to).rpartition("/")[0], recursive=True)
        self._move(self._at(path), self._at(to))
        self._forget_checksum(path)
        return True

    def _move(self, path: str, to: str) -> None:
        if isinstance(self._system, pafs.LocalFileSystem):
            self._system.move(path, to)
            return
        # Object storage renames files one by one, if at all.
        pafs.copy_files(path, to, source_filesystem=self._system, destination_filesystem=self._system)
        self._remove(path)

    def delete(self, path: str) -> bool:
        if not self.exists(path):
            return False
        self._remove(self._at(path))
        self._forget_checksum(path)
        return True

    def _remove(self, at: str) -> None:
        is_file = self._system.get_file_info(at).type == pafs.FileType.File
        (self._system.delete_file if is_file else self._system.delete_dir)(at)

    def uri(self, path: str) -> str:
        return f"file:{self._at(path)}" if urlsplit(path).scheme in ("", "file", "dbfs") else path

    def _forget_checksum(self, path: str) -> None:
        """The server's Hadoop keeps `.name.crc` beside each local file, which does not go with it here."""
        if isinstance(self._system, pafs.LocalFileSystem):
            folder, _, name = self._at(path).rpartition("/")
            checksum = f"{folder}/.{name}.crc"
            if self._system.get_file_info(checksum).type == pafs.FileType.File:
                self._system.delete_file(checksum)
