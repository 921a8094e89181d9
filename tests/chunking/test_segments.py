from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunking.segments import best_cuts, best_segments, greedy_cuts


def segmentations(num: int) -> list[list[int]]:
    inner = range(1, num)
    return [[0, *cuts, num] for size in range(num) for cuts in itertools.combinations(inner, size)]


def sizes(counts: list[int], edges: list[int]) -> list[int]:
    return [sum(counts[a:b]) for a, b in itertools.pairwise(edges)]


@given(st.data())
def test_it_cuts_as_the_best_of_all_ways(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=9))
    gains = np.array(data.draw(st.lists(st.integers(-5, 5), min_size=len(counts) - 1, max_size=len(counts) - 1)), float)
    most = data.draw(st.integers(1, 20))
    least = data.draw(st.integers(0, most))

    def worth(edges: list[int]) -> tuple[int, float]:
        return -sum(size < least for size in sizes(counts, edges)), float(sum(gains[edge - 1] for edge in edges[1:-1]))

    def is_allowed(edges: list[int]) -> bool:
        return all(b - a == 1 or sum(counts[a:b]) <= most for a, b in itertools.pairwise(edges))

    found = best_cuts(counts, gains, min_tokens=least, max_tokens=most)
    assert is_allowed(found)
    assert worth(found) == max(worth(edges) for edges in segmentations(len(counts)) if is_allowed(edges))


def test_it_cuts_where_it_gains_and_where_it_must() -> None:
    gains = np.array([-1.0, 2.0, -3.0, -0.5, -2.0])
    assert best_cuts([1] * 6, gains, min_tokens=0, max_tokens=6) == [0, 2, 6]
    assert best_cuts([1] * 6, gains, min_tokens=0, max_tokens=3) == [0, 2, 4, 6]  # the cheapest cut that makes it fit
    assert best_cuts([1] * 6, gains, min_tokens=3, max_tokens=6) == [0, 6]
    assert best_cuts([], np.zeros(0), min_tokens=1, max_tokens=2) == [0]


def test_it_cuts_less_the_higher_the_threshold() -> None:
    scores = np.random.default_rng(0).random(200)
    counts = np.random.default_rng(1).integers(1, 20, 201).tolist()
    for least, most in ((0, 10**6), (30, 120)):
        nums = [
            len(best_cuts(counts, scores - threshold, min_tokens=least, max_tokens=most))
            for threshold in np.linspace(0, 1, 21)
        ]
        assert nums == sorted(nums, reverse=True) and nums[0] > nums[-1]


@pytest.mark.parametrize("seed", range(40))
def test_it_segments_as_the_best_of_all_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = int(rng.integers(1, 13))
    longest, least = int(rng.integers(1, num + 1)), 1
    values = rng.normal(size=(num, longest))
    for i, length in itertools.product(range(num), range(longest)):
        if i + length >= num:
            values[i, length] = -np.inf

    def worth(edges: list[int]) -> float:
        if any(b - a > longest for a, b in itertools.pairwise(edges)):
            return -np.inf
        return float(sum(values[a, b - a - 1] for a, b in itertools.pairwise(edges)))

    assert worth(best_segments(values, min_pieces=least)) == pytest.approx(max(map(worth, segmentations(num))))


def test_it_makes_no_small_segments_but_where_nothing_else_fits() -> None:
    values = np.full((5, 3), -np.inf)
    values[:, 0], values[:4, 1], values[:3, 2] = 100.0, 1.0, 1.0
    assert best_segments(values, min_pieces=2) in ([0, 2, 5], [0, 3, 5])
    assert best_segments(values[4:, :], min_pieces=2) == [0, 1]
    with pytest.raises(ValueError, match="no segmentation of 1 pieces"):
        best_segments(np.full((1, 1), -np.inf))


def test_it_goes_from_left_to_right() -> None:
    wanted = [True, False, True, False, False]
    assert greedy_cuts([2] * 6, wanted, min_tokens=0, max_tokens=100) == [0, 1, 3, 6]
    assert greedy_cuts([2] * 6, wanted, min_tokens=4, max_tokens=100) == [0, 3, 6]
    assert greedy_cuts([2] * 6, wanted, min_tokens=0, max_tokens=4) == [0, 1, 3, 5, 6]
    assert greedy_cuts([4, 4, 1], [True, True], min_tokens=3, max_tokens=8) == [0, 1, 3]  # the rest joins
    assert greedy_cuts([], [], min_tokens=0, max_tokens=4) == [0]
