"""What goes wrong around a job rather than in it, told in one line: a full disk, a folder that may not be
written, a damaged file."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from newslake.files.inputs import COMPRESSED
from newslake.files.paths import place_of
from newslake.lake.error_texts import (
    DISK_FULL,
    FILE_DAMAGED,
    FILE_GONE,
    OUT_OF_MEMORY,
    PARQUET_PATH,
    READING_PATH,
    REFUSED_PATHS,
    TABLE_BUSY,
    WRITE_REFUSED,
)


@dataclass(frozen=True)
class Fault:
    """One line that says what happened and what to do, and the exit status that goes with it: 2 where the
    user has to mend a setting."""

    line: str
    status: int = 1


def explained(error: BaseException, folders: Sequence[str | None] = ()) -> Fault | None:
    """The fault behind an exception, where it is one of those that happen to every job; None where it is not.

    Args:
        error: what a job raised; PySpark's exceptions carry the JVM's, with all its causes, as text.
        folders: where the job writes, to say which of them is full.
    """
    said = "\n".join(_texts(error))
    if DISK_FULL.search(said):
        return Fault(
            f"no space left on the disk ({_free(folders)}): make room and run again; what was written before"
            " stays, nothing is lost"
        )
    if WRITE_REFUSED.search(said):
        found = next((match for pattern in REFUSED_PATHS if (match := pattern.search(said))), None)
        place = found["path"] if found else next((folder for folder in folders if folder), "the lakehouse")
        why = (
            "the file system is read-only"
            if "Read-only file system" in said
            else "permission denied, or the file system is read-only"
        )
        return Fault(
            f"cannot write {place}: {why}; make it writable for this user, or name another folder"
            " (--lakehouse)",
            status=2,
        )
    if OUT_OF_MEMORY.search(said):
        return Fault(
            "Spark ran out of memory: give it more, such as spark-submit --driver-memory 8g (on a cluster"
            " --executor-memory too), or where Python starts the job spark.driver.memory: 8g under `spark:`"
            " of the --config file"
        )
    if TABLE_BUSY.search(said):
        return Fault(
            "another run wrote the same rows at the same time, again and again: run again when it has ended;"
            " nothing is lost"
        )
    if FILE_GONE.search(said):
        return Fault(f"{_file(said)} is gone, which its table needs: {_MEND}")
    if found := READING_PATH.search(said):
        file = place_of(found["path"])
        if not file.endswith(".parquet") and "/_delta_log/" not in file:
            return Fault(
                f"{file} is damaged and cannot be read{_as_named(file)}: bring it again as a whole, and run"
                " again"
            )
    if FILE_DAMAGED.search(said):
        return Fault(f"{_file(said)} is damaged and cannot be read: {_MEND}")
    return None


_MEND = "put it back from a copy, or RESTORE the table to a version before it, and run again"


def _as_named(file: str) -> str:
    """What the name of a compressed file says of it."""
    ending = file.rsplit(".", 1)[-1].lower()
    return f", or is not compressed as its name says (.{ending})" if ending in COMPRESSED else ""


def _texts(error: BaseException) -> list[str]:
    """What the exception says, and those that it came from."""
    found: list[str] = []
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        found.append(f"{type(step).__name__}: {step}")
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return found


def _file(said: str) -> str:
    found = PARQUET_PATH.search(said)
    return place_of(found[0]) if found else "a file of a table"


def _free(folders: Sequence[str | None]) -> str:
    """The free space where the job writes, the fullest disk first."""
    spaces = {}
    for folder in folders:
        there = (
            next((path for path in (Path(folder), *Path(folder).parents) if path.exists()), None)
            if folder
            else None
        )
        if there is not None and "://" not in str(folder):
            spaces[folder] = shutil.disk_usage(there).free
    said = [
        f"{space / 2**20:,.0f} MiB free in {folder}"
        for folder, space in sorted(spaces.items(), key=lambda pair: pair[1])
    ]
    return ", ".join(said) or "of the tables, or Spark's own temporary files"
