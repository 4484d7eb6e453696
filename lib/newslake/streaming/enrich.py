"""What follows from articles that are new or changed, for a few of them at a time: embedding, topics, joined
vector.

The functions are those of encode_articles, assign_topics and build_article_vectors; here they look only at
the articles of one micro-batch, so that a batch costs by its own size, and by the narrow columns of what is
there.
"""

from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import vector_size
from newslake.run.jobrun import JobRun
from newslake.spark.connect import parallelism
from newslake.spark.frames import Frames
from newslake.switches.topic_model import known_topic_models
from newslake.text import articles as text
from newslake.text.embed import EmbedSettings
from newslake.text.rows import copies, pending
from newslake.text.spec import ResolvedEncoder
from newslake.text.write import encode_texts
from newslake.topics import article_vectors as joint
from newslake.topics import assign as topics
from newslake.topics.fit import TOPICS
from newslake.topics.inference import TopicModel

_TEXTS_PER_TASK = 32


@dataclass
class Models:
    """The encoder, and the topic models where one is there; a model that is fitted, or made active, while the
    stream runs is taken up.

    Attributes:
        encoder: from text.spec.resolve.
        settings: how the workers run it.
        wanted: the topic model that was asked for; None: the active one, and the candidate where there is
            one.
    """

    encoder: ResolvedEncoder
    settings: EmbedSettings
    wanted: str | None = None
    _loaded: dict[str, TopicModel] = field(default_factory=dict)

    def topic_models(self, lake: Lakehouse) -> list[TopicModel]:
        """The models to use now, the active one last; none where none is fitted yet.

        Raises:
            UserError: the one that was asked for is not there.
        """
        if self.wanted is not None and not lake.exists(TOPICS):
            raise UserError(f"--topic-model {self.wanted}: no topic model in {lake} yet: run fit_topics")
        names = known_topic_models(lake) if self.wanted is None else [self.wanted]
        self._loaded = {name: self._loaded.get(name) or topics.load_model(lake, name) for name in names}
        return [self._loaded[name] for name in names]


def enrich(lake: Lakehouse, run: JobRun, news: DataFrame, models: Models) -> str:
    """Embeddings, topics and joined vectors for these articles, where they lack them for their present text.

    Args:
        lake: where the tables live.
        run: takes the counts.
        news: the articles' rows of news, few.
        models: what to encode and assign with.

    Returns:
        What was written, in a few words.
    """
    with Frames() as frames:
        written, fresh = _embed(lake, run, news, models, frames)
        known = models.topic_models(lake)
        if not known:
            return f"{written:,} vectors"
        assigned = sum(_assign(lake, run, news, model) for model in known)
        joined = sum(
            _join(lake, run, news, models.encoder.encoder_id, model.topic_model, fresh) for model in known
        )
        return f"{written:,} vectors, {assigned:,} rows of topics, {joined:,} joined vectors"


def _embed(
    lake: Lakehouse, run: JobRun, news: DataFrame, models: Models, frames: Frames
) -> tuple[int, DataFrame]:
    """Encode; gives the number of rows written, and the rows that were encoded just now, whose vectors need
    not be read again."""
    encoder = models.encoder
    lake.create(text.TABLE)
    stored = text.vectors_of(lake, encoder)
    # Whoever has one of these texts, under whatever id: narrow columns, of few rows.
    hashes = F.broadcast(news.select("content_hash").distinct())
    known = frames.keep(
        stored.select("news_id", "content_hash").join(hashes, on="content_hash", how="left_semi")
    )
    todo = frames.keep(pending(news, known))
    texts = known.select("content_hash").distinct()
    copied = 0
    if not todo.join(texts, on="content_hash", how="left_semi").isEmpty():
        copied = lake.merge(text.TABLE, copies(todo, stored)).rows
        todo = frames.keep(todo.join(texts, on="content_hash", how="left_anti"))
    count = todo.count()
    if not count:
        run.wrote(text.TABLE, copied)
        return copied, stored.limit(0)
    tasks = max(1, min(2 * parallelism(lake.spark), -(-count // _TEXTS_PER_TASK)))
    found = encode_texts(
        lake,
        run,
        frames,
        todo,
        encoder,
        models.settings,
        tasks=tasks,
        write=lambda rows: lake.merge(text.TABLE, rows).rows,
    )
    written = copied + found.written
    run.wrote(text.TABLE, written)
    return written, found.rows


def _assign(lake: Lakehouse, run: JobRun, news: DataFrame, model: TopicModel) -> int:
    lake.create(topics.TABLE)
    stored = _of(topics.topics_of(lake, model.topic_model), news)
    return topics.write_topics(lake, run, topics.pending(news, stored), model).written


def _join(
    lake: Lakehouse, run: JobRun, news: DataFrame, encoder: str, topic_model: str, fresh: DataFrame
) -> int:
    lake.create(joint.TABLE)
    one_encoder, one_model = F.col("encoder_id") == encoder, F.col("topic_model") == topic_model
    embeddings = lake.read(text.TABLE).where(one_encoder)
    places = lake.read(TOPICS).where(one_model)
    size = vector_size(places, "vector", f"topic model {topic_model}")
    assert size is not None  # the model is loaded from these rows
    with Frames() as frames:
        texts = _of(embeddings.select("news_id", "content_hash"), news)
        wanted = frames.keep(joint.inputs(news, texts, _of(topics.topics_of(lake, topic_model), news)))
        stored = frames.keep(_of(lake.read(joint.TABLE).where(one_encoder & one_model).drop("vector"), news))
        todo = frames.keep(joint.stale(wanted, stored))
        if todo.isEmpty():
            run.wrote(joint.TABLE, 0)
            return 0
        have = fresh.select("news_id", "content_hash")
        if not todo.join(have, on=["news_id", "content_hash"], how="left_anti").isEmpty():
            fresh = embeddings  # copied, or encoded before a kill: only then is the wide column read
        rows = joint.vector_rows(
            todo, fresh, places, encoder=encoder, topic_model=topic_model, topic_size=size
        )
        return joint.write_vectors(lake, run, rows, joint.moved(wanted, stored))


def _of(rows: DataFrame, news: DataFrame) -> DataFrame:
    """Those rows that are of these articles."""
    return rows.join(F.broadcast(news.select("news_id")), on="news_id", how="left_semi")
