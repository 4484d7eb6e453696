"""Vespa: feed files as its client takes them, and the application's schemas with tensors of the right size.

Vectors trained by inner product go out with one more dimension (search.mips), so that Vespa's Euclidean
distance ranks as the model does. Documents are named as in Vespa's news tutorial: id:user:user::U1 and
id:news:news::N1.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.search.mips import item_column, query_column
from newslake.serving.trained import TrainedVectors

FeedForm = Literal["lines", "array"]
SUFFIX: dict[FeedForm, str] = {"lines": "jsonl", "array": "json"}
LINE = "value"
_EXTRA = 1  # the dimension that search.mips adds


def user_feed(trained: TrainedVectors) -> DataFrame:
    """The feed of users: id, value: one `put` a user, as JSON."""
    values = F.struct(query_column(F.col("embedding")).alias("values"))
    operation = F.struct(
        F.concat(F.lit("id:user:user::"), "id").alias("put"),
        F.struct(F.col("id").alias("user_id"), values.alias("embedding")).alias("fields"),
    )
    return trained.users.rows.select("id", F.to_json(operation).alias(LINE))


def news_feed(trained: TrainedVectors) -> DataFrame:
    """The feed of news: id, value: one `update` an article, which assigns its embedding and touches no other
    field."""
    values = F.struct(item_column(F.col("embedding"), trained.largest).alias("values"))
    operation = F.struct(
        F.concat(F.lit("id:news:news::"), "id").alias("update"),
        F.struct(F.struct(values.alias("assign")).alias("embedding")).alias("fields"),
    )
    return trained.news.rows.select("id", F.to_json(operation).alias(LINE))


def tsv(rows: DataFrame) -> DataFrame:
    """The tutorial's form: id, value: the id, a tab, and the numbers with commas between them; all digits of
    a float32."""
    numbers: Column = F.array_join(F.transform("embedding", lambda x: x.cast("string")), ",")
    return rows.select("id", F.concat_ws("\t", "id", numbers).alias(LINE))


def as_array(lines: DataFrame) -> DataFrame:
    """The lines of each partition as one JSON array: brackets around them, commas between them."""

    def bracketed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        opening = "["
        for batch in batches:
            if batch.num_rows == 0:
                continue
            starts = pa.array([opening, *([","] * (batch.num_rows - 1))])
            yield pa.RecordBatch.from_arrays(
                [pc.binary_join_element_wise(starts, batch.column(0).cast(pa.string()), "")], [LINE]
            )
            opening = ","
        yield pa.RecordBatch.from_arrays([pa.array(["]" if opening == "," else "[]"])], [LINE])

    return lines.select(LINE).mapInArrow(bracketed, f"{LINE} string")


def write_application(folder: Path, size: int) -> None:
    """Write the application: schemas/news.sd and schemas/user.sd, services.xml, query profiles.

    Args:
        folder: a folder that is there.
        size: entries of a trained vector; the tensors have one more.
    """
    from vespa.package import HNSW, ApplicationPackage, Document, Field, FieldSet, RankProfile, Schema

    tensor = f"tensor<float>(d0[{size + _EXTRA}])"
    stored = ["summary", "attribute"]
    news = Schema(
        name="news",
        document=Document(
            fields=[
                Field(name="news_id", type="string", indexing=stored, attribute=["fast-search"]),
                *(
                    Field(name=name, type="string", indexing=stored)
                    for name in ("category", "subcategory", "url")
                ),
                *(
                    Field(name=name, type="string", indexing=["index", "summary"], index="enable-bm25")
                    for name in ("title", "abstract", "body")
                ),
                *(
                    Field(name=name, type="int", indexing=stored)
                    for name in ("date", "clicks", "impressions")
                ),
                Field(
                    name="embedding",
                    type=tensor,
                    indexing=["attribute", "index"],
                    ann=HNSW(
                        distance_metric="euclidean", max_links_per_node=16, neighbors_to_explore_at_insert=200
                    ),
                ),
            ]
        ),
        fieldsets=[FieldSet(name="default", fields=["title", "abstract", "body"])],
        rank_profiles=[
            RankProfile(
                name="recommendation",
                inputs=[("query(user_embedding)", tensor)],
                first_phase="closeness(field, embedding)",
            )
        ],
    )
    user = Schema(
        name="user",
        document=Document(
            fields=[
                Field(name="user_id", type="string", indexing=stored, attribute=["fast-search"]),
                Field(name="embedding", type=tensor, indexing=stored),
            ]
        ),
    )
    ApplicationPackage(name="news", schema=[news, user]).to_files(folder)
