"""The job parse_ebnerd: EB-NeRD's Parquet files -> news, impressions, click_history, reads; what cannot be
used -> quarantine.

EB-NeRD is the data set of the Danish newspaper Ekstra Bladet (https://recsys.eb.dk, Kruse et al., RecSys
Challenge 2024).
"""

from collections.abc import Mapping, Sequence
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.intake.articles import first_shown, settled
from newslake.intake.load import (
    ROWS,
    Given,
    Taken,
    count_unmatched,
    filled_splits,
    load_impressions,
    take_in,
    write_splits,
)
from newslake.intake.sources.ebnerd import articles as article_rows
from newslake.intake.sources.ebnerd import behaviors, history, reads
from newslake.intake.sources.ebnerd.columns import Field
from newslake.intake.sources.ebnerd.files import as_rejected, read_files
from newslake.intake.sources.ebnerd.tables import Source, find_sources
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames

_READS = "reads"


def parse_ebnerd(
    lake: Lakehouse,
    run: JobRun,
    *,
    articles: list[str] | None = None,
    train: list[str] | None = None,
    validation: list[str] | None = None,
    test: list[str] | None = None,
    last_clicks: int | None = None,
    replace: bool = False,
) -> None:
    """Read EB-NeRD's Parquet files into the tables news, impressions, click_history and reads.

    A split's PATH is a folder that holds behaviors.parquet and history.parquet, such as ebnerd_small/train,
    or one of these files; any URI that Spark reads. Validation becomes the split dev. An id is EB and the
    number that EB-NeRD has, so that none is one of MIND's: article 9652010 is EB9652010. How long and how far
    users read is in table reads. The click history of an impression holds what history.parquet says that the
    user read before it.

    What is there already stays, and reading the same files again changes nothing: an impression that is there
    with other content keeps what it has, and the row goes to quarantine. Of two versions of an article the
    one modified last stays. Rows that cannot be used go to the table quarantine with their reason. Where no
    row at all of one kind of file could be used, the job fails.

    Args:
        articles: Files articles.parquet, or folders that hold one.
        train: Folders or files of the training split.
        validation: Folders or files of the validation split.
        test: Folders or files of the test split, which may lack the column article_ids_clicked.
        last_clicks: How many of the latest articles a click history holds (default: all; the large set's are
            150 on average for each of 12 million impressions).
        replace: Make the given files the whole of their splits, whatever was there before. Articles are only
            added or updated.
    """
    if last_clicks is not None and last_clicks < 1:
        raise UserError(f"--last-clicks {last_clicks}: give a number from 1")
    splits = {
        option: paths or ()
        for option, paths in (("train", train), ("validation", validation), ("test", test))
    }
    sources = find_sources(lake.spark, articles or (), splits)
    if not sources:
        raise UserError(
            "nothing to read: give folders with EB-NeRD's files to --articles, --train, --validation or"
            " --test"
        )
    of_kind = _read(lake, sources)
    run.progress(f"reading {len(sources)} files")
    new = {table for table in (*ROWS, _READS, "news", "quarantine") if lake.create(table)}
    unread = {*ROWS, _READS} if replace else new
    # Whatever is killed in between, a rerun of the whole job completes, since every write before it changes
    # nothing the second time.
    useless: list[str] = []
    with Frames() as frames:
        found: list[DataFrame] = []
        histories = None
        if of_kind["history"]:
            taken = _take_histories(lake, run, frames, of_kind["history"])
            histories = taken.rows
            found.append(reads.of_histories(histories))
            useless += taken.useless
        if rows := of_kind["behaviors"]:
            taken = _take_behaviors(lake, run, frames, rows, histories, last_clicks, unread)
            found.append(reads.of_impressions(taken.rows))
            useless += taken.useless
        if found and not useless:
            _load_reads(
                lake,
                run,
                reads.one_of_each(*found),
                sorted({*of_kind["history"], *of_kind["behaviors"]}),
                unread,
            )
    useless += _load_news(lake, run, of_kind["articles"])
    if useless:
        raise JobFailed("; ".join(useless))


def _read(lake: Lakehouse, sources: Sequence[Source]) -> dict[str, dict[str, DataFrame]]:
    """Kind -> split -> rows: every file's columns are checked before anything is written."""
    fields: Mapping[str, Sequence[Field]] = {
        "articles": article_rows.FIELDS,
        "behaviors": behaviors.FIELDS,
        "history": history.FIELDS,
    }
    return {
        kind: read_files(lake.spark, [one for one in sources if one.kind == kind], fields[kind])
        for kind in fields
    }


def _take_histories(lake: Lakehouse, run: JobRun, frames: Frames, rows: Mapping[str, DataFrame]) -> Taken:
    given = _given("history", {split: history.parse_rows(frame) for split, frame in rows.items()}, "user_id")
    return take_in(lake, run, frames, given, key=history.KEY, claims=history.claims, rows=history.histories)


def _take_behaviors(
    lake: Lakehouse,
    run: JobRun,
    frames: Frames,
    rows: Mapping[str, DataFrame],
    histories: DataFrame | None,
    last_clicks: int | None,
    unread: set[str],
) -> Taken:
    parsed = {
        split: behaviors.with_history(behaviors.parse_rows(frame), histories, last_clicks)
        for split, frame in rows.items()
    }
    return load_impressions(lake, run, frames, _given("behaviors", parsed, "impression_id"), unread=unread)


def _load_reads(
    lake: Lakehouse, run: JobRun, rows: DataFrame, splits: Sequence[str], unread: set[str]
) -> None:
    filled = set() if _READS in unread else filled_splits(lake, _READS, splits)
    for there in (False, True):
        those = [split for split in splits if (split in filled) == there]
        if those:
            write_splits(lake, run, _READS, rows.where(F.col("split").isin(those)), those, there=there)


def _load_news(lake: Lakehouse, run: JobRun, rows: Mapping[str, DataFrame]) -> tuple[str, ...]:
    """Write news; returns what is to be told where no row could be used."""
    useless: tuple[str, ...] = ()
    with Frames() as frames:
        if rows:
            given = _given(
                "articles",
                {split: article_rows.parse_rows(frame) for split, frame in rows.items()},
                "news_id",
            )
            taken = take_in(
                lake,
                run,
                frames,
                given,
                key=article_rows.KEY,
                claims=article_rows.claims,
                rows=article_rows.articles,
            )
            useless = taken.useless
            written = lake.merge("news", settled(taken.rows, lake.read("news")))
            run.wrote("news", written.rows)
            run.progress(f"{written.rows:,} rows to news")
        count_unmatched(lake, run, frames.keep(first_shown(lake.read("impressions"))))
    return useless


def _given(kind: str, parsed: Mapping[str, DataFrame], key: str) -> Given:
    return Given(
        kind,
        parsed,
        partial(as_rejected, key=key),
        unit="row",
        more=("value",) if kind == "behaviors" else (),
    )
