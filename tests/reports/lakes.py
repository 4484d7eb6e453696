"""A small lakehouse with something in every table that the report shows, written as the jobs would."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from newslake.lake.lakehouse import Lakehouse
from tests.tables import put

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e & 'storm'"
    ' "x"'
)
HOUR = datetime(2019, 11, 15, 8)
DAYS = [date(2019, 11, 13), date(2019, 11, 14), date(2019, 11, 15)]


def put_runs(lake: Lakehouse, runs: Sequence[dict[str, Any]]) -> None:
    """Write runs: those that are `running` to job_starts, the others to job_runs."""
    of_ends = {"outcome", "ended_at", "message"}
    begun = [run for run in runs if run["outcome"] == "running"]
    put(lake, "job_starts", [{name: run[name] for name in run.keys() - of_ends} for run in begun])
    put(lake, "job_runs", [run for run in runs if run["outcome"] != "running"])


def job_runs() -> list[dict[str, Any]]:
    """Two parses, the second with nothing new; two trainings; a failed encoding, a killed vote; the
    pipeline's own run."""
    at = {
        "started_at": datetime(2019, 11, 15, 9),
        "ended_at": datetime(2019, 11, 15, 9, 0, 30),
        "settings": {},
        "facts": {},
        "rows_quarantined": 0,
    }
    later = {"started_at": datetime(2019, 11, 15, 10), "ended_at": datetime(2019, 11, 15, 10, 0, 10)}
    trained = {
        "job": "train_recommender",
        "outcome": "done",
        "rows_in": 900,
        "rows_out": {"model_metrics": 4},
    }
    return [
        {
            **at,
            "run_id": "p1",
            "job": "parse_behaviors",
            "outcome": "done",
            "rows_in": 1_000,
            "rows_out": {"news": 40, "impressions": 900},
            "rows_quarantined": 3,
        },
        {
            **at,
            **later,
            "run_id": "p2",
            "job": "parse_behaviors",
            "outcome": "done",
            "rows_in": 1_000,
            "rows_out": {"news": 0, "impressions": 0},
        },
        {**at, **trained, "run_id": "t1", "settings": {"model": "mf"}, "facts": {"training run": "run-mf"}},
        {
            **at,
            **trained,
            "run_id": "t2",
            "settings": {"model": "content"},
            "facts": {"training run": "run-content-new"},
        },
        {
            **at,
            "run_id": "t0",
            **trained,
            "started_at": datetime(2019, 11, 1),
            "settings": {"model": "content"},
            "facts": {"training run": "run-zzz-old"},
        },
        # Options that were not given: NULL, and as earlier releases wrote them.
        {
            **at,
            "run_id": "x1",
            "job": "export_vectors",
            "outcome": "done",
            "rows_out": {"vector_exports": 7},
            "settings": {"model": None},
        },
        {
            **at,
            "run_id": "x2",
            "job": "write_feeds",
            "outcome": "done",
            "rows_out": {"feeds": 7},
            "settings": {"model": "None", "trained_on": "None"},
        },
        {
            **at,
            "run_id": "e1",
            "job": "encode_articles",
            "outcome": "failed",
            "rows_out": {},
            "message": "OutOfMemoryError: <b>heap</b>",
        },
        {**at, "run_id": "v1", "job": "reclassify_short_text", "outcome": "running", "ended_at": None},
        {**at, "run_id": "pipe", "job": "run_pipeline", "outcome": "running", "ended_at": None},
    ]


