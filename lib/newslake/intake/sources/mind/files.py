"""Find MIND's files: which of the paths that a user names hold news, which hold behaviours."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.files.inputs import COMPRESSED, is_archive, looking, unpack_it
from newslake.files.paths import place_of
from newslake.files.systems import readable
from newslake.intake.lines import Source
from newslake.intake.verdicts import SPLITS

Kind = Literal["news", "behaviors"]
KINDS: tuple[Kind, ...] = ("news", "behaviors")

_NAMES = "{kind}.tsv", "{kind}-[0-9]*.tsv"


def _pattern(kind: str, *endings: str) -> str:
    """A pattern of the names that a folder's files of one kind have, each with one of the endings."""
    return "{" + ",".join(name.format(kind=kind) + ending for name in _NAMES for ending in endings) + "}"


# What a folder's files are called: news.tsv or numbered parts of it, plain or compressed. Not news*: the
# tutorial writes news_embeddings.tsv into the same folder, and people keep news.tsv.bak.
_IN_FOLDER: dict[str, str] = {
    kind: _pattern(kind, "", *(f".{ending}" for ending in COMPRESSED)) for kind in KINDS
}
_ANYTHING: dict[str, str] = {kind: _pattern(kind, ".*")[:-1] + f",{kind}.*}}" for kind in KINDS}


def find_sources(spark: SparkSession, paths: Mapping[str, Sequence[str]]) -> list[Source]:
    """Look into every path, in the order train, dev, test.

    Args:
        spark: reads the paths, so any URI that it knows will do.
        paths: split -> folders, files or glob patterns. In a folder, files called news.tsv or behaviors.tsv
            count, and their numbered parts such as behaviors-00003.tsv.gz. A file that is named itself must
            have a name that begins with news or behaviors.

    Raises:
        UserError: a path is missing, cannot be read, holds no such file, or a file is given twice for one
            split.
    """
    found: list[Source] = []
    for split in SPLITS:
        of_split = [source for path in paths.get(split, ()) for source in _look(spark, split, path)]
        _refuse_repeated(split, of_split)
        found += of_split
    return found


def _look(spark: SparkSession, split: str, path: str) -> list[Source]:
    place = readable(spark, path)
    found = [
        Source(kind, split, place, _IN_FOLDER[kind], _files(spark, split, path, place, _IN_FOLDER[kind]))
        for kind in KINDS
    ]
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1].lower()
    packed = [
        file
        for source in found
        if not source.files
        for file in _archives(spark, split, path, place, source.kind)
    ]
    if is_archive(name) and not any(source.files for source in found):
        packed.append(path)
    if packed:
        raise UserError(unpack_it(f"--{split}", path, place_of(packed[0])))
    found = [source for source in found if source.files]
    # A file of another name, or a folder such as behaviors.tsv/ that holds the part files of a Spark job.
    named = [kind for kind in KINDS if name.startswith(kind)]
    if not found and named:
        found = [Source(named[0], split, place, None, _files(spark, split, path, place, None))]
    if not any(source.files for source in found):
        raise UserError(
            f"--{split} {path}: no MIND files there; give a folder with news.tsv or behaviors.tsv (or parts"
            " such as behaviors-00000.tsv, .gz too), or files whose names begin with news or behaviors"
        )
    return found


def _files(spark: SparkSession, split: str, path: str, place: str, pattern: str | None) -> tuple[str, ...]:
    options = {} if pattern is None else {"pathGlobFilter": pattern}
    with looking(f"--{split}", path):
        return tuple(sorted(spark.read.text(place, **options).inputFiles()))  # type: ignore[arg-type]


def _archives(spark: SparkSession, split: str, path: str, place: str, kind: str) -> list[str]:
    return [file for file in _files(spark, split, path, place, _ANYTHING[kind]) if is_archive(file)]


def _refuse_repeated(split: str, sources: Sequence[Source]) -> None:
    # Each of its lines would count as an exact duplicate of itself.
    seen: set[str] = set()
    for source in sources:
        for file in source.files:
            if file in seen:
                raise UserError(f"--{split} {source.path}: {place_of(file)} is given twice; name it once")
            seen.add(file)
