"""docs/sql.md: every question has the answer that small tables, counted by hand, must give; and every table
reads without Spark."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_names
from newslake.pipeline.views import VIEWS, create_views, make_views, script
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of

TEXT = (Path(__file__).parent.parent.parent / "docs" / "sql.md").read_text(encoding="utf-8")
QUESTIONS = {
    int(n): sql
    for n, sql in re.findall(
        r"^### (\d+)\. [^\n]+\n.*?```sql\n(.*?)```", TEXT, flags=re.MULTILINE | re.DOTALL
    )
}
D14, D15 = date(2019, 11, 14), date(2019, 11, 15)
NOON = datetime(2019, 11, 15, 12, tzinfo=UTC)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2019, 11, day, hour, minute, tzinfo=UTC)


def shown(
    split: str, name: str, user: str, when: datetime, *candidates: tuple[str, bool], **feed: Any
) -> list[dict[str, Any]]:
    same = {
        "split": split,
        "impression_id": name,
        "user_id": user,
        "occurred_at": when,
        "ingested_at": when,
        **feed,
    }
    places = [
        {**same, "position": place, "news_id": news, "clicked": clicked}
        for place, (news, clicked) in enumerate(candidates)
    ]
    return [{**row, "rank": row["rank"] + row["position"]} if "rank" in row else row for row in places]


def job_run(
    job: str,
    start: datetime,
    seconds: float,
    outcome: str = "done",
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "run_id": f"{job}-{start:%d%H%M}",
        "job": job,
        "settings": dict(settings or {}),
        "started_at": start,
        "ended_at": start + timedelta(seconds=seconds),
        "rows_in": 7,
        "rows_out": {"news": 5},
        "rows_quarantined": 2,
        "outcome": outcome,
        "message": "JobFailed: disk full" if outcome == "failed" else None,
    }


def match(day: date, phrase: str, decision: str, source: str, jaccard: float = 1.0) -> dict[str, Any]:
    return {
        "as_of": day,
        "phrase_id": phrase,
        "encoder_id": "e1",
        "decision": decision,
        "source_id": source,
        "jaccard": jaccard,
    }


def vote(name: str, old: str, voted: str, votes: int, decision: str) -> dict[str, Any]:
    same = {"as_of": D15, "encoder_id": "e1", "model_run": "m", "content_hash": "h", "neighbours": []}
    return {
        **same,
        "news_id": name,
        "old_class": old,
        "voted_class": voted,
        "votes": votes,
        "decision": decision,
    }


def fed(
    user: str, rank: int, news: str, reason: str, cosine: float | None, ctr: float = 0.1
) -> dict[str, Any]:
    return {
        "hour": NOON,
        "user_id": user,
        "rank": rank,
        "news_id": news,
        "cosine": cosine,
        "ctr": ctr,
        "score": 1.0,
        "reason": reason,
    }


def metrics(epoch: int, split: str, auc: float, best: bool, run_id: str = "r1") -> dict[str, Any]:
    same = {
        "run_id": run_id,
        "model": "content",
        "impressions": 9,
        "impressions_left_out": 0,
        "mrr": 0.3,
        "ndcg_at_10": 0.4,
    }
    return {**same, "epoch": epoch, "split": split, "auc": auc, "best": best}


def history(split: str, name: str, user: str, *news: str) -> dict[str, Any]:
    return {
        "split": split,
        "impression_id": name,
        "user_id": user,
        "occurred_at": at(14, 8),
        "news_ids": list(news),
    }


def user_vector(user: str, phrase: str) -> dict[str, Any]:
    same = {
        "as_of": D15,
        "tag_group": 0,
        "encoder_id": "e1",
        "topic_model": "t1",
        "weight": 1.0,
        "vector": [1.0, 0.0],
    }
    return {**same, "user_id": user, "phrase_id": phrase}


def of_days(key: str, **days: Mapping[Any, float]) -> list[dict[str, Any]]:
    rows = [(day, thing, weight) for day, weights in days.items() for thing, weight in weights.items()]
    return [
        {"as_of": date(2019, 11, int(day[1:])), "user_id": "U1", key: thing, "weight": weight}
        for day, thing, weight in rows
    ]


ROWS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "news": [
        {
            "news_id": f"N{n}",
            "category": category,
            "title": title,
            "content_hash": f"h{n}",
            "published_at": at(14, n),
        }
        for n, category, title in (
            (1, "sports", "Goal"),
            (2, "sports", "Match"),
            (3, "food", "Pasta"),
            (4, "food", "Soup"),
        )
    ],
    "impressions": [
        *shown("train", "T1", "U1", at(14, 8, 10), ("N1", True), ("N3", False)),
        *shown("train", "T2", "U2", at(14, 9), ("N1", False), ("N3", True)),
        *shown(
            "train",
            "T3",
            "U1",
            at(14, 9, 30),
            ("N2", False),
            ("N3", False),
            ("N9", True),
            feed_hour=at(14, 9),
            rank=5,
        ),
        *shown(
            "dev", "D1", "U1", at(15, 12, 10), ("N4", True), ("N1", False), feed_hour=NOON, model="formula"
        ),
        *shown(
            "dev",
            "D2",
            "U3",
            at(15, 13),
            ("N2", False),
            ("N4", True),
            feed_hour=NOON,
            rank=10,
            model="ranker",
        ),
    ],
    "click_history": [
        history("train", "T1", "U1", "N2", "N8"),
        history("train", "T2", "U2", "N3"),
        history("train", "T3", "U1", "N2", "N8", "N1"),
        history("dev", "D1", "U1", "N2"),
        history("dev", "D2", "U3"),
    ],
    "quarantine": [
        {
            "quarantine_id": f"q{n}",
            "job": "parse_behaviors",
            "source": "f",
            "raw": raw,
            "reason": reason,
            "ingested_at": at(14, n),
        }
        for n, raw, reason in ((1, b"x", "too few fields"), (2, b"y", "too few fields"), (3, b"z", "no time"))
    ],
    "job_runs": [
        job_run("parse_behaviors", at(14, 1), 4.0),
        job_run("parse_behaviors", at(14, 2), 6.0),
        job_run("train_recommender", at(14, 3), 60.0, settings={"model": "mf"}),
        job_run("encode_tag_phrases", at(14, 4), 20.0, settings={"as_of": "2019-11-14"}),
        job_run("encode_tag_phrases", at(15, 4), 10.0, settings={"as_of": "2019-11-15"}),
        job_run("encode_articles", at(15, 5), 9.0, "failed"),
    ],
    "job_starts": [
        {
            "run_id": f"encode_articles-15{hour:02}00",
            "job": "encode_articles",
            "settings": {},
            "started_at": at(15, hour),
        }
        for hour in (5, 6)
    ],
    "article_embeddings": [
        {
            "news_id": name,
            "encoder_id": "e1",
            "content_hash": digest,
            "token_count": 9,
            "embedding": [1.0, 0.0],
        }
        for name, digest in (("N1", "h1"), ("N2", "old"))
    ],
    "article_vectors": [
        {
            "news_date": day,
            "news_id": name,
            "encoder_id": "e1",
            "topic_model": "t1",
            "vector": [1.0, 0.0],
            "inputs_hash": "h",
        }
        for name, day in (("N1", D14), ("N4", date(1970, 1, 1)))
    ],
    "tag_phrases": [
        {
            "phrase_id": name,
            "encoder_id": "e1",
            "tags": [name],
            "text": name,
            "embedding": [1.0],
            "first_seen": D14,
            "last_used": D15,
        }
        for name in ("p1", "p2", "p3")
    ],
    "tag_phrase_matches": [
        match(D14, "p1", "encoded", "p1"),
        match(D14, "p2", "encoded", "p2"),
        match(D15, "p1", "reused", "p1"),
        match(D15, "p2", "reused", "p2"),
        match(D15, "p3", "encoded", "p3"),
        match(D15, "p4", "reused", "p3", 0.8),
    ],
    "user_topics": [
        {**row, "topic_model": "t1"}
        for row in of_days("topic_id", d14={0: 3.0, 1: 1.0}, d15={0: 1.0, 1: 1.0})
    ],
    "user_tags": [
        *of_days("tag", d14={"goal": 2.0, "pasta": 1.0}, d15={"goal": 1.0, "pasta": 2.5, "soup": 0.5})
    ],
    "user_vectors": [user_vector("U1", "p1"), user_vector("U1", "p2")],
    "article_ctr": [
        {
            "as_of": NOON,
            "news_id": name,
            "clicks": 1,
            "impressions": 2,
            "recent_clicks": 1.0,
            "recent_impressions": 2.0,
            "prior": 0.1,
            "ctr": ctr,
        }
        for name, ctr in (("N1", 0.1), ("N2", 0.2), ("N4", 0.5))
    ],
    "newsfeed": [
        fed("U1", 1, "N4", "vectors", 0.9),
        fed("U1", 2, "N1", "vectors", 0.5),
        fed("U3", 1, "N2", "popular", None, 0.05),
        fed("U3", 2, "N4", "popular", None, 0.15),
    ],
    "model_metrics": [
        *(metrics(1, "valid", 0.6, False), metrics(2, "valid", 0.65, True), metrics(2, "train", 0.9, True)),
        *(
            metrics(1, "valid", 0.8, True, "r2"),
            metrics(1, "test", 0.7, True, "r2"),
            metrics(1, "train", 0.8, True, "r2"),
        ),
    ],
    "short_text_votes": [
        vote("S1", "food", "sports", 19, "changed"),
        vote("S2", "food", "food", 20, "confirmed"),
    ],
}
ANSWERS: Mapping[int, Sequence[tuple[Any, ...]]] = {
    1: [(None, 1, 1, 1.0), ("food", 5, 3, 0.6), ("sports", 5, 1, 0.2)],
    2: [
        (8, "sports", 1, 1.0),
        (8, "food", 1, 0.0),
        (9, None, 1, 1.0),
        (9, "food", 2, 0.5),
        (9, "sports", 2, 0.0),
        (12, "food", 1, 1.0),
        (12, "sports", 1, 0.0),
        (13, "food", 1, 1.0),
        (13, "sports", 1, 0.0),
    ],
    3: [(0, 5, 0.4), (1, 5, 0.4), (2, 1, 1.0)],
    4: [("food", "Soup", 2, 2), ("food", "Pasta", 1, 3), ("sports", "Goal", 1, 3)],
    5: [(0.5, 0.5, 0.5)],
    6: [("dev", 2, 0.5, [0, 0, 1, 1]), ("train", 3, 2.0, [1, 2, 3, 3])],
    7: [("N8", 1)],
    8: [
        ("parse_behaviors", "too few fields", 2, at(14, 1), at(14, 2), "x"),
        ("parse_behaviors", "no time", 1, at(14, 3), at(14, 3), "z"),
    ],
    9: [
        ("encode_tag_phrases", at(15, 4), 10.0, 7, {"news": 5}, 2),
        ("train_recommender mf", at(14, 3), 60.0, 7, {"news": 5}, 2),
        ("parse_behaviors", at(14, 2), 6.0, 7, {"news": 5}, 2),
    ],
    10: [
        ("encode_articles", at(15, 6), "killed, or still running", None),
        ("encode_articles", at(15, 5), "failed", "JobFailed: disk full"),
    ],
    11: [
        ("encode_tag_phrases", D14, 1, 20.0, 7),
        ("encode_tag_phrases", D15, 1, 10.0, 7),
        ("parse_behaviors", D14, 2, 5.0, 14),
        ("train_recommender", D14, 1, 60.0, 7),
    ],
    12: [("e1", 2, 1, 1)],
    13: [("e1", "t1", 2, 1, D14)],
    14: [(D14, 2, 0, 0, 0.0, 0.0), (D15, 4, 3, 2, 0.75, 30.0)],
    15: [(D15, "t1", 0.25)],
    16: [("pasta", 2.5, 1.5), ("soup", 0.5, 0.5), ("goal", 1.0, -1.0)],
    17: [(D14, 1, 0, None), (D15, 1, 1, 2.0)],
    18: [(NOON, "popular", 1, 2, 2, None, 0.1), (NOON, "vectors", 1, 2, 2, 0.7, 0.1)],
    19: [(NOON, 2, 2, 0.75)],
    20: [(NOON, 1, 1, 0.1, 0.0), (NOON, 2, 1, 0.2, 0.0), (NOON, 3, 1, 0.5, 1.0)],
    21: [
        ("content", "r2", 1, "test", 0.7, 0.3, 0.4, 0.1),
        ("content", "r1", 2, "valid", 0.65, 0.3, 0.4, 0.25),
    ],
    22: [("food", "sports", 1, 0.5, 19.0)],
    23: [
        (1, 1, 1.0, 0.1),
        (2, 1, 0.0, 0.1),
        (5, 1, 0.0, None),
        (6, 1, 0.0, None),
        (7, 1, 1.0, None),
        (10, 1, 0.0, 0.05),
        (11, 1, 1.0, 0.15),
    ],
    24: [("formula", 1, 2, 0.5, 0.5), ("ranker", 1, 2, 0.5, 0.0), (None, 1, 3, 0.3333, 0.3333)],
    25: [(at(14, 9), 3, 1, 0.3333, None, 3), (NOON, 4, 2, 0.5, 0.1, 0)],
    26: [("formula", 0.1, 2, 0.1, 0.5), ("ranker", 0.05, 1, 0.05, 0.0), ("ranker", 0.15, 1, 0.15, 1.0)],
}


def build(lake: Lakehouse, table: str) -> None:
    """Make one table by its contract, and append its rows."""
    lake.create(table)
    contract = lake.schema(table)
    open_ended = T.StructType([T.StructField(field.name, field.dataType) for field in contract])
    empty: dict[str, Any] = {
        field.name: {} if isinstance(field.dataType, T.MapType) else None for field in contract
    }
    rows = [tuple({**empty, **row}[name] for name in contract.names) for row in ROWS[table]]
    frame_of(lake.spark, rows, open_ended).coalesce(1).write.format("delta").mode("append").save(
        f"{lake.root}/{table}"
    )


@pytest.fixture(scope="module")
def asked(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """The small tables, with the views in the session."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("sql") / "lake house"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda table: build(lake, table), ROWS))
    views = create_views(lake)
    yield lake
    for name in views:
        spark.catalog.dropTempView(name)


