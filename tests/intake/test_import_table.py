"""import_table: rows of one's own into newslake's tables, by a mapping; mistakes told at once, bad rows in
quarantine."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyspark.sql import SparkSession

from newslake.errors import JobFailed, UserError
from newslake.intake.sources.tables.importing import import_table, with_defaults
from newslake.intake.sources.tables.judge import completed, with_problem
from newslake.intake.sources.tables.mapping import mapped, read_mapping
from newslake.intake.sources.tables.targets import TARGETS, Name
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.run.jobrun import JobRun
from tests.killing import content

T = datetime(2024, 3, 1, 12)
Row = dict[str, Any]
DOCS = (Path(__file__).parent.parent.parent / "docs" / "own_tables.md").read_text(encoding="utf-8")
# Of each example in the docs: rows of the source that it is written for, and what is expected of the first.
OWN: Mapping[str, tuple[Row, Row]] = {
    "news": (
        {
            "article_id": 7,
            "headline": "A storm",
            "teaser": None,
            "text": "wind",
            "section": "weather",
            "published": T,
            "modified": T,
        },
        {
            "news_id": "7",
            "title": "A storm",
            "abstract": "",
            "body": "wind",
            "category": "weather",
            "published_at": T,
            "updated_at": T,
        },
    ),
    "impressions": (
        {"request_id": "r1", "slot": 0, "reader": 3, "shown_at": T, "article_id": 7, "click_id": "c1"},
        {
            "split": "live",
            "impression_id": "r1",
            "position": 0,
            "user_id": "3",
            "occurred_at": T,
            "news_id": "7",
            "clicked": True,
        },
    ),
    "click_history": (
        {"request_id": "r1", "reader": 3, "shown_at": T, "read_before": [5, 6]},
        {"split": "live", "impression_id": "r1", "user_id": "3", "occurred_at": T, "news_ids": ["5", "6"]},
    ),
    "reads": (
        {"reader": 3, "article_id": 7, "opened_at": T, "dwell_ms": 2500, "scrolled": 0.5},
        {
            "user_id": "3",
            "news_id": "7",
            "read_at": T,
            "kind": "page",
            "read_seconds": 2.5,
            "scroll_percentage": 50.0,
        },
    ),
    "search_queries": (
        {"search_id": "s1", "reader": 3, "typed": "storm", "at": T},
        {"query_id": "s1", "user_id": "3", "query": "storm", "searched_at": T, "ingested_at": T},
    ),
    "user_interests": (
        {"reader": 3, "topic": "weather", "at": T, "stars": 4},
        {"user_id": "3", "interest": "weather", "stated_at": T, "weight": 0.8},
    ),
}


def parquet(path: Path, rows: Sequence[Row], **types: pa.DataType) -> str:
    """Write rows as a Parquet file; types are guessed where none is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: pa.array([row.get(name) for row in rows], type=types.get(name)) for name in names}
    pq.write_table(pa.table(columns), path)
    return str(path)


def mapping(path: Path, **columns: object) -> str:
    path.write_text(yaml.safe_dump(columns))
    return str(path)


def bring(lake: Lakehouse, target: str, **options: str) -> JobRun:
    run = JobRun("import_table")
    import_table(lake, run, target=target, **options)  # type: ignore[arg-type]
    return run


def reasons(lake: Lakehouse) -> list[str]:
    return sorted(row.reason for row in lake.read("quarantine").collect())


@pytest.mark.parametrize("target", OWN)
def test_each_example_of_the_docs_makes_rows_of_its_table(
    spark: SparkSession, tmp_path: Path, target: Name
) -> None:
    [example] = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
        if block.startswith(f"# {target}.yaml")
    ]
    (tmp_path / "mapping.yaml").write_text(example)
    row, expected = OWN[target]
    of, spec = TARGETS[target], table_spec(target)
    source = spark.read.parquet(parquet(tmp_path / "own.parquet", [row], teaser=pa.string()))
    made = mapped(source, read_mapping(str(tmp_path / "mapping.yaml")), of, "mapping.yaml")
    rows = with_problem(with_defaults(made.rows, of, spec), of, spec)
    [found] = completed(rows.where("problem IS NULL"), None, of, spec, made.named).collect()
    assert {name: found[name] for name in expected} == expected


