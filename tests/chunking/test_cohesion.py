from __future__ import annotations

import math

import numpy as np
import pytest

from chunking.cohesion import (
    answer_coverage,
    boundary_clarity,
    chunk_stickiness,
    clarity_ratio,
    question_coverage,
    structural_entropy,
)
from chunking.tokens import tokenized
from tests.chunking.models import TEXT, TOPICS, embed, losses

ALIKE = "The river rose over the lower fields in the night."
OTHER = "Nobody has ever played this violin with a better bow."


def test_it_is_one_where_nothing_is_told_and_less_where_much_is() -> None:
    assert clarity_ratio(losses, OTHER, ALIKE + " It rose.") == pytest.approx(1.0, abs=0.15)
    assert clarity_ratio(losses, ALIKE, ALIKE) == pytest.approx(10 / 34, abs=0.02)  # ten words of one nat, not four
    assert clarity_ratio(losses, ALIKE, "Too short.") is None


def test_it_takes_the_mean_over_boundaries() -> None:
    texts = [ALIKE, ALIKE, OTHER]
    both = [clarity_ratio(losses, a, b) for a, b in ((ALIKE, ALIKE), (ALIKE, OTHER))]
    assert boundary_clarity(losses, texts) == pytest.approx(np.mean([b for b in both if b is not None]))
    assert boundary_clarity(losses, ["one"]) is None


def test_it_measures_the_graph_of_chunks_that_depend_on_each_other() -> None:
    assert chunk_stickiness(losses, [ALIKE, OTHER]) == 0.0
    assert chunk_stickiness(losses, [ALIKE, ALIKE]) == pytest.approx(1.0)  # one edge: two chunks of degree one
    assert chunk_stickiness(losses, [ALIKE] * 4) == pytest.approx(2.0)  # all joined: log2 of four
    path = chunk_stickiness(losses, [ALIKE] * 4, max_distance=1)
    assert path == pytest.approx(2 * (1 / 6) * math.log2(6) + 2 * (1 / 3) * math.log2(3))
    with pytest.raises(ValueError, match="threshold=3 must be from 0 to 1"):
        chunk_stickiness(losses, [ALIKE], threshold=3)


def test_it_is_less_sticky_between_topics_than_inside() -> None:
    halves = [half + "." for topic in TOPICS for half in (topic[: len(topic) // 2], topic[len(topic) // 2 :])]
    assert chunk_stickiness(losses, list(TOPICS)) < chunk_stickiness(losses, halves, threshold=0.9)


def test_it_has_no_entropy_without_edges() -> None:
    assert structural_entropy(np.zeros(5)) == 0.0
    assert structural_entropy(np.array([3.0, 1, 1, 1])) == pytest.approx(0.5 + 3 / 6 * math.log2(6))  # a star


def test_it_counts_answers_that_lie_in_one_chunk() -> None:
    chunks = tokenized(TEXT).chunks([(0, 50), (50, len(TEXT))])
    answers = [[(0, 50)], [(40, 60)], [(60, 70), (90, 99)], [(10, 20), (60, 70)]]
    assert answer_coverage(chunks, answers) == 0.5
    assert answer_coverage([], answers) == 0.0
    assert math.isnan(answer_coverage(chunks, []))


def test_it_counts_questions_that_some_chunk_is_near_to() -> None:
    chunks = tokenized(TEXT).chunks([(0, len(TOPICS[0])), (len(TOPICS[0]), len(TEXT))])
    assert question_coverage(chunks, ["lava and ash", "tax law"], embed=embed, threshold=0.4) == 0.5
    assert question_coverage([], ["lava"], embed=embed) == 0.0
    assert math.isnan(question_coverage(chunks, [], embed=embed))
