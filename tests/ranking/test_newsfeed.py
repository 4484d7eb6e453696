"""rank_newsfeed: candidates, rates, ranking and fallbacks, only from what was known before the hour; reruns
add nothing."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.newsfeed import parse_hour, rank_newsfeed
from newslake.run.jobrun import JobRun
from newslake.search.knn_settings import SearchOptions
from newslake.spark.frames import frame_of
from tests.calling import call
from tests.killing import content
from tests.tables import put

HOUR = datetime(2019, 11, 15, 8)
SPORTS, MUSIC = [1.0, 0.0, 0.1], [0.0, 1.0, 0.1]
# news_id, category, hours before HOUR, vector
ARTICLES: list[tuple[str, str, float, list[float] | None]] = [
    ("N1", "sports", 2, SPORTS),
    ("N2", "sports", 2, SPORTS),  # as near as N1, and never shown
    ("N3", "music", 2, MUSIC),
    ("N4", "music", 30, MUSIC),
    ("N5", "music", 100, MUSIC),  # too old
    ("N6", "sports", -1, SPORTS),  # not out yet
    ("N7", "autos", 3, None),  # without a vector
    ("N8", "sports", 4, [0.0, 0.0, 0.0]),  # with one that has no direction
]
Shown = tuple[str, str, float, bool | None]
# user_id, news_id, hours before HOUR, clicked
SHOWN: list[Shown] = [
    ("U1", "N3", 1, True),
    ("U2", "N3", 1, True),
    ("U2", "N1", 1, False),
    ("U2", "N7", 20, False),
    ("U3", "N1", 0.5, False),
    ("U3", "N3", 0.5, None),
    ("U3", "N1", -0.5, True),  # in the hour itself: not known yet
    ("U2", "N2", 0, True),  # at its very beginning: neither
    # So often that the counts say something of the rates.
    *[("U2", "N1", 1.0, False)] * 25,
    *[("U2", "N3", 1.0, True)] * 25,
]


def fill(lake: Lakehouse, shown: Sequence[Shown] = SHOWN) -> None:
    """The tables that the job reads."""
    spark = lake.spark
    schema = lake.schema("news")
    news = [(n, c, HOUR - timedelta(hours=age)) for n, c, age, _ in ARTICLES]
    rows = frame_of(spark, news, "news_id string, category string, published_at timestamp")
    rows = rows.withColumns({"title": F.lit("a title"), "content_hash": F.col("news_id")})
    put(
        lake,
        "news",
        rows.select(
            *(
                F.col(f.name) if f.name in rows.columns else F.lit(None).cast(f.dataType).alias(f.name)
                for f in schema
            )
        ),
    )
    seen = [
        ("live", f"I{i}", 0, user, HOUR - timedelta(hours=age), HOUR, news_id, clicked, None, None, None)
        for i, (user, news_id, age, clicked) in enumerate(shown)
    ]
    put(lake, "impressions", frame_of(spark, seen, lake.schema("impressions")))
    history = [
        ("live", "I0", "U2", HOUR - timedelta(hours=1), ["N4", "N99"]),
        ("live", "I9", "U1", HOUR + timedelta(hours=1), ["N1"]),
    ]
    put(lake, "click_history", frame_of(spark, history, lake.schema("click_history")))
    vectors = [
        ((HOUR - timedelta(hours=age)).date(), n, "E", "T", v, "hash")
        for n, _, age, v in ARTICLES
        if v is not None
    ]
    put(lake, "article_vectors", frame_of(spark, vectors, lake.schema("article_vectors")))
    days = [date(2019, 11, 14), date(2019, 11, 15), date(2019, 11, 16)]  # a day's vectors hold at its start
    users = [(days[0], "U9", 0, "P", "E", "T", 1.0, SPORTS), (days[2], "U8", 0, "P", "E", "T", 1.0, SPORTS)]
    users += [
        (days[1], "U1", group, "P", "E", "T", 1.0, vector) for group, vector in enumerate((SPORTS, MUSIC))
    ]
    put(lake, "user_vectors", frame_of(spark, users, lake.schema("user_vectors")))


OPTIONS: dict[str, Any] = {
    "hour": "2019-11-15T08",
    "per_vector": 3,
    "feed_size": 4,
    "similarity_weight": 6.0,
    "age_half_life_hours": 12.0,
    "diversity": 0.0,
}


def rank(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("rank_newsfeed")
    call(rank_newsfeed, lake, run, **{**OPTIONS, **options})
    return run


def feeds(lake: Lakehouse) -> dict[str, list[tuple[str, str]]]:
    """user_id -> (news_id, reason), by rank."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in lake.read("newsfeed").orderBy("user_id", "rank").collect():
        found.setdefault(row["user_id"], []).append((row["news_id"], row["reason"]))
        assert row["rank"] == len(found[row["user_id"]])
        assert (row["cosine"] is not None) == (row["reason"] == "vectors")
    return found


