"""import_labels: JSON lines into news and article_class_scores, bad lines into quarantine, a rerun adds
nothing."""

import json
from pathlib import Path

import pytest

from newslake.errors import UserError
from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from tests.killing import content

TEXTS: list[object] = [
    {"news_id": "S1", "title": "A team wins", "class": "sports"},
    {"news_id": "S2", "title": "A song", "abstract": "and a dance", "class": "music"},
    {"news_id": "S1", "title": "Again", "class": "music"},
    {"news_id": "S3", "title": " ", "class": "music"},
    {"news_id": "S4", "title": "No class"},
    {"title": "No id", "class": "music"},
]
SCORES: list[object] = [
    {"news_id": "N1", "class": "sports", "score": 0.95},
    {"news_id": "N2", "class": "music", "score": 1.5},
    {"news_id": "N3", "class": "music", "score": "high"},
]


def test_texts_scores_and_rerun(lake: Lakehouse, tmp_path: Path) -> None:
    texts, scores = tmp_path / "short_texts.jsonl", tmp_path / "class_scores.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in TEXTS) + "no JSON\n")
    scores.write_text("".join(json.dumps(row) + "\n" for row in SCORES))
    run = JobRun("import_labels")
    import_labels(lake, run, texts=(str(texts),), scores=(str(scores),))
    news = {row["news_id"]: row for row in lake.read("news").collect()}
    assert {n: (row["title"], row["abstract"], row["category"]) for n, row in news.items()} == {
        "S1": ("A team wins", None, "sports"),
        "S2": ("A song", "and a dance", "music"),
    }
    assert [
        (row["news_id"], row["model_run"], row["score"])
        for row in lake.read("article_class_scores").collect()
    ] == [("N1", "brought", 0.95)]
    wrong = sorted(
        (row["line_number"], row["source"].rsplit("/")[-1], row["reason"])
        for row in lake.read("quarantine").collect()
    )
    assert wrong == [
        (2, "class_scores.jsonl", "score is not between 0 and 1"),
        (3, "class_scores.jsonl", "score is not a number"),
        (3, "short_texts.jsonl", "news_id comes again"),
        (4, "short_texts.jsonl", "no title"),
        (5, "short_texts.jsonl", "no class"),
        (6, "short_texts.jsonl", "no news_id"),
        (7, "short_texts.jsonl", "not JSON, or two members of one name"),
    ]
    assert (run.rows_read, run.rows_rejected) == (10, 7)
    before = [content(lake.read(table)) for table in ("news", "article_class_scores", "quarantine")]
    again = JobRun("import_labels")
    import_labels(lake, again, texts=(str(texts),), scores=(str(scores),))
    assert again.rows_written == {"news": 0, "article_class_scores": 0}
    assert [content(lake.read(table)) for table in ("news", "article_class_scores", "quarantine")] == before


def test_mistakes_are_told(lake: Lakehouse, run: JobRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give files with --texts"):
        import_labels(lake, run)
    with pytest.raises(UserError, match=r"--texts .*nowhere: there is no such file or folder"):
        import_labels(lake, run, texts=(str(tmp_path / "nowhere"),))
