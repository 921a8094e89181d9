from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service import caches, focus
from memory_service.embedding import Vectors, embed_query, embed_texts
from memory_service.focus import Passage, choose_sentences, split_spans

LONG = (
    "Nora: We had a lovely weekend at the lake. My brother Emil is allergic to peanuts. "
    "The weather was fine! Did I tell you about the canoe?"
)


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    caches.forget()
    yield
    caches.forget()


class Counter:
    """The embedder, and what it was asked to embed."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        return embed_texts(texts)


def said(text: str) -> list[str]:
    return [text[start:end] for start, end in split_spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("I saw Dr. Smith on St. Olav street. He is well.", ["I saw Dr. Smith on St. Olav street.", "He is well."]),
        ("J. R. Hartley wrote it. So do I. Really.", ["J. R. Hartley wrote it.", "So do I.", "Really."]),
        ("It costs 3.50 at example.org today", ["It costs 3.50 at example.org today"]),
        ("first line\nsecond line\n\n", ["first line", "second line"]),
        ("  Well...  he said “no.” Then he left.  ", ["Well...", "he said “no.”", "Then he left."]),
        ("今日は晴れです。明日は雨です。", ["今日は晴れです。", "明日は雨です。"]),
        ("?!", ["?!"]),
        ("", [""]),
    ],
)
def test_it_splits_into_sentences(text: str, sentences: list[str]) -> None:
    assert said(text) == sentences


@given(st.text(max_size=200))
def test_it_gives_spans_in_order_that_lie_in_the_text(text: str) -> None:
    spans = split_spans(text)
    assert spans
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))


def test_it_keeps_the_sentence_that_answers_and_says_where_it_stands() -> None:
    query = "What is Emil allergic to?"
    passages = [Passage("Nora: I bought a boat.", 0.4, "Nora"), Passage(LONG, 0.4, "Nora")]
    kept = choose_sentences(passages, embed_query(query), 1, embed=embed_texts)
    assert kept[0] == []
    [sentence] = kept[1]
    assert LONG[sentence.start : sentence.end] == "My brother Emil is allergic to peanuts."
    assert 0 < sentence.score <= 1


def test_it_keeps_the_order_of_the_text_within_a_passage() -> None:
    [kept] = choose_sentences([Passage(LONG, 0.4, "Nora")], embed_query("lake canoe"), 2, embed=embed_texts)
    assert [LONG[s.start : s.end] for s in kept] == [
        "Nora: We had a lovely weekend at the lake.",
        "Did I tell you about the canoe?",
    ]


def test_it_embeds_only_what_it_does_not_know_and_that_in_one_batch() -> None:
    short = Passage("Nora: I bought a boat.", 0.4, "Nora", embed_texts(["Nora: I bought a boat."])[0])
    embed = Counter()
    query = embed_query("boat")
    first = choose_sentences([short, Passage(LONG, 0.4, "Nora")], query, 3, embed=embed)
    assert [len(batch) for batch in embed.batches] == [4]
    assert embed.batches[0][1] == "Nora: My brother Emil is allergic to peanuts."
    assert choose_sentences([short, Passage(LONG, 0.4, "Nora")], query, 3, embed=embed) == first
    assert len(embed.batches) == 1
    caches.forget()
    choose_sentences([Passage(LONG, 0.4, "Nora")], query, 3, embed=embed)
    assert len(embed.batches) == 2  # what was forgotten does not live on here


def test_it_lets_a_stored_vector_stand_for_a_text_of_one_sentence() -> None:
    text = "Nora: I bought a boat."
    stored = Passage(text, 0.4, "Nora", embed_texts([text])[0])
    embed, query = Counter(), embed_query("boat")
    [[by_vector]] = choose_sentences([stored], query, 1, embed=embed)
    assert embed.batches == []
    [[by_text]] = choose_sentences([Passage(text, 0.4, "Nora")], query, 1, embed=embed)
    assert by_vector.score == pytest.approx(by_text.score, abs=1e-3)


def test_it_forgets_the_oldest_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(focus, "NUM_CACHED", 2)
    embed = Counter()
    focus.embed_cached(["a", "b", "c"], embed)
    assert len(focus._known) == 2
    focus.embed_cached(["a"], embed)
    assert embed.batches == [["a", "b", "c"], ["a"]]
    assert np.allclose(focus.embed_cached(["a"], embed)[0], embed_texts(["a"])[0], atol=1e-3)
