"""build_profiles: weights against sums over all events, late ones once, and days built again."""

import json
import math
import random
import shutil
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.users.keywords import SHARES, best_keywords, term_rarity
from newslake.users.profiles import build_profiles
from tests.calling import call
from tests.killing import commits, content, log_of
from tests.tables import put
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run

TABLES = ("user_tags", "user_topics", "user_articles")
DAY = date(2019, 11, 15)
EXACT: dict[str, Any] = {"min_weight": 0.0, "keywords": 0}


def at(text: str) -> datetime:
    """A time in November 2019, UTC, such as `14 12:00`."""
    return datetime.strptime(f"2019-11-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def article(news_id: str, category: str, *labels: str, title: str = "") -> dict[str, Any]:
    """A row of news."""
    entities = [("title", label, "P", "Q1", 1.0, [0], [label]) for label in labels]
    return {
        "news_id": news_id,
        "category": category,
        "subcategory": f"{category}-sub",
        "title": title,
        "entities": entities,
        "content_hash": news_id,
    }


NEWS = [
    article("N1", "sports", "Ann Lee", "Rovers"),
    article("N2", "Sports", "Rovers"),
    article("N3", "money", "Bank  X"),
    article("N4", "weather"),
    article("N5", "weather", "Rovers"),
]
# user, occurred, arrived, [(article, clicked)], history
SHOWN: list[tuple[str, str, str, list[tuple[str, bool]], list[str]]] = [
    ("u1", "13 06:00", "13 06:00", [("N1", True), ("N2", False)], ["N4", "N4", "N3"]),
    ("u1", "13 18:00", "13 18:00", [("N1", True), ("N3", True)], ["N4", "N3"]),
    ("u2", "13 12:00", "13 12:00", [("N2", True), ("N9", True)], []),
    ("u1", "12 12:00", "14 09:00", [("N5", True)], ["N4"]),  # two days late
    ("u1", "14 10:00", "14 10:00", [("N2", True)], ["N4", "N3", "N5"]),
    ("u3", "14 11:00", "14 11:00", [("N3", False)], ["N1"]),
    ("u2", "15 01:00", "15 01:00", [("N1", True)], []),  # the next day's
]
TOPICS = {"N1": [(0, 0.7), (1, 0.3)], "N2": [(0, 1.0)], "N3": [(2, 0.9)], "N4": [(1, 0.6)], "N5": [(2, 0.5)]}


def fill_world(lake: Lakehouse, seed: int = 0) -> None:
    """The tables that the job reads, rows in an order by the seed."""
    mixed = random.Random(seed)
    impressions, histories = [], []
    for number, (user, occurred, arrived, articles, history) in enumerate(SHOWN):
        common = {"split": "live", "impression_id": str(number), "user_id": user, "occurred_at": at(occurred)}
        histories.append({**common, "news_ids": history})
        for position, (news_id, clicked) in enumerate(articles):
            impressions.append(
                {
                    **common,
                    "position": position,
                    "ingested_at": at(arrived),
                    "news_id": news_id,
                    "clicked": clicked,
                }
            )
    for table, rows in (("news", list(NEWS)), ("impressions", impressions), ("click_history", histories)):
        mixed.shuffle(rows)
        put(lake, table, rows)


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of fill_world."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("world") / "lakehouse"))
    fill_world(lake)
    return Path(str(lake.root))


@pytest.fixture
def filled(lake: Lakehouse, world: Path) -> Lakehouse:
    """A lakehouse with a copy of them, of the test's own."""
    shutil.copytree(world, str(lake.root))
    return lake


def fill_topics(lake: Lakehouse, model: str, fitted: str) -> None:
    """A topic model, and its topics of the articles."""
    put(
        lake,
        "topics",
        [
            {
                "topic_model": model,
                "topic_id": i,
                "terms": ["t"],
                "term_weights": [1.0],
                "vector": [1.0],
                "fitted_at": at(fitted),
                **FITTED,
            }
            for i in range(3)
        ],
    )
    rows = [(news_id, rank, *one) for news_id, found in TOPICS.items() for rank, one in enumerate(found, 1)]
    names = ("news_id", "rank", "topic_id", "weight")
    put(
        lake,
        "article_topics",
        [
            {**dict(zip(names, row, strict=True)), "topic_model": model, "content_hash": row[0]}
            for row in rows
        ],
    )


FITTED = {"prior": 0.1, "articles": 5}


def build(lake: Lakehouse, as_of: date = DAY, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("build_profiles")
    call(build_profiles, lake, run, as_of=as_of.isoformat(), **options)
    return run


def weights(lake: Lakehouse, table: str, day: date, *key: str) -> dict[tuple[Any, ...], float]:
    """key -> weight."""
    return {
        tuple(row)[:-1]: row["weight"]
        for row in lake.read(table).where(F.col("as_of") == F.lit(day)).select(*key, "weight").collect()
    }


def expected_articles(day: date, half_life: float = 7.0) -> dict[tuple[str, str], float]:
    """From all events, by hand: clicks as often as they are there, other articles of the histories once, at
    the first impression."""
    end = datetime(day.year, day.month, day.day, tzinfo=UTC)
    arrived = sorted(
        (at(arrived), user, at(occurred), articles, history)
        for user, occurred, arrived, articles, history in SHOWN
        if at(arrived) < end
    )
    found: dict[tuple[str, str], float] = defaultdict(float)
    for today in sorted({moment.date() for moment, *_ in arrived}):
        by_now = [(user, occurred) for moment, user, occurred, *_ in arrived if moment.date() <= today]
        first = {user: min(occurred for who, occurred in by_now if who == user) for user, _ in by_now}
        events = [one for one in arrived if one[0].date() == today]
        known = set(found)
        fresh: dict[tuple[str, str], float] = defaultdict(float)
        for _, user, occurred, articles, _ in events:
            for news_id, clicked in articles:
                if clicked:
                    fresh[user, news_id] += 0.5 ** ((end - occurred).total_seconds() / 86_400 / half_life)
        clicked_today = set(fresh)
        for user, news_id in (
            {(user, news_id) for _, user, _, _, history in events for news_id in history}
            - known
            - clicked_today
        ):
            fresh[user, news_id] += 0.5 ** ((end - first[user]).total_seconds() / 86_400 / half_life)
        for pair, weight in fresh.items():
            found[pair] += weight
    return dict(found)


def expected_tags(articles: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """The articles' weights, shared out to their tags."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    known = {row["news_id"]: row for row in NEWS}
    for (user, news_id), weight in articles.items():
        row = known.get(news_id)
        if row is not None:
            tags = {
                row["category"].lower(): SHARES["category"],
                row["subcategory"].lower(): SHARES["subcategory"],
            }
            tags.update({" ".join(entity[1].lower().split()): SHARES["entity"] for entity in row["entities"]})
            for tag, share in tags.items():
                found[user, tag] += weight * share
    return dict(found)


def test_weights_are_the_decayed_sums_over_all_events(filled: Lakehouse) -> None:
    lake = filled
    fill_topics(lake, "old", "10 00:00")
    fill_topics(lake, "new", "11 00:00")
    runs = [build(lake, DAY - timedelta(days=1), **EXACT), build(lake, DAY, **EXACT)]
    assert [run.rows_read for run in runs] == [6, 3], "only what arrived in the day's window is read"
    for day in (DAY - timedelta(days=1), DAY):
        articles = expected_articles(day)
        tags = expected_tags(articles)
        topics: dict[tuple[str, str, int], float] = defaultdict(float)
        for (user, news_id), weight in articles.items():
            for topic, share in TOPICS.get(news_id, []):
                topics[user, "new", topic] += weight * share
        assert weights(lake, "user_articles", day, "user_id", "news_id") == pytest.approx(articles, abs=1e-8)
        assert weights(lake, "user_tags", day, "user_id", "tag") == pytest.approx(tags, abs=1e-7)
        assert weights(lake, "user_topics", day, "user_id", "topic_model", "topic_id") == pytest.approx(
            dict(topics), abs=1e-7
        )
    # The late click counts once, and its article, which a later history names, is not counted again.
    assert weights(lake, "user_articles", DAY, "user_id", "news_id")["u1", "N5"] == pytest.approx(
        0.5 ** (2.5 / 7), abs=1e-8
    )
    assert runs[1].facts["articles read that lack a row in news, 2019-11-15"] == "0"
    assert runs[0].facts["articles read that lack a row in news, 2019-11-14"] == "1"


def test_the_same_weights_whatever_the_order_and_the_number_of_runs(
    filled: Lakehouse, tmp_path: Path
) -> None:
    lake = filled
    other = Lakehouse(lake.spark, str(tmp_path / "other"))
    options: dict[str, Any] = {"keywords": 0, "skip_weight": 0.1, "window_hours": 100.0}
    fill_world(other, seed=1)
    for each in (lake, other):
        fill_topics(each, "m", "10 00:00")
    for each in (lake, other):
        build(each, **options)
    before = [content(lake.read(table)) for table in TABLES]
    assert all(count > 0 for count, _ in before)
    assert [content(other.read(table)) for table in TABLES] == before
    build(lake, **options)
    assert [content(lake.read(table)) for table in TABLES] == before


def test_a_day_built_again_replaces_it_and_through_the_later_ones(filled: Lakehouse) -> None:
    lake = filled
    build(lake, DAY - timedelta(days=1), through=DAY.isoformat(), **EXACT)
    before = weights(lake, "user_tags", DAY, "user_id", "tag")
    stale = build(lake, DAY - timedelta(days=1), half_life_days=1.0, **EXACT)
    assert "2019-11-15" in stale.facts["later days that are stale now"]
    assert weights(lake, "user_tags", DAY, "user_id", "tag") == before
    run = build(lake, DAY - timedelta(days=1), through=DAY.isoformat(), half_life_days=1.0, **EXACT)
    assert "later days that are stale now" not in run.facts
    assert weights(lake, "user_tags", DAY, "user_id", "tag") == pytest.approx(
        expected_tags(expected_articles(DAY, 1.0)), abs=1e-7
    )
    assert not lake.exists("topics")
    assert lake.read("user_topics").isEmpty()


def test_skips_bounds_and_the_clock(filled: Lakehouse) -> None:
    lake = filled
    plain = build(lake, clock="occurrence", window_hours=1000, **EXACT)
    assert plain.rows_read == 9
    without = weights(lake, "user_tags", DAY, "user_id", "tag")
    build(lake, clock="occurrence", window_hours=1000, skip_weight=0.5, **EXACT)
    skipping = weights(lake, "user_tags", DAY, "user_id", "tag")
    assert skipping["u1", "rovers"] == pytest.approx(
        without["u1", "rovers"] - 0.5 * 0.5 ** (1.75 / 7), abs=1e-7
    )
    assert all(weight > 0 for weight in skipping.values())
    assert ("u3", "bank x") not in skipping
    build(lake, clock="occurrence", window_hours=1000, max_tags=2, min_weight=0.6, keywords=0)
    kept = weights(lake, "user_tags", DAY, "user_id", "tag")
    assert kept == {pair: without[pair] for pair in kept}
    for user in ("u1", "u2"):
        best = sorted(
            (-weight, tag) for (who, tag), weight in without.items() if who == user and weight >= 0.6
        )[:2]
        assert sorted((-weight, tag) for (who, tag), weight in kept.items() if who == user) == best


def test_interests_and_queries_from_lines_and_from_tables(filled: Lakehouse, tmp_path: Path) -> None:
    lake = filled
    interests: list[dict[str, Any]] = [
        {"user_id": "u1", "interest": " Jazz\tMusic ", "weight": 0.5, "stated_at": "2019-11-14T00:00:00Z"},
        {"user_id": "u4", "interest": "sports", "stated_at": "2019-11-13T00:00:00Z"},
        {"user_id": "u4", "interest": "x" * 101, "weight": 0.5, "stated_at": "2019-11-14T00:00:00Z"},
        {"user_id": "", "interest": "a", "weight": 0.5, "stated_at": "2019-11-14T00:00:00Z"},
        {"user_id": "u4", "interest": "a", "weight": "NaN", "stated_at": "2019-11-14T00:00:00Z"},
        {"user_id": "u4", "interest": "a", "weight": 1, "stated_at": "yesterday"},
    ]
    queries = [
        {"query_id": "Q1", "user_id": "u1", "query": "天气 Rain", "searched_at": "2019-11-14T12:00:00Z"}
    ]
    (tmp_path / "interests.jsonl").write_text(
        "\n".join([*map(json.dumps, interests), "{broken", "", "7"]) + "\n"
    )
    (tmp_path / "queries.jsonl").write_text(
        "\n".join([*map(json.dumps, queries), json.dumps({"query_id": "Q2", "user_id": "u1"})])
    )
    paths: dict[str, Any] = {
        "interests": str(tmp_path / "interests.jsonl"),
        "queries": str(tmp_path / "queries.jsonl"),
    }
    run = build(lake, clock="occurrence", window_hours=72, **paths, **EXACT)
    found = weights(lake, "user_tags", DAY, "user_id", "tag")
    assert found["u1", "jazz music"] == pytest.approx(0.5 * 0.5 ** (1 / 7), abs=1e-8)
    assert found["u4", "sports"] == pytest.approx(0.5 ** (2 / 7), abs=1e-8)
    assert found["u1", "天气 rain"] == pytest.approx(0.5 * 0.5 ** (0.5 / 7), abs=1e-8)
    assert run.rows_rejected == 7
    assert lake.read("quarantine").count() == 7
    build(lake, clock="occurrence", window_hours=72, **paths, **EXACT)
    assert lake.read("quarantine").count() == 7
    glued = (
        "".join(map(json.dumps, interests[:2]))
        + "\n"
        + json.dumps({**interests[1], "interest": ["film", "jazz"]})
    )
    (tmp_path / "glued.jsonl").write_text(glued)
    with pytest.raises(
        JobFailed,
        match=r"^no line of what users said could be used: all 2 are in quarantine, most of them \(1\)",
    ):
        build(lake, clock="occurrence", window_hours=72, interests=str(tmp_path / "glued.jsonl"), **EXACT)
    assert lake.read("quarantine").where("source LIKE '%glued.jsonl'").count() == 2
    # By arrival the files are of today, and belong to no day of 2019; the same said in tables.
    build(lake, **paths, window_hours=72, **EXACT)
    assert ("u4", "sports") not in weights(lake, "user_tags", DAY, "user_id", "tag")
    said = {
        "user_id": "u4",
        "interest": "Sports",
        "weight": 1.0,
        "stated_at": at("13 00:00"),
        "ingested_at": at("14 23:00"),
    }
    put(lake, "user_interests", [said])
    build(lake, **EXACT)
    assert weights(lake, "user_tags", DAY, "user_id", "tag")["u4", "sports"] == pytest.approx(
        0.5 ** (2 / 7), abs=1e-8
    )


def test_keywords_are_those_of_highest_tf_idf(lake: Lakehouse) -> None:
    titles = [
        "storm storm flood in the city",
        "storm over the city",
        "the city council and flood",
        "天气 预报 天气 城市",
        "城市 预报 city",
    ]
    put(lake, "news", [article(f"N{i}", "c", title=title) for i, title in enumerate(titles)])
    news = lake.read("news")
    rarity = term_rarity(news, 100)
    assert rarity is not None
    found = {row["term"]: row["idf"] for row in rarity.collect()}
    assert found == pytest.approx(
        {
            "storm": math.log(6 / 3),
            "flood": math.log(6 / 3),
            "city": math.log(6 / 5),
            "预报": math.log(6 / 3),
            "城市": math.log(6 / 3),
        }
    )
    best = {(row["news_id"], row["tag"]): row["share"] for row in best_keywords(news, rarity, 2).collect()}
    assert best["N0", "storm"] == SHARES["keyword"]
    assert best["N0", "flood"] == SHARES["keyword"] / 2
    assert ("N0", "city") not in best
    assert {tag for news_id, tag in best if news_id == "N3"} == {"预报", "城市"}
    assert term_rarity(news.limit(0), 100) is None


def test_mistakes(lake: Lakehouse, world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table news is not there yet"):
        build(lake)
    shutil.copytree(world, str(lake.root), dirs_exist_ok=True)
    for options, message in (
        ({"through": "2019-11-01"}, "lies before --as-of"),
        ({"half_life_days": 0.0}, "--half-life-days"),
        ({"max_tags": 0}, "--max-tags"),
        ({"interests": str(tmp_path / "none.jsonl")}, "--interests .*no such file"),
        ({"topic_model": "m"}, "built by: fit_topics"),
    ):
        with pytest.raises(UserError, match=message):
            build(lake, **options)
    fill_topics(lake, "m", "10 00:00")
    with pytest.raises(UserError, match="has no such model"):
        build(lake, topic_model="other")
    assert not lake.exists("user_tags")


def build_two_days(lake: Lakehouse) -> None:
    """A run that nobody kills."""
    build(lake, DAY - timedelta(days=1), through=DAY.isoformat(), keywords=0)


MOMENTS: dict[str, Moment] = {
    "first table created": lambda root: commits(root / "user_tags") >= 1,
    "tags of the first day committed": lambda root: commits(root / "user_tags") >= 2,
    "topics of the first day committed": lambda root: commits(root / "user_topics") >= 2,
    "articles of the first day committed": lambda root: commits(root / "user_articles") >= 2,
    # Each run puts the first day's rows in their place again, so that commits do not tell the day.
    "tags of the second day committed": lambda root: any(
        "as_of=2019-11-15" in file.read_text() for file in log_of(root / "user_tags")
    ),
}


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Two days that nobody disturbed."""

    def begin(lake: Lakehouse) -> None:
        shutil.copytree(world, str(lake.root))
        fill_topics(lake, "m", "10 00:00")

    return undisturbed_run(
        spark, tmp_path_factory.mktemp("undisturbed"), begin, build_two_days, content_of(*TABLES)
    )


@pytest.mark.slow
def test_killed(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path) -> None:
    options = ("--as-of", "2019-11-14", "--through", "2019-11-15", "--keywords", "0")
    kill_and_rerun(undisturbed, lake, MOMENTS, ("build_profiles", options), tmp_path)
