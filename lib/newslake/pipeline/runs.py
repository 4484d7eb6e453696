"""The runs: which job after which, and with which settings. `make run`, jobs/run_pipeline.py and the
Databricks bundle all use these.

A value that the caller gives, such as `as_of`, may be a day or whatever a scheduler puts a day in place of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from newslake.checks.check import check_lakehouse
from newslake.pipeline.plan import Option, Task, checked
from newslake.pipeline.purge import purge_news
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.ranking.stories import find_stories
from newslake.ranking.train import train_ranker
from newslake.reports.report import write_report
from newslake.search.reclassify import reclassify_short_text
from newslake.serving.job import export_vectors
from newslake.streaming.articles import stream_articles
from newslake.streaming.behaviors import stream_behaviors
from newslake.switches.topic_model import CANDIDATE
from newslake.text.articles import encode_articles
from newslake.topics.activate import activate_topic_model
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from newslake.training.classifier.classify import classify_articles
from newslake.training.classifier.train import train_text_classifier
from newslake.training.data.time_splits import RECOMMENDER
from newslake.training.encode_users import encode_users
from newslake.training.judging.compare import compare_models
from newslake.training.recommender import train_recommender
from newslake.users.encode import encode_tag_phrases
from newslake.users.phrases import build_phrases
from newslake.users.profiles import build_profiles
from newslake.users.user_vectors import build_user_vectors

MODELS = ("mf", "content", "dssm", "nrms")
"""The order in which they are trained. The last two read histories: each may come into use in place of the
one before."""
PURGE_DAYS = 30
"""Older news are purged, and refused where a stream brings them late."""
RETENTION: Mapping[str, Option] = {
    "older_than": str(PURGE_DAYS),
    "user_days": 14,
    "newsfeed_days": 14,
    "tag_phrase_days": 60,
    "vote_days": 90,
    "quarantine_days": 90,
    "job_run_days": 365,
    "model_runs": 4,
}
"""How long things are kept, in days, and how many runs of each model: with one a week, four weeks. Behaviour
is not here: it is what recommenders learn from."""

BY_TIME: Mapping[str, Option] = asdict(RECOMMENDER)
"""What recommenders are trained on, chosen by and reported on, counted back from the run's day: files and
streams alike."""


@dataclass(frozen=True)
class Places:
    """What lies elsewhere than beside the tables: Milvus, the folders of Vespa's feeds and of streams'
    checkpoints, the report's file."""

    milvus: str | None = None
    feeds: str | None = None
    report: str | None = None
    checkpoints: str | None = None


BESIDE = Places()


def articles(encoder: Mapping[str, Option], *, waits_for: Sequence[str] = ()) -> list[Task]:
    """New articles: their embeddings, topics and joined vectors.

    Args:
        encoder: options that make the encoder_id; the same for every job that encodes.
        waits_for: keys of the tasks that bring the articles.
    """
    return [
        Task(encode_articles, encoder, tuple(waits_for), machine="gpu"),
        Task(assign_topics, {}, tuple(waits_for)),
        Task(build_article_vectors, {}, ("encode_articles", "assign_topics")),
    ]


def streams(
    encoder: Mapping[str, Option], *, kafka: str, topics: tuple[str, str], places: Places = BESIDE
) -> list[Task]:
    """Without end: articles and live events from Kafka as they come. The hourly run makes up for what a
    stream that is down leaves undone.

    Args:
        encoder: options that make the encoder_id.
        kafka: HOST:PORT of some of its brokers, separated by commas.
        topics: that of the articles, and that of the events.
        places: what lies elsewhere than beside the tables.
    """

    def reading(topic: str, name: str) -> dict[str, Option]:
        checkpoint = places.checkpoints and f"{places.checkpoints}/{name}"
        return {"topic": topic, "bootstrap_servers": kafka, "checkpoint": checkpoint}

    late = {"older_than": PURGE_DAYS, "milvus": places.milvus}
    return [
        Task(stream_articles, {**reading(topics[0], "articles"), **late, **encoder}, machine="gpu"),
        Task(stream_behaviors, reading(topics[1], "events")),
    ]


