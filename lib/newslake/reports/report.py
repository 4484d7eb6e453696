"""write_report: one HTML file on what the tables hold, for people to look at."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from newslake.errors import UserError
from newslake.files.remote import Place, RemotePath
from newslake.files.work import beside, place_of
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.reports.decisions import gather_decisions
from newslake.reports.gantt import gather_gantt
from newslake.reports.headline import headline, tiles
from newslake.reports.intake import gather_quarantine, gather_tables
from newslake.reports.models import gather_models
from newslake.reports.online import gather_online, gather_quality
from newslake.reports.page import rendered
from newslake.reports.readers import gather_newsfeed, gather_reuse
from newslake.reports.runs import gather_runs
from newslake.reports.topicmap import gather_topics
from newslake.reports.votes import gather_classifiers, gather_vote
from newslake.run.jobrun import JobRun


@dataclass(frozen=True)
class Section:
    """What one section of the page shows: its content, or what has to be built first."""

    content: Any = None
    missing: tuple[str, ...] = ()  # tables that are not there
    built_by: tuple[str, ...] = ()  # the jobs that build them


def write_report(lake: Lakehouse, run: JobRun, *, out: str | None = None, user: str | None = None) -> None:
    """Write one HTML file that shows what the tables hold, and print its path.

    It shows rows per job, the recommenders' metrics per epoch, which models came into use and why, one
    reader's newsfeed, what newsfeeds are like and how often they were clicked, a map of the topics, reuse of
    tag phrases over the days, the vote on short texts, quarantine by reason, when each job ran and how long,
    and the sizes of the tables. A table that is not there yet leaves a note of the job that builds it. The
    file needs no network and loads nothing; open it in any browser, or send it.

    Args:
        out: The file to write (default: _report/report.html in the work folder); a URI of object storage too.
        user: Whose newsfeed to show (default: the reader with the most articles found by own vectors).
    """
    path = _path(lake, out)
    gathered = gather(lake, run, user)
    text = rendered(
        sections=gathered,
        headline=headline(gathered),
        tiles=tiles(gathered),
        lakehouse=str(lake),
        written_at=datetime.now(UTC),
    )
    _write(path, text)
    run.fact("report", path)
    run.fact("bytes", len(text.encode()))
    print(path)


def gather(lake: Lakehouse, run: JobRun, user: str | None = None) -> dict[str, Section]:
    """Each section's content by name, every table asked by aggregates or for a few rows."""
    wanted: dict[str, tuple[tuple[str, ...], Callable[[Lakehouse], object]]] = {
        "tables": ((), gather_tables),
        "runs": (("job_runs",), partial(gather_runs, leave_out=run.run_id)),
        "gantt": (("job_runs",), partial(gather_gantt, leave_out=run.run_id)),
        "models": (("model_metrics",), gather_models),
        "decisions": (("promotions",), gather_decisions),
        "newsfeed": (("newsfeed", "news"), partial(gather_newsfeed, user=user)),
        "quality": (("feed_quality",), gather_quality),
        "online": (("impressions", "newsfeed"), gather_online),
        "topics": (("topics",), gather_topics),
        "reuse": (("tag_phrase_matches",), gather_reuse),
        "vote": (("short_text_votes",), gather_vote),
        "classifiers": (("text_classifiers",), gather_classifiers),
        "quarantine": (("quarantine",), gather_quarantine),
    }
    sections = {}
    for name, (needs, content) in wanted.items():
        missing = tuple(table for table in needs if not lake.exists(table))
        built_by = tuple(dict.fromkeys(table_spec(table).written_by for table in missing))
        sections[name] = Section(missing=missing, built_by=built_by) if missing else Section(content(lake))
    shown = [name for name, section in sections.items() if section.content]
    run.progress(f"read what the tables say: {', '.join(shown) or 'nothing is built yet'}")
    return sections


def _path(lake: Lakehouse, out: str | None) -> Place:
    """The file to write, its folder made.

    Raises:
        UserError: nothing says where, or the folder cannot be made.
    """
    if out is None and lake.root is not None and os.path.isabs(lake.root) and not os.path.isdir(lake.root):
        raise UserError(
            f"there is no lakehouse in {lake.root}: say where the tables are with --lakehouse FOLDER"
        )
    path = place_of(lake, beside(lake, "_report/report.html", "--out", out))
    if isinstance(path, RemotePath):
        try:
            path.opened()
        except UserError as error:
            raise UserError(f"--out {path}: {error}") from None
        return path
    if path.is_dir():
        raise UserError(f"--out {out} is a folder: give a file, such as {path / 'report.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: the folder cannot be made: {error.strerror}") from None
    return path


def _write(path: Place, text: str) -> None:
    """All of the file or nothing: one that a browser has open is never half of it."""
    if isinstance(path, RemotePath):
        try:
            path.write_text(text)
        except OSError as error:
            raise UserError(
                f"--out {path}: the file cannot be written: {' '.join(str(error).split())}"
            ) from None
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".html")
    except OSError as error:
        raise UserError(f"--out {path}: the file cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
