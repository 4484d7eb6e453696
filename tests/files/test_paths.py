"""Paths with blanks, foreign letters and the signs of patterns and URIs: each turned into what its reader
wants, and read."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.files import folders, paths
from newslake.files.inputs import checked, text_lines
from newslake.files.systems import readable
from newslake.lake.lakehouse import Lakehouse
from newslake.search.scratch import scratch, table_files
from newslake.search.vector_files import VectorFiles, chunks
from newslake.spark.frames import frame_of
from newslake.training.data.feed import read_row_groups
from tests.tables import put

ODD = "my läke #1 50% %20 [x] {a,b} *? ø"


def test_a_path_of_this_machine_survives_the_way_to_a_uri_and_back() -> None:
    place = f"/data/{ODD}/part=a b"
    found = paths.uri(f"file:{place}")
    assert unquote(urlsplit(found).path) == place, "as Python's own library reads it"
    assert paths.local_path(found) == place
    assert paths.place_of(found) == place
    assert paths.local_path("s3a://bucket/a") is None
    assert paths.local_path("dbfs:/a%20b") == "/dbfs/a b"
    assert paths.local_path(place.replace("#", "").replace("?", "")) == place.replace("#", "").replace(
        "?", ""
    )


@pytest.mark.parametrize("name", [ODD, "[ab]", "a\\b", "plain"])
def test_what_is_there_as_it_is_written_is_no_pattern(spark: SparkSession, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in ("one.txt", "two.txt", "other"):
        (folder / file).write_text(file)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("of the folder that [ab] would match")
    for given, wanted in (
        (f"{folder}/one.txt", {"one.txt"}),
        (f"{folder}/*.txt", {"one.txt", "two.txt"}),
        (str(folder), {"one.txt", "two.txt", "other"}),
    ):
        read = text_lines(spark, checked(spark, given, "--files"))
        assert {row["value"] for row in read.select("value").collect()} == wanted
    assert [Path(found).name for found in paths.matching(f"{folder}/*.txt")] == ["one.txt", "two.txt"]
    assert paths.matching(str(folder)) == [str(folder)]
    assert readable(spark, f"{tmp_path}/[ab]x/*") == f"{tmp_path}/[ab]x/*", (
        "a pattern stays one where nothing has that name"
    )


def test_files_beside_the_tables_are_read_back_under_any_name(spark: SparkSession, tmp_path: Path) -> None:
    rows = frame_of(
        spark, [(f"N{i}", [float(i), 1.0]) for i in range(1, 5)], "news_id string, vector array<float>"
    ).coalesce(1)
    kept = folders.written(rows, tmp_path / ODD / "staged")
    assert kept.count() == 4
    assert [p.name for p in tmp_path.iterdir()] == [ODD], "no folder of an escaped name beside it"
    files = folders.parquet_files(tmp_path / ODD / "staged")
    groups = list(read_row_groups(files, ["news_id"], seed=1))
    assert sorted(np.concatenate([group["news_id"] for group in groups])) == ["N1", "N2", "N3", "N4"]

    lake = Lakehouse(spark, str(tmp_path / ODD / "lakehouse"))
    contract = lake.schema("article_embeddings")
    given = {"news_id": F.col("news_id"), "embedding": F.col("vector"), "encoder_id": F.lit("e %1 ø#")}
    columns = [given.get(field.name, F.lit("1").cast(field.dataType)).alias(field.name) for field in contract]
    put(lake, "article_embeddings", rows.select(*columns))
    table = table_files(lake.read("article_embeddings").where(F.col("encoder_id") == "e %1 ø#"))
    with scratch(lake, None) as place:
        only = place.write(rows.select("news_id").where("news_id <> 'N4'"), "only")
        side = VectorFiles(table, "news_id", "embedding", only=only)
        [found] = list(chunks(side, side.units(), dimension=2, rows=10, zero_is_wrong=True))
    assert sorted(found.ids.to_pylist()) == ["N1", "N2", "N3"]
