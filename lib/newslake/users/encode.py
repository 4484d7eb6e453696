"""encode_tag_phrases: a vector for every tag phrase of a day, that of a similar phrase where the store has
one."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import day_of
from newslake.run.quarantine import rows_of, send
from newslake.spark.connect import parallelism
from newslake.spark.frames import Frames
from newslake.text.embed import Device, EmbedSettings, embed_column
from newslake.text.spec import ENCODER, EncoderSpec, ResolvedEncoder, resolve
from newslake.users.days import rows_of_day
from newslake.users.matching import Matcher, MatcherName
from newslake.users.matching import matcher as matcher_named
from newslake.users.sets import phrase_id, phrase_text, tag_set

STORE, MATCHES = "tag_phrases", "tag_phrase_matches"


def encode_tag_phrases(
    lake: Lakehouse,
    run: JobRun,
    *,
    as_of: str,
    min_jaccard: float = 0.8,
    matcher: MatcherName = "exact",
    seed: int = 0,
    encoding: EncoderSpec = ENCODER,
    device: Device = "auto",
    batch_tokens: int | None = None,
    slice_rows: int = 50_000,
    touch_days: int = 7,
) -> None:
    """Give every tag phrase of a day a vector: reused from the store tag_phrases where a similar phrase is
    there, else encoded.

    A phrase takes the vector of the stored phrase with the highest Jaccard similarity, ties by phrase_id.
    Within a day, phrases with an odd number of tags come first: those without a match are encoded. Those with
    an even number are then compared with these too. Only encoded phrases are reused from. A killed run loses
    at most a slice.

    Args:
        as_of: The day, such as 2019-11-15.
        min_jaccard: Jaccard similarity from which a stored vector is reused.
        matcher: How similar phrases are found; exact misses none.
        seed: Of the hash functions of minhash and datasketch.
        device: Where to encode; auto takes a GPU where there is one.
        batch_tokens: Tokens that the model takes at once (default: what suits the device).
        slice_rows: Phrases that are encoded and written at a time.
        touch_days: Days that last_used may lag behind before it is brought up to date.
    """
    day = day_of(as_of)
    if slice_rows < 1 or touch_days < 0:
        raise UserError("--slice-rows takes 1 or more, --touch-days 0 or more")
    how = matcher_named(matcher, seed)
    phrases = rows_of_day(lake, "user_phrases", day)
    found = resolve(encoding)
    run.fact("encoder_id", found.encoder_id)
    lake.create(STORE)
    with Frames() as frames:
        batch = frames.checkpoint(batch_of(phrases))
        counted = batch.agg(F.count("*"), F.count("problem")).head()
        run.rows_in(counted[0] if counted is not None else 0)
        if counted is not None and counted[1]:
            _reject(
                lake,
                run,
                batch.where(F.col("problem").isNotNull()).select(
                    "phrase_id", "tags", F.col("problem").alias("reason")
                ),
            )
        usable = batch.where(F.col("problem").isNull()).select("phrase_id", "tags")
        run.progress(f"{run.rows_read:,} distinct phrases; looking for similar ones in the store")
        earlier = stored(lake, found).where(F.col("first_seen") < F.lit(day)).select("phrase_id", "tags")
        decided = frames.checkpoint(decisions(usable, earlier, how, min_jaccard, frames))
        settings = EmbedSettings(device=device, batch_tokens=batch_tokens)
        _encode(lake, run, _to_encode(decided, usable, stored(lake, found)), found, settings, day, slice_rows)
        _touch(lake, decided, found, day, touch_days)
        _write_matches(lake, run, decided, found, day)


def stored(lake: Lakehouse, encoder: ResolvedEncoder) -> DataFrame:
    """One encoder's rows of the store."""
    return lake.read(STORE).where(F.col("encoder_id") == encoder.encoder_id)


