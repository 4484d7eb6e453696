"""Lines of news.tsv -> rows of news, and how they meet the rows that are there already.

The format is MIND's (https://msnews.github.io, Wu et al., ACL 2020): id, category, subcategory, title,
abstract, url, and the entities of title and abstract as JSON. Quotes are plain text.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.articles import ID_HASHES, content_hash, id_hashes
from newslake.intake.lines import line_problem, split_fields
from newslake.intake.verdicts import new_claims
from newslake.spark.frames import once

WIDTH = 8
KEY = ("news_id",)
_TEXT = ("news_id", "category", "subcategory", "title", "abstract", "url")
_FILE_COLUMNS = ("category", "subcategory", "title", "abstract", "url", "entities")

_ENTITIES = (
    "ARRAY<STRUCT<Label: STRING, Type: STRING, WikidataId: STRING, Confidence: DOUBLE, "
    "OccurrenceOffsets: ARRAY<INT>, SurfaceForms: ARRAY<STRING>>>"
)
_WRAPPED = f"entities {_ENTITIES}, `end` INT, _corrupt_record STRING"
_STRICT = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}


def parse_lines(lines: DataFrame) -> DataFrame:
    """Add what a line says (the columns of news that MIND has), and `problem`: why it cannot be used, or
    NULL.

    Also adds fields, and in title_json and abstract_json the entities as they were parsed.
    """
    rows = split_fields(lines)
    places = (0, 1, 2, 3, 4, 5)
    rows = rows.select(
        "*", *(F.get("fields", F.lit(i)).alias(name) for i, name in zip(places, _TEXT, strict=True))
    )
    rows = once(rows, "title_json", _parse_json(F.get("fields", F.lit(6))))
    rows = once(rows, "abstract_json", _parse_json(F.get("fields", F.lit(7))))
    entities = F.concat(_tagged("title"), _tagged("abstract"))
    return rows.select("*", entities.alias("entities"), _problem().alias("problem"))


def articles(parsed: DataFrame) -> DataFrame:
    """What the files say of each article: the columns of table news that MIND has."""
    return parsed.select("news_id", *_FILE_COLUMNS)


def claims(parsed: DataFrame) -> DataFrame:
    """What verdicts.verdicts takes: which line claims to be which article."""
    return new_claims(parsed, F.col("news_id"), F.xxhash64("value"))


def merged(files: DataFrame, stored: DataFrame, shown: DataFrame) -> DataFrame:
    """What table news should hold: the rows that the files bring, and those whose published_at changes.

    An article that is only known from MIND's files takes what the files say now. One that another source
    brought (it has an updated_at or a body) keeps what it has, and takes from the files what it lacks.
    published_at is the first time that the article was shown, and goes with the table impressions; of an
    article of another source it is only filled in.

    Args:
        files: what articles() gives, no news_id twice.
        stored: the rows of news.
        shown: what first_shown() gives, of everything in impressions.
    """
    old = stored.select(
        "news_id", F.struct(*(name for name in stored.columns if name != "news_id")).alias("old")
    )
    new = files.select("news_id", F.struct(*_FILE_COLUMNS).alias("new"))
    rows = old.join(new, on="news_id", how="full_outer").select("*", *id_hashes("news_id"))
    rows = rows.join(shown.select(*ID_HASHES, "first_shown"), on=[*ID_HASHES], how="left")
    versioned = F.coalesce(F.col("old.updated_at").isNotNull() | F.col("old.body").isNotNull(), F.lit(False))
    published = F.when(versioned, F.coalesce("old.published_at", "first_shown")).otherwise(
        F.col("first_shown")
    )
    rows = rows.where(F.col("new").isNotNull() | ~F.col("old.published_at").eqNullSafe(published))

    def column(name: str) -> Column:
        ours, theirs = F.col(f"new.{name}"), F.col(f"old.{name}")
        return F.when(versioned | F.col("new").isNull(), F.coalesce(theirs, ours)).otherwise(ours).alias(name)

    rows = rows.select(
        "news_id",
        *map(column, _FILE_COLUMNS),
        F.col("old.body").alias("body"),
        published.alias("published_at"),
        F.col("old.updated_at").alias("updated_at"),
    )
    return rows.withColumn("content_hash", content_hash())


def _parse_json(text: Column) -> Column:
    """A struct of the entities and whether the text is broken. Spark ends at the first value and would not
    see what follows it, so the text is put inside an object, whose end it then has to leave alone."""
    wrapped = F.concat(F.lit('{"entities":'), F.when(text == "", "[]").otherwise(text), F.lit(',"end":0}'))
    parsed = F.from_json(wrapped, _WRAPPED, _STRICT)
    whole = F.json_object_keys(wrapped).eqNullSafe(F.array(F.lit("entities"), F.lit("end")))
    entities = parsed["entities"]
    broken = (
        ~whole
        | parsed["_corrupt_record"].isNotNull()
        | entities.isNull()
        | F.exists(entities, lambda entity: entity.isNull())
    )
    return F.struct(entities.alias("entities"), broken.alias("broken"))


def _tagged(field: str) -> Column:
    def one(entity: Column) -> Column:
        return F.struct(
            F.lit(field).alias("field"),
            entity["Label"].alias("label"),
            entity["Type"].alias("type"),
            entity["WikidataId"].alias("wikidata_id"),
            entity["Confidence"].alias("confidence"),
            entity["OccurrenceOffsets"].alias("occurrence_offsets"),
            entity["SurfaceForms"].alias("surface_forms"),
        )

    return F.transform(F.col(f"{field}_json.entities"), one)


def _problem() -> Column:
    return F.coalesce(
        line_problem(WIDTH),
        F.when(F.col("news_id") == "", "empty news_id")
        .when(F.col("title_json.broken"), "broken JSON in the entities of the title")
        .when(F.col("abstract_json.broken"), "broken JSON in the entities of the abstract"),
    )
