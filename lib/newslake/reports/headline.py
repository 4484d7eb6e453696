"""The first lines of the page: what somebody with ten seconds should know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from newslake.reports.charts import percent, short_count
from newslake.reports.models import Models
from newslake.reports.readers import Newsfeed, Reuse
from newslake.reports.votes import Vote


class HasContent(Protocol):
    """A section of the page."""

    @property
    def content(self) -> Any:
        """What it shows; None where there is nothing."""


@dataclass(frozen=True)
class Headline:
    """A title, and a few sentences under it."""

    title: str
    sentences: list[str]


@dataclass(frozen=True)
class Tile:
    """One number with its name, a line of context, and the section that says more."""

    value: str
    name: str
    context: str
    anchor: str


def headline(sections: Mapping[str, HasContent]) -> Headline:
    """The page's title and summary, of what is there."""
    rows = {table.name: table.rows for table in sections["tables"].content or []}
    feed: Newsfeed | None = sections["newsfeed"].content
    if feed is not None:
        title = f"{rows['news']:,} articles, ranked for {_many(feed.readers, 'reader')}"
    elif rows.get("news"):
        title = f"{_many(rows['news'], 'article')} in the lakehouse"
    else:
        title = "An empty lakehouse"
    said = [
        _of_models(sections["models"].content),
        _of_reuse(sections["reuse"].content),
        _of_vote(sections["vote"].content),
    ]
    sentences = [sentence for sentence in said if sentence]
    if not sentences and not rows.get("news"):
        sentences = [
            "Nothing is built yet. Start with jobs/parse_behaviors.py, or run make run for the built-in"
            " sample."
        ]
    return Headline(title, sentences)


def tiles(sections: Mapping[str, HasContent]) -> list[Tile]:
    """The numbers on top, of what is there."""
    rows = {table.name: table.rows for table in sections["tables"].content or []}
    found = []
    if "news" in rows:
        vectors = (
            f"{short_count(rows['article_embeddings'])} vectors"
            if "article_embeddings" in rows
            else "no vectors yet"
        )
        found.append(Tile(short_count(rows["news"]), "articles", vectors, "tables"))
    if "impressions" in rows:
        histories = f"{short_count(rows['click_history'])} impressions" if "click_history" in rows else ""
        found.append(Tile(short_count(rows["impressions"]), "candidates shown", histories, "flow"))
    models: Models | None = sections["models"].content
    if models is not None and models.rows[0].judged.get("auc") is not None:
        best = models.rows[0]
        found.append(
            Tile(
                f"{best.judged['auc']:.3f}",
                f"{best.judged_on} AUC",
                f"{best.model}, epoch {best.best_epoch}",
                "models",
            )
        )
    reuse: Reuse | None = sections["reuse"].content
    if reuse is not None:
        found.append(
            Tile(percent(reuse.days[-1].share), "phrases reused", f"on {_day(reuse.days[-1].day)}", "reuse")
        )
    vote: Vote | None = sections["vote"].content
    if vote is not None:
        found.append(
            Tile(
                short_count(vote.count("changed")),
                "classes corrected",
                f"of {short_count(vote.texts)} short texts",
                "vote",
            )
        )
    if sections["quarantine"].content is not None:
        aside = sections["quarantine"].content
        found.append(
            Tile(
                short_count(aside.rows),
                "inputs set aside",
                _many(len(aside.reasons) + aside.others, "reason"),
                "quarantine",
            )
        )
    return found


def _of_models(models: Models | None) -> str:
    if models is None or models.rows[0].judged.get("auc") is None:
        return ""
    best, others = models.rows[0], [row for row in models.rows[1:] if row.judged.get("auc") is not None]
    sentence = f"The {best.model} model ranks news of days it has not seen at AUC {best.judged['auc']:.3f}"
    return sentence + (
        f", the {others[-1].model} model at {others[-1].judged['auc']:.3f}." if others else "."
    )


def _of_reuse(reuse: Reuse | None) -> str:
    if reuse is None:
        return ""
    last = reuse.days[-1]
    return (
        f"On {_day(last.day)}, {percent(last.share)} of {last.phrases:,} tag phrases took a stored vector"
        " instead of a new one."
    )


def _of_vote(vote: Vote | None) -> str:
    if vote is None or not vote.count("changed"):
        return ""
    return (
        f"Their nearest articles corrected the class of {vote.count('changed'):,} of"
        f" {_many(vote.texts, 'short text')}."
    )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _day(day: Any) -> str:
    return f"{day.day} {day:%B}"