def batch_of(phrases: DataFrame) -> DataFrame:
    """The distinct phrases of a day, and why one cannot be used: phrase_id, tags (sorted), problem.

    Args:
        phrases: rows of user_phrases; many users have the same phrase.
    """
    sets = (
        phrases.select("phrase_id", tag_set(F.col("tags")).alias("tags"))
        .groupBy("phrase_id")
        .agg(F.min("tags").alias("tags"))
    )
    problem = F.when(F.size("tags") == 0, "an empty phrase").when(
        F.col("phrase_id") != phrase_id(F.col("tags")), "phrase_id is not that of the tags"
    )
    return sets.select("phrase_id", "tags", problem.alias("problem"))


def decisions(
    batch: DataFrame, earlier: DataFrame, how: Matcher, threshold: float, frames: Frames
) -> DataFrame:
    """Where each phrase's vector comes from: phrase_id, decision, source_id, jaccard. It depends on nothing
    but the arguments.

    The rule: a phrase is reused from the most similar of the earlier phrases, and, if it has an even number
    of tags, of the batch's own phrases with an odd number that match no earlier one; ties by source_id. All
    others are encoded. (At 0.8 and up to 8 tags, phrases that match without being equal differ by one tag, so
    that one is odd and the other even.)

    Args:
        batch, earlier: phrase_id, tags; no phrase twice.
    """
    matched = frames.checkpoint(how.best(batch, earlier, threshold, frames))
    sized = batch.select("phrase_id", "tags", (F.size("tags") % 2 == 1).alias("is_odd"))
    unmatched = sized.where("is_odd").join(matched.select("phrase_id"), on="phrase_id", how="left_anti")
    equal = matched.where("jaccard = 1").select("phrase_id")
    even = sized.where("NOT is_odd").join(equal, on="phrase_id", how="left_anti")
    both = frames.checkpoint(unmatched.unionByName(even))
    first, second = (both.where(which).select("phrase_id", "tags") for which in ("is_odd", "NOT is_odd"))
    if both.agg(F.count_distinct("is_odd")).head() == (2,):
        matched = matched.unionByName(how.best(second, first, threshold, frames))
    first_of = F.min(
        F.struct((-F.col("jaccard")).alias("order"), F.col("stored_id").alias("source_id"))
    ).alias("best")
    best = matched.groupBy("phrase_id").agg(first_of)
    return batch.join(best, on="phrase_id", how="left").select(
        "phrase_id",
        F.when(F.col("best").isNull(), "encoded").otherwise("reused").alias("decision"),
        F.coalesce("best.source_id", "phrase_id").alias("source_id"),
        F.coalesce(-F.col("best.order"), F.lit(1.0)).alias("jaccard"),
    )


def _to_encode(decided: DataFrame, batch: DataFrame, known: DataFrame) -> DataFrame:
    """What is to be encoded and not yet in the store (a later day, or a run that was killed, may have put it
    there)."""
    wanted = batch.join(
        decided.where("decision = 'encoded'").select("phrase_id"), on="phrase_id", how="left_semi"
    )
    return wanted.join(known.select("phrase_id"), on="phrase_id", how="left_anti")


