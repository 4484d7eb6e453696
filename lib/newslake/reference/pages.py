"""What the generated pages share: their first line, Markdown's tables, and the parts of a page that are
generated."""

import re
from collections.abc import Iterable, Sequence

COMMAND = "python -m newslake.reference"
NOTE = f"<!-- Written by `{COMMAND}` from the code: change the code, and run it again. -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; a bar in a cell does not end it."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def code(names: Iterable[str]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


_NAMES = re.compile(
    r"""(?<![\w`"/.-])(
        (?:[\w.-]+/)*[\w-]+(?:\.[\w-]+)*\.(?:py|md|jsonl?|tsv|yaml|html|db)(?!\w|\.\w)  # a file
        | --[a-z][a-z0-9-]*  # an option
        | _?[a-z0-9]+(?:_[a-z0-9]+)+ | _[a-z]+  # a table, a job, a column, a folder beside the tables
    )(?![\w`"])""",
    re.VERBOSE,
)


def prose(text: str) -> str:
    """Text of a docstring for Markdown: options, files, tables and jobs as code, and nothing of it markup."""
    return _NAMES.sub(r"`\1`", text.replace("<", "&lt;").replace("*", "\\*"))


def with_part(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with its generated part `name` (between `<!-- begin name -->` and `<!-- end name -->`) made of
    these lines.

    Raises:
        ValueError: the page has no such part.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page wants one {begin} and one {end}")
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}"
