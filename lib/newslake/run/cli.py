"""The one way in for every job: its function's signature is its command line; settings, logging and exit
status are decided here.

Exit status: 0 done, 1 the job failed, 2 the user's mistake (one line on stderr that says what to do).
"""

import inspect
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.config import Dict as ConfigValues

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.checkpoints import checkpoints
from newslake.run.faults import explained
from newslake.run.jobrun import JobRun, first_line, log, masked, recorded
from newslake.run.lineage import checked_place, traced
from newslake.run.settings import SettingsFile, load_settings_file
from newslake.spark.session import quiet, spark_session

JobFunction = Callable[..., None]
LogLevel = Literal["debug", "info", "warning", "error"]

_WHERE = Group("Where the tables live", sort_key=10)
_HOW = Group("How the job runs", sort_key=11)

# Options that every job has. Kept as one signature, so that their names, types, defaults and help stand in
# one place.


def _shared(
    *,
    lakehouse: Annotated[str | None, Parameter(group=_WHERE)] = None,
    catalog: Annotated[str | None, Parameter(group=_WHERE)] = None,
    schema: Annotated[str | None, Parameter(group=_WHERE)] = None,
    work_folder: Annotated[str | None, Parameter(group=_WHERE)] = None,
    config: Annotated[str | None, Parameter(group=_HOW)] = None,
    lineage: Annotated[str | None, Parameter(group=_HOW)] = None,
    log_level: Annotated[LogLevel, Parameter(group=_HOW)] = "info",
) -> None:
    """Options of every job.

    Args:
        lakehouse: Folder or URI that holds the tables (default: ./lakehouse, unless --schema is given).
        catalog: Catalog of the tables, where they are names in a metastore or Unity Catalog.
        schema: Schema of the tables, where they are names in a metastore or Unity Catalog.
        work_folder: Folder or URI for what is kept beside the tables: staged examples, models, checkpoints,
            scratch files, feeds, the report, Milvus Lite's file (default: the lakehouse itself).
        config: Settings file in YAML, or the name of one that ships with newslake, such as local.
        lineage: File or address (http://...) that OpenLineage events go to: which job read and wrote which
            tables (default: none).
        log_level: How much to say on stderr.
    """


def main(job: JobFunction, argv: Sequence[str] | None = None) -> None:
    """Run one job from the command line, and exit with its status unless it is done.

    Args:
        job: `job(lake, run, *, option=default, ...)`; its docstring gives the help texts.
        argv: the arguments; by default those of the process.
    """
    use_utc()
    # After the error is let go, and with it all frames: in a session of Spark Connect one that its server
    # holds can keep Python from its end for ever.
    status, line = _attempt(job, list(sys.argv[1:] if argv is None else argv))
    if line:
        print(line, file=sys.stderr, flush=True)
    if status:
        sys.exit(status)


def _attempt(job: JobFunction, arguments: list[str]) -> tuple[int, str]:
    """Run the job; returns the exit status and, where it is not done, the line that says why."""
    name = job.__name__
    lake: Lakehouse | None = None
    try:
        settings_file = load_settings_file(_given(arguments, "config"))
        parsed = _parse(job, arguments, settings_file)
        if parsed is None:  # --help has been printed
            return 0, ""
        own, shared = parsed
        set_logging(shared["log_level"])
        settings_file = replace(settings_file, lineage=checked_place(shared["lineage"]))
        spark = spark_session(f"newslake {name}", extra=settings_file.spark)
        quiet(spark)
        lake = lakehouse_at(
            spark, **{part: shared[part] for part in ("lakehouse", "catalog", "schema", "work_folder")}
        )
        run_job(job, lake, own, settings_file=settings_file)
        return 0, ""
    except UserError as error:
        return 2, f"{name}: {' '.join(str(error).split())}"
    except JobFailed as error:
        return 1, f"{name}: failed: {error}"
    except KeyboardInterrupt:
        return 130, f"{name}: interrupted"
    except Exception as error:
        fault = explained(error, [lake.root if lake is not None else None, tempfile.gettempdir()])
        if fault is None or log.isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        if fault is None:
            return 1, f"{name}: failed: {first_line(error)}"
        return fault.status, f"{name}: {'failed: ' if fault.status == 1 else ''}{fault.line}"


def run_job(
    job: JobFunction,
    lake: Lakehouse,
    options: Mapping[str, Any],
    facts: Mapping[str, str] | None = None,
    settings_file: SettingsFile | None = None,
) -> JobRun:
    """Run one job in a session that is there already, and keep the run in job_starts and job_runs.

    Args:
        job: the job's function.
        lake: where the tables live.
        options: the job's own options by name, those of a group (a dataclass) by their own names or as one
            value under the group's; those left out take their defaults.
        facts: what to note in job_runs beside what the job itself notes.
        settings_file: the settings file that the options came from, for a job that runs other jobs.
    """
    run = JobRun(job.__name__, _all_options(job, options), settings_file)
    run.facts.update(facts or {})
    with recorded(lake, run), traced(lake, run), checkpoints(lake):
        job(lake, run, **grouped(job, options))
    run.progress(f"done: {run.summary()}")
    return run


def job_options(
    job: JobFunction, arguments: Sequence[str], settings_file: SettingsFile | None = None
) -> dict[str, Any]:
    """A job's own options, by name, as its command line and settings file give them; those of a group by
    their own names.

    Raises:
        UserError: an argument is unknown or of the wrong type, or a required one is missing.
    """
    parsed = _parse(job, arguments, settings_file or SettingsFile())
    if parsed is None:
        raise UserError(f"{job.__name__}: --help is not an option here")
    return parsed[0]


