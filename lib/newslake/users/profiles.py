"""build_profiles: what each user's reading, interests and searches say of them, day by day, with decay."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.classes import classed_news
from newslake.errors import UserError
from newslake.frames import Frames
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.options import day_of
from newslake.quarantine import send
from newslake.users.days import days_between
from newslake.users.events import Clock, histories, said, said_rows, shown, window_before
from newslake.users.keywords import article_tags, term_rarity
from newslake.users.weights import age_in_days, decay, decayed, heaviest, units, weight_of

TAGS, TOPICS, ARTICLES = "user_tags", "user_topics", "user_articles"


@dataclass(frozen=True)
class Settings:
    """How events become weights; the options of build_profiles say more."""

    half_life_days: float
    clock: Clock
    window_hours: float
    skip_weight: float
    keywords: int
    min_weight: float
    max_tags: int


@dataclass(frozen=True)
class Sources:
    """What profiles are made from. `said` holds (user_interests or search_queries, its rows, its weight)."""

    news: DataFrame
    impressions: DataFrame
    click_history: DataFrame
    said: list[tuple[str, DataFrame, float]]
    rarity: DataFrame | None
    article_topics: DataFrame | None


def build_profiles(
    lake: Lakehouse,
    run: JobRun,
    *,
    as_of: str,
    through: str | None = None,
    clock: Clock = "arrival",
    window_hours: float = 24.0,
    half_life_days: float = 7.0,
    interests: str | None = None,
    queries: str | None = None,
    topic_model: str | None = None,
    interest_weight: float = 1.0,
    query_weight: float = 0.5,
    skip_weight: float = 0.0,
    keywords: int = 5,
    keyword_articles: int = 20_000,
    min_weight: float = 0.01,
    max_tags: int = 1_000,
) -> None:
    """Bring the users' profiles to a day: user_tags, user_topics and user_articles, from what arrived in the hours before it.

    An event weighs 0.5 to the power of (its age / half-life), counted from when it occurred, and is added to the decayed weights of
    the last earlier day; so an event that arrives late counts once, as old as it is. A profile of a day holds what arrived
    before 00:00 UTC of that day. A day that is there already is replaced.

    Args:
        as_of: The day, such as 2019-11-15.
        through: Go on day by day to this one; later days that are there already are built on the new ones then.
        clock: Which events belong to a day: those that arrived in its window (ingested_at), or, to replay files such as MIND's, those
            that occurred in it.
        window_hours: Hours before the day whose events are added; hours that an earlier profile covers are left out. Give the first day
            as many hours as there are events to start from.
        half_life_days: Days after which an event weighs half.
        interests: JSON lines with user_id, interest, weight and stated_at, to read instead of table user_interests.
        queries: JSON lines with query_id, user_id, query and searched_at, to read instead of table search_queries.
        topic_model: Whose topics to use (default: the one fitted last).
        interest_weight: Weight of an interest stated with weight 1; a click weighs 1.
        query_weight: Weight of a search query.
        skip_weight: What an article that was shown and not clicked takes from the weights of its tags.
        keywords: Keywords of an article that become tags.
        keyword_articles: Articles that the rarity of words is counted in.
        min_weight: Weights below are dropped.
        max_tags: The heaviest tags of a user that are kept.
    """
    first = day_of(as_of)
    last = day_of(through, "--through") if through is not None else first
    if last < first:
        raise UserError(f"--through {last} lies before --as-of {first}")
    if min(half_life_days, window_hours) <= 0.0 or min(interest_weight, query_weight, skip_weight, min_weight) < 0.0:
        raise UserError("--half-life-days and --window-hours are over 0, weights 0 or more")
    if keywords < 0 or min(max_tags, keyword_articles) < 1:
        raise UserError("--max-tags and --keyword-articles take 1 or more, --keywords 0 or more")
    settings = Settings(half_life_days, clock, window_hours, skip_weight, keywords, min_weight, max_tags)
    news = classed_news(lake)
    behaviour = lake.read("impressions"), lake.read("click_history")
    spoken = _said(lake, run, {"user_interests": (interests, interest_weight), "search_queries": (queries, query_weight)})
    topics = _article_topics(lake, run, topic_model)
    rarity = term_rarity(news, keyword_articles) if keywords else None
    sources = Sources(news, *behaviour, spoken, rarity, topics)
    for table in (TAGS, TOPICS, ARTICLES):
        lake.create(table)
    for day in days_between(first, last):
        _build_day(lake, run, day, sources, settings)
    stale = lake.read(TAGS).where(F.col("as_of") > F.lit(last)).select("as_of").distinct().orderBy("as_of").limit(1_000).collect()
    if stale:
        run.fact("later days that are stale now", ", ".join(str(row[0]) for row in stale))
        run.progress(f"later days were built on the old weights: {run.facts['later days that are stale now']}; --through recomputes them")


def _build_day(lake: Lakehouse, run: JobRun, day: date, sources: Sources, settings: Settings) -> None:
    """Compute and write one day. user_articles comes last: a day that has it is complete."""
    previous = previous_day(lake, day)
    window = window_before(day, settings.window_hours, previous, settings.clock)
    if previous is not None and window.start.date() > previous:
        run.progress(f"{day}: the last earlier profile is of {previous}; what came between it and {window.start} is in none")
    old = {name: _of_day(lake, name, previous, day, settings) for name in (TAGS, ARTICLES)}
    with Frames() as frames:
        candidates = frames.keep(shown(sources.impressions, window))
        run.rows_in(candidates.count())
        users = old[ARTICLES].select("user_id", "first_seen_at").union(candidates.select("user_id", "occurred_at"))
        seen = users.groupBy("user_id").agg(F.min("first_seen_at").alias("first_seen_at"))
        read = frames.cut(articles_read(candidates, sources.click_history, old[ARTICLES], seen, day, settings))
        articles = frames.keep(user_articles(old[ARTICLES], read, seen, settings.min_weight))
        heard = [said(rows, table, window, weight) for table, rows, weight in sources.said]
        tagged = day_tags(read, _skips(candidates, day, settings), heard, sources, day, settings)
        tags = user_tags(old[TAGS], tagged, settings)
        made = {TAGS: tags, ARTICLES: articles}
        if sources.article_topics is not None:
            made = {TAGS: tags, TOPICS: user_topics(articles, sources.article_topics), ARTICLES: articles}
        for table, rows in made.items():
            dated = rows.select("*", F.lit(day).alias("as_of"), weight_of(F.col("whole")).alias("weight")).drop("whole")
            run.wrote(table, lake.replace(table, dated, where={"as_of": day.isoformat()}).rows)
        unknown = read.join(sources.news.select("news_id"), on="news_id", how="left_anti").select("news_id").distinct().count()
        run.fact(f"articles read that lack a row in news, {day}", unknown)
    run.progress(f"{day}: done, on top of {previous or 'nothing'}")


def _of_day(lake: Lakehouse, table: str, previous: date | None, day: date, settings: Settings) -> DataFrame:
    """A table's rows of the last earlier day, decayed to this one; none where there is none."""
    rows = lake.read(table)
    rows = rows.limit(0) if previous is None else rows.where(F.col("as_of") == F.lit(previous))
    return decayed(rows, day, settings.half_life_days)


