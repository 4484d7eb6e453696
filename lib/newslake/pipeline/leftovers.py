"""Folders that killed runs left in the work folder: scratch files of searches, exports and trained models in
the making."""

import re
import time

from newslake.files.systems import file_system
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
        folder = f"{lake.work}/{place}"
        system = file_system(lake.spark, folder)
        for name in system.names(folder):
            path = f"{folder}/{name}"
            if re.match(unfinished, name) and system.modified(path) < time.time() - 3600 * hours:
                removed += system.delete(path)
    return removed
