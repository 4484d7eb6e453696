"""build_phrases: a user's heaviest tags in semantic groups, and tag phrases from each group."""

from functools import partial

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import vector_size
from newslake.run.jobrun import JobRun
from newslake.run.options import day_of
from newslake.run.quarantine import rows_of, send
from newslake.spark.connect import parallelism
from newslake.spark.frames import Frames
from newslake.text.embed import Device, EmbedSettings, embed_column
from newslake.text.spec import ENCODER, EncoderSpec, ResolvedEncoder, resolve
from newslake.users.days import rows_of_day
from newslake.users.groups import PhraseSettings, phrases_of_batches, quantised_batches
from newslake.users.sets import phrase_id, phrase_text, tag_set

TABLE, EMBEDDINGS = "user_phrases", "tag_embeddings"


def build_phrases(
    lake: Lakehouse,
    run: JobRun,
    *,
    as_of: str,
    top_tags: int = 200,
    group_cosine: float = 0.45,
    phrase_size: int = 6,
    tags_per_group: int = 10,
    phrases_per_group: int = 20,
    phrases_per_user: int = 100,
    encoding: EncoderSpec = ENCODER,
    device: Device = "auto",
    batch_tokens: int | None = None,
    slice_rows: int = 50_000,
) -> None:
    """Make the users' tag phrases of a day from user_tags: table user_phrases, and tag_embeddings for tags
    that have no vector yet.

    A user's heaviest tags are split into groups: the heaviest tag without a group leads a new one, and those
    whose vectors are near enough to the leader's join it. Phrases are sets of 2 or more tags of a group,
    heaviest first (the mean weight of the tags counts); a group of one tag gives that tag alone. A day that
    is there already is replaced.

    Args:
        as_of: The day, such as 2019-11-15.
        top_tags: The heaviest tags of a user that are used.
        group_cosine: Cosine to a group's leader from which a tag joins the group.
        phrase_size: Most tags of a phrase.
        tags_per_group: The heaviest tags of a group that phrases are made from.
        phrases_per_group: The heaviest phrases of a group that are kept.
        phrases_per_user: The heaviest phrases of a user that are kept.
        device: Where to encode; auto takes a GPU where there is one.
        batch_tokens: Tokens that the model takes at once (default: what suits the device).
        slice_rows: Tags that are encoded and written at a time.
    """
    day = day_of(as_of)
    if min(top_tags, tags_per_group, phrases_per_group, phrases_per_user, slice_rows) < 1 or phrase_size < 2:
        raise UserError("--phrase-size takes 2 or more, the other bounds 1 or more")
    if tags_per_group > 16:
        raise UserError(
            f"--tags-per-group {tags_per_group}: take up to 16; all sets of these tags are weighed"
        )
    settings = PhraseSettings(group_cosine, phrase_size, tags_per_group, phrases_per_group, phrases_per_user)
    tags = rows_of_day(lake, "user_tags", day)
    found = resolve(encoding)
    run.fact("encoder_id", found.encoder_id)
    lake.create(EMBEDDINGS)
    with Frames() as frames:
        best = frames.keep(heaviest_tags(tags, top_tags))
        run.rows_in(best.count())
        _encode_tags(
            lake, run, best, found, EmbedSettings(device=device, batch_tokens=batch_tokens), slice_rows
        )
        vectors = embeddings(lake, found)
        vector_size(vectors, "embedding", f"tag_embeddings of {found.encoder_id}")
        rows = phrases(best, vectors, settings).select(
            F.lit(day).alias("as_of"), "*", F.lit(found.encoder_id).alias("encoder_id")
        )
        run.wrote(TABLE, lake.replace(TABLE, rows, where={"as_of": day.isoformat()}).rows)
        without = best.join(vectors.select("tag"), on="tag", how="left_anti").count()
    if without:
        run.fact("tags of users left out, as they could not be encoded", without)


