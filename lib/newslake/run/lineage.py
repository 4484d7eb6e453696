"""Lineage of jobs and tables as OpenLineage events (openlineage.io): which run read and wrote which tables,
to a file or a server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_names
from newslake.run.jobrun import JobRun, first_line, log, masked

if TYPE_CHECKING:
    from openlineage.client import event_v2 as ol
    from openlineage.client.transport import Transport

_PRODUCER = "urn:newslake"
_NAMESPACE = "newslake"
_TIMEOUT_S = 5.0  # twice a job at most: what a server that is silent costs
_STREAMS = "stream_"


def checked_place(where: str | None) -> str | None:
    """Where events go, as --lineage says.

    Raises:
        UserError: it is neither a server's address nor a file in a folder that is there.
    """
    if where is None or where.startswith(("http://", "https://")):
        return where
    if "://" in where:
        raise UserError(
            f"--lineage {masked('', where)}: takes an address with http:// or https://, or a file on this"
            " machine"
        )
    folder = os.path.dirname(os.path.abspath(where))
    if os.path.isdir(where) or not os.path.isdir(folder):
        raise UserError(
            f"--lineage {where}: give a file in a folder that is there; events are added to it, one a line"
        )
    return where


@contextmanager
def traced(lake: Lakehouse, run: JobRun) -> Iterator[None]:
    """Tell of a run: START before it, COMPLETE or FAIL after it, with the tables that it read and wrote. Off
    where nothing says where to.

    An event that cannot be delivered is told of in one line, and changes nothing else.
    """
    where = run.settings_file.lineage
    if where is None:
        yield
        return
    _send(where, lake, run, "START", ())
    with lake.noting_reads() as read:
        try:
            yield
        except BaseException as error:
            state = "FAIL" if isinstance(error, Exception) else "ABORT"
            _send(where, lake, run, state, read, first_line(error))
            raise
    _send(where, lake, run, "COMPLETE", read)


def _send(
    where: str, lake: Lakehouse, run: JobRun, state: str, read: Iterable[str], message: str | None = None
) -> None:
    try:
        transport = _transport(where)
        transport.emit(_event(lake, run, state, sorted(read), message))
        transport.close()
    except Exception as error:
        # Whoever reads the lineage misses an event; who waits for the tables must not miss them.
        log.warning(
            "%s: the %s event did not reach %s: %s", run.job, state, masked("", where), first_line(error)
        )


def _transport(where: str) -> Transport:
    # Imported where it is asked for: it takes half a second.
    from openlineage.client.transport.file import FileConfig, FileTransport
    from openlineage.client.transport.http import (
        ApiKeyTokenProvider,
        HttpConfig,
        HttpTransport,
        TokenProvider,
    )

    if not where.startswith(("http://", "https://")):
        return FileTransport(FileConfig(log_file_path=os.path.abspath(where), append=True))
    key = os.environ.get("OPENLINEAGE_API_KEY")
    auth = ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({})
    return HttpTransport(HttpConfig(url=where, timeout=_TIMEOUT_S, auth=auth, retry={"total": 0}))


def _event(lake: Lakehouse, run: JobRun, state: str, read: Iterable[str], message: str | None) -> ol.RunEvent:
    from openlineage.client import event_v2 as ol
    from openlineage.client import facet_v2 as facets

    facets.set_producer(_PRODUCER)
    counts = {"run_id": run.run_id, "rows_in": run.rows_read, "rows_quarantined": run.rows_rejected}
    tags = [
        facets.tags_run.TagsRunFacetFields(name, str(value), "newslake")
        for name, value in counts.items()
        if value is not None
    ]
    about: dict[str, facets.RunFacet] = {"tags": facets.tags_run.TagsRunFacet(tags)}
    if message is not None:
        about["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(message, "Python")
    kind = "STREAMING" if run.job.startswith(_STREAMS) else "BATCH"
    job: dict[str, facets.JobFacet] = {
        "jobType": facets.job_type_job.JobTypeJobFacet(
            processingType=kind, integration="NEWSLAKE", jobType="JOB"
        )
    }
    known = set(table_names())
    wrote = {table: rows for table, rows in run.rows_written.items() if table in known}
    if run.rows_rejected:
        wrote["quarantine"] = run.rows_rejected
    return ol.RunEvent(
        eventType=ol.RunState[state],
        eventTime=datetime.now(UTC).isoformat(),
        # Theirs is a UUID: the same for the same run.
        run=ol.Run(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{_PRODUCER}:{run.run_id}")), about),
        job=ol.Job(_NAMESPACE, run.job, job),
        inputs=[ol.InputDataset(*dataset_name(lake, table)) for table in read],
        outputs=[_output(lake, table, rows) for table, rows in sorted(wrote.items())],
        producer=_PRODUCER,
    )


def _output(lake: Lakehouse, table: str, rows: int) -> ol.OutputDataset:
    from openlineage.client import event_v2 as ol
    from openlineage.client import facet_v2 as facets

    fields = [
        facets.schema_dataset.SchemaDatasetFacetFields(
            field.name, field.dataType.simpleString(), field.metadata.get("comment")
        )
        for field in lake.schema(table)
    ]
    counted = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    return ol.OutputDataset(
        *dataset_name(lake, table),
        facets={"schema": facets.schema_dataset.SchemaDatasetFacet(fields)},
        outputFacets={"outputStatistics": counted},
    )


def dataset_name(lake: Lakehouse, table: str) -> tuple[str, str]:
    """Namespace and name of a table, as OpenLineage names data sets: what Spark's own integration calls the
    same folder.

    Tables that are names in a metastore have `newslake` as their namespace.
    """
    if lake.root is None:
        return _NAMESPACE, f"{str(lake).replace('`', '')}.{table}"
    parts = urlsplit(lake.root)
    scheme = {"s3a": "s3", "s3n": "s3"}.get(parts.scheme, parts.scheme)
    if scheme in ("", "file"):
        return "file", f"{parts.path}/{table}"
    return f"{scheme}://{parts.netloc}", f"{parts.path.strip('/')}/{table}".lstrip("/")
