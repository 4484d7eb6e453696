"""Where a session on a cluster keeps what `Frames.cut` computes: on storage that outlives an executor."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from newslake.files.systems import file_system
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import log
from newslake.spark.connect import is_connect


def on_one_machine(spark: SparkSession) -> bool:
    """Whether the session's executor is the driver itself, so that neither is lost without the other."""
    return re.fullmatch(r"local(\[.*\])?", spark.sparkContext.master or "") is not None


@contextmanager
def checkpoints(lake: Lakehouse) -> Iterator[None]:
    """Give the session of a cluster a folder for checkpoints: that of spark.checkpoint.dir, else one in
    _scratch in the work folder.

    Without one, frames are cut where only executors hold them, and a lost executor fails the job (it says
    so). What the job leaves in a folder of ours is removed at its end; purge_news removes that of killed
    jobs.
    """
    if is_connect(lake.spark):  # the server's own folder, if it has one, is the server's to say
        yield
        return
    context = lake.spark.sparkContext
    if on_one_machine(lake.spark) or context.getCheckpointDir() is not None:
        yield
        return
    if lake.work is None:
        log.warning(
            "no folder for checkpoints: an executor that is lost fails the job. Set spark.checkpoint.dir to a"
            " shared folder"
        )
        yield
        return
    context.setCheckpointDir(f"{lake.work}/_scratch")
    place = str(context.getCheckpointDir())
    try:
        yield
    finally:
        system = file_system(lake.spark, place)
        for name in system.names(place):
            system.delete(f"{place}/{name}")
