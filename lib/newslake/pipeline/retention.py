"""What grows without end beside the news: which rows of which table are too old, by settings of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.sqltext import quoted
from newslake.run.jobrun import JobRun

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


def retain(lake: Lakehouse, run: JobRun, today: date, days: Mapping[str, int | None]) -> None:
    """Delete what is older than its setting allows, table by table, each in one commit.

    Args:
        lake, run: as given to the job.
        today: the day that ages count from.
        days: setting -> days to keep; None keeps all.
    """
    limits = {rule: today - timedelta(days=kept) for rule in RULES if (kept := days.get(rule.setting)) and lake.exists(rule.table)}
    for rule, condition in _with_old_rows(lake, limits).items():
        report_deleted(run, rule.table, lake.delete(rule.table, condition))
    if (kept := days.get("tag_phrase_days")) is not None and lake.exists(PHRASES):
        report_deleted(run, PHRASES, _forget_phrases(lake, today - timedelta(days=kept)))


def _with_old_rows(lake: Lakehouse, limits: Mapping[Rule, date]) -> dict[Rule, str]:
    """The rules whose tables have rows before the limit, with the condition of these. All tables are looked at in one query: most days
    there is nothing to delete, and a DELETE that finds nothing is six queries in Delta.
    """
    looks = []
    for place, (rule, limit) in enumerate(limits.items()):
        old = F.count_if(F.col(rule.column) < F.lit(limit)).alias("old")
        # A value of the table's own, as text: a date or a timestamp.
        looks.append(lake.read(rule.table).agg(F.lit(place).alias("place"), old, F.max(rule.column).cast("string").alias("latest")))
    if not looks:
        return {}
    found = {row["place"]: row for row in reduce(DataFrame.unionAll, looks).collect()}
    return {
        rule: _too_old(rule, limit, found[place]["latest"]) for place, (rule, limit) in enumerate(limits.items()) if found[place]["old"]
    }


def _too_old(rule: Rule, limit: date, latest: str) -> str:
    old = f"{quoted(rule.column)} < DATE'{limit}'"
    return f"{old} AND {quoted(rule.column)} < '{latest}'" if rule.latest_stays else old


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
