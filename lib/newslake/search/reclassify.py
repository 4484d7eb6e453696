"""reclassify_short_text: short texts whose nearest long articles agree on another class take that class."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import the_one, today_or
from newslake.search import vote
from newslake.search.knn_settings import BY_DEFAULT, KnnSettings, SearchOptions
from newslake.search.nearest import nearest
from newslake.search.one_of_a_story import stories_of
from newslake.search.scratch import Scratch, scratch
from newslake.search.sides import EMBEDDINGS, embedding_side, quarantine, with_vector
from newslake.search.whiten import whitened
from newslake.spark.frames import Frames
from newslake.switches.classes import current_classifiers
from newslake.text.lengths import SHORT_CHARS

VOTES, CORPUS, SCORES = "short_text_votes", "short_text_corpus", "article_class_scores"
_MORE = 2  # times as many neighbours looked at where some of them may tell one story
_CLASSIFIERS = "text_classifiers"


def reclassify_short_text(
    lake: Lakehouse,
    run: JobRun,
    *,
    min_score: float = 0.9,
    neighbours: int = 20,
    votes: int = 18,
    own_votes: int = 0,
    whiten: float = 0.5,
    short_chars: int = SHORT_CHARS,
    encoder_id: str | None = None,
    model_run: str | None = None,
    as_of: str | None = None,
    search: SearchOptions = BY_DEFAULT,
    scratch_folder: str | None = None,
) -> None:
    """Correct the class of short texts by the vote of their nearest long articles.

    Short texts are articles in table news: those whose title, abstract and body together have at most
    --short-chars characters; their class is news.category. Bring them as any other article, or with
    jobs/import_labels.py. The voters are the longer articles whose class table article_class_scores gives
    with a score above --min-score; scores come from jobs/train_text_classifier.py, or are brought with
    jobs/import_labels.py. Both need vectors: run jobs/encode_articles.py first.

    Where enough of a text's nearest long articles (by cosine, of whitened vectors: see --whiten) are of one
    class other than its own, its class changes. Of near-identical articles (one story_id in table stories,
    see jobs/find_stories.py) only the nearest votes; should the nearest 2 x --neighbours tell fewer stories
    than --neighbours, fewer vote. Table short_text_votes keeps the vote on every short text, changed or not,
    with its old class; table short_text_corpus holds the texts with their corrected classes. Table news is
    not changed. Run again on the same day, the job replaces that day's votes.

    What raises precision: more votes out of as many neighbours, --own-votes 0, --whiten, and an index with
    many articles of every class: most wrong changes are of texts that speak of two subjects, their own and
    another, of which the other one's articles are the nearer. What finds more of the wrong labels: more long
    articles near each text, and fewer votes. docs/search.md has a table of what each rule reached.

    Args:
        min_score: Long articles vote whose classifier score is above this.
        neighbours: Nearest long articles that vote on a text.
        votes: Of these, how many must agree on one class.
        own_votes: A text keeps its class where more than so many of its neighbours have it too; --neighbours
            or more: however many do.
        whiten: How much less than in the plain cosine counts what all voters' vectors have in common: 0
            (nothing less) to 1.
        short_chars: A text with at most this many characters is short; longer ones may vote.
        encoder_id: Whose vectors to compare, where table article_embeddings holds several encoders'.
        model_run: Whose scores to use (default: those that were brought, or of the classifier that
            train_text_classifier trained last on long articles; where table article_class_scores holds both,
            say which).
        as_of: Day of the vote, such as 2019-11-15 (default: today, UTC).
        scratch_folder: Folder for small files between Spark and its workers (default: _scratch in the work
            folder).
    """
    if not 1 <= votes <= neighbours:
        raise UserError(
            f"--votes {votes} of --neighbours {neighbours}: take at least 1, and no more votes than"
            " neighbours"
        )
    if 2 * votes <= neighbours:
        raise UserError(f"--votes {votes} of --neighbours {neighbours} is no majority: two classes could win")
    if own_votes < 0:
        raise UserError("--own-votes must be 0 or more")
    if not 0.0 <= whiten <= 1.0:
        raise UserError(f"--whiten {whiten}: take 0 to 1")
    if short_chars < 1:
        raise UserError("--short-chars must be at least 1")
    settings = search.settings()
    today = today_or(as_of)
    news, scores, embeddings = lake.read("news"), lake.read(SCORES), lake.read(EMBEDDINGS)
    encoder = the_one(
        embeddings, "encoder_id", encoder_id, table=EMBEDDINGS, built_by="encode_articles", things="vectors"
    )
    eligible = _current(lake, scores) if model_run is None else scores
    classifier = the_one(
        eligible, "model_run", model_run, table=SCORES, built_by="train_text_classifier", things="scores"
    )
    vectors = embeddings.where(F.col("encoder_id") == encoder)
    sure = vote.confident_long(
        news, scores.where(F.col("model_run") == classifier), min_score=min_score, short_chars=short_chars
    )
    with Frames() as frames, scratch(lake, scratch_folder) as files:
        texts = frames.keep(vote.short_texts(news, short_chars))
        index = frames.keep(with_vector(sure, vectors))
        searched = frames.keep(with_vector(texts.select("news_id", "content_hash"), vectors))
        _report(run, texts, index, searched, encoder, classifier)
        stories = stories_of(lake, encoder)
        looked_at = neighbours if stories is None else _MORE * neighbours
        found = frames.keep(_search(lake, files, index, searched, encoder, looked_at, whiten, settings))
        quarantine(lake, run, found, sources={"query_id": EMBEDDINGS, "item_id": EMBEDDINGS})
        wrong = found.where(F.col("problem").isNotNull()).select(F.col("query_id").alias("news_id"))
        cast = vote.ballots(
            vote.once_a_story(found.where(F.col("problem").isNull()), stories, neighbours), index
        )
        rows = vote.decided(
            texts, searched.join(wrong, on="news_id", how="left_anti"), cast, votes, own_votes
        )
        rows = rows.select(
            "*",
            F.lit(today).alias("as_of"),
            F.lit(encoder).alias("encoder_id"),
            F.lit(classifier).alias("model_run"),
        )
        _write(lake, run, frames.keep(rows), str(today))


def _current(lake: Lakehouse, scores: DataFrame) -> DataFrame:
    """The scores without those of our classifiers, but for the last that was trained on long articles."""
    if not lake.exists(_CLASSIFIERS):
        return scores
    runs = lake.read(_CLASSIFIERS)
    last = current_classifiers(runs).where("trained_on = 'long'").select("model_run")
    superseded = runs.select("model_run").join(last, on="model_run", how="left_anti")
    return scores.join(F.broadcast(superseded), on="model_run", how="left_anti")


def _search(
    lake: Lakehouse,
    files: Scratch,
    index: DataFrame,
    searched: DataFrame,
    encoder: str,
    neighbours: int,
    whiten: float,
    settings: KnnSettings,
) -> DataFrame:
    long = embedding_side(lake, encoder, files, index, "long")
    short = embedding_side(lake, encoder, files, searched, "short")
    long, short = whitened(lake.spark, long, short, power=whiten)
    return nearest(lake.spark, short, long, k=neighbours, settings=settings)


def _report(
    run: JobRun, texts: DataFrame, index: DataFrame, searched: DataFrame, encoder: str, classifier: str
) -> None:
    """Say what there is, and refuse where there is nothing to do.

    Raises:
        UserError: no short text, or no long article to vote.
    """
    short, long, ready = texts.count(), index.count(), searched.count()
    run.rows_in(short)
    run.fact("encoder_id", encoder)
    run.fact("scores of", classifier)
    run.fact("long articles that vote", long)
    run.fact("short texts without a vector", short - ready)
    run.progress(f"{short:,} short texts, {ready:,} with a vector; {long:,} long articles vote")
    if short == 0:
        raise UserError("table news holds no short text: see --short-chars")
    if long == 0:
        raise UserError(
            "no long article has both a vector and a score above --min-score: lower it, or run"
            " jobs/encode_articles.py"
        )


def _write(lake: Lakehouse, run: JobRun, rows: DataFrame, today: str) -> None:
    """The votes first, then the corpus that follows from them: a run killed in between is completed by its
    rerun."""
    for row in rows.groupBy("decision").count().collect():
        run.fact(str(row["decision"]), int(row["count"]))
    names = lake.schema(VOTES).names
    run.wrote(VOTES, lake.replace(VOTES, rows.select(*names), where={"as_of": today}).rows)
    after = vote.corpus(rows)
    lake.create(CORPUS)
    gone = lake.read(CORPUS).join(after.select("news_id"), on="news_id", how="left_anti").select("news_id")
    run.wrote(CORPUS, lake.merge(CORPUS, after, gone=gone).rows)
