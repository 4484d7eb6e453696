"""export_vectors to a Milvus server: executors send, and what is there is what the driver would have sent."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark import TaskContext
from pyspark.errors import PythonException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.purge import purge_news
from newslake.run.jobrun import JobRun
from newslake.serving.export import export_articles, export_users
from newslake.serving.stores.limits import Limits
from newslake.serving.stores.milvus.client import default_uri, opened
from newslake.serving.stores.milvus.collection import collection_name
from newslake.serving.stores.opening import open_store
from newslake.serving.stores.store import ARTICLES, USERS, Opener, VectorStore
from newslake.serving.stores.sync import TABLE, Synced
from newslake.spark.frames import frame_of
from tests.calling import call
from tests.killing import PROJECT, arguments_of, commits
from tests.ports import free_port
from tests.serving.rows import article_vectors, held, user_vectors
from tests.serving.server import milvus_server
from tests.tables import put
from tests.undisturbed import Moment, Undisturbed, kill_and_rerun

FEW = Limits(batch_rows=3, slice_rows=12, writers=2)
TEXTS = [(f"N{n:03}", f"2019-11-{10 + n % 5}", f"text {n}") for n in range(30)]
NAME = collection_name(ARTICLES, "newslake", "t1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the module, in which each test has collections of its own prefix."""
    with milvus_server(tmp_path_factory.mktemp("milvus")) as uri:
        yield uri


def export(lake: Lakehouse, uri: str, **options: Any) -> Synced:
    """One export of articles, all anew unless told otherwise."""
    return export_articles(lake, JobRun("export_vectors"), uri=uri, limits=FEW, **options)


def noted(lake: Lakehouse) -> dict[str, Any]:
    """What vector_exports says: item -> what else it says of it."""
    rows = lake.read(TABLE).select("item_id", "inputs_hash", "expires_at").collect()
    return {row.item_id: (row.inputs_hash, row.expires_at) for row in rows}


def classed(lake: Lakehouse, classes: dict[str, str | None]) -> None:
    """Rows of news with these classes."""
    contract = lake.schema("news")
    given = {"title": "", "content_hash": ""}
    rows = [{**given, "news_id": news_id, "category": category} for news_id, category in classes.items()]
    values = [tuple(row.get(name) for name in contract.names) for row in rows]
    lake.merge("news", frame_of(lake.spark, values, contract))


def test_executors_send_what_the_driver_sends(lake: Lakehouse, server: str) -> None:
    put(lake, "article_vectors", article_vectors(lake, TEXTS))
    put(lake, "user_vectors", user_vectors(lake, "2019-11-15", [(f"U{n}", 0, "p", 1.0) for n in range(7)]))
    classed(lake, {"N000": "sports", "N001": None})
    sent = {}
    for uri in (server, default_uri(lake)):
        assert export(lake, uri) == Synced(sent=30)
        assert export_users(lake, JobRun("test"), uri=uri, limits=FEW) == Synced(sent=7)
        sent[uri] = held(uri), held(uri, USERS)
    assert sent[server] == sent[default_uri(lake)]
    found = sent[server][0]
    assert [found[news_id]["category"] for news_id in ("N000", "N001", "N002")] == ["sports", "", ""]

    # A class that is known better now is sent again; what is gone leaves.
    classed(lake, {"N000": "politics"})
    lake.delete("article_vectors", "news_id > 'N024'")
    assert export(lake, server) == Synced(sent=1, removed=5)
    after = held(server)
    assert after.keys() == {news_id for news_id, _, _ in TEXTS[:25]}
    assert after["N000"]["category"] == "politics"
    with opened(server) as client:
        client.delete(NAME, ids=["N001"])
    with pytest.raises(JobFailed, match=r"holds 24 items, but 25 were exported: .* --rebuild"):
        export(lake, server)
    assert export(lake, server, rebuild=True) == Synced(sent=25)


@dataclass(frozen=True)
class FailsOnce:
    """Opens the store, whose connection breaks in the middle of a task's first attempt."""

    again: Opener

    def __call__(self) -> AbstractContextManager[VectorStore]:
        return self.opened()

    @contextmanager
    def opened(self) -> Iterator[VectorStore]:
        """The store."""
        with self.again() as store:
            upsert, requests = store.upsert, []

            def until_it_breaks(collection: Any, items: Any) -> None:
                requests.append(items.num_rows)
                task = TaskContext.get()
                if len(requests) == 2 and task is not None and task.attemptNumber() == 0:
                    raise ConnectionError("the connection broke")
                upsert(collection, items)

            store.upsert = until_it_breaks  # type: ignore[method-assign]
            yield store


