"""stream_articles: articles as they appear, from Kafka or files, into news and everything that follows from
it."""

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.intake.articles import settled
from newslake.intake.sources.events.article_messages import newest, read_articles, refuse_purged
from newslake.intake.sources.events.fields import as_rejected
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import commonest, send
from newslake.serving.export import export_articles
from newslake.spark.frames import Frames
from newslake.streaming.enrich import Models, enrich
from newslake.streaming.options import STREAM, StreamOptions
from newslake.streaming.running import run_stream
from newslake.switches.horizon import horizon
from newslake.text.embed import Device, EmbedSettings
from newslake.text.spec import ENCODER, EncoderSpec, resolve

_TABLES = ("news", "quarantine", "article_embeddings")


def stream_articles(
    lake: Lakehouse,
    run: JobRun,
    *,
    stream: StreamOptions = STREAM,
    older_than: int | None = None,
    milvus: str | None = None,
    milvus_token: str | None = None,
    encoding: EncoderSpec = ENCODER,
    device: Device = "auto",
    batch_tokens: int | None = None,
    topic_model: str | None = None,
) -> None:
    """Read articles from a Kafka topic or a folder of JSON lines into news, encode them, assign topics and
    join the vectors.

    A message is one JSON object (docs/messages/article.schema.json). Of an article's versions the newest
    stays, by updated_at, then by the hash of its text, however often and in whatever order they arrive. What
    cannot be used goes to table quarantine, and the stream goes on. A killed run is taken up where it was:
    nothing is lost, and nothing is there twice.

    Topics and joined vectors are made where a topic model is fitted; else the articles wait for fit_topics
    and assign_topics.

    Args:
        older_than: Refuse articles published more than so many days ago. Those before the horizon of the
            latest purge_news always are.
        milvus: Also bring Milvus up to date after each batch: a server's address, or a local file that ends
            in .db.
        milvus_token: Of the Milvus server, such as user:password (default: MILVUS_TOKEN of the environment).
            It is not logged.
        device: Where to encode, as for encode_articles.
        batch_tokens: Tokens of a batch, as for encode_articles.
        topic_model: The fitted version (default: the active one, also where it is fitted while the stream
            runs, and the candidate).
    """
    if older_than is not None and older_than < 1:
        raise UserError("--older-than takes 1 day or more")
    source, trigger, watch = stream.source(messages=1000), stream.trigger(), stream.watch(run)
    remembered = source.checkpoint(lake, run.job, stream.checkpoint)
    found = resolve(encoding)
    models = Models(found, EmbedSettings(device=device, batch_tokens=batch_tokens), topic_model)
    known = [model.topic_model for model in models.topic_models(lake)]
    source.check(lake.spark)
    source.tell_changed(lake.spark, run, remembered)
    run.fact("encoder_id", found.encoder_id)
    run.fact(
        "topic_model",
        known[-1] if known else "none fitted yet: article_topics and article_vectors wait for fit_topics",
    )
    run.progress(f"reading {source}; topic model: {run.facts['topic_model']}")
    for table in _TABLES:
        lake.create(table)
    messages = read_articles(source.messages(lake.spark), older_than)
    work = partial(take_articles, run=run, models=models, milvus=milvus, milvus_token=milvus_token)
    run_stream(lake, run, messages, work, checkpoint=remembered, trigger=trigger, watch=watch)


def take_articles(
    lake: Lakehouse,
    batch: DataFrame,
    *,
    run: JobRun,
    models: Models,
    milvus: str | None = None,
    milvus_token: str | None = None,
) -> str:
    """One micro-batch into the tables; the same batch again changes nothing.

    Each step looks at what the tables lack for the batch's articles, not at what the step before it wrote: a
    batch that was cut off anywhere is completed when it comes again.

    Args:
        lake: the tables, by the batch's session.
        batch: from read_articles.
        run: takes the counts.
        models: what to encode and assign with.
        milvus: where vectors go on to, if anywhere.
        milvus_token: of the Milvus server.

    Returns:
        What was done, in a few words.
    """
    with Frames() as frames:
        batch = frames.keep(refuse_purged(batch, horizon(lake)))
        counted = batch.agg(F.count("*"), F.count("problem"), F.min("arrived_at"), F.max("arrived_at")).head()
        assert counted is not None
        run.arrived(counted[2], counted[3])
        run.rows_in(counted[0])
        if counted[1]:
            bad = batch.where(F.col("problem").isNotNull())
            send(lake, run, as_rejected(bad, F.col("news_id")), job=run.job)
            run.could_not_use(counted[1], commonest(bad, "problem"))
        said = f"{counted[0]:,} messages, {counted[1]:,} of them unusable"
        if counted[0] == counted[1]:
            return said
        arrived = frames.keep(newest(batch.where(F.col("problem").isNull())))
        written = lake.merge("news", settled(arrived, lake.read("news"))).rows
        run.wrote("news", written)
        now = frames.keep(
            lake.read("news").join(F.broadcast(arrived.select("news_id")), on="news_id", how="left_semi")
        )
        said += f", {written:,} rows to news, {enrich(lake, run, now, models)}"
        if milvus is not None and (known := models.topic_models(lake)):
            export_articles(
                lake,
                run,
                uri=milvus,
                token=milvus_token,
                encoder_id=models.encoder.encoder_id,
                topic_model=known[-1].topic_model,
                only=now.select("news_id"),
            )
    return said
