"""The job parse_behaviors: MIND's files -> news, impressions, click_history; what cannot be used -> quarantine."""

from collections.abc import Mapping

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.frames import Frames
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.mind import behaviors, news
from newslake.mind.intake import Ledger, Stock, judge, rejects, take_stock, tally, union, without
from newslake.mind.lines import CONFLICT, DUPLICATE, USE, read_lines
from newslake.mind.sources import KINDS, SPLITS, find_sources
from newslake.quarantine import commonest, nothing_usable, send

_ROWS = {"impressions": behaviors.impressions, "click_history": behaviors.click_history}
_BROADCAST_ARTICLES = 1_000_000  # ids of up to so many articles are sent to every executor (some 50 MB)
_FOUND_IN = {"impressions": "in_impressions", "click_history": "in_history"}


def parse_behaviors(
    lake: Lakehouse,
    run: JobRun,
    *,
    train: list[str] | None = None,
    dev: list[str] | None = None,
    test: list[str] | None = None,
    test_labels: bool | None = None,
    replace: bool = False,
) -> None:
    """Read MIND's news.tsv and behaviors.tsv into the tables news, impressions and click_history.

    A PATH is a folder that holds news.tsv and behaviors.tsv (or numbered parts such as behaviors-00003.tsv), plain or
    compressed, a single file whose name begins with news or behaviors, or a glob pattern; any URI that Spark reads. A path that
    is there as it is written is no pattern, whatever it holds.

    What is there already stays, and reading the same files again changes nothing: an impression that is there with other
    content keeps what it has, and the line goes to quarantine. An article that is there takes what the files say now, except
    that of one which another source brought (it has a body or an updated_at) only what it lacks is filled in.
    published_at of the articles follows the table impressions: the first time that each was shown.

    Lines that cannot be used go to the table quarantine with their reason. Where no line at all could be used, the job fails.

    Args:
        train: Folders or files of the training split.
        dev: Folders or files of the validation split.
        test: Folders or files of the test split, whose candidates need no labels.
        test_labels: Say --no-test-labels where the candidates of test are ids that may end in -0 or -1 themselves, --test-labels where
            all of them carry labels (default: those of a line do where one of them ends in -0 or -1).
        replace: Make the given behaviors files the whole of their splits, whatever was there before. Articles are only added
            or updated.
    """
    sources = find_sources(lake.spark, {split: paths or () for split, paths in zip(SPLITS, (train, dev, test), strict=True)})
    if not sources:
        raise UserError("nothing to read: give folders with MIND's files to --train, --dev or --test")
    run.progress(f"reading {sum(len(source.files) for source in sources)} files")
    new = {table for table in (*_ROWS, "news", "quarantine") if lake.create(table)}
    of_kind = {kind: read_lines(lake.spark, [s for s in sources if s.kind == kind]) for kind in KINDS}
    # The articles come last: their published_at is read from the impressions. Whatever is killed in between, a rerun of the
    # whole job completes, since every write before it changes nothing the second time.
    useless: list[str] = []
    if of_kind["behaviors"]:
        # Nothing is compared with what a table holds where all of it is replaced, or the table is new. (Two first runs at once
        # do not double it either: each puts its rows in place of the split.)
        parsed = {split: behaviors.parse_lines(frame, test_labels) for split, frame in of_kind["behaviors"].items()}
        useless += _load_behaviors(lake, run, of_kind["behaviors"], parsed, unread=set(_ROWS) if replace else new)
    useless += _load_news(lake, run, of_kind["news"])
    if useless:
        raise JobFailed("; ".join(useless))


