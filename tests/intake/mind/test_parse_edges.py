"""parse_behaviors at its edges: long lines, deep JSON, articles of other sources, runs that meet what is
stored, lost lines."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.intake import behaviors, load
from newslake.intake.articles import content_hash
from newslake.intake.sources.mind import parse
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from tests.killing import content
from tests.tables import put

TIME = "11/11/2019 1:03:52 PM"
NEWS = "N1\tsports\tsoccer\tTitle\tAbstract\thttps://news.example/N1\t[]\t[]"


def run_on(
    lake: Lakehouse, folder: Path, split: str = "train", *, replace: bool = False, **files: list[str]
) -> JobRun:
    """Write the files (news, behaviors) into the folder and parse it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name}.tsv").write_bytes("".join(line + "\n" for line in lines).encode())
    run = JobRun("parse_behaviors")
    parse.parse_behaviors(lake, run, replace=replace, **{split: [str(folder)]})  # type: ignore[arg-type]
    return run


def reasons(lake: Lakehouse) -> dict[int, str]:
    return {row.line_number: row.reason for row in lake.read("quarantine").orderBy("line_number").collect()}


def test_a_very_long_line_is_a_line_like_any_other(lake: Lakehouse, tmp_path: Path) -> None:
    ids = [f"N{i}" for i in range(60_000)]
    history, shown = " ".join(ids), " ".join(f"{i}-{int(i == 'N7')}" for i in ids)
    bad = shown.replace("N59998-0", "N59998")
    run_on(
        lake,
        tmp_path / "a",
        behaviors=[f"1\tU1\t{TIME}\t{history}\t{shown}", f"2\tU1\t{TIME}\t\t{bad}", "x" * 1_000_000],
    )
    assert reasons(lake) == {2: "a candidate without - and label", 3: "wrong number of fields: 1, not 5"}
    rows = lake.read("impressions")
    assert (rows.count(), rows.where("clicked").head().news_id) == (60_000, "N7")  # type: ignore[union-attr]
    assert lake.read("click_history").select(F.size("news_ids")).head() == (60_000,)


ENTITIES = [  # the field as it stands in the file, and whether its line is good
    ("", True),
    ("[{}]", True),
    ('[{"Label": "a", "Unknown": {"x": [1]}}]', True),
    ('[{"Label": "a"} ]', True),
    ("[" * 5000 + "]" * 5000, False),
    ('[{"Unknown": ' + "[" * 5000 + "]" * 5000 + "}]", False),
    ("null", False),
    ("{}", False),
    ("[null]", False),
    ("[1]", False),
    ("[] and more", False),
    ('[], "more": []', False),
    ("[{'Label': 'a'}]", False),
    ('[{"Confidence": "high"}]', False),
    ('[{"Confidence": NaN}]', False),
    ('[{"OccurrenceOffsets": [99999999999]}]', False),
    ('[{"Confidence": ' + "9" * 2000 + "}]", False),
    ('[{"Label": "a\\q"}]', False),
]


def test_entities_are_whole_and_typed_or_the_line_is_rejected(lake: Lakehouse, tmp_path: Path) -> None:
    lines: list[str] = []
    wanted: dict[str, str | None] = {}
    for text, good in ENTITIES:
        for place, name in ((6, "title"), (7, "abstract")):
            fields = NEWS.split("\t")
            fields[0], fields[place] = f"N{len(lines)}", text
            wanted[fields[0]] = None if good else f"broken JSON in the entities of the {name}"
            lines.append("\t".join(fields))
    run_on(lake, tmp_path, news=lines)
    found = {row.record_id: row.reason for row in lake.read("quarantine").collect()}
    assert found | {row.news_id: None for row in lake.read("news").collect()} == wanted


def test_times_are_read_as_mind_writes_them(lake: Lakehouse, tmp_path: Path) -> None:
    times = {
        "1/2/2020 12:00:00 AM": "2020-01-02T00:00:00",
        "01/02/2020 12:00:01 PM": "2020-01-02T12:00:01",
        "2/29/2020 01:03:52 am": "2020-02-29T01:03:52",
        "2/29/2019 1:03:52 AM": None,
        "11/11/2019 13:03:52 PM": None,
        "11/11/2019 0:03:52 AM": None,
        "11/11/2019 1:03:52": None,
        "11/11/-2019 1:03:52 AM": None,
        "11/11/1019 1:03:52 AM": None,
        "2019-11-11 01:03:52": None,
        "": None,
    }
    run_on(lake, tmp_path / "a", behaviors=[f"{i}\tU1\t{time}\t\tN1-1" for i, time in enumerate(times)])
    found = {int(row.impression_id): row.occurred_at for row in lake.read("click_history").collect()}
    assert found == {i: datetime.fromisoformat(time) for i, time in enumerate(times.values()) if time}
    assert {reason.split(";")[0] for reason in reasons(lake).values()} == {"time does not parse"}
    assert len(reasons(lake)) == len(times) - len(found)


