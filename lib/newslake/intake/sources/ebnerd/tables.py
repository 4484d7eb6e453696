"""Find EB-NeRD's files: which of the paths that a user names hold articles, behaviours, histories."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.files.inputs import is_archive, looking, unpack_it
from newslake.files.paths import place_of
from newslake.files.systems import exists, files_in, is_folder

Kind = Literal["articles", "behaviors", "history"]
SPLIT_OF = {"train": "train", "validation": "dev", "test": "test"}
"""Option -> split: EB-NeRD's validation is what newslake calls dev."""


@dataclass(frozen=True)
class Source:
    """A Parquet file, or a folder of part files under such a name; `split` is empty for articles, `option` is
    for messages."""

    kind: Kind
    option: str
    split: str
    path: str


def find_sources(
    spark: SparkSession, articles: Sequence[str], splits: Mapping[str, Sequence[str]]
) -> list[Source]:
    """Look into every path.

    Args:
        spark: reads the folders, so any URI that it knows will do.
        articles: files, or folders that hold articles.parquet.
        splits: option -> folders that hold behaviors.parquet and history.parquet, or such files. Numbered
            parts such as behaviors-00003.parquet count too.

    Raises:
        UserError: a path is missing, cannot be read, holds no such file, or a file is given twice for one
            split.
    """
    found = [source for path in articles for source in _look(spark, "--articles", "", path, ("articles",))]
    for option, paths in splits.items():
        for path in paths:
            found += _look(spark, f"--{option}", SPLIT_OF[option], path, ("behaviors", "history"))
    seen: set[tuple[str, str]] = set()
    for source in found:
        if (source.split, source.path) in seen:
            raise UserError(f"{source.option} {source.path}: is given twice; name it once")
        seen.add((source.split, source.path))
    return found


def _look(spark: SparkSession, option: str, split: str, path: str, kinds: tuple[Kind, ...]) -> list[Source]:
    place = path.rstrip("/")
    name = place.rsplit("/", 1)[-1]
    if is_archive(name):
        raise UserError(unpack_it(option, path, place_of(place)))
    if not exists(spark, place):
        raise UserError(f"{option} {path}: there is no such file or folder")
    with looking(option, path):
        folder = is_folder(spark, place)
        inside = files_in(spark, place) if folder else []
    found = [
        Source(kind, option, split, f"{place}/{child}")
        for kind in kinds
        for child in inside
        if _is_file_of(kind, child)
    ]
    named = [kind for kind in kinds if re.match(rf"(?i){kind}.*\.parquet$", name)]
    if not found and named:
        found = [Source(named[0], option, split, place)]
    if not found and kinds == ("articles",) and not folder:
        found = [Source("articles", option, split, place)]
    if not found:
        names = " and ".join(f"{kind}.parquet" for kind in kinds)
        own = option.removeprefix("--")
        hint = f"; did you mean {place}/{own}?" if own in inside else ""
        raise UserError(
            f"{option} {path}: no Parquet files of EB-NeRD there; give a folder with {names}, or such"
            f" files{hint}"
        )
    return found


def _is_file_of(kind: Kind, name: str) -> bool:
    return re.fullmatch(rf"{kind}(-\d+)?\.parquet", name) is not None
