"""fit_topics and assign_topics: versions beside each other, only what is new, and articles that hold no known
word."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.switches.topic_model import topic_models
from newslake.topics.assign import assign, assign_topics, load_model
from newslake.topics.models import significant
from tests.topics.conftest import SUBJECTS, about, articles, fitted, write_news


def topics_of(lake: Lakehouse, model: str) -> dict[str, list[tuple[int | None, float]]]:
    """news_id -> its topics and weights, heaviest first."""
    rows = lake.read("article_topics").where(f"topic_model = '{model}'").orderBy("news_id", "rank").collect()
    found: dict[str, list[tuple[int | None, float]]] = {}
    for row in rows:
        found.setdefault(row["news_id"], []).append((row["topic_id"], row["weight"]))
        assert row["rank"] == len(found[row["news_id"]])
    return found


def assigned(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of assign_topics."""
    run = JobRun("assign_topics")
    assign_topics(lake, run, partitions=2, **options)
    return run


def test_topics_are_the_subjects(modelled: Lakehouse) -> None:
    model = topic_models(modelled)[-1]
    topics = modelled.read("topics").orderBy("topic_id").collect()
    assert [row["topic_id"] for row in topics] == [0, 1, 2]
    subject_of = {}
    for row in topics:
        (subject,) = {name for name, words in SUBJECTS.items() if set(row["terms"]) <= set(words)}
        subject_of[row["topic_id"]] = subject
        assert len(row["terms"]) == 5
        assert row["term_weights"] == sorted(row["term_weights"], reverse=True)
    assert sorted(subject_of.values()) == sorted(SUBJECTS)

    # The vector of a topic is the weighted mean of its terms' vectors.
    words = {row["term"]: np.array(row["vector"]) for row in modelled.read("topic_terms").collect()}
    assert len(words) == 30
    assert {len(vector) for vector in words.values()} == {8}
    expected = np.average(
        [words[term] for term in topics[0]["terms"]], axis=0, weights=topics[0]["term_weights"]
    )
    np.testing.assert_allclose(topics[0]["vector"], expected, rtol=1e-5)

    run = assigned(modelled)
    assert run.rows_written == {"article_topics": 72}
    found = topics_of(modelled, model)
    assert len(found) == 36
    for news_id, ((first, weight), (second, less)) in found.items():
        assert first is not None
        assert subject_of[first] == news_id.split("-")[0]
        assert weight > 0.6 > less >= 0.0
        assert second != first


def test_only_what_is_new_or_changed_is_assigned(modelled: Lakehouse) -> None:
    model = topic_models(modelled)[-1]
    assigned(modelled)
    before = topics_of(modelled, model)
    write_news(
        modelled,
        [
            ("sport-000", about("money", 77), None, None, None),
            ("new", about("weather", 78), "", "", None),
            ("strange", "zzz qqq", "", None, None),
            ("empty", "", "", None, None),
            ("control", "\x00\x01\x02", "\t", None, None),
            ("huge", about("sport", 5) + " word" * 200_000, "", None, None),
            ("one word", "y" * 10_000, "", None, None),
        ],
    )
    run = assigned(modelled)
    assert run.rows_read == 7
    assert run.rows_written == {"article_topics": 14}
    assert run.facts["articles without a word that the model knows"] == "4"
    after = topics_of(modelled, model)
    assert {news_id for news_id in before if before[news_id] != after[news_id]} == {"sport-000"}
    assert after["sport-000"][0][0] == before["money-000"][0][0]
    assert after["new"][0][0] == before["weather-000"][0][0]
    assert after["huge"][0][0] == before["sport-001"][0][0]
    for news_id in ("strange", "empty", "control", "one word"):
        assert after[news_id] == [(None, 0.0), (None, 0.0)]
    again = assigned(modelled)
    assert again.rows_read == 0
    assert again.rows_written == {"article_topics": 0}


def test_a_refit_is_a_version_beside_the_old_one(modelled: Lakehouse) -> None:
    old = topic_models(modelled)[-1]
    kept = modelled.read("topics").collect()
    assert fitted(modelled) == old  # nothing new: nothing fitted
    assert modelled.read("topics").collect() == kept
    assigned(modelled)
    write_news(modelled, [("extra", about("sport", 500), about("sport", 501), None, None)])
    new = fitted(modelled)
    reseeded = fitted(modelled, seed=1)
    assert len({old, new, reseeded}) == 3
    assert Counter(row["topic_model"] for row in modelled.read("topics").collect()) == {
        old: 3,
        new: 3,
        reseeded: 3,
    }
    assert load_model(modelled).topic_model == old  # the active one by default, until another is made so
    assigned(modelled, topic_model=new)
    assert len(topics_of(modelled, old)) == 36
    assert len(topics_of(modelled, new)) == 37
    # The very articles and settings of the first fit give the very model, from other partitions and files.
    twin = Lakehouse(modelled.spark, f"{modelled.root}-twin")
    for row in (articles()[1::2], articles()[::2]):
        write_news(twin, row)
    assert fitted(twin) == old
    for table in ("topics", "topic_terms"):
        mine, theirs = (
            each.read(table).where(f"topic_model = '{old}'").drop("fitted_at") for each in (modelled, twin)
        )
        assert mine.exceptAll(theirs).isEmpty()


def test_the_step_works_on_a_micro_batch_without_any_table(modelled: Lakehouse) -> None:
    model = load_model(modelled)
    batch = frame_of(
        modelled.spark,
        [("x", about("money", 9), None, None, "hash")],
        "news_id string, title string, abstract string, body string, content_hash string",
    )
    (row,) = assign(batch, model).collect()
    assert (row["news_id"], row["content_hash"], len(row["topic_ids"]), len(row["weights"])) == (
        "x",
        "hash",
        2,
        2,
    )


def test_mistakes(lake: Lakehouse) -> None:
    with pytest.raises(UserError, match="table news is not there yet"):
        fitted(lake)
    write_news(lake, [("N1", "one lonely text", "", None, None)])
    with pytest.raises(UserError, match=r"topics is not there yet.*fit_topics"):
        assigned(lake)
    with pytest.raises(UserError, match="no term is in 2 articles or more"):
        fitted(lake)
    with pytest.raises(UserError, match=r"no topic model .* run fit_topics"):
        assigned(lake)
    for option, message in (
        ({"topics": 1}, "take 2 or more"),
        ({"max_share": 0.0}, "above 0"),
        ({"passes": 0}, "--passes 0"),
    ):
        with pytest.raises(UserError, match=message):
            fitted(lake, **option)


def test_a_damaged_or_unknown_model_is_refused(modelled: Lakehouse) -> None:
    model = topic_models(modelled)[-1]
    with pytest.raises(UserError, match=f"no such model; there are: {model}"):
        assigned(modelled, topic_model="lda9.none")
    modelled.delete("topic_terms", "term_index > 20 AND term_index < 25")
    modelled.delete("topics", "topic_id = 2")
    with pytest.raises(JobFailed, match="is damaged: 2 topics, 26 terms, 78 weights"):
        assigned(modelled)


def test_rounding_to_significant_digits() -> None:
    np.testing.assert_allclose(
        significant(np.array([123456.0, 0.000123456, 0.0])), [123460.0, 0.00012346, 0.0], rtol=1e-15
    )
