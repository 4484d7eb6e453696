"""import_labels: short texts with their classes, and classifier scores of articles, from files of JSON lines
into tables."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.files.inputs import checked, is_blank, text_lines
from newslake.intake.articles import content_hash
from newslake.intake.jsonlines import Field, also, parsed
from newslake.intake.lines import as_rejected, numbered, with_places
from newslake.intake.verdicts import IDENTITY
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import commonest, nothing_usable, send
from newslake.spark.frames import Frames

_ANY = "train"  # lines.py knows files by split; these have none
_TEXTS = (
    Field("news_id", required=True),
    Field("title", required=True),
    Field("abstract"),
    Field("body"),
    Field("class", required=True),
)
_SCORES = (
    Field("news_id", required=True),
    Field("class", required=True),
    Field("score", "number", required=True),
)


def import_labels(
    lake: Lakehouse,
    run: JobRun,
    *,
    texts: tuple[str, ...] = (),
    scores: tuple[str, ...] = (),
    model_run: str = "brought",
) -> None:
    """Bring labelled short texts into table news, and classifier scores into table article_class_scores.

    Both are files of JSON lines, plain or compressed, such as the generator's short_texts.jsonl and
    class_scores.jsonl. A text is {"news_id", "title", "class"}, and may have "abstract" and "body"; it
    becomes an article whose category is the class. A score is {"news_id", "class", "score"}, the score
    between 0 and 1. A line that cannot be used goes to quarantine; of several lines with one news_id the
    first counts, by file and line. Where no line of the texts, or of the scores, could be used, the job
    fails. Then encode the texts with jobs/encode_articles.py, and run jobs/reclassify_short_text.py.

    Args:
        texts: Files (or folders of files) with texts.
        scores: Files (or folders of files) with scores.
        model_run: Name for the classifier that gave the scores.
    """
    if not texts and not scores:
        raise UserError("give files with --texts, with --scores, or with both")
    places = {
        option: [checked(lake.spark, path, option) for path in paths]
        for option, paths in (("--texts", texts), ("--scores", scores))
    }
    useless: list[str] = []
    with Frames() as frames:
        if scores:
            share = F.when(~F.col("score").between(0.0, 1.0), "score is not between 0 and 1")
            good = _read(lake, run, frames, places["--scores"], _SCORES, share, useless)
            contract = lake.schema("article_class_scores")
            rows = good.withColumns(
                {"model_run": F.lit(model_run), "content_hash": F.lit(None).cast("string")}
            ).select(*contract.names)
            run.wrote("article_class_scores", lake.merge("article_class_scores", rows).rows)
        if texts:
            empty = F.when(F.trim("title") == "", "no title")
            good = _read(lake, run, frames, places["--texts"], _TEXTS, empty, useless)
            lake.create("news")
            run.wrote("news", lake.merge("news", as_articles(good, lake.read("news"))).rows)
    if useless:
        raise JobFailed("; ".join(useless))


def as_articles(texts: DataFrame, stored: DataFrame) -> DataFrame:
    """Rows of news for labelled texts; what a text does not say is kept of an article that is there already.

    Args:
        texts: news_id, title, abstract, body, class; no news_id twice.
        stored: the rows of news.
    """
    old = stored.select(
        "news_id", *(F.col(name).alias(f"old_{name}") for name in stored.columns if name != "news_id")
    )
    rows = texts.withColumnRenamed("class", "category").join(old, on="news_id", how="left")
    said = {
        name: F.coalesce(F.col(name), F.col(f"old_{name}"))
        for name in ("title", "abstract", "body", "category")
    }
    columns = {
        name: said.get(name, F.col("news_id") if name == "news_id" else F.col(f"old_{name}"))
        for name in stored.columns
    }
    made = rows.select(*(column.alias(name) for name, column in columns.items()))
    return made.withColumn("content_hash", content_hash())


def _read(
    lake: Lakehouse,
    run: JobRun,
    frames: Frames,
    places: Sequence[str],
    fields: Sequence[Field],
    problem: Column,
    useless: list[str],
) -> DataFrame:
    """The usable rows of the files, the first of each news_id; the other lines go to quarantine.

    Args:
        places: from `checked`.
        fields: the members of a line.
        problem: what else can be wrong with one, or NULL.
        useless: takes what is to be told where no line could be used.
    """
    files = [with_places(text_lines(lake.spark, place), _ANY) for place in places]
    everything = frames.keep(reduce(DataFrame.unionByName, files))
    lines = everything.where(~is_blank(F.col("value")))
    count = lines.count()
    run.rows_in(count)
    read = also(parsed(lines.withColumn("raw", F.col("value").cast("binary")), fields), problem)
    order = [F.col("path"), F.col("block"), F.col("row")]
    place = F.row_number().over(Window.partitionBy("news_id").orderBy(F.col("problem").isNotNull(), *order))
    again = F.when(F.col("problem").isNull() & (place > 1), "news_id comes again")
    judged = frames.keep(read.withColumn("reason", F.coalesce("problem", again)))
    wrong = judged.where(F.col("reason").isNotNull()).select(
        *IDENTITY, "arrived_at", "value", "reason", F.array(F.col("news_id"), F.lit("")).alias("fields")
    )
    send(lake, run, as_rejected(numbered(wrong, everything)), job="import_labels")
    good = judged.where(F.col("reason").isNull()).select(*(field.name for field in fields))
    if count and good.isEmpty():
        what = "text" if fields is _TEXTS else "score"
        useless.append(nothing_usable(f"line with a {what}", count, commonest(judged, "reason")))
    return good
