from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from chunking.perplexity import minima, sentence_scores, split_perplexity
from chunking.pieces import sentence_pieces
from chunking.tokens import tokenized
from chunking.types import Offsets
from tests.chunking.models import TEXT, assert_partition


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ([3, 1, 3], 0, [1]),
        ([1, 3, 3], 0, []),  # the first is no minimum
        ([3, 3, 1], 0, []),  # nor is the last
        ([3, 2, 1, 2, 3], 0, [2]),
        ([3, 1, 1, 3], 0, [1]),  # of a plateau its first
        ([3, 1, 1, 1, 0.5, 3], 0, [1, 4]),  # also where it goes on down
        ([1, 1, 3], 0, []),  # a plateau at the beginning
        ([2, 2, 2], 0, []),
        ([3, 2.5, 3], 0.5, [1]),
        ([3, 2.6, 3], 0.5, []),
        ([3, 2.9, 5], 0.5, [1]),  # one of both sides is enough
        ([3.1, 2.9, 2.9, 5], 0.5, []),  # of a plateau only the fall counts
        ([], 0, []),
        ([1], 0, []),
        ([3, 1], 0, []),
    ],
)
def test_it_finds_minima(scores: list[float], threshold: float, expected: list[int]) -> None:
    assert minima(scores, threshold) == expected


def test_it_finds_fewer_minima_the_higher_the_threshold() -> None:
    scores = np.random.default_rng(0).random(300)
    found = [set(minima(scores, threshold)) for threshold in np.linspace(0, 1, 21)]
    assert all(later <= earlier for earlier, later in pairwise(found))
    assert len(found[0]) > 90 and not found[-1]


def test_it_moves_the_dynamic_threshold_after_a_hundred_drops() -> None:
    first = [x for _ in range(100) for x in (3.0, 1.0)]  # a hundred drops of two
    later = [3.0, 2.5, 3.0, 0.5, 3.0]
    assert minima([*first, *later], 0.0)[100:] == [201, 203]
    assert minima([*first, *later], 0.0, dynamic=True)[100:] == [203]  # the least drop by then is two
    assert minima([*first[:180], *later], 0.0, dynamic=True)[90:] == [181, 183]  # too few to tell


def costs(values: dict[str, float]) -> object:
    """Every token of a sentence costs what is said of its first word."""

    def losses(context: str, text: str) -> tuple[Offsets, np.ndarray]:
        starts, found = [], []
        for start, end in sentence_pieces(tokenized(text), 1000):
            for place in tokenized(text[start:end]).starts.tolist():
                starts.append(start + place)
                found.append(values[text[start:end].split()[0]])
        return np.array(starts), np.array(found)

    return losses


ABC = "Ay is one. Bee is two. Cee is three. Dee is four. Eee is five. "
COSTS = {"Ay": 5.0, "Bee": 2.0, "Cee": 4.0, "Dee": 3.5, "Eee": 6.0}


def test_it_ends_a_chunk_with_the_minimum() -> None:
    losses = costs(COSTS)
    chunks = split_perplexity(ABC, losses=losses)  # type: ignore[arg-type]
    assert [chunk.text for chunk in chunks] == [
        "Ay is one. Bee is two. ",
        "Cee is three. Dee is four. ",
        "Eee is five. ",
    ]
    deep = split_perplexity(ABC, losses=losses, threshold=2.6)  # type: ignore[arg-type]
    assert [chunk.text.split()[0] for chunk in deep] == ["Ay", "Cee"]


def test_it_repeats_the_minimum_where_chunks_overlap() -> None:
    chunks = split_perplexity(ABC, losses=costs(COSTS), overlap=True)  # type: ignore[arg-type]
    assert [chunk.text for chunk in chunks] == [
        "Ay is one. Bee is two. ",
        "Bee is two. Cee is three. Dee is four. ",
        "Dee is four. Eee is five. ",
    ]
    tight = split_perplexity(ABC, losses=costs(COSTS), overlap=True, max_tokens=8)  # type: ignore[arg-type]
    assert max(chunk.num_tokens for chunk in tight) <= 8


def test_it_keeps_the_deepest_minima_where_they_stand_too_close() -> None:
    chunks = split_perplexity(ABC, losses=costs(COSTS), min_tokens=8)  # type: ignore[arg-type]
    assert_partition(chunks, ABC)
    assert [chunk.num_tokens for chunk in chunks] == [8, 12]  # behind Dee too few would be left


def test_it_scores_sentences_by_the_mean_of_their_tokens() -> None:
    document = tokenized("One two. ?? Three.")
    pieces = sentence_pieces(document, 100)

    def losses(context: str, text: str) -> tuple[Offsets, np.ndarray]:
        return np.array([0, 4, 12]), np.array([1.0, 2.0, 6.0])

    scores = sentence_scores(document, pieces, losses)
    assert [document.text[a:b] for a, b in pieces] == ["One two. ", "?? ", "Three."]
    assert scores.tolist() == [1.5, 3.0, 6.0]  # nothing is known of the second: the mean of all


def test_it_reads_windows_with_the_one_before_as_context() -> None:
    asked: list[tuple[str, str]] = []

    def losses(context: str, text: str) -> tuple[Offsets, np.ndarray]:
        asked.append((context, text))
        starts = tokenized(text).starts
        return starts, np.ones(len(starts))

    split_perplexity(TEXT, losses=losses, window_tokens=30)
    assert "".join(text for _, text in asked) == TEXT and len(asked) > 2
    assert [context for context, _ in asked[1:]] == [text for _, text in asked[:-1]]
    assert all(len(tokenized(text)) <= 30 for _, text in asked)


def test_it_needs_no_language_model() -> None:
    chunks = split_perplexity(TEXT * 3)
    assert_partition(chunks, TEXT * 3)
    assert len(chunks) > 3


def test_it_rejects_bad_options() -> None:
    for options, told in (
        ({"threshold": -1}, "threshold=-1 must be from 0 to 100"),
        ({"dynamic": 1}, "dynamic=1 must be true or false"),
        ({"overlap": "yes"}, "overlap='yes' must be true or false"),
        ({"window_tokens": 3}, "window_tokens=3 must be a whole number from 16"),
    ):
        with pytest.raises(ValueError, match=told):
            split_perplexity(TEXT, **options)  # type: ignore[arg-type]
