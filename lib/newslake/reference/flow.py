"""Which job reads and writes which tables. What a run notes (its lineage) must not go beyond it:
tests/pipeline/test_sample.py."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from newslake.lake.tablespec import table_names, table_spec

BY_ALL = frozenset({"job_starts", "job_runs"})
"""What every job writes."""


@dataclass(frozen=True)
class Flow:
    """The tables of one job, and what it reads or writes beside them.

    Attributes:
        reads, writes: tables; "*" stands for whatever is there.
        takes, makes: what is no table, in words.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    takes: str = ""
    makes: str = ""


def _flow(reads: str = "", writes: str = "", *, takes: str = "", makes: str = "") -> Flow:
    return Flow(tuple(reads.split()), tuple(writes.split()), takes, makes)


# What an article's class is made of, see classes.py.
_LABELS = "article_class_scores short_text_corpus text_classifiers"
_SPLIT = "click_history clicks impressions"
_VECTORS = "article_vectors user_vectors"
_BROUGHT = "click_history impressions news reads search_queries user_interests"

FLOWS: Mapping[str, Flow] = {
    "activate_topic_model": _flow(f"active_models purges topics {_VECTORS}", "active_models"),
    "assign_topics": _flow("active_models news topic_terms topics", "article_topics"),
    "build_article_vectors": _flow(
        "active_models article_embeddings article_topics news purges topics", "article_vectors"
    ),
    "build_phrases": _flow("tag_embeddings user_tags", "quarantine tag_embeddings user_phrases"),
    "build_profiles": _flow(
        f"active_models article_topics {_LABELS} click_history impressions news profile_days search_queries"
        " topics user_articles user_interests user_tags",
        "profile_days quarantine user_articles user_tags user_topics",
        takes="JSON lines of interests and queries, where they are given",
    ),
    "build_user_vectors": _flow(
        "active_models tag_phrase_matches tag_phrases topic_terms topics user_phrases user_topics",
        "user_vectors",
    ),
    "check_lakehouse": _flow(
        "*", "check_results", takes="the settings file of checks", makes="a POST to a webhook"
    ),
    "classify_articles": _flow(
        "article_class_scores article_embeddings news text_classifiers", "article_class_scores"
    ),
    "compare_models": _flow(
        f"article_embeddings {_LABELS} news {_SPLIT}",
        "model_comparison model_metrics news_embeddings user_embeddings",
        makes="models below `_models`",
    ),
    "encode_articles": _flow("article_embeddings news", "article_embeddings quarantine"),
    "encode_tag_phrases": _flow(
        "tag_phrase_matches tag_phrases user_phrases", "quarantine tag_phrase_matches tag_phrases"
    ),
    "encode_users": _flow(
        f"article_embeddings {_LABELS} news news_embeddings promotions user_embeddings click_history"
        " impressions",
        "news_embeddings user_embeddings",
        takes="a trained model",
    ),
    "export_vectors": _flow(
        f"active_models job_runs {_LABELS} news news_embeddings promotions purges topics user_embeddings"
        f" vector_exports {_VECTORS}",
        "quarantine vector_exports",
        makes="Milvus; Vespa's feeds and TSV files",
    ),
    "find_stories": _flow("article_embeddings news stories", "quarantine stories"),
    "fit_topics": _flow("active_models news topics", "active_models topic_terms topics"),
    "generate_mind": _flow(makes="files in MIND's format, with the truth behind them"),
    "import_labels": _flow("news", "article_class_scores news quarantine", takes="files of JSON lines"),
    "import_table": _flow(
        _BROUGHT,
        f"{_BROUGHT} quarantine",
        takes="Parquet, a Delta table or a query, and a mapping of columns",
    ),
    "make_views": _flow("*", makes="views in the schema, or a script that makes them"),
    "parse_behaviors": _flow(
        "click_history impressions news quarantine",
        "click_history impressions news quarantine",
        takes="MIND's `news.tsv` and `behaviors.tsv`",
    ),
    "parse_ebnerd": _flow(
        "click_history impressions news quarantine reads",
        "click_history impressions news quarantine reads",
        takes="EB-NeRD's Parquet files of articles, behaviors and history",
    ),
    "promote": _flow("promotions", "promotions"),
    "purge_news": _flow("*", "*", makes="Milvus, from which old news go"),
    "rank_newsfeed": _flow(
        f"active_models article_embeddings {_LABELS} news promotions stories topics {_SPLIT} {_VECTORS}",
        "article_ctr feed_quality newsfeed quarantine",
        takes="a trained ranker, where one is in use",
    ),
    "reclassify_short_text": _flow(
        "article_class_scores article_embeddings news stories text_classifiers",
        "quarantine short_text_corpus short_text_votes",
    ),
    "run_pipeline": _flow("*", "*", makes="what its jobs make"),
    "stream_articles": _flow(
        "active_models article_embeddings article_topics news purges topic_terms topics",
        "article_embeddings article_topics article_vectors news quarantine",
        takes="JSON messages from Kafka or a folder",
        makes="Milvus, with `--milvus`",
    ),
    "stream_behaviors": _flow(
        "clicks impressions search_queries user_interests",
        "clicks impressions quarantine search_queries user_interests",
        takes="JSON messages from Kafka or a folder",
    ),
    "train_ranker": _flow(
        f"active_models article_embeddings {_LABELS} news promotions topics {_SPLIT} {_VECTORS}",
        "promotions",
        makes="a ranker below `_models`",
    ),
    "train_recommender": _flow(
        f"article_embeddings {_LABELS} news promotions {_SPLIT}",
        "model_metrics news_embeddings promotions user_embeddings",
        makes="a model below `_models`",
    ),
    "train_text_classifier": _flow(
        "article_embeddings news short_text_corpus text_classifiers",
        "article_class_scores text_classifier_classes text_classifiers",
    ),
    "write_report": _flow("*", makes="`_report/report.html` in the work folder"),
}


def writers(table: str) -> list[str]:
    """The jobs that the table's contract names."""
    return sorted(set(re.findall(r"[a-z_]+", table_spec(table).written_by)) & FLOWS.keys())


def also_writing(table: str) -> list[str]:
    """The jobs that write the table by what another job is there for: a stream's batch encodes, a comparison
    trains."""
    if table_spec(table).written_by.startswith("every job"):
        return []
    return sorted({job for job, flow in FLOWS.items() if table in flow.writes} - set(writers(table)))


def readers(table: str) -> list[str]:
    """The jobs that read the table, without those that read whatever is there."""
    return sorted(job for job, flow in FLOWS.items() if table in flow.reads)


def whole(tables: Iterable[str]) -> set[str]:
    """The tables that "*" and names stand for."""
    named = set(tables)
    return set(table_names()) if "*" in named else named
