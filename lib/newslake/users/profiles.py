"""build_profiles: what each user's reading, interests and searches say of them, day by day, with decay."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.bookmarks import is_earlier
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import day_of
from newslake.run.quarantine import send
from newslake.spark.frames import Frames
from newslake.switches.classes import classed_news
from newslake.switches.topic_model import fitted_topic_models, topic_models
from newslake.users import profile_days
from newslake.users.arrivals import HISTORY, IMPRESSIONS, Added, Span, added, added_histories
from newslake.users.day_weights import (
    articles_read,
    day_tags,
    first_seen,
    skips,
    user_articles,
    user_tags,
    user_topics,
)
from newslake.users.days import days_between
from newslake.users.events import (
    WindowOfTime,
    refuse_useless,
    said_lines,
    said_tags,
    start_of,
    timed,
    window_before,
)
from newslake.users.keywords import term_rarity
from newslake.users.profile_days import ProfileDay
from newslake.users.profile_options import SAID, WEIGHTS, SaidOptions, WeightOptions
from newslake.users.weights import decayed, weight_of

TAGS, TOPICS, ARTICLES = "user_tags", "user_topics", "user_articles"


@dataclass(frozen=True)
class Sources:
    """What profiles are made from.

    Attributes:
        news: the articles.
        said: user_interests and search_queries -> the weight, and the rows of JSON lines that are read in
            place of the table, or None.
        now: table of events -> its bookmark when the run began.
        rarity: of words, for keywords.
        article_topics: of one model.
    """

    news: DataFrame
    said: Mapping[str, tuple[float, DataFrame | None]]
    now: Mapping[str, str]
    rarity: DataFrame | None
    article_topics: DataFrame | None


def build_profiles(
    lake: Lakehouse,
    run: JobRun,
    *,
    as_of: str,
    through: str | None = None,
    settings: WeightOptions = WEIGHTS,
    said: SaidOptions = SAID,
    topic_model: str | None = None,
) -> None:
    """Bring the users' profiles to a day: user_tags, user_topics and user_articles, from what came since the
    day before.

    An event weighs 0.5 to the power of (its age / half-life), counted from when it occurred, and is added to
    the decayed weights of the last earlier day that is complete; so an event that arrives late counts once,
    as old as it is. A profile of a day holds what arrived before 00:00 UTC of that day; what was committed
    later than the day's run, or on days without a run, is added by the next one. The first profile starts
    from all that is there. A day that is there already is replaced, from the same events.

    Args:
        as_of: The day, such as 2019-11-15.
        through: Go on day by day to this one; later days that are there already are built on the new ones
            then.
        topic_model: Whose topics to use (default: the active model's, and the candidate's beside them).
    """
    first = day_of(as_of)
    last = day_of(through, "--through") if through is not None else first
    if last < first:
        raise UserError(f"--through {last} lies before --as-of {first}")
    news = classed_news(lake)
    lake.read(IMPRESSIONS)  # says what builds it; click_history is there only where files came
    spoken = _said(lake, run, said.sources)
    topics = _article_topics(lake, run, topic_model)
    rarity = term_rarity(news, settings.keyword_articles) if settings.keywords else None
    now = {
        table: lake.bookmark(table)
        for table in (IMPRESSIONS, HISTORY, *(name for name, (_, rows) in spoken.items() if rows is None))
    }
    sources = Sources(news, spoken, now, rarity, topics)
    for table in (profile_days.TABLE, TAGS, TOPICS, ARTICLES):
        lake.create(table)
    for day in days_between(first, last):
        _build_day(lake, run, day, sources, settings)
    stale = (
        lake.read(TAGS)
        .where(F.col("as_of") > F.lit(last))
        .select("as_of")
        .distinct()
        .orderBy("as_of")
        .limit(1_000)
        .collect()
    )
    if stale:
        run.fact("later days that are stale now", ", ".join(str(row[0]) for row in stale))
        run.progress(
            f"later days were built on the old weights: {run.facts['later days that are stale now']};"
            " --through recomputes them"
        )


def _build_day(lake: Lakehouse, run: JobRun, day: date, sources: Sources, settings: WeightOptions) -> None:
    """Compute and write one day; the day counts as complete from the last commit on, which says so."""
    previous = profile_days.last_complete(lake, day, ARTICLES)
    built_on = None if previous is None else previous.as_of
    span = _span(lake, day, previous, sources.now, settings)
    if built_on is not None and span.window.start is not None and span.window.start.date() > built_on:
        run.progress(
            f"{day}: the last earlier profile is of {built_on}; what came between it and {span.window.start}"
            " is in no profile"
        )
    old = {name: _of_day(lake, name, built_on, day, settings) for name in (TAGS, ARTICLES)}
    with Frames() as frames:
        came = {IMPRESSIONS: added(lake, run, frames, IMPRESSIONS, span)}
        candidates = came[IMPRESSIONS].rows
        run.rows_in(candidates.count())
        came[HISTORY] = added_histories(lake, run, frames, candidates, span)
        came.update(
            {table: added(lake, run, frames, table, span) for table in sources.said if table in span.until}
        )
        seen = first_seen(old[ARTICLES], candidates, came[HISTORY].rows)
        read = frames.checkpoint(
            articles_read(candidates, came[HISTORY].rows, old[ARTICLES], seen, day, settings)
        )
        articles = frames.keep(user_articles(old[ARTICLES], read, seen, settings.min_weight))
        heard = _heard(came, sources, span.window)
        tagged = day_tags(
            read, skips(came[IMPRESSIONS], day, settings), heard, sources.news, sources.rarity, day, settings
        )
        tags = user_tags(old[TAGS], tagged, settings)
        made = {TAGS: tags, ARTICLES: articles}
        if sources.article_topics is not None:
            made = {TAGS: tags, TOPICS: user_topics(articles, sources.article_topics), ARTICLES: articles}
        this = ProfileDay(day, settings.clock, {table: one.read_to for table, one in came.items()})
        said_of_it = {name: str(value) for name, value in asdict(settings).items()}
        profile_days.write(lake, this, built_on=built_on, settings=said_of_it, complete=False)
        for table, rows in made.items():
            dated = rows.select(
                "*", F.lit(day).alias("as_of"), weight_of(F.col("whole")).alias("weight")
            ).drop("whole")
            if table == ARTICLES:
                dated = dated.withColumn("history_weight", weight_of(F.col("history"))).drop("history")
            run.wrote(table, lake.replace(table, dated, where={"as_of": day.isoformat()}).rows)
        profile_days.write(lake, this, built_on=built_on, settings=said_of_it, complete=True)
        unknown = (
            read.join(sources.news.select("news_id"), on="news_id", how="left_anti")
            .select("news_id")
            .distinct()
            .count()
        )
        run.fact(f"articles read that lack a row in news, {day}", unknown)
    run.progress(f"{day}: done, on top of {built_on or 'nothing'}")


def _span(
    lake: Lakehouse, day: date, previous: ProfileDay | None, now: Mapping[str, str], settings: WeightOptions
) -> Span:
    """What the day counts: up to the versions that it counted before, where it is built again, so that it
    comes out the same."""
    window = window_before(
        day, settings.window_hours, None if previous is None else previous.as_of, settings.clock
    )
    if settings.window_hours is not None:
        return Span(window, None, {}, now, now)
    before = profile_days.recorded(lake, day)
    since = {} if previous is None else previous.counted_to
    until = {}
    for table, bookmark in now.items():
        known = bookmark if before is None else before.counted_to.get(table, bookmark)
        until[table] = bookmark if is_earlier(known, since.get(table, known)) else known
    counted = None
    if previous is not None:
        counted = WindowOfTime(None, start_of(previous.as_of), previous.clock or settings.clock)
    return Span(window, counted, since, until, now)


def _of_day(
    lake: Lakehouse, table: str, previous: date | None, day: date, settings: WeightOptions
) -> DataFrame:
    """A table's rows of the last earlier day, decayed to this one; none where there is none."""
    rows = lake.read(table)
    rows = rows.limit(0) if previous is None else rows.where(F.col("as_of") == F.lit(previous))
    return decayed(rows, day, settings.half_life_days)


