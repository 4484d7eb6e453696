"""The job parse_behaviors: MIND's files -> news, impressions, click_history; what cannot be used ->
quarantine."""

from collections.abc import Mapping

from pyspark.sql import DataFrame

from newslake.errors import JobFailed, UserError
from newslake.intake.articles import first_shown
from newslake.intake.lines import as_rejected, numbered, read_lines
from newslake.intake.load import ROWS, Given, count_unmatched, load_impressions, take_in
from newslake.intake.sources.mind import behaviors, news
from newslake.intake.sources.mind.files import KINDS, find_sources
from newslake.intake.stock import union
from newslake.intake.verdicts import SPLITS
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames


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

    A PATH is a folder that holds news.tsv and behaviors.tsv (or numbered parts such as behaviors-00003.tsv),
    plain or compressed, a single file whose name begins with news or behaviors, or a glob pattern; any URI
    that Spark reads. A path that is there as it is written is no pattern, whatever it holds.

    What is there already stays, and reading the same files again changes nothing: an impression that is there
    with other content keeps what it has, and the line goes to quarantine. An article that is there takes what
    the files say now, except that of one which another source brought (it has a body or an updated_at) only
    what it lacks is filled in. published_at of the articles follows the table impressions: the first time
    that each was shown.

    Lines that cannot be used go to the table quarantine with their reason. Where no line at all could be
    used, the job fails.

    Args:
        train: Folders or files of the training split.
        dev: Folders or files of the validation split.
        test: Folders or files of the test split, whose candidates need no labels.
        test_labels: Say --no-test-labels where the candidates of test are ids that may end in -0 or -1
            themselves, --test-labels where all of them carry labels (default: those of a line do where one of
            them ends in -0 or -1).
        replace: Make the given behaviors files the whole of their splits, whatever was there before. Articles
            are only added or updated.
    """
    sources = find_sources(
        lake.spark, {split: paths or () for split, paths in zip(SPLITS, (train, dev, test), strict=True)}
    )
    if not sources:
        raise UserError("nothing to read: give folders with MIND's files to --train, --dev or --test")
    run.progress(f"reading {sum(len(source.files) for source in sources)} files")
    new = {table for table in (*ROWS, "news", "quarantine") if lake.create(table)}
    of_kind = {kind: read_lines(lake.spark, [s for s in sources if s.kind == kind]) for kind in KINDS}
    # The articles come last: their published_at is read from the impressions. Whatever is killed in between,
    # a rerun of the whole job completes, since every write before it changes nothing the second time.
    useless: list[str] = []
    if lines := of_kind["behaviors"]:
        parsed = {split: behaviors.parse_lines(frame, test_labels) for split, frame in lines.items()}
        with Frames() as frames:
            taken = load_impressions(
                lake, run, frames, _given("behaviors", lines, parsed), unread=set(ROWS) if replace else new
            )
        useless += taken.useless
    useless += _load_news(lake, run, of_kind["news"])
    if useless:
        raise JobFailed("; ".join(useless))


def _load_news(lake: Lakehouse, run: JobRun, lines: Mapping[str, DataFrame]) -> tuple[str, ...]:
    """Write news; returns what is to be told where no line could be used."""
    useless: tuple[str, ...] = ()
    with Frames() as frames:
        shown = frames.keep(first_shown(lake.read("impressions")))
        stored = lake.read("news")
        files = stored.limit(0)
        if lines:
            parsed = {split: news.parse_lines(frame) for split, frame in lines.items()}
            given = _given("news", lines, parsed)
            taken = take_in(lake, run, frames, given, key=news.KEY, claims=news.claims, rows=news.articles)
            files, useless = taken.rows, taken.useless
        written = lake.merge("news", news.merged(files, stored, shown))
        run.wrote("news", written.rows)
        run.progress(f"{written.rows:,} rows to news")
        count_unmatched(lake, run, shown)
    return useless


def _given(kind: str, lines: Mapping[str, DataFrame], parsed: Mapping[str, DataFrame]) -> Given:
    return Given(kind, parsed, lambda rejected: as_rejected(numbered(rejected, union(lines))))
