"""The articles nearest to one: a look from a notebook. Jobs search for many at once, see nearest.py."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.vector_columns import unit
from newslake.run.options import the_one
from newslake.search.sides import EMBEDDINGS


def similar_articles(
    lake: Lakehouse, news_id: str, *, k: int = 10, encoder_id: str | None = None
) -> DataFrame:
    """The k articles whose embeddings are nearest to that of an article, by their cosine, exact; itself left
    out.

    Computed in one pass of Spark over the embeddings.

    Args:
        lake: with article_embeddings and news.
        news_id: the article.
        k: how many.
        encoder_id: whose vectors, where the table holds several encoders'.

    Returns:
        rank (1 is the nearest), news_id, cosine, category, title, in the order of rank; equal cosines in the
            order of their ids.

    Raises:
        UserError: k is below 1, or the article has no embedding.
    """
    if k < 1:
        raise UserError(f"k is {k}: take 1 or more")
    embeddings = lake.read(EMBEDDINGS)
    chosen = the_one(
        embeddings, "encoder_id", encoder_id, table=EMBEDDINGS, built_by="encode_articles", things="vectors"
    )
    rows = embeddings.where(F.col("encoder_id") == chosen).select(
        "news_id", unit(F.col("embedding")).alias("unit")
    )
    rows = rows.where(F.col("unit").isNotNull())
    mine = rows.where(F.col("news_id") == news_id).select(F.col("unit").alias("query"))
    if mine.isEmpty():
        raise UserError(
            f"article {news_id} has no embedding by {chosen} in {lake}: is it in table news, and has"
            " encode_articles run?"
        )
    products = F.zip_with("unit", "query", lambda a, b: a.cast("double") * b.cast("double"))
    cosine = F.aggregate(products, F.lit(0.0), lambda total, product: total + product)
    others = (
        rows.where(F.col("news_id") != news_id)
        .crossJoin(F.broadcast(mine))
        .select("news_id", cosine.alias("cosine"))
    )
    nearest = others.orderBy(F.desc("cosine"), "news_id").limit(k)
    known = lake.read("news").select("news_id", "category", "title")
    rank = F.row_number().over(Window.orderBy(F.desc("cosine"), "news_id"))
    found = nearest.join(known, on="news_id", how="left").withColumn("rank", rank).orderBy("rank")
    return found.select("rank", "news_id", "cosine", "category", "title")