def _encode(
    lake: Lakehouse,
    run: JobRun,
    todo: DataFrame,
    encoder: ResolvedEncoder,
    settings: EmbedSettings,
    day: date,
    slice_rows: int,
) -> None:
    """Encode and commit slice by slice; a slice is chosen by a hash, so that it is the same whatever earlier
    slices did."""
    with Frames() as all_slices:
        todo = all_slices.checkpoint(todo)
        phrases = todo.count()
        slices, began, done = -(-phrases // slice_rows), run.seconds, 0
        run.progress(f"{phrases:,} phrases to encode")
        run.wrote(STORE, 0)
        tasks = 2 * parallelism(lake.spark)
        for number in range(slices):
            part = todo.where(F.pmod(F.xxhash64("phrase_id"), F.lit(slices)) == number).repartition(
                tasks, "phrase_id"
            )
            with Frames() as frames:
                text = phrase_text(F.col("tags"))
                texts = part.select("phrase_id", "tags", text.alias("kept_text"), text.alias("text"))
                encoded = frames.keep(embed_column(texts, "text", None, encoder, "tag", settings=settings))
                rows = encoded.where("embedded.error IS NULL").select(
                    "phrase_id",
                    F.lit(encoder.encoder_id).alias("encoder_id"),
                    "tags",
                    F.col("kept_text").alias("text"),
                    F.col("embedded.vector").alias("embedding"),
                    F.lit(day).alias("first_seen"),
                    F.lit(day).alias("last_used"),
                )
                run.wrote(STORE, lake.merge(STORE, rows, update=False).rows)
                counted = encoded.agg(F.count("*"), F.count("embedded.error")).head()
                if counted is not None and counted[1]:
                    failed = encoded.where("embedded.error IS NOT NULL")
                    _reject(
                        lake, run, failed.select("phrase_id", "tags", F.col("embedded.error").alias("reason"))
                    )
                done += counted[0] if counted is not None else 0
            rate = done / max(run.seconds - began, 1e-9)
            run.progress(
                f"slice {number + 1} of {slices}: {done:,} of {phrases:,} phrases, {rate:,.0f} a second"
            )
    run.fact("phrases encoded", done)


def _reject(lake: Lakehouse, run: JobRun, rows: DataFrame) -> None:
    """Send phrases (phrase_id, tags, reason) to quarantine."""
    raw = F.to_json(F.struct("tags"))
    send(
        lake,
        run,
        rows_of(rows, "user_phrases", record_id=F.col("phrase_id"), raw=raw, reason=F.col("reason")),
        job="encode_tag_phrases",
    )


def _touch(lake: Lakehouse, decided: DataFrame, encoder: ResolvedEncoder, day: date, touch_days: int) -> None:
    """Bring first_seen and last_used up to date, where they have fallen behind. Rows of the store are
    rewritten for it."""
    used = decided.groupBy(F.col("source_id").alias("phrase_id")).agg(
        F.max(F.col("decision") == "encoded").alias("is_first")
    )
    due = (F.col("is_first") & (F.col("first_seen") > F.lit(day))) | (
        F.col("last_used") < F.lit(day - timedelta(days=touch_days))
    )
    rows = stored(lake, encoder).join(used, on="phrase_id", how="inner").where(due)
    if not rows.isEmpty():
        first_seen = F.when(F.col("is_first"), F.least("first_seen", F.lit(day))).otherwise(
            F.col("first_seen")
        )
        rows = rows.withColumn("first_seen", first_seen).withColumn(
            "last_used", F.greatest("last_used", F.lit(day))
        )
        lake.merge(STORE, rows.drop("is_first"))


def _write_matches(
    lake: Lakehouse, run: JobRun, decided: DataFrame, encoder: ResolvedEncoder, day: date
) -> None:
    """Replace the day's matches. A phrase whose source could not be encoded has none."""
    sources = stored(lake, encoder).select(F.col("phrase_id").alias("source_id"))
    rows = decided.join(sources, on="source_id", how="left_semi").select(
        F.lit(day).alias("as_of"),
        "phrase_id",
        F.lit(encoder.encoder_id).alias("encoder_id"),
        "decision",
        "source_id",
        "jaccard",
    )
    written = lake.replace(
        MATCHES, rows, where={"as_of": day.isoformat(), "encoder_id": encoder.encoder_id}
    ).rows
    run.wrote(MATCHES, written)
    counted = decided.agg(
        F.count("*"),
        F.count_if(F.col("decision") == "reused"),
        F.count_if((F.col("decision") == "reused") & (F.col("jaccard") == 1.0)),
    ).head()
    if counted is None:
        raise JobFailed("Spark gave no counts of the decisions")
    run.fact("phrases reused", int(counted[1]))
    run.fact("of them from the very set", int(counted[2]))
    run.fact("phrases whose source could not be encoded", int(counted[0]) - written)
