"""parse_ebnerd: what lands in the tables, what in quarantine, and that a rerun changes nothing."""

import copy
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row as SparkRow
from pyspark.sql import SparkSession

from newslake.errors import JobFailed, UserError
from newslake.intake.sources.ebnerd.parse import parse_ebnerd
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.views import create_views
from newslake.run.jobrun import JobRun
from tests.intake.ebnerd.made import (
    World,
    eb,
    expected_histories,
    expected_impressions,
    expected_reads,
    impression,
    past,
    world,
    written,
)
from tests.killing import content

TABLES = ("news", "impressions", "click_history", "reads", "quarantine")
T = datetime(2023, 5, 18, 8)
DOCS = Path(__file__).parents[3] / "docs"
MIND = Path(__file__).parents[2] / "fixtures" / "mind"
Filled = tuple[World, Lakehouse, JobRun]


def parse(lake: Lakehouse, **options: Any) -> JobRun:
    run = JobRun("parse_ebnerd")
    parse_ebnerd(lake, run, **options)
    return run


def impressions(lake: Lakehouse) -> set[tuple[object, ...]]:
    rows = lake.read("impressions").collect()
    return {
        (r.split, r.impression_id, r.position, r.user_id, r.occurred_at, r.news_id, r.clicked) for r in rows
    }


def histories(lake: Lakehouse) -> set[tuple[object, ...]]:
    rows = lake.read("click_history").collect()
    return {(r.split, r.impression_id, r.user_id, r.occurred_at, tuple(r.news_ids)) for r in rows}


def reads(lake: Lakehouse) -> dict[tuple[object, ...], tuple[object, ...]]:
    rows = lake.read("reads").collect()
    said = [
        (
            (r.split, r.user_id, r.news_id, r.read_at, r.kind),
            (r.impression_id, r.read_seconds, r.scroll_percentage),
        )
        for r in rows
    ]
    found: dict[tuple[object, ...], tuple[object, ...]] = dict(said)
    assert len(found) == len(rows)
    return found


def reasons(lake: Lakehouse) -> dict[int, str]:
    return {row.line_number: row.reason for row in lake.read("quarantine").collect()}


def contents(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    return {table: content(lake.read(table)) for table in TABLES}


def asked(lake: Lakehouse) -> list[SparkRow]:
    """What the question in the docs answers."""
    [question] = re.findall(
        r"```sql\n(.*?);\n```", (DOCS / "ebnerd.md").read_text(encoding="utf-8"), re.DOTALL
    )
    create_views(lake)
    return lake.spark.sql(question).collect()


def clicks_by_category(made: World) -> dict[str, tuple[int, float, float]]:
    category = {eb(row["article_id"]): row["category_str"] for row in made.articles}
    times: dict[str, list[float | None]] = {}
    for (split, _, news_id, _, kind), (_, seconds, _) in expected_reads(made).items():
        if (split, kind) == ("train", "click"):
            times.setdefault(category[news_id], []).append(seconds)
    known = {name: [one for one in found if one is not None] for name, found in times.items()}
    return {
        name: (
            len(found),
            sum(known[name]) / len(known[name]),
            sum(one < 10 for one in known[name]) / len(known[name]),
        )
        for name, found in times.items()
    }


GOOD = impression(8000, 1, T, [5, 6, 7], [6])
WRONG = impression(8001, 1, T, [5, 6], [9])
NO_TIME = past(50, (None, 5, 1.0, 1.0))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, list[str]]]:
    """A world, and the job's options for its files, which hold duplicates and bad rows too."""
    made = world()
    faulty = copy.deepcopy(made)
    train, articles = faulty.splits["train"], faulty.articles
    train.behaviors += [WRONG, train.behaviors[0], {**train.behaviors[0], "next_read_time": 9999.0}]
    train.history += [NO_TIME, train.history[0], past(train.history[0]["user_id"])]
    articles += [{**articles[0], "article_id": None}, articles[0], {**articles[0], "title": "another"}]
    return made, faulty.write(tmp_path_factory.mktemp("ebnerd"))


