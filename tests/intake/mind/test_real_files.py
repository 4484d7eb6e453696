"""parse_behaviors and import_labels on files as people have them: from Windows, beside backups, in archives,
cut short, glued."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.errors import JobFailed, UserError
from newslake.intake.behaviors import impressions
from newslake.intake.sources.labels.load import import_labels
from newslake.intake.sources.mind import behaviors
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import main
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of

TIME = "11/14/2019 8:30:01 AM"
UUIDS = "0a1b2c3d-1111-4222-8333-444455556666", "0a1b2c3d-1111-4222-8333-444455557777"
NEWS = "".join(
    f"{name}\tlife\tfair\tFerry is late\tAgain.\thttps://x.example/{name}\t[]\t[]\n" for name in ("A1", "A2")
)
SHOWN = f"1\tR1\t{TIME}\tA1\tA1-0 A2-1\n2\tR2\t{TIME}\t\tA1-1 A2-0\n"


def files(folder: Path, **texts: str | bytes) -> str:
    """A folder with files; _ of a name stands for a full stop."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


def parse(lake: Lakehouse, **options: object) -> JobRun:
    run = JobRun("parse_behaviors")
    parse_behaviors(lake, run, **options)  # type: ignore[arg-type]
    return run


def test_files_from_windows_beside_backups_and_without_labels(lake: Lakehouse, tmp_path: Path) -> None:
    windows = files(
        tmp_path / "MIND [small] {a,b} #1 50%",
        behaviors_tsv="\ufeff" + SHOWN.replace("\n", "\r\n"),
        news_tsv=NEWS.replace("\n", "\r\n"),
    )
    old = SHOWN.replace("1\tR1", "7\tR7", 1)
    backups = files(
        tmp_path / "dev",
        behaviors_tsv=SHOWN,
        behaviors_tsv_bak=old,
        behaviors_tsv_orig=old,
        behaviors_tsv_zip=b"PK\3\4",
        news_tsv_tmp=NEWS,
    )
    (tmp_path / "dev" / "behaviors.tsv~").write_text(old)
    test = files(tmp_path / "test", behaviors_tsv=f"1\tR1\t{TIME}\t{UUIDS[0]}\t{UUIDS[0]} {UUIDS[1]}\n")
    run = parse(lake, train=[windows], dev=[backups], test=[test])
    rows = (
        lake.read("impressions").select("split", "impression_id", "position", "news_id", "clicked").collect()
    )
    expected = {("1", 0, "A1", False), ("1", 1, "A2", True), ("2", 0, "A1", True), ("2", 1, "A2", False)}
    for split in ("train", "dev"):
        assert {tuple(row)[1:] for row in rows if row["split"] == split} == expected
    assert {tuple(row)[1:] for row in rows if row["split"] == "test"} == {
        ("1", 0, UUIDS[0], None),
        ("1", 1, UUIDS[1], None),
    }
    assert [row["news_ids"] for row in lake.read("click_history").where("split = 'test'").collect()] == [
        [UUIDS[0]]
    ]
    assert {tuple(row) for row in lake.read("news").select("news_id", "abstract").collect()} == {
        ("A1", "Again."),
        ("A2", "Again."),
    }
    assert (run.rows_read, run.rows_rejected) == (7, 0)


# Candidates of test -> (news_id, clicked) as they are read by default and with --no-test-labels; text: the
# reason.
CANDIDATES: dict[str, tuple[object, object]] = {
    "fair-1 fair-0": ([("fair", True), ("fair", False)], [("fair-1", None), ("fair-0", None)]),
    "fair-2 a-b": ([("fair-2", None), ("a-b", None)],) * 2,
    "fair-1 a-b": ("some candidates end in -0 or -1", [("fair-1", None), ("a-b", None)]),
    "N1-0 N2": ("some candidates end in -0 or -1", [("N1-0", None), ("N2", None)]),
    "N1 -1": ("some candidates end in -0 or -1", [("N1", None), ("-1", None)]),
    "0 1": ([("0", None), ("1", None)],) * 2,
    "N1,N2": ("a comma or semicolon in the candidates",) * 2,
}


def test_ids_with_dashes_and_commas_are_never_cut_by_guess(spark: SparkSession) -> None:
    def read(lines: list[tuple[str, str, str]], labels: bool | None) -> dict[str, object]:
        texts = [
            (split, f"{i}\tU\t{TIME}\t{history}\t{shown}", i)
            for i, (split, history, shown) in enumerate(lines)
        ]
        told = frame_of(spark, texts, "split string, value string, place int")
        parsed = behaviors.parse_lines(told.selectExpr("*", "now() AS arrived_at"), labels)
        reasons = {row["impression_id"]: row["problem"] for row in parsed.collect() if row["problem"]}
        rows = impressions(parsed.where("problem IS NULL")).orderBy("position").collect()
        good = {
            row["impression_id"]: [
                (r["news_id"], r["clicked"]) for r in rows if r["impression_id"] == row["impression_id"]
            ]
            for row in rows
        }
        return {str(i): good.get(str(i), reasons.get(str(i))) for i in range(len(lines))}

    for labels, place in ((None, 0), (False, 1)):
        found = read([("test", "", shown) for shown in CANDIDATES], labels)
        for number, (shown, wanted) in enumerate(CANDIDATES.items()):
            got = found[str(number)]
            expected = wanted[place]
            assert str(got).startswith(expected) if isinstance(expected, str) else got == expected, (
                shown,
                labels,
            )
    assert read([("test", "", "a-0 b-1"), ("test", "", "a b")], True) == {
        "0": [("a", False), ("b", True)],
        "1": "a candidate without - and label",
    }
    glued = [
        ("train", "", "N1-1,N2-0"),
        ("train", "", "N1-1, N2-0"),
        ("dev", "N1,N2", "N1-1"),
        ("train", "", "N1-1;N2-0"),
    ]
    reasons = [
        f"a comma or semicolon in the {place}: ids are parted by blanks"
        for place in ("candidates", "candidates", "history", "candidates")
    ]
    assert list(read(glued, None).values()) == reasons


