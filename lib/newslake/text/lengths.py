"""An article's text as a whole, and when it counts as short: one rule for all that tell short texts from long
articles."""

from pyspark.sql import Column
from pyspark.sql import functions as F

SHORT_CHARS = 180
"""Characters of title, abstract and body that a short text has at most: about one or two sentences."""


def whole_text() -> Column:
    """Title, abstract and body of a row of news, joined by a blank; what is empty or NULL left out."""
    return F.concat_ws(
        " ", *(F.when(F.col(name) != "", F.col(name)) for name in ("title", "abstract", "body"))
    )


def is_short(short_chars: int) -> Column:
    """Whether a row of news is a short text: not empty, and at most so many characters."""
    return F.length(whole_text()).between(1, short_chars)


def is_long(short_chars: int) -> Column:
    """Whether a row of news has more characters than that."""
    return F.length(whole_text()) > short_chars