def test_every_target_has_an_example() -> None:
    assert set(OWN) == set(TARGETS)


def faulty_impressions(rng: random.Random, count: int) -> tuple[list[Row], dict[tuple[str, int], Row], int]:
    """Rows of some impressions, what should be used of them by (impression, position), and how many rows
    should be rejected."""
    rows: list[Row] = []
    used: dict[tuple[str, int], Row] = {}
    rejected = 0
    for number in range(count):
        name, at = f"i{number}", T + timedelta(minutes=number)
        own: list[Row] = [
            {
                "id": name,
                "place": place,
                "reader": f"u{number % 5}",
                "at": at,
                "article": f"a{place}",
                "clicks": rng.randrange(2),
            }
            for place in range(rng.randrange(1, 6))
        ]
        fault = rng.choice(["none", "none", "article", "place", "reader", "conflict", "again", "no id"])
        if fault == "article":
            rng.choice(own)["article"] = rng.choice([None, ""])
        if fault == "place":
            rng.choice(own)["place"] = rng.choice([None, -1, 2**40])
        if fault == "reader" and len(own) > 1:
            own[0]["reader"] = "another"
        if fault == "conflict":
            own.append({**own[0], "article": "b"})
        if fault == "again":
            own.append(dict(own[0]))
        broken = fault in ("article", "place", "conflict") or (fault == "reader" and len(own) > 1)
        if fault == "no id":  # of which impression, nobody knows: the others stay as they are
            own.append({**own[0], "place": 9, "id": None})
        rejected += len(own) if broken else fault == "no id"
        if not broken:
            used.update({(row["id"], row["place"]): row for row in own if row["id"] is not None})
        rows += own
    rng.shuffle(rows)
    return rows, used, rejected


def test_of_an_impression_with_a_bad_row_none_is_used(lake: Lakehouse, tmp_path: Path) -> None:
    rows, used, rejected = faulty_impressions(random.Random(2), 40)
    source = parquet(tmp_path / "shown" / "part-0.parquet", rows, place=pa.int64())
    given = mapping(
        tmp_path / "m.yaml",
        impression_id="id",
        position="place",
        user_id="reader",
        occurred_at="at",
        news_id="article",
        clicked="clicks > 0",
    )
    run = bring(lake, "impressions", source=str(Path(source).parent), mapping=given)
    found = {(row.impression_id, row.position): row for row in lake.read("impressions").collect()}
    assert set(found) == set(used)
    for key, row in used.items():
        assert (found[key].user_id, found[key].news_id, found[key].clicked) == (
            row["reader"],
            row["article"],
            row["clicks"] > 0,
        )
        assert found[key].occurred_at == found[key].ingested_at == row["at"]
    assert run.rows_rejected == rejected
    assert set(reasons(lake)) == {
        "no impression_id",
        "no news_id",
        "an empty news_id",
        "no position",
        "breaks the rule: position >= 0",
        "values that the table cannot hold: position",
        "split, impression_id, position repeated with different content",
        "another row of the same impression_id cannot be used",
        "rows of one impression_id differ in user_id or occurred_at",
    }
    kept = lake.read("quarantine").where("reason = 'an empty news_id'").collect()[0]
    assert json.loads(bytes(kept.raw))["article"] == ""
    assert kept.record_id.startswith("live/i")
    before = {table: content(lake.read(table)) for table in ("impressions", "quarantine")}
    again = bring(lake, "impressions", source=str(Path(source).parent), mapping=given)
    assert again.rows_written == {"impressions": 0}
    assert {table: content(lake.read(table)) for table in before} == before


