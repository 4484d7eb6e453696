"""Writes that another run got in the way of are tried again."""

import re
import time
from collections.abc import Callable
from typing import TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from newslake.lake.error_texts import WRITE_CONFLICT

Result = TypeVar("Result")
_TRIES = 5


def retrying(write: Callable[[], Result], *, on: re.Pattern[str] = WRITE_CONFLICT) -> Result:
    """What the write returns; it is tried again, a little later each time, where Delta says that another run
    was first.

    Args:
        write: what to try.
        on: what an error says that is worth another try.

    Raises:
        PySparkException, Py4JJavaError: whatever else the write raises, and what its last try raises.
    """
    for attempt in range(_TRIES - 1):
        try:
            return write()
        except (PySparkException, Py4JJavaError) as error:
            if not on.search(str(error)):
                raise
            time.sleep(0.2 * 2**attempt)
    return write()
