"""find_stories against one article after the other in numpy: whole and in parts, with more copies than
neighbours, and late arrivals."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.stories import find_stories
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from tests.tables import put

START = datetime(2019, 11, 9)
DAYS, COSINE, ALONE = 2.0, 0.9, 0.97
# news_id, hours after START (below 0: no date), entities, vector
Article = tuple[str, float, tuple[str, ...], Sequence[float]]


def drawn(seed: int, count: int = 90) -> list[Article]:
    """Articles of a few subjects, most of them near-copies of one another, in the order of publication."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(6, 8))
    found: list[Article] = []
    for number, hours in enumerate(np.sort(draw.random(count)) * 6 * 24):
        subject = int(draw.integers(6))
        noise = draw.choice([0.1, 0.3, 0.45])
        vector = (centres[subject] + noise * draw.normal(size=8)).astype(np.float32)
        entities = tuple(f"Q{n}" for n in draw.choice(4, size=draw.integers(0, 3), replace=False))
        # Ids in no order of time.
        found.append((f"N{(number * 37) % count:03}", float(hours), entities, vector.tolist()))
    return found


def one_by_one(articles: Sequence[Article]) -> dict[str, str]:
    """news_id -> story_id."""
    unit = np.array([vector for _, _, _, vector in articles], np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    for bound in (COSINE, ALONE):
        assert np.abs(cosines - bound).min() > 1e-6, "no pair is so near a bound that rounding would decide"
    firsts: list[int] = []
    found = {}
    for number, (name, hours, entities, _) in sorted(
        enumerate(articles), key=lambda one: (one[1][1], one[1][0])
    ):
        near = []
        for first in firsts:
            other, other_hours, other_entities, _ = articles[first]
            needed = COSINE if set(entities) & set(other_entities) else ALONE
            if hours - other_hours <= DAYS * 24 and cosines[number, first] >= needed:
                near.append((-np.float32(cosines[number, first]), other))
        found[name] = min(near)[1] if near else name
        if not near:
            firsts.append(number)
    return found


def fill(lake: Lakehouse, articles: Sequence[Article], encoder: str = "E") -> None:
    news = [
        {
            "news_id": name,
            "title": name,
            "content_hash": name,
            "published_at": None if hours < 0 else START + timedelta(hours=hours),
            "entities": [("title", entity, "O", entity, 1.0, [0], [entity]) for entity in entities] or None,
        }
        for name, hours, entities, _ in articles
    ]
    contract = lake.schema("news")
    put(
        lake,
        "news",
        frame_of(lake.spark, [tuple(row.get(column) for column in contract.names) for row in news], contract),
    )
    vectors = [(name, encoder, name, 3, vector) for name, _, _, vector in articles]
    put(lake, "article_embeddings", frame_of(lake.spark, vectors, lake.schema("article_embeddings")))


def find(lake: Lakehouse, neighbours: int = 32) -> JobRun:
    run = JobRun("find_stories")
    find_stories(lake, run, days=DAYS, min_cosine=COSINE, min_cosine_alone=ALONE, neighbours=neighbours)
    return run


def stories(lake: Lakehouse) -> dict[str, str]:
    return {row["news_id"]: row["story_id"] for row in lake.read("stories").collect()}


def test_stories_are_those_of_one_article_after_the_other(lake: Lakehouse) -> None:
    articles = drawn(1)
    wanted = one_by_one(articles)
    assert 20 < len(set(wanted.values())) < 70
    assert max(np.unique(list(wanted.values()), return_counts=True)[1]) > 5, (
        "some have more copies than neighbours below"
    )
    # What has no date or no length of its vector has no story.
    fill(lake, [*articles, ("undated", -1.0, (), articles[0][3]), ("zero", 1.0, (), [0.0] * 8)])
    run = find(lake, neighbours=3)
    assert stories(lake) == wanted
    assert (run.rows_read, run.rows_rejected) == (91, 1)
    by_id = {name: np.array(vector, np.float64) for name, _, _, vector in articles}
    for row in lake.read("stories").collect():
        one, other = by_id[row["news_id"]], by_id[row["story_id"]]
        assert row["cosine"] == pytest.approx(
            one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-6
        )
    assert find(lake).rows_written == {"stories": 0}


def test_in_parts_it_comes_out_the_same_and_a_late_copy_renumbers_nothing(lake: Lakehouse) -> None:
    articles = drawn(2)
    wanted = one_by_one(articles)
    for start in range(0, 90, 45):
        fill(lake, articles[start : start + 45])
        find(lake, neighbours=8)
    assert stories(lake) == wanted
    # Published an hour before the first of a story, and nearly the same; it comes after that was decided.
    first = next(one for one in articles if list(wanted.values()).count(one[0]) > 1 and one[1] > 1)
    fill(lake, [("LATE", first[1] - 1, first[2], first[3]), ("TEN", first[1] + 240, first[2], first[3])])
    find(lake)
    assert stories(lake) == {**wanted, "LATE": first[0], "TEN": "TEN"}, "ten days later it is another story"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_cosine": 0.98, "min_cosine_alone": 0.9}, "the second no less than the first"),
        ({"days": 0.0}, "--days must be above 0"),
        ({"encoder_id": "X"}, "--encoder-id X: article_embeddings has no such vectors"),
    ],
)
def test_what_makes_no_sense_is_the_users_mistake(
    lake: Lakehouse, options: dict[str, float | str], says: str
) -> None:
    fill(lake, drawn(3, 3))
    with pytest.raises(UserError, match=says):
        find_stories(lake, JobRun("find_stories"), **options)  # type: ignore[arg-type]
