"""The job encode_users: vectors of users, old and new, from what they have clicked, by a model that is
trained already."""

import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import UserError
from newslake.files.remote import Place, opened_array, remove
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.python_workers import map_with_torch
from newslake.switches.promotions import NONE, standing
from newslake.training.data.preparation import models_folder, staging_folder
from newslake.training.served import ServedModel, served_model

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.models.saved import SavedModel


def encode_users(
    lake: Lakehouse,
    run: JobRun,
    *,
    model_run: str | None = None,
    add_clicks: bool = True,
    staging: str | None = None,
    model_folder: str | None = None,
    encoder: str | None = None,
    device: str = "auto",
) -> None:
    """Give every user of click_history and impressions a vector from the clicks known now, by a trained nrms
    or dssm.

    Nothing is trained. Users who were not there in training get vectors as the others do; articles that were
    not, too. Reads click_history, impressions, news and article_embeddings; writes user_embeddings and
    news_embeddings, only rows that change.

    Args:
        model_run: The training run (default: the recommender in use, by table promotions, and nothing is done
            where none of those judged is; where none was judged, the only model there is).
        add_clicks: Whether clicks in impressions count too, each at its time beside the history.
        staging: Folder for intermediate files that driver and executors see at the same path (default:
            _staging in the work folder).
        model_folder: Folder with trained models (default: _models in the work folder).
        encoder: Where the encoder lies now, of a model that tuned one (default: where it lay then).
        device: Where a tuned encoder reads the articles: auto, cpu, cuda or cuda:N.
    """
    from newslake.training.loop.trainer import torch_device
    from newslake.training.models.saved import load_saved
    from newslake.training.results import through_parquet

    models = models_folder(lake, model_folder, staging)
    known = standing(lake, "recommender") if model_run is None else None
    if known is not None and known.run_id == NONE:
        run.fact("recommender in use", f"{NONE}: nothing to do")
        run.progress("no recommender is in use: nothing to do (--model-run takes one all the same)")
        return
    saved = load_saved(models, model_run) if known is None else _in_use(models, known.run_id)
    run.fact("model run", saved.run_id)
    place = torch_device(device if saved.tuned else "cpu")
    scratch = staging_folder(lake, staging) / f"users.tmp-{secrets.token_hex(4)}"
    try:
        model, catalogue, index = served_model(lake, saved, scratch, encoder=encoder, device=str(place))
        history = lake.read_or_empty("click_history")
        impressions = lake.read("impressions") if add_clicks else None
        clicked = latest_clicks(history, impressions, length=saved.settings.history)
        users = encoded(indexed(clicked, index), model)
        run.rows_in(clicked.count())
        where = {"model": saved.settings.model, "run_id": saved.run_id}
        served = opened_array(model.served)
        articles = through_parquet(
            lake.spark, scratch / "articles.parquet", "news_id", catalogue.article_ids, served
        )
        for table, key, rows in (
            ("news_embeddings", "news_id", articles),
            ("user_embeddings", "user_id", users),
        ):
            rows = rows.select(key, *(F.lit(value).alias(name) for name, value in where.items()), "embedding")
            run.wrote(table, lake.merge(table, rows).rows)
    finally:
        remove(scratch)


def _in_use(models: Place, run_id: str) -> "SavedModel":
    from newslake.training.models.saved import load_saved

    try:
        return load_saved(models, run_id)
    except UserError as error:
        back = (
            "give its folder with --model-folder, or go back with jobs/promote.py --kind recommender"
            " --previous"
        )
        raise UserError(f"recommender {run_id}, which is in use, cannot be read: {error}; {back}") from None


def latest_clicks(click_history: DataFrame, impressions: DataFrame | None, *, length: int) -> DataFrame:
    """The latest `length` clicks of every user, out of the latest history and of clicks in impressions, by
    time.

    A history says what was clicked before its impression, in order, and not when. What the latest one holds
    was clicked before the user's first impression with this very history (files such as MIND's repeat one for
    days). A click in an impression of that moment or later comes after it; an earlier one is in it, or comes
    before all of it.

    Args:
        click_history: the table.
        impressions: the table; None leaves its clicks out.
        length: how many.

    Returns:
        user_id, recent (array<string>, latest first; an article clicked twice counts where it was clicked
            last).
    """
    same = click_history.groupBy("user_id", "news_ids").agg(
        F.max(F.struct("occurred_at", "split", "impression_id")).alias("last"),
        F.min("occurred_at").alias("known_at"),
    )
    known = same.groupBy("user_id").agg(F.max_by(F.struct("news_ids", "known_at"), "last").alias("history"))
    known = known.select("user_id", "history.news_ids", "history.known_at")
    if impressions is not None:
        order = F.struct("occurred_at", "impression_id", "position", "news_id")
        clicks = (
            impressions.where("clicked")
            .groupBy("user_id")
            .agg(F.array_sort(F.collect_list(order)).alias("clicks"))
        )
        known = known.join(clicks, on="user_id", how="full")
        none = F.array().cast("array<string>")
        before = F.filter("clicks", lambda click: click["occurred_at"] < F.col("known_at"))["news_id"]
        # Without a history, known_at is NULL: every click is one since.
        since = F.filter(
            "clicks", lambda click: F.coalesce(click["occurred_at"] >= F.col("known_at"), F.lit(True))
        )["news_id"]
        parts = [F.coalesce(part, none) for part in (before, F.col("news_ids"), since)]
        known = known.select("user_id", F.concat(*parts).alias("news_ids"))
    return known.select(
        "user_id", F.slice(F.array_distinct(F.reverse("news_ids")), 1, length).alias("recent")
    )


def indexed(clicked: DataFrame, index: DataFrame) -> DataFrame:
    """user_id, articles (array<int>, latest first) out of `latest_clicks` and an index (news_id, article);
    unknown ones are left out."""
    places = clicked.select("user_id", F.posexplode_outer("recent").alias("place", "news_id"))
    known = places.join(index, on="news_id", how="left")
    found = F.array_sort(F.collect_list(F.when(F.col("article").isNotNull(), F.struct("place", "article"))))
    return (
        known.groupBy("user_id")
        .agg(found.alias("clicked"))
        .select("user_id", F.col("clicked.article").alias("articles"))
    )


def encoded(users: DataFrame, model: ServedModel) -> DataFrame:
    """user_id, embedding of `indexed` users."""
    schema = T.StructType([users.schema["user_id"], T.StructField("embedding", T.ArrayType(T.FloatType()))])

    def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from newslake.training.data.loading import padded

        opened = model.opened()
        for batch in batches:
            vectors = opened.users(padded(batch.column("articles"), opened.width).astype(np.int64))
            offsets = pa.array(np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32))
            lists = pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))
            yield pa.RecordBatch.from_arrays([batch.column("user_id"), lists], names=["user_id", "embedding"])

    return map_with_torch(users, encode, schema)