def test_a_query_joins_the_clicks_of_a_delta_table(lake: Lakehouse, tmp_path: Path) -> None:
    shown = parquet(
        tmp_path / "shown.parquet",
        [{"r": 1, "slot": place, "u": 2, "at": T, "a": 10 + place} for place in range(3)],
    )
    clicks = f"{tmp_path}/clicks"
    lake.spark.createDataFrame([(1, 11)], "r bigint, a bigint").write.format("delta").save(clicks)
    query = (
        f"SELECT s.*, c.r IS NOT NULL AS hit FROM parquet.`{shown}` s LEFT JOIN delta.`{clicks}` c USING (r,"
        " a) -- all of them"
    )
    given = mapping(
        tmp_path / "m.yaml",
        impression_id="r",
        position="slot",
        user_id="u",
        occurred_at="at",
        news_id="a",
        clicked="hit",
    )
    bring(lake, "impressions", query=query + ";", mapping=given)
    assert {(row.news_id, row.clicked) for row in lake.read("impressions").collect()} == {
        ("10", False),
        ("11", True),
        ("12", False),
    }
    bring(
        lake,
        "news",
        source=clicks,
        mapping=mapping(tmp_path / "n.yaml", news_id="a", title="concat('Article ', a)"),
    )
    assert [row.title for row in lake.read("news").collect()] == ["Article 11"]


def test_of_versions_the_latest_counts_and_what_is_not_mapped_stays(lake: Lakehouse, tmp_path: Path) -> None:
    first: list[Row] = [
        {"id": "a", "t": "old", "at": T},
        {"id": "a", "t": "new", "at": T + timedelta(hours=1)},
        {"id": "b", "t": "one", "at": T},
        {"id": "b", "t": "other", "at": T},
        {"id": "c", "t": "same", "at": T},
        {"id": "c", "t": "same", "at": T},
        {"id": "d", "t": "undated", "at": None},
        {"id": "e", "t": "nul \0", "at": T},
        {"id": "f", "t": "then", "at": datetime(1700, 1, 1)},
    ]
    given = mapping(tmp_path / "m.yaml", news_id="id", title="t", updated_at="at")
    run = bring(lake, "news", source=parquet(tmp_path / "first.parquet", first), mapping=given)

    def titles() -> dict[str, tuple[str, str | None]]:
        return {row.news_id: (row.title, row.category) for row in lake.read("news").collect()}

    assert titles() == {"a": ("new", None), "c": ("same", None), "d": ("undated", None)}
    assert reasons(lake) == [
        "a NUL character in title",
        "news_id repeated with different content",
        "news_id repeated with different content",
        "updated_at is not between 1900 and 2261",
    ]
    assert (
        run.facts["rows that are exact duplicates"],
        run.facts["rows that are older versions"],
        run.facts["rows used"],
    ) == (
        "1",
        "1",
        "3",
    )
    categories = parquet(
        tmp_path / "categories.parquet", [{"id": n, "t": f"{n}!", "c": "sport"} for n in "ac"]
    )
    bring(
        lake,
        "news",
        source=categories,
        mapping=mapping(tmp_path / "c.yaml", news_id="id", title="t", category="c"),
    )
    assert titles() == {"a": ("a!", "sport"), "c": ("c!", "sport"), "d": ("undated", None)}
    later = parquet(
        tmp_path / "later.parquet", [{"id": n, "t": "later?", "at": T + timedelta(minutes=30)} for n in "acd"]
    )
    bring(lake, "news", source=later, mapping=given)
    assert titles() == {"a": ("a!", "sport"), "c": ("later?", "sport"), "d": ("later?", None)}
    hashes = {row.news_id: row.content_hash for row in lake.read("news").collect()}
    assert hashes["c"] == hashes["d"] != hashes["a"]


