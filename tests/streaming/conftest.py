"""A small encoder, a small topic model, and a real broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from tests.streaming.broker import Broker
from tests.tables import put
from tests.text.conftest import save_bert

TOPIC_MODEL = "hand-made"
_TERMS = {
    "storm": [9.0, 1.0],
    "rain": [8.0, 1.0],
    "city": [1.0, 3.0],
    "goal": [1.0, 9.0],
    "team": [1.0, 8.0],
    "mayor": [4.0, 2.0],
}


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer, 16 wide: these tests are about messages and tables."""
    return save_bert(tmp_path_factory.mktemp("models") / "bert", layers=1, width=16, heads=2, seed=1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker of the module's own."""
    made = Broker(tmp_path_factory.mktemp("kafka"))
    made.start()
    yield made
    made.kill()


def write_topic_model(lake: Lakehouse, name: str = TOPIC_MODEL) -> None:
    """Two topics over a few words, as fit_topics leaves a model, without the fitting."""
    heads = [
        (name, i, ["storm", "goal"], [0.6, 0.4], [1.0 - i, float(i), 0.5], 0.5, 9, "2019-11-01 00:00:00")
        for i in range(2)
    ]
    names = (
        "topic_model string, topic_id int, terms array<string>, term_weights array<double>, vector"
        " array<float>, prior double"
    )
    made = frame_of(lake.spark, heads, f"{names}, articles bigint, fitted_at string")
    terms = [(name, term, i, 9, counts, [1.0, 0.0, 0.0]) for i, (term, counts) in enumerate(_TERMS.items())]
    of_terms = (
        "topic_model string, term string, term_index int, articles bigint, topic_counts array<double>, vector"
        " array<float>"
    )
    rows = frame_of(lake.spark, terms, of_terms)
    for table, given in (("topic_terms", rows), ("topics", made)):
        contract = lake.schema(table)
        known = [field for field in contract if field.name in given.columns]
        assert [field.name for field in known] == contract.names, f"{table} has other columns now"
        put(
            lake,
            table,
            given.select(*(given[field.name].cast(field.dataType).alias(field.name) for field in known)),
        )
