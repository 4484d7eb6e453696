"""export_vectors: what the tables hold, to the systems that serve it."""

import re
from datetime import date
from typing import Any, Literal

from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.work import beside
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun, masked
from newslake.run.options import day_of
from newslake.serving.export import ARTICLE_VECTORS, USER_VECTORS, export_articles, export_users
from newslake.serving.feeds.files import Folder, new_folder
from newslake.serving.feeds.vespa import (
    SUFFIX,
    FeedForm,
    as_array,
    news_feed,
    tsv,
    user_feed,
    write_application,
)
from newslake.serving.options import FILES, STORE, FileOptions, StoreOptions
from newslake.serving.stores.limits import LIMITS, Limits
from newslake.serving.stores.opening import place_to_export_to
from newslake.serving.trained import TrainedVectors, trained_vectors
from newslake.switches.topic_model import CANDIDATE, candidate_topic_model

Target = Literal["milvus", "vespa", "tsv"]
Which = Literal["articles", "users"]


def export_vectors(
    lake: Lakehouse,
    run: JobRun,
    *,
    to: tuple[Target, ...] = ("milvus",),
    which: tuple[Which, ...] = ("articles", "users"),
    store: StoreOptions = STORE,
    encoder_id: str | None = None,
    topic_model: str | None = None,
    as_of: str | None = None,
    rebuild: bool = False,
    time_to_live_days: int | None = None,
    limits: Limits = LIMITS,
    written: FileOptions = FILES,
) -> None:
    """Bring Milvus up to date with article_vectors and user_vectors, and write a training run's vectors as
    Vespa's feed or as TSV.

    Milvus gets only what is new or changed since the last export, and what is gone from the tables leaves;
    counts are compared at the end. To a server the executors send, to a local file the driver. Table
    vector_exports says what a collection holds, so that a killed run is taken up where it was. A collection
    holds one topic model's vectors; the names that --prefix begins are aliases, which move to another model's
    collections together, once both are filled.

    Files go to a folder named after the model and the training run, which appears once it is complete.
    Vespa's vectors carry one more dimension, in which Euclidean distance ranks as the inner product does
    (Bachrach et al., RecSys 2014); the application's schemas lie beside the feeds. Users are put, news are
    updated: feed the news themselves first.

    Args:
        to: Where to: milvus, vespa (feed files and schemas), tsv (user_embeddings.tsv and
            news_embeddings.tsv).
        which: Which collections of Milvus: articles, users.
        encoder_id: Whose vectors go to Milvus, where the tables hold several encoders'.
        topic_model: Whose vectors go to Milvus (default: the active topic model's). Another's go to
            collections of their own, which no alias names; `candidate` stands for the model that is to become
            active, and does nothing where there is none.
        as_of: The day whose user vectors go to Milvus (default: the latest).
        rebuild: Drop the collections first, and export all anew.
        time_to_live_days: How many days after its own an article stays in Milvus, whether or not a later job
            runs; 0: for good (default: as the collection was made, at first for good). Needs Milvus 3 to hide
            what nobody has removed.
    """
    if time_to_live_days is not None and time_to_live_days < 0:
        raise UserError("--time-to-live-days takes 0 or more")
    day = None if as_of is None else day_of(as_of)
    if "milvus" in to:
        uri = place_to_export_to(lake, store.uri)
        run.fact("Milvus", masked("", uri))
        if topic_model == CANDIDATE:
            topic_model = _candidate(lake, day)
            which = () if topic_model is None else which
            run.fact("candidate", topic_model or "none with vectors of articles and users: nothing to do")
        given: dict[str, Any] = {"encoder_id": encoder_id, "topic_model": topic_model, "limits": limits}
        given |= {"uri": uri, "token": store.token, "prefix": store.prefix, "rebuild": rebuild}
        filled = []
        if "articles" in which:
            articles = export_articles(lake, run, days=time_to_live_days, **given).collection
            filled = [] if articles is None else [articles]
        if "users" in which:
            export_users(lake, run, as_of=day, beside=filled, **given)
    if "vespa" in to or "tsv" in to:
        _to_files(lake, run, to, written)


def _to_files(lake: Lakehouse, run: JobRun, to: tuple[Target, ...], options: FileOptions) -> None:
    place = beside(lake, "_feeds", "--out", options.out).rstrip("/")
    trained = trained_vectors(lake, model=options.model, run_id=options.run_id)
    if trained is None:
        run.fact("recommender in use", "none: no files to write")
        run.progress("no recommender is in use: no files to write (--run-id takes one all the same)")
        return
    run.fact("vectors of", f"{trained.model} {trained.run_id}")
    path = f"{place}/{_file_name(trained.model)}-{_file_name(trained.run_id)}"
    with new_folder(lake.spark, path) as folder:
        if "vespa" in to:
            _to_vespa(folder, trained, options.feed, options.files)
        if "tsv" in to:
            folder.write_lines(tsv(trained.users.rows), "user_embeddings.tsv", files=options.files)
            folder.write_lines(tsv(trained.news.rows), "news_embeddings.tsv", files=options.files)
    run.fact("files", path)
    run.fact(
        "vectors of users and of news in the files", f"{trained.users.count:,} and {trained.news.count:,}"
    )


def _candidate(lake: Lakehouse, day: date | None) -> str | None:
    """The topic model that is to become active, once there are vectors by it on both sides: until then it
    cannot."""
    candidate = candidate_topic_model(lake)
    if candidate is None or not all(lake.exists(table) for table in (ARTICLE_VECTORS, USER_VECTORS)):
        return None
    articles, users = (
        lake.read(table).where(F.col("topic_model") == candidate) for table in (ARTICLE_VECTORS, USER_VECTORS)
    )
    of_day = users if day is None else users.where(F.col("as_of") == F.lit(day))
    return None if articles.isEmpty() or of_day.isEmpty() else candidate


def _to_vespa(folder: Folder, trained: TrainedVectors, forms: tuple[FeedForm, ...], files: int) -> None:
    for form in forms:
        shape = as_array if form == "array" else None
        folder.write_lines(
            user_feed(trained), f"vespa_user_embeddings.{SUFFIX[form]}", files=files, form=shape
        )
        folder.write_lines(
            news_feed(trained), f"vespa_news_embeddings.{SUFFIX[form]}", files=files, form=shape
        )
    folder.write_tree("application", lambda at: write_application(at, trained.size))


def _file_name(name: str) -> str:
    """A name out of a table as part of a path: nothing that leads elsewhere."""
    return re.sub(r"[^A-Za-z0-9._-]|^\.+", "_", name)
