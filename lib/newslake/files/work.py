"""What jobs keep beside the tables, and where: staged examples, models, scratch files, reports, feeds, Milvus
Lite's file.

All of it lies below one folder, --work-folder: by default the lakehouse itself, wherever that is.
"""

from hashlib import sha256
from pathlib import Path

from newslake.errors import UserError
from newslake.files.paths import local_path, uri
from newslake.files.remote import Place, RemotePath
from newslake.files.storage import storage_of
from newslake.lake.lakehouse import Lakehouse


def beside(lake: Lakehouse, name: str, option: str, given: str | None = None) -> str:
    """What the option gives, else `name` in the work folder; as Hadoop takes it.

    Raises:
        UserError: the tables are names in a metastore, and nothing says where.
    """
    if given is None and lake.work is None:
        raise UserError(
            "tables named by --schema have no folder beside them: give --work-folder FOLDER for all, or"
            f" {option} for this"
        )
    return given if given is not None else f"{lake.work}/{name}"


def shared_folder(lake: Lakehouse, name: str, option: str, given: str | None = None) -> Place:
    """The same as a folder that this process and those of the executors open, past Spark too.

    Raises:
        UserError: nothing says where.
    """
    return place_of(lake, beside(lake, name, option, given))


def place_of(lake: Lakehouse, place: str) -> Place:
    """A path or URI as a place. What is local must be a disk or a mounted volume that driver and executors
    share."""
    plain = f"/{place.removeprefix('file:').lstrip('/')}" if place.startswith("file:") else place
    if ":/" not in plain:
        return Path(plain).absolute()
    return RemotePath(plain.rstrip("/"), storage_of(lake.spark, [uri(plain)]))


def local_work(lake: Lakehouse) -> Path | None:
    """The work folder where it is one of this machine; None where it is not, or there is none."""
    found = None if lake.work is None else local_path(lake.work)
    return None if found is None or lake.work is None or lake.work.startswith("dbfs:") else Path(found)


def of_this_machine(lake: Lakehouse, name: str) -> Path:
    """A file or folder that must be on a disk of this machine: in the work folder, else among the user's own
    files, apart by lakehouse."""
    if (work := local_work(lake)) is not None:
        return work / name
    return Path.home() / ".newslake" / sha256(str(lake.work or lake).encode()).hexdigest()[:16] / name
