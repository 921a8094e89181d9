from __future__ import annotations

import math

import numpy as np
import pytest

from chunking.ngram import NGramModel, _Counts, _Spelling
from tests.chunking.models import TEXT

ROW = ["", "", "the", "cat", "saw", "the", "dog", "and", "the", "cat", "ran"]


def filled(words: list[str]) -> _Counts:
    counts = _Counts(3, _Spelling(words[2:]))
    for place in range(2, len(words)):
        counts.add(words, place)
    return counts


def test_it_gives_probabilities_that_sum_to_one() -> None:
    counts = filled(ROW)
    vocabulary = sorted(set(ROW[2:]))
    for history in (["", "the"], ["the", "cat"], ["never", "seen"], ["x", "the"]):
        known = sum(counts.probability([*history, word], 2) for word in vocabulary)
        spelled = sum(counts.spelling.probability(word) for word in vocabulary)
        # All other words share what is left, as their spelling has it: the weights of Witten-Bell multiply.
        share = 1.0
        for length in range(3):
            past = tuple(history[2 - length :])
            if counts.totals.get(past):
                kinds = len(counts.followers[past])
                share *= kinds / (kinds + counts.totals[past])
        assert known + share * (1 - spelled) == pytest.approx(1.0)


def test_it_smooths_by_witten_and_bell() -> None:
    counts = filled(ROW)
    spelled = counts.spelling.probability("cat")
    unigram = (2 + 6 * spelled) / (9 + 6)  # nine words of six kinds
    bigram = (2 + 2 * unigram) / (3 + 2)  # cat, dog, cat behind "the"
    assert counts.probability(["saw", "the", "cat"], 2) == pytest.approx((0 + 1 * bigram) / (1 + 1))
    assert counts.probability(["moo", "the", "cat"], 2) == pytest.approx(bigram)


def test_it_never_scores_a_sentence_by_itself() -> None:
    """A sentence of words found nowhere else costs what its spelling does, however often it repeats them itself."""
    model = NGramModel()
    strange = "Quux quux quux quux. "
    starts, nlls = model("", TEXT + strange)
    alone = nlls[starts >= len(TEXT)][:4]
    assert alone.min() > 8
    known = nlls[(starts >= 0) & (starts < len(TEXT))]
    assert alone.mean() > 2 * known.mean()


def test_it_holds_out_as_if_the_sentence_were_not_there() -> None:
    model, text = NGramModel(), "The cat saw the dog. And the cat ran. The dog saw it. "
    nlls = model("", text)[1]
    words = [
        *["the", "cat", "saw", "the", "dog", "."],
        *["and", "the", "cat", "ran", ".", "the", "dog", "saw", "it", "."],
    ]
    counts = _Counts(3, _Spelling(words))
    row = ["", "", *words]
    for place in [*range(2, 8), *range(15, 18)]:  # without the second sentence, and the two n-grams that reach into it
        counts.add(row, place)
    expected = [-math.log(counts.probability(row, place)) for place in range(8, 13)]
    assert nlls[6:11] == pytest.approx(expected)


def test_it_knows_a_text_better_after_one_like_it() -> None:
    for way in ("held_out", "prequential"):
        model = NGramModel(way=way)  # type: ignore[arg-type]
        given, alone = model(TEXT, TEXT)[1].mean(), model("", TEXT)[1].mean()
        assert given < alone / 2, way


def test_it_reads_only_what_stands_before_where_prequential() -> None:
    model = NGramModel(way="prequential")
    short, long = model("", TEXT[:100])[1], model("", TEXT)[1]
    assert long[: len(short) - 1] == pytest.approx(short[:-1])  # the cut went through the last word


def test_it_gives_the_same_twice_and_nothing_for_nothing() -> None:
    model = NGramModel()
    assert np.array_equal(model("", TEXT)[1], model("", TEXT)[1])
    assert len(model("some", "")[0]) == len(model("", "  \n")[1]) == 0
    assert np.isfinite(model("", "x" * 5000 + " 🙂 \x00 \ud800")[1]).all()


def test_it_rejects_other_orders_and_ways() -> None:
    with pytest.raises(ValueError, match="order=0 must be from 1 to 5"):
        NGramModel(order=0)
    with pytest.raises(ValueError, match="way='both' must be one of held_out, prequential"):
        NGramModel(way="both")  # type: ignore[arg-type]
