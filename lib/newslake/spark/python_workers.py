"""Spark's Python workers, forked from a daemon that has imported once what they need.

Spark starts a worker for each task that runs Python at the same time, and ends one that had nothing to do for
a minute. Each imports for itself, and PyTorch with transformers takes longer than a small job's work. Here
the daemon that forks them imports first: a worker then begins in milliseconds, and all of a machine share the
memory. Work that needs no PyTorch has a daemon of its own, without it.

One setting asks for it, which conf/spark/local.conf has: spark.python.daemon.module. Without it, as on a
cluster that does not set it, workers come from Spark's own daemon and import for themselves; results are the
same.
"""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from newslake.spark.connect import is_connect

MODULE = "newslake.spark.python_workers"
_WITH_TORCH = "NEWSLAKE_WORKERS_WITH_TORCH"
_ALWAYS = ("pandas", "pyarrow.parquet", "pyspark.sql.pandas.serializers")
# None of them asks for a GPU when it is imported: a process that has done so cannot be forked.
_TORCH = ("torch", "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto")

Batches = Iterable[pa.RecordBatch]


def map_with_torch(
    rows: DataFrame, function: Callable[[Batches], Iterator[pa.RecordBatch]], schema: T.StructType | str
) -> DataFrame:
    """`rows.mapInArrow(function, schema)`, by workers that have imported PyTorch and transformers already."""
    if is_connect(rows.sparkSession):  # its workers have the server's environment, and import for themselves
        return rows.mapInArrow(function, schema)
    # Of the workers; a function takes it along as it is now.
    environment = rows.sparkSession.sparkContext.environment
    environment[_WITH_TORCH] = "1"
    try:
        return rows.mapInArrow(function, schema)
    finally:
        del environment[_WITH_TORCH]


def main() -> None:
    """Be the daemon, as `python -m newslake.spark.python_workers pyspark.worker`: Spark starts it so."""
    from pyspark import daemon

    with contextlib.redirect_stdout(sys.stderr):  # Spark reads a number from stdout
        for name in (*_ALWAYS, *(_TORCH if os.environ.get(_WITH_TORCH) else ())):
            # A worker that needs it says more of what is wrong than the daemon could.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what the workers share stays shared: no collection of theirs writes to it
    daemon.manager()


if __name__ == "__main__":
    main()