def heaviest_tags(tags: DataFrame, most: int) -> DataFrame:
    """Each user's heaviest tags: user_id, tag, weight, place (from 1; ties by tag)."""
    order = Window.partitionBy("user_id").orderBy(F.desc("weight"), "tag")
    ranked = tags.select("user_id", "tag", "weight", F.row_number().over(order).alias("place"))
    return ranked.where(F.col("place") <= most)


def embeddings(lake: Lakehouse, encoder: ResolvedEncoder) -> DataFrame:
    """One encoder's tag vectors: tag, embedding."""
    return lake.read(EMBEDDINGS).where(F.col("encoder_id") == encoder.encoder_id).select("tag", "embedding")


def phrases(tags: DataFrame, vectors: DataFrame, settings: PhraseSettings) -> DataFrame:
    """The phrases of each user: user_id, tag_group, phrase_id, tags, text, weight.

    Args:
        tags: from heaviest_tags.
        vectors: tag, embedding; tags without a vector are left out.
        settings: how phrases are made.
    """
    small = vectors.join(tags.select("tag").distinct(), on="tag", how="left_semi").mapInArrow(
        quantised_batches, "tag string, vector binary"
    )
    one = F.struct("place", "tag", "weight", "vector")
    users = (
        tags.join(small, on="tag", how="inner")
        .groupBy("user_id")
        .agg(F.array_sort(F.collect_list(one)).alias("all"))
    )
    given = users.select(
        "user_id",
        F.col("all.tag").alias("tags"),
        F.col("all.weight").alias("weights"),
        F.col("all.vector").alias("vectors"),
    )
    made = given.mapInArrow(
        partial(phrases_of_batches, settings),
        "user_id string, tag_group int, tags array<string>, weight double",
    )
    sets = tag_set(F.col("tags"))
    return made.select(
        "user_id",
        "tag_group",
        phrase_id(F.col("tags")).alias("phrase_id"),
        sets.alias("tags"),
        phrase_text(F.col("tags")).alias("text"),
        "weight",
    )


def _encode_tags(
    lake: Lakehouse,
    run: JobRun,
    tags: DataFrame,
    encoder: ResolvedEncoder,
    settings: EmbedSettings,
    slice_rows: int,
) -> None:
    """Encode the tags that have no vector, slice by slice."""
    with Frames() as frames:
        todo = frames.checkpoint(
            tags.select("tag")
            .distinct()
            .join(embeddings(lake, encoder).select("tag"), on="tag", how="left_anti")
        )
        many = todo.count()
        slices, done, tasks = -(-many // slice_rows), 0, 2 * parallelism(lake.spark)
        run.progress(f"{many:,} tags to encode")
        for number in range(slices):
            part = todo.where(F.pmod(F.xxhash64("tag"), F.lit(slices)) == number)
            part = part.repartition(tasks, "tag").select("tag", F.col("tag").alias("text"))
            with Frames() as kept:
                encoded = kept.keep(embed_column(part, "text", None, encoder, "tag", settings=settings))
                rows = encoded.where("embedded.error IS NULL").select(
                    "tag",
                    F.lit(encoder.encoder_id).alias("encoder_id"),
                    F.col("embedded.vector").alias("embedding"),
                )
                run.wrote(EMBEDDINGS, lake.merge(EMBEDDINGS, rows, update=False).rows)
                counted = encoded.agg(F.count("*"), F.count("embedded.error")).head()
                if counted is not None and counted[1]:
                    _reject(lake, run, encoded.where("embedded.error IS NOT NULL"))
                done += counted[0] if counted is not None else 0
            run.progress(f"slice {number + 1} of {slices}: {done:,} of {many:,} tags")
    run.fact("tags encoded", done)


def _reject(lake: Lakehouse, run: JobRun, failed: DataFrame) -> None:
    tag = F.col("tag")
    send(
        lake,
        run,
        rows_of(failed, "user_tags", record_id=tag, raw=tag, reason=F.col("embedded.error")),
        job="build_phrases",
    )
