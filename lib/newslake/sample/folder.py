"""A folder on one of Hadoop's file systems, seen from the driver."""

from typing import Any

from pyspark.sql import SparkSession

from newslake.errors import JobFailed


class Folder:
    """A folder on one of Hadoop's file systems, seen from the driver."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        jvm: Any = spark._jvm
        self._jvm, self.path = jvm, path.rstrip("/")
        hadoop = jvm.org.apache.hadoop.fs
        self._fs = hadoop.Path(self.path).getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
        local = self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.LocalFileSystem")
        self._checksums = local.isInstance(self._fs)

    @property
    def uri(self) -> str:
        """The folder with its scheme, such as file:/data/mind."""
        return str(self._at("").makeQualified(self._fs.getUri(), self._fs.getWorkingDirectory()).toString())

    def _at(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.path}/{name}" if name else self.path)

    def names(self) -> list[str]:
        """What lies in the folder (empty where there is no such folder)."""
        if not self._fs.exists(self._at("")):
            return []
        return sorted(status.getPath().getName() for status in self._fs.listStatus(self._at("")))

    def is_folder(self) -> bool:
        """False where there is nothing, or a file."""
        return bool(self._fs.exists(self._at("")) and self._fs.getFileStatus(self._at("")).isDirectory())

    def exists(self, name: str = "") -> bool:
        return bool(self._fs.exists(self._at(name)))

    def delete(self, name: str) -> None:
        self._fs.delete(self._at(name), True)

    def move(self, name: str, target: str) -> None:
        """Rename within the folder, over what is there.

        Raises:
            JobFailed: the file system refused.
        """
        self._fs.mkdirs(self._at(target).getParent())
        self.delete(target)
        if not self._fs.rename(self._at(name), self._at(target)):
            raise JobFailed(f"cannot rename {self.path}/{name} to {target}")
        self._forget_checksum(target)

    def _forget_checksum(self, name: str) -> None:
        """Hadoop keeps `.name.crc` beside each local file; whoever edits the file would then find it
        unreadable."""
        if self._checksums:
            folder, _, base = name.rpartition("/")
            self._fs.getRawFileSystem().delete(
                self._at(f"{folder}/.{base}.crc" if folder else f".{base}.crc"), False
            )

    def read_text(self, name: str) -> str:
        stream = self._fs.open(self._at(name))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream)).decode("utf-8")
        finally:
            stream.close()

    def write_text(self, name: str, text: str) -> None:
        """Write a small file, making its folder."""
        self._fs.mkdirs(self._at(name).getParent())
        stream = self._fs.create(self._at(name), True)
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()
        self._forget_checksum(name)
