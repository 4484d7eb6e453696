"""A click that comes after a profile has counted its row as skipped: the skip is taken back, as if the click had been there at once."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.lakehouse import Lakehouse
from newslake.streaming.event_messages import with_clicks
from tests.users.conftest import fill
from tests.users.test_profiles import DAY, EXACT, NEWS, at, build, weights

pytest.importorskip("newslake.users.arrivals", reason="profiles that are made from what was committed take skips back")

BEFORE = date(2019, 11, 14)


def shown(clicked: bool) -> list[dict[str, Any]]:
    """What u1 was shown on the 13th: N1, clicked, and N2, clicked at once or not yet."""
    common = {"split": "live", "impression_id": "1", "user_id": "u1", "occurred_at": at("13 12:00"), "ingested_at": at("13 12:00")}
    return [{**common, "position": place, "news_id": f"N{place + 1}", "clicked": place == 0 or clicked} for place in (0, 1)]


def test_a_late_click_weighs_as_one_that_came_at_once(spark: SparkSession, tmp_path: Path) -> None:
    options: dict[str, Any] = {**EXACT, "skip_weight": 0.3}
    found: list[list[dict[tuple[Any, ...], float]]] = []
    for late in (False, True):
        one = Lakehouse(spark, str(tmp_path / f"late-{late}"))
        fill(one, "news", list(NEWS))
        fill(one, "impressions", shown(clicked=not late))
        one.create("click_history")
        build(one, BEFORE, **options)
        if late:
            before = weights(one, "user_tags", BEFORE, "user_id", "tag")
            assert before["u1", "rovers"] < found[0][1]["u1", "rovers"], "counted as skipped so far"
            # As stream_behaviors takes the click in.
            click = {"click_id": "c", "impression_id": "1", "user_id": "u1", "news_id": "N2"}
            fill(one, "clicks", [{**click, "clicked_at": at("13 12:01"), "ingested_at": at("14 08:00")}])
            one.merge("impressions", with_clicks(one.read("impressions"), one.read("clicks")))
        build(one, DAY, **options)
        found.append([weights(one, "user_tags", day, "user_id", "tag") for day in (DAY, BEFORE)])
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-8)
    assert found[0][0]["u1", "rovers"] > 0.0
