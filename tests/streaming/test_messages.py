"""What a message must be: every kind of bad one gets its own reason, and the documented schemas say the same
as the code."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.intake.articles import settled
from newslake.intake.sources.events import article_messages, event_messages
from newslake.intake.sources.events.article_messages import newest, read_articles, refuse_purged
from newslake.intake.sources.events.event_messages import NEEDS, read_events
from newslake.intake.sources.events.fields import Field
from newslake.spark.frames import frame_of

DOCS = Path(__file__).parent.parent.parent / "docs" / "messages"
GOOD = {"news_id": "N1", "title": "storm", "published_at": "2019-11-09T06:03:52Z"}
EVENT = {
    "type": "search",
    "event_id": "Q1",
    "user_id": "U1",
    "occurred_at": "2019-11-09T06:03:52Z",
    "query": "cats",
}
SHOWN = {**EVENT, "type": "impression", "news_ids": ["N1", "N2"]}
AHEAD = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")

# Message -> the beginning of its reason; None: it can be used.
ARTICLES: list[tuple[bytes | str | dict[str, Any] | None, str | None]] = [
    (GOOD, None),
    ({**GOOD, "title": ""}, None),
    ({**GOOD, "abstract": None, "entities": None, "other": {"x": [1]}}, None),
    ({**GOOD, "published_at": "2019-11-09 06:03"}, None),
    ({**GOOD, "published_at": "2019-11-09T06:03:52.123456+01:00"}, None),
    ({**GOOD, "entities": [{"label": "Storm", "confidence": 1, "occurrence_offsets": [0]}]}, None),
    (json.dumps(GOOD) + " \r", None),
    # What nobody reads is left alone, whatever it holds.
    ({**GOOD, "other": {"x": "NaN"}}, None),
    (json.dumps(GOOD)[:-1] + ', "other": {"a": 1, "a": 2}}', None),
    (json.dumps({**GOOD, "other": "x" * 21_000_000}), None),
    ("\ufeff" + json.dumps(GOOD) + "\r", None),
    (json.dumps(GOOD)[:-1] + ', "other": ' + "9" * 1_001 + "}", "not JSON, or a number of over 1,000 digits"),
    (
        json.dumps(GOOD)[:-1] + ', "other": ' + "[" * 2_000 + "]" * 2_000 + "}",
        "not JSON, or nested over 1,000 levels deep",
    ),
    (
        json.dumps(GOOD)[:-1] + ', "entities": [{"label": "a", "label": "b"}]}',
        "entities cannot be read: two members of one name in it",
    ),
    (json.dumps(GOOD) * 2, "not JSON"),
    ("{'news_id': 'N1'}", "not JSON"),
    ('{"news_id": NaN}', "not JSON"),
    (json.dumps(GOOD)[:-1], "not JSON"),
    (json.dumps(GOOD) + "]", "not JSON"),
    (json.dumps(GOOD) + '], "x": [' + json.dumps(GOOD), "not JSON"),
    (None, "an empty message"),
    (b"", "an empty message"),
    (b'{"news_id": "\xff\xfe"}', "invalid UTF-8"),
    ("cats", "not JSON"),
    (json.dumps(GOOD) + "x", "not JSON"),
    ('{"news_id": "N1"}, "x": {}', "not JSON"),
    ('{"news_id": "N1", "news_id": "N2"}', "not JSON, or two members of one name"),
    ("[1]", "not a JSON object"),
    ("null", "not a JSON object"),
    ({**GOOD, "news_id": ""}, "no news_id"),
    ({**GOOD, "news_id": None}, "no news_id"),
    ({**GOOD, "news_id": 5}, "news_id is not a string"),
    ({"news_id": "N1", "published_at": GOOD["published_at"]}, "no title"),
    ({**GOOD, "title": ["a"]}, "title is not a string"),
    ({**GOOD, "title": "a\0b"}, "title holds a NUL character"),
    ({**GOOD, "published_at": None}, "no published_at"),
    ({**GOOD, "published_at": "2019"}, "published_at is no time such as"),
    ({**GOOD, "published_at": "2019-13-09T06:03:52Z"}, "published_at is no time such as"),
    ({**GOOD, "published_at": 1573279432}, "published_at is not a string"),
    ({**GOOD, "published_at": AHEAD}, "published_at lies more than 1 day ahead"),
    ({**GOOD, "updated_at": AHEAD}, "updated_at lies more than 1 day ahead"),
    ({**GOOD, "published_at": "0001-01-01T00:00:00Z"}, "published_at is before 1900"),
    ({**GOOD, "entities": {"label": "Storm"}}, "entities is not an array of objects"),
    ({**GOOD, "entities": [{"confidence": "high"}]}, "entities is not an array of objects"),
    (
        {**GOOD, "entities": [{"label": "Storm"}, {"occurrence_offsets": [0.5]}]},
        "entities is not an array of objects",
    ),
    ({**GOOD, "entities": [{"label": 7}]}, "entities is not an array of objects"),
    ({**GOOD, "entities": [None]}, "entities is not an array of objects"),
    ({**GOOD, "entities": [1]}, "entities is not an array of objects"),
    ({**GOOD, "entities": []}, None),
]
EVENTS: list[tuple[bytes | str | dict[str, Any] | None, str | None]] = [
    (EVENT, None),
    ({**EVENT, "type": "interest", "interest": "cats", "weight": 0.5}, None),
    ({**EVENT, "type": "click", "impression_id": "I1", "news_id": "N1"}, None),
    ({**EVENT, "type": "impression", "news_ids": ["N1", "N2"]}, None),
    ({**EVENT, "type": "zap"}, "unknown type of event; there are: impression, click, search, interest"),
    ({**EVENT, "type": None}, "no type"),
    ({**EVENT, "event_id": ""}, "no event_id"),
    ({**EVENT, "user_id": None}, "no user_id"),
    ({**EVENT, "query": ""}, "no query"),
    ({**EVENT, "type": "click", "impression_id": "I1"}, "no news_id"),
    ({**EVENT, "type": "click", "news_id": "N1"}, "no impression_id"),
    ({**EVENT, "type": "impression"}, "no news_ids"),
    ({**EVENT, "type": "impression", "news_ids": []}, "no news_ids"),
    ({**EVENT, "type": "impression", "news_ids": ["N1", 2]}, "news_ids is not an array of strings"),
    ({**EVENT, "type": "impression", "news_ids": ["N1", None]}, "news_ids is not an array of strings"),
    ({**EVENT, "type": "impression", "news_ids": ["N1", ""]}, "news_ids holds an empty"),
    (
        {**EVENT, "type": "interest", "interest": "cats", "weight": 1.5},
        "weight is not a number between 0 and 1",
    ),
    ({**EVENT, "type": "interest", "interest": "cats", "weight": "1"}, "weight is not a number"),
    ({**SHOWN, "feed_hour": "2019-11-09T06:00:00Z", "rank": 11, "model": "formula"}, None),
    ({**SHOWN, "feed_hour": None, "rank": None, "model": None}, None),
    ({**SHOWN, "feed_hour": "2019-11-09T06:03:00Z"}, "feed_hour is not a whole hour"),
    ({**SHOWN, "feed_hour": "at six"}, "feed_hour is no time such as"),
    ({**SHOWN, "rank": 0}, "rank is not a whole number from 1 to 1,000,000"),
    ({**SHOWN, "rank": 1.5}, "rank is not a whole number"),
    ({**SHOWN, "rank": 1e30}, "rank is not a whole number"),
    ({**SHOWN, "rank": "1"}, "rank is not a number"),
    ({**SHOWN, "model": 1}, "model is not a string"),
    # Says something of impressions alone.
    ({**EVENT, "rank": 1.5, "feed_hour": "2019-11-09T06:03:00Z"}, None),
    ({**EVENT, "occurred_at": AHEAD}, "occurred_at lies more than 1 day ahead"),
]


def as_messages(spark: SparkSession, given: Sequence[bytes | str | dict[str, Any] | None]) -> DataFrame:
    """Messages as a source gives them, each arriving a second after the one before it."""
    texts = [json.dumps(one) if isinstance(one, dict) else one for one in given]
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    rows = [("topic t", place, None if one is None else bytearray(one)) for place, one in enumerate(raw)]
    made = frame_of(spark, rows, "source string, place bigint, raw binary")
    return made.withColumn("arrived_at", F.timestamp_seconds(F.lit(1_700_000_000) + F.col("place")))


@pytest.mark.parametrize(
    ("read", "cases"), [(read_articles, ARTICLES), (read_events, EVENTS)], ids=["articles", "events"]
)
def test_every_bad_message_has_its_reason(
    spark: SparkSession, read: Any, cases: list[tuple[Any, str | None]]
) -> None:
    found = (
        read(as_messages(spark, [message for message, _ in cases]))
        .orderBy("place")
        .select("problem")
        .collect()
    )
    assert len(found) == len(cases)
    for (message, wanted), (problem,) in zip(cases, found, strict=True):
        assert problem is None if wanted is None else (problem or "").startswith(wanted), (
            f"{message!r}: {problem}"
        )


def test_a_message_that_nests_too_deep_is_still_known_by_its_id(spark: SparkSession) -> None:
    deep = json.dumps(GOOD)[:-1] + ', "other": ' + "[" * 2_000 + "]" * 2_000 + "}"
    row = read_articles(as_messages(spark, [deep])).head()
    assert row is not None
    assert (row["news_id"], row["problem"]) == ("N1", "not JSON, or nested over 1,000 levels deep")


def test_members_become_columns(spark: SparkSession) -> None:
    entity = {
        "field": "title",
        "label": "Storm",
        "confidence": 1,
        "occurrence_offsets": [0],
        "surface_forms": ["storm"],
    }
    message = {**GOOD, "published_at": "2019-11-09T06:03:52+02:00", "entities": [entity], "body": "天"}
    row = (
        read_articles(as_messages(spark, [message]))
        .withColumn("published_at", F.col("published_at").cast("string"))
        .head()
    )
    assert row is not None
    assert (row["problem"], row["body"], row["published_at"], row["category"]) == (
        None,
        "天",
        "2019-11-09 04:03:52",
        None,
    )
    assert row["updated_at"] is not None, "a version without a time of its own has that of its publication"
    assert row["entities"][0].asDict() == {**entity, "type": None, "wikidata_id": None, "confidence": 1.0}


def test_articles_before_the_purge_horizon_are_refused(spark: SparkSession) -> None:
    fresh = (datetime.now(UTC) - timedelta(days=29)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = (
        read_articles(as_messages(spark, [GOOD, {**GOOD, "published_at": fresh}]), older_than=30)
        .orderBy("place")
        .collect()
    )
    assert [row["problem"] for row in found] == ["published more than 30 days ago", None]
    read = read_articles(as_messages(spark, [GOOD, {**GOOD, "published_at": "2019-11-10T00:00:00Z"}]))
    found = refuse_purged(read, date(2019, 11, 10)).orderBy("place").collect()
    assert [row["problem"] for row in found] == ["published before the purge horizon 2019-11-10", None]


def test_the_newest_version_stays_in_whatever_order_they_come(spark: SparkSession) -> None:
    versions = [
        {**GOOD, "category": "weather", "url": "first"},
        {**GOOD, "title": "storm over", "updated_at": "2019-11-10T00:00:00Z", "category": "news"},
        {**GOOD, "title": "storm again", "updated_at": "2019-11-10T00:00:00Z"},
    ]
    read = read_articles(as_messages(spark, versions)).cache()
    nothing = read.limit(0)
    found = set()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        stored = nothing
        for place in order:
            stored = settled(newest(read.where(F.col("place") == place)), stored)
        found.add(tuple(stored.select("title", "category", "url", "updated_at").collect()[0]))
    found.add(
        tuple(settled(newest(read), nothing).select("title", "category", "url", "updated_at").collect()[0])
    )
    read.unpersist()
    (row,) = found
    digests = {v["title"]: h for v, h in zip(versions, ["", *hashes_of(versions[1:])], strict=True)}
    assert row[0] == max(("storm over", "storm again"), key=lambda title: digests[title]), (
        "of equal times the greater content_hash"
    )
    assert row[1:3] == ("news", "first"), "what the newest leaves out stays as an older one said it"


def hashes_of(versions: Sequence[dict[str, Any]]) -> list[str]:
    """content_hash of each version, as table news has it."""
    return [hashlib.sha256(f"{v['title']}\0\0".encode()).hexdigest() for v in versions]


@pytest.mark.parametrize(
    ("name", "fields"), [("article", article_messages.FIELDS), ("event", event_messages.FIELDS)]
)
def test_documented_schema_is_what_is_read(name: str, fields: tuple[Field, ...]) -> None:
    schema = json.loads((DOCS / f"{name}.schema.json").read_text())
    assert set(schema["properties"]) == {field.name for field in fields}
    assert set(schema["required"]) == {field.name for field in fields if field.required}
    json_types = {
        "string": "string",
        "time": "string",
        "number": "number",
        "strings": "array",
        "objects": "array",
    }
    for field in fields:
        stated = schema["properties"][field.name].get("type", "string")
        assert json_types[field.kind] in ([stated] if isinstance(stated, str) else stated), field.name
        assert (schema["properties"][field.name].get("format") == "date-time") == (field.kind == "time"), (
            field.name
        )
    if name == "event":
        assert schema["properties"]["type"]["enum"] == list(NEEDS)
        assert {
            r["if"]["properties"]["type"]["const"]: tuple(r["then"]["required"]) for r in schema["allOf"]
        } == NEEDS
