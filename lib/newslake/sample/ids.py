"""Ids and times as the files write them, for many rows at once."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from newslake.sample.draws import Ints, scatter, unscatter
from newslake.sample.ragged import glued
from newslake.sample.spec import GeneratorSpec

# The number in an id tells nothing of an article's age or of how active a user is.


@lru_cache(maxsize=2)
def _news_texts(spec: GeneratorSpec) -> tuple[pa.Array, pa.Array]:
    """By article: its id; and as a candidate, N1-0 at 2 x article and N1-1 at 2 x article + 1."""
    index = np.arange(spec.articles)
    ids = glued(["N", pa.array(scatter(index, spec.articles) + 1).cast(pa.string())])
    return ids, glued(
        [ids.take(pa.array(np.repeat(index, 2))), pa.array(["-0", "-1"] * spec.articles, pa.string())]
    )


def news_ids(spec: GeneratorSpec, article: Ints) -> pa.Array:
    """N1 .. by article."""
    return _news_texts(spec)[0].take(pa.array(article))


def labelled_news_ids(spec: GeneratorSpec, article: Ints, clicked: Ints) -> pa.Array:
    """Candidates such as N1-0; clicked is 0 or 1."""
    return _news_texts(spec)[1].take(pa.array(2 * article + clicked))


def articles_in_id_order(spec: GeneratorSpec, start: int, stop: int) -> Ints:
    """The articles whose ids have the numbers start + 1 .. stop."""
    return unscatter(np.arange(start, stop), spec.articles)


def user_ids(spec: GeneratorSpec, user: Ints) -> pa.Array:
    """U1 .. by user."""
    return glued(["U", pa.array(scatter(user, spec.users) + 1).cast(pa.string())])


def users_in_id_order(spec: GeneratorSpec, start: int, stop: int) -> Ints:
    """The users whose ids have the numbers start + 1 .. stop."""
    return unscatter(np.arange(start, stop), spec.users)


def mind_time(seconds: Ints) -> pa.Array:
    """Times as MIND writes them, such as 11/9/2019 1:03:52 PM. seconds: since 1970, UTC."""
    padded = pc.strftime(pa.array(seconds, pa.timestamp("s")), format="%m/%d/%Y %I:%M:%S %p")
    return pc.replace_substring_regex(padded, r"(^|[/ ])0", r"\1")


def iso_time(seconds: Ints) -> pa.Array:
    """Times such as 2019-11-09T06:03:52Z."""
    return pc.strftime(pa.array(seconds, pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%SZ")


def timestamps(seconds: Ints) -> pa.Array:
    """Times as Parquet and Spark have them."""
    return pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC"))
