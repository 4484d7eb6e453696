"""Rows of articles.parquet -> rows of news."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.articles import NEWS, content_hash
from newslake.intake.sources.ebnerd.columns import Field
from newslake.intake.sources.ebnerd.files import no_id, not_in_time
from newslake.intake.verdicts import new_claims

KEY = ("news_id",)
FIELDS = (
    Field("article_id", "id", "news_id", required=True),
    Field("title", "text", "title", required=True),
    Field("subtitle", "text", "abstract"),
    Field("body", "text", "body"),
    Field("url", "text", "url"),
    Field("published_time", "time", "published_at"),
    Field("last_modified_time", "time", "updated_at"),
    Field("category", "number", "category_code"),
    Field("category_str", "text", "category"),
    Field("subcategory", "number", "subcategory_codes", is_list=True),
    Field("ner_clusters", "text", "names", is_list=True),
    Field("entity_groups", "text", "groups", is_list=True),
)
_TEXTS = ("title", "abstract", "body", "category", "url")


def parse_rows(rows: DataFrame) -> DataFrame:
    """Add the columns of news, and `problem`: why a row cannot be used, or NULL.

    Of the codes of a subcategory the first counts. An entity has a name and a group, such as PER, and nothing
    says where it stands.

    Args:
        rows: of files.read_files with FIELDS.
    """
    code = F.col("category_code").cast("bigint").cast("string")
    rows = rows.withColumns(
        {
            "title": F.coalesce("title", F.lit("")),
            "category": F.coalesce("category", code),
            "subcategory": F.get("subcategory_codes", F.lit(0)).cast("bigint").cast("string"),
            "entities": F.transform("names", _entity),
            "updated_at": F.coalesce("updated_at", "published_at"),
        }
    )
    rows = rows.withColumn("content_hash", content_hash())
    return rows.withColumn("problem", _problem())


def articles(parsed: DataFrame) -> DataFrame:
    """What the files say of each article: the columns of table news."""
    return parsed.select(*NEWS)


def claims(parsed: DataFrame) -> DataFrame:
    """What verdicts.verdicts takes: which row claims to be which article."""
    return new_claims(parsed, F.col("news_id"), F.xxhash64("value"))


def _entity(name: Column, place: Column) -> Column:
    return F.struct(
        F.lit(None).cast("string").alias("field"),
        name.alias("label"),
        F.get("groups", place).alias("type"),
        F.lit(None).cast("string").alias("wikidata_id"),
        F.lit(None).cast("double").alias("confidence"),
        F.array().cast("array<int>").alias("occurrence_offsets"),
        F.array(name).alias("surface_forms"),
    )


def _problem() -> Column:
    nul = F.lit(False)
    for name in _TEXTS:
        nul = nul | F.coalesce(F.col(name).contains("\0"), F.lit(False))
    unequal = F.coalesce(F.size("names"), F.lit(0)) != F.coalesce(F.size("groups"), F.lit(0))
    return F.coalesce(
        no_id(F.col("news_id"), "article_id"),
        not_in_time(F.col("published_at"), "published_time", required=False),
        not_in_time(F.col("updated_at"), "last_modified_time", required=False),
        F.when(nul, "a NUL character"),
        F.when(unequal, "ner_clusters and entity_groups are lists of unequal length"),
    )
