"""What grows without end beside the news: which rows of which table are too old, by settings of their own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.sqltext import quoted
from newslake.run.jobrun import JobRun
from newslake.run.options import option_group

MATCHES, PHRASES = "tag_phrase_matches", "tag_phrases"


@option_group
class Retention:
    """What bounds tables that grow without end; each is off unless it is given.

    Attributes:
        user_days: Days that user_vectors, user_tags, user_topics, user_articles, profile_days, user_phrases
            and tag_phrase_matches are kept.
        newsfeed_days: Days that newsfeed, article_ctr and feed_quality are kept.
        tag_phrase_days: Days after its last use that a phrase stays in tag_phrases for reuse.
        behavior_days: Days that impressions, click_history, clicks, reads and search_queries are kept:
            training sees no more than that.
        vote_days: Days that short_text_votes are kept.
        quarantine_days: Days that rejected input is kept.
        job_run_days: Days that job_starts, job_runs and check_results are kept.
        model_runs: Runs that are kept of each recommender (user_embeddings, news_embeddings, model_metrics,
            the model's folder), of each text classifier (its scores and metrics), and of the topic model
            (topics, topic_terms, article_topics): the latest, and any that is in use. A topic model is in use
            while article_vectors, user_vectors or user_topics hold rows by it.
    """

    user_days: int | None = None
    newsfeed_days: int | None = None
    tag_phrase_days: int | None = None
    behavior_days: int | None = None
    vote_days: int | None = None
    quarantine_days: int | None = None
    job_run_days: int | None = None
    model_runs: int | None = None

    def __post_init__(self) -> None:
        if self.model_runs is not None and self.model_runs < 1:
            raise UserError(f"--model-runs {self.model_runs}: 1 or more are kept")
        if any(value is not None and value < 1 for value in asdict(self).values()):
            raise UserError("settings that end in -days take 1 or more")


FOREVER = Retention()
"""Everything is kept."""


@dataclass(frozen=True)
class Rule:
    """Rows of a table whose `column`, a day or a time, lies before the limit are too old.

    Attributes:
        table, column: which rows.
        setting: the option of purge_news that says after how many days.
        latest_stays: whether the rows of the last day or hour stay however old they are: they are what is
            served.
    """

    table: str
    column: str
    setting: str
    latest_stays: bool = False


RULES = (
    Rule("user_vectors", "as_of", "user_days", latest_stays=True),
    Rule("user_phrases", "as_of", "user_days", latest_stays=True),
    Rule("user_tags", "as_of", "user_days", latest_stays=True),
    Rule("user_topics", "as_of", "user_days", latest_stays=True),
    Rule("user_articles", "as_of", "user_days", latest_stays=True),
    # After user_articles, whose days without a row here are an older version's.
    Rule("profile_days", "as_of", "user_days", latest_stays=True),
    Rule(MATCHES, "as_of", "user_days", latest_stays=True),
    Rule("newsfeed", "hour", "newsfeed_days", latest_stays=True),
    Rule("article_ctr", "as_of", "newsfeed_days", latest_stays=True),
    Rule("feed_quality", "hour", "newsfeed_days", latest_stays=True),
    Rule("impressions", "occurred_at", "behavior_days"),
    Rule("click_history", "occurred_at", "behavior_days"),
    Rule("clicks", "clicked_at", "behavior_days"),
    Rule("reads", "read_at", "behavior_days"),
    Rule("search_queries", "searched_at", "behavior_days"),
    Rule("short_text_votes", "as_of", "vote_days", latest_stays=True),
    Rule("quarantine", "ingested_at", "quarantine_days"),
    Rule("job_starts", "started_at", "job_run_days"),
    Rule("job_runs", "started_at", "job_run_days"),
    Rule("check_results", "checked_at", "job_run_days"),
)


def retain(lake: Lakehouse, run: JobRun, today: date, kept: Retention) -> None:
    """Delete what is older than its setting allows, table by table, each in one commit.

    Args:
        lake, run: as given to the job.
        today: the day that ages count from.
        kept: days to keep.
    """
    limits = {
        rule: today - timedelta(days=days)
        for rule in RULES
        if (days := getattr(kept, rule.setting)) and lake.exists(rule.table)
    }
    for rule, condition in _with_old_rows(lake, limits).items():
        report_deleted(run, rule.table, lake.delete(rule.table, condition))
    if kept.tag_phrase_days is not None and lake.exists(PHRASES):
        report_deleted(run, PHRASES, _forget_phrases(lake, today - timedelta(days=kept.tag_phrase_days)))


def _with_old_rows(lake: Lakehouse, limits: Mapping[Rule, date]) -> dict[Rule, str]:
    """The rules whose tables have rows before the limit, with the condition of these. All tables are looked
    at in one query: most days there is nothing to delete, and a DELETE that finds nothing is six queries in
    Delta.
    """
    looks = []
    for place, (rule, limit) in enumerate(limits.items()):
        old = F.count_if(F.col(rule.column) < F.lit(limit)).alias("old")
        # A value of the table's own, as text: a date or a timestamp.
        looks.append(
            lake.read(rule.table).agg(
                F.lit(place).alias("place"), old, F.max(rule.column).cast("string").alias("latest")
            )
        )
    if not looks:
        return {}
    found = {row["place"]: row for row in reduce(DataFrame.unionAll, looks).collect()}
    return {
        rule: _too_old(rule, limit, found[place]["latest"])
        for place, (rule, limit) in enumerate(limits.items())
        if found[place]["old"]
    }


def _too_old(rule: Rule, limit: date, latest: str) -> str:
    old = f"{quoted(rule.column)} < DATE'{limit}'"
    return f"{old} AND {quoted(rule.column)} < '{latest}'" if rule.latest_stays else old


def _forget_phrases(lake: Lakehouse, limit: date) -> int:
    """Delete phrases last used before the limit, unless a day that is still there takes its vectors from
    them."""
    unused = lake.read(PHRASES).where(F.col("last_used") < F.lit(limit)).select("phrase_id", "encoder_id")
    if lake.exists(MATCHES):  # last_used may lag behind by encode_tag_phrases --touch-days
        sources = lake.read(MATCHES).select(F.col("source_id").alias("phrase_id"), "encoder_id")
        unused = unused.join(sources, on=["phrase_id", "encoder_id"], how="left_anti")
    return lake.remove(PHRASES, unused)


def report_deleted(run: JobRun, table: str, deleted: int) -> None:
    """Note rows deleted from a table, on top of what was deleted from it before."""
    if deleted:
        name = f"deleted from {table}"
        run.fact(name, deleted + int(run.facts.get(name, "0").replace(",", "")))
        run.progress(f"{deleted:,} rows deleted from {table}")
