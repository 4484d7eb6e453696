"""Encoders for the tests of newslake.users, and rows of the tables that its jobs read."""

from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from newslake.text.spec import EncoderSpec, resolve
from newslake.users.sets import phrase_id, phrase_text, tag_set
from tests.tables import put
from tests.text.conftest import gaps_model, small_model

__all__ = ["gaps_model", "small_model"]  # fixtures that this room shares with text


def encoder_id(model: Path) -> str:
    """The id that jobs give the model by default."""
    return resolve(EncoderSpec(str(model))).encoder_id


def fill_phrases(
    lake: Lakehouse, as_of: str, phrases: Sequence[tuple[str, Sequence[str]]], encoder: str = "e"
) -> None:
    """Rows of user_phrases: (user, tags), in one tag group."""
    rows = frame_of(
        lake.spark, [(user, list(tags)) for user, tags in phrases], "user_id string, tags array<string>"
    )
    rows = rows.select(
        F.lit(as_of).cast("date").alias("as_of"),
        "user_id",
        F.lit(0).alias("tag_group"),
        phrase_id(F.col("tags")).alias("phrase_id"),
        tag_set(F.col("tags")).alias("tags"),
        phrase_text(F.col("tags")).alias("text"),
        F.lit(1.0).alias("weight"),
        F.lit(encoder).alias("encoder_id"),
    )
    put(lake, "user_phrases", rows)
