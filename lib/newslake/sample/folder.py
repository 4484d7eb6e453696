"""The folder that the generator writes to, seen from the driver."""

from pyspark.sql import SparkSession

from newslake.errors import JobFailed
from newslake.files.systems import file_system


class Folder:
    """A folder on any file system that Spark writes to; names are relative to it."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self.path = path.rstrip("/")
        self._system = file_system(spark, self.path)

    @property
    def uri(self) -> str:
        """The folder with its scheme, such as file:/data/mind."""
        return self._system.uri(self.path)

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    def names(self) -> list[str]:
        """What lies in the folder (empty where there is no such folder)."""
        return self._system.names(self.path)

    def is_folder(self) -> bool:
        """False where there is nothing, or a file."""
        return self._system.is_folder(self.path)

    def exists(self, name: str = "") -> bool:
        return self._system.exists(self._at(name))

    def delete(self, name: str) -> None:
        self._system.delete(self._at(name))

    def move(self, name: str, target: str) -> None:
        """Rename within the folder, over what is there.

        Raises:
            JobFailed: the file system refused.
        """
        self.delete(target)
        if not self._system.rename(self._at(name), self._at(target)):
            raise JobFailed(f"cannot rename {self.path}/{name} to {target}")

    def read_text(self, name: str) -> str:
        return self._system.read(self._at(name)).decode("utf-8")

    def write_text(self, name: str, text: str) -> None:
        """Write a small file, making its folder."""
        self._system.write(self._at(name), text.encode("utf-8"))
