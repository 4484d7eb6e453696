"""Every job as a function, for notebooks and scripts: `jobs.parse_behaviors(lake,
train=["MINDsmall_train"])`.

Options have the names of the command line's, with `_` for `-`; `help(jobs.parse_behaviors)` tells them. A run
is kept in job_runs as any other; the function returns its JobRun, with the rows read and written.

Raises, as the command line says it in one line: UserError for a user's mistake, JobFailed where the job
failed.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from importlib import import_module
from typing import Any

from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import JobFunction, run_job
from newslake.run.jobrun import JobRun

_MODULES = {
    "activate_topic_model": "newslake.topics.activate",
    "assign_topics": "newslake.topics.assign",
    "build_article_vectors": "newslake.topics.article_vectors",
    "build_phrases": "newslake.users.phrases",
    "build_profiles": "newslake.users.profiles",
    "build_user_vectors": "newslake.users.user_vectors",
    "check_lakehouse": "newslake.checks.check",
    "classify_articles": "newslake.training.classifier.classify",
    "compare_models": "newslake.training.judging.compare",
    "encode_articles": "newslake.text.articles",
    "encode_tag_phrases": "newslake.users.encode",
    "encode_users": "newslake.training.encode_users",
    "export_vectors": "newslake.serving.job",
    "find_stories": "newslake.ranking.stories",
    "fit_topics": "newslake.topics.fit",
    "generate_mind": "newslake.sample",
    "import_labels": "newslake.intake.sources.labels.load",
    "import_table": "newslake.intake.sources.tables.importing",
    "make_views": "newslake.pipeline.views",
    "parse_behaviors": "newslake.intake.sources.mind.parse",
    "parse_ebnerd": "newslake.intake.sources.ebnerd.parse",
    "promote": "newslake.switches.promotions",
    "purge_news": "newslake.pipeline.purge",
    "rank_newsfeed": "newslake.ranking.newsfeed",
    "reclassify_short_text": "newslake.search.reclassify",
    "run_pipeline": "newslake.pipeline.run",
    "stream_articles": "newslake.streaming.articles",
    "stream_behaviors": "newslake.streaming.behaviors",
    "train_ranker": "newslake.ranking.train",
    "train_recommender": "newslake.training.recommender",
    "train_text_classifier": "newslake.training.classifier.train",
    "write_report": "newslake.reports.report",
}
__all__ = list(_MODULES)


def function_of(name: str) -> JobFunction:
    """The function of one job, as cli.main takes it.

    Raises:
        AttributeError: there is no such job.
    """
    if name not in _MODULES:
        raise AttributeError(f"newslake has no job {name}; it has {', '.join(_MODULES)}")
    job: JobFunction = getattr(import_module(_MODULES[name]), name)
    return job


def __getattr__(name: str) -> Callable[..., JobRun]:
    job = function_of(name)
    lake, _, *own = inspect.signature(job).parameters.values()
    signature = inspect.Signature(
        [lake, *(one for parameter in own for one in _options(parameter))], return_annotation=JobRun
    )
    groups = {parameter.name for parameter in own if is_dataclass(parameter.default)}

    @wraps(job)
    def run(lake: Lakehouse, **options: Any) -> JobRun:
        # An unknown option shows before anything starts; a group of options may be given as one value too.
        signature.bind(lake, **{name: value for name, value in options.items() if name not in groups})
        return run_job(job, lake, options)

    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


def _options(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """The options of a parameter: the fields of a group (a dataclass), as they stand on the command line, or
    itself."""
    group: Any = parameter.default
    if not is_dataclass(group):
        yield parameter
        return
    for field in fields(group):
        yield inspect.Parameter(
            field.name, parameter.KEYWORD_ONLY, default=getattr(group, field.name), annotation=field.type
        )


def __dir__() -> list[str]:
    return __all__
