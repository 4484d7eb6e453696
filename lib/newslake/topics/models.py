"""What fit_topics fits, by Spark ML: LDA over a bounded vocabulary, and Word2Vec for the vectors of its
terms."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from pyspark.ml.clustering import LDA
from pyspark.ml.feature import CountVectorizerModel, StopWordsRemover, Word2Vec
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.run.jobrun import JobRun
from newslake.run.options import flag, option_group
from newslake.spark.frames import Frames
from newslake.topics.words import VERSION, with_terms

_ROWS_A_TASK = 5_000
_MOST_TASKS = 256
_BATCH_ROWS = 10_000
"""Texts in a mini-batch of LDA."""


@option_group
class FitSettings:
    """Everything that decides a model beside the articles.

    Attributes:
        topics: Number of topics.
        vocabulary: Terms that are counted, the most frequent ones, at most.
        vector_size: Entries of a term's and of a topic's vector.
        top_terms: Heaviest terms of a topic, whose vectors make up that of the topic.
        max_articles: Articles to fit on, about; chosen by a hash where there are more.
        min_articles: Leave out terms that fewer articles hold.
        max_share: Leave out terms that a larger share of the articles holds.
        passes: Passes of LDA over the articles.
        word_passes: Passes of Word2Vec over the articles.
        seed: Another seed is another version.
    """

    topics: int = 100
    vocabulary: int = 20_000
    vector_size: int = 200
    top_terms: int = 20
    max_articles: int = 100_000
    min_articles: int = 5
    max_share: float = 0.25
    passes: int = 30
    word_passes: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "vocabulary",
            "vector_size",
            "top_terms",
            "max_articles",
            "min_articles",
            "passes",
            "word_passes",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{flag(name)} {getattr(self, name)}: take 1 or more")
        if self.topics < 2:
            raise UserError(f"--topics {self.topics}: take 2 or more, an article has its two most relevant")
        if not 0.0 < self.max_share <= 1.0:
            raise UserError(f"--max-share {self.max_share}: a share lies above 0 and up to 1")

    def model_id(self, fingerprint: str) -> str:
        """The id of the model that these settings make of the articles with this fingerprint."""
        made_of = json.dumps([VERSION, asdict(self), fingerprint], sort_keys=True)
        return f"lda{self.topics}.{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


FIT = FitSettings()
"""What fit_topics takes where nothing is given."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model: n terms, k topics, vectors of d entries.

    Attributes:
        terms: the vocabulary, most frequent first.
        articles: int64 (n,): texts that hold each.
        counts: float64 (n, k), lambda: the parameters of each topic's Dirichlet over the terms.
        prior: float64 (k,), alpha: those of the texts' Dirichlet over topics.
        vectors: float32 (n, d).
    """

    terms: list[str]
    articles: np.ndarray
    counts: np.ndarray
    prior: np.ndarray
    vectors: np.ndarray

    def top(self, how_many: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each topic: rows of its heaviest terms (k, t), their probabilities (k, t), and the mean of their
        vectors (k, d)."""
        probabilities = (self.counts / self.counts.sum(axis=0)).T
        rows = np.argsort(-probabilities, axis=1, kind="stable")[:, :how_many]
        weights = np.take_along_axis(probabilities, rows, axis=1)
        means = np.einsum("kt,ktd->kd", weights, self.vectors[rows].astype(np.float64)) / weights.sum(
            axis=1, keepdims=True
        )
        return rows, weights, means.astype(np.float32)