def test_an_empty_file_of_behaviors_leaves_news_to_be_read(lake: Lakehouse, tmp_path: Path) -> None:
    run = parse(lake, train=[files(tmp_path, behaviors_tsv="", news_tsv=NEWS)])
    assert run.rows_written == {"impressions": 0, "click_history": 0, "news": 2}
    assert run.facts["behaviors lines"] == "0"


def test_files_of_which_no_line_is_usable_fail_the_job_and_say_why(lake: Lakehouse, tmp_path: Path) -> None:
    wrong = SHOWN.replace("\t", ";") + "3\tR1\tnoon\t\tA1-0\n"
    with pytest.raises(JobFailed) as caught:
        parse(lake, train=[files(tmp_path / "a", behaviors_tsv=wrong, news_tsv=NEWS)])
    assert (
        str(caught.value)
        == "no line of behaviors could be used: all 3 are in quarantine, most of them (2) because: wrong"
        " number of fields: 1, not 5"
    )
    assert (lake.read("quarantine").count(), lake.read("news").count()) == (
        3,
        2,
    ), "what could be done is done"
    parse(lake, train=[files(tmp_path / "good", behaviors_tsv=SHOWN)])
    with pytest.raises(JobFailed, match="no line of behaviors could be used"):
        parse(lake, train=[str(tmp_path / "a")], replace=True)
    assert lake.read("impressions").count() == 4, "nothing does not take the place of something"

    texts = files(tmp_path / "b", a_jsonl='{"news_id": "S1"}\r\n\r\n', b_jsonl_bak="{}")
    with pytest.raises(
        JobFailed, match=r"^no line with a text could be used: all 1 are in quarantine, because: no title$"
    ):
        import_labels(lake, JobRun("import_labels"), texts=(texts,))


def test_glued_objects_and_arrays_are_refused_by_labels_too(lake: Lakehouse, tmp_path: Path) -> None:
    def text(name: str) -> str:
        return json.dumps({"news_id": name, "title": "Ferry late", "class": "travel", "score": 0.9})

    lines = [
        text("S1") + text("S2"),
        text("S3").replace('"Ferry late"', '["Ferry", "late"]'),
        text("S4").replace('"travel"', '["a", "b"]'),
        text("S5"),
    ]
    folder = files(tmp_path / "in [1]" / "2019" / "11", part_jsonl="\r\n".join(lines))
    run = JobRun("import_labels")
    import_labels(lake, run, texts=(str(tmp_path / "in [1]"),), scores=(folder,))
    assert [row["news_id"] for row in lake.read("news").collect()] == ["S5"]
    assert sorted(row["news_id"] for row in lake.read("article_class_scores").collect()) == ["S3", "S5"]
    assert {(row["line_number"], row["reason"]) for row in lake.read("quarantine").collect()} == {
        (1, "not JSON, or two members of one name"),
        (2, "title is not a string"),
        (3, "class is not a string"),
    }
    assert run.rows_read == 8


def test_archives_and_damaged_files_are_named(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(files(tmp_path / "my zip", news_tsv=NEWS))
    with zipfile.ZipFile(folder / "behaviors.tsv.zip", "w") as archive:
        archive.writestr("behaviors.tsv", SHOWN)
    for path in (folder, folder / "behaviors.tsv.zip"):
        with pytest.raises(
            UserError, match=r"/my zip/behaviors\.tsv\.zip is an archive, which is not read: unpack it"
        ) as caught:
            parse(lake, train=[str(path)])
        assert str(caught.value).startswith(f"--train {path}: ")
    with pytest.raises(UserError, match=r"^--texts .*/behaviors\.tsv\.zip is an archive"):
        import_labels(lake, JobRun("import_labels"), texts=(str(folder),))

    whole = gzip.compress(SHOWN.encode() * 50)
    damaged = {"cut": whole[:-20], "plain": SHOWN.encode()}
    for name, content in damaged.items():
        place = files(tmp_path / f"{name} ø", behaviors_tsv_gz=content, news_tsv=NEWS)
        with pytest.raises(SystemExit) as ended:
            main(parse_behaviors, [f"--train={place}", f"--lakehouse={lake.root}", "--log-level=error"])
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert f"{place}/behaviors.tsv.gz is damaged" in said, said
        assert "table" not in said
        assert "Traceback" not in said
