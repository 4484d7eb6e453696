"""encode_articles: the vector of every article that has none for its text and this encoder."""

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.connect import parallelism
from newslake.spark.frames import Frames
from newslake.text.embed import Device, EmbedSettings
from newslake.text.rows import copies
from newslake.text.spec import ENCODER, EncoderSpec, ResolvedEncoder, resolve
from newslake.text.write import encode_texts

TABLE = "article_embeddings"
_BROADCAST_IDS = 200_000  # some 20 MB


def encode_articles(
    lake: Lakehouse,
    run: JobRun,
    *,
    encoding: EncoderSpec = ENCODER,
    device: Device = "auto",
    batch_tokens: int | None = None,
    slice_rows: int = 20_000,
    partitions: int | None = None,
) -> None:
    """Encode the articles of table news that have no vector yet into table article_embeddings.

    An article whose text has changed gets a new vector in place of the old one; equal texts are encoded once.
    What cannot be encoded goes to quarantine with its reason, and is tried again by the next run. A killed
    run loses at most a slice.

    Args:
        device: Where to encode; auto takes a GPU where there is one.
        batch_tokens: Tokens that the model takes at once (default: what suits the device).
        slice_rows: Articles that are encoded and written at a time; each slice reads table news once.
        partitions: Tasks that a slice is split into (default: two for each core of the cluster).
    """
    if slice_rows < 1 or (partitions is not None and partitions < 1):
        raise UserError("--slice-rows and --partitions take 1 or more")
    settings = EmbedSettings(device=device, batch_tokens=batch_tokens)
    news = lake.read("news")
    found = resolve(encoding)
    run.fact("encoder_id", found.encoder_id)
    run.rows_in(news.count())
    lake.create(TABLE)

    work = _work(news, vectors_of(lake, found))
    articles = work.copyable + work.outdated + work.new
    told = f"{work.texts:,} texts to encode, {work.copyable:,} to copy"
    run.progress(f"{articles:,} articles without a vector by {found.encoder_id}: {told}")
    copied = _copy(lake, work, found) if work.copyable else 0
    tasks = partitions or 2 * parallelism(lake.spark)
    settled = copied + _encode(
        lake, run, news, found, settings, work, slices=-(-work.texts // slice_rows), tasks=tasks
    )
    run.wrote(TABLE, copied)
    run.fact("vectors copied from an earlier article", copied)
    if settled < articles:  # another job wrote news, or encoded, meanwhile
        run.fact("articles that changed or were encoded by another run meanwhile", articles - settled)


def vectors_of(lake: Lakehouse, encoder: ResolvedEncoder) -> DataFrame:
    """One encoder's rows of article_embeddings."""
    return lake.read(TABLE).where(F.col("encoder_id") == encoder.encoder_id)


@dataclass(frozen=True)
class _Work:
    """What there is to do: articles without a vector for their present text.

    Attributes:
        ids: news_id, content_hash, copyable, outdated of each of them; computed.
        copyable: how many have a text that has a vector under another id.
        outdated: how many of the others have a vector of an older text.
        new: how many of the others have none.
        texts: distinct texts of these two.
    """

    ids: DataFrame
    copyable: int
    outdated: int
    new: int
    texts: int

    def to_encode(self) -> DataFrame:
        """news_id, content_hash, outdated of what is not copied; sent to every task where it is small beside
        table news."""
        ids = self.ids.where(~F.col("copyable")).select("news_id", "content_hash", "outdated")
        return F.broadcast(ids) if self.outdated + self.new <= _BROADCAST_IDS else ids


def _work(news: DataFrame, vectors: DataFrame) -> _Work:
    texts = vectors.select("content_hash").distinct().withColumn("known_text", F.lit(True))
    stored = vectors.select("news_id", F.col("content_hash").alias("encoded_hash"))
    articles = news.select("news_id", "content_hash").join(stored, on="news_id", how="left")
    todo = articles.where(F.col("encoded_hash").isNull() | (F.col("encoded_hash") != F.col("content_hash")))
    known, old = F.col("known_text").isNotNull(), F.col("encoded_hash").isNotNull()
    rows = todo.join(texts, on="content_hash", how="left")
    # Computed once for all slices, and checkpointed, since each slice changes the table that it is made from.
    ids = Frames().checkpoint(
        rows.select("news_id", "content_hash", known.alias("copyable"), old.alias("outdated"))
    )
    copyable, outdated = F.col("copyable"), F.col("outdated")
    texts_to_encode = F.countDistinct(F.when(~copyable, F.col("content_hash")))
    row = ids.agg(
        F.count_if(copyable),
        F.count_if(~copyable & outdated),
        F.count_if(~copyable & ~outdated),
        texts_to_encode,
    ).head()
    assert row is not None
    return _Work(ids, *(int(count) for count in row))


def _copy(lake: Lakehouse, work: _Work, encoder: ResolvedEncoder) -> int:
    return lake.merge(TABLE, copies(work.ids.where("copyable"), vectors_of(lake, encoder))).rows


def _encode(
    lake: Lakehouse,
    run: JobRun,
    news: DataFrame,
    encoder: ResolvedEncoder,
    settings: EmbedSettings,
    work: _Work,
    *,
    slices: int,
    tasks: int,
) -> int:
    """Encode and commit slice by slice; returns the number of articles that got a vector or went to
    quarantine.

    A slice is chosen by a hash of the content, so that it is the same whatever earlier slices did, and a text
    that fails is met once in a run.
    """
    texts = news.select("news_id", "title", "abstract", "body", "content_hash")
    todo = texts.join(work.to_encode().drop("outdated"), on=["news_id", "content_hash"], how="left_semi")
    began, settled, done, failed, tokens = run.seconds, 0, 0, 0, 0
    for number in range(slices):
        articles = todo.where(F.pmod(F.xxhash64("content_hash"), F.lit(slices)) == number)
        with Frames() as frames:
            found = encode_texts(
                lake,
                run,
                frames,
                articles,
                encoder,
                settings,
                tasks=tasks,
                write=lambda rows: _write(lake, rows, work),
            )
        run.wrote(TABLE, found.written)
        settled += found.written + found.rejected
        done, failed, tokens = done + found.texts, failed + found.failed, tokens + found.tokens
        rate = done / max(run.seconds - began, 1e-9)
        to_go = max(work.texts - done, 0) / rate if rate else 0.0
        run.progress(
            f"slice {number + 1} of {slices}: {done:,} of {work.texts:,} texts, {rate:,.0f} a second, about"
            f" {to_go:,.0f} s to go"
        )
    run.fact("texts encoded", done - failed)
    run.fact("tokens", tokens)
    return settled


def _write(lake: Lakehouse, rows: DataFrame, work: _Work) -> int:
    """Write vectors, all of which are new or differ; returns how many there were.

    What replaces an older vector and what is new go apart: each is about half the work of a merge that has to
    expect both.
    """
    if not work.outdated:
        return lake.merge(TABLE, rows, update=False).rows
    if not work.new:
        return lake.update(TABLE, rows).rows
    old = work.to_encode().where("outdated").select("news_id")
    updated = lake.update(TABLE, rows.join(old, on="news_id", how="left_semi")).rows
    return updated + lake.merge(TABLE, rows.join(old, on="news_id", how="left_anti"), update=False).rows