def settings_of(job: JobFunction, options: Mapping[str, Any]) -> dict[str, str]:
    """A job's options as job_runs keeps them: every one with its value, as text, credentials masked."""
    return {name: masked(name, value) for name, value in _all_options(job, options).items()}


def lakehouse_at(
    spark: Any,
    lakehouse: str | None = None,
    catalog: str | None = None,
    schema: str | None = None,
    work_folder: str | None = None,
) -> Lakehouse:
    """The tables that the shared options name: ./lakehouse where they name none."""
    if lakehouse is None and catalog is None and schema is None:
        lakehouse = "lakehouse"
    return Lakehouse(
        spark, _absolute(lakehouse), catalog=catalog, schema=schema, work_folder=_absolute(work_folder)
    )


def _absolute(place: str | None) -> str | None:
    """A path of this machine from its root; a URI as it is."""
    return place if place is None or "://" in place or place.startswith("dbfs:") else os.path.abspath(place)


def defaults_of(job: JobFunction) -> dict[str, Any]:
    """A job's own options with their defaults, those of a group (a dataclass) by their own names; a required
    one has Parameter.empty."""
    return _flat({name: parameter.default for name, parameter in _own_parameters(job).items()})


def _all_options(job: JobFunction, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**defaults_of(job), **_flat(options)}


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name, with the fields of a group (a dataclass) in place of the group: as they stand on the
    command line."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        is_group = is_dataclass(value) and not isinstance(value, type)
        found.update(
            {field.name: getattr(value, field.name) for field in fields(value)} if is_group else {name: value}
        )
    return found


def grouped(job: JobFunction, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name, those of a group (a dataclass) by their own names, as the job's function takes
    them."""
    given = dict(options)
    for name, parameter in _own_parameters(job).items():
        group: Any = parameter.default
        if is_dataclass(group) and not isinstance(group, type) and name not in given:
            own = {field.name: given.pop(field.name) for field in fields(group) if field.name in given}
            if own:
                given[name] = replace(group, **own)
    return given


def _own_parameters(job: JobFunction) -> dict[str, inspect.Parameter]:
    # The first two, lake and run, are ours to give.
    return dict(list(inspect.signature(job).parameters.items())[2:])


def command_line(job: JobFunction, settings_file: SettingsFile | None = None) -> App:
    """The job's command line: its own options, those of every job, and their help texts.

    Args:
        job: the job's function.
        settings_file: gives values to options that the command line leaves out.
    """
    own = _own_parameters(job)
    shared = dict(inspect.signature(_shared).parameters)

    def command(**values: Any) -> dict[str, Any]:
        return values

    parameters = [*own.values(), *shared.values()]
    command.__name__ = job.__name__
    command.__doc__ = _with_shared_help(job)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    names = defaults_of(job)
    settings_file = settings_file or SettingsFile()
    values = settings_file.options(job.__name__, {name.replace("_", "-") for name in (*names, *shared)})
    app = App(
        name=f"{job.__name__}.py",
        default_command=command,
        default_parameter=Parameter(negative_iterable=(), consume_multiple=True),
        config=ConfigValues(values, source=settings_file.source, use_commands_as_keys=False),
        version_flags=(),
        help_format="plaintext",
        result_action="return_value",
    )
    app["--help"].group = _HOW
    return app


def _parse(
    job: JobFunction, arguments: Sequence[str], settings_file: SettingsFile
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The job's own options and the shared ones, or None where only help was asked for."""
    own = _own_parameters(job)
    shared = dict(inspect.signature(_shared).parameters)
    app = command_line(job, settings_file)
    try:
        # With exit_on_error and print_error off, what is wrong reaches us and becomes one line.
        result = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UserError(f"{' '.join(str(error).split())} (see --help)") from None
    if result is None:
        return None
    given = {**{name: p.default for name, p in shared.items()}, **result}
    return _flat({name: given[name] for name in own if name in given}), {name: given[name] for name in shared}


def _with_shared_help(job: JobFunction) -> str:
    """The job's docstring, its Args continued by those of the shared options.

    Paragraphs and entries become one line each: a terminal's width wraps them, not that of the source.
    """
    text, _, rest = (inspect.getdoc(job) or "").partition("Args:\n")
    shared = (inspect.getdoc(_shared) or "").partition("Args:\n")[2]
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]
    entries = [
        line
        for part in (rest.split("\n\n", 1)[0], shared)
        for line in re.sub(r"\n {5,}", " ", part).splitlines()
    ]
    return "\n\n".join([*paragraphs, "\n".join(["Args:", *entries])])


def _given(arguments: Sequence[str], option: str) -> str | None:
    """The value of one option, looked up before the rest can be parsed."""
    for place, argument in enumerate(arguments):
        if argument.startswith(f"--{option}="):
            return argument.split("=", 1)[1]
        if argument == f"--{option}" and place + 1 < len(arguments):
            return arguments[place + 1]
    return None


def set_logging(level: str) -> None:
    """Say on stderr what jobs report, from this level on."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log.setLevel(level.upper())
    # PySpark repeats each failed query as a page of JSON; the exception itself says it, and cli prints that.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)


def use_utc() -> None:
    """Set the process's clock to UTC."""
    # Python turns Spark's timestamps into the process's local time: UTC everywhere means here too.
    os.environ["TZ"] = "UTC"
    if hasattr(time, "tzset"):
        time.tzset()
