"""export_vectors to a real Milvus (Lite, in a file): what goes there, what leaves, what is refused."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving.export import export_articles, export_users
from newslake.serving.job import export_vectors
from newslake.serving.stores.limits import Limits
from newslake.serving.stores.milvus.client import default_uri, is_file, opened
from newslake.serving.stores.milvus.collection import collection_name
from newslake.serving.stores.store import ARTICLES
from newslake.serving.stores.sync import Synced
from newslake.spark.frames import frame_of
from tests.calling import call
from tests.killing import run_job
from tests.serving.rows import USERS, article_vectors, held, nearest, user_vectors, vector_of
from tests.tables import put

UNSAFE = ("a'] or true or news_id in ['", "b\\", "c\n")
FEW = Limits(batch_rows=3, slice_rows=7)
HOLDER = """
import sys, time
from newslake.serving.stores.milvus.client import opened
with opened(sys.argv[1]):
    print("open", flush=True)
    time.sleep(300)
"""


def export(lake: Lakehouse, **options: object) -> tuple[Synced, JobRun]:
    """One export of articles."""
    run = JobRun("export_vectors")
    done = export_articles(lake, run, uri=default_uri(lake), limits=FEW, **options)  # type: ignore[arg-type]
    return done, run


def test_articles_are_sent_once_changed_ones_again_and_gone_ones_leave(lake: Lakehouse) -> None:
    articles = [(f"N{n}", f"2019-11-{10 + n % 3}", f"text {n}") for n in range(20)]
    put(lake, "article_vectors", article_vectors(lake, [*articles, ('N"20 ü', "1970-01-01", "undated")]))
    done, run = export(lake)
    assert done == Synced(sent=21)
    assert run.rows_written == {"vector_exports": 21}
    found = held(default_uri(lake))
    assert len(found) == 21
    assert {found["N4"]["news_date"], found['N"20 ü']["news_date"]} == {20191111, 19700101}
    np.testing.assert_allclose(found["N7"]["vector"], vector_of("text 7"), rtol=1e-6)
    assert nearest(default_uri(lake), vector_of("text 7"), limit=1) == ["N7"]
    recent = nearest(default_uri(lake), vector_of("text 7"), where="news_date >= 20191112", limit=20)
    assert sorted(recent) == sorted(news_id for news_id, day, _ in articles if day == "2019-11-12")

    assert export(lake)[0] == Synced()
    put(
        lake,
        "article_vectors",
        article_vectors(lake, [("N1", "2019-11-11", "another text"), ("N30", "2019-11-13", "new")]),
    )
    lake.delete("article_vectors", """news_id IN ('N2', 'N"20 ü')""")
    # N3 is on another day now, as build_article_vectors moves an article.
    moved = article_vectors(lake, [("N3", "2019-11-13", "text 3")])
    gone = article_vectors(lake, [("N3", "2019-11-10", "text 3")]).select(
        "news_date", "news_id", "encoder_id", "topic_model"
    )
    lake.merge("article_vectors", moved, gone=gone)
    assert export(lake)[0] == Synced(sent=3, removed=2)
    after = held(default_uri(lake))
    assert after.keys() == found.keys() - {"N2", 'N"20 ü'} | {"N30"}
    np.testing.assert_allclose(after["N1"]["vector"], vector_of("another text"), rtol=1e-6)
    assert after["N3"]["news_date"] == 20191113


def test_a_micro_batch_looks_at_its_own_articles_only(lake: Lakehouse) -> None:
    put(
        lake,
        "article_vectors",
        article_vectors(lake, [(f"N{n}", "2019-11-10", f"text {n}") for n in range(4)]),
    )
    only = frame_of(lake.spark, [("N1",), ("N2",), ("N2",), ("N99",)], "news_id string")
    assert export(lake, only=only)[0] == Synced(sent=2)
    assert held(default_uri(lake)).keys() == {"N1", "N2"}
    lake.delete("article_vectors", "news_id IN ('N1', 'N3')")
    assert export(lake, only=only)[0] == Synced(removed=1)
    assert export(lake)[0] == Synced(sent=1)
    assert held(default_uri(lake)).keys() == {"N0", "N2"}


def test_vectors_that_cannot_be_searched_go_to_quarantine(lake: Lakehouse) -> None:
    put(lake, "article_vectors", article_vectors(lake, [("N0", "2019-11-10", "text")]))
    export(lake)
    rows = article_vectors(
        lake, [(news_id, "2019-11-10", "x") for news_id in ("N1", "N2", "N3", "N" * 1025, *UNSAFE)]
    )
    broken = F.when(F.col("news_id") == "N1", F.expr("array(float(1))"))
    broken = broken.when(
        F.col("news_id") == "N2", F.expr("array(float('NaN'), float(0), float(0), float(1))")
    )
    put(lake, "article_vectors", rows.withColumn("vector", broken.otherwise(F.col("vector"))))
    done, run = export(lake)
    assert done == Synced(sent=1, refused=3 + len(UNSAFE))
    assert run.rows_rejected == 3 + len(UNSAFE)
    reasons = {row.record_id[:2]: row.reason for row in lake.read("quarantine").collect()}
    assert all(
        "a quote ('), a backslash or a control character" in reasons.pop(news_id[:2]) for news_id in UNSAFE
    )
    assert reasons == {
        "N1": "not a vector of 4 entries, but of 1",
        "N2": "the vector holds an entry that is no finite number",
        "NN": "the id is longer than 1024 bytes",
    }
    assert held(default_uri(lake)).keys() == {"N0", "N3"}
    assert export(lake)[0] == Synced(refused=3 + len(UNSAFE))
    assert lake.read("quarantine").count() == 3 + len(UNSAFE)


def test_users_of_a_day_replace_those_of_the_day_before(lake: Lakehouse) -> None:
    first = [("U1", 0, "p1", 1.0), ("U1", 1, "p2", 0.5), ("U2", 0, "p1", 1.0)]
    put(lake, "user_vectors", user_vectors(lake, "2019-11-14", first))
    put(
        lake,
        "user_vectors",
        user_vectors(lake, "2019-11-15", [("U1", 0, "p1", 1.0), ("U1", 1, "p2", 0.75), ("U3", 0, "p9", 1.0)]),
    )
    uri = default_uri(lake)
    day = datetime(2019, 11, 14, tzinfo=UTC).date()
    assert export_users(lake, JobRun("test"), uri=uri, as_of=day) == Synced(sent=3)
    # What is the same on both days stays, a changed weight goes again, U2 leaves.
    assert export_users(lake, JobRun("test"), uri=uri) == Synced(sent=2, removed=1)
    found = held(uri, USERS)
    assert {key: (item["user_id"], item["weight"]) for key, item in found.items()} == {
        "U1/0/p1": ("U1", 1.0),
        "U1/1/p2": ("U1", 0.75),
        "U3/0/p9": ("U3", 1.0),
    }
    with pytest.raises(UserError, match="nothing for --as-of 2019-11-16: run build_user_vectors"):
        export_users(lake, JobRun("test"), uri=uri, as_of=datetime(2019, 11, 16, tzinfo=UTC).date())
    # Another encoder's later day is not the latest of the one asked for.
    put(
        lake,
        "user_vectors",
        user_vectors(lake, "2019-11-16", [("U1", 0, "p1", 1.0)]).withColumn("encoder_id", F.lit("e2")),
    )
    run = JobRun("test")
    assert export_users(lake, run, uri=uri, encoder_id="e1") == Synced()
    assert run.facts["user vectors of"] == "2019-11-15"


@pytest.mark.slow
def test_vectors_of_two_encoders_never_share_a_collection(lake: Lakehouse) -> None:
    put(lake, "article_vectors", article_vectors(lake, [("N1", "2019-11-10", "text")]))
    export(lake)
    put(lake, "article_vectors", article_vectors(lake, [("N1", "2019-11-10", "text")], encoder_id="e2"))
    with pytest.raises(UserError, match="choose with --encoder-id e1 or e2"):
        export(lake)
    with pytest.raises(
        UserError,
        match=r"holds vectors of encoder_id e1, not e2: export under another --prefix, or .* --rebuild",
    ):
        export(lake, encoder_id="e2")
    assert export(lake, encoder_id="e2", prefix="other")[0] == Synced(sent=1)
    assert export(lake, encoder_id="e2", rebuild=True)[0] == Synced(sent=1)
    with pytest.raises(UserError, match="not e1"):
        export(lake, encoder_id="e1")


@pytest.mark.slow
def test_a_collection_that_was_lost_is_filled_anew_and_one_that_was_changed_is_noticed(
    lake: Lakehouse,
) -> None:
    put(
        lake,
        "article_vectors",
        article_vectors(lake, [(f"N{n}", "2019-11-10", f"text {n}") for n in range(5)]),
    )
    export(lake)
    shutil.rmtree(default_uri(lake))
    assert export(lake)[0] == Synced(sent=5)
    with opened(default_uri(lake)) as client:
        client.delete(collection_name(ARTICLES, "newslake", "t1"), ids=["N1"])
    with pytest.raises(JobFailed, match=r"holds 4 items, but 5 were exported: .* --rebuild"):
        export(lake)
    assert export(lake, rebuild=True)[0] == Synced(sent=5)
    with opened(default_uri(lake)) as client:
        client.drop_collection(collection_name(ARTICLES, "newslake", "t1"))
        client.create_collection(collection_name(ARTICLES, "newslake", "t1"), dimension=4)
    with pytest.raises(UserError, match="was not made by newslake: export under another --prefix"):
        export(lake)


def test_mistakes(lake: Lakehouse, run: JobRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table article_vectors is not there yet"):
        call(export_vectors, lake, run)
    put(lake, "article_vectors", article_vectors(lake, [("N1", "2019-11-10", "text")]))
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"uri": f"{tmp_path}/vectors"}, "name ends in .db"),
        ({"uri": "http://127.0.0.1:9", "token": "root:hidden"}, "none that takes this token answers"),
        ({"prefix": "news-lake"}, "letters, digits and _ only"),
        ({"batch_rows": 0}, "take 1 or more"),
        ({"time_to_live_days": -1}, "takes 0 or more"),
        ({"as_of": "yesterday"}, "takes a day"),
    ]
    for options, says in mistakes:
        with pytest.raises(UserError, match=says) as caught:
            call(export_vectors, lake, run, which=("articles",), **options)
        assert "hidden" not in str(caught.value)
    named = Lakehouse(lake.spark, schema="news")
    with pytest.raises(UserError, match="say where it is with --uri"):
        default_uri(named)
    assert is_file("/data/newslake.db")
    assert not is_file("http://milvus:19530")


@pytest.fixture
def held_by_another(lake: Lakehouse) -> Iterator[Lakehouse]:
    """A lakehouse whose Milvus file another process has open."""
    put(lake, "article_vectors", article_vectors(lake, [("N1", "2019-11-10", "text")]))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, default_uri(lake)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield lake
        holder.kill()


def test_a_file_that_another_process_has_open_is_a_mistake(held_by_another: Lakehouse) -> None:
    with pytest.raises(
        UserError,
        match="another process has this Milvus file open: wait for it to end, or run a Milvus server",
    ):
        export(held_by_another)
    assert not held_by_another.exists("vector_exports")


@pytest.mark.slow
def test_the_users_mistake_is_one_line_and_no_credential_is_in_it(held_by_another: Lakehouse) -> None:
    root = str(held_by_another.root)
    result = run_job("export_vectors", "--lakehouse", root, "--which", "articles", "--token", "root:hidden")
    ours = [
        line for line in result.stderr.splitlines() if "another process has this Milvus file open" in line
    ]
    assert result.returncode == 2, result.stderr
    assert len(ours) == 1
    assert "Traceback" not in result.stderr
    assert "hidden" not in result.stderr + result.stdout
