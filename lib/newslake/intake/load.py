"""Parsed files into tables: every line used, an exact duplicate, or in quarantine; the rows of a table
written at once for all splits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.intake import behaviors
from newslake.intake.articles import id_hashes
from newslake.intake.stock import Ledger, Stock, judge, lines_of, set_aside, take_stock, tally, union, without
from newslake.intake.verdicts import CONFLICT, DUPLICATE, USE
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import commonest, nothing_usable, send
from newslake.spark.frames import Frames

ROWS = {"impressions": behaviors.impressions, "click_history": behaviors.click_history}
"""The tables that impressions fill, and what makes their rows."""
_FOUND_IN = {"impressions": "in_impressions", "click_history": "in_history"}
_BROADCAST_ARTICLES = 1_000_000  # ids of up to so many articles are sent to every executor (some 50 MB)


@dataclass(frozen=True)
class Given:
    """The lines of one kind of file.

    Attributes:
        kind: what the files are called, such as behaviors.
        parsed: split -> lines with the columns of verdicts.IDENTITY, those of the kind, and problem.
        rejected: makes of lines with a reason what quarantine.rejected takes.
        unit: what a line is called.
        more: columns that impressions must agree in too, to say the same.
    """

    kind: str
    parsed: Mapping[str, DataFrame]
    rejected: Callable[[DataFrame], DataFrame]
    unit: str = "line"
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taken:
    """What became of the lines.

    Attributes:
        rows: those that are used, each key once.
        useless: what is to be told where no line could be used.
    """

    rows: DataFrame
    useless: tuple[str, ...] = ()


def load_impressions(
    lake: Lakehouse, run: JobRun, frames: Frames, given: Given, *, unread: set[str]
) -> Taken:
    """Write impressions and click_history.

    Args:
        lake, run, frames: as the job has them.
        given: as module behaviors takes them.
        unread: tables with which nothing is compared, as all of it is replaced, or they are new. (Two first
            runs at once do not double them either: each puts its rows in place of the split.)
    """
    parsed = given.parsed
    counted = take_stock(union(parsed), behaviors.KEY)
    stock = {split: counted.get(split, Stock()) for split in parsed}  # an empty file has no line to count
    total = sum(stock.values(), Stock())
    tell_stock(run, given, total)
    filled = {table: set() if table in unread else filled_splits(lake, table, list(parsed)) for table in ROWS}
    stored = _stored(lake, sorted(set().union(*filled.values())))
    contested = total.repeated_keys > 0 or stored is not None
    judged = frames.keep(judge(behaviors.claims(union(parsed), stored, given.more))) if contested else None
    verdicts = tally(judged, *_FOUND_IN.values())
    quarantined = _quarantine(lake, run, given, total, verdicts, judged, "impression_id")
    used = 0
    useless = _nothing_usable(given, total)
    # With --replace nothing at all would take the place of what is there.
    for table in () if useless else ROWS:
        # All splits that have no row yet are written at once, and so are those that have some.
        for there in (False, True):
            of_splits = {split: frame for split, frame in parsed.items() if (split in filled[table]) == there}
            if of_splits:
                lines_in_table = _write(lake, run, table, of_splits, stock, verdicts, judged, there=there)
                # The table that has one row per line.
                used += lines_in_table if table == "click_history" else 0
    close(
        run,
        given,
        Ledger(given.kind, f"{given.unit}s", total.lines, used, lines_of(verdicts, DUPLICATE), quarantined),
    )
    rows = union({split: _usable(parsed[split], stock[split]) for split in parsed})
    aside = sum(row["lines"] for row in verdicts if row["outcome"] != USE)
    return Taken(
        rows if judged is None or not aside else without(rows, judged.where(F.col("outcome") != USE), aside),
        tuple(useless),
    )


def take_in(
    lake: Lakehouse,
    run: JobRun,
    frames: Frames,
    given: Given,
    *,
    key: Sequence[str],
    claims: Callable[[DataFrame], DataFrame],
    rows: Callable[[DataFrame], DataFrame],
) -> Taken:
    """Lines of which the files decide among themselves what is used; what cannot be used goes to quarantine.

    Args:
        lake, run, frames: as the job has them.
        given: the lines.
        key: what two lines must not both claim to be: columns of the lines, the last of which names it in the
            reason.
        claims: makes of lines what verdicts.verdicts takes.
        rows: makes of lines the rows, one of each, which are kept.
    """
    parsed = union(given.parsed)
    total = sum(take_stock(parsed, key).values(), Stock())
    tell_stock(run, given, total)
    judged = frames.keep(judge(claims(parsed))) if total.repeated_keys else None
    verdicts = tally(judged)
    quarantined = _quarantine(lake, run, given, total, verdicts, judged, key[-1])
    usable = _usable(parsed, total)
    if judged is not None:
        usable = without(usable, judged, sum(row["lines"] for row in verdicts))
    kept = frames.keep(rows(usable))
    ledger = Ledger(
        given.kind, f"{given.unit}s", total.lines, kept.count(), lines_of(verdicts, DUPLICATE), quarantined
    )
    close(run, given, ledger)
    return Taken(kept, tuple(_nothing_usable(given, total)))


def _write(
    lake: Lakehouse,
    run: JobRun,
    table: str,
    parsed: Mapping[str, DataFrame],
    stock: Mapping[str, Stock],
    verdicts: list[Row],
    judged: DataFrame | None,
    *,
    there: bool,
) -> int:
    """Write the usable lines of some splits to a table, in one commit; returns the rows that came in, and the
    lines that were in it before.

    Args:
        lake, run: as in the job.
        table: impressions or click_history.
        parsed: the lines by split.
        stock: of every split.
        verdicts: what `tally` gives of `judged`.
        judged: verdicts on lines with a repeated key, None where there are none.
        there: whether the splits have rows in the table already.
    """
    of_splits = [row for row in verdicts if row["split"] in parsed]
    aside = sum(row["lines"] for row in of_splits if row["outcome"] != USE or row[_FOUND_IN[table]])
    found = sum(row["lines"] for row in of_splits if row["outcome"] == USE and row[_FOUND_IN[table]])
    if there and sum(stock[split].usable for split in parsed) <= aside:
        run.wrote(table, 0)
        return found
    rows = union({split: _usable(frame, stock[split]) for split, frame in parsed.items()})
    if judged is not None:
        rows = without(rows, judged.where((F.col("outcome") != USE) | F.col(_FOUND_IN[table])), aside)
    inserted = write_splits(lake, run, table, ROWS[table](rows), list(parsed), there=there)
    return inserted + found


def write_splits(
    lake: Lakehouse, run: JobRun, table: str, rows: DataFrame, splits: Sequence[str], *, there: bool
) -> int:
    """Write rows of some splits in one commit: beside what these hold, or, where they hold nothing, in place
    of it. Returns how many."""
    written = (
        lake.merge(table, rows, update=False) if there else lake.replace(table, rows, where={"split": splits})
    )
    run.wrote(table, written.inserted)
    run.progress(f"{', '.join(splits)}: {written.inserted:,} rows to {table}")
    return written.inserted


def filled_splits(lake: Lakehouse, table: str, splits: Sequence[str]) -> set[str]:
    """Those of the splits that have rows in the table."""
    first = {
        split: lake.read(table).where(F.col("split") == split).select("split").limit(1) for split in splits
    }
    return {row["split"] for row in union(first).collect()}


def tell_stock(run: JobRun, given: Given, total: Stock) -> None:
    """Count the lines in, and say how many there are."""
    run.rows_in(total.lines)
    run.progress(f"{total.lines:,} {given.unit}s of {given.kind}, {total.unusable:,} of them unusable")


def close(run: JobRun, given: Given, ledger: Ledger) -> None:
    """Note what became of the lines.

    Raises:
        JobFailed: it does not add up.
    """
    run.fact(f"{given.kind} {given.unit}s", ledger.lines)
    run.fact(f"{given.kind} {given.unit}s used", ledger.used)
    run.fact(f"{given.kind} {given.unit}s that are exact duplicates", ledger.duplicates)
    ledger.check()


def count_unmatched(lake: Lakehouse, run: JobRun, shown: DataFrame) -> None:
    """Note how many candidates and history entries, in the tables as they are now, name an article that news
    lacks.

    Args:
        lake, run: as the job has them.
        shown: what articles.first_shown gives, of everything in impressions.
    """
    # By 64 bits of the ids, which are looked up in half the time that texts are. With a million articles and
    # 100 million other ids, one of these ids would be taken for an article once in
    # 180,000 runs; and this is a note of the run.
    key, _ = id_hashes("news_id")
    clicked = (
        lake.read("click_history")
        .select(F.explode("news_ids").alias("news_id"))
        .select(key, F.lit(1).alias("times"))
    )
    articles = lake.read("news").select(key)
    # A look-up for each of millions of clicks costs half of grouping them.
    if articles.count() <= _BROADCAST_ARTICLES:
        articles = F.broadcast(articles)
    else:
        clicked = clicked.groupBy("id_hash").agg(F.count("*").alias("times"))
    kinds = {"candidates": shown.select("id_hash", "times"), "history entries": clicked}
    ids = union({kind: rows.withColumn("kind", F.lit(kind)) for kind, rows in kinds.items()})
    unmatched = (
        ids.join(articles, on="id_hash", how="left_anti").groupBy("kind").agg(F.sum("times").alias("times"))
    )
    found = {row["kind"]: int(row["times"]) for row in unmatched.collect()}
    for kind in kinds:
        run.fact(f"{kind} without an article", found.get(kind, 0))


def _quarantine(
    lake: Lakehouse,
    run: JobRun,
    given: Given,
    total: Stock,
    verdicts: Sequence[Row],
    judged: DataFrame | None,
    key: str,
) -> int:
    if not total.unusable and not lines_of(verdicts, CONFLICT):
        return 0
    count = send(lake, run, given.rejected(set_aside(union(given.parsed), judged, key)), job=run.job)
    run.progress(f"{count:,} {given.unit}s to quarantine")
    return count


def _nothing_usable(given: Given, total: Stock) -> list[str]:
    if not total.lines or total.usable:
        return []
    return [
        nothing_usable(
            f"{given.unit} of {given.kind}", total.lines, commonest(union(given.parsed), "problem")
        )
    ]


def _usable(parsed: DataFrame, stock: Stock) -> DataFrame:
    """The lines without a problem. Where stock found none the checks are not made again: they cost as much as
    the parsing."""
    return parsed.where(F.col("problem").isNull()) if stock.unusable else parsed


def _stored(lake: Lakehouse, splits: list[str]) -> DataFrame | None:
    """What the tables say of the splits that have rows already."""
    if not splits:
        return None
    impressions, history = (lake.read(table).where(F.col("split").isin(splits)) for table in ROWS)
    return behaviors.stored_fingerprints(impressions, history)
