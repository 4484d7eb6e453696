"""benchmarks/mind.py: a tiny world in MIND's format from files to the table, and what it says of folders that
it cannot take."""

import json
from argparse import Namespace
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

import mind
from mind_ranker import Judged, all_taken
from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.sample import GeneratorSpec
from newslake.sample.generate import plan
from newslake.spark.frames import frame_of
from tests.tables import put

SPEC = GeneratorSpec(
    articles=200,
    candidates=8.0,
    users=60,
    impressions=400,
    dev_share=0.25,
    new_users=0.5,
    body_share=0.0,
    short_texts=0,
    truth=False,
    seed=4,
)
AT = "%m/%d/%Y %I:%M:%S %p"


def lines(name: str) -> list[str]:
    """The lines of one of the world's files."""
    [file] = [file for file in plan(SPEC) if file.name == name]
    made = (
        file.make(start, min(start + file.block, file.rows))["value"].to_pylist()
        for start in range(0, file.rows, file.block)
    )
    return [line for block in made for line in block]


def write(file: Path, rows: Iterable[str]) -> None:
    """Write lines, with the folders that they need."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MINDsmall_train and MINDsmall_dev; every fifth dev impression has no history."""
    folder = tmp_path_factory.mktemp("downloads")
    for split in ("train", "dev"):
        write(folder / f"MINDsmall_{split}" / "news.tsv", lines(f"{split}/news"))
        rows = [line.split("\t") for line in lines(f"{split}/behaviors")]
        for row in rows[::5] if split == "dev" else []:
            row[3] = ""
        write(folder / f"MINDsmall_{split}" / "behaviors.tsv", ("\t".join(row) for row in rows))
    return folder


def judged_lines(behaviors: Path) -> list[list[str]]:
    """Lines with a click and a skip among the candidates that are not in the history."""
    found = []
    for line in behaviors.read_text(encoding="utf-8").splitlines():
        row = line.split("\t")
        shown = {
            one.rsplit("-", 1)[1] for one in row[4].split() if one.rsplit("-", 1)[0] not in row[3].split()
        }
        found += [row] if shown == {"0", "1"} else []
    return found


@pytest.mark.slow
def test_a_tiny_world_from_files_to_the_table(
    spark: SparkSession, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Namespace(
        path=world,
        seeds=[2],
        models=["zero-shot", "nrms"],
        impressions=None,
        valid_hours=24,
        epochs=1,
        encoder=None,
    )
    found = mind.measured(spark, given, tmp_path)
    rows = {(row["way"], row["users"]): row for row in mind.table(found)}
    assert {way for way, _ in rows} == {"zero-shot", "nrms", "formula", "linear", "trees"}
    dev = judged_lines(world / "MINDsmall_dev" / "behaviors.tsv")
    without = sum(not row[3] for row in dev)
    # The same impressions for all of them: those of dev.
    for way in ("zero-shot", "nrms", "formula", "linear", "trees"):
        assert [rows[way, users]["impressions"] for users in mind.GROUPS] == [
            len(dev),
            len(dev) - without,
            without,
        ]
    assert all(0.0 <= row[metric]["mean"] <= 1.0 for row in rows.values() for metric in mind.METRICS)
    # Nothing to compare with: zero-shot has all candidates equal.
    assert rows["zero-shot", "no_clicks"]["auc"]["mean"] == pytest.approx(0.5)
    mind.report(mind.table(found), tmp_path / "figures.json")
    said = capsys.readouterr().out
    assert all(part in said for part in ("users without a history", "CROWN", "0.6778", "AUC of trees"))
    assert len(json.loads((tmp_path / "figures.json").read_text())) == len(rows)


@pytest.mark.slow
def test_a_trial_takes_a_few_impressions_and_the_articles_that_they_name(
    spark: SparkSession, world: Path, tmp_path: Path
) -> None:
    paths = mind.cut(spark, mind.folders(world), 20, tmp_path)
    for split in ("train", "dev"):
        news, behaviors = (
            [line for file in Path(path).glob("part-*") for line in file.read_text().splitlines()]
            for path in paths[split]
        )
        everything = (world / f"MINDsmall_{split}" / "behaviors.tsv").read_text().splitlines()
        assert len(behaviors) == 20
        assert set(behaviors) <= set(everything)
        rows = [line.split("\t") for line in behaviors]
        named = {one for row in rows for one in row[3].split()} | {
            one.rsplit("-", 1)[0] for row in rows for one in row[4].split()
        }
        there = {
            line.split("\t")[0]
            for line in (world / f"MINDsmall_{split}" / "news.tsv").read_text().splitlines()
        }
        assert sorted(line.split("\t")[0] for line in news) == sorted(named & there)


@pytest.mark.slow
def test_dev_is_the_test_and_the_end_of_train_is_valid(lake: Lakehouse) -> None:
    def fill(times: dict[str, list[str]]) -> None:
        moments = [
            (split, i, datetime.fromisoformat(time))
            for split, of_split in times.items()
            for i, time in enumerate(of_split)
        ]
        rows = [
            (split, str(i), 0, "U1", time, time, "N1", True, None, None, None) for split, i, time in moments
        ]
        put(lake, "impressions", frame_of(lake.spark, rows, lake.schema("impressions")))

    fill(
        {
            "train": ["2019-11-09 07:10:00", "2019-11-14 23:59:59"],
            "dev": ["2019-11-15 00:00:00", "2019-11-15 22:30:00"],
        }
    )
    spans = mind.windows(lake, 24).windows().spans
    assert spans["test"] == (datetime(2019, 11, 15), datetime(2019, 11, 15, 23))
    assert spans["valid"] == (datetime(2019, 11, 14), datetime(2019, 11, 15))
    assert spans["train"][0] <= datetime(2019, 11, 9, 7)
    with pytest.raises(UserError, match="nothing left to learn from"):
        mind.windows(lake, 24 * 6)
    fill({"train": ["2019-11-15 00:00:01"]})
    with pytest.raises(UserError, match="dev must be later"):
        mind.windows(lake, 24)


def test_means_and_deviations_are_over_seeds() -> None:
    values = [(0.6742, 2), (0.6816, 3), (0.6777, 4)]
    found = [Judged("nrms", seed, "all", 7, dict.fromkeys(mind.METRICS, value)) for value, seed in values]
    [row] = mind.table(found)
    assert (row["seeds"], row["impressions"]) == (3, 7)
    assert row["auc"]["mean"] == pytest.approx(np.mean([value for value, _ in values]))
    assert row["auc"]["deviation"] == pytest.approx(0.0030, abs=5e-5)


def test_other_seeds_are_trained_where_impressions_are_left_out() -> None:
    run = JobRun("train_ranker")
    run.fact("train impressions with a click", 50_000)
    assert not all_taken(run.facts)
    run.fact("valid impressions with a click", 1_234)
    assert all_taken(run.facts)
    run.fact("train impressions with a click", 50_001)
    assert not all_taken(run.facts)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "no folder train, MINDsmall_train or MINDlarge_train: it holds the downloads, unpacked"),
        (["MINDsmall_train.zip"], "unpack MINDsmall_train.zip into a folder of its name"),
        (["train/", "MINDlarge_train/"], "has train and MINDlarge_train: give a folder with one train"),
        (["MINDsmall_train/"], "no folder dev, MINDsmall_dev or MINDlarge_dev"),
    ],
)
def test_a_path_without_the_two_folders_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: list[str],
    said: str,
) -> None:
    for name in made:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    monkeypatch.setattr("sys.argv", ["mind.py", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        mind.main()
    assert stopped.value.code == 2
    error: Any = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