def test_feeds_rates_and_rerun(lake: Lakehouse) -> None:
    fill(lake)
    run = rank(lake)
    found = feeds(lake)
    # U1 has read N3. N2, never shown, has its category's rate; N1 was shown in vain and is below it. N4 is
    # old, but of a category that has been clicked whenever it was shown.
    assert found["U1"] == [("N2", "vectors"), ("N4", "vectors"), ("N1", "vectors")]
    # U2 clicks music (N3 and N4 are read): what is left of it is nothing, so what is popular with all
    # follows. N7's category was shown in vain too, but less often than sports.
    assert [news_id for news_id, _ in found["U2"]] == ["N7", "N2", "N8", "N1"]
    assert {reason for _, reason in found["U2"]} == {"popular"}
    assert found["U3"][0][0] == "N3"
    assert set(found) == {"U1", "U2", "U3"}
    rates = {row["news_id"]: row for row in lake.read("article_ctr").collect()}
    assert set(rates) == {"N1", "N2", "N3", "N4", "N7", "N8"}
    assert {n: (row["clicks"], row["impressions"]) for n, row in rates.items() if row["impressions"]} == {
        "N1": (0, 27),
        "N3": (27, 27),
        "N7": (0, 1),
    }
    half = 0.5 ** (1 / 24)
    assert rates["N3"]["recent_clicks"] == pytest.approx(27 * half)
    assert rates["N1"]["ctr"] < rates["N2"]["ctr"] == rates["N2"]["prior"] < rates["N3"]["ctr"]
    assert [row["record_id"] for row in lake.read("quarantine").collect()] == ["N8"]
    assert run.facts["users with articles by vectors"] == "1"

    before = [content(lake.read(table)) for table in ("newsfeed", "article_ctr", "quarantine")]
    rank(lake, search=SearchOptions(chunk_rows=2, query_rows=1, precision="fp32"))
    assert [content(lake.read(table)) for table in ("newsfeed", "article_ctr", "quarantine")] == before
    # Another hour stands beside it, and sees what has happened since.
    rank(lake, hour="2019-11-15T09")
    assert lake.read("newsfeed").select("hour").distinct().count() == 2
    later = {
        row["news_id"]: row["clicks"]
        for row in lake.read("article_ctr").where("as_of = '2019-11-15 09:00:00'").collect()
    }
    assert (later["N1"], later["N2"]) == (1, 1)


def test_a_light_vector_counts_less(lake: Lakehouse) -> None:
    fill(lake, shown=[("U3", "N1", 1, False)])
    sports = lake.read("user_vectors").where("user_id = 'U1' AND tag_group = 0")
    put(lake, "user_vectors", sports.withColumn("weight", F.lit(0.25)))
    rank(lake, per_vector=4)
    # By the cosine alone, sports and music are as near, and N4 is a day older.
    assert feeds(lake)["U1"] == [("N3", "vectors"), ("N4", "vectors"), ("N1", "vectors"), ("N2", "vectors")]
    cosines = {
        row["news_id"]: row["cosine"] for row in lake.read("newsfeed").where("user_id = 'U1'").collect()
    }
    assert cosines == pytest.approx({"N1": 0.5, "N2": 0.5, "N3": 1.0, "N4": 1.0}, abs=1e-6)


def test_without_any_click_likeness_and_age_rank(lake: Lakehouse) -> None:
    fill(lake, shown=[("U3", "N1", 1, False)])
    rank(lake, per_vector=4)
    assert feeds(lake)["U1"] == [("N1", "vectors"), ("N2", "vectors"), ("N3", "vectors"), ("N4", "vectors")]
    assert {row["ctr"] for row in lake.read("article_ctr").collect()} == {0.0}


def test_mistakes_are_told(lake: Lakehouse) -> None:
    fill(lake)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"hour": "soon"}, "give an hour such as"),
        ({"hour": "2019-11-15T08:30"}, "give a whole hour"),
        ({"days": 0}, "must be at least 1"),
        ({"feed_size": 0}, "--feed-size and --active-days must be at least 1"),
        ({"hour": "2019-11-01T08"}, "run jobs/build_user_vectors.py"),
        ({"hour": "2019-12-01T08"}, "run jobs/build_article_vectors.py"),
        ({"encoder_id": "X"}, "it has E"),
    ]
    for options, message in wrong:
        with pytest.raises(UserError, match=message):
            rank(lake, **options)


