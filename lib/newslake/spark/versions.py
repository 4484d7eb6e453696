"""What differs between the versions of Spark that newslake runs on, 4.0 to 4.2."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas import types as conversion


def arrow_schema(schema: T.StructType) -> pa.Schema:
    """The schema in Arrow; timestamps are UTC."""
    # Since 4.1 it is told the time zone, without which it refuses timestamps; before, UTC was the default.
    options: dict[str, Any] = (
        {"timezone": "UTC"} if "timezone" in conversion.to_arrow_schema.__code__.co_varnames else {}
    )
    return conversion.to_arrow_schema(schema, **options)


def text_udf(function: Callable[[pa.Array], pa.Array]) -> Callable[[Column], Column]:
    """A function of text in Arrow arrays as one of columns: an Arrow UDF, and before 4.1, which has none, a
    pandas one.

    The UDF is made where it is used: one belongs to the kind of session, classic or of Spark Connect, that
    there is when it is made.
    """

    def of_column(text: Column) -> Column:
        return _udf(function)(text)

    return of_column


def _udf(function: Callable[[pa.Array], pa.Array]) -> Callable[[Column], Column]:
    if hasattr(F, "arrow_udf"):

        def by_arrow(text: pa.Array) -> pa.Array:
            return function(text)

        return F.arrow_udf(by_arrow, T.StringType())  # type: ignore[call-overload]

    import pandas as pd  # takes half a second

    def by_pandas(text: pd.Series) -> pd.Series:
        return function(pa.Array.from_pandas(text, type=pa.string())).to_pandas()

    return F.pandas_udf(by_pandas, T.StringType())  # type: ignore[call-overload]
