"""Fingerprints: of a frame's content, and of settings. They name what is derived from both, so that a rerun
finds it."""

import hashlib
import json
from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def content_fingerprint(rows: DataFrame) -> str:
    """A hash of the frame's rows as a set with counts of their number, whatever their order and partitions.

    128 bits of XOR over row hashes: rows that occur twice cancel out, so give it rows with a key. One pass,
    one row back.
    """
    # xxhash64 skips NULLs, so (1, NULL) and (NULL, 1) would be alike without the flags.
    columns = [F.col(name) for name in rows.columns]
    flags = [column.isNull() for column in columns]
    found = rows.agg(
        F.count(F.lit(1)).alias("rows"),
        F.bit_xor(F.xxhash64(*columns, *flags)).alias("high"),
        F.bit_xor(F.xxhash64(F.lit("newslake"), *flags, *columns)).alias("low"),
    ).head()
    assert found is not None  # an aggregate without groups has one row
    return combined(
        {"columns": rows.columns, "rows": found["rows"], "high": found["high"], "low": found["low"]}
    )


def combined(parts: Mapping[str, object]) -> str:
    """A hash of named values (JSON types), 16 hexadecimal digits."""
    text = json.dumps(dict(parts), sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