def previous_day(lake: Lakehouse, day: date) -> date | None:
    """The last earlier day that has a profile."""
    days = [lake.read(table).where(F.col("as_of") < F.lit(day)).agg(F.max("as_of")).head() for table in (TAGS, ARTICLES)]
    known = [row[0] for row in days if row is not None and row[0] is not None]
    return max(known, default=None)


def articles_read(
    candidates: DataFrame, click_history: DataFrame, old: DataFrame, seen: DataFrame, day: date, settings: Settings
) -> DataFrame:
    """What was read anew: user_id, news_id, whole (billionths of a click's weight, decayed to the day).

    Each click counts. An article of the history counts once per user, unless a click on it is known; it is dated at the user's first
    impression, as nothing more is known.
    """
    clicks = candidates.where("clicked").select("user_id", "news_id", "occurred_at")
    clicked = clicks.select("user_id", "news_id", units(_left(F.col("occurred_at"), day, settings)).alias("whole"))
    clicked = clicked.groupBy("user_id", "news_id").agg(F.sum("whole").alias("whole"))
    known = clicked.select("user_id", "news_id").union(old.select("user_id", "news_id"))
    before = histories(click_history, candidates).join(known, on=["user_id", "news_id"], how="left_anti")
    dated = before.join(seen, on="user_id", how="inner")
    return clicked.unionByName(dated.select("user_id", "news_id", units(_left(F.col("first_seen_at"), day, settings)).alias("whole")))


