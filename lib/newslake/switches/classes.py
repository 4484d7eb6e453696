"""The class of an article: what all that count by class take it from. Column news.category stays what the
source said.

Where the vote on a short text (jobs/reclassify_short_text.py) changed its class, the new one holds. An
article that came without a class has that of our own classifier, where this is sure of it.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse

SURE = 0.9
"""An article without a class takes the classifier's where its score is above this: the score from which long
articles vote."""
_CORPUS, _SCORES, _CLASSIFIERS = "short_text_corpus", "article_class_scores", "text_classifiers"
_OLD, _NEW = "__old_class", "__new_class"


def classed_news(lake: Lakehouse) -> DataFrame:
    """Table news, with the class that is known best in place of the source's in column category.

    Where the vote changed the class, subcategory is NULL: it was one of the class that the text is not of.
    """
    news = lake.read("news")
    classed = with_corrected_class(news, lake.read(_CORPUS)) if lake.exists(_CORPUS) else news
    if not (lake.exists(_SCORES) and lake.exists(_CLASSIFIERS)):
        return classed
    runs = (
        current_classifiers(lake.read(_CLASSIFIERS))
        .where(F.col("trained_on").isin("long", "short"))
        .select("model_run")
    )
    scores = lake.read(_SCORES).join(F.broadcast(runs), on="model_run", how="left_semi")
    without = news.where(F.col("category").isNull()).select("news_id")
    return with_found_class(classed, scores.join(without, on="news_id", how="left_semi"))


def with_corrected_class(news: DataFrame, corpus: DataFrame) -> DataFrame:
    """News with the classes that the vote changed.

    A vote holds for the text and the class that it was on: where the source has changed either since, its
    class stands until the next vote.

    Args:
        news: rows of the table; news_id, content_hash, category and subcategory at least.
        corpus: rows of short_text_corpus.
    """
    changed = corpus.where(~F.col("class").eqNullSafe(F.col("old_class")))
    changed = changed.select(
        "news_id", "content_hash", F.col("old_class").alias(_OLD), F.col("class").alias(_NEW)
    )
    rows = news.join(changed, on=["news_id", "content_hash"], how="left")
    holds = F.col(_NEW).isNotNull() & F.col("category").eqNullSafe(F.col(_OLD))
    own = {
        "category": F.when(holds, F.col(_NEW)).otherwise(F.col("category")),
        "subcategory": F.when(~holds, F.col("subcategory")),
    }
    return rows.select(*(own[name].alias(name) if name in own else F.col(name) for name in news.columns))


def with_found_class(news: DataFrame, scores: DataFrame) -> DataFrame:
    """News in which an article without a class has the most probable one, where its score is above SURE.

    Args:
        news: news_id, content_hash and category at least.
        scores: rows of article_class_scores; a score of another version of the text does not count.
    """
    best = F.max_by("class", F.struct("score", "class")).alias(_NEW)
    sure = scores.where(F.col("score") > SURE).groupBy("news_id", "content_hash").agg(best)
    rows = news.join(sure, on=["news_id", "content_hash"], how="left")
    category = F.coalesce("category", _NEW).alias("category")
    return rows.select(*(category if name == "category" else F.col(name) for name in news.columns))


def current_classifiers(runs: DataFrame) -> DataFrame:
    """The text classifier of each kind that was trained last: trained_on, model_run. Ties by model_run;
    undated ones come last.

    Args:
        runs: rows of text_classifiers.
    """
    last = F.max_by("model_run", F.struct("trained_at", "model_run"))
    return runs.groupBy("trained_on").agg(last.alias("model_run"))