def plain(value: object) -> object:
    """As Spark gives it to Python: times without a zone."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def test_there_are_at_least_twenty_questions_and_all_have_answers() -> None:
    assert list(QUESTIONS) == list(range(1, len(QUESTIONS) + 1))
    assert len(QUESTIONS) >= 20
    assert set(ANSWERS) == set(QUESTIONS)


@pytest.mark.parametrize("number", ANSWERS)
def test_a_question_has_the_answer_that_was_counted_by_hand(number: int, asked: Lakehouse) -> None:
    found = [tuple(row) for row in asked.spark.sql(QUESTIONS[number]).collect()]
    wanted = [tuple(plain(value) for value in row) for row in ANSWERS[number]]
    if number == 18:
        found = [(*row[:5], row[5] if row[5] is None else round(row[5], 3), row[6]) for row in found]
    assert found == wanted


def by_pandas(path: str) -> tuple[int, set[str]]:
    found = DeltaTable(path).to_pandas()
    return len(found), set(found.columns)


def by_query(path: str) -> tuple[int, set[str]]:
    found = pa.table(QueryBuilder().register("t", DeltaTable(path)).execute("SELECT * FROM t").read_all())
    return found.num_rows, set(found.column_names)


def by_polars(path: str) -> tuple[int, set[str]]:
    with TemporaryDirectory() as folder:  # polars looks for the files of "lake house" in "lake%20house"
        copied = shutil.copytree(path, f"{folder}/table")
        found = polars.scan_delta(copied).collect()
    return found.height, set(found.columns)


def by_duckdb(path: str) -> tuple[int, set[str]]:
    # DuckDB fetches its reader of Delta at the first use; tests take the same from a package.
    reader = next(
        file for file in distribution("duckdb-ext-delta").files or [] if file.name == "delta.duckdb_extension"
    )
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.load_extension(str(reader.locate()))
        found = connection.sql(f"SELECT * FROM delta_scan('{path}')").arrow().read_all()
    return found.num_rows, set(found.column_names)


@pytest.mark.parametrize("read", [by_pandas, by_query, by_polars, by_duckdb])
def test_every_table_reads_without_spark(
    asked: Lakehouse, read: Callable[[str], tuple[int, set[str]]]
) -> None:
    for table, rows in ROWS.items():
        assert read(f"{asked.root}/{table}") == (len(rows), set(asked.schema(table).names)), table


def test_tables_join_without_spark(asked: Lakehouse) -> None:
    query = (
        QueryBuilder()
        .register("news", DeltaTable(f"{asked.root}/news"))
        .register("i", DeltaTable(f"{asked.root}/impressions"))
    )
    sql = (
        "SELECT n.category, count(*) AS shown FROM i JOIN news n ON n.news_id = i.news_id GROUP BY n.category"
        " ORDER BY n.category"
    )
    assert query.execute(sql).read_all().column("shown").to_pylist() == [5, 5]


def test_a_script_makes_the_views_in_a_new_session(asked: Lakehouse, tmp_path: Path) -> None:
    out = tmp_path / "views.sql"
    make_views(asked, JobRun("make_views"), out=str(out))
    statements = out.read_text(encoding="utf-8").split(";\n")[:-1]
    assert len(statements) == len(ROWS) + len(VIEWS)
    fresh = asked.spark.newSession()
    for statement in statements:
        fresh.sql(statement)
    assert fresh.sql("SELECT title FROM titled_newsfeed WHERE user_id = 'U1' ORDER BY rank").collect() == [
        ("Soup",),
        ("Goal",),
    ]
    assert fresh.sql("SELECT source_text FROM reused_phrases WHERE phrase_id = 'p4'").collect() == [("p3",)]
    with pytest.raises(UserError, match="--out"):
        make_views(asked, JobRun("make_views"))


def test_views_lie_beside_tables_that_are_names(spark: SparkSession) -> None:
    spark.sql("CREATE SCHEMA IF NOT EXISTS asked_in_sql")
    lake = Lakehouse(spark, schema="asked_in_sql")
    try:
        lake.create("click_history")
        spark.sql(
            "INSERT INTO asked_in_sql.click_history VALUES ('train', 'T1', 'U1', timestamp'2019-11-14"
            " 08:00:00', array('N1', 'N2'))"
        )
        run = JobRun("make_views")
        make_views(lake, run)
        assert run.facts["views"] == "clicked_before"
        rows = spark.sql("SELECT place, news_id FROM asked_in_sql.clicked_before ORDER BY place").collect()
        assert rows == [(0, "N1"), (1, "N2")]
    finally:
        spark.sql("DROP SCHEMA asked_in_sql CASCADE")


def test_views_are_documented_and_collide_with_no_table() -> None:
    assert not set(VIEWS) & set(table_names())
    for name in VIEWS:
        assert f"`{name}`" in TEXT


def test_a_script_leaves_out_what_is_not_there(lake: Lakehouse) -> None:
    lake.create("click_history")
    assert [line.split("VIEW ")[1].split(" AS")[0] for line in script(lake)] == [
        "`click_history`",
        "`clicked_before`",
    ]
