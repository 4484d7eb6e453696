"""parse_behaviors: what lands in the tables, what in quarantine, and that every line is accounted for."""

import gzip
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from newslake.errors import JobFailed, UserError
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from tests.killing import content

MIND = Path(__file__).parents[2] / "fixtures" / "mind"
TABLES = ("news", "impressions", "click_history", "quarantine")
NEWS = b"N1\tsports\tsoccer\tTitle\tAbstract\thttps://news.example/N1\t[]\t[]"
LINE = b"1\tU1\t11/11/2019 1:03:52 PM\tN9\tN1-0 N2-1"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def parse(lake: Lakehouse, **options: object) -> JobRun:
    run = JobRun("parse_behaviors")
    parse_behaviors(lake, run, **options)  # type: ignore[arg-type]
    return run


def split(folder: Path, *, news: bytes | None = None, behaviors: bytes | None = None) -> str:
    """A split's folder with the given files, byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("news.tsv", news), ("behaviors.tsv", behaviors)):
        if text is not None:
            (folder / name).write_bytes(text)
    return str(folder)


def contents(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    return {table: content(lake.read(table)) for table in TABLES}


def shown(lake: Lakehouse) -> list[tuple[object, ...]]:
    rows = lake.read("impressions").orderBy("split", "impression_id", "position").collect()
    return [(r.split, r.impression_id, r.position, r.user_id, r.news_id, r.clicked) for r in rows]


def reasons(lake: Lakehouse) -> dict[int, str]:
    return {row.line_number: row.reason for row in lake.read("quarantine").collect()}


def test_minds_files_become_three_tables(lake: Lakehouse) -> None:
    run = parse(lake, train=[str(MIND / "train")], dev=[f"file://{MIND}/dev"])
    assert shown(lake)[:2] == [("dev", "1", 0, "U3", "N4", True), ("dev", "1", 1, "U3", "N2", False)]
    assert shown(lake)[-2:] == [("train", "3", 0, "U1", "N8", False), ("train", "3", 1, "U1", "N3", True)]
    history = {
        (r.split, r.impression_id): (r.user_id, r.news_ids, r.occurred_at)
        for r in lake.read("click_history").collect()
    }
    assert history["train", "1"] == ("U1", ["N9", "N1"], at("2019-11-11 13:03:52"))
    assert history["train", "2"] == ("U2", [], at("2019-11-11 09:00:00"))
    assert history["train", "3"][2] == at("2019-11-12 00:00:01"), "12:00:01 AM is just after midnight"
    assert history["dev", "2"][2] == at("2019-11-15 23:59:59")
    news = {row.news_id: row for row in lake.read("news").collect()}
    assert set(news) == {"N1", "N2", "N3", "N4", "N5"}
    assert news["N1"].title == '"We were ready": City win the cup', "quotes are plain text"
    assert news["N2"].abstract == ""
    assert news["N1"].entities == [
        Row(
            field="title",
            label="City FC",
            type="O",
            wikidata_id="Q101",
            confidence=0.999,
            occurrence_offsets=[17],
            surface_forms=["City"],
        )
    ]
    assert [entity.field for entity in news["N3"].entities] == ["abstract"]
    assert news["N4"].entities == []
    published = {news_id: row.published_at for news_id, row in news.items()}
    assert published == {
        "N1": at("2019-11-11 13:03:52"),
        "N2": at("2019-11-11 09:00:00"),
        "N3": at("2019-11-11 09:00:00"),
        "N4": at("2019-11-15 08:30:00"),
        "N5": None,
    }
    assert run.facts["candidates without an article"] == "1"
    assert run.facts["history entries without an article"] == "3"
    assert run.facts["news lines that are exact duplicates"] == "1"
    assert (run.rows_read, run.rows_rejected) == (11, 0)
    assert run.rows_written == {"impressions": 12, "click_history": 5, "news": 5}
    modified = datetime.fromtimestamp((MIND / "dev/behaviors.tsv").stat().st_mtime, UTC).replace(tzinfo=None)
    arrived = {
        r.ingested_at.replace(microsecond=0)
        for r in lake.read("impressions").where("split = 'dev'").collect()
    }
    assert arrived == {modified.replace(microsecond=0)}


def test_running_again_changes_nothing(lake: Lakehouse, tmp_path: Path) -> None:
    bad = split(tmp_path / "train", news=NEWS + b"\nN2\tx", behaviors=LINE + b"\n2\tU1\tlater\t\tN1-0\n")
    parse(lake, train=[bad])
    first = contents(lake)
    files = {table: lake.files(table) for table in ("news", "impressions", "click_history")}
    run = parse(lake, train=[bad])
    assert contents(lake) == first
    assert run.rows_written == {"impressions": 0, "click_history": 0, "news": 0}
    assert {table: lake.files(table) for table in files} == files, "nothing was rewritten"


BAD_BEHAVIORS: Mapping[str, bytes] = {
    "wrong number of fields": b"5\tU1\t11/11/2019 1:03:52 PM\tN9",
    "empty impression_id": b"\tU1\t11/11/2019 1:03:52 PM\tN9\tN1-0",
    "empty user_id": b"5\t\t11/11/2019 1:03:52 PM\tN9\tN1-0",
    "time does not parse": b"5\tU1\t13/45/2019 1:03:52 PM\tN9\tN1-0",
    "a label other than 0 or 1": b"5\tU1\t11/11/2019 1:03:52 PM\tN9\tN1-0 N2-2",
    "a candidate without -": b"5\tU1\t11/11/2019 1:03:52 PM\tN9\tN1 N2-1",
    "no candidates": b"5\tU1\t11/11/2019 1:03:52 PM\tN9\t",
    "invalid UTF-8": b"5\tU\xff1\t11/11/2019 1:03:52 PM\tN9\tN1-0",
    "a NUL character": b"5\tU1\t11/11/2019 1:03:52 PM\tN9\x00\tN1-0",
    "different content": b"1\tU2\t11/11/2019 1:03:52 PM\tN9\tN1-0 N2-1",
}


def test_every_bad_line_of_behaviors_is_kept_with_its_number_bytes_and_reason(
    lake: Lakehouse, tmp_path: Path
) -> None:
    lines = [LINE, *BAD_BEHAVIORS.values(), LINE]
    run = parse(lake, train=[split(tmp_path / "train", behaviors=b"\n".join(lines) + b"\n")])
    rows = {row.line_number: row for row in lake.read("quarantine").collect()}
    assert sorted(rows) == list(range(2, 2 + len(BAD_BEHAVIORS)))
    for number, (reason, raw) in enumerate(BAD_BEHAVIORS.items(), start=2):
        assert reason in rows[number].reason
        assert bytes(rows[number].raw) == raw
        assert rows[number].source.endswith("/train/behaviors.tsv")
    assert shown(lake) == [("train", "1", 0, "U1", "N1", False), ("train", "1", 1, "U1", "N2", True)]
    assert (run.rows_read, run.rows_rejected) == (len(lines), len(BAD_BEHAVIORS))
    assert run.facts["behaviors lines that are exact duplicates"] == "1"


BAD_NEWS: Mapping[str, bytes] = {
    "wrong number of fields": b"N7\tsports\tsoccer\tTitle",
    "empty news_id": NEWS.replace(b"N1\t", b"\t", 1),
    "broken JSON": NEWS.replace(b"N1\t", b"N7\t", 1).replace(b"[]", b'[{"Label": "x"', 1),
    "invalid UTF-8": NEWS.replace(b"Title", b"T\xe9tle"),
    "a NUL character": NEWS.replace(b"Title", b"T\x00tle"),
    "different content": NEWS.replace(b"Title", b"Another title"),
}


def test_every_bad_line_of_news_is_kept_with_its_number_bytes_and_reason(
    lake: Lakehouse, tmp_path: Path
) -> None:
    lines = [NEWS, *BAD_NEWS.values()]
    parse(lake, train=[split(tmp_path / "train", news=b"\n".join(lines))])
    rows = {row.line_number: row for row in lake.read("quarantine").collect()}
    assert sorted(rows) == list(range(2, 2 + len(BAD_NEWS)))
    for number, (reason, raw) in enumerate(BAD_NEWS.items(), start=2):
        assert reason in rows[number].reason
        assert bytes(rows[number].raw) == raw
    assert [row.title for row in lake.read("news").collect()] == ["Title"]


def test_lines_end_at_line_feeds_alone_and_keep_their_numbers_across_blocks(
    lake: Lakehouse, tmp_path: Path
) -> None:
    good = [b"%d\tU\r1 \x85 \xe2\x80\xa8\t11/11/2019 1:03:52 PM\tN9\tN1-0 N2-1" % i for i in range(200)]
    # \x85 alone is no UTF-8; a lone CR and the separators of Unicode are ordinary characters.
    good = [line.replace(b" \x85", b"") for line in good]
    bad = {17: b"short", 99: b"also short", 200: b"the last one"}
    lines = [bad.get(number, line) for number, line in enumerate(good, start=1)]
    before = lake.spark.conf.get("spark.sql.files.maxPartitionBytes")
    lake.spark.conf.set("spark.sql.files.maxPartitionBytes", "1000")
    try:
        parse(lake, train=[split(tmp_path / "train", behaviors=b"\n".join(lines))])
    finally:
        lake.spark.conf.set("spark.sql.files.maxPartitionBytes", str(before))
    assert {row.line_number: bytes(row.raw) for row in lake.read("quarantine").collect()} == bad
    assert lake.read("click_history").count() == 197


def test_the_first_line_in_reading_order_wins(lake: Lakehouse, tmp_path: Path) -> None:
    one, two = tmp_path / "train", tmp_path / "dev"
    split(one, news=NEWS + b"\n")
    split(two, news=NEWS.replace(b"Title", b"Later title") + b"\n")
    parse(lake, dev=[str(two)], train=[str(one)])
    assert [row.title for row in lake.read("news").collect()] == ["Title"]
    [rejected] = lake.read("quarantine").collect()
    assert rejected.source.endswith("/dev/news.tsv")


def test_gzip_parts_and_single_files_are_read(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "behaviors-00000.tsv").write_bytes(LINE + b"\n")
    (folder / "behaviors-00001.tsv.gz").write_bytes(
        gzip.compress(LINE.replace(b"1\tU1", b"2\tU2", 1) + b"\nbroken\n")
    )
    (folder / "news_embeddings.tsv").write_bytes(b"not one of MIND's files\n")
    other = tmp_path / "behaviors_of_monday.txt"
    other.write_bytes(LINE.replace(b"1\tU1", b"3\tU3", 1))
    parse(lake, train=[str(folder), str(other)])
    assert {row.user_id for row in lake.read("click_history").collect()} == {"U1", "U2", "U3"}
    assert reasons(lake) == {2: "wrong number of fields: 1, not 5"}


def test_a_test_split_needs_no_labels(lake: Lakehouse, tmp_path: Path) -> None:
    lines = [
        b"1\tU1\t11/20/2019 1:03:52 PM\tN9\tN1 N2",
        b"2\tU1\t11/20/2019 1:03:52 PM\tN9\tN1-0 N2-1",
        b"3\tU1\t11/20/2019 1:03:52 PM\tN9\tN1-0 N2",
    ]
    parse(lake, test=[split(tmp_path / "test", behaviors=b"\n".join(lines))])
    assert [(i, n, c) for _, i, _, _, n, c in shown(lake)] == [
        ("1", "N1", None),
        ("1", "N2", None),
        ("2", "N1", False),
        ("2", "N2", True),
    ]
    assert set(reasons(lake)) == {3}


def test_a_second_file_adds_to_its_split_and_replace_makes_it_the_whole(
    lake: Lakehouse, tmp_path: Path
) -> None:
    one = split(tmp_path / "one", news=NEWS, behaviors=LINE)
    two = split(tmp_path / "two", behaviors=LINE.replace(b"1\tU1", b"2\tU2", 1).replace(b"11/11/", b"11/10/"))
    parse(lake, train=[one])
    parse(lake, train=[two])
    assert {row[1] for row in shown(lake)} == {"1", "2"}
    [article] = lake.read("news").collect()
    assert article.published_at == at("2019-11-10 13:03:52"), "the added file showed it a day earlier"
    parse(lake, train=[one], replace=True)
    assert {row[1] for row in shown(lake)} == {"1"}
    [article] = lake.read("news").collect()
    assert article.published_at == at("2019-11-11 13:03:52")


def test_an_impression_that_is_there_with_other_content_keeps_it(lake: Lakehouse, tmp_path: Path) -> None:
    parse(lake, train=[split(tmp_path / "one", behaviors=LINE)])
    before = shown(lake)
    run = parse(lake, train=[split(tmp_path / "two", behaviors=LINE.replace(b"N2-1", b"N2-0"))])
    assert shown(lake) == before
    assert run.rows_rejected == 1
    assert "different content" in reasons(lake)[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "nothing to read"),
        ({"train": ["/nowhere/at/all"]}, "no such file or folder"),
        ({"train": ["{empty}"]}, "no MIND files there"),
        ({"train": ["{mind}/train", "{mind}/train/behaviors.tsv"]}, "given twice"),
        ({"train": ["nosuchscheme://x/y"]}, "cannot be read"),
    ],
)
def test_a_users_mistake_says_what_to_do(
    lake: Lakehouse, tmp_path: Path, options: dict[str, list[str]], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    filled = {
        name: [path.format(empty=tmp_path / "empty", mind=MIND) for path in paths]
        for name, paths in options.items()
    }
    with pytest.raises(UserError, match=says):
        parse(lake, **filled)
    assert not lake.exists("impressions"), "nothing is left behind"


# --- against a parser in plain Python ---

FIELD = st.sampled_from(
    [
        "1",
        "2",
        "3",
        "U1",
        "",
        " ",
        "N1-0",
        "N1-1 N2-0",
        "N1",
        "N1-2",
        "-1",
        "é",
        "\r",
        "11/11/2019 1:03:52 PM",
        "x",
    ]
)
WELL_FORMED = st.builds(
    "\t".join,
    st.tuples(
        st.sampled_from(["1", "2", "3", "4"]),
        st.sampled_from(["U1", "U2"]),
        st.sampled_from(["11/11/2019 1:03:52 PM", "1/2/2020 12:00:00 AM"]),
        st.sampled_from(["", "N1", "N1 N2"]),
        st.sampled_from(["N1-0", "N1-1 N2-0", "N1-0 N1-0", "N-1-1"]),
    ),
)
LINES = st.lists(
    st.one_of(WELL_FORMED, WELL_FORMED, st.lists(FIELD, min_size=1, max_size=6).map("\t".join)),
    min_size=1,
    max_size=24,
)


def oracle(lines: list[str]) -> tuple[dict[str, list[tuple[str, bool]]], int, int]:
    """(candidates by impression id, exact duplicates, rejected lines), one line at a time."""
    used: dict[str, tuple[str, list[tuple[str, bool]]]] = {}
    duplicates = rejected = 0
    for line in lines:
        fields = line.split("\t")
        try:
            impression_id, user, time, history, candidates = fields
            datetime.strptime(time, "%m/%d/%Y %I:%M:%S %p")
            assert impression_id
            assert user
            assert "" not in history.split(" ") or history == ""
            parsed = []
            for candidate in candidates.split(" "):
                news_id, label = candidate.rsplit("-", 1)
                assert news_id
                assert label in ("0", "1")
                parsed.append((news_id, label == "1"))
        except (ValueError, AssertionError):
            rejected += 1
            continue
        if impression_id not in used:
            used[impression_id] = (line, parsed)
        elif used[impression_id][0] == line:
            duplicates += 1
        else:
            rejected += 1
    return {key: parsed for key, (_, parsed) in used.items()}, duplicates, rejected


# Few examples of many lines: each is a whole run of the job.
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.fixed_dictionaries({"train": LINES, "dev": LINES}))
@example(lines={"train": ["1"], "dev": ["1"]})
def test_any_lines_end_where_a_plain_parser_puts_them(
    spark: SparkSession, tmp_path: Path, lines: dict[str, list[str]]
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    given = {
        of: [split(folder / of, behaviors="\n".join(some).encode() + b"\n")] for of, some in lines.items()
    }
    # An id is one split's: neither sees the other's lines.
    expected = {of: oracle(some) for of, some in lines.items()}
    if not any(used for used, _, _ in expected.values()):
        with pytest.raises(JobFailed, match=r"^no line of behaviors could be used"):
            parse(lake, **given)
        assert lake.read("quarantine").count() == sum(map(len, lines.values()))
        return
    run = parse(lake, **given)
    found: dict[str, dict[str, list[tuple[str, bool]]]] = {of: {} for of in lines}
    for of, impression_id, _, _, news_id, clicked in shown(lake):
        found[str(of)].setdefault(str(impression_id), []).append((str(news_id), bool(clicked)))
    assert found == {of: used for of, (used, _, _) in expected.items()}
    assert run.rows_rejected == sum(rejected for _, _, rejected in expected.values())
    assert run.facts["behaviors lines that are exact duplicates"] == str(
        sum(duplicates for _, duplicates, _ in expected.values())
    )
    assert run.rows_read == sum(map(len, lines.values()))


def test_entities_survive_as_they_were(lake: Lakehouse, tmp_path: Path) -> None:
    entity = {
        "Label": 'A "quoted" \\ name',
        "Type": "P",
        "WikidataId": "Q1",
        "Confidence": 1,
        "OccurrenceOffsets": [],
        "SurfaceForms": ["é", "新"],
    }
    line = NEWS.replace(b"[]", json.dumps([entity], ensure_ascii=False).encode(), 1)
    parse(lake, train=[split(tmp_path / "train", news=line)])
    [row] = lake.read("news").collect()
    [found] = row.entities
    assert (found.label, found.confidence, found.occurrence_offsets, found.surface_forms) == (
        'A "quoted" \\ name',
        1.0,
        [],
        ["é", "新"],
    )