def _heard(came: Mapping[str, Added], sources: Sources, window: WindowOfTime) -> list[DataFrame]:
    """What users said, from tables or JSON lines, as tags: user_id, tag, occurred_at, weight (below 0 where
    it was said otherwise)."""
    found = []
    for table, (weight, lines) in sources.said.items():
        if lines is not None:
            found.append(said_tags(timed(lines, table).where(window.holds()), table, weight))
            continue
        found.append(said_tags(came[table].rows, table, weight))
        withdrawn = came[table].withdrawn
        if withdrawn is not None:
            found.append(said_tags(withdrawn, table, weight).withColumn("weight", -F.col("weight")))
    return found


def _said(
    lake: Lakehouse, run: JobRun, given: dict[str, tuple[str | None, float]]
) -> dict[str, tuple[float, DataFrame | None]]:
    """See Sources.said; lines that cannot be used go to quarantine."""
    found: dict[str, tuple[float, DataFrame | None]] = {}
    for table, (path, weight) in given.items():
        rows = None
        if path is not None:
            rows, bad = said_lines(
                lake, table, path, {"user_interests": "--interests", "search_queries": "--queries"}[table]
            )
            refuse_useless(send(lake, run, bad, job="build_profiles"), rows, bad)
        found[table] = (weight, rows)
    return found


def _article_topics(lake: Lakehouse, run: JobRun, topic_model: str | None) -> DataFrame | None:
    """Rows of article_topics: the named model's, or the active one's and the candidate's. None where there is
    none.

    Raises:
        UserError: the model that was named is not there.
    """
    known = fitted_topic_models(lake)
    if topic_model is not None and topic_model not in known:
        lake.read("topics")  # says what builds it
        raise UserError(f"--topic-model {topic_model}: table topics has no such model; fit_topics fits one")
    if not known:
        run.fact("topic_model", "none yet: no user_topics")
        return None
    models = topic_models(lake, topic_model)
    run.fact("topic_model", models[-1])
    return lake.read("article_topics").where(F.col("topic_model").isin(models))
