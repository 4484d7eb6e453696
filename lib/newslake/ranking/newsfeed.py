"""rank_newsfeed: for an hour, each user's feed: the nearest recent articles, ranked by estimated
click-through rate."""

from contextlib import ExitStack
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import apply, ctr, feed
from newslake.ranking.calibration import DEPTH, calibrated_feeds, mixes
from newslake.ranking.gather import Moments, impressions_of, vector_folder
from newslake.ranking.options import FORMULA, FormulaOptions
from newslake.ranking.quality import quality
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one, those_asked_for, utc_moment, utc_now, whole_hour
from newslake.search.knn_settings import BY_DEFAULT, KnnSettings, SearchOptions
from newslake.search.nearest import nearest
from newslake.search.one_of_a_story import stories_of, with_story
from newslake.search.scratch import Scratch, scratch
from newslake.search.sides import quarantine
from newslake.search.vector_files import VectorFiles
from newslake.spark.frames import Frames, frame_of
from newslake.switches.classes import classed_news
from newslake.switches.topic_model import asked_or_active

FEED, RATES, ARTICLES, USERS, QUALITY = (
    "newsfeed",
    "article_ctr",
    "article_vectors",
    "user_vectors",
    "feed_quality",
)


def rank_newsfeed(
    lake: Lakehouse,
    run: JobRun,
    *,
    hour: str | None = None,
    days: int = 2,
    per_vector: int = 100,
    feed_size: int = 50,
    formula: FormulaOptions = FORMULA,
    active_days: int = 30,
    diversity: float = 0.2,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    ranker: str = apply.AUTO,
    model_folder: str | None = None,
    search: SearchOptions = BY_DEFAULT,
    scratch_folder: str | None = None,
) -> None:
    """Write each user's newsfeed for one hour to table newsfeed, and the articles' click-through rates to
    table article_ctr.

    Candidates of a user are the articles of the last --days days that are nearest (by cosine, exactly) to
    each of the user's vectors of the hour's day, or else of the latest day before it, merged; what the user
    has clicked is left out. They are ranked by estimated click-through rate: clicks and impressions strictly
    before the hour, the recent ones counting most, smoothed towards the rate of the category and of all
    articles (empirical Bayes); less for age, more for likeness: log(ctr) - ln 2 x age / half-life + weight x
    likeness, ties by news_id. Likeness is the highest of the cosines of the user's vectors, each times the
    root of the vector's weight over that of the user's heaviest: what stands for one stray click counts less
    than what the user reads daily. Where a ranker was promoted (see train_ranker), its score ranks instead.

    Of near-identical articles (one story_id in table stories, see jobs/find_stories.py) a feed has the one
    that ranks best.

    Users without vectors who were shown something in the last --active-days days get what is popular in the
    categories that they click most, then what is popular with all. An article that nobody was shown yet has
    its category's rate. Before the first click everything has the rate 0, and likeness and age rank.

    Run again for the same hour, the job replaces that hour's rows.

    Args:
        hour: Such as 2019-11-15T08 (UTC; default: the present hour).
        days: Articles published in so many days before the hour are candidates.
        per_vector: Nearest articles to take for each vector of a user.
        feed_size: Articles in a feed.
        active_days: Users without vectors get a feed where they were shown something in so many days.
        diversity: How much the mix of categories in a feed of a user with vectors is drawn to that of what
            the user has clicked: 0 (the score alone) to 1 (the mix alone). docs/search.md has the costs.
        encoder_id: Whose vectors to use, where the tables hold several encoders'.
        topic_model: Whose vectors to use (default: the active topic model's; for an hour before it had any,
            those of the hour's day).
        ranker: auto (the promoted one, else the formula), formula, or the run of train_ranker whose ranker to
            use.
        model_folder: Folder with trained rankers (default: _models in the work folder).
        scratch_folder: Folder for small files between Spark and its workers (default: _scratch in the work
            folder).
    """
    if min(days, per_vector, feed_size, active_days) < 1:
        raise UserError("--days, --per-vector, --feed-size and --active-days must be at least 1")
    if not 0.0 <= diversity <= 1.0:
        raise UserError(f"--diversity {diversity}: take 0 to 1")
    how = search.settings()
    at = parse_hour(hour)
    news = classed_news(lake)
    impressions = impressions_of(lake).where(F.col("occurred_at") < F.lit(at))
    history = lake.read_or_empty("click_history")
    known = lake.read(USERS).where(F.col("as_of") <= F.lit(at.date()))
    topic_model = asked_or_active(lake, known, topic_model)
    users, owner_day = latest_vectors(
        those_asked_for(known, encoder_id=encoder_id, topic_model=topic_model), at
    )
    identity = {
        name: the_one(
            users, name, asked, table=USERS, built_by="build_user_vectors", things="vectors of that day"
        )
        for name, asked in (("encoder_id", encoder_id), ("topic_model", topic_model))
    }
    run.fact("user vectors of", owner_day)
    learnt = apply.chosen(lake, run, ranker, model_folder, identity["encoder_id"])
    ranked_by = apply.FORMULA if learnt is None else learnt.ranker.run_id
    run.fact("ranked by", ranked_by)
    candidates = feed.recent(news, at, days)
    rates = ctr.estimated(candidates, ctr.counts(impressions, at, formula.ctr_half_life_hours), news)
    rates = rates.select(F.lit(at).alias("as_of"), "*")
    run.wrote(RATES, lake.replace(RATES, rates, where={"as_of": _text(at)}).rows)
    stored = lake.read(RATES).where(F.col("as_of") == F.lit(at))
    with Frames() as frames, scratch(lake, scratch_folder) as files, ExitStack() as folders:
        stories = stories_of(lake, identity["encoder_id"])
        rated = candidates.join(stored.select("news_id", "ctr"), on="news_id", how="inner")
        articles = frames.keep(with_story(rated, stories))
        read = frames.keep(feed.read_before(impressions, history, at))
        found = frames.keep(
            find(lake, files, articles, users, identity, days=days, hour=at, k=per_vector, settings=how)
        )
        quarantine(lake, run, found, sources={"query_id": USERS, "item_id": ARTICLES})
        heaviest = frames.keep(feed.heaviest_of(users, identity))
        pairs = feed.candidates(found.where(F.col("problem").isNull()), heaviest, articles, read)
        if learnt is None:
            scored = pairs.withColumn("score", feed.score(formula, at, F.col("cosine")))
        else:
            folder = folders.enter_context(vector_folder(lake, scratch_folder))
            moments = Moments([at], days, identity["encoder_id"], identity["topic_model"])
            scored = apply.scored(lake, frames, folder, learnt, pairs, moments, news=news, rates=stored)
        clicked = read.join(news.select("news_id", "category"), on="news_id", how="inner").select(
            "user_id", "category"
        )
        mix = mixes(clicked)
        own = feed.ranked(scored, feed_size if diversity == 0.0 else max(feed_size, DEPTH))
        if diversity > 0.0:
            own = calibrated_feeds(own, articles, mix, diversity=diversity, size=feed_size)
        own = frames.keep(own)
        active = (F.col("occurred_at") < F.lit(at)) & (
            F.col("occurred_at") >= F.lit(at - timedelta(days=active_days))
        )
        others = (
            impressions.where(active)
            .select("user_id")
            .distinct()
            .join(own.select("user_id"), on="user_id", how="left_anti")
        )
        popular = feed.without_vectors(others, articles, read, clicked, formula, at, feed_size)
        by = F.when(F.col("reason") == feed.VECTORS, ranked_by).otherwise(apply.FORMULA).alias("ranker")
        rows = own.union(popular).select(F.lit(at).alias("hour"), "*", by)
        run.wrote(FEED, lake.replace(FEED, rows, where={"hour": _text(at)}).rows)
        _judge(lake, run, files, articles, mix, identity, at, days=days, diversity=diversity)
        _report(run, lake, at, articles)


