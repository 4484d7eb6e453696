"""find_stories: near-identical articles get one story_id."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.leaders import joined
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one, utc_now
from newslake.search.knn_settings import BY_DEFAULT, KnnSettings, SearchOptions
from newslake.search.nearest import nearest
from newslake.search.scratch import Scratch, scratch
from newslake.search.sides import EMBEDDINGS, embedding_side, quarantine, with_vector
from newslake.spark.frames import Frames

STORIES = "stories"
LINKS = "later string, earlier string, cosine float, known boolean, cut boolean"
_DECIDED = pa.schema([("news_id", pa.string()), ("story_id", pa.string()), ("cosine", pa.float32())])
_DECIDED_DDL = "news_id string, story_id string, cosine float"
_MORE = 4  # times as many neighbours where those looked at did not suffice


def find_stories(
    lake: Lakehouse,
    run: JobRun,
    *,
    days: float = 3.0,
    min_cosine: float = 0.86,
    min_cosine_alone: float = 0.92,
    neighbours: int = 32,
    encoder_id: str | None = None,
    search: SearchOptions = BY_DEFAULT,
    scratch_folder: str | None = None,
) -> None:
    """Give every new article its story: that of an earlier article that is nearly the same, or one of its
    own.

    Near-identical are articles published within --days of each other that name an entity in common and whose
    vectors have a cosine of --min-cosine or more; where one of them names no entity, or they share none, a
    cosine of --min-cosine-alone decides by itself. An article joins the nearest story whose first article is
    near-identical to it, in the order of publication; table stories keeps the first article's id as story_id.
    Newsfeeds then show one article of a story, and a story has one voice in the vote on short texts.

    Articles without a row are compared with each other and with the first articles of stories of those days,
    exactly. A row that is there stays as it is: an earlier copy that arrives late joins the story whose first
    was published after it, and changes neither its id nor its members. The story of a text that changes later
    stays what it was. Articles without a date or a vector have no story.

    Args:
        days: How far apart in time an article and the first of its story may lie.
        min_cosine: Of articles that name an entity in common; depends on the encoder (docs/search.md says
            what was measured).
        min_cosine_alone: Of other articles.
        neighbours: Nearest articles to look at first; more are looked at where these do not decide.
        encoder_id: Whose vectors to compare (default: those of each encoder in table article_embeddings,
            apart).
        scratch_folder: Folder for small files between Spark and its workers (default: _scratch in the work
            folder).
    """
    if days <= 0 or neighbours < 2:
        raise UserError("--days must be above 0, --neighbours at least 2")
    if not 0.0 < min_cosine <= min_cosine_alone <= 1.0:
        raise UserError(
            f"--min-cosine {min_cosine} and --min-cosine-alone {min_cosine_alone}: take 0 to 1, the second no"
            " less than the first"
        )
    settings = search.settings()
    embeddings = lake.read(EMBEDDINGS)
    if encoder_id is None:
        encoders = sorted(row[0] for row in embeddings.select("encoder_id").distinct().collect())
    else:
        encoders = [
            the_one(
                embeddings,
                "encoder_id",
                encoder_id,
                table=EMBEDDINGS,
                built_by="encode_articles",
                things="vectors",
            )
        ]
    lake.create(STORIES)
    now = utc_now()
    for encoder in encoders:
        with Frames() as frames, scratch(lake, scratch_folder) as files:
            finder = _Finder(
                lake,
                run,
                frames,
                files,
                encoder,
                timedelta(days=days),
                (min_cosine, min_cosine_alone),
                settings,
            )
            found = finder.find(neighbours)
            if found is not None:
                rows = found.select(
                    "news_id",
                    F.lit(encoder).alias("encoder_id"),
                    "story_id",
                    "cosine",
                    F.lit(now).alias("decided_at"),
                )
                run.wrote(STORIES, lake.merge(STORIES, rows, update=False).rows)


def articles(news: DataFrame) -> DataFrame:
    """Dated articles: news_id, content_hash, published_at, named (ids of the entities, or their labels)."""
    named = F.transform("entities", lambda entity: F.coalesce(entity["wikidata_id"], entity["label"]))
    return news.where(F.col("published_at").isNotNull()).select(
        "news_id",
        "content_hash",
        "published_at",
        F.coalesce(named, F.array().cast("array<string>")).alias("named"),
    )


def links(
    found: DataFrame, nodes: DataFrame, *, k: int, days: timedelta, cosines: tuple[float, float]
) -> DataFrame:
    """Links between near-identical articles, as LINKS: from an article to one that is published before it, or
    to a first.

    Args:
        found: query_id, item_id, score, rank: the k nearest of each undecided article, itself among them.
        nodes: news_id, published_at, named, known (whether it is the first of a story that is decided).
        k: how many were looked for.
        days: how far they may lie apart.
        cosines: the least of two with an entity in common, and of any two.

    Returns:
        Also a row without `earlier` and with `cut` for each article that may have more links than those k.
    """
    near = found.where(F.col("score") >= F.lit(cosines[0]).cast("float"))
    cut = near.where(F.col("rank") >= k).select(
        F.col("query_id").alias("later"),
        F.lit(None).cast("string").alias("earlier"),
        F.lit(None).cast("float").alias("cosine"),
        F.lit(False).alias("known"),
        F.lit(True).alias("cut"),
    )
    own = nodes.select(
        F.col("news_id").alias("later"), F.col("published_at").alias("at"), F.col("named").alias("own_named")
    )
    other = nodes.select(F.col("news_id").alias("earlier"), "published_at", "named", "known")
    pairs = near.where(F.col("query_id") != F.col("item_id")).select(
        F.col("query_id").alias("later"), F.col("item_id").alias("earlier"), F.col("score").alias("cosine")
    )
    pairs = pairs.join(own, on="later", how="inner").join(other, on="earlier", how="inner")
    before = (F.col("published_at") < F.col("at")) | (
        (F.col("published_at") == F.col("at")) & (F.col("earlier") < F.col("later"))
    )
    apart = F.abs(F.unix_micros("at") - F.unix_micros("published_at"))
    alike = F.arrays_overlap("named", "own_named") | (F.col("cosine") >= F.lit(cosines[1]).cast("float"))
    kept = pairs.where(
        (F.col("known") | before)
        & (apart <= int(days.total_seconds() * 1e6))
        & F.coalesce(alike, F.lit(False))
    )
    return kept.select("later", "earlier", "cosine", "known", F.lit(False).alias("cut")).union(cut)


def decided(found: DataFrame) -> DataFrame:
    """Each linked article's story: news_id, story_id (NULL where more links must be known), cosine with the
    story's first.

    Args:
        found: LINKS. One task takes them all: some 50 bytes for each pair of near-identical articles.
    """
    return found.repartition(1).mapInArrow(_decide, _DECIDED_DDL)


def _decide(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    parts = [batch for batch in batches if batch.num_rows]
    if not parts:
        return
    table = pa.Table.from_batches(parts).combine_chunks()
    names = pa.concat_arrays(
        [
            pa.array(table[side].combine_chunks().drop_null()).cast(pa.string())
            for side in ("later", "earlier")
        ]
    )
    ids = names.unique().sort()
    number = {side: pc.index_in(table[side], ids) for side in ("later", "earlier")}
    linked = table["earlier"].is_valid().to_numpy()
    later = number["later"].to_numpy().astype(np.int64)
    earlier = number["earlier"].fill_null(0).to_numpy().astype(np.int64)[linked]
    cosine = table["cosine"].fill_null(0.0).to_numpy()[linked]
    known, cut = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    known[earlier[table["known"].to_numpy()[linked]]] = True
    cut[later[~linked]] = True
    first_of = joined(later[linked], earlier, cosine, known, cut)
    asked = np.unique(later)
    own = np.full(len(ids), 1.0, np.float32)
    chosen = first_of[later[linked]] == earlier
    own[later[linked][chosen]] = cosine[chosen]
    story = ids.take(pa.array(np.maximum(first_of[asked], 0), mask=first_of[asked] < 0))
    yield pa.RecordBatch.from_arrays(
        [ids.take(pa.array(asked)), story, pa.array(own[asked])], schema=_DECIDED
    )


class _Finder:
    """The search of one encoder's articles without a story."""

    def __init__(
        self,
        lake: Lakehouse,
        run: JobRun,
        frames: Frames,
        files: Scratch,
        encoder: str,
        days: timedelta,
        cosines: tuple[float, float],
        settings: KnnSettings,
    ) -> None:
        self._lake, self._run, self._frames, self._files = lake, run, frames, files
        self._encoder, self._days, self._cosines, self._settings = encoder, days, cosines, settings

    def find(self, k: int) -> DataFrame | None:
        """news_id, story_id, cosine of each article that has no row yet; None where there is none."""
        lake, frames = self._lake, self._frames
        vectors = lake.read(EMBEDDINGS).where(F.col("encoder_id") == self._encoder)
        before = lake.read(STORIES).where(F.col("encoder_id") == self._encoder)
        dated = articles(lake.read("news"))
        fresh = with_vector(dated, vectors).drop("content_hash").join(before, on="news_id", how="left_anti")
        fresh = frames.keep(fresh.withColumn("known", F.lit(False)))
        span = fresh.agg(
            F.count("*").alias("n"), F.min("published_at").alias("first"), F.max("published_at").alias("last")
        ).head()
        assert span is not None
        self._run.rows_in(span["n"])
        self._run.progress(f"{span['n']:,} articles without a story, by {self._encoder}")
        if span["n"] == 0:
            return None
        near = dated.where(
            F.col("published_at").between(F.lit(span["first"] - self._days), F.lit(span["last"] + self._days))
        )
        firsts = before.where(F.col("news_id") == F.col("story_id")).select("news_id")
        firsts = near.join(firsts, on="news_id", how="left_semi").join(
            vectors.select("news_id"), on="news_id", how="left_semi"
        )
        return self._passes(
            fresh, frames.keep(firsts.drop("content_hash").withColumn("known", F.lit(True))), k
        )

    def _passes(self, fresh: DataFrame, firsts: DataFrame, k: int) -> DataFrame:
        frames, rows, number = self._frames, [], 0
        while True:
            nodes = fresh.unionByName(firsts)
            found = frames.keep(self._search(fresh, nodes, k, number))
            if number == 0:
                quarantine(
                    self._lake, self._run, found, sources={"query_id": EMBEDDINGS, "item_id": EMBEDDINGS}
                )
            wrong = found.where(F.col("problem").isNotNull()).select(
                F.coalesce("query_id", "item_id").alias("news_id")
            )
            linked = links(
                found.where(F.col("problem").isNull()), nodes, k=k, days=self._days, cosines=self._cosines
            )
            linked = frames.checkpoint(decided(linked))
            alone = fresh.join(linked, on="news_id", how="left_anti").join(
                wrong, on="news_id", how="left_anti"
            )
            itself = alone.select(
                "news_id", F.col("news_id").alias("story_id"), F.lit(1.0).cast("float").alias("cosine")
            )
            done = linked.where(F.col("story_id").isNotNull()).union(itself)
            rows.append(done)
            waiting = linked.where(F.col("story_id").isNull()).select("news_id")
            if waiting.isEmpty():
                break
            begun = fresh.join(done.where(_is_first()), on="news_id", how="left_semi").withColumn(
                "known", F.lit(True)
            )
            fresh, firsts = (
                frames.checkpoint(fresh.join(waiting, on="news_id", how="left_semi")),
                frames.checkpoint(firsts.unionByName(begun)),
            )
            k, number = _MORE * k, number + 1
        every = rows[0]
        for more in rows[1:]:
            every = every.union(more)
        every = frames.keep(every)
        told = every.agg(
            F.count_if(_is_first()).alias("stories"), F.count_if(~_is_first()).alias("copies")
        ).head()
        assert told is not None
        for name in ("stories", "copies"):
            self._run.fact(f"{name} by {self._encoder}", int(told[name]))
        return every

    def _search(self, fresh: DataFrame, nodes: DataFrame, k: int, number: int) -> DataFrame:
        queries = embedding_side(self._lake, self._encoder, self._files, fresh, f"fresh{number}")
        items = embedding_side(self._lake, self._encoder, self._files, nodes, f"nodes{number}")
        return nearest(self._lake.spark, queries, items, k=k, settings=self._settings)


def _is_first() -> Column:
    return F.col("news_id") == F.col("story_id")
