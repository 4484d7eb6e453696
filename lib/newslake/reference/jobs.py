"""docs/reference/jobs.md: what each job does, its tables, and its options with their defaults and help."""

import inspect
from collections.abc import Iterable, Iterator

from cyclopts import App, Group
from cyclopts.argument import Argument

from newslake import jobs
from newslake.reference.flow import FLOWS, Flow
from newslake.reference.pages import NOTE, code, prose, table
from newslake.run.cli import JobFunction, command_line

_OWN = "Parameters"  # the group of a job's own options


def page() -> str:
    """The whole page."""
    lines = [NOTE, "", "# Jobs", "", *_INTRODUCTION, "", *_index(), "", *_shared(), ""]
    for name in jobs.__all__:
        lines += [*_section(name), ""]
    return "\n".join(lines).rstrip() + "\n"


_INTRODUCTION = (
    (
        "Each job is a script, `jobs/NAME.py`, for `python` or `spark-submit`, and a function,"
        " `newslake.jobs.NAME(lake, option=value)`"
    ),
    (
        "([from Python](../python.md)). `--help` prints what stands here. Exit status: 0 done, 1 the job"
        " failed, 2 your mistake, in one line."
    ),
    (
        "What an option of several values takes stands behind it: `--fields title body`. Beside what is"
        " listed, every job writes its row in"
    ),
    "`job_runs`.",
)


def _index() -> list[str]:
    rows = [(f"[`{name}`](#{name})", prose(_first_sentence(jobs.function_of(name)))) for name in jobs.__all__]
    return table(("job", "what it does"), rows)


def _shared() -> list[str]:
    some = jobs.function_of(jobs.__all__[0])
    arguments = [one for one in _arguments(some) if _group(one) != _OWN]
    return ["## Options of every job", "", *_options(arguments)]


def _section(name: str) -> list[str]:
    job = jobs.function_of(name)
    paragraphs = [prose(" ".join(part.split())) for part in _about(job).split("\n\n") if part.strip()]
    own = [one for one in _arguments(job) if _group(one) == _OWN]
    lines = [f"## {name}", ""]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    lines += [*_tables(FLOWS[name]), ""]
    return lines + (_options(own) if own else ["It has no options of its own."])


def _tables(flow: Flow) -> list[str]:
    def told(tables: Iterable[str], beside: str) -> str:
        named = [
            "whatever is there" if name == "*" else f"[`{name}`](tables.md#{name})" for name in sorted(tables)
        ]
        return "; ".join(part for part in (", ".join(named), beside) if part) or "nothing"

    return [f"- Reads: {told(flow.reads, flow.takes)}.", f"- Writes: {told(flow.writes, flow.makes)}."]


def _options(arguments: Iterable[Argument]) -> list[str]:
    rows = [(code(one.names), _default(one), _help(one)) for one in arguments]
    return table(("option", "default", "what it is"), rows)


def _default(one: Argument) -> str:
    value = one.field_info.default
    if one.required:
        return "**required**"
    if value is None or value is inspect.Parameter.empty or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{' '.join(map(str, value))}`" if isinstance(value, tuple) else f"`{value}`"


def _help(one: Argument) -> str:
    # A type with these choices says them; a text that lists them too does no harm.
    choices = one.get_choices()
    text = prose(" ".join((one.parameter.help or "").split()))
    return f"{text} One of {code(choices)}." if choices else text


def _arguments(job: JobFunction) -> Iterator[Argument]:
    app: App = command_line(job)
    return (one for one in app.assemble_argument_collection(parse_docstring=True) if one.show)


def _group(one: Argument) -> str:
    groups = one.parameter.group
    [group] = groups if isinstance(groups, tuple) else (groups,)
    return group.name if isinstance(group, Group) else str(group)


def _about(job: JobFunction) -> str:
    return (inspect.getdoc(job) or "").partition("Args:\n")[0]


def _first_sentence(job: JobFunction) -> str:
    return " ".join(_about(job).split("\n\n")[0].split())