def test_an_hour_is_in_utc() -> None:
    assert parse_hour("2019-11-15T10:00+02:00") == HOUR
    assert parse_hour(None).minute == 0


def test_a_second_encoder_of_another_width_changes_no_feed(lake: Lakehouse) -> None:
    fill(lake)
    asked = {"encoder_id": "E", "topic_model": "T"}
    rank(lake, **asked)
    tables = ("newsfeed", "quarantine")
    before = [content(lake.read(table)) for table in tables]
    # In the table's first partition stands the other encoder alone, so that its vectors are the first that
    # the search meets.
    wide = [1.0, 2.0, 3.0, 4.0, 5.0]
    articles = [(date(2019, 11, 13), "N1", "SMALL", "T", wide, "hash")]
    articles += [
        ((HOUR - timedelta(hours=age)).date(), n, "SMALL", "T", wide, "hash") for n, _, age, _ in ARTICLES
    ]
    put(lake, "article_vectors", frame_of(lake.spark, articles, lake.schema("article_vectors")))
    rank(lake, **asked)
    assert [content(lake.read(table)) for table in tables] == before
    rank(lake)  # the users' vectors are of one encoder: no need to ask
    assert [content(lake.read(table)) for table in tables] == before
    # User vectors of the other one too, of the same day and of a later one.
    days = [(date(2019, 11, 15), "U1"), (date(2019, 11, 15), "U0"), (date(2019, 11, 14), "U9")]
    users = [(day, user, 0, "P", "SMALL", "T", 1.0, wide) for day, user in days]
    put(lake, "user_vectors", frame_of(lake.spark, users, lake.schema("user_vectors")))
    rank(lake, **asked)
    assert [content(lake.read(table)) for table in tables] == before
    rank(lake, encoder_id="SMALL")
    assert {user for user, feed in feeds(lake).items() if feed[0][1] == "vectors"} == {"U0", "U1"}
    with pytest.raises(UserError, match="choose with --encoder-id E or SMALL"):
        rank(lake)


def test_the_latest_day_is_that_of_the_encoder_asked_for(lake: Lakehouse) -> None:
    fill(lake)
    put(
        lake,
        "user_vectors",
        lake.read("user_vectors").where("as_of = '2019-11-15'").withColumn("encoder_id", F.lit("LATER")),
    )
    lake.replace(
        "user_vectors", lake.read("user_vectors").limit(0), where={"as_of": "2019-11-15", "encoder_id": "E"}
    )
    rank(lake, encoder_id="E")  # has vectors of the 14th, of U9, who has read nothing
    assert feeds(lake)["U9"][0][1] == "vectors"


def test_a_feed_has_one_article_of_a_story(lake: Lakehouse) -> None:
    fill(lake)
    now = datetime(2019, 11, 15, 7)
    told = [
        ("N1", "E", "N1", 1.0, now),
        ("N2", "E", "N1", 0.95, now),
        ("N4", "OTHER", "N2", 0.95, now),
        ("N8", "E", "N7", 0.95, now),
    ]
    put(lake, "stories", frame_of(lake.spark, told, lake.schema("stories")))
    rank(lake)
    found = feeds(lake)
    assert found["U1"] == [("N2", "vectors"), ("N4", "vectors")], (
        "N1 tells what N2 tells; by another encoder N4 does too"
    )
    assert [news_id for news_id, _ in found["U2"]] == ["N7", "N2"], (
        "as far as U2 has not read them: N8 tells N7's story, N1 N2's"
    )
    [row] = lake.read("feed_quality").collect()
    assert (row["readers"], row["entries"], row["diversity"]) == (3, lake.read("newsfeed").count(), 0.0)
    assert row["intra_list_diversity"] is not None


def test_a_feed_can_be_drawn_to_what_the_reader_clicks(lake: Lakehouse) -> None:
    fill(lake)
    rank(lake, diversity=1.0)
    found = feeds(lake)["U1"]
    assert found[0] == ("N4", "vectors"), "U1 has clicked music alone"
    assert {news_id for news_id, _ in found} == {"N1", "N2", "N4"}
    with pytest.raises(UserError, match="--diversity 2"):
        rank(lake, diversity=2.0)


def test_where_nobody_says_the_mix_counts_a_little(lake: Lakehouse) -> None:
    fill(lake)
    options = {name: value for name, value in OPTIONS.items() if name != "diversity"}
    call(rank_newsfeed, lake, JobRun("rank_newsfeed"), **options)
    [row] = lake.read("feed_quality").collect()
    assert row["diversity"] == pytest.approx(0.2)
