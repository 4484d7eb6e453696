"""import_labels: short texts with their classes, and classifier scores of articles, from files of JSON lines into tables."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.frames import Frames
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.mind.lines import IDENTITY, as_rejected, numbered, once, read_lines
from newslake.mind.news import content_hash
from newslake.mind.sources import Source
from newslake.quarantine import send

_ANY = "train"  # lines.py knows files by split; these have none
_TEXTS = "news_id STRING, title STRING, abstract STRING, body STRING, class STRING, _corrupt_record STRING"
_SCORES = "news_id STRING, class STRING, score DOUBLE, _corrupt_record STRING"
_READ = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}


def import_labels(
    lake: Lakehouse, run: JobRun, *, texts: tuple[str, ...] = (), scores: tuple[str, ...] = (), model_run: str = "brought"
) -> None:
    """Bring labelled short texts into table news, and classifier scores into table article_class_scores.

    Both are files of JSON lines, plain or compressed, such as the generator's short_texts.jsonl and class_scores.jsonl. A text is
    {"news_id", "title", "class"}, and may have "abstract" and "body"; it becomes an article whose category is the class. A score is
    {"news_id", "class", "score"}, the score between 0 and 1. A line that cannot be used goes to quarantine; of several lines with one
    news_id the first counts, by file and line. Then encode the texts with jobs/encode_articles.py, and run jobs/reclassify_short_text.py.

    Args:
        texts: Files (or folders of files) with texts.
        scores: Files (or folders of files) with scores.
        model_run: Name for the classifier that gave the scores.
    """
    if not texts and not scores:
        raise UserError("give files with --texts, with --scores, or with both")
    with Frames() as frames:
        if scores:
            good = _read(lake, run, frames, scores, "--scores", _SCORES, _score_problem())
            contract = lake.schema("article_class_scores")
            rows = good.withColumns({"model_run": F.lit(model_run), "content_hash": F.lit(None).cast("string")}).select(*contract.names)
            run.wrote("article_class_scores", lake.merge("article_class_scores", rows).rows)
        if texts:
            good = _read(lake, run, frames, texts, "--texts", _TEXTS, _text_problem())
            lake.create("news")
            run.wrote("news", lake.merge("news", as_articles(good, lake.read("news"))).rows)


def as_articles(texts: DataFrame, stored: DataFrame) -> DataFrame:
    """Rows of news for labelled texts; what a text does not say is kept of an article that is there already.

    Args:
        texts: news_id, title, abstract, body, class; no news_id twice.
        stored: the rows of news.
    """
    old = stored.select("news_id", *(F.col(name).alias(f"old_{name}") for name in stored.columns if name != "news_id"))
    rows = texts.withColumnRenamed("class", "category").join(old, on="news_id", how="left")
    said = {name: F.coalesce(F.col(name), F.col(f"old_{name}")) for name in ("title", "abstract", "body", "category")}
    columns = {name: said.get(name, F.col("news_id") if name == "news_id" else F.col(f"old_{name}")) for name in stored.columns}
    made = rows.select(*(column.alias(name) for name, column in columns.items()))
    return made.withColumn("content_hash", content_hash())


def _read(lake: Lakehouse, run: JobRun, frames: Frames, paths: Sequence[str], option: str, schema: str, problem: Column) -> DataFrame:
    """The usable rows of the files, the first of each news_id; the other lines go to quarantine."""
    source = Source("news", _ANY, ", ".join(paths), None, ())
    try:
        everything = frames.keep(read_lines(lake.spark, [Source("news", _ANY, path, None, ()) for path in paths])[_ANY])
        run.rows_in(everything.count())
    except Exception as error:  # Py4J's own, which has no narrower type
        raise UserError(f"{option} {source.path}: cannot be read: {str(error).splitlines()[0][:200]}") from None
    value = F.when(F.is_valid_utf8("value"), F.col("value"))
    parsed = once(everything, "said", F.from_json(value, schema, _READ)).select("*", problem.alias("reason"))
    order = [F.col("path"), F.col("block"), F.col("row")]
    place = F.row_number().over(Window.partitionBy("said.news_id").orderBy(F.col("reason").isNotNull(), *order))
    judged = parsed.withColumn("reason", F.when(F.col("reason").isNotNull(), F.col("reason")).when(place > 1, "news_id comes again"))
    judged = frames.keep(judged)
    wrong = judged.where(F.col("reason").isNotNull()).select(
        *IDENTITY, "arrived_at", "value", "reason", F.array(F.col("said.news_id"), F.lit("")).alias("fields")
    )
    send(lake, run, as_rejected(numbered(wrong, everything)), job="import_labels")
    return judged.where(F.col("reason").isNull()).select("said.*").drop("_corrupt_record")


def _broken() -> Column:
    said = F.col("said")
    return F.when(said.isNull() | said["_corrupt_record"].isNotNull(), "not JSON of the expected types").when(
        F.coalesce(said["news_id"], F.lit("")) == "", "no news_id"
    )


def _text_problem() -> Column:
    said = F.col("said")
    empty = F.coalesce(F.trim(said["title"]), F.lit("")) == ""
    return F.coalesce(_broken(), F.when(empty, "no title").when(F.coalesce(said["class"], F.lit("")) == "", "no class"))


def _score_problem() -> Column:
    said = F.col("said")
    share = F.coalesce(said["score"].between(0.0, 1.0), F.lit(False))
    return F.coalesce(
        _broken(), F.when(F.coalesce(said["class"], F.lit("")) == "", "no class").when(~share, "score is not between 0 and 1")
    )
