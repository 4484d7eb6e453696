"""What differs between the versions of Spark that newslake runs on, 4.0 to 4.2."""

from typing import Any

import pyarrow as pa
from pyspark.sql import types as T
from pyspark.sql.pandas import types as conversion


def arrow_schema(schema: T.StructType) -> pa.Schema:
    """The schema in Arrow; timestamps are UTC."""
    # Since 4.1 it is told the time zone, without which it refuses timestamps; before, UTC was the default.
    options: dict[str, Any] = {"timezone": "UTC"} if "timezone" in conversion.to_arrow_schema.__code__.co_varnames else {}
    return conversion.to_arrow_schema(schema, **options)
