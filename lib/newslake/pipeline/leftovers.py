"""Folders that killed runs left in the work folder: scratch files of searches, exports and trained models in
the making."""

import re
import time

from newslake.files.paths import file_system, hadoop_path
from newslake.lake.lakehouse import Lakehouse

# Folder in the work folder -> what the names of unfinished things in it look like. Of _staging, only what is
# written under a name for the time being: staged examples and checkpoints are what a later run goes on from.
_PLACES = {"_scratch": r".", "_feeds": r"_making_", "_models": r".+\.tmp-", "_staging": r".+\.tmp-"}


def remove_leftovers(lake: Lakehouse, *, hours: float) -> int:
    """Remove what was left there longer ago than any run takes; returns how many folders.

    Args:
        lake: with a work folder; where there is none, its jobs were told where to put such files.
        hours: how long such folders stay.
    """
    if lake.work is None:
        return 0
    removed = 0
    for place, unfinished in _PLACES.items():
        folder = hadoop_path(lake.spark, f"{lake.work}/{place}")
        system = file_system(lake.spark, folder)
        if not system.exists(folder):
            continue
        for status in system.listStatus(folder):
            old = status.getModificationTime() < (time.time() - 3600 * hours) * 1000
            if old and re.match(unfinished, str(status.getPath().getName())):
                removed += bool(system.delete(status.getPath(), True))
    return removed
