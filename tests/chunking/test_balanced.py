"""The default for text: near one size, at paragraphs' ends and where the text turns."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from chunking.balanced import LARGEST, paragraph_ends, segment_values, split_balanced
from chunking.pieces import sentence_pieces
from chunking.segments import best_segments
from chunking.semantic import neighbour_distances
from chunking.tokens import tokenized
from chunking.types import Vectors

TOPICS = {"cat": 0, "dog": 0, "purr": 0, "bond": 1, "yield": 1, "market": 1}


def embed(texts: list[str]) -> Vectors:
    """Two topics and a little of each text's own."""
    vectors = np.zeros((len(texts), 16), dtype=np.float32)
    for row, text in enumerate(texts):
        words = text.lower().replace(".", " ").split()
        for word in words:
            if word in TOPICS:
                vectors[row, TOPICS[word]] += 1.0
        vectors[row, 2 + len(text) % 14] += 0.1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


CATS = "The cat will purr all day. A dog may chase the cat. Some cat has a purr. "
BONDS = "The bond pays its yield. A market sets the yield. Some bond has a market. "


def test_it_cuts_where_the_text_turns() -> None:
    text = CATS * 2 + BONDS * 2
    chunks = split_balanced(text, embed=embed, target_tokens=42)
    assert [chunk.text for chunk in chunks] == [CATS * 2, BONDS * 2]


def test_it_prefers_the_end_of_a_paragraph() -> None:
    text = (
        "One is here now. Two is here now.\n\nThree is here now. Four is here now. Five is here now. Six is here now."
    )
    chunks = split_balanced(text, embed=embed, target_tokens=14, turn_weight=0.0)
    assert chunks[0].text.endswith("\n\n")
    without = split_balanced(text, embed=embed, target_tokens=14, turn_weight=0.0, paragraph_weight=0.0)
    assert not without[0].text.endswith("\n\n")


def test_it_finds_the_cheapest_segmentation_of_all() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        num = int(rng.integers(2, 10))
        counts = rng.integers(1, 30, size=num)
        prices = rng.normal(0, 0.5, size=num)
        values = segment_values(counts, prices, 25)
        best = value_of(best_segments(values), counts, prices, 25)
        brute = max(
            value_of([0, *cuts, num], counts, prices, 25)
            for size in range(num)
            for cuts in combinations(range(1, num), size)
        )
        assert best == pytest.approx(brute)


def value_of(edges: list[int], counts: np.ndarray, prices: np.ndarray, target: int) -> float:
    total = 0.0
    for start, end in pairwise(edges):
        size = counts[start:end].sum() / target
        if end - start > 1 and size > LARGEST:
            return -np.inf
        total -= (size - 1.0) ** 2 + prices[end - 1]
    return total


def test_it_stays_near_the_size() -> None:
    text = (CATS + BONDS) * 60
    sizes = [chunk.num_tokens for chunk in split_balanced(text, embed=embed, target_tokens=60)]
    assert max(sizes) <= 120
    assert 40 <= np.mean(sizes) <= 75


def test_it_cuts_elsewhere_as_before_after_an_edit() -> None:
    paragraphs = [f"{CATS if i % 3 else BONDS}This is paragraph {i} of many. It says no more." for i in range(60)]
    before = split_balanced("\n\n".join(paragraphs), embed=embed, target_tokens=50)
    paragraphs[30] += " Here is a sentence that was not there. And here is one more of them."
    after = split_balanced("\n\n".join(paragraphs), embed=embed, target_tokens=50)
    new = {chunk.text for chunk in after} - {chunk.text for chunk in before}
    assert 1 <= len(new) <= 4


def test_it_takes_a_blank_line_for_more_than_a_line() -> None:
    text = "A is one. \n\nB is two.\nC is three. D is four.\r\n\r\nE is five."
    document = tokenized(text)
    assert paragraph_ends(document, sentence_pieces(document, 100)).tolist() == [1.0, 0.5, 0.0, 1.0, 0.0]


def test_it_measures_likeness_on_both_sides() -> None:
    distances = neighbour_distances(embed([CATS, CATS, BONDS, BONDS]), 2)
    assert distances.argmax() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_tokens": 0}, "target_tokens=0"),
        ({"turn_weight": -1}, "turn_weight=-1"),
        ({"paragraph_weight": float("nan")}, "paragraph_weight=nan"),
        ({"window": 1.5}, "window=1.5"),
    ],
)
def test_it_rejects_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_balanced("Some text.", embed=embed, **options)