@pytest.fixture(scope="module")
def filled(
    spark: SparkSession, files: tuple[World, dict[str, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> Filled:
    """A lakehouse that the job filled from these files, and its run; nothing in it is changed."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("filled") / "lakehouse"))
    return files[0], lake, parse(lake, **files[1])


def test_files_become_the_tables(filled: Filled) -> None:
    made, lake, run = filled
    assert impressions(lake) == expected_impressions(made)
    assert histories(lake) == expected_histories(made)
    assert reads(lake) == expected_reads(made)
    news = {row.news_id: row for row in lake.read("news").collect()}
    assert set(news) == {eb(row["article_id"]) for row in made.articles}
    for row in made.articles:
        found = news[eb(row["article_id"])]
        assert (found.title, found.abstract, found.body, found.url) == (
            row["title"],
            row["subtitle"],
            row["body"],
            row["url"],
        )
        assert (found.category, found.subcategory) == (
            row["category_str"],
            str(row["subcategory"][0]) if row["subcategory"] else None,
        )
        assert (found.published_at, found.updated_at) == (row["published_time"], row["last_modified_time"])
        assert [(one.label, one.type) for one in found.entities] == list(
            zip(row["ner_clusters"], row["entity_groups"], strict=True)
        )
    assert run.rows_written == {
        "impressions": len(expected_impressions(made)),
        "click_history": len(expected_histories(made)),
        "reads": len(expected_reads(made)),
        "news": len(made.articles),
    }
    ids = {row[1] for row in impressions(lake)} | {row[3] for row in impressions(lake)} | set(news)
    of_mind = "none is one of MIND's, whose impressions are plain numbers"
    assert all(str(one).startswith("EB") for one in ids), of_mind


def test_every_row_is_accounted_for(filled: Filled) -> None:
    made, lake, run = filled
    kept = {
        (row.source.rsplit("/", 2)[-2:][-1], row.reason): row for row in lake.read("quarantine").collect()
    }
    assert set(kept) == {
        ("behaviors.parquet", "an article clicked that was not in view"),
        ("behaviors.parquet", "impression_id repeated with different content"),
        ("history.parquet", "an entry whose time is no time"),
        ("history.parquet", "user_id repeated with different content"),
        ("articles.parquet", "no article_id"),
        ("articles.parquet", "news_id repeated with different content"),
    }
    wrong = kept["behaviors.parquet", "an article clicked that was not in view"]
    rows = len(made.splits["train"].behaviors)
    assert (wrong.job, wrong.record_id, wrong.line_number) == ("parse_ebnerd", "EB8001", rows + 1)
    assert json.loads(bytes(wrong.raw))["article_ids_clicked"] == [9]
    good = {
        "behaviors": sum(len(split.behaviors) for split in made.splits.values()),
        "history": sum(len(split.history) for split in made.splits.values()),
        "articles": len(made.articles),
    }
    assert {kind: run.facts[f"{kind} rows used"] for kind in good} == {
        kind: str(count) for kind, count in good.items()
    }
    assert {run.facts[f"{kind} rows that are exact duplicates"] for kind in good} == {"1"}
    assert (run.rows_read, run.rows_rejected) == (sum(good.values()) + 9, 6)
    assert run.facts["candidates without an article"] == "0"


def test_the_question_of_the_docs_is_answered(filled: Filled) -> None:
    made, lake, _ = filled
    answered = {row.category: (row.clicks, row.seconds, row.left_at_once) for row in asked(lake)}
    assert answered.keys() == clicks_by_category(made).keys()
    assert all(
        answered[name] == pytest.approx(wanted, abs=0.051)
        for name, wanted in clicks_by_category(made).items()
    )


def test_running_again_changes_nothing(filled: Filled, files: tuple[World, dict[str, list[str]]]) -> None:
    _, lake, first = filled
    before = {table: lake.files(table) for table in TABLES}
    run = parse(lake, **files[1])
    assert run.rows_written == {"impressions": 0, "click_history": 0, "reads": 0, "news": 0}
    assert run.rows_rejected == first.rows_rejected
    assert {table: lake.files(table) for table in TABLES} == before, "nothing was rewritten"


class Killed(Exception):
    """In place of a SIGKILL."""


@pytest.mark.slow
def test_cut_off_after_any_write_a_rerun_completes_it(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(9, impressions=8)
    bad = impression(7000, 1, T, [], [])
    made.splits["train"].behaviors.append(bad)
    options = made.write(tmp_path)
    made.splits["train"].behaviors.remove(bad)
    writes = {name: getattr(Lakehouse, name) for name in ("merge", "replace")}
    left = 0

    def counted(name: str) -> Any:
        def write(*given: Any, **more: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return writes[name](*given, **more)

        return write

    for name in writes:
        monkeypatch.setattr(Lakehouse, name, counted(name))
    cuts = 0
    for left in range(20):  # noqa: B007
        try:
            parse(lake, **options)
            break
        except Killed:
            cuts += 1
    assert cuts >= 4, "quarantine, impressions, click_history, reads and news"
    assert impressions(lake) == expected_impressions(made)
    assert histories(lake) == expected_histories(made)
    assert reads(lake) == expected_reads(made)
    assert lake.read("news").count() == len(made.articles)
    assert lake.read("quarantine").count() == 1


def test_a_split_is_added_to_and_replaced_and_what_is_there_stays(lake: Lakehouse, tmp_path: Path) -> None:
    made = world(3, impressions=6)
    options = made.write(tmp_path / "made")
    parse(lake, train=options["train"])
    other = {**made.splits["train"].behaviors[0], "article_ids_clicked": [], "next_read_time": None}
    more = [other, {**GOOD, "article_id": None}]
    parse(
        lake,
        validation=options["validation"],
        train=[written(tmp_path / "behaviors-2.parquet", more, "behaviors")],
    )
    made.splits["train"].behaviors.append({**GOOD, "article_id": None})
    of_one = {row for row in impressions(lake) if row[1] == "EB8000"}
    assert impressions(lake) == expected_impressions(made)
    assert len(of_one) == 3
    assert reasons(lake) == {1: "impression_id repeated with different content"}
    replaced = world(4, impressions=5)
    parse(lake, train=replaced.write(tmp_path / "other")["train"], replace=True, last_clicks=2)
    mixed = World([], {"train": replaced.splits["train"], "validation": made.splits["validation"]})
    assert impressions(lake) == expected_impressions(mixed)
    assert reads(lake) == expected_reads(mixed)
    shortened = expected_histories(World([], {"train": replaced.splits["train"]}), last=2)
    assert {row for row in histories(lake) if row[0] == "train"} == shortened


def test_nothing_usable_or_to_read(lake: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to read: give folders with EB-NeRD's files"):
        parse(lake)
    with pytest.raises(UserError, match="--last-clicks 0"):
        parse(lake, train=[str(tmp_path)], last_clicks=0)
    assert not any(lake.exists(table) for table in TABLES), "a mistake leaves nothing behind"
    rows = [
        {**GOOD, "article_ids_inview": []},
        {**GOOD, "user_id": None},
        {**GOOD, "user_id": None, "read_time": 1.0},
    ]
    file = written(tmp_path / "behaviors.parquet", rows, "behaviors")
    with pytest.raises(
        JobFailed, match=r"no row of behaviors could be used: all 3 .* most of them \(2\) because: no user_id"
    ):
        parse(lake, train=[file])
