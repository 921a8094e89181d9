from __future__ import annotations

import numpy as np
import pytest

from chunking.pieces import check_flag, check_float, check_int, check_one_of, check_sizes, sentence_pieces, small_pieces
from chunking.tokens import TokenizedText, tokenized


def test_it_keeps_sentences_that_fit() -> None:
    document = tokenized("One is here. Two is there!  Three?")
    assert [document.text[a:b] for a, b in sentence_pieces(document, 20)] == [
        "One is here. ",
        "Two is there!  ",
        "Three?",
    ]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("text", ["word " * 90, "x" * 500, "東京は大きい" * 30, "a-b-c" * 40, "  lead. And so on."])
def test_it_cuts_what_is_too_long(text: str, most: int) -> None:
    document = tokenized(text)
    pieces = sentence_pieces(document, most)
    assert "".join(text[a:b] for a, b in pieces) == text
    assert max(document.count(a, b) for a, b in pieces) <= most


def test_it_cuts_before_a_word_rather_than_in_it() -> None:
    document = tokenized("internationalisation of many unbelievable things " * 10)
    pieces = sentence_pieces(document, 8)
    assert all(document.text[a - 1].isspace() for a, _ in pieces[1:])


def test_it_does_not_part_tokens_that_start_at_one_character() -> None:
    document = TokenizedText("🙂🙂🙂", np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]))
    assert sentence_pieces(document, 2) == [(0, 1), (1, 2), (2, 3)]


def test_it_puts_small_pieces_together() -> None:
    document = tokenized("One a. Two b. Three c. Four d. Five e.")
    pieces = small_pieces(document, 7)
    assert [document.text[a:b].split()[0] for a, b in pieces] == ["One", "Three", "Five"]


def test_it_says_what_is_wrong_with_an_option() -> None:
    for value in (0, True, "7", 1.0, None, 10**9):
        with pytest.raises(ValueError, match=r"tokens=.* must be a whole number from 1 to 1,000,000"):
            check_int("tokens", value, low=1)
    for number in (float("nan"), float("inf"), "1", None, True):
        with pytest.raises(ValueError, match=r"share=.* must be a number"):
            check_float("share", number)
    with pytest.raises(ValueError, match="share=2 must be from 0 to 1"):
        check_float("share", 2, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="share=-1 must be 0 or more"):
        check_float("share", -1, low=0.0)
    with pytest.raises(ValueError, match=r"kind=\['a'\] must be one of a, b"):
        check_one_of("kind", ["a"], ("a", "b"))
    with pytest.raises(ValueError, match="on=1 must be true or false"):
        check_flag("on", 1)
    assert check_sizes(None, 300) == (40, 300) and check_sizes(None, 20) == (5, 20)
    with pytest.raises(ValueError, match="min_tokens=9 must not be more than max_tokens=8"):
        check_sizes(9, 8)
