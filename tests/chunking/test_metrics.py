"""Recall, precision, IoU and Precision-Omega, beside counts by hand and beside sets of characters."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunking.metrics import ChunkScores, intersection, mean, measure, precision_omega, score, touching, union

DOCUMENT = (0, 100)
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair))), max_size=8)


def places(spans: list[tuple[int, int]]) -> set[int]:
    return {place for start, end in spans for place in range(start, end)}


def test_it_gives_the_whole_document_as_one_chunk_full_recall_and_the_share_of_its_references() -> None:
    assert score([(10, 20), (50, 60)], [DOCUMENT], [DOCUMENT]) == ChunkScores(1.0, 0.2, 0.2, 0.2)


def test_it_gives_chunks_that_are_the_references_the_full_score() -> None:
    references = [(10, 20), (50, 60)]
    chunks = [(0, 10), (10, 20), (20, 50), (50, 60), (60, 100)]
    assert score(references, references, chunks) == ChunkScores(1.0, 1.0, 1.0, 1.0)


def test_it_counts_what_is_retrieved_twice_twice_in_precision_and_iou_but_not_in_omega() -> None:
    once = score([(0, 10)], [(0, 10)], [(0, 10), (0, 10)])
    twice = score([(0, 10)], [(0, 10), (0, 10)], [(0, 10), (0, 10)])
    assert once == ChunkScores(1.0, 1.0, 1.0, 1.0)
    assert twice == ChunkScores(1.0, 0.5, 0.5, 1.0)


def test_it_adds_what_was_missed_to_the_denominator_of_iou() -> None:
    # 5 of 20 found in a chunk of 25: 5 / (25 + 15)
    found = score([(0, 10), (90, 100)], [(5, 30)], [(5, 30), (80, 95)])
    assert found.recall == 0.25
    assert found.precision == 0.2
    assert found.iou == 0.125
    # touching chunks hold 5 + 5 of 20; with the references they cover 40 + 10
    assert found.precision_omega == 10 / 50


def test_it_joins_references_that_overlap_or_lie_apart() -> None:
    assert score([(0, 10), (5, 15), (40, 45)], [(0, 15)], [(0, 15)]).recall == 15 / 20


def test_it_does_not_take_a_chunk_that_meets_an_edge_for_one_that_overlaps() -> None:
    chunks = [(0, 10), (10, 20), (20, 100)]
    assert touching([(10, 20)], chunks) == [(10, 20)]
    assert precision_omega([(10, 20)], chunks) == 1.0


def test_it_counts_chunks_of_other_documents_in_precision_and_iou() -> None:
    found = score([(0, 10)], [(0, 10)], [(0, 10)], num_foreign_chars=30)
    assert found == ChunkScores(1.0, 0.25, 0.25, 1.0)


def test_it_gives_nothing_retrieved_zero() -> None:
    assert score([(0, 10)], [], [(0, 40)]) == ChunkScores(0.0, 0.0, 0.0, 0.25)


def test_it_weighs_every_question_the_same() -> None:
    long = score([(0, 1000)], [(0, 1000)], [(0, 1000)])
    short = score([(0, 1)], [], [(0, 1)])
    assert mean([long, short]) == ChunkScores(0.5, 0.5, 0.5, 1.0)


@pytest.mark.parametrize("references", [[], [(5, 5)]])
def test_it_rejects_a_question_without_references(references: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="references hold no character"):
        score(references, [(0, 10)], [(0, 10)])


def test_it_rejects_a_span_that_ends_before_it_starts() -> None:
    with pytest.raises(ValueError, match=r"span \(7, 3\) ends before it starts"):
        union([(7, 3)])


def test_it_rejects_the_mean_of_nothing() -> None:
    with pytest.raises(ValueError, match="no questions"):
        mean([])


@settings(deadline=None)  # the first example pays for what is loaded
@given(SPANS, SPANS)
def test_its_spans_are_the_sets_of_their_characters(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    first, second = union(a), union(b)
    assert places(first) == places(a)
    assert measure(first) == len(places(a))
    assert all(left[1] < right[0] for left, right in pairwise(first))
    assert intersection(first, second) == intersection(second, first)
    assert places(intersection(first, second)) == places(a) & places(b)


@settings(deadline=None)  # the first example pays for what is loaded
@given(SPANS.filter(places), SPANS, SPANS, st.integers(0, 50))
def test_its_scores_are_those_of_sets(
    references: list[tuple[int, int]], retrieved: list[tuple[int, int]], chunks: list[tuple[int, int]], foreign: int
) -> None:
    found = score(references, retrieved, chunks, num_foreign_chars=foreign)
    wanted, common = places(references), places(references) & places(retrieved)
    total = sum(b - a for a, b in retrieved) + foreign
    held = places([span for span in chunks if places([span]) & wanted])
    assert found.recall == len(common) / len(wanted)
    assert found.precision == (len(common) / total if total else 0)
    assert found.iou == len(common) / (total + len(wanted - common))
    assert found.precision_omega == len(wanted & held) / len(held | wanted)