def model_metrics() -> list[dict[str, Any]]:
    """Three epochs of two models, and an old run of one of them."""

    def metric(run: str, model: str, epoch: int, split: str, auc: float, best: bool) -> dict[str, Any]:
        ranks = {"auc": auc, "mrr": auc / 2, "ndcg_at_5": auc / 1.5, "ndcg_at_10": auc / 1.25}
        return {
            "run_id": run,
            "model": model,
            "epoch": epoch,
            "split": split,
            "best": best,
            "loss": 1 - auc,
            "impressions": 50,
            "impressions_left_out": 0,
            "trained_at": datetime(2019, 11, 14 if run == "run-zzz-old" else 15, 9),
            **ranks,
        }

    rows = []
    for run, model, start in (
        ("run-mf", "mf", 0.49),
        ("run-content-new", "content", 0.55),
        ("run-zzz-old", "content", 0.95),
    ):
        for epoch in (1, 2, 3):
            gain = 0.0 if model == "mf" else 0.04 * (epoch - 1)
            rows.append(metric(run, model, epoch, "valid", start + gain, best=epoch == 3))
            rows.append(metric(run, model, epoch, "train", start + 0.1 * epoch, best=epoch == 3))
    # A split without an impression to judge by has no metric, and a broken one is no number.
    rows[1] = {**rows[1], "auc": None, "mrr": float("nan"), "loss": float("nan")}
    return rows


