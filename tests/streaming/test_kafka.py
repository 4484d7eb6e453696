"""Both streams against a real broker, killed with SIGKILL and resumed: the tables of a run that nobody
disturbed."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.streaming.articles import stream_articles
from newslake.streaming.behaviors import stream_behaviors
from tests.calling import call
from tests.killing import PROJECT, arguments_of, commits, content, data_files, kill_job
from tests.streaming import made
from tests.streaming.broker import Broker
from tests.streaming.conftest import write_topic_model

Moment = Callable[[], bool]
JOBS: dict[str, Callable[..., None]] = {
    "stream_articles": stream_articles,
    "stream_behaviors": stream_behaviors,
}
# What each stream writes, and what may differ: the last bits of a vector, by a text's neighbours in its
# batch.
TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "stream_articles": {
        "news": (),
        "article_embeddings": ("embedding",),
        "article_topics": (),
        "article_vectors": ("vector",),
        "quarantine": (),
    },
    "stream_behaviors": {
        "impressions": (),
        "clicks": (),
        "search_queries": (),
        "user_interests": (),
        "quarantine": (),
    },
}


class Stream:
    """One of the two jobs over one topic, into one lakehouse."""

    def __init__(
        self, job: str, lake: Lakehouse, broker: Broker, topic: str, per_batch: int, model: Path
    ) -> None:
        self.job, self.lake = job, lake
        self.root = Path(str(lake.root))
        self.options: dict[str, Any] = {
            "topic": topic,
            "bootstrap_servers": broker.servers,
            "max_per_batch": per_batch,
        }
        if job == "stream_articles":
            self.options["encoder"] = str(model)
            write_topic_model(lake)

    def run(self, **options: Any) -> JobRun:
        """In the test's session, to the end."""
        run = JobRun(self.job)
        call(JOBS[self.job], self.lake, run, once=True, **{**self.options, **options})
        return run

    def kill(self, when: Moment, log: Path) -> bool:
        """As a process, killed at the moment; whether it came to that."""
        given = ("--lakehouse", str(self.root), "--once", *arguments_of(self.options))
        return kill_job(self.job, *given, when=when, log=log, timeout_s=3000.0)

    def tables(self) -> dict[str, tuple[int, int]]:
        """Count and hash of each table."""
        tables = TABLES[self.job].items()
        return {name: content(self.lake.read(name), without=without) for name, without in tables}

    def batches(self, kind: str = "commits") -> int:
        """How many batches the checkpoint has planned (offsets) or done (commits)."""
        topic = self.options["topic"]
        folder = self.root / "_checkpoints" / self.job / f"kafka-{topic}" / kind
        return len([file for file in folder.glob("*") if file.name.isdigit()])


def check_truth(stream: Stream, messages: list[made.Message]) -> None:
    """The tables hold what the messages say, worked out in plain Python; no key is there twice."""
    lake = stream.lake
    assert lake.read("quarantine").count() == sum(message.bad for message in messages)
    if stream.job == "stream_articles":
        wanted = made.newest_articles(messages)
        rows = (
            lake.read("news").select("news_id", F.col("updated_at").cast("string"), "content_hash").collect()
        )
        assert len(rows) == len(wanted)
        assert {row[0]: (row[1], row[2]) for row in rows} == wanted
        for table, each in (("article_embeddings", 1), ("article_topics", 2), ("article_vectors", 1)):
            assert lake.read(table).count() == each * len(wanted), table
    else:
        shown = made.clicked(messages)
        rows = lake.read("impressions").select("impression_id", "news_id", "clicked").collect()
        assert len(rows) == len(shown)
        assert {(row[0], row[1]): row[2] for row in rows} == shown
        assert any(shown.values())
        searched = lake.read("search_queries").select("query_id", "query").collect()
        assert sorted(map(tuple, searched)) == sorted(made.said(messages, "search", "event_id", "query"))
        stated = lake.read("user_interests").select("user_id", "interest").collect()
        assert sorted(map(tuple, stated)) == sorted(made.said(messages, "interest", "user_id", "interest"))


def produced(broker: Broker, topic: str, job: str, count: int) -> list[made.Message]:
    """Messages for a job, in a topic of their own."""
    messages = made.articles(count) if job == "stream_articles" else made.events(count)
    made.produce(broker.servers, topic, messages)
    return messages


def test_killed_once(lake: Lakehouse, broker: Broker, small_model: Path, tmp_path: Path) -> None:
    job = "stream_behaviors"
    messages = produced(broker, "few", job, 300)
    stream = Stream(job, lake, broker, "few", 160, small_model)
    # The second batch has written one table, none of what follows, and is not done.
    assert stream.kill(lambda: commits(stream.root / "clicks") == 3, tmp_path / "log"), (
        tmp_path / "log"
    ).read_text()[-2000:]
    assert stream.batches("offsets") == 2
    assert stream.batches("commits") == 1
    again = stream.run().rows_read or 0
    assert 0 < again < 200, "only the batch that was cut off comes again"
    check_truth(stream, messages)
    assert stream.run().rows_read is None


