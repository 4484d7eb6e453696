"""Stages what training needs as Parquet in a folder of its own, named by a fingerprint of what it was made
from.

    <staging>/<fingerprint>/
        articles, users     index and id (and attributes; a user's first and latest history), one row each
        histories           one distinct list of a user's latest clicks, by index
        clicks-<width>      one click with its skips, padded to the width: read through Petastorm
        train, valid, test  one impression with its candidates: read through pyarrow, see loading.py
        vectors-<hash>      article index and embedding, by one encoder
        texts-<hash>        article index and tokens, where an encoder is tuned: see texts.py
        manifest.json       sizes; written last

Each folder is built under another name and renamed when complete, so a killed run leaves nothing that a later
run takes for complete. `staging` is a disk that driver and executors see at the same path, or lies in object
storage, from which each process fetches what it reads (see files/remote.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.files.folders import built_once, parquet_files, read, row_count, write, written
from newslake.files.remote import Place, matching, remove
from newslake.training.data import examples
from newslake.training.data.fingerprint import combined, content_fingerprint
from newslake.training.data.time_splits import TRAIN, Roles

# Part of every fingerprint: raise it when what is staged from the same input changes.
LAYOUT = 4
# Rows of a row group of `clicks`. Petastorm shuffles and shards by row group, so a shard is even to within
# one, and a shuffle buffer mixes several; smaller ones cost more to open than to read.
CLICKS_PER_ROW_GROUP = 4096
CLICKS_PER_FILE = 64 * CLICKS_PER_ROW_GROUP
# Clicks are padded to the first of these that holds all their skips, or to the longest there is: most
# impressions are short and a few ten times as long, and to read padding takes as long as to read skips.
CLICK_WIDTHS = (16, 32, 64, 128)
IMPRESSIONS_PER_FILE = 1_000_000


@dataclass(frozen=True)
class Staged:
    """A staged folder and the sizes in its manifest."""

    folder: Place
    fingerprint: str
    sizes: Mapping[str, int]

    def files(self, part: str) -> list[str]:
        """The Parquet files of one part, in the order of their rows."""
        return parquet_files(self.folder / part)

    def click_files(self) -> list[str]:
        """The Parquet files of the clicks, the shortest lists first."""
        return [file for folder in matching(self.folder, "clicks-*") for file in parquet_files(folder)]


def stage(
    folder: Place,
    impressions: DataFrame,
    click_history: DataFrame,
    news: DataFrame,
    *,
    roles: Roles,
    max_skips: int,
    max_history: int = 50,
    past: DataFrame | None = None,
) -> Staged:
    """Stage users, articles, clicks and impressions, unless that has been done for the same input and
    settings.

    Args:
        folder: the staging folder.
        impressions, click_history, news: the tables.
        roles: which impressions are train, valid and test.
        max_skips: skips kept with a click at most, see `examples.clicks_with_skips`.
        max_history: latest clicks kept of a history.
        past: histories of impressions that click_history has none of, see `past_clicks`.

    Raises:
        UserError: a role has no impression, or training no click.
        JobFailed: rows staged do not equal the rows that there are.
    """
    impressions = impressions.where(roles.chosen())
    columns = ("split", "impression_id", "user_id", "occurred_at", "news_ids")
    click_history = click_history.where(roles.chosen()).select(*columns)
    of_news = news.select("news_id", "category", "subcategory", "entities")
    fingerprint = combined(
        {
            "layout": LAYOUT,
            "impressions": content_fingerprint(
                impressions.select("split", "impression_id", "position", "user_id", "news_id", "clicked")
            ),
            "click_history": content_fingerprint(click_history),
            "news": content_fingerprint(of_news),
            **({} if past is None else {"past": content_fingerprint(past.select(*columns))}),
            **roles.as_dict(),
            "max_skips": max_skips,
            "max_history": max_history,
        }
    )

    def build(temporary: Place) -> dict[str, int]:
        histories = click_history
        if past is not None:  # several times as much work as to read it
            histories = click_history.unionByName(written(past.select(*columns), temporary / "tmp" / "past"))
        shown = examples.candidates(impressions, histories, roles)
        return _build(temporary, shown, histories, of_news, max_skips, max_history, roles)

    final, sizes = built_once(folder / fingerprint, build)
    return Staged(final, fingerprint, sizes)


def stage_vectors(
    staged: Staged, spark: SparkSession, article_embeddings: DataFrame, *, encoder_id: str
) -> Staged:
    """Stage the vectors of the staged articles by one encoder, beside them: article (int), embedding.

    Raises:
        UserError: no article has a vector by that encoder.
        JobFailed: the vectors are not all of one size.
    """
    vectors = article_embeddings.where(F.col("encoder_id") == encoder_id).select("news_id", "embedding")
    fingerprint = combined(
        {"vectors": content_fingerprint(vectors), "encoder_id": encoder_id, "articles": staged.fingerprint}
    )

    def build(temporary: Place) -> dict[str, int]:
        index = read(spark, staged.folder / "articles").select("news_id", "article")
        found = index.join(vectors, on="news_id", how="inner").select("article", "embedding")
        write(found, temporary / "embeddings")
        staged_vectors = read(spark, temporary / "embeddings")
        sizes = staged_vectors.agg(
            F.count(F.lit(1)).alias("vectors"),
            F.min(F.size("embedding")).alias("smallest"),
            F.max(F.size("embedding")).alias("size"),
        ).head()
        assert sizes is not None
        if sizes["vectors"] == 0:
            raise UserError(
                f"no article shown has a vector by encoder {encoder_id}: run jobs/encode_articles.py"
            )
        if sizes["smallest"] != sizes["size"]:
            raise JobFailed(
                f"vectors by encoder {encoder_id} have {sizes['smallest']} to {sizes['size']} numbers; they"
                " must have one size"
            )
        return {"vectors": sizes["vectors"], "vector_size": sizes["size"]}

    final, sizes = built_once(staged.folder / f"vectors-{fingerprint}", build)
    return Staged(final, fingerprint, sizes)


def _build(
    temporary: Place,
    shown: DataFrame,
    click_history: DataFrame,
    news: DataFrame,
    max_skips: int,
    max_history: int,
    roles: Roles,
) -> dict[str, int]:
    # Every later step reads these: made once.
    shown = written(shown, temporary / "tmp" / "candidates")
    there = _candidates_by_role(shown, roles)
    recent = written(
        examples.recent_clicks(shown, click_history, length=max_history), temporary / "tmp" / "recent"
    )
    histories = _indexed(
        examples.distinct_histories(recent), "history_key", "history", temporary / "tmp" / "histories"
    )
    histories = written(histories, temporary / "tmp" / "numbered_histories")
    users = _indexed(examples.users(shown, recent), "user_id", "user", temporary / "tmp" / "users")
    articles = _indexed(examples.articles(shown, news), "news_id", "article", temporary / "tmp" / "articles")
    users = examples.with_history(examples.with_history(users, histories), histories, "first_history")
    users = written(users, temporary / "users")
    articles = written(articles, temporary / "articles")
    write(examples.history_lists(histories, articles), temporary / "histories")
    of_impression = examples.with_history(recent.select("split", "impression_id", "history_key"), histories)
    lists = written(
        examples.impression_lists(shown, users, articles, of_impression), temporary / "tmp" / "lists"
    )
    found = {row["role"]: row for row in examples.list_sizes(lists, max_skips=max_skips).collect()}
    for role, row in there.items():
        for what in ("candidates", "clicks"):
            if found[role][what] != row[what]:
                raise JobFailed(f"staged {found[role][what]:,} {what} of {role}, but there are {row[what]:,}")

    of_train = found[TRAIN]
    sizes = {
        **_index_sizes(temporary, "users"),
        **_index_sizes(temporary, "articles"),
        "histories": row_count(parquet_files(temporary / "tmp" / "numbered_histories")) + 1,
        "max_history": max_history,
        "candidates": sum(int(row["candidates"]) for row in there.values()),
        "clicks": int(of_train["clicks"]),
        "clicks_with_skips_left_out": int(of_train["clicks_with_skips_left_out"]),
        "width": max(1, min(max_skips, int(of_train["longest"]))),
    }
    for role in roles.roles:
        sizes[role] = int(found[role]["impressions"])
        of_role = lists.where(F.col("role") == role).drop("role")
        files = _files_for(sizes[role], IMPRESSIONS_PER_FILE)
        write(examples.in_fixed_order(of_role, "impression_key", files=files), temporary / role)
        _check_rows(temporary / role, sizes[role])
    _write_clicks(lists.where(F.col("role") == TRAIN), sizes["clicks"], sizes["width"], temporary)
    remove(temporary / "tmp")
    return sizes


def _candidates_by_role(shown: DataFrame, roles: Roles) -> dict[str, Row]:
    counted = shown.groupBy("role").agg(
        F.count(F.lit(1)).alias("candidates"), F.sum(F.col("clicked").cast("bigint")).alias("clicks")
    )
    there = {row["role"]: row for row in counted.collect()}
    for role in roles.roles:
        if role not in there:
            raise UserError(f"{roles.named(role)} has no labelled impression: {roles.mended_by()}")
    if there[TRAIN]["clicks"] == 0:
        raise UserError(f"{roles.named(TRAIN)} has no click to train on")
    return there


def _write_clicks(train_lists: DataFrame, clicks: int, longest: int, folder: Place) -> None:
    widths = [*(width for width in CLICK_WIDTHS if width < longest), longest]
    by_width = train_lists.withColumn("width", examples.padded_to(widths))
    there = {row["width"]: int(row["clicks"]) for row in examples.clicks_by(by_width, "width").collect()}
    if sum(there.values()) != clicks:
        raise JobFailed(f"staged {sum(there.values()):,} clicks, but there are {clicks:,}")
    for width, of_width in there.items():
        rows = examples.clicks_with_skips(by_width.where(F.col("width") == width), width=width)
        rows = examples.in_fixed_order(rows, "click_id", files=_files_for(of_width, CLICKS_PER_FILE))
        part = folder / f"clicks-{width:05}"
        write(rows, part, **_click_options(width))
        _check_rows(part, of_width)


def _click_options(width: int) -> dict[str, str]:
    # Parquet ends a row group when what it has buffered reaches block.size. Without a dictionary, and with
    # pages that are not closed (and so not compressed) before that, this is what the numbers take: so the
    # size sets the number of rows.
    group_bytes = CLICKS_PER_ROW_GROUP * (8 + 4 * 4 + 4 * width)
    return {
        "parquet.block.size": str(group_bytes),
        "parquet.page.size": str(2 * group_bytes),
        "parquet.page.row.count.limit": str(2 * CLICKS_PER_ROW_GROUP),
        "parquet.page.size.row.check.min": str(CLICKS_PER_ROW_GROUP // 8),
        "parquet.enable.dictionary": "false",
        "compression": "zstd",
    }


def _indexed(rows: DataFrame, key: str, index: str, scratch: Place) -> DataFrame:
    return examples.with_index(written(examples.spread_by_range(rows, key), scratch), key, index)


def _index_sizes(temporary: Place, part: str) -> dict[str, int]:
    """Rows of an index, and how many of them training meets. The trainer holds these tables too."""
    flags = ["in_training", "has_news"] if part == "articles" else ["in_training"]
    table = pq.read_table(parquet_files(temporary / part), columns=flags)
    sizes = {part: len(table), f"{part}_in_training": _true(table["in_training"])}
    if part == "articles":
        sizes["articles_without_news"] = len(table) - _true(table["has_news"])
    return sizes


def _true(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _check_rows(folder: Place, expected: int) -> None:
    found = row_count(parquet_files(folder))
    if found != expected:
        raise JobFailed(f"staged {found:,} rows in {folder.name}, but there are {expected:,}")


def _files_for(rows: int, per_file: int) -> int:
    return max(1, -(-rows // per_file))
