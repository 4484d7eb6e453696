"""Messages for the tests of the streams, and what the tables must hold of them, worked out in plain
Python."""

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

Event = dict[str, Any]
PARTITIONS = 2
_WORDS = (
    "city",
    "team",
    "wins",
    "storm",
    "rain",
    "goal",
    "mayor",
    "market",
    "stock",
    "film",
    "star",
    "law",
    "court",
    "vote",
    "school",
)


@dataclass(frozen=True)
class Message:
    """One message: its key, which decides the partition, and its bytes; `bad` where no job can use it."""

    key: str
    value: bytes
    bad: bool = False


def bad_messages(rng: random.Random, count: int) -> list[Message]:
    """Messages of many kinds that no job can use, no two alike."""
    kinds = (
        "not json {n}",
        '{{"n": {n}',
        "[{n}]",
        '{{"news_id": "", "n": {n}}}',
        '{{"news_id": {n}, "event_id": {n}}}',
        "\udcff {n}",
    )
    texts = [kinds[n % len(kinds)].format(n=n) for n in range(count)]
    return [Message(str(rng.random()), text.encode("utf-8", "surrogateescape"), bad=True) for text in texts]


def article(number: int, version: int, rng: random.Random) -> Event:
    """One version of an article, of a few words; equal texts occur."""
    text = " ".join(rng.choice(_WORDS) for _ in range(rng.randint(2, 8)))
    found: Event = {"news_id": f"N{number}", "title": text, "category": rng.choice(["sports", "news"])}
    found["published_at"] = f"2019-11-{9 + number % 5:02}T06:{number % 60:02}:00Z"
    if version:
        found["updated_at"] = f"2019-11-2{min(version, 9)}T00:00:00Z"
        found["body"] = f"the {text} of the city"
    return found


def articles(count: int, seed: int = 1) -> list[Message]:
    """`count` messages: articles and later versions of them in no order, 1 % bad, 2 % sent twice."""
    rng = random.Random(seed)
    bad, twice = max(1, count // 100), max(1, count // 50)
    whole = count - bad - twice
    numbers = [(n, 0) for n in range(whole * 8 // 10)]
    numbers += [(rng.randrange(len(numbers)), rng.randint(1, 3)) for _ in range(whole - len(numbers))]
    made = [Message(f"N{n}", json.dumps(article(n, version, rng)).encode()) for n, version in numbers]
    return _mixed(rng, made, bad_messages(rng, bad), twice)


def newest_articles(messages: list[Message]) -> dict[str, tuple[str, str]]:
    """news_id -> updated_at and content hash of the version that must stay."""
    best: dict[str, tuple[str, str]] = {}
    for event in (json.loads(message.value) for message in messages if not message.bad):
        parts = (event.get(name) or "" for name in ("title", "abstract", "body"))
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        version = (
            (event.get("updated_at") or event["published_at"]).removesuffix("Z").replace("T", " "),
            digest,
        )
        best[event["news_id"]] = max(version, best.get(event["news_id"], ("", "")))
    return best


def events(count: int, seed: int = 2) -> list[Message]:
    """`count` messages: impressions, clicks anywhere before or after them, searches, interests; 1 % bad, 2 %
    sent twice."""
    rng = random.Random(seed)
    bad, twice = max(1, count // 100), max(1, count // 50)
    whole = count - bad - twice
    shown: list[Event] = [
        {
            "type": "impression",
            "event_id": f"I{n}",
            "user_id": f"U{n % 50}",
            "occurred_at": f"2019-11-14T06:{n % 60:02}:00Z",
            "news_ids": [f"N{i}" for i in rng.sample(range(100), 4)],
        }
        for n in range(whole * 6 // 10)
    ]
    made = list(shown)
    for n in range(whole * 3 // 10):
        impression = rng.choice(shown)
        # One in ten belongs to an impression that never comes.
        of = impression["event_id"] if rng.random() < 0.9 else f"lost{n}"
        click = {
            "type": "click",
            "event_id": f"C{n}",
            "user_id": impression["user_id"],
            "occurred_at": "2019-11-14T08:00:00Z",
        }
        made.append({**click, "impression_id": of, "news_id": rng.choice(impression["news_ids"])})
    for n in range(whole - len(made)):
        common = {
            "event_id": f"Q{n}",
            "user_id": f"U{n % 50}",
            "occurred_at": f"2019-11-14T07:{n % 60:02}:{n // 60 % 60:02}Z",
        }
        said = (
            {"type": "search", "query": f"news {n}"}
            if n % 2
            else {"type": "interest", "interest": f"film {n}"}
        )
        made.append({**common, **said})
    # An impression and its clicks have one key, so that they arrive in order.
    ready = [
        Message(str(event.get("impression_id", event["event_id"])), json.dumps(event).encode())
        for event in made
    ]
    return _mixed(rng, ready, bad_messages(rng, bad), twice)


def clicked(messages: list[Message]) -> dict[tuple[str, str], bool]:
    """(impression, article) -> whether it must be marked, for everything that was shown."""
    good = [json.loads(message.value) for message in messages if not message.bad]
    found = {
        (e["event_id"], news): False for e in good if e["type"] == "impression" for news in e["news_ids"]
    }
    for event in good:
        if event["type"] == "click" and (place := (event["impression_id"], event["news_id"])) in found:
            found[place] = True
    return found


def said(messages: list[Message], kind: str, *fields: str) -> set[tuple[str, ...]]:
    """These fields of all events of a type."""
    events = (json.loads(message.value) for message in messages if not message.bad)
    return {tuple(event[field] for field in fields) for event in events if event["type"] == kind}


def produce(servers: str, topic: str, messages: list[Message]) -> None:
    """Make the topic and send the messages, in their order within each partition."""
    admin = AdminClient({"bootstrap.servers": servers})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        made.result(timeout=60)
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    for message in messages:
        producer.produce(topic, key=message.key, value=message.value)
        producer.poll(0)
    assert producer.flush(120) == 0


def _mixed(rng: random.Random, good: list[Message], bad: list[Message], twice: int) -> list[Message]:
    every = [*good, *bad, *rng.sample(good, twice)]
    rng.shuffle(every)
    return every
