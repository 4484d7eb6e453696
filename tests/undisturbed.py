"""Compare a job that was killed and run again with a run that nobody disturbed."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from tests.killing import content, kill_job

Moment = Callable[[Path], bool]
"""Whether a lakehouse in this folder looks as it does at the moment."""
Look = Callable[[Lakehouse], Any]
"""What is to be the same, whatever was killed; of the tables, what they hold."""


@dataclass(frozen=True)
class Undisturbed:
    """The tables that a job starts from, and what is there after a run that nobody disturbed: made once for
    all kills of it.

    Attributes:
        before: folder of the tables before the run.
        look: what to compare.
        after: what it saw after the run.
        rerun: the run that is left alone after the kills.
    """

    before: Path
    look: Look
    after: Any
    rerun: Callable[[Lakehouse], object]

    def begin(self, lake: Lakehouse) -> None:
        """Give an empty lakehouse the tables before the run. A Delta table does not know where it lies."""
        shutil.copytree(self.before, str(lake.root))


def undisturbed_run(
    spark: SparkSession,
    folder: Path,
    fill: Callable[[Lakehouse], object],
    job: Callable[[Lakehouse], object],
    look: Look,
) -> Undisturbed:
    """Fill a lakehouse, keep a copy of it, run the job, and look at what it left, which stays in `after` in
    the folder."""
    lake = Lakehouse(spark, str(folder / "after"))
    fill(lake)
    shutil.copytree(folder / "after", folder / "before")
    job(lake)
    return Undisturbed(folder / "before", look, look(lake), job)


def content_of(*tables: str, without: Sequence[str] = ()) -> Look:
    """To look at tables, all of which must be there: count and hash of each."""
    return lambda lake: {table: content(lake.read(table), without=without) for table in tables}


def readable(lake: Lakehouse) -> None:
    """Each table that is there can be read."""
    for folder in Path(str(lake.root)).iterdir():
        if lake.exists(folder.name):
            lake.read(folder.name).count()


def kill_at(moment: Moment, lake: Lakehouse, command: tuple[str, Sequence[str]], log: Path) -> None:
    """Start a run of a job and kill it at the moment.

    Args:
        moment: how its lakehouse looks then, and did not look before.
        lake: the tables that the run starts from.
        command: the job's name, and its options without --lakehouse.
        log: file for what the run says.
    """
    root = Path(str(lake.root))
    job, options = command
    assert not moment(root), "so it is before the run begins"
    killed = kill_job(job, "--lakehouse", str(root), *options, when=lambda: moment(root), log=log)
    assert killed, f"ended before the moment: {log.read_text()[-2000:]}"


def kill_and_rerun(
    undisturbed: Undisturbed,
    lake: Lakehouse,
    moments: Mapping[str, Moment],
    command: tuple[str, Sequence[str]],
    logs: Path,
    *,
    left: Callable[[Lakehouse], object] = readable,
) -> None:
    """Kill a run at the first moment, the run that goes on from there at the next, and so on; the last is
    left alone.

    The last run must leave what an undisturbed one leaves.

    Args:
        undisturbed: what to start from, and what to come to.
        lake: an empty lakehouse.
        moments: by name, in the order in which a run comes to them.
        command: the job's name, and its options without --lakehouse.
        logs: folder for what the killed runs say.
        left: a check of what each kill leaves.
    """
    undisturbed.begin(lake)
    for number, (name, moment) in enumerate(moments.items()):
        print(name)
        kill_at(moment, lake, command, logs / f"log-{number}")
        left(lake)
    undisturbed.rerun(lake)
    assert undisturbed.look(lake) == undisturbed.after
