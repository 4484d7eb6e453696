"""What newsfeeds are like beside how well they rank: how varied, how much of what there is, how new, how near
to the reader's mix.

Intra-list diversity is that of Ziegler et al. (WWW 2005), novelty the mean self-information of Zhou et al.
(PNAS 2010) and Vargas and Castells (RecSys 2011), miscalibration Steck's (RecSys 2018).
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.ranking.calibration import ALPHA
from newslake.search.unit_rows import unit_rows
from newslake.search.vector_files import VectorFiles, chunks

_DIGITS = 9
"""Sums of doubles depend on the order in which Spark adds them: the last digits are left out, so that a rerun
writes the same."""
_READ_ROWS = 8192


def distances(
    unit: npt.NDArray[np.float32], item: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The mean of 1 - cosine over all pairs of each list; NaN where it has no pair.

    Args:
        unit: (m, d) vectors of unit length.
        item: rows of `unit`, list after list.
        counts: (n,) how many each list has.
    """
    found = np.full(len(counts), np.nan)
    some = np.flatnonzero(counts > 1)
    start = np.cumsum(counts) - counts
    # A list holds tens of rows: the sums of one fit the cache, all lists' rows at once might not fit the
    # memory.
    for one in some:
        total = unit[item[start[one] : start[one] + counts[one]]].sum(axis=0, dtype=np.float64)
        pairs = counts[one] * (counts[one] - 1)
        found[one] = 1.0 - (total @ total - counts[one]) / pairs
    return found


def list_distances(feeds: DataFrame, side: VectorFiles) -> DataFrame:
    """The intra-list diversity of each reader's feed: user_id, distance; readers with fewer than two articles
    with a vector are left out.

    Args:
        feeds: user_id, news_id.
        side: vectors of the articles; every worker holds them.
    """
    units = side.units()
    dimension = side.dimension(units)
    listed = feeds.groupBy("user_id").agg(F.sort_array(F.collect_list("news_id")).alias("items"))
    schema = "user_id string, distance double"
    if dimension is None:
        return listed.limit(0).select("user_id", F.lit(None).cast("double").alias("distance"))
    return listed.mapInArrow(partial(_of_lists, side, dimension), schema)


def _of_lists(
    side: VectorFiles, dimension: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    ids: pa.Array | None = None
    for batch in batches:
        if ids is None:
            parts = list(chunks(side, side.units(), dimension=dimension, rows=_READ_ROWS, zero_is_wrong=True))
            ids = pa.concat_arrays([part.ids for part in parts]) if parts else pa.array([], pa.string())
            vectors = (
                np.concatenate([part.vectors for part in parts])
                if parts
                else np.empty((0, dimension), np.float32)
            )
            unit = unit_rows(vectors)
        lists = batch.column("items")
        place = pc.index_in(lists.flatten(), ids)
        owner = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())[
            place.is_valid().to_numpy(zero_copy_only=False)
        ]
        item = place.drop_null().to_numpy().astype(np.int64)
        found = distances(unit, item, np.bincount(owner, minlength=len(lists)))
        kept = ~np.isnan(found)
        yield pa.RecordBatch.from_pydict(
            {"user_id": batch.column("user_id").filter(pa.array(kept)), "distance": pa.array(found[kept])},
        )


def entry_figures(feeds: DataFrame, rates: DataFrame) -> DataFrame:
    """One row: readers, entries, articles, coverage, novelty, new_share.

    Args:
        feeds: user_id, news_id.
        rates: news_id, impressions of each candidate of the hour.
    """
    total = rates.agg(F.sum("impressions").alias("all_shown"), F.count("*").alias("candidates"))
    rows = feeds.join(
        F.broadcast(rates.select("news_id", "impressions")), on="news_id", how="inner"
    ).crossJoin(F.broadcast(total))
    share = (F.col("impressions") + 1) / (F.col("all_shown") + F.col("candidates"))
    return rows.agg(
        F.countDistinct("user_id").alias("readers"),
        F.count("*").alias("entries"),
        F.countDistinct("news_id").alias("articles"),
        (F.countDistinct("news_id") / F.first("candidates")).alias("coverage"),
        F.round(F.avg(-F.log2(share)), _DIGITS).alias("novelty"),
        F.round(F.avg((F.col("impressions") == 0).cast("double")), _DIGITS).alias("new_share"),
    )


def miscalibrations(feeds: DataFrame, categories: DataFrame, mix: DataFrame) -> DataFrame:
    """KL(p || q) of each reader with a mix: user_id, miscalibration. q has a hundredth of p in it
    (calibration.ALPHA).

    Args:
        feeds: user_id, news_id.
        categories: news_id, category.
        mix: user_id, mix (category -> share), as calibration.mixes gives.
    """
    named = feeds.join(F.broadcast(categories.select("news_id", "category")), on="news_id", how="inner")
    of_feed = named.groupBy("user_id", "category").agg(F.count("*").alias("n"))
    sizes = named.groupBy("user_id").agg(F.count("*").alias("size"))
    p = mix.join(sizes, on="user_id", how="inner").select(
        "user_id", "size", F.explode("mix").alias("category", "p")
    )
    joined = p.join(of_feed, on=["user_id", "category"], how="left")
    q = (1.0 - ALPHA) * F.coalesce("n", F.lit(0)) / F.col("size") + ALPHA * F.col("p")
    return joined.groupBy("user_id").agg(F.sum(F.col("p") * F.log(F.col("p") / q)).alias("miscalibration"))


def mean_of(rows: DataFrame, column: str) -> float | None:
    """The mean of a column, without the last digits; None where there is no row."""
    found = rows.agg(F.round(F.avg(column), _DIGITS)).head()
    return None if found is None else found[0]


def quality(
    feeds: DataFrame, rates: DataFrame, categories: DataFrame, mix: DataFrame, side: VectorFiles
) -> dict[str, Any]:
    """The columns of table feed_quality but for hour and diversity, of one hour's feeds; empty where there
    are none.

    Args:
        feeds: user_id, news_id.
        rates: news_id, impressions of each candidate.
        categories: news_id, category of each.
        mix: of the readers, from calibration.mixes.
        side: the candidates' vectors.
    """
    row = entry_figures(feeds, rates).head()
    if row is None or not row["entries"]:
        return {}
    return {
        **row.asDict(),
        "intra_list_diversity": mean_of(list_distances(feeds, side), "distance"),
        "miscalibration": mean_of(miscalibrations(feeds, categories, mix), "miscalibration"),
    }
