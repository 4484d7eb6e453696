"""The vectors of a training run, checked before they leave: one run for both sides, one size, finite, ids
that a line can hold."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import norm
from newslake.run.options import the_one, those_asked_for
from newslake.search.mips import largest_norm
from newslake.switches.latest_training import latest_runs
from newslake.switches.promotions import NONE, standing

_BUILT_BY = "train_recommender"


@dataclass(frozen=True)
class Side:
    """The vectors of one side: id, embedding (array<float>), and how many there are."""

    rows: DataFrame
    count: int


@dataclass(frozen=True)
class TrainedVectors:
    """A training run's vectors, trained by inner product.

    Attributes:
        model, run_id: which.
        users, news: the sides.
        size: entries of every vector.
        largest: the largest length of a vector of news, what turns inner product into distance (see
            search.mips).
    """

    model: str
    run_id: str
    users: Side
    news: Side
    size: int
    largest: float


def trained_vectors(lake: Lakehouse, *, model: str | None, run_id: str | None) -> TrainedVectors | None:
    """The vectors of one training run; None where recommenders were judged, none of them is in use, and no
    other was asked for.

    Args:
        lake: where user_embeddings and news_embeddings are.
        model: such as content; None: that of the run or of the recommender in use, or the only one there is
            where none was judged.
        run_id: of the training; None takes the one in use, where it is of that model, or else the model's
            latest that model_metrics knows.

    Raises:
        UserError: there is no such run, or several and no telling which is meant.
        JobFailed: sizes differ, a number is not finite, or an id holds a control character.
    """
    users, news = lake.read("user_embeddings"), lake.read("news_embeddings")
    known = standing(lake, "recommender") if run_id is None else None
    if known is not None and known.run_id == NONE and model is None:
        return None
    if known is not None and known.run_id != NONE and model in (None, known.name):
        model, run_id = known.name, known.run_id
        if news.where(F.col("run_id") == run_id).isEmpty():
            raise UserError(
                f"news_embeddings has no vectors of {run_id}, the recommender in use: run"
                " jobs/encode_users.py first"
            )
    model = the_one(
        those_asked_for(news, run_id=run_id),
        "model",
        model,
        table="news_embeddings",
        built_by=_BUILT_BY,
        things="vectors",
    )
    users, news = (rows.where(F.col("model") == model) for rows in (users, news))
    run_id = the_one(
        news,
        "run_id",
        run_id or _latest(lake, model, news),
        table="news_embeddings",
        built_by=_BUILT_BY,
        things="vectors",
    )
    the_one(users, "run_id", run_id, table="user_embeddings", built_by=_BUILT_BY, things="vectors")
    users, news = (rows.where(F.col("run_id") == run_id) for rows in (users, news))
    user_side, user_size = _checked(
        users.select(F.col("user_id").alias("id"), "embedding"), f"user_embeddings of run {run_id}"
    )
    news_side, news_size = _checked(
        news.select(F.col("news_id").alias("id"), "embedding"), f"news_embeddings of run {run_id}"
    )
    if user_size != news_size:
        raise JobFailed(f"run {run_id}: vectors of users have {user_size} entries, those of news {news_size}")
    return TrainedVectors(
        model, run_id, user_side, news_side, news_size, largest_norm(news_side.rows, "embedding")
    )


def _latest(lake: Lakehouse, model: str, news: DataFrame) -> str | None:
    """The run that was trained last of those whose vectors are there; None where model_metrics does not
    say."""
    if not lake.exists("model_metrics"):
        return None
    metrics = lake.read("model_metrics").where(F.col("model") == model)
    row = latest_runs(metrics.join(news.select("run_id").distinct(), on="run_id", how="left_semi")).head()
    return None if row is None else str(row["run_id"])


def _checked(rows: DataFrame, what: str) -> tuple[Side, int]:
    """The side, and the size of its vectors. A tensor with too few values would be taken by Vespa without a
    word."""
    length = norm(F.col("embedding"))
    found = rows.agg(
        F.count("*"),
        F.min(F.size("embedding")),
        F.max(F.size("embedding")),
        F.count_if(length.isNull() | F.isnan(length) | (length == float("inf"))),
        F.count_if(F.col("id").rlike(r"[\x00-\x1F\x7F]") | (F.col("id") == "")),
    ).head()
    assert found is not None
    count, smallest, largest, broken, unusable = found
    if smallest != largest:
        raise JobFailed(
            f"{what}: vectors of {smallest} and of {largest} entries are mixed: nothing was written"
        )
    if broken:
        raise JobFailed(
            f"{what}: {broken:,} vectors hold an entry that is not a finite number: nothing was written"
        )
    if unusable:
        raise JobFailed(
            f"{what}: {unusable:,} ids are empty or hold a tab, a line break or the like: nothing was written"
        )
    return Side(rows, int(count)), int(smallest)
