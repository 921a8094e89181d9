from __future__ import annotations

import pytest

from graph.textrank import choose, rank_sentences

SENTENCES = [
    ["the", "harbour", "was", "full", "of", "boats"],
    ["boats", "from", "the", "north", "came", "into", "the", "harbour"],
    ["someone", "lost", "a", "glove"],
    ["the", "harbour", "master", "counted", "the", "boats"],
]


def test_it_ranks_what_others_say_too_above_what_stands_alone() -> None:
    scores = rank_sentences(SENTENCES)
    assert sum(scores) == pytest.approx(1.0)
    assert min(scores) == scores[2]
    assert scores == rank_sentences(SENTENCES)


def test_it_starts_more_often_where_the_weights_say() -> None:
    plain, weighted = rank_sentences(SENTENCES), rank_sentences(SENTENCES, weights=[1, 1, 5, 1])
    assert weighted[2] > plain[2]


def test_it_follows_the_formula_on_two_sentences_and_a_bridge() -> None:
    """Three sentences in a row, 1 shares a word with 0 and with 2: the middle has the rank of PageRank by hand."""
    scores = rank_sentences([["a", "x"], ["a", "b"], ["b", "y"]])
    # r1 = .05 + .85 * 2 * r0, r0 = .05 + .85 * r1 / 2, and all lengths are the same
    assert scores[1] == pytest.approx((0.05 + 1.7 * 0.05) / (1 - 0.85**2), abs=1e-5)
    assert scores[0] == pytest.approx(scores[2])


@pytest.mark.parametrize("terms", [[], [[]], [["a"]], [["a"], ["b"], []]])
def test_it_takes_texts_in_which_nothing_is_shared(terms: list[list[str]]) -> None:
    assert len(rank_sentences(terms)) == len(terms)


def test_it_wants_a_weight_for_each_sentence() -> None:
    with pytest.raises(ValueError, match="1 weights for 2 sentences"):
        rank_sentences([["a"], ["b"]], weights=[1.0])


def test_it_chooses_the_best_that_fit_in_the_order_of_the_text() -> None:
    assert choose([0.1, 0.5, 0.3], [3, 3, 3], 6) == [1, 2]
    assert choose([0.5, 0.4, 0.3], [3, 9, 2], 6) == [0, 2]  # the second does not fit, a later one does
    assert choose([0.5, 0.5], [3, 3], 3) == [0]
    assert choose([0.5, 0.4], [1, 1], 9, same=lambda left, right: True) == [0]
    assert choose([], [], 9) == []
