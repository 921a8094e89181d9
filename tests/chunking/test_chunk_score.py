from __future__ import annotations

import math

import numpy as np
import pytest

from chunking.chunk_score import ALPHA, chunk_score, semantic_dispersion
from tests.chunking.models import TEXT, TOPICS, embed, losses


def centred_basis(num: int, dimensions: int = 64) -> np.ndarray:
    """Unit vectors at right angles whose own features sum to nothing."""
    angles = np.outer(np.arange(1, num + 1), 2 * np.pi * np.arange(dimensions) / dimensions)
    rows = np.cos(angles)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_it_is_near_the_floor_for_chunks_that_are_alike() -> None:
    vectors = np.repeat(centred_basis(1), 20, axis=0)
    floor = math.log(ALPHA)
    assert floor < semantic_dispersion(vectors) < floor + math.log(20 / ALPHA) / 20 + 0.01


def test_it_is_near_nothing_for_chunks_at_right_angles() -> None:
    assert semantic_dispersion(centred_basis(20)) == pytest.approx(math.log(1 + ALPHA), abs=1e-5)


def test_it_does_not_depend_on_the_order() -> None:
    vectors = embed([f"topic{i} and more{i % 5}" for i in range(30)])
    shuffled = vectors[np.random.default_rng(0).permutation(30)]
    assert semantic_dispersion(vectors) == pytest.approx(semantic_dispersion(shuffled), abs=1e-12)


def test_it_follows_the_formula_for_more_chunks_than_dimensions() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    z = vectors.T.astype(np.float64)  # (D, K)
    j = np.eye(8) - np.ones((8, 8)) / 8
    for num in (3, 8, 40):
        sigma = z[:, :num].T @ j @ z[:, :num]
        expected = np.linalg.slogdet(sigma + ALPHA * np.eye(num))[1] / num
        assert semantic_dispersion(vectors[:num]) == pytest.approx(expected, abs=1e-9)


def test_it_tells_both_terms() -> None:
    score = chunk_score(list(TOPICS), embed=embed, losses=losses)
    assert score.num_chunks == 3 and score.logical_independence is not None
    assert 0 < score.logical_independence <= 1 and score.semantic_dispersion < 0
    expected = 0.3 * score.logical_independence + 0.7 * score.semantic_dispersion
    assert score.score == pytest.approx(expected)


def test_it_prefers_the_topics_to_other_cuts_of_a_like_number() -> None:
    third = len(TEXT) // 6
    shifted = [TEXT[: 3 * third], TEXT[3 * third : 5 * third], TEXT[5 * third :]]
    for weight in (0.0, 0.3, 1.0):
        right = chunk_score(list(TOPICS), embed=embed, losses=losses, weight=weight).score
        assert right > chunk_score(shifted, embed=embed, losses=losses, weight=weight).score


def test_it_does_not_measure_chunks_of_a_few_words() -> None:
    score = chunk_score(["One two.", "Three four."], embed=embed, losses=losses)
    assert score.logical_independence is None and math.isfinite(score.score)


def test_it_rejects_what_has_no_score() -> None:
    with pytest.raises(ValueError, match="without chunks"):
        chunk_score([], embed=embed, losses=losses)
    with pytest.raises(ValueError, match=r"weight=1\.5 must be from 0 to 1"):
        chunk_score(["a"], embed=embed, losses=losses, weight=1.5)
    with pytest.raises(ValueError, match="needs vectors and alpha > 0"):
        semantic_dispersion(np.zeros((0, 4), np.float32))
