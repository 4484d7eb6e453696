"""Newsfeeds as they were shown: rates and calibration against numpy, over rows drawn from a seed."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.reports.online import bins, gather_online, rates, shown_feeds
from newslake.spark.frames import frame_of
from tests.tables import put

HOUR = datetime(2019, 11, 15, 8)
SHOWN = "feed_hour timestamp, rank int, model string, estimated double, clicked boolean"


def test_rates_and_bins_are_those_of_numpy(spark: SparkSession) -> None:
    draw = np.random.default_rng(3)
    estimated = np.round(draw.random(300) * 0.4, 3)
    known = draw.random(300) < 0.8
    clicked = draw.random(300) < estimated
    rank = draw.integers(1, 15, 300)
    rows = [
        (HOUR, int(r), "m", float(e) if k else None, bool(c))
        for r, e, k, c in zip(rank, estimated, known, clicked, strict=True)
    ]
    shown = frame_of(spark, rows, SHOWN)
    for row in rates(shown, F.col("rank")).collect():
        of_rank = rank == row["rank"]
        assert (row["shown"], row["lacking"]) == (of_rank.sum(), (of_rank & ~known).sum())
        assert row["happened"] == pytest.approx(clicked[of_rank].mean())
        if (of_rank & known).any():
            assert row["estimated"] == pytest.approx(estimated[of_rank & known].mean())
    cuts = [0.1, 0.2, 0.3]
    bin_of = np.searchsorted(cuts, estimated, side="left")
    found = bins(shown, cuts).collect()
    assert [row["bin"] for row in found] == [0, 1, 2, 3]
    for row in found:
        inside = known & (bin_of == row["bin"])
        assert row["shown"] == inside.sum()
        assert row["happened"] == pytest.approx(clicked[inside].mean())
        assert row["estimated"] == pytest.approx(estimated[inside].mean())


def test_an_impression_meets_the_estimate_of_its_own_hour_and_reader(
    spark: SparkSession, lake: Lakehouse
) -> None:
    later = HOUR + timedelta(hours=1)
    shown = [
        ("live", "I1", 0, "U1", HOUR, HOUR, "N1", True, HOUR, None, "m"),  # the newsfeed has the rank
        ("live", "I1", 1, "U1", HOUR, HOUR, "N2", False, HOUR, 9, "m"),  # the event has another
        ("live", "I2", 0, "U2", HOUR, HOUR, "N1", False, HOUR, 1, None),  # in no newsfeed of this reader
        ("live", "I3", 0, "U1", HOUR, HOUR, "N1", False, None, None, None),  # from elsewhere
        ("test", "I4", 0, "U1", HOUR, HOUR, "N1", None, HOUR, None, None),  # nobody knows
    ]
    fed = [
        (HOUR, "U1", 3, "N1", 0.5, 0.2, 1.0, "vectors", "formula"),
        (HOUR, "U1", 4, "N2", 0.5, 0.3, 1.0, "vectors", "formula"),
    ]
    fed += [
        (later, "U1", 1, "N1", 0.5, 0.9, 1.0, "vectors", "formula"),
        (later, "U2", 1, "N1", 0.5, 0.9, 1.0, "vectors", "formula"),
    ]
    impressions, newsfeed = (
        frame_of(spark, rows, lake.schema(table))
        for table, rows in (("impressions", shown), ("newsfeed", fed))
    )
    found = (
        shown_feeds(impressions, newsfeed)
        .orderBy("rank")
        .select("rank", "model", "estimated", "clicked")
        .collect()
    )
    assert found == [(1, None, None, False), (3, "m", 0.2, True), (9, "m", 0.3, False)]
    put(lake, "impressions", impressions)
    put(lake, "newsfeed", newsfeed)
    online = gather_online(lake)
    assert online is not None
    assert (online.shown, online.without_estimate, online.since, online.until) == (3, 1, HOUR, HOUR)
    assert [(rate.name, rate.shown, rate.happened) for rate in online.ranks] == [
        ("1", 1, 0.0),
        ("3", 1, 1.0),
        ("9", 1, 0.0),
    ]
    assert [(rate.name, rate.shown, rate.happened) for rate in online.models] == [
        ("m", 2, 0.5),
        ("not told", 1, 0.0),
    ]
    assert [(rate.shown, rate.happened, rate.estimated) for rate in online.bins] == [
        (1, 1.0, 0.2),
        (1, 0.0, 0.3),
    ]
    assert online.error == pytest.approx((0.8 + 0.3) / 2)


def test_impressions_that_tell_no_feed_make_no_section(lake: Lakehouse) -> None:
    lake.create("impressions")
    lake.create("newsfeed")
    assert gather_online(lake) is None