@contextmanager
def breaking(uri: str, token: str | None = None) -> Iterator[VectorStore]:
    """`open_store`, for whose tasks the connection breaks once."""
    with open_store(uri, token) as store:
        again = store.for_executors()
        assert again is not None
        store.for_executors = lambda: FailsOnce(again)  # type: ignore[method-assign]
        yield store


def test_a_run_that_failed_in_a_slice_is_completed_by_the_next(
    lake: Lakehouse, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, "article_vectors", article_vectors(lake, TEXTS))
    with monkeypatch.context() as patched:
        patched.setattr("newslake.serving.export.open_store", breaking)
        with pytest.raises(PythonException, match="the connection broke"):
            export(lake, server, prefix="failed")
    assert noted(lake) == {}
    with open_store(server) as store:
        [collection] = store.collections(ARTICLES, "failed")
        assert store.count(collection) > 0, "some of the slice was sent"
    assert export(lake, server, prefix="failed") == Synced(sent=30)
    assert held(server, prefix="failed").keys() == noted(lake).keys() == {text[0] for text in TEXTS}


@contextmanager
def out_of_reach(uri: str, token: str | None = None) -> Iterator[VectorStore]:
    """`open_store`, whose address means another machine to the tasks."""
    with open_store(uri, token) as store:
        elsewhere = partial(open_store, f"http://127.0.0.1:{free_port()}", "root:hidden")
        store.for_executors = lambda: elsewhere  # type: ignore[method-assign]
        yield store


def test_a_server_that_executors_do_not_reach_is_a_mistake(
    lake: Lakehouse, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, "article_vectors", article_vectors(lake, TEXTS))
    monkeypatch.setattr("newslake.serving.export.open_store", out_of_reach)
    with pytest.raises(UserError, match=r"none that takes this token .* all executors must") as caught:
        export(lake, server, prefix="unreached")
    assert "hidden" not in str(caught.value)


RETRIED = """
import sys
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving import export
from newslake.spark.session import spark_session
from tests.serving.test_server import FEW, breaking

spark = spark_session("retried", master="local[2, 3]", extra={"spark.sql.shuffle.partitions": "2"})
export.open_store = breaking
lake, to = Lakehouse(spark, sys.argv[1]), {"uri": sys.argv[2], "prefix": "retried"}
print("sent", export.export_articles(lake, JobRun("test"), limits=FEW, **to).sent)
"""


