"""Which articles begin a story: the rounds against one article after the other, in plain Python."""

import numpy as np
import pytest

from newslake.ranking.leaders import joined


def one_by_one(count: int, edges: dict[tuple[int, int], float], known: set[int]) -> list[int]:
    """Articles by number in the order of publication; `known` began stories before."""
    first_of: list[int] = []
    firsts = set(known)
    for article in range(count):
        if article in known:
            first_of.append(article)
            continue
        near = [
            (-cosine, other)
            for (later, other), cosine in edges.items()
            if later == article and other in firsts
        ]
        if near:
            first_of.append(min(near)[1])
        else:
            firsts.add(article)
            first_of.append(article)
    return first_of


def arrays(edges: dict[tuple[int, int], float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = np.array(list(edges), np.int64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1], np.array(list(edges.values()), np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_rounds_say_what_one_after_the_other_would(seed: int) -> None:
    draw = np.random.default_rng(seed)
    count = int(draw.integers(2, 60))
    known = {n for n in range(count) if draw.random() < 0.1}
    edges = {
        (a, b): float(np.float32(draw.integers(90, 100) / 100))  # equal cosines occur
        for a in range(count)
        for b in range(count)
        if a not in known and (b < a or b in known) and a != b and draw.random() < 0.15
    }
    flags = np.array([n in known for n in range(count)])
    found = joined(*arrays(edges), flags, np.zeros(count, bool))
    assert found.tolist() == one_by_one(count, edges, known)


def test_a_chain_does_not_drift_into_one_story() -> None:
    edges = {(n, n - 1): 0.95 for n in range(1, 5)}
    assert joined(*arrays(edges), np.zeros(5, bool), np.zeros(5, bool)).tolist() == [0, 0, 2, 2, 4]


def test_an_article_with_links_that_are_not_known_waits_and_so_do_those_that_need_it() -> None:
    # 2 sees nobody but may have more links; 3 is near to 2 alone; 4 is nearer to 2 than to 0, 5 nearer to 0.
    edges = {(3, 2): 0.95, (4, 2): 0.96, (4, 0): 0.92, (5, 0): 0.96, (5, 2): 0.92}
    cut = np.array([False, False, True, False, False, False])
    assert joined(*arrays(edges), np.zeros(6, bool), cut).tolist() == [0, 1, -1, -1, -1, 0]
    edges = {(2, 0): 0.93, **edges}
    assert joined(*arrays(edges), np.zeros(6, bool), cut).tolist() == [0, 1, 0, 3, 0, 0]