def _load_behaviors(
    lake: Lakehouse, run: JobRun, lines: Mapping[str, DataFrame], parsed: Mapping[str, DataFrame], *, unread: set[str]
) -> list[str]:
    """Write impressions and click_history; returns what is to be told where no line could be used."""
    counted = take_stock(union(parsed), behaviors.KEY)
    stock = {split: counted.get(split, Stock()) for split in parsed}  # an empty file has no line to count
    total = sum(stock.values(), Stock())
    run.rows_in(total.lines)
    run.progress(f"{total.lines:,} lines of behaviors, {total.unusable:,} of them unusable")
    filled = {table: set() if table in unread else _filled(lake, table, list(parsed)) for table in _ROWS}
    stored = _stored(lake, sorted(set().union(*filled.values())))
    with Frames() as frames:
        contested = total.repeated_keys > 0 or stored is not None
        judged = frames.keep(judge(behaviors.claims(union(parsed), stored))) if contested else None
        verdicts = tally(judged, *_FOUND_IN.values())
        quarantined = 0
        if total.unusable or _lines(verdicts, CONFLICT):
            quarantined = _quarantine(lake, run, rejects(union(parsed), union(lines), judged, "impression_id"))
        used = 0
        useless = _nothing_usable("behaviors", total, union(parsed))
        # With --replace nothing at all would take the place of what is there.
        for table in () if useless else _ROWS:
            # All splits that have no row yet are written at once, and so are those that have some.
            for there in (False, True):
                of_splits = {split: frame for split, frame in parsed.items() if (split in filled[table]) == there}
                if of_splits:
                    lines_in_table = _write(lake, run, table, of_splits, stock, verdicts, judged, there=there)
                    used += lines_in_table if table == "click_history" else 0  # the table that has one row per line
    _close(run, Ledger("behaviors", total.lines, used, _lines(verdicts, DUPLICATE), quarantined))
    return useless


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
    """Write the usable lines of some splits to a table, in one commit; returns the rows that came in, and the lines that were in it before.

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
    rows = _ROWS[table](rows)
    written = lake.merge(table, rows, update=False) if there else lake.replace(table, rows, where={"split": list(parsed)})
    run.wrote(table, written.inserted)
    run.progress(f"{', '.join(parsed)}: {written.inserted:,} rows to {table}")
    return written.inserted + found


def _load_news(lake: Lakehouse, run: JobRun, lines: Mapping[str, DataFrame]) -> list[str]:
    """Write news; returns what is to be told where no line could be used."""
    told: list[str] = []
    with Frames() as frames:
        shown = frames.keep(news.first_shown(lake.read("impressions")))
        stored = lake.read("news")
        if not lines:
            files = stored.limit(0)
        else:
            parsed = union({split: news.parse_lines(frame) for split, frame in lines.items()})
            total = sum(take_stock(parsed, news.KEY).values(), Stock())
            run.rows_in(total.lines)
            run.progress(f"{total.lines:,} lines of news, {total.unusable:,} of them unusable")
            judged = frames.keep(judge(news.claims(parsed))) if total.repeated_keys else None
            verdicts = tally(judged)
            quarantined = 0
            if total.unusable or _lines(verdicts, CONFLICT):
                quarantined = _quarantine(lake, run, rejects(parsed, union(lines), judged, "news_id"))
            rows = _usable(parsed, total)
            if judged is not None:
                rows = without(rows, judged, sum(row["lines"] for row in verdicts))
            files = frames.keep(news.articles(rows))
        written = lake.merge("news", news.merged(files, stored, shown))
        run.wrote("news", written.rows)
        run.progress(f"{written.rows:,} rows to news")
        if lines:
            _close(run, Ledger("news", total.lines, files.count(), _lines(verdicts, DUPLICATE), quarantined))
            told = _nothing_usable("news", total, parsed)
        _count_unmatched(lake, run, shown)
    return told


def _nothing_usable(kind: str, total: Stock, parsed: DataFrame) -> list[str]:
    return [nothing_usable(f"line of {kind}", total.lines, commonest(parsed, "problem"))] if total.lines and not total.usable else []


def _usable(parsed: DataFrame, stock: Stock) -> DataFrame:
    """The lines without a problem. Where stock found none the checks are not made again: they cost as much as the parsing."""
    return parsed.where(F.col("problem").isNull()) if stock.unusable else parsed


def _stored(lake: Lakehouse, splits: list[str]) -> DataFrame | None:
    """What the tables say of the splits that have rows already."""
    if not splits:
        return None
    impressions, history = (lake.read(table).where(F.col("split").isin(splits)) for table in _ROWS)
    return behaviors.stored_prints(impressions, history)


def _filled(lake: Lakehouse, table: str, splits: list[str]) -> set[str]:
    """Those of the splits that have rows in the table."""
    first = {split: lake.read(table).where(F.col("split") == split).select("split").limit(1) for split in splits}
    return {row["split"] for row in union(first).collect()}


def _quarantine(lake: Lakehouse, run: JobRun, rows: DataFrame) -> int:
    count = send(lake, run, rows, job=run.job)
    run.progress(f"{count:,} lines to quarantine")
    return count


def _close(run: JobRun, ledger: Ledger) -> None:
    run.fact(f"{ledger.kind} lines", ledger.lines)
    run.fact(f"{ledger.kind} lines used", ledger.used)
    run.fact(f"{ledger.kind} lines that are exact duplicates", ledger.duplicates)
    ledger.check()


def _count_unmatched(lake: Lakehouse, run: JobRun, shown: DataFrame) -> None:
    """Candidates and history entries, in the tables as they are now, whose article is not in news."""
    # By 64 bits of the ids, which are looked up in half the time that texts are. With a million articles and 100 million different ids
    # that are none of them, one of these ids would be taken for an article once in 180,000 runs; and this is a note of the run.
    key, _ = news.id_hashes("news_id")
    clicked = lake.read("click_history").select(F.explode("news_ids").alias("news_id")).select(key, F.lit(1).alias("times"))
    articles = lake.read("news").select(key)
    if articles.count() <= _BROADCAST_ARTICLES:  # a look-up for each of millions of clicks costs half of grouping them
        articles = F.broadcast(articles)
    else:
        clicked = clicked.groupBy("id_hash").agg(F.count("*").alias("times"))
    kinds = {"candidates": shown.select("id_hash", "times"), "history entries": clicked}
    ids = union({kind: rows.withColumn("kind", F.lit(kind)) for kind, rows in kinds.items()})
    unmatched = ids.join(articles, on="id_hash", how="left_anti").groupBy("kind").agg(F.sum("times").alias("times"))
    found = {row["kind"]: int(row["times"]) for row in unmatched.collect()}
    for kind in kinds:
        run.fact(f"{kind} without an article", found.get(kind, 0))


def _lines(verdicts: list[Row], outcome: str) -> int:
    return sum(row["lines"] for row in verdicts if row["outcome"] == outcome)
