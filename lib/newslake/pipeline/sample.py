"""The built-in sample: the runs played on MIND's old dates, as a short story (`make run`) or whole (`make
run-full`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256

from newslake.intake.sources.labels.load import import_labels
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.pipeline.plan import Option, Task, checked, named, without
from newslake.pipeline.runs import hourly, switching, upkeep, users, weekly
from newslake.run.options import option_group
from newslake.sample import GeneratorSpec, generate_mind
from newslake.streaming.articles import stream_articles

_WEEKS = GeneratorSpec(first_day="2019-11-02", train_days=13)
"""Two weeks up to MIND's dev day: what readers do in the first trains what they get in the second."""
_START_HOURS = 60 * 24.0
"""The first day's profiles start from all that the sample's histories hold; the next day adds its 24
hours."""
STORY = {"articles": 900, "users": 250, "impressions": 1_500}
WHOLE = {
    "articles": GeneratorSpec.articles,
    "users": GeneratorSpec.users,
    "impressions": GeneratorSpec.impressions,
}
"""How large a sample is, where nobody says."""


@option_group
class SampleOptions:
    """The built-in sample: how large it is, where its files are, and how much of it is run.

    Attributes:
        articles: Articles in the sample (default: 900; --whole: 2,000).
        users: Users in the sample (default: 250; --whole: 500).
        impressions: Impressions in the sample (default: 1,500; --whole: 3,000).
        whole: Run all jobs of the hourly, daily and weekly runs, the daily one of two days: every
            recommender and their comparison, Vespa, the purge.
        sample: Folder for the sample's files (default: _sample in the work folder, or where this runs; must
            be local).
    """

    articles: int | None = None
    users: int | None = None
    impressions: int | None = None
    whole: bool = False
    sample: str | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """How many of each."""
        given = {"articles": self.articles, "users": self.users, "impressions": self.impressions}
        usual = WHOLE if self.whole else STORY
        return usual | {name: size for name, size in given.items() if size is not None}


SAMPLE = SampleOptions()
NOT_TOLD = frozenset(
    (
        # One model that reads articles and one that reads histories are enough to see what training adds.
        "train_recommender_mf",
        "train_recommender_dssm",
        "compare_models",
        # Vespa's feeds: the story serves by Milvus.
        "encode_users",
        "export_feeds",
        # Generated articles have their class.
        "classify_articles",
        # A first topic model is active at once, and nothing is old enough to be purged.
        "export_candidate",
        "activate_topic_model",
        "purge_news",
    )
)
"""Keys of what the story leaves out, beside the daily run of the second day."""


def sample_run(
    folder: str,
    files: Mapping[str, Option],
    encoder: Mapping[str, Option],
    training: Mapping[str, Option],
    seed: int,
    *,
    whole: bool = False,
) -> list[Task]:
    """The weekly run on generated files, the daily run of train's last day, and dev's newsfeed at noon.

    Args:
        folder: where the generated files are, or will be.
        files: further options of generate_mind.
        encoder: options that make the encoder_id.
        training: options of every train_recommender.
        seed: of what is fitted and trained.
        whole: every job, and the daily run of dev too; else the story.
    """
    dev = _WEEKS.dev_day
    days = [str(dev - timedelta(days=1)), str(dev)]
    tasks = _tasks(
        folder,
        {"first_day": _WEEKS.first_day, "train_days": _WEEKS.train_days, **files},
        encoder,
        training,
        seed,
        dev,
        days if whole else days[:1],
    )
    return checked(
        tasks if whole else without(tasks, {task.key for task in tasks if task.key.split()[0] in NOT_TOLD})
    )


def _tasks(
    folder: str,
    files: Mapping[str, Option],
    encoder: Mapping[str, Option],
    training: Mapping[str, Option],
    seed: int,
    dev: date,
    days: Sequence[str],
) -> list[Task]:
    """All of it, for one daily run or two: the first starts from all that the histories hold."""
    splits = [f"{folder}/train", f"{folder}/dev"]
    # A large sample has its files in parts.
    names = ("short_texts", "articles", "user_interests", "search_queries")
    texts, bodies, interests, queries = (f"{folder}/{name}*.jsonl" for name in names)
    # A stream that has read a file does not read it again, also where the sample was made anew with other
    # options.
    read = f"{folder}_read/{sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]}"
    streamed: Mapping[str, Option] = {"files": bodies, "once": True, "checkpoint": read, **encoder}
    brought = ("parse_behaviors", "import_labels", "stream_articles")
    intake = [
        Task(generate_mind, {"out": folder, **files}, makes=(f"{folder}/spec.json",)),
        Task(
            parse_behaviors,
            {"train": splits[:1], "dev": splits[1:]},
            ("generate_mind",),
            inputs=tuple(splits),
        ),
        Task(import_labels, {"texts": [texts]}, ("parse_behaviors",), inputs=(texts,)),
        # The same articles with their bodies, as a stream brings them.
        Task(stream_articles, streamed, ("import_labels",), machine="gpu", inputs=(bodies,)),
    ]
    fitted = weekly(
        encoder,
        topics={"seed": seed},
        # Test is dev's day, valid the day before.
        training={**training, "as_of": str(dev + timedelta(days=1))},
        classifying={"seed": seed},
        as_of=str(dev),
        waits_for=brought,
    )
    # The files all arrive at once: a day's events are those that occurred in it, not those that arrived.
    replay: Mapping[str, Option] = {"clock": "occurrence", "interests": interests, "queries": queries}
    known = ("assign_topics", "classify_articles")
    first = users(encoder, as_of=days[0], profiles={**replay, "window_hours": _START_HOURS}, waits_for=known)
    later = [
        users(encoder, as_of=day, profiles=replay, waits_for=(*known, f"build_user_vectors {days[0]}"))
        for day in days[1:]
    ]
    feed = [
        task for task in hourly(encoder, hour=f"{dev}T12") if task.key not in {each.key for each in fitted}
    ]
    # The newsfeed of a day takes the vectors of the day before.
    feed = [replace(task, after=(*task.after, f"build_user_vectors {days[0]}")) for task in feed]
    # The ranker learns from the days before, and from the users' vectors of the last of them.
    [learnt] = [task for task in fitted if task.key == "train_ranker"]
    fitted = [task for task in fitted if task is not learnt]
    learnt = replace(learnt, after=(*learnt.after, f"build_user_vectors {days[0]}"))
    feed = [
        replace(task, after=(*task.after, learnt.key)) if task.key == "rank_newsfeed" else task
        for task in feed
    ]
    served = switching(as_of=days[-1])
    last = (
        [*later[-1], *served]
        if later
        else [replace(served[0], after=(f"build_user_vectors {days[0]}",)), *served[1:]]
    )
    done = [*intake, *fitted, *named(first, f" {days[0]}"), learnt, *named(last, f" {days[-1]}"), *feed]
    # So few days are kept that the purge has something to do; no file is old enough yet to be deleted.
    purging: Mapping[str, Option] = {"older_than": "10", "vacuum": False}
    return [*done, *upkeep(days[-1], [task.key for task in done], purging=purging)]
