"""What a search lists on the driver: few files, however many small ones a table has."""

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from newslake.files.folders import read
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.vector_map import vector_map
from newslake.search import scratch as module
from newslake.search.nearest import nearest
from newslake.search.scratch import Scratch, table_files
from newslake.search.vector_files import VectorFiles
from newslake.spark.frames import frame_of

TABLE = "article_embeddings"
SCHEMA = "news_id string, encoder_id string, content_hash string, token_count int, embedding array<float>"


@pytest.fixture
def embedded(lake: Lakehouse) -> Lakehouse:
    """Vectors of 40 articles in 10 files, and one of another encoder."""
    rows = [(f"N{n:02}", "e 1", "", 1, [float(n), 1.0, float(n % 7)]) for n in range(40)]
    other = frame_of(lake.spark, [("N00", "e2", "", 1, [1.0])], SCHEMA)
    lake.append(TABLE, frame_of(lake.spark, rows, SCHEMA).repartition(10, "news_id"))
    lake.append(TABLE, other)
    return lake


def side(lake: Lakehouse, place: Scratch, encoder_id: str = "e 1") -> VectorFiles:
    """The vectors of one encoder."""
    rows = lake.read(TABLE).where(F.col("encoder_id") == encoder_id)
    return VectorFiles.of(rows, "news_id", "embedding", place)


def test_many_small_files_are_searched_as_few(
    embedded: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark, place = embedded.spark, Scratch(f"file://{tmp_path}/scratch")
    as_they_are = side(embedded, place)
    assert set(as_they_are.files) == set(table_files(embedded.read(TABLE).where("encoder_id = 'e 1'")))
    assert len(as_they_are.files) > 5
    monkeypatch.setattr(module, "MOST_FILES", 5)
    few = side(embedded, place)
    assert side(embedded, place).files == few.files, "copied once"
    assert side(embedded, place, "e2").files == table_files(embedded.read(TABLE).where("encoder_id = 'e2'"))
    assert len(few.files) <= 2 * spark.sparkContext.defaultParallelism
    assert all(file.startswith(f"file://{tmp_path}/scratch/few-") for file in few.files)
    assert sum(unit.rows for unit in few.units()) == 40
    found = [sorted(map(tuple, nearest(spark, each, each, k=3).collect())) for each in (as_they_are, few)]
    assert found[0] == found[1]
    mapped = vector_map(spark, {"": few}, tmp_path / "map")
    assert len(mapped.opened()) == mapped.index.count() == 40
    # Files of a fair size stay where they are: a list of them is short beside what they hold.
    monkeypatch.setattr(module, "FAIR_BYTES", 10)
    assert side(embedded, Scratch(f"file://{tmp_path}/other")).files == as_they_are.files


def test_lists_of_ids_are_few_files(lake: Lakehouse, tmp_path: Path) -> None:
    place = Scratch(f"file://{tmp_path}")
    files = place.write(lake.spark.range(0, 1000, 1, 200).select(F.col("id").cast("string")), "ids")
    assert len(files) <= 64
    assert read(lake.spark, tmp_path / "ids").count() == 1000