def find(
    lake: Lakehouse,
    files: Scratch,
    articles: DataFrame,
    users: DataFrame,
    identity: dict[str, str],
    *,
    days: int,
    hour: datetime,
    k: int,
    settings: KnnSettings,
) -> DataFrame:
    """The nearest candidates of every user vector, the cosine times the root of the vector's weight as score.

    query_id is the user; several rows a pair are possible.

    Args:
        lake: where the tables live.
        files: takes the list of candidates.
        articles: news_id of the candidates.
        users: the rows of user_vectors of one day.
        identity: encoder_id and topic_model.
        days, hour: bound the days of article_vectors that are read.
        k: nearest articles of each vector.
        settings: how to search.

    Raises:
        UserError: no candidate has a vector of that encoder and topic model.
    """
    since, until = (hour - timedelta(days=days)).date(), hour.date()
    recent = _recent_vectors(lake, days, hour)
    same = [F.col(name) == value for name, value in identity.items()]
    if recent.where(same[0] & same[1]).isEmpty():
        wanted = " and ".join(identity.values())
        raise UserError(
            f"article_vectors has no vector of {wanted} from {since} to {until}: run"
            " jobs/build_article_vectors.py"
        )
    only = files.write(articles.select("news_id"), "candidates")
    items = VectorFiles.of(recent, "news_id", "vector", files, where=identity, only=only, identity=identity)
    queries = VectorFiles.of(
        users, "user_id", "vector", files, where=identity, identity=identity, weight_column="weight"
    )
    return nearest(lake.spark, queries, items, k=k, settings=settings, by_query_id=True)


