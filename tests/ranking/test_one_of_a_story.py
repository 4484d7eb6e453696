"""Of several articles that tell one story one counts: in a feed the best-ranked, in a vote the nearest."""

from datetime import datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.ranking import feed
from newslake.ranking.options import FormulaOptions
from newslake.search import vote
from newslake.search.one_of_a_story import one_of_each, with_story
from newslake.spark.frames import frame_of

HOUR = datetime(2019, 11, 15, 8)
STORIES = [("A2", "A1"), ("A3", "A1"), ("A1", "A1"), ("B1", "B1")]


def test_the_best_row_of_each_story_stays(spark: SparkSession) -> None:
    rows = frame_of(
        spark,
        [("u", "A1", 3), ("u", "A3", 1), ("u", "X", 2), ("v", "A1", 4), ("v", "B1", 9)],
        "u string, news_id string, n int",
    )
    stories = frame_of(spark, STORIES, "news_id string, story_id string")
    found = one_of_each(with_story(rows, stories), "u", [F.col("n")]).orderBy("u", "n")
    assert found.columns == rows.columns
    assert found.collect() == [
        ("u", "A3", 1),
        ("u", "X", 2),
        ("v", "A1", 4),
        ("v", "B1", 9),
    ]
    assert with_story(rows, None) is rows
    assert one_of_each(rows, "u", [F.col("n")]) is rows


def test_votes_count_a_story_once(spark: SparkSession) -> None:
    names = ["A2", "A1", "X", "A3", "B1", "Y", "Z"]
    found = [("s", name, 1.0 - 0.1 * place, place + 1) for place, name in enumerate(names)]
    nearest = frame_of(spark, found, "query_id string, item_id string, score float, rank int")
    index = frame_of(
        spark,
        [(name, "a" if name.startswith("A") else "b") for name in names],
        "news_id string, class string",
    )
    stories = frame_of(spark, STORIES, "news_id string, story_id string")
    [plain] = vote.ballots(vote.once_a_story(nearest.where("rank <= 4"), None, 4), index).collect()
    assert (plain["voted_class"], plain["votes"]) == ("a", 3)
    [row] = vote.ballots(vote.once_a_story(nearest, stories, 4), index).collect()
    assert [near["news_id"] for near in row["neighbours"]] == ["A2", "X", "B1", "Y"]
    assert (row["voted_class"], row["votes"]) == ("b", 3)


def test_readers_without_vectors_get_one_of_a_story_too(spark: SparkSession) -> None:
    articles = frame_of(
        spark,
        [("A1", "a", HOUR, 0.3), ("A2", "b", HOUR, 0.2), ("X", "a", HOUR, 0.1)],
        "news_id string, category string, published_at timestamp, ctr double",
    )
    articles = with_story(articles, frame_of(spark, STORIES, "news_id string, story_id string"))
    users = frame_of(spark, [("u",), ("v",)], "user_id string")
    read = frame_of(spark, [("u", "A1")], "user_id string, news_id string")
    clicked = frame_of(spark, [("u", "b")], "user_id string, category string")
    rows = feed.without_vectors(users, articles, read, clicked, FormulaOptions(), HOUR, 5).orderBy(
        "user_id", "rank"
    )
    assert [(row["user_id"], row["news_id"], row["rank"]) for row in rows.collect()] == [
        ("u", "A2", 1),
        ("u", "X", 2),
        ("v", "A1", 1),
        ("v", "X", 2),
    ]
