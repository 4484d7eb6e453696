"""Texts to terms: what the topic model counts. English and other spaced scripts by word, Chinese by jieba."""

import logging
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, partial

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

VERSION = 1
"""Raised when the same text would give other terms than before: models of two versions do not mix."""
MAX_CHARS = 100_000
"""Characters of an article that are read: what follows changes no topic, and bounds what one article can
cost."""
MAX_TERM = 40
"""Longer words are no words."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
# A run of Chinese, or a word of letters (an apostrophe may stand inside); digits, signs and control
# characters part words.
_RUNS = re.compile(rf"([{_HAN}]+)|((?:(?![{_HAN}])[^\W\d_])+(?:['\u2019](?:(?![{_HAN}])[^\W\d_])+)*)")
# Chinese words of two characters and more that say nothing; those of one character are left out altogether.
_CHINESE_STOP_WORDS = (
    "我们 你们 他们 她们 它们 自己 这个 那个 这些 那些 这样 那样 什么 怎么 为什么 一个 一些 一种 一样 没有"
    " 不是 不会 不能 可以 "
    "可能 已经 就是 还是 还有 但是 而且 因为 所以 如果 虽然 然后 或者 以及 由于 对于 关于 根据 通过 进行 其中"
    " 其他 这里 那里 现在 "
    "目前 之后 之前 以后 以前 非常 需要 成为 表示 认为 称为 时候 问题"
)
_CHINESE_STOP = frozenset(_CHINESE_STOP_WORDS.split())


def terms(text: str) -> list[str]:
    """The terms of a text, in order: words in lower case, of two characters and more.

    Full-width forms count as their plain ones (NFKC). Chinese is cut by jieba's dictionary, with its hidden
    Markov model for words that the dictionary lacks (https://github.com/fxsjy/jieba). Words of over MAX_TERM
    characters are left out.
    """
    found: list[str] = []
    for han, word in _RUNS.findall(unicodedata.normalize("NFKC", text[:MAX_CHARS]).lower()):
        if han:
            found += [
                part for part in _cutter()(han) if 2 <= len(part) <= MAX_TERM and part not in _CHINESE_STOP
            ]
        else:
            word = word.removesuffix("'s").removesuffix("\u2019s")
            if 2 <= len(word) <= MAX_TERM:
                found.append(word)
    return found


def article_text() -> Column:
    """What is read of an article: exactly what content_hash covers, as one string that Python can read."""
    parts = [
        F.coalesce(F.substring(F.make_valid_utf8(F.col(name)), 1, MAX_CHARS), F.lit(""))
        for name in ("title", "abstract", "body")
    ]
    return F.substring(F.concat_ws("\n", *parts), 1, MAX_CHARS)


def with_terms(
    rows: DataFrame, text: str, *, keep: frozenset[str] | None = None, output: str = "terms"
) -> DataFrame:
    """Replace a text column by its terms.

    Args:
        rows: any columns besides the text.
        text: name of the text column (string; NULL counts as empty).
        keep: the only terms that stay; None: all.
        output: name of the new column, array<string>.
    """
    others = [field for field in rows.schema if field.name != text]
    given = rows.select(*(field.name for field in others), text)
    schema = T.StructType([*others, T.StructField(output, T.ArrayType(T.StringType()))])
    return given.mapInArrow(partial(_with_terms, keep, output), schema)


def _with_terms(
    keep: frozenset[str] | None, output: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        found = [terms(text or "") for text in batch.column(batch.num_columns - 1).to_pylist()]
        if keep is not None:
            found = [[term for term in one if term in keep] for one in found]
        columns = [*batch.columns[:-1], pa.array(found, pa.list_(pa.string()))]
        yield pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names[:-1], output])


@cache
def _cutter() -> Callable[[str], list[str]]:
    """Loaded where Chinese is met: its dictionary takes a second."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    cut: Callable[[str], list[str]] = jieba.lcut
    return cut
