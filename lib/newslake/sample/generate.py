"""Generate a data set in MIND's format with its latent truth: the job's function, and the same for tests."""

import json
from collections.abc import Callable
from functools import partial

from pyarrow import RecordBatch
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.sample import articles, impressions, labels, wishes
from newslake.sample.files import Files, write
from newslake.sample.folder import Folder
from newslake.sample.spec import MIND_DAYS, SAMPLE, GeneratorSpec
from newslake.sample.vocabulary import vocabulary

MARK = "spec.json"
"""Written last: a folder that has it is complete."""
_ADDED_LATER: dict[str, object] = {"copies": 0.0, "train_days": MIND_DAYS}
"""Settings that the mark of an older folder lacks, with what it was made by."""
UNFINISHED = "_unfinished"
"""Written first and removed last: a folder that has it may be cleared and made anew."""


def plan(spec: GeneratorSpec) -> list[Files]:
    """All files of a data set, in the order in which they are written."""
    many, few = spec.rows_per_file, max(100, spec.rows_per_file // 20)
    lines = "value string"
    made: list[Files] = []
    for split, rows in spec.impressions_of.items():
        news = partial(articles.news_lines, spec, split)
        behaviors = partial(impressions.behavior_lines, spec, split)
        made.append(Files(f"{split}/news", "tsv", lines, spec.articles, many, 5_000, news))
        made.append(Files(f"{split}/behaviors", "tsv", lines, rows, many, impressions.BLOCK, behaviors))
    messages, scores = partial(articles.messages, spec), partial(labels.class_score_rows, spec)
    made.append(Files("articles", "jsonl", articles.MESSAGE_SCHEMA, spec.articles, few, 500, messages))
    made.append(Files("class_scores", "jsonl", labels.SCORES_SCHEMA, spec.articles, many, 20_000, scores))
    short = partial(labels.short_text_rows, spec)
    made.append(Files("short_texts", "jsonl", labels.SHORT_SCHEMA, spec.short_texts, many, 5_000, short))
    interests, queries = partial(wishes.interest_rows, spec), partial(wishes.query_rows, spec)
    made.append(Files("user_interests", "jsonl", wishes.INTERESTS_SCHEMA, spec.users, many, 5_000, interests))
    made.append(Files("search_queries", "jsonl", wishes.QUERIES_SCHEMA, spec.users, many, 5_000, queries))
    return made + (_truth(spec) if spec.truth else [])


def _truth(spec: GeneratorSpec) -> list[Files]:
    many = spec.rows_per_file

    def files(name: str, rows: int, make: Callable[..., RecordBatch]) -> Files:
        return Files(f"truth/{name}", "parquet", "", rows, many, 5_000, partial(make, spec))

    made = [
        files("topics", vocabulary().topics, articles.topic_truth),
        files("articles", spec.articles, articles.article_truth),
        files("users", spec.users, articles.user_truth),
        files("short_texts", spec.short_texts, labels.short_text_truth),
    ]
    if spec.copies > 0.0:
        made.append(files("copies", spec.articles, articles.copy_truth))
    for split, rows in spec.impressions_of.items():
        truth = partial(impressions.impression_truth, spec, split)
        made.append(Files(f"truth/impressions_{split}", "parquet", "", rows, many, impressions.BLOCK, truth))
    return made


def generate(
    spark: SparkSession, out: str, spec: GeneratorSpec, progress: Callable[[str], None] | None = None
) -> bool:
    """Write a data set below the folder `out`. The same settings give the same names and bytes, on any
    cluster.

    A folder that is complete with these settings is left as it is; an unfinished one, or one of other
    settings, is made anew.

    Args:
        spark: the session to work with.
        out: folder or URI.
        spec: what to make.
        progress: called with a line of text for each data set written.

    Returns:
        Whether anything was written.

    Raises:
        UserError: the folder holds something that is not the generator's.
    """
    folder = Folder(spark, out)
    if folder.exists(MARK) and _ADDED_LATER | json.loads(folder.read_text(MARK)) == spec.as_dict():
        return False
    _clear(folder)
    folder.write_text(UNFINISHED, "This folder is being generated, or its generation was interrupted.\n")
    for files in plan(spec):
        write(spark, out, files)
        if progress:
            progress(f"{files.name}.{files.extension}: {files.number} files")
    folder.write_text(MARK, json.dumps(spec.as_dict(), indent=2) + "\n")
    folder.delete(UNFINISHED)
    return True


def _clear(folder: Folder) -> None:
    present = folder.names()
    if folder.exists() and not folder.is_folder():
        raise UserError(f"--out {folder.path} is a file: name a folder")
    if not present:
        return
    ours = MARK in present or UNFINISHED in present
    own = ("train", "dev", "truth", "_parts", MARK, UNFINISHED)
    data = ("articles", "class_scores", "short_texts", "user_interests", "search_queries")
    foreign = [
        name
        for name in present
        if name not in own and not (name.endswith(".jsonl") and name.startswith(data))
    ]
    if foreign or not ours:
        what = ", ".join((foreign or present)[:3])
        raise UserError(
            f"--out {folder.path} holds something else than generated data ({what}): name an empty or a new"
            " folder"
        )
    # The mark goes first: what is half deleted must not look complete.
    folder.write_text(UNFINISHED, "This folder is being cleared.\n")
    folder.delete(MARK)
    for name in present:
        if name != UNFINISHED:
            folder.delete(name)


def generate_mind(
    lake: Lakehouse,
    run: JobRun,
    *,
    out: str,
    spec: GeneratorSpec = SAMPLE,
) -> None:
    """Generate news and reading behaviour in MIND's format, with bodies, labelled short texts and the truth
    behind them.

    The defaults are a week as MIND's: six days of train, and dev. Run again with the same options, it does
    nothing.

    Args:
        out: Folder or URI to write to; must be empty, new, or hold generated data.
    """
    written = generate(lake.spark, out, spec, run.progress)
    run.fact("files", sum(files.number for files in plan(spec)) if written else "complete already")
