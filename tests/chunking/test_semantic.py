from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from chunking.cluster_semantic import longest_segment, segment_similarities, split_cluster_semantic
from chunking.semantic import excess, neighbour_distances, split_semantic
from chunking.types import Vectors
from tests.chunking.models import TEXT, TOPICS, assert_partition, embed


@pytest.mark.parametrize(("kind", "amount"), [("percentile", 75.0), ("standard_deviation", 1.0), ("gradient", 75.0)])
def test_it_cuts_between_topics(kind: str, amount: float) -> None:
    chunks = split_semantic(TEXT, embed=embed, breakpoint=kind, amount=amount, min_tokens=0)
    assert [chunk.text for chunk in chunks] == list(TOPICS)


def test_it_clusters_topics() -> None:
    chunks = split_cluster_semantic(TEXT, embed=embed, piece_tokens=10)
    assert [chunk.text for chunk in chunks] == list(TOPICS)


def test_it_embeds_every_sentence_once() -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> Vectors:
        asked.extend(texts)
        return embed(texts)

    split_semantic(TEXT, embed=counting, buffer=3)
    assert "".join(asked) == TEXT and len(asked) == 9


def test_it_compares_the_means_of_neighbours() -> None:
    vectors = embed(["one two", "two three", "three four", "five six"])
    found = neighbour_distances(vectors, 2)
    for place in range(1, 4):
        left, right = vectors[max(0, place - 2) : place].mean(0), vectors[place : place + 2].mean(0)
        expected = 1 - left @ right / (np.linalg.norm(left) * np.linalg.norm(right))
        assert found[place - 1] == pytest.approx(expected, abs=1e-6)


def test_it_finds_breakpoints_by_hand() -> None:
    distances = np.array([0.1, 0.2, 0.9, 0.2, 0.1, 0.5, 0.1])
    assert np.flatnonzero(excess(distances, "percentile", 80) > 0).tolist() == [2, 5]
    assert np.flatnonzero(excess(distances, "standard_deviation", 1.5) > 0).tolist() == [2]
    assert np.flatnonzero(excess(distances, "gradient", 80) > 0).tolist() == [2, 5]


@pytest.mark.parametrize("kind", ["percentile", "standard_deviation", "gradient"])
def test_it_cuts_less_the_more_is_asked(kind: str) -> None:
    text = " ".join(f"Word{i * i % 17} and word{i * 7 % 11} stand here." for i in range(120))
    amounts = np.linspace(0, 5 if kind == "standard_deviation" else 100, 11)
    nums = [
        len(split_semantic(text, embed=embed, breakpoint=kind, amount=float(a), min_tokens=0, max_tokens=10_000))
        for a in amounts
    ]
    assert nums == sorted(nums, reverse=True) and nums[0] > nums[-1] == 1


def test_it_keeps_the_sizes() -> None:
    chunks = split_semantic(TEXT, embed=embed, min_tokens=15, max_tokens=30)
    assert_partition(chunks, TEXT)
    assert all(15 <= chunk.num_tokens <= 30 for chunk in chunks)


def test_it_sums_similarities_as_a_double_loop_does() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (vectors @ vectors.T).astype(np.float64)
    mean = cosines[np.triu_indices(9, 1)].mean()
    values = segment_similarities(vectors, 4)
    for i in range(9):
        for length in range(4):
            last = i + length
            if last >= 9:
                assert values[i, length] == -np.inf
                continue
            expected = sum(cosines[a, b] - mean for a in range(i, last + 1) for b in range(a + 1, last + 1))
            assert values[i, length] == pytest.approx(expected, abs=1e-5)


def test_it_knows_how_many_pieces_fit() -> None:
    assert longest_segment([5, 5, 5, 1, 1], 10) == 3
    assert longest_segment([50], 10) == 1


def test_it_rejects_bad_options() -> None:
    for options, told in (
        ({"buffer": 0}, "buffer=0 must be"),
        ({"breakpoint": "magic"}, "breakpoint='magic' must be one of percentile"),
        ({"amount": 101}, "amount=101 must be from 0 to 100"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens=5 must not be more"),
    ):
        with pytest.raises(ValueError, match=told):
            split_semantic(TEXT, embed=embed, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="piece_tokens=500 must be a whole number from 1 to 300"):
        split_cluster_semantic(TEXT, embed=embed, piece_tokens=500)


def test_it_compares_in_blocks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(3).normal(size=(41, 8)).astype(np.float32)
    at_once = neighbour_distances(vectors, 3)
    monkeypatch.setattr("chunking.semantic.BLOCK", 7)
    np.testing.assert_allclose(neighbour_distances(vectors, 3), at_once, atol=1e-9)
    assert neighbour_distances(vectors[:1], 3).shape == (0,)
