r"""Paths as the user writes them, as Hadoop and Spark take them, as URIs: the one place that turns one into
another.

Hadoop takes a path as it is: `file:///my lake`, and a %20 in it is a % and two digits. What Spark reads is a
pattern, in which
* ? [ ] { } and \ stand for others. A URI (a row's _metadata.file_path, Petastorm's) has its odd characters
escaped, as in `file:///my%20lake`.
"""

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_PATTERN = re.compile(r"[\\*?\[\]{}]")


def hadoop(path: Path) -> str:
    """A folder or file of this machine as Hadoop and Spark take it, whatever their default file system; to
    read it: `exactly`."""
    return f"file://{path.absolute()}"


def exactly(place: str) -> str:
    """A path as a pattern that only the path itself fits."""
    return _PATTERN.sub(r"\\\g<0>", place)


def matching(place: str) -> list[str]:
    """The files and folders of this machine that `readable` means, for who looks at them without Spark."""
    there, rest = split_pattern(place, os.path.exists)
    return sorted(glob.glob(glob.escape(there) + rest)) if rest else [there]


def split_pattern(place: str, is_there: Callable[[str], bool]) -> tuple[str, str]:
    """The longest part of a path that holds nothing odd or is there as it is written, and the rest, a
    pattern."""
    ends = [len(place), *(match.start() for match in reversed(list(re.finditer("/", place))))]
    for end in ends:
        if not _PATTERN.search(place[:end]) or is_there(place[:end]):
            return place[:end], place[end:]
    return "", place


def uri(place: str) -> str:
    """A path as Hadoop takes it -> the URI of the same."""
    return quote(place, safe=":/=")


def place_of(found: str) -> str:
    """A URI -> the path as people write it: without file:// where it is one of this machine."""
    plain = unquote(found)
    return re.sub(r"^file:/+", "/", plain)


def local_path(found: str) -> str | None:
    """A URI -> the path on this machine; None where it names another file system.

    Args:
        found: a URI. What has no scheme is a path as it is.
    """
    parts = urlsplit(found)
    if parts.scheme == "":
        return found
    if parts.scheme == "dbfs":  # Databricks mounts it
        return "/dbfs" + unquote(parts.path)
    return unquote(parts.path) if parts.scheme == "file" else None
