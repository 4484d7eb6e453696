"""Staging: complete or not at all, once per input and settings, with every row."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import JobFailed, UserError
from newslake.files.remote import local
from newslake.lake.tablespec import table_spec
from newslake.spark.frames import frame_of
from newslake.training.data import staging
from newslake.training.data.fingerprint import combined, content_fingerprint
from newslake.training.data.loading import load_catalogue, load_impressions
from newslake.training.data.staging import Staged, stage, stage_vectors
from newslake.training.data.time_splits import BySplit
from tests.training import frames

Tables = dict[str, DataFrame]
BEHAVIORS = frames.drawn_behaviors(1)


@pytest.fixture(scope="module")
def tables(spark: SparkSession) -> Tables:
    def schema(table: str) -> T.StructType:
        return table_spec(table).schema()

    ids = sorted({candidate.split("-")[0] for behavior in BEHAVIORS for candidate in behavior[4].split()})
    return {
        "impressions": frames.impressions(spark, BEHAVIORS, schema("impressions")),
        "click_history": frames.click_history(spark, BEHAVIORS, schema("click_history")),
        "news": frames.news(spark, [(n, f"c{int(n[1:]) % 3}", "s", []) for n in ids[:-2]], schema("news")),
    }


def staged_in(folder: Path, tables: Tables, **changed: Any) -> Staged:
    roles = BySplit(["train"], changed.pop("valid", ["dev"]))
    return stage(folder, **{**tables, "roles": roles, "max_skips": 100, **changed})


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, tables: Tables) -> Staged:
    return staged_in(tmp_path_factory.mktemp("staging"), tables)


def labels_in(split: str) -> list[str]:
    return [
        candidate[-1] for behavior in BEHAVIORS if behavior[0] == split for candidate in behavior[4].split()
    ]


def test_every_click_and_impression_is_staged(staged: Staged) -> None:
    sizes = staged.sizes
    assert (
        sizes["clicks"]
        == labels_in("train").count("1")
        == sum(pq.read_table(file).num_rows for file in staged.click_files())
    )
    assert sizes["candidates"] == len(labels_in("train")) + len(labels_in("dev"))
    assert sizes["train"] + sizes["valid"] == len(BEHAVIORS)
    assert sizes["articles_without_news"] == 2


def test_what_is_loaded_is_what_the_tables_hold(staged: Staged) -> None:
    catalogue = load_catalogue(staged, None)
    users, articles = catalogue.user_ids.to_pylist(), catalogue.article_ids.to_pylist()
    for role, split in (("train", "train"), ("valid", "dev")):
        loaded = load_impressions(staged, role)
        parts = zip(loaded.users, loaded.offsets[:-1], loaded.offsets[1:], strict=True)
        found = {
            (
                users[user],
                " ".join(
                    f"{articles[a]}-{label}"
                    for a, label in zip(loaded.articles[s:e], loaded.labels[s:e], strict=True)
                ),
            )
            for user, s, e in parts
        }
        assert found == {(behavior[2], behavior[4]) for behavior in BEHAVIORS if behavior[0] == split}


def test_indices_begin_with_what_training_meets(staged: Staged) -> None:
    catalogue = load_catalogue(staged, None)
    clicked = {b[2] for b in BEHAVIORS if b[0] == "train" and "-1" in b[4]}
    met = {c.split("-")[0] for b in BEHAVIORS if b[0] == "train" and "-1" in b[4] for c in b[4].split()}
    assert catalogue.user_ids.to_pylist()[: catalogue.users_in_training] == sorted(clicked)
    assert catalogue.article_ids.to_pylist()[: catalogue.articles_in_training] == sorted(met)
    names = ["c0", "c1", "c2"]
    assert catalogue.category.count == 4
    for news_id, code in zip(catalogue.article_ids.to_pylist(), catalogue.category.values, strict=True):
        assert code in (0, names.index(f"c{int(news_id[1:]) % 3}") + 1)
    assert (catalogue.category.values == 0).sum() == 2  # the articles without a news row


def test_clicks_are_padded_to_few_widths_and_have_what_is_needed_to_draw_from_them(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "CLICK_WIDTHS", (1, 2))
    staged = staged_in(tmp_path, tables)
    shortest = 0
    for width in (1, 2, staged.sizes["width"]):
        of_width = pq.read_table(staged.files(f"clicks-{width:05}"))
        assert {len(skips) for skips in of_width["skips"].to_pylist()} == {width}
        assert shortest < max(of_width["skip_count"].to_pylist()) <= width
        assert min(of_width["skip_count"].to_pylist()) >= shortest, "the first width that holds all"
        shortest = max(of_width["skip_count"].to_pylist())
    assert shortest == staged.sizes["width"] > 2
    table = pq.read_table(staged.click_files())
    assert len(table) == staged.sizes["clicks"]
    assert staged.sizes["clicks_with_skips_left_out"] == 0
    assert len(set(table["click_id"].to_pylist())) == len(table)


def test_staging_again_reads_what_is_there(staged: Staged, tables: Tables) -> None:
    folder = local(staged.folder)
    manifest = folder / "manifest.json"
    before = manifest.stat().st_mtime_ns
    shuffled = {name: rows.repartition(3, F.rand(1)) for name, rows in tables.items()}
    assert staged_in(folder.parent, shuffled) == staged
    assert manifest.stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir()] == [staged.fingerprint]


def test_the_same_input_is_staged_alike_whatever_the_partitions(
    staged: Staged, tables: Tables, tmp_path: Path, spark: SparkSession
) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    try:
        again = staged_in(tmp_path, {name: rows.repartition(4) for name, rows in tables.items()})
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", str(before))
    assert again.fingerprint == staged.fingerprint
    assert pq.read_table(again.click_files()).equals(pq.read_table(staged.click_files()))
    for part in ("train", "valid"):
        assert pq.read_table(again.files(part)).equals(pq.read_table(staged.files(part)))
    for part, key in (("users", "user"), ("articles", "article")):
        assert (
            pq.read_table(again.files(part))
            .sort_by(key)
            .equals(pq.read_table(staged.files(part)).sort_by(key))
        )


def test_other_settings_are_staged_apart_in_row_groups_of_the_size_chosen(
    staged: Staged, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "CLICKS_PER_ROW_GROUP", 16)
    monkeypatch.setattr(staging, "CLICKS_PER_FILE", 64)
    narrow = staged_in(tmp_path, tables, max_skips=2)
    assert narrow.fingerprint != staged.fingerprint
    assert narrow.sizes["width"] == 2
    assert narrow.sizes["clicks"] == staged.sizes["clicks"]
    assert narrow.sizes["clicks_with_skips_left_out"] > 0
    files = [pq.read_metadata(file) for file in narrow.click_files()]
    assert len(files) == -(-narrow.sizes["clicks"] // 64)
    groups = [file.row_group(i).num_rows for file in files for i in range(file.num_row_groups)]
    assert sum(groups) == narrow.sizes["clicks"]
    assert 8 <= max(groups) <= 16


def test_a_build_that_fails_leaves_nothing_behind(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "row_count", lambda files: -1)
    with pytest.raises(JobFailed, match="staged -1 rows in train, but there are"):
        staged_in(tmp_path, tables)
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_rows_or_clicks_is_a_users_mistake(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split nowhere has no labelled impression"):
        staged_in(tmp_path, tables, valid=["nowhere"])
    skipped = tables["impressions"].withColumn("clicked", F.lit(False))
    with pytest.raises(UserError, match="split train has no click"):
        staged_in(tmp_path, {**tables, "impressions": skipped})
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot stage in"):
        staged_in(tmp_path / "file", tables)


def test_vectors_are_staged_by_article_and_the_missing_take_the_mean(
    spark: SparkSession, staged: Staged
) -> None:
    vectors = frames.drawn_vectors(2)
    missing = load_catalogue(staged, None).article_ids[0].as_py()
    del vectors[missing]
    rows = frames.embeddings(spark, {**vectors, "N999": [0.0] * 8}, table_spec("article_embeddings").schema())
    found = stage_vectors(staged, spark, rows, encoder_id="test")
    assert stage_vectors(staged, spark, rows.repartition(3), encoder_id="test") == found
    catalogue = load_catalogue(staged, found)
    ids = catalogue.article_ids.to_pylist()
    assert catalogue.vectors is not None
    assert catalogue.vectors.shape == (len(ids), 8)
    assert catalogue.vectors.dtype == np.float32
    expected = np.array([vectors[i] for i in ids[1:]], dtype=np.float32)
    assert (catalogue.vectors[1:] == expected).all()
    assert catalogue.vectors[0] == pytest.approx(expected.mean(axis=0), abs=1e-6)


def test_vectors_of_no_shown_article_or_of_two_sizes_are_refused(spark: SparkSession, staged: Staged) -> None:
    schema = table_spec("article_embeddings").schema()
    with pytest.raises(UserError, match="no article shown has a vector by encoder test"):
        stage_vectors(staged, spark, frames.embeddings(spark, {"N999": [1.0]}, schema), encoder_id="test")
    ids = load_catalogue(staged, None).article_ids.to_pylist()
    with pytest.raises(JobFailed, match="have 1 to 2 numbers"):
        stage_vectors(
            staged,
            spark,
            frames.embeddings(spark, {ids[0]: [1.0], ids[1]: [1.0, 2.0]}, schema),
            encoder_id="test",
        )


def test_a_damaged_folder_is_noticed(staged: Staged, tables: Tables, tmp_path: Path) -> None:
    copy = shutil.copytree(local(staged.folder), tmp_path / staged.fingerprint)
    manifest = copy / "manifest.json"
    manifest.write_text(json.dumps({**staged.sizes, "valid": staged.sizes["valid"] + 1}))
    with pytest.raises(JobFailed, match="impressions of valid"):
        load_impressions(staged_in(tmp_path, tables), "valid")
    manifest.unlink()
    with pytest.raises(JobFailed, match="is there but not complete; remove it"):
        staged_in(tmp_path, tables)


def test_fingerprints_tell_content_not_order(spark: SparkSession) -> None:
    rows = frame_of(spark, [(1, None, [1.0]), (None, 1, [2.0]), (3, 4, None)], "a int, b int, c array<float>")
    print_of = content_fingerprint(rows)
    assert content_fingerprint(rows.orderBy(F.desc("a")).repartition(3)) == print_of
    assert content_fingerprint(rows.select("b", "a", "c")) != print_of
    assert content_fingerprint(rows.limit(2)) != print_of
    swapped = rows.select(F.col("b").alias("a"), F.col("a").alias("b"), "c")
    assert content_fingerprint(swapped) != print_of
    assert combined({"a": 1, "b": None}) == combined({"b": None, "a": 1}) != combined({"a": 1})