def fill(lake: Lakehouse) -> None:
    """Something in every table that the report shows; 11 articles, the first with a hostile title and markup
    in its category."""
    titles = [HOSTILE, *(f"Title of article {number}" for number in range(1, 11))]
    news = [
        {
            "news_id": f"N{n}",
            "title": title,
            "category": "<i>odd</i>" if n == 0 else ("sports", "travel")[n % 2],
            "content_hash": str(n),
            "abstract": "a",
            "body": "",
        }
        for n, title in enumerate(titles)
    ]
    put(lake, "news", news)
    put_runs(lake, job_runs())
    put(lake, "model_metrics", model_metrics())
    put(
        lake,
        "impressions",
        [
            {
                "split": "dev",
                "impression_id": "1",
                "position": n,
                "user_id": "U1",
                "occurred_at": datetime(2019, 11, 14),
                "ingested_at": HOUR,
                "news_id": f"N{n}",
                "clicked": n < 2,
            }
            for n in range(5)
        ]
        + [
            {
                "split": "live",
                "impression_id": user,
                "position": n,
                "user_id": user,
                "occurred_at": HOUR,
                "ingested_at": HOUR,
                "news_id": f"N{n + 3}",
                "clicked": user == "U1" and n == 0,
                "feed_hour": HOUR,
                "model": "<i>formula</i>",
            }
            for user in ("U1", "U2")
            for n in range(2)
        ],
    )
    put(
        lake,
        "user_tags",
        [
            {"as_of": DAYS[1], "user_id": "U1", "tag": tag, "weight": w}
            for tag, w in (("skiing", 4.0), ("<b>bold</b>", 1.0))
        ],
    )
    put(
        lake,
        "newsfeed",
        [
            {
                "hour": HOUR,
                "user_id": "U1",
                "rank": n + 1,
                "news_id": f"N{n}" if n < 11 else "N-purged",
                "cosine": 0.9 - 0.05 * n,
                "ctr": 0.1,
                "score": -1.0 * n,
                "reason": "vectors",
            }
            for n in range(12)
        ]
        + [
            {
                "hour": HOUR,
                "user_id": "U2",
                "rank": 1,
                "news_id": "N3",
                "cosine": None,
                "ctr": 0.2,
                "score": 0.0,
                "reason": "popular",
            },
            {
                "hour": datetime(2019, 11, 14, 8),
                "user_id": "U3",
                "rank": 1,
                "news_id": "N4",
                "cosine": 0.5,
                "ctr": 0.2,
                "score": 0.0,
                "reason": "vectors",
            },
        ],
    )
    made = {
        "readers": 2,
        "entries": 13,
        "articles": 12,
        "coverage": 0.5,
        "novelty": 3.25,
        "new_share": 0.25,
        "diversity": 0.1,
    }
    put(lake, "feed_quality", [{"hour": HOUR, **made, "intra_list_diversity": 0.625, "miscalibration": 0.5}])
    topics = [
        {
            "topic_model": "m2",
            "topic_id": t,
            "terms": [f"word{t}", f"other{t}"],
            "term_weights": [0.5, 0.2],
            "vector": [float(t == i) for i in range(4)],
            "prior": 0.1,
            "articles": 11,
            "fitted_at": HOUR,
        }
        for t in range(4)
    ]
    put(
        lake,
        "topics",
        [
            *topics,
            {
                **topics[0],
                "topic_model": "m1",
                "terms": ["stale", "stale"],
                "fitted_at": datetime(2019, 11, 1),
            },
        ],
    )
    put(
        lake,
        "article_topics",
        [
            {
                "news_id": f"N{n}",
                "topic_model": "m2",
                "rank": rank,
                "topic_id": min(n, 2),
                "weight": 0.5,
                "content_hash": str(n),
            }
            for n in range(11)
            for rank in (1, 2)
        ],
    )
    put(
        lake,
        "tag_phrase_matches",
        [
            {
                "as_of": day,
                "phrase_id": f"P{n}",
                "encoder_id": "e",
                "decision": "encoded" if n >= 3 * place else "reused",
                "source_id": f"P{n}" if n % 3 else "P9",
                "jaccard": 1.0,
            }
            for place, day in enumerate(DAYS)
            for n in range(10)
        ],
    )
    judged = {
        "decided_by": "train",
        "promoted": True,
        "reason": "not worse",
        "in_use": "none",
        "impressions": 1_200,
    }
    figures = {
        "metric": "auc",
        "value": 0.6951,
        "in_use_value": 0.6052,
        "difference": 0.0899,
        "low": 0.0701,
        "high": 0.1102,
    }
    put(
        lake,
        "promotions",
        [
            {
                **judged,
                **figures,
                "kind": "recommender",
                "run_id": "r1",
                "name": "<b>dssm</b>",
                "decided_at": HOUR,
            },
            {
                **{**judged, "promoted": False, "in_use": "r1"},
                **{
                    **figures,
                    "value": 0.68,
                    "in_use_value": 0.69,
                    "difference": -0.01,
                    "low": -0.02,
                    "high": 0.0,
                },
                "kind": "recommender",
                "run_id": "r2",
                "name": "nrms",
                "decided_at": HOUR + timedelta(hours=1),
            },
            {
                **judged,
                **figures,
                "kind": "ranker",
                "metric": "ndcg_at_10",
                "run_id": "k1",
                "name": "trees",
                "decided_at": HOUR,
            },
            {
                **judged,
                "kind": "ranker",
                "run_id": "none",
                "in_use": "k1",
                "decided_at": HOUR + timedelta(hours=1),
            },
        ],
    )
    near = [{"news_id": f"L{n}", "class": "travel" if n < 18 else "sports", "cosine": 0.5} for n in range(20)]
    vote = {"as_of": DAYS[2], "encoder_id": "e", "model_run": "r", "content_hash": "h", "neighbours": near}
    put(
        lake,
        "short_text_votes",
        [
            {
                **vote,
                "news_id": "N0",
                "old_class": "<u>old</u>",
                "voted_class": "travel",
                "votes": 18,
                "decision": "changed",
            },
            {
                **vote,
                "news_id": "N1",
                "old_class": "sports",
                "voted_class": "travel",
                "votes": 19,
                "decision": "changed",
            },
            {
                **vote,
                "news_id": "N3",
                "old_class": "sports",
                "voted_class": "travel",
                "votes": 18,
                "decision": "changed",
            },
            {
                **vote,
                "news_id": "N2",
                "old_class": "travel",
                "voted_class": "travel",
                "votes": 18,
                "decision": "confirmed",
            },
            {
                **vote,
                "news_id": "N4",
                "old_class": "travel",
                "voted_class": "sports",
                "votes": 9,
                "decision": "kept",
            },
            {
                **vote,
                "news_id": "N4",
                "as_of": DAYS[1],
                "old_class": "x",
                "voted_class": "y",
                "votes": 20,
                "decision": "changed",
            },
        ],
    )
    aside = {
        "job": "parse_behaviors",
        "source": "file:/data/news.tsv",
        "raw": b"<script>alert(1)</script>\tx\xff",
        "ingested_at": HOUR,
    }
    put(
        lake,
        "quarantine",
        [
            {
                **aside,
                "quarantine_id": str(n),
                "reason": "too few <fields>" if n < 3 else "no title",
                "line_number": n,
            }
            for n in range(4)
        ],
    )