def checks(*, webhook: str | None = None) -> list[Task]:
    """Some time after each hourly run: what the tables hold, against the thresholds. A breach is its failure,
    and nobody else's.

    Args:
        webhook: address that breaches are posted to.
    """
    return [Task(check_lakehouse, {"webhook": webhook})]


def hourly(encoder: Mapping[str, Option], *, hour: str | None = None, places: Places = BESIDE) -> list[Task]:
    """Each hour: the new articles and their stories, every user's newsfeed, and the new articles' classes.

    Args:
        encoder: options that make the encoder_id.
        hour: whose newsfeed; None leaves it to the job, which takes the present one.
        places: what lies elsewhere than beside the tables.
    """
    sent = {"which": ["articles"], "uri": places.milvus}
    return checked(
        [
            *articles(encoder),
            Task(find_stories, {}, ("encode_articles",)),
            Task(rank_newsfeed, {"hour": hour}, ("build_article_vectors", "find_stories")),
            Task(export_vectors, sent, ("build_article_vectors",), "export_articles"),
            # Last: before the first weekly run there is no classifier, and it says so.
            Task(classify_articles, {}, ("encode_articles",)),
        ]
    )


def users(
    encoder: Mapping[str, Option],
    *,
    as_of: str,
    profiles: Mapping[str, Option] | None = None,
    waits_for: Sequence[str] = (),
) -> list[Task]:
    """The users' profiles of a day, their tag phrases, and the vectors of these.

    Args:
        encoder: options that make the encoder_id.
        as_of: the day.
        profiles: further options of build_profiles.
        waits_for: keys of the tasks that must be done before.
    """
    day: Mapping[str, Option] = {"as_of": as_of}
    return [
        Task(build_profiles, {**day, **(profiles or {})}, tuple(waits_for)),
        Task(build_phrases, {**day, **encoder}, ("build_profiles",), machine="gpu"),
        Task(encode_tag_phrases, {**day, **encoder}, ("build_phrases",), machine="gpu"),
        Task(build_user_vectors, day, ("encode_tag_phrases",)),
    ]


def switching(*, as_of: str, places: Places = BESIDE) -> list[Task]:
    """The users' vectors of a day to Milvus, once build_user_vectors is done; and the switch to a topic model
    that was fitted since.

    Where there is such a candidate, its vectors go to collections of their own first, which takes the
    longest; then it becomes active, and what came meanwhile goes after, for users and articles at once, so
    that both aliases move. Else the first two find nothing to do.

    Args:
        as_of: the day.
        places: what lies elsewhere than beside the tables.
    """
    sent = {"which": ["articles", "users"], "as_of": as_of, "uri": places.milvus}
    return [
        Task(export_vectors, {**sent, "topic_model": CANDIDATE}, ("build_user_vectors",), "export_candidate"),
        Task(activate_topic_model, {"if_ready": True}, ("export_candidate",)),
        Task(export_vectors, sent, ("activate_topic_model",), "export_served"),
    ]


def upkeep(
    as_of: str,
    waits_for: Sequence[str],
    *,
    purging: Mapping[str, Option] | None = None,
    places: Places = BESIDE,
) -> list[Task]:
    """What ends a day: old news and what nothing needs any more are purged, then the report is written.

    Args:
        as_of: the day that ages count from.
        waits_for: keys of the tasks that it comes after.
        purging: options of purge_news over those of RETENTION.
        places: what lies elsewhere than beside the tables.
    """
    purge = {**RETENTION, "as_of": as_of, "uri": places.milvus, **(purging or {})}
    return [
        Task(purge_news, purge, tuple(waits_for)),
        Task(write_report, {"out": places.report}, ("purge_news",)),
    ]


def readers(encoder: Mapping[str, Option], *, as_of: str) -> list[Task]:
    """What a day's run makes in tables, and nothing else: the users' vectors, and the articles' that lack
    them.

    Args:
        encoder: options that make the encoder_id.
        as_of: the day.
    """
    joined = [Task(assign_topics), Task(build_article_vectors, {}, ("assign_topics",))]
    return checked([*joined, *users(encoder, as_of=as_of, waits_for=("build_article_vectors",))])