def user_articles(old: DataFrame, read: DataFrame, seen: DataFrame, min_weight: float) -> DataFrame:
    """The new weights of articles: user_id, news_id, first_seen_at, whole. A user's heaviest stays: it keeps first_seen_at."""
    both = old.select("user_id", "news_id", "whole").unionByName(read)
    summed = both.groupBy("user_id", "news_id").agg(F.sum("whole").alias("whole"))
    best = heaviest(summed, "user_id", "news_id", 1).select("user_id", "news_id", F.lit(True).alias("is_best"))
    kept = summed.join(best, on=["user_id", "news_id"], how="left").where(
        (F.col("whole") >= units(F.lit(min_weight))) | F.col("is_best").isNotNull()
    )
    return kept.join(seen, on="user_id", how="inner").select("user_id", "news_id", "first_seen_at", "whole")


def day_tags(
    read: DataFrame, skipped: DataFrame | None, heard: list[DataFrame], sources: Sources, day: date, settings: Settings
) -> DataFrame:
    """What the day's events add to tags: user_id, tag, whole (below 0 for skips)."""
    weights = read if skipped is None else read.unionByName(skipped)
    touched = sources.news.join(weights.select("news_id").distinct(), on="news_id", how="left_semi")
    tags = article_tags(touched, sources.rarity, settings.keywords)
    shares = F.round(F.col("whole").cast("double") * F.col("share")).cast("bigint")
    found = weights.join(tags, on="news_id", how="inner").select("user_id", "tag", shares.alias("whole"))
    for one in heard:
        spoken = units(F.col("weight") * _left(F.col("occurred_at"), day, settings))
        found = found.unionByName(one.select("user_id", "tag", spoken.alias("whole")))
    return found


def user_tags(old: DataFrame, added: DataFrame, settings: Settings) -> DataFrame:
    """The new weights of tags: user_id, tag, whole."""
    both = old.select("user_id", "tag", "whole").unionByName(added)
    summed = both.groupBy("user_id", "tag").agg(F.sum("whole").alias("whole"))
    least = F.greatest(units(F.lit(settings.min_weight)), F.lit(1).cast("bigint"))
    return heaviest(summed.where(F.col("whole") >= least), "user_id", "tag", settings.max_tags).drop("place")


def user_topics(articles: DataFrame, article_topics: DataFrame) -> DataFrame:
    """Topics from the articles' weights and one model's topics: user_id, topic_model, topic_id, whole."""
    shares = F.round(F.col("whole").cast("double") * F.col("share")).cast("bigint")
    topics = article_topics.select("news_id", "topic_model", "topic_id", F.col("weight").alias("share"))
    both = articles.join(topics, on="news_id", how="inner").select("user_id", "topic_model", "topic_id", shares.alias("whole"))
    summed = both.groupBy("user_id", "topic_model", "topic_id").agg(F.sum("whole").alias("whole"))
    return summed.where("whole > 0")


def _left(occurred_at: Column, day: date, settings: Settings) -> Column:
    return decay(age_in_days(occurred_at, day), settings.half_life_days)


def _skips(candidates: DataFrame, day: date, settings: Settings) -> DataFrame | None:
    if settings.skip_weight == 0.0:
        return None
    lost = units(F.lit(-settings.skip_weight) * _left(F.col("occurred_at"), day, settings))
    return candidates.where("NOT clicked").select("user_id", "news_id", lost.alias("whole"))


def _said(lake: Lakehouse, run: JobRun, given: dict[str, tuple[str | None, float]]) -> list[tuple[str, DataFrame, float]]:
    """What users said, from tables or JSON lines; lines that cannot be used go to quarantine."""
    found = []
    for table, (path, weight) in given.items():
        rows, bad = said_rows(lake, table, path, {"user_interests": "--interests", "search_queries": "--queries"}[table])
        if rows is not None:
            found.append((table, rows, weight))
        if bad is not None:
            send(lake, run, bad, job="build_profiles")
    return found


def _article_topics(lake: Lakehouse, run: JobRun, topic_model: str | None) -> DataFrame | None:
    """One model's rows of article_topics: the named one's, or the one's that was fitted last. None where there is none.

    Raises:
        UserError: the model that was named is not there.
    """
    if not lake.exists("topics"):
        if topic_model is not None:
            lake.read("topics")  # says what builds it
        run.fact("topic_model", "none yet: no user_topics")
        return None
    models = lake.read("topics").groupBy("topic_model").agg(F.max("fitted_at").alias("fitted_at"))
    chosen = models if topic_model is None else models.where(F.col("topic_model") == topic_model)
    latest = chosen.orderBy(F.desc("fitted_at"), "topic_model").head()
    if latest is None:
        raise UserError(f"--topic-model {topic_model}: table topics has no such model; fit_topics fits one")
    run.fact("topic_model", latest["topic_model"])
    return lake.read("article_topics").where(F.col("topic_model") == latest["topic_model"])
