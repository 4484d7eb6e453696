"""Views over the tables, for people who ask in SQL: permanent where tables are names, temporary where they
are folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse, literal, quoted
from newslake.lake.tablespec import table_names
from newslake.run.jobrun import JobRun


@dataclass(frozen=True)
class View:
    """A view: what a row is, the tables that it reads, and its SELECT, with the tables' names in braces."""

    about: str
    tables: tuple[str, ...]
    select: str


VIEWS: Mapping[str, View] = {
    "clicked_before": View(
        "One row is an article that the user had clicked before an impression; place counts from 0, the"
        " oldest",
        ("click_history",),
        """SELECT split, impression_id, user_id, occurred_at, place, news_id
        FROM {click_history} LATERAL VIEW posexplode(news_ids) AS place, news_id""",
    ),
    "shown": View(
        "One row is one candidate shown to one user, with the hour and what table news says of the article"
        " (NULL where it lacks it)",
        ("impressions", "news"),
        """SELECT i.split, i.impression_id, i.position, i.user_id, i.occurred_at, date_trunc('hour',
          i.occurred_at) AS hour,
          i.news_id, i.clicked, n.category, n.subcategory, n.title
        FROM {impressions} i LEFT JOIN {news} n ON n.news_id = i.news_id""",
    ),
    "every_run": View(
        "One row is one run of one job: as job_runs has it once it has ended, else `running`, also where it"
        " was killed",
        ("job_starts", "job_runs"),
        """SELECT run_id, job, settings, started_at, ended_at, rows_in, rows_out, rows_quarantined, facts,
          outcome, message FROM {job_runs}
        UNION ALL
        SELECT run_id, job, settings, started_at, NULL, rows_in, rows_out, rows_quarantined, facts,
          'running', NULL
        FROM {job_starts} WHERE run_id NOT IN (SELECT run_id FROM {job_runs})""",
    ),
    "last_runs": View(
        "One row is the last complete run of a job (of a job and model, where it trains several)",
        ("job_runs",),
        """SELECT job, last.*
        FROM (
          SELECT concat_ws(' ', job, nullif(settings['model'], 'None')) AS job, max_by(struct(run_id,
            started_at, ended_at,
            (unix_micros(ended_at) - unix_micros(started_at)) / 1e6 AS seconds, rows_in, rows_out,
              rows_quarantined, settings, facts),
            started_at) AS last
          FROM {job_runs} WHERE outcome = 'done' GROUP BY concat_ws(' ', job, nullif(settings['model'],
            'None'))
        )""",
    ),
    "titled_newsfeed": View(
        "One row is one article in the feed of a user for an hour, with its title and category",
        ("newsfeed", "news"),
        """SELECT f.hour, f.user_id, f.rank, f.news_id, n.title, n.category, n.published_at, f.cosine,
          f.ctr, f.score, f.reason
        FROM {newsfeed} f LEFT JOIN {news} n ON n.news_id = f.news_id""",
    ),
    "shown_feeds": View(
        "One row is an article that was shown out of a newsfeed, with the click-through rate that was"
        " estimated for it then; rank is the event's, else the newsfeed's",
        ("impressions", "newsfeed"),
        """SELECT i.split, i.impression_id, i.position, i.user_id, i.occurred_at, i.news_id, i.feed_hour,
          coalesce(i.rank, f.rank) AS rank,
          i.model, f.ctr AS estimated, f.reason, i.clicked
        FROM {impressions} i
        LEFT JOIN {newsfeed} f ON f.hour = i.feed_hour AND f.user_id = i.user_id AND f.news_id = i.news_id
        WHERE i.feed_hour IS NOT NULL""",
    ),
    "reused_phrases": View(
        "One row says where the vector of a tag phrase of a day comes from, with the text of the phrase that"
        " it was made from",
        ("tag_phrase_matches", "tag_phrases"),
        """SELECT m.as_of, m.encoder_id, m.phrase_id, m.decision, m.source_id, m.jaccard,
          s.text AS source_text,
          s.first_seen AS source_first_seen
        FROM {tag_phrase_matches} m LEFT JOIN {tag_phrases} s ON s.phrase_id = m.source_id
          AND s.encoder_id = m.encoder_id""",
    ),
}


def make_views(lake: Lakehouse, run: JobRun, *, out: str | None = None) -> None:
    """Make the views that docs/sql.md asks, so that questions in SQL name tables and views plainly.

    Where the tables are names (--schema), the views are made beside them. Where they are folders, a script of
    temporary views of every table goes to a file, for `spark-sql -i FILE`. Views of tables that are not there
    yet are left out: run it again later.

    Args:
        out: File for the script.
    """
    if lake.root is None and out is not None:
        raise UserError(
            "--out is for tables in folders: with --schema the views are made in the schema itself"
        )
    if lake.root is not None and out is None:
        raise UserError(
            "tables in folders have no lasting views: give --out FILE for a script, then spark-sql -i FILE"
        )
    _add_later_columns(lake)
    if out is None:
        made = _there(lake)
        for name, view in made.items():
            lake.spark.sql(
                f"CREATE OR REPLACE VIEW {lake.sql_name(name)} COMMENT {literal(view.about)} AS"
                f" {_select(lake, view)}"
            )
        run.fact("views", ", ".join(made) or "none: no table is there yet")
        return
    lines = script(lake)
    try:
        Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}") from None
    run.fact("views", len(lines))
    run.fact("script", out)


def script(lake: Lakehouse) -> list[str]:
    """Statements that make temporary views of the tables that are there, by their own names, and of the views
    on them."""
    tables = [
        f"CREATE OR REPLACE TEMPORARY VIEW {quoted(name)} AS SELECT * FROM {lake.sql_name(name)};"
        for name in _tables(lake)
    ]
    plain = {
        name: view.select.format_map({table: quoted(table) for table in view.tables})
        for name, view in _there(lake).items()
    }
    return [
        *tables,
        *(f"CREATE OR REPLACE TEMPORARY VIEW {quoted(name)} AS {select};" for name, select in plain.items()),
    ]


def create_views(lake: Lakehouse) -> list[str]:
    """Temporary views of the tables that are there and of the views on them, in the lakehouse's own session;
    returns their names.

    They show what was there: a table that is made later needs them made again.
    """
    tables = _tables(lake)
    for name in tables:
        lake.read(name).createOrReplaceTempView(name)
    views = _there(lake)
    for name, view in views.items():
        lake.spark.sql(
            view.select.format_map({table: quoted(table) for table in view.tables})
        ).createOrReplaceTempView(name)
    return [*tables, *views]


def _tables(lake: Lakehouse) -> list[str]:
    return [name for name in table_names() if lake.exists(name)]


def _add_later_columns(lake: Lakehouse) -> None:
    """A view names columns that a table of an older version lacks until something is written to it."""
    for name in _tables(lake):
        if set(lake.schema(name).names) - set(lake.spark.table(lake.sql_name(name)).columns):
            lake.create(name)


def _there(lake: Lakehouse) -> dict[str, View]:
    return {name: view for name, view in VIEWS.items() if all(lake.exists(table) for table in view.tables)}


def _select(lake: Lakehouse, view: View) -> str:
    return view.select.format_map({table: lake.sql_name(table) for table in view.tables})