def _recent_vectors(lake: Lakehouse, days: int, hour: datetime) -> DataFrame:
    since, until = (hour - timedelta(days=days)).date(), hour.date()
    return lake.read(ARTICLES).where(
        (F.col("news_date") >= F.lit(since)) & (F.col("news_date") <= F.lit(until))
    )


def _judge(
    lake: Lakehouse,
    run: JobRun,
    files: Scratch,
    articles: DataFrame,
    mix: DataFrame,
    identity: dict[str, str],
    hour: datetime,
    *,
    days: int,
    diversity: float,
) -> None:
    """What the hour's feeds are like, to table feed_quality."""
    feeds = lake.read(FEED).where(F.col("hour") == F.lit(hour)).select("user_id", "news_id")
    rates = lake.read(RATES).where(F.col("as_of") == F.lit(hour)).select("news_id", "impressions")
    shown = files.write(feeds.select("news_id").distinct(), "shown")
    vectors = VectorFiles.of(
        _recent_vectors(lake, days, hour), "news_id", "vector", files, where=identity, only=shown
    )
    found = quality(feeds, rates, articles, mix, vectors)
    contract = lake.schema(QUALITY)
    rows = (
        [tuple({"hour": hour, "diversity": diversity, **found}[name] for name in contract.names)]
        if found
        else []
    )
    run.wrote(
        QUALITY, lake.replace(QUALITY, frame_of(lake.spark, rows, contract), where={"hour": _text(hour)}).rows
    )


def latest_vectors(users: DataFrame, hour: datetime) -> tuple[DataFrame, str]:
    """The user vectors of the latest day up to the hour's: what was known then, as a day's hold at its start.
    The rows, and the day.

    Raises:
        UserError: there are none.
    """
    row = users.where(F.col("as_of") <= F.lit(hour.date())).agg(F.max("as_of")).head()
    if row is None or row[0] is None:
        raise UserError(
            f"user_vectors has no vectors of {hour.date()} or a day before: run jobs/build_user_vectors.py"
        )
    return users.where(F.col("as_of") == F.lit(row[0])), str(row[0])


def parse_hour(text: str | None) -> datetime:
    """An hour such as 2019-11-15T08, UTC and without a zone, as Spark takes it in a session in UTC; None: the
    present hour.

    Raises:
        UserError: it is not an hour.
    """
    try:
        given = utc_now() if text is None else utc_moment(text)
    except ValueError:
        raise UserError(f"--hour {text}: give an hour such as 2019-11-15T08") from None
    whole = whole_hour(given)
    if text is not None and whole != given:
        raise UserError(f"--hour {text}: give a whole hour such as 2019-11-15T08")
    return whole


def _text(hour: datetime) -> str:
    return f"{hour:%Y-%m-%d %H:%M:%S}"


def _report(run: JobRun, lake: Lakehouse, hour: datetime, articles: DataFrame) -> None:
    run.rows_in(articles.count())
    rows = lake.read(FEED).where(F.col("hour") == F.lit(hour))
    for row in (
        rows.groupBy("reason").agg(F.countDistinct("user_id").alias("users")).orderBy("reason").collect()
    ):
        run.fact(f"users with articles by {row['reason']}", int(row["users"]))
