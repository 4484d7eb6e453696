"""What the driver needs where a table lies in 20,000 small files: an exact search and a memory map of its
vectors, beside the same vectors in a few files, and beside 4 GiB.

Spark runs in local mode, where the driver's JVM is the executor's too: what is measured is more than a driver
needs on a cluster. Python workers, which are an executor's, are left out.

    python benchmarks/many_files.py             # 20,000 files
    python benchmarks/many_files.py --small     # 2,000 files
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from common import CORES, Measures, PeakMemory, bench_parser, bench_session
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.vector_map import vector_map
from newslake.search.nearest import nearest
from newslake.search.scratch import scratch
from newslake.search.vector_files import VectorFiles

TABLE = "article_embeddings"
MEMORY = "3g"  # of the JVM's heap, so that the process with all else stays below the bound
BOUND_MIB = 4096.0
ROWS_PER_FILE, DIMENSION, QUERIES, K = 20, 64, 1_000, 20


def rows_of(spark: SparkSession, encoder_id: str, rows: int) -> DataFrame:
    """Rows of article_embeddings with random vectors, the same for every encoder_id."""
    numbers = spark.range(0, rows, 1, CORES)
    entries = [F.hash(F.lit(place), "id").cast("float") / F.lit(2.0**31) for place in range(DIMENSION)]
    return numbers.select(
        F.format_string("N%09d", "id").alias("news_id"),
        F.lit(encoder_id).alias("encoder_id"),
        F.lit("").alias("content_hash"),
        F.lit(1).alias("token_count"),
        F.array(*entries).cast("array<float>").alias("embedding"),
    )


def stored(lake: Lakehouse, encoder_id: str, rows: int, rows_per_file: int) -> None:
    """Write the rows to the table, so many in a file."""
    lake.spark.conf.set("spark.sql.files.maxRecordsPerFile", str(rows_per_file))
    lake.replace(TABLE, rows_of(lake.spark, encoder_id, rows), where={"encoder_id": encoder_id})
    lake.spark.conf.unset("spark.sql.files.maxRecordsPerFile")


def measured(what: str, work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that the work takes, and the driver's peak memory in MiB meanwhile."""
    with PeakMemory(workers=False) as memory:
        began = time.perf_counter()
        work()
        taken = time.perf_counter() - began
    print(f"{what}: {taken:.1f} s, the driver's peak memory {memory.peak_mib:,.0f} MiB", flush=True)
    return taken, memory.peak_mib


def search(lake: Lakehouse, encoder_id: str) -> None:
    """The nearest articles of some, among all of one encoder's, as the vote looks for them."""
    rows = lake.read(TABLE).where(F.col("encoder_id") == encoder_id)
    some = rows.select("news_id").orderBy("news_id").limit(QUERIES)
    with scratch(lake, None) as files:
        items = VectorFiles.of(rows, "news_id", "embedding", files)
        queries = VectorFiles.of(rows, "news_id", "embedding", files, only=files.write(some, "some"))
        nearest(lake.spark, queries, items, k=K).write.format("noop").mode("overwrite").save()


def memory_map(lake: Lakehouse, folder: Path, encoder_id: str) -> None:
    """The vectors of one encoder in one file that all workers open, as the ranker reads them."""
    rows = lake.read(TABLE).where(F.col("encoder_id") == encoder_id)
    with scratch(lake, None) as files:
        side = VectorFiles.of(rows, "news_id", "embedding", files)
        found = vector_map(lake.spark, {"": side}, folder / encoder_id)
        assert len(found.opened()) == found.index.count()


def main() -> None:
    """Run it all."""
    parser = bench_parser("The driver's memory with a table in very many files.")
    parser.add_argument("--files", type=int, default=None, metavar="N", help="(default: 20,000)")
    arguments = parser.parse_args()
    many = arguments.files or (2_000 if arguments.small else 20_000)
    rows, few = many * ROWS_PER_FILE, 2 * CORES
    measures = Measures(f"A table in {many:,} files", arguments.json)
    spark = bench_session("many files", settings={"spark.driver.memory": MEMORY})
    with tempfile.TemporaryDirectory() as folder:
        lake = Lakehouse(spark, f"{folder}/lakehouse")
        for encoder_id, per_file in (("few", -(-rows // few)), ("many", ROWS_PER_FILE)):
            stored(lake, encoder_id, rows, per_file)
            print(f"{len(lake.files(TABLE, where={'encoder_id': encoder_id})):,} files", flush=True)
        works: dict[str, Callable[[str], None]] = {
            "exact search": partial(search, lake),
            "memory map": partial(memory_map, lake, Path(folder)),
        }
        for what, work in works.items():
            one, other = (measured(f"{what}, {name} files", partial(work, name)) for name in ("few", "many"))
            measures.add(
                f"{what}, time", other[0], one[0], unit="s", better="lower", peer_name=f"in {few} files"
            )
            for peer, name in ((one[1], f"in {few} files"), (BOUND_MIB, "4 GiB")):
                measures.add(
                    f"{what}, driver's memory", other[1], peer, unit="MiB", better="lower", peer_name=name
                )
    spark.stop()
    measures.finish()


if __name__ == "__main__":
    main()
