"""What grows without end beside the news: which rows of which table are too old, by settings of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import functions as F

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.sqltext import quoted

MATCHES, PHRASES = "tag_phrase_matches", "tag_phrases"


@dataclass(frozen=True)
class Rule:
    """Rows of a table whose `column`, a day or a time, lies before the limit are too old.

    Attributes:
        table, column: which rows.
        setting: the option of purge_news that says after how many days.
        latest_stays: whether the rows of the last day or hour stay however old they are: they are what is served.
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
    Rule(
        "profile_days", "as_of", "user_days", latest_stays=True
    ),  # after user_articles, whose days without a row here are an older version's
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
    Rule("job_runs", "started_at", "job_run_days"),
    Rule("check_results", "checked_at", "job_run_days"),
)


def retain(lake: Lakehouse, run: JobRun, today: date, days: Mapping[str, int | None]) -> None:
    """Delete what is older than its setting allows, table by table, each in one commit.

    Args:
        lake, run: as given to the job.
        today: the day that ages count from.
        days: setting -> days to keep; None keeps all.
    """
    for rule in RULES:
        kept = days.get(rule.setting)
        if kept is None or not lake.exists(rule.table):
            continue
        report_deleted(run, rule.table, lake.delete(rule.table, _too_old(lake, rule, today - timedelta(days=kept))))
    if (kept := days.get("tag_phrase_days")) is not None and lake.exists(PHRASES):
        report_deleted(run, PHRASES, _forget_phrases(lake, today - timedelta(days=kept)))


def _too_old(lake: Lakehouse, rule: Rule, limit: date) -> str:
    old = f"{quoted(rule.column)} < DATE'{limit}'"
    if not rule.latest_stays:
        return old
    row = lake.read(rule.table).agg(F.max(rule.column)).head()
    latest = None if row is None else row[0]
    # A value of the table's own, as text: a date or a timestamp.
    return f"{old} AND {quoted(rule.column)} < '{latest}'" if latest is not None else old


def _forget_phrases(lake: Lakehouse, limit: date) -> int:
    """Delete phrases last used before the limit, unless a day that is still there takes its vectors from them."""
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
