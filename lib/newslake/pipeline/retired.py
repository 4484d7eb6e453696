"""What is left of topic models that are not served any more."""

from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.sqltext import literal
from newslake.run.jobrun import JobRun
from newslake.switches.topic_model import known_topic_models

_ARTICLES, _USERS = "article_vectors", "user_vectors"


def models_in_use(lake: Lakehouse) -> set[str]:
    """The active topic model, and the one that is to become active; none where none is fitted."""
    return set(known_topic_models(lake))


def retire_topic_models(lake: Lakehouse, run: JobRun) -> None:
    """Delete vectors of articles by models that are neither in use nor those of any user vector: no feed can
    be made with them again."""
    used = models_in_use(lake)
    if not used or not lake.exists(_ARTICLES):
        return
    if lake.exists(_USERS):
        used |= {row[0] for row in lake.read(_USERS).select("topic_model").distinct().collect()}
    named = ", ".join(literal(model) for model in sorted(used))
    if not lake.read(_ARTICLES).where(~F.col("topic_model").isin(sorted(used))).isEmpty():
        deleted = lake.delete(_ARTICLES, f"topic_model NOT IN ({named})")
        run.fact("vectors of articles by topic models of the past, deleted", deleted)
        run.progress(f"{deleted:,} rows of topic models of the past deleted from {_ARTICLES}")