def fit(articles: DataFrame, settings: FitSettings, count: int, run: JobRun) -> Fitted:
    """Fit both models. What comes to the driver is the models, bounded by vocabulary, topics and vector_size.

    Args:
        articles: content_hash, text: no content_hash twice.
        settings: how.
        count: how many there are.
        run: to say how far it is.

    Raises:
        UserError: too few articles for any term.
    """
    # By hash into a number of tasks that depends on the articles only, and sorted there: the samples that LDA
    # draws and the order in which Word2Vec reads are then the same on every cluster. By the hash's own hash:
    # where the texts lie by content_hash already, Spark would leave this step out and join its own parts.
    tasks = min(max(-(-count // _ROWS_A_TASK), 2), _MOST_TASKS)
    with Frames() as frames:
        counted = frames.keep(with_terms(articles.repartition(tasks, F.xxhash64("content_hash")), "text"))
        known = vocabulary_of(counted, settings, count)
        if not known:
            raise UserError(
                f"no term is in {settings.min_articles} articles or more: fit on more articles, or give"
                " --min-articles 1"
            )
        terms = [term for term, _ in known]
        run.progress(f"{len(terms):,} terms; fitting {settings.topics} topics")
        counts, prior = _lda(counted, terms, settings, count)
        run.progress("fitting the vectors of the terms")
        vectors = _word_vectors(counted, terms, settings)
    return Fitted(terms, np.array([n for _, n in known], dtype=np.int64), counts, prior, vectors)


def vocabulary_of(counted: DataFrame, settings: FitSettings, count: int) -> list[tuple[str, int]]:
    """The most frequent terms with the number of texts that hold them, ties by the term; English function
    words left out."""
    stop = StopWordsRemover.loadDefaultStopWords("english")
    most = max(math.floor(settings.max_share * count), settings.min_articles)
    held = (
        counted.select(F.explode(F.array_distinct("terms")).alias("term"))
        .groupBy("term")
        .agg(F.count("*").alias("articles"))
    )
    usable = held.where(F.col("articles").between(settings.min_articles, most) & ~F.col("term").isin(stop))
    found = usable.orderBy(F.col("articles").desc(), "term").limit(settings.vocabulary).collect()
    return [(row["term"], row["articles"]) for row in found]


def _lda(
    counted: DataFrame, terms: list[str], settings: FitSettings, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """LDA by online variational Bayes (Hoffman et al., NIPS 2010), as Spark ML has it."""
    vectorizer = CountVectorizerModel.from_vocabulary(terms, inputCol="terms", outputCol="features")
    with Frames() as frames:
        features = frames.keep(
            vectorizer.transform(counted.sortWithinPartitions("content_hash")).select("features")
        )
        # Spark counts mini-batches. Large ones with a slowly falling rate tell topics apart best on the
        # generated news: with a fifth of the articles a batch, 55 of 100 topics were in use instead of 77.
        share = min(1.0, _BATCH_ROWS / count)
        model = LDA(
            k=settings.topics,
            maxIter=math.ceil(settings.passes / share),
            optimizer="online",
            seed=settings.seed,
            subsamplingRate=share,
            learningOffset=1.0,
            learningDecay=0.51,
        ).fit(features)
        counts = model.topicsMatrix().toArray()
        return significant(counts), significant(model.estimatedDocConcentration().toArray())


def _word_vectors(counted: DataFrame, terms: list[str], settings: FitSettings) -> np.ndarray:
    """Skip-gram (Mikolov et al. 2013), as Spark ML has it, over the vocabulary's terms only."""
    words = with_terms(
        counted.select("content_hash", F.array_join("terms", " ").alias("text")),
        "text",
        keep=frozenset(terms),
    )
    ordered = words.sortWithinPartitions("content_hash").select("terms")
    model = Word2Vec(
        vectorSize=settings.vector_size,
        minCount=1,
        maxIter=settings.word_passes,
        numPartitions=1,
        seed=settings.seed,
        inputCol="terms",
        outputCol="unused",
    ).fit(ordered)
    found = (
        model.getVectors()
        .select("word", vector_to_array(F.col("vector"), "float32").alias("vector"))
        .toArrow()
    )
    at = {term: row for row, term in enumerate(terms)}
    rows = np.array([at[word] for word in found.column("word").to_pylist()])
    values = found.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(terms), settings.vector_size), dtype=np.float32)
    vectors[rows] = values.reshape(len(rows), settings.vector_size)
    return vectors


def significant(values: np.ndarray, digits: int = 5) -> np.ndarray:
    """Rounded to so many digits: a cluster adds in the order in which its tasks end, and that shows in the
    last bits."""
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.maximum(np.abs(values), 1e-300))))
    return np.asarray(np.round(values * scale) / scale)