def daily(encoder: Mapping[str, Option], *, as_of: str, places: Places = BESIDE) -> list[Task]:
    """Each day, soon after midnight UTC: the users' vectors, to Milvus as well, then the purge and the
    report.

    A topic model fitted since gets its vectors here and becomes active. The articles' are mostly there, by
    the weekly and hourly runs.

    Args:
        encoder: options that make the encoder_id.
        as_of: the day.
        places: what lies elsewhere than beside the tables.
    """
    made = readers(encoder, as_of=as_of)
    return checked(
        [*made, *switching(as_of=as_of, places=places), *upkeep(as_of, ("export_served",), places=places)]
    )


def weekly(
    encoder: Mapping[str, Option],
    *,
    topics: Mapping[str, Option] | None = None,
    training: Mapping[str, Option] | None = None,
    classifying: Mapping[str, Option] | None = None,
    as_of: str | None = None,
    waits_for: Sequence[str] = (),
    places: Places = BESIDE,
) -> list[Task]:
    """Each week: what is fitted and trained anew, and the short texts whose classes the vote corrects.

    Recommenders come after the vote: they read articles' classes. They and the ranker learn from the days
    before, and are reported on the last hours; what is not worse there than what is in use takes its place.
    The vectors of the recommender in use, brought up to date, go to Vespa.

    Args:
        encoder: options that make the encoder_id.
        topics: options of fit_topics.
        training: options of every train_recommender, over those of BY_TIME.
        classifying: options of every train_text_classifier.
        as_of: the day of the vote, before which models know what happened; None leaves it to the jobs, which
            take today.
        waits_for: keys of the tasks that bring articles and behaviour.
        places: what lies elsewhere than beside the tables.
    """
    first, encoded, classed = tuple(waits_for), ("encode_articles",), ("classify_articles",)
    given = {"as_of": as_of, **BY_TIME, **(training or {})}
    trained: list[Task] = []
    for model in MODELS:
        # One after the other, since each is judged against the one in use.
        waits = (*classed, *(task.key for task in trained[-1:]))
        trained.append(
            Task(train_recommender, {"model": model, **given}, waits, f"train_recommender_{model}", "trainer")
        )
    keys = tuple(task.key for task in trained)
    corrected = {**(classifying or {}), "trained_on": "short"}
    # Compared by the same runs: nothing is trained twice.
    same = {name: given.get(name) for name in ("epochs", "as_of", *BY_TIME)}
    compared = {"models": ["zero-shot", *MODELS], "seeds": [str(given.get("seed", 0))], **same}
    feeds = {"to": ["vespa", "tsv"], "out": places.feeds}
    return checked_after(
        waits_for,
        [
            Task(encode_articles, encoder, first, machine="gpu"),
            Task(fit_topics, topics or {}, first),
            Task(assign_topics, {}, (*first, "fit_topics")),
            Task(build_article_vectors, {}, ("encode_articles", "assign_topics")),
            Task(train_text_classifier, classifying or {}, encoded, machine="trainer"),
            Task(find_stories, {}, encoded),
            Task(reclassify_short_text, {"as_of": as_of}, ("train_text_classifier", "find_stories")),
            Task(
                train_text_classifier,
                corrected,
                ("reclassify_short_text",),
                "train_text_classifier_short",
                "trainer",
            ),
            Task(classify_articles, {}, ("train_text_classifier_short",)),
            *trained,
            Task(compare_models, compared, keys, machine="trainer"),
            Task(encode_users, {}, keys),
            Task(export_vectors, feeds, ("encode_users",), "export_feeds"),
            # Last: where too little was shown yet, it says so.
            Task(train_ranker, {"as_of": as_of}, ("build_article_vectors",)),
        ],
    )


def checked_after(given: Sequence[str], tasks: list[Task]) -> list[Task]:
    """The tasks, checked, where those of `given` are done elsewhere before."""
    outside = set(given)
    checked([_without(task, outside) for task in tasks])
    return tasks


def _without(task: Task, outside: set[str]) -> Task:
    return Task(task.job, task.options, tuple(key for key in task.after if key not in outside), task.key)