@pytest.mark.slow
def test_a_task_that_is_tried_again_sends_its_items_over_themselves(lake: Lakehouse, server: str) -> None:
    put(lake, "article_vectors", article_vectors(lake, TEXTS))
    done = subprocess.run(
        [sys.executable, "-c", RETRIED, str(lake.root), server],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "sent 30" in done.stdout, done.stderr[-3000:]
    assert "the connection broke" in done.stderr
    assert held(server, prefix="retried").keys() == noted(lake).keys() == {text[0] for text in TEXTS}


def today(shift: int) -> str:
    """A day from today on."""
    return str(datetime.now(UTC).date() + timedelta(days=shift))


def test_articles_leave_by_themselves_and_the_counts_stay_right(lake: Lakehouse, server: str) -> None:
    articles = [("old", today(-9), "a"), ("last day", today(-3), "b"), ("young", today(0), "c")]
    put(lake, "article_vectors", article_vectors(lake, [*articles, ("undated", "1970-01-01", "d")]))
    options: dict[str, Any] = {"prefix": "ttl", "uri": server}
    assert export(lake, days=3, **options) == Synced(sent=3)
    leaves = {key: row["expires_at"] for key, row in held_with_moment(server, "ttl").items()}
    assert leaves == {"last day": f"{today(2)}T00:00:00Z", "young": f"{today(5)}T00:00:00Z", "undated": None}
    with opened(server) as client:
        holds = client.describe_collection(collection_name(ARTICLES, "ttl", "t1"))["properties"]
    assert holds["ttl_field"] == "expires_at"
    # Later exports keep to it, such as a stream's, which knows nothing of it.
    assert export(lake, **options) == Synced()
    # Another time to live is another moment for each.
    assert export(lake, days=10, **options) == Synced(sent=3)
    assert export(lake, days=0, **options) == Synced(sent=3)
    assert {row["expires_at"] for row in held_with_moment(server, "ttl").values()} == {None}
    assert export(lake, days=10, **options) == Synced(sent=3)

    # A day before an article's moment nobody has exported: the server has let it go meanwhile.
    classed(lake, {news_id: "c" for news_id, _, _ in articles})
    past = datetime.now(UTC) - timedelta(hours=1)
    lake.merge(TABLE, moved(lake, "last day", past))
    with opened(server) as client:
        client.delete(collection_name(ARTICLES, "ttl", "t1"), ids=["last day"])
    call(purge_news, lake, JobRun("test"), older_than="30", uri=server, prefix="ttl", vacuum=False)
    assert noted(lake).keys() == {"old", "young", "undated"}


def moved(lake: Lakehouse, item: str, moment: datetime) -> DataFrame:
    """The row of vector_exports of an item, as if it had had to leave at another moment."""
    rows = lake.read(TABLE).where(F.col("item_id") == item)
    return rows.withColumn("expires_at", F.lit(moment.replace(tzinfo=None)))


def held_with_moment(uri: str, prefix: str) -> dict[str, Any]:
    """What the collection of articles holds: news_id -> its moment."""
    name = collection_name(ARTICLES, prefix, "t1")
    with opened(uri) as client:
        client.load_collection(name)
        rows = client.query(name, filter="", output_fields=["news_id", "expires_at"], limit=100)
    return {row["news_id"]: row for row in rows}


def test_a_collection_without_a_field_is_refused_and_made_anew_by_rebuild(
    lake: Lakehouse, server: str
) -> None:
    put(lake, "article_vectors", article_vectors(lake, [("N1", today(0), "text")]))
    assert export(lake, server, prefix="older") == Synced(sent=1)
    with pytest.raises(
        UserError, match=r"without the field expires_at, which --time-to-live-days needs: .* with --rebuild"
    ):
        export(lake, server, prefix="older", days=3)
    assert export(lake, server, prefix="older", days=3, rebuild=True) == Synced(sent=1)

    name = collection_name(ARTICLES, "older", "t1")
    with opened(server) as client:
        from pymilvus import DataType

        holds = client.describe_collection(name)["properties"]["newslake.holds"]
        for alias in client.list_aliases(collection_name=name)["aliases"]:
            client.drop_alias(alias=alias)
        client.drop_collection(name)
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("news_id", DataType.VARCHAR, is_primary=True, max_length=1024)
        schema.add_field("news_date", DataType.INT32)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection(name, schema=schema, properties={"newslake.holds": holds})
    with pytest.raises(UserError, match=r"without the field category, expires_at: .* with --rebuild"):
        export(lake, server, prefix="older")
    assert export(lake, server, prefix="older", rebuild=True) == Synced(sent=1)


MOMENTS: dict[str, Moment] = {
    "vector_exports made, the first slice on its way": lambda root: commits(root / TABLE) >= 1,
    "two slices noted": lambda root: commits(root / TABLE) >= 3,
}


@pytest.mark.slow
def test_killed_between_slices(lake: Lakehouse, tmp_path: Path) -> None:
    with milvus_server(tmp_path / "milvus") as uri, milvus_server(tmp_path / "other") as other:
        before, after = (Lakehouse(lake.spark, str(tmp_path / name)) for name in ("before", "after"))
        for each in (before, after):
            put(each, "article_vectors", article_vectors(each, TEXTS))
        export(after, other)
        address = {str(after.root): other}

        def look(each: Lakehouse) -> Any:
            found = noted(each) if each.exists(TABLE) else {}
            return held(address.get(str(each.root), uri)), found

        undisturbed = Undisturbed(tmp_path / "before", look, look(after), lambda each: export(each, uri))
        options = {"uri": uri, "which": "articles", "batch_rows": 3, "slice_rows": 6, "writers": 2}
        kill_and_rerun(
            undisturbed,
            lake,
            MOMENTS,
            ("export_vectors", arguments_of(options)),
            tmp_path,
            left=lambda _: None,
        )
