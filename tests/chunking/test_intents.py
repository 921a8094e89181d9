from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from chunking.intents import (
    distinct,
    key_phrases,
    local_intents,
    num_intents,
    segment_relevance,
    split_intents,
    utilities,
)
from chunking.pieces import sentence_pieces
from chunking.segments import best_segments
from chunking.tokens import tokenized
from tests.chunking.models import TEXT, TOPICS, assert_partition, embed

QUESTIONS = ["lava ash volcano", "violin bow strings", "bread flour yeast water"]


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("objective", ["plain", "length_weighted"])
def test_it_cuts_by_what_is_asked(objective: str) -> None:
    chunks = split_intents(TEXT, embed=embed, intents=QUESTIONS, objective=objective)
    assert [chunk.text for chunk in chunks] == list(TOPICS)


@pytest.mark.parametrize("objective", ["plain", "length_weighted"])
@pytest.mark.parametrize("seed", range(12))
def test_it_finds_the_best_of_all_ways(objective: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = seed + 1  # up to twelve sentences
    vectors, questions = unit(rng.normal(size=(num, 6))), unit(rng.normal(size=(3, 6)))
    penalty, beta, longest = float(rng.random() * 0.05), float(rng.random() * 1.5), int(rng.integers(1, num + 1))

    def relevance(i: int, j: int) -> float:
        mean = vectors[i:j].astype(np.float64).mean(axis=0)
        return float(max(questions @ mean) / np.linalg.norm(mean))

    def weight(i: int, j: int) -> float:
        return relevance(i, j) * (j - i if objective == "length_weighted" else 1)

    allowed = [(i, j) for i in range(num) for j in range(i + 1, min(num, i + longest) + 1)]
    unit_cost = beta * abs(np.mean([weight(i, j) for i, j in allowed]))

    def utility(edges: tuple[int, ...]) -> float:
        pairs = list(itertools.pairwise(edges))
        if any(b - a > longest for a, b in pairs):
            return -np.inf
        return sum(weight(a, b) - penalty * (b - a) ** 2 for a, b in pairs) - unit_cost * (len(pairs) - 1)

    ways = [(0, *cuts, num) for size in range(num) for cuts in itertools.combinations(range(1, num), size)]
    values = utilities(
        segment_relevance(vectors, questions, longest), objective=objective, length_penalty=penalty, beta=beta
    )
    assert utility(tuple(best_segments(values))) == pytest.approx(max(map(utility, ways)), abs=1e-6)


def test_it_makes_the_fewest_chunks_where_boundaries_are_dear() -> None:
    text = "".join(f"Sentence number {i} tells of topic{i % 4}. " for i in range(24))
    chunks = split_intents(text, embed=embed, beta=1e6, min_sentences=1, max_sentences=10, max_tokens=10_000)
    assert len(chunks) == 3


def test_it_makes_the_smallest_chunks_where_boundaries_are_free() -> None:
    text = "The same words again. " * 12
    for least in (1, 2, 3):
        chunks = split_intents(
            text, embed=embed, intents=["same words"], beta=0, length_penalty=0, min_sentences=least, max_sentences=6
        )
        assert [chunk.text.count(".") for chunk in chunks] == [least] * (12 // least)


def test_it_falls_back_to_a_fixed_length_without_intents() -> None:
    chunks = split_intents(TEXT, embed=embed, intents=[], max_tokens=25)
    assert_partition(chunks, TEXT)
    sizes = [chunk.num_tokens for chunk in chunks]
    assert max(sizes) <= 25 and all(a + b > 25 for a, b in itertools.pairwise(sizes))
    numbers = "1 2 3. 4 5 6. " * 3  # no word to make an intent of
    assert_partition(split_intents(numbers, embed=embed), numbers)


def test_it_asks_a_language_model_section_by_section() -> None:
    text = "".join(f"Fact {i} is here. " for i in range(250))
    asked: list[str] = []

    def complete(prompt: str) -> str:
        asked.append(prompt)
        return "1. What is a fact?\n- Where is fact nine?\n\n2) What is a fact?\n***\n"

    chunks = split_intents(text, embed=embed, complete=complete)
    assert_partition(chunks, text)
    assert len(asked) == 3 and "Fact 0 is here." in asked[0] and "Fact 249 is here." in asked[2]
    assert "Write 9 short questions" in asked[0]


def test_it_makes_its_own_where_the_language_model_says_nothing() -> None:
    chunks = split_intents(TEXT, embed=embed, complete=lambda prompt: "\n")
    assert chunks == split_intents(TEXT, embed=embed) and len(chunks) > 1


def test_it_makes_intents_of_headings_and_key_phrases() -> None:
    text = (
        "# Care of Violins\n\nThe horse hair of the bow wears out. New horse hair costs much.\n\n## Strings\n\nSteel.\n"
    )
    intents = local_intents(text, sentence_pieces(tokenized(text), 300))
    assert "What does it say about Care of Violins?" in intents and "What does it say about Strings?" in intents
    assert "What is said about horse hair?" in intents
    assert local_intents("1 2 3. ", [(0, 7)]) == []
    assert key_phrases("the of and", Counter()) == []


def test_it_leaves_out_intents_that_say_the_same() -> None:
    vectors = embed(["lava and ash", "ash and lava", "violin", "violin strings"])
    assert len(distinct(vectors)) == 3
    assert len(distinct(vectors, threshold=0.5)) == 2
    assert len(distinct(vectors[:1])) == 1


def test_it_asks_more_of_a_longer_text() -> None:
    assert [num_intents(n) for n in (1, 99, 100, 400, 10_000)] == [10, 14, 15, 40, 40]


def test_it_rejects_bad_options() -> None:
    for options, told in (
        ({"objective": "all"}, "objective='all' must be one of plain, length_weighted"),
        ({"beta": -1}, "beta=-1 must be from 0"),
        ({"min_sentences": 13}, "min_sentences=13 must be a whole number from 1 to 12"),
        ({"intents": "why"}, "intents must be a list of texts"),
        ({"intents": [1]}, "intents must be a list of texts"),
        ({"intents": ["why"] * 61}, "61 intents are too many: at most 60"),
    ):
        with pytest.raises(ValueError, match=told):
            split_intents(TEXT, embed=embed, **options)  # type: ignore[arg-type]


def test_it_ranks_phrases_whose_words_are_counted_more_often_than_they_are_known() -> None:
    for known in range(7):
        assert key_phrases("rain rain rain rain. rain", Counter({"rain": known}))[0].startswith("rain")
