"""Tags of articles: entity labels, category, subcategory, and keywords by TF-IDF."""

from pyspark.ml.feature import IDF, CountVectorizer, StopWordsRemover
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.spark.frames import Frames, frame_of
from newslake.topics.words import article_text, with_terms
from newslake.users.events import as_tag

SHARES = {"entity": 1.0, "subcategory": 0.8, "category": 0.5, "keyword": 0.5}
"""How much of an article's weight each of its tags gets, by what the tag is; a keyword its part of it, the
best one all."""
_VOCABULARY = 1 << 18


def article_tags(news: DataFrame, rarity: DataFrame | None, keywords: int) -> DataFrame:
    """The tags of articles: news_id, tag, share (over 0, up to 1). Where a tag is several things, the largest
    share counts.

    Args:
        news: rows of table news.
        rarity: term, idf, from term_rarity; None: no keywords.
        keywords: the best so many keywords of an article are tags.
    """
    labels = F.transform(
        F.coalesce("entities", F.array()), lambda entity: _weighed(entity["label"], "entity")
    )
    others = F.array(_weighed(F.col("category"), "category"), _weighed(F.col("subcategory"), "subcategory"))
    texts = news.select("news_id", F.explode(F.concat(labels, others)).alias("one")).select(
        "news_id", "one.*"
    )
    tags = texts.select("news_id", as_tag(F.col("text")).alias("tag"), "share")
    if rarity is not None and keywords > 0:
        tags = tags.unionByName(best_keywords(news, rarity, keywords))
    return tags.where(F.col("tag").isNotNull()).groupBy("news_id", "tag").agg(F.max("share").alias("share"))


def term_rarity(news: DataFrame, most: int) -> DataFrame | None:
    """Inverse document frequencies by Spark ML, from up to `most` articles: term, idf. None where there is no
    article.

    idf = log((articles + 1) / (articles with the term + 1)); terms of a single article are left out. The
    articles are those of the lowest hashes of their ids, so that the cost is bounded and the same articles
    are taken whatever their order.
    """
    chosen = news.select("news_id").orderBy(F.xxhash64("news_id"), "news_id").limit(most)
    read = with_terms(
        news.join(chosen, on="news_id", how="left_semi").select("news_id", article_text().alias("text")),
        "text",
    )
    with Frames() as frames:
        read = frames.keep(
            StopWordsRemover(inputCol="terms", outputCol="words").transform(read).select("words")
        )
        if read.where(F.size("words") > 0).isEmpty():
            return None
        counter = (
            CountVectorizer(inputCol="words", outputCol="counts", vocabSize=_VOCABULARY, minDF=2.0)
            .setBinary(True)
            .fit(read)
        )
        if not counter.vocabulary:
            return None
        idf = IDF(inputCol="counts", outputCol="weighted").fit(counter.transform(read)).idf.toArray()
    pairs = [(term, float(value)) for term, value in zip(counter.vocabulary, idf, strict=True)]
    return frame_of(news.sparkSession, pairs, "term string, idf double")


def best_keywords(news: DataFrame, rarity: DataFrame, most: int) -> DataFrame:
    """The terms of highest TF-IDF of each article: news_id, tag, share. Term frequency is the count in title,
    abstract and body."""
    terms = with_terms(news.select("news_id", article_text().alias("text")), "text")
    counted = (
        terms.select("news_id", F.explode("terms").alias("term"))
        .groupBy("news_id", "term")
        .agg(F.count("*").alias("times"))
    )
    scored = counted.join(F.broadcast(rarity), on="term", how="inner").withColumn(
        "score", F.col("times") * F.col("idf")
    )
    ranked = Window.partitionBy("news_id").orderBy(F.desc("score"), "term")
    best = (
        scored.where("score > 0")
        .withColumn("place", F.row_number().over(ranked))
        .where(F.col("place") <= most)
    )
    top = F.max("score").over(Window.partitionBy("news_id"))
    return best.select(
        "news_id",
        as_tag(F.col("term")).alias("tag"),
        (F.lit(SHARES["keyword"]) * F.col("score") / top).alias("share"),
    )


def _weighed(text: Column, kind: str) -> Column:
    return F.struct(text.alias("text"), F.lit(SHARES[kind]).alias("share"))