def test_a_topic_that_is_not_there(lake: Lakehouse, broker: Broker) -> None:
    with pytest.raises(UserError, match=r"^--topic nope: Kafka at .* has no such topic; it has "):
        call(
            stream_behaviors,
            lake,
            JobRun("stream_behaviors"),
            topic="nope",
            bootstrap_servers=broker.servers,
            once=True,
        )


def moments(stream: Stream, broker: Broker, tables: list[str]) -> Iterator[tuple[str, Moment]]:
    """Ten moments of one run after another, each further on than the one before: around every write, and
    between them."""

    def after(seconds: float, ready: Moment) -> Moment:
        began: list[float] = []

        def moment() -> bool:
            if ready() and not began:
                began.append(time.monotonic())
            return bool(began) and time.monotonic() - began[0] >= seconds

        return moment

    def more(count: Callable[[], int], by: int = 1) -> Moment:
        before = count()
        return lambda: count() >= before + by

    def restarted() -> Moment:
        far, done = more(stream.batches), more(stream.batches, 2)
        state = {"down": False}

        def moment() -> bool:
            if far() and not state["down"]:
                broker.kill()
                time.sleep(2.0)
                broker.start()
                state["down"] = True
            return done()

        return moment

    first, *others = tables
    yield "a batch is planned", more(lambda: stream.batches("offsets"))
    yield f"{first} is written", more(lambda: commits(stream.root / first))
    yield f"files of {first}, not committed perhaps", more(lambda: data_files(stream.root / first))
    for table in others[:3]:
        yield f"{table} is written", more(lambda table=table: commits(stream.root / table))  # type: ignore[misc]
    yield "the broker was killed and started while the stream ran", restarted()
    yield "a batch is done", more(stream.batches)
    yield "half a second into a batch", after(0.5, more(lambda: stream.batches("offsets"), 2))
    yield "two seconds into a batch", after(2.0, more(lambda: stream.batches("offsets")))


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_killed_ten_times_and_the_broker_once(
    job: str, lake: Lakehouse, broker: Broker, small_model: Path, tmp_path: Path
) -> None:
    messages = produced(broker, f"many-{job}", job, 20_000)
    disturbed = Stream(job, lake, broker, f"many-{job}", 1_500, small_model)
    order = ["quarantine", "news", "article_embeddings", "article_vectors"]
    order = order if job == "stream_articles" else ["clicks", "impressions", "search_queries", "quarantine"]
    progress = []
    for number, (what, moment) in enumerate(moments(disturbed, broker, order)):
        log = tmp_path / f"log-{number}"
        assert disturbed.kill(moment, log), f"ended before: {what}: {log.read_text()[-2000:]}"
        progress.append((what, disturbed.batches("offsets"), disturbed.batches("commits")))
        print(*progress[-1])
    assert len(progress) == 10
    assert len({planned for _, planned, _ in progress}) >= 5, progress  # over many batches
    # Tables do not depend on how the messages fall into batches: the rest comes in larger ones, and
    # undisturbed in one.
    disturbed.run(max_per_batch=10_000)
    assert disturbed.batches() > progress[-1][1], "there was something left for the last run"
    undisturbed = Stream(
        job, Lakehouse(lake.spark, str(tmp_path / "undisturbed")), broker, f"many-{job}", 30_000, small_model
    )
    undisturbed.run()
    assert undisturbed.batches() < 3 < 6 <= disturbed.batches()
    assert disturbed.tables() == undisturbed.tables()
    check_truth(disturbed, messages)


@pytest.mark.slow
def test_asked_to_stop_it_stops_and_goes_on_later(lake: Lakehouse, broker: Broker, tmp_path: Path) -> None:
    messages = produced(broker, "endless", "stream_behaviors", 200)
    root = Path(str(lake.root))
    options = {
        "topic": "endless",
        "bootstrap_servers": broker.servers,
        "every_seconds": 0.5,
        "lakehouse": root,
    }
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "jobs/stream_behaviors.py", *arguments_of(options)],
        cwd=PROJECT,
        stderr=log,
        stdout=log,
    )
    done = root / "_checkpoints" / "stream_behaviors" / "kafka-endless" / "commits" / "0"
    while not done.exists() and process.poll() is None:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=600) == 0, (tmp_path / "log").read_text()[-2000:]
    assert lake.read("job_runs").select("outcome", "rows_in").collect() == [("done", len(messages))]
    stream = Stream("stream_behaviors", lake, broker, "endless", 100, tmp_path)
    assert stream.run().rows_read is None
    check_truth(stream, messages)