def test_all_mistakes_of_a_mapping_are_told_at_once(lake: Lakehouse, tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "own.parquet", [{"id": 1, "when": "2024-03-01", "clicks": 2, "slot": "3", "odd name": "x"}]
    )
    given = mapping(
        tmp_path / "m.yaml",
        impression_id="idd",
        position="slot",
        occured_at="when",
        occurred_at="when",
        news_id="lenth(id)",
        clicked="clicks",
        model="odd name",
        rank="id +",
    )
    with pytest.raises(UserError) as told:
        bring(lake, "impressions", source=source, mapping=given)
    parts = str(told.value).removeprefix(f"--mapping {given}: ").split("; ")
    assert [part.split(":")[0] for part in parts] == [
        "occured_at",
        "user_id is not mapped",
        "impression_id",
        "position",
        "occurred_at",
        "news_id",
        "clicked",
        "rank",
    ]
    assert parts[0] == "occured_at: table impressions has no such column (did you mean occurred_at?)"
    assert parts[1] == "user_id is not mapped: Who saw it"
    assert (
        parts[2] == "impression_id: the source has no column `idd` (it has id, when, clicks, slot, odd name)"
    )
    assert parts[3] == "position: slot is string, wants int: write try_cast(slot AS int)"
    assert parts[4] == "occurred_at: when is string, wants timestamp: write try_to_timestamp(when)"
    assert "lenth" in parts[5]
    assert parts[6] == "clicked: clicks is bigint, wants boolean: write clicks > 0"
    assert parts[7].startswith("rank: id + is no SQL expression over the source: ")
    assert not lake.exists("impressions"), "a mistake leaves nothing behind"


def test_other_mistakes_are_told(lake: Lakehouse, tmp_path: Path) -> None:
    source = parquet(tmp_path / "own.parquet", [{"id": 1, "t": "x"}])
    good = mapping(tmp_path / "good.yaml", news_id="id", title="t")
    lists, broken, empty = tmp_path / "lists.yaml", tmp_path / "broken.yaml", tmp_path / "empty.yaml"
    lists.write_text("news_id: [a, b]\ntitle:\n")
    broken.write_text("news_id: [a")
    empty.write_text("# nothing\n")
    computed = mapping(tmp_path / "computed.yaml", news_id="id", title="t", content_hash="t", entities="t")
    both = "content_hash is worked out by the job: leave it out; entities: t is string, wants array<"
    told: Sequence[tuple[dict[str, str], str]] = [
        ({"mapping": good}, "either --source PATH or --query SQL"),
        ({"mapping": good, "source": source, "query": "SELECT 1"}, "either --source PATH or --query SQL"),
        (
            {"mapping": good, "source": f"{tmp_path}/nowhere"},
            "--source .*nowhere: there is no such file or folder",
        ),
        ({"mapping": good, "source": good}, "--source .*good.yaml: cannot be read"),
        (
            {"mapping": good, "query": f"DROP TABLE delta.`{lake.root}/news`"},
            "--query is not a SELECT that Spark can run",
        ),
        (
            {"mapping": good, "query": "SELECT * FROM nowhere"},
            "--query is not a SELECT that Spark can run: .*nowhere",
        ),
        ({"mapping": f"{tmp_path}/none.yaml", "source": source}, "--mapping .*none.yaml: cannot be read"),
        ({"mapping": str(broken), "source": source}, "--mapping .*broken.yaml: not valid YAML"),
        (
            {"mapping": str(lists), "source": source},
            "news_id, title: give a column of the source or an SQL expression",
        ),
        (
            {"mapping": str(empty), "source": source},
            "--mapping .*empty.yaml: give a line `column of the table",
        ),
        ({"mapping": computed, "source": source}, both),
        (
            {
                "mapping": mapping(tmp_path / "cast.yaml", news_id="cast(t AS int)", title="t"),
                "source": source,
            },
            "fails on some row: .*try_cast",
        ),
        (
            {"mapping": mapping(tmp_path / "max.yaml", news_id="id", title="max(t)"), "source": source},
            "the expressions do not go together",
        ),
    ]
    for options, says in told:
        with pytest.raises(UserError, match=says):
            bring(lake, "news", **options)
    assert not lake.exists("news")


def test_nothing_usable_is_a_failure(lake: Lakehouse, tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "own.parquet", [{"id": None, "t": "x"}, {"id": 3, "t": None}], id=pa.int64(), t=pa.string()
    )
    with pytest.raises(JobFailed, match=r"no row could be used: all 2 are in quarantine"):
        bring(lake, "news", source=source, mapping=mapping(tmp_path / "m.yaml", news_id="id", title="t"))
    assert reasons(lake) == ["no news_id", "no title"]
