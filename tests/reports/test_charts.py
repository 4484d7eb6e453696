"""The geometry of the charts: what a reader's eye takes from a place must be so."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newslake.reports.charts import (
    LogScale,
    log_scale,
    nice_scale,
    path,
    percent,
    projected,
    short_count,
    spread,
)
from newslake.reports.models import _panel


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_scale_holds_its_values_in_order_and_its_marks(values: list[float]) -> None:
    scale = nice_scale(values)
    places = [scale.at(value) for value in sorted(values)]
    assert all(-0.01 <= place <= 100.01 for place in places)
    assert places == sorted(places)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 12
    assert all(-0.01 <= tick.at <= 100.01 for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks), "two marks that read the same"


def test_marks_are_round_and_where_they_say() -> None:
    scale = nice_scale([0.497, 0.774], most=4)
    assert [tick.label for tick in scale.ticks(4)] == ["0.4", "0.5", "0.6", "0.7", "0.8"]
    assert [tick.at for tick in scale.ticks(4)] == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert scale.at(0.6) == 50.0


def test_counts_lie_on_powers_of_ten_and_nothing_has_its_own_place() -> None:
    scale = log_scale([0, 7, 950, 61_000])
    assert scale == LogScale(5)
    assert (
        scale.at(0)
        == 0.0
        < scale.at(1)
        < scale.at(7)
        < scale.at(950)
        < scale.at(61_000)
        < 100.0
        == scale.at(100_000)
    )
    assert scale.at(1_000) - scale.at(100) == pytest.approx(scale.at(100) - scale.at(10), abs=0.02)
    assert [tick.label for tick in scale.ticks()] == ["0", "1", "10", "100", "1k", "10k", "100k"]
    assert log_scale([]).at(0) == 0.0


def test_a_path_goes_up_where_values_do() -> None:
    assert path([(0, 0), (50, 100), (100, 25)]) == "M0 100L50 0L100 75"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (9_467, "9.5k"),
        (61_420, "61k"),
        (2_500_000, "2.5M"),
        (10**10, "10B"),
    ],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert short_count(count) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0"), (1e-4, "under 1"), (0.5, "50"), (0.994, "99.4"), (0.99999, "over 99.9"), (1, "100")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float, text: str) -> None:
    assert percent(share) == f"{text}\u00a0%"


def test_a_projection_keeps_distances_that_lie_in_a_plane() -> None:
    angles = np.array([0.0, 0.4, 1.1, 2.0])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    flat = np.zeros((4, 5))
    flat[:, 0], flat[:, 1] = np.cos(angles), np.sin(angles)
    points, shown = projected(flat @ turn * np.array([[1.0], [3.0], [0.5], [2.0]]))
    wanted = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points[None], axis=-1), wanted, atol=1e-9)
    assert shown == pytest.approx(1.0)


@pytest.mark.parametrize("vectors", [np.zeros((3, 4)), np.ones((1, 4)), np.ones((5, 1)), np.eye(2)])
def test_a_projection_of_next_to_nothing_is_finite(vectors: np.ndarray) -> None:
    points, shown = projected(vectors)
    assert points.shape == (len(vectors), 2)
    assert np.isfinite(points).all()
    assert 0.0 <= shown <= 1.0 + 1e-9


def test_bubbles_lie_in_the_box_and_apart() -> None:
    generator = np.random.default_rng(1)
    points, radii = generator.normal(size=(40, 2)), generator.uniform(5, 30, size=40)
    points[7] = points[8]
    placed = spread(points, radii, 1000.0, 560.0)
    assert (placed >= radii[:, None]).all()
    assert (placed <= np.array([1000.0, 560.0]) - radii[:, None]).all()
    distance = np.linalg.norm(placed[:, None] - placed[None], axis=-1) + np.eye(40) * 1e9
    assert (distance > 0.9 * (radii[:, None] + radii[None])).all()
    np.testing.assert_array_equal(placed, spread(points, radii, 1000.0, 560.0))


def test_an_untrained_model_stands_at_epoch_0_left_of_the_others() -> None:
    def row(model: str, epoch: int, auc: float) -> Any:
        return {"model": model, "split": "valid", "epoch": epoch, "auc": auc, "best": epoch == 0}

    panel = _panel(
        [row("nrms", 0, 0.7), row("nrms", 1, 0.6), row("nrms", 2, 0.65)], "auc", "AUC", {"nrms": 1}
    )
    assert panel is not None
    [curve] = panel.curves
    assert [(x, epoch) for x, _, epoch, _ in curve.points] == [(0.0, 0), (50.0, 1), (100.0, 2)]
    assert [(tick.at, tick.label) for tick in panel.x_ticks] == [(0.0, "0"), (50.0, "1"), (100.0, "2")]
    assert curve.best is not None
    assert curve.best[0] == 0.0