def test_every_flaw_of_a_candidate_list_has_its_reason(lake: Lakehouse, tmp_path: Path) -> None:
    flaws = {
        "N1-0  N2-1": "an empty candidate",
        " N1-0": "an empty candidate",
        "N1-0 ": "an empty candidate",
        "N1-0 N2": "a candidate without - and label",
        "N1-0 -1": "a candidate without an id",
        "N1-0 N2-": "a label other than 0 or 1",
        "N1-0 N2-10": "a label other than 0 or 1",
        "N1-x": "a label other than 0 or 1",
    }
    histories = {
        " N1": "an empty id in the history",
        "N1 ": "an empty id in the history",
        "N1  N2": "an empty id in the history",
    }
    lines = [f"{i}\tU1\t{TIME}\tN9\t{candidates}" for i, candidates in enumerate(flaws)]
    lines += [f"h{i}\tU1\t{TIME}\t{history}\tN1-0" for i, history in enumerate(histories)]
    lines += [f"good\tU1\t{TIME}\tN9\ta-b-1 --0"]
    run_on(lake, tmp_path / "a", behaviors=lines)
    assert list(reasons(lake).items()) == list(enumerate([*flaws.values(), *histories.values()], start=1))
    assert [(row.news_id, row.clicked) for row in lake.read("impressions").orderBy("position").collect()] == [
        ("a-b", True),
        ("-", False),
    ]


def test_an_unlabelled_candidate_list_is_checked_too(lake: Lakehouse, tmp_path: Path) -> None:
    run_on(lake, tmp_path / "a", "test", behaviors=[f"1\tU1\t{TIME}\t\tN1  N2", f"2\tU1\t{TIME}\t\tN1 N2"])
    assert reasons(lake) == {1: "an empty candidate"}
    assert lake.read("impressions").count() == 2


def test_of_three_lines_with_one_key_only_an_exact_repetition_is_a_duplicate(
    lake: Lakehouse, tmp_path: Path
) -> None:
    one, other = f"1\tU1\t{TIME}\t\tN1-1", f"1\tU2\t{TIME}\t\tN1-1"
    run = run_on(lake, tmp_path / "a", behaviors=[one, other, one, other, f"2\tU1\t{TIME}\t\tN1-1"])
    assert list(reasons(lake)) == [2, 4]
    assert run.facts["behaviors lines that are exact duplicates"] == "1"
    assert run.facts["behaviors lines used"] == "2"


def test_what_is_stored_comes_first_in_reading_order(lake: Lakehouse, tmp_path: Path) -> None:
    # The ids of MIND start at 1 in every file. What an earlier run stored stays, even where a later run reads
    # another file first.
    stored = [f"1\tU1\t{TIME}\tN5\tN1-1 N2-0", f"2\tU1\t{TIME}\t\tN1-1"]
    run_on(lake, tmp_path / "b", behaviors=stored)
    before = content(lake.read("impressions"))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "behaviors.tsv").write_text(f"1\tU7\t{TIME}\t\tN3-1\n3\tU1\t{TIME}\t\tN1-0\n")
    run = JobRun("parse_behaviors")
    parse.parse_behaviors(lake, run, train=[str(tmp_path / "a"), str(tmp_path / "b")])
    assert content(lake.read("impressions").where("impression_id <> '3'")) == before
    [rejected] = lake.read("quarantine").collect()
    assert (rejected.source.split("/")[-2:], rejected.line_number) == (["a", "behaviors.tsv"], 1)
    assert run.rows_written == {"impressions": 1, "click_history": 1, "news": 0}
    assert run.facts["behaviors lines used"] == "3"


def test_a_line_is_new_to_the_table_that_lacks_it(lake: Lakehouse, tmp_path: Path) -> None:
    # What a kill between two writes leaves: one table has the impression, the other has not, or not yet the
    # split.
    lines = [f"{i}\tU1\t{TIME}\tN5 N6\tN1-1 N2-0" for i in range(4)]
    run_on(lake, tmp_path / "a", behaviors=lines)
    wanted = {table: content(lake.read(table)) for table in ("impressions", "click_history")}
    lake.delete("impressions", "impression_id = '2'")
    lake.delete("click_history", "impression_id IN ('1', '2')")
    run = run_on(lake, tmp_path / "a")
    assert {table: content(lake.read(table)) for table in wanted} == wanted
    assert run.rows_written == {"impressions": 2, "click_history": 2, "news": 0}
    assert run.rows_rejected == 0


