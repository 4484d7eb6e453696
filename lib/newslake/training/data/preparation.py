"""What a job of recommenders trains on and judges by: chosen splits and impressions, staged with the vectors
of one encoder."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.paths import exactly, hadoop
from newslake.files.remote import Place
from newslake.files.work import shared_folder
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one
from newslake.switches.classes import classed_news
from newslake.text.spec import DEFAULT_MODEL
from newslake.training.data.past_clicks import LATEST_CLICKS, past_clicks
from newslake.training.data.staging import Staged, stage, stage_vectors
from newslake.training.data.texts import DEFAULT_TOKENS, StagedTexts, stage_texts, tuned_encoder
from newslake.training.data.time_splits import TEST, BySplit, Roles, Windows


@dataclass(frozen=True)
class Inputs:
    """Which part of the tables is staged, and how.

    Attributes:
        roles: which impressions are train, valid and test.
        impressions: file with the ids of the impressions to judge by, one a line, where the roles are by
            split; None: all of the splits.
        max_skips, max_history: see staging.stage.
        encoder_id: whose article embeddings; None: the only one there is.
        tune_layers: last layers of the encoder to tune; 0: its vectors are all that is read, and no text is
            staged.
        encoder, text_tokens: which encoder is tuned (it made the article embeddings), on so many tokens of a
            text.
    """

    roles: Roles = field(default_factory=BySplit)
    impressions: str | None = None
    max_skips: int = 300
    max_history: int = 50
    encoder_id: str | None = None
    tune_layers: int = 0
    encoder: str = DEFAULT_MODEL
    text_tokens: int = DEFAULT_TOKENS


@dataclass(frozen=True)
class Prepared:
    """What was staged: examples, and the vectors and texts of an encoder where they are needed.

    Attributes:
        known_until: train and valid end here, where they are by time.
    """

    staged: Staged
    vectors: Staged | None
    encoder_id: str | None
    texts: StagedTexts | None = None
    known_until: datetime | None = None


def prepare(lake: Lakehouse, run: JobRun, folder: Place, inputs: Inputs, *, with_vectors: bool) -> Prepared:
    """Stage what the inputs name, unless that has been done before.

    Raises:
        UserError: a table, split, impression or encoder is not there, or the encoder to tune did not make the
            vectors.
    """
    if inputs.max_skips < 1 or inputs.max_history < 1:
        raise UserError("--max-skips and --max-history must be at least 1")
    every, click_history, news = (
        lake.read("impressions"),
        lake.read_or_empty("click_history"),
        classed_news(lake),
    )
    embeddings, encoder_id, tuned = None, None, None
    if with_vectors:
        embeddings, encoder_id = lake.read("article_embeddings"), chosen_encoder(lake, inputs.encoder_id)
        if inputs.tune_layers:
            tuned = tuned_encoder(
                inputs.encoder, encoder_id, layers=inputs.tune_layers, max_tokens=inputs.text_tokens
            )
    impressions, roles = every, inputs.roles
    if inputs.impressions is not None and isinstance(roles, BySplit):
        impressions = only_listed(lake.spark, every, Path(inputs.impressions), tuple(roles.valid))
    labelled = impressions.where(roles.chosen() & F.col("clicked").isNotNull())
    length = max(LATEST_CLICKS, inputs.max_history)
    past = past_clicks(labelled, every, click_history, lake.read_or_empty("clicks"), length=length)
    sizes = {"max_skips": inputs.max_skips, "max_history": inputs.max_history}
    staged = stage(folder, impressions, click_history, news, roles=roles, past=past, **sizes)
    _report(run, staged)
    prepared = Prepared(staged, None, None, known_until=roles.test if isinstance(roles, Windows) else None)
    if embeddings is None or encoder_id is None:
        return prepared
    vectors = stage_vectors(staged, lake.spark, embeddings, encoder_id=encoder_id)
    run.fact("articles without a vector", staged.sizes["articles"] - vectors.sizes["vectors"])
    texts = None
    if tuned is not None:
        texts = stage_texts(staged, vectors, news, tuned)
        run.fact("texts for the encoder", texts.sizes["texts"])
    return replace(prepared, vectors=vectors, encoder_id=encoder_id, texts=texts)


def chosen_encoder(lake: Lakehouse, encoder_id: str | None) -> str:
    """The encoder to use: the one asked for, or the only one that article_embeddings has."""
    told = {"table": "article_embeddings", "built_by": "jobs/encode_articles.py", "things": "vectors"}
    return the_one(lake.read("article_embeddings"), "encoder_id", encoder_id, **told)


def only_listed(
    spark: SparkSession, impressions: DataFrame, file: Path, splits: tuple[str, ...]
) -> DataFrame:
    """The impressions without those of `splits` that the file does not list.

    Raises:
        UserError: there is no such file, or it lists none of them.
    """
    if not file.is_file():
        raise UserError(f"--impressions {file}: there is no such file; it holds one impression id a line")
    listed = (
        spark.read.text(exactly(hadoop(file)))
        .select(F.trim("value").alias("impression_id"))
        .where("impression_id <> ''")
        .distinct()
    )
    of_splits = F.col("split").isin(list(splits))
    kept = (
        impressions.where(of_splits)
        .join(listed, on="impression_id", how="left_semi")
        .select(impressions.columns)
    )
    if kept.isEmpty():
        raise UserError(f"--impressions {file}: lists no impression of split {', '.join(splits)}")
    return impressions.where(~of_splits).unionByName(kept)


def staging_folder(lake: Lakehouse, staging: str | None) -> Place:
    """Where to stage: the folder given, else _staging in the work folder."""
    return shared_folder(lake, "_staging", "--staging", staging)


def models_folder(lake: Lakehouse, models: str | None, staging: str | None) -> Place:
    """Where trained models lie: the folder given, else _models in the work folder, or below the staging
    folder where there is none."""
    if models is None and staging is not None and lake.work is None:
        models = f"{staging}/_models"
    return shared_folder(lake, "_models", "--model-folder", models)


def _report(run: JobRun, staged: Staged) -> None:
    sizes = staged.sizes
    run.rows_in(sizes["candidates"])
    run.fact("clicks", sizes["clicks"])
    run.fact("train impressions", sizes["train"])
    run.fact("valid impressions", sizes["valid"])
    if TEST in sizes:
        run.fact("test impressions", sizes[TEST])
    run.fact("users", sizes["users"])
    run.fact("articles", sizes["articles"])
    run.fact("histories", sizes["histories"])
    run.fact("articles without a news row", sizes["articles_without_news"])
    run.fact("clicks with skips left out", sizes["clicks_with_skips_left_out"])
    shown = ", ".join(f"{sizes[role]:,} {role}" for role in ("train", "valid", TEST) if role in sizes)
    run.progress(f"staged {sizes['clicks']:,} clicks; impressions: {shown}; in {staged.folder}")