def test_an_article_of_another_source_keeps_what_it_has(lake: Lakehouse, tmp_path: Path) -> None:
    entity = json.dumps([{"Label": "City", "WikidataId": "Q1"}])
    run_on(lake, tmp_path / "a", news=[NEWS, NEWS.replace("N1", "N2")])
    streamed = lake.read("news").where("news_id = 'N1'")
    streamed = streamed.select(
        *(
            c
            for c in streamed.columns
            if c not in {"title", "category", "entities", "updated_at", "published_at", "body"}
        ),
        F.lit("Newer title").alias("title"),
        F.lit(None).cast("string").alias("category"),
        F.lit(None).cast(lake.schema("news")["entities"].dataType).alias("entities"),
        F.lit("2019-11-10 06:00:00").cast("timestamp").alias("published_at"),
        F.lit("2019-11-12 06:00:00").cast("timestamp").alias("updated_at"),
        F.lit("A long body").alias("body"),
    )
    put(lake, "news", streamed.withColumn("content_hash", content_hash()))
    later = [
        line.replace("Title", "Corrected title").replace("[]", entity, 1)
        for line in (NEWS, NEWS.replace("N1", "N2"))
    ]
    run_on(lake, tmp_path / "b", news=later, behaviors=[f"1\tU1\t{TIME}\t\tN1-1 N2-0"])
    rows = {row.news_id: row for row in lake.read("news").collect()}
    assert (rows["N1"].title, rows["N1"].body, rows["N1"].category) == (
        "Newer title",
        "A long body",
        "sports",
    )
    assert (rows["N1"].published_at, rows["N1"].updated_at) == (
        datetime(2019, 11, 10, 6),
        datetime(2019, 11, 12, 6),
    )
    assert (rows["N2"].title, rows["N2"].published_at) == (
        "Corrected title",
        datetime(2019, 11, 11, 13, 3, 52),
    )
    assert [row.entities[0].wikidata_id for row in rows.values()] == ["Q1", "Q1"]
    hashes = lake.read("news").withColumn("expected", content_hash())
    assert hashes.where("content_hash <> expected").isEmpty()


def test_news_alone_and_behaviors_alone_meet_in_the_end(lake: Lakehouse, tmp_path: Path) -> None:
    shown = [f"1\tU1\t{TIME}\tN2\tN1-1 N3-0"]
    run = run_on(lake, tmp_path / "a", behaviors=shown)
    assert (run.facts["candidates without an article"], run.facts["history entries without an article"]) == (
        "2",
        "1",
    )
    assert lake.read("news").count() == 0
    run = run_on(lake, tmp_path / "b", news=[NEWS])
    assert (run.facts["candidates without an article"], run.facts["history entries without an article"]) == (
        "1",
        "1",
    )
    assert [row.published_at for row in lake.read("news").collect()] == [datetime(2019, 11, 11, 13, 3, 52)]
    run_on(lake, tmp_path / "a", replace=True, behaviors=[f"1\tU1\t{TIME}\tN2\tN3-0"])
    assert [row.published_at for row in lake.read("news").collect()] == [None], "it is no longer shown"


def test_paths_with_odd_names_and_patterns(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "größe 50% of day+1"
    run_on(lake, folder / "one", behaviors=[f"1\tU1\t{TIME}\t\tN1-1", "bad"])
    run_on(lake, folder / "two", behaviors=[f"2\tU1\t{TIME}\t\tN1-1"])
    run = JobRun("parse_behaviors")
    parse.parse_behaviors(lake, run, dev=[f"{folder}/*"])
    assert (run.rows_read, run.rows_written["impressions"]) == (3, 2)
    assert {row.line_number for row in lake.read("quarantine").collect()} == {2}


def test_a_lost_line_fails_the_job(lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(parsed: DataFrame) -> DataFrame:
        return behaviors.click_history(parsed).where("impression_id <> '2'")

    monkeypatch.setitem(load.ROWS, "click_history", forgetful)
    with pytest.raises(
        JobFailed, match="behaviors: 3 lines in, but 2 used, 0 exact duplicates and 0 quarantined"
    ):
        run_on(lake, tmp_path / "a", behaviors=[f"{i}\tU1\t{TIME}\t\tN1-1" for i in range(3)])
