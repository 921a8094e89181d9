"""Compression: a planted fact survives, no word is invented, keywords are kept, targets are met."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service import compression, sample
from memory_service.compression import extract, lost, rewrite, segments, share_targets, split
from memory_service.embedding import embed_query
from memory_service.extractive import num_words
from memory_service.llm import LLMConfig
from memory_service.tokens import tokenizer_for
from tests.scripted_llm import Malformed, ScriptedLLM, Status, prompt_of

FACTS = [
    ("What is the code of the cellar door?", "The code of the cellar door is 4711."),
    ("Who repaired Marta's violin?", "Marta's violin was repaired by a luthier from Cremona."),
    ("When does the ferry leave?", "The ferry to Gotland leaves at 17:45 on Sundays."),
    ("What is Piotr allergic to?", "Piotr must not eat hazelnuts because of his allergy."),
    ("Which street does she live on?", "She moved to Bakkegata 12 last autumn."),
    ("How much did the bicycle cost?", "They paid 640 euros for the used bicycle."),
    ("What does the doctor advise?", "Her physician recommended swimming twice a week."),
    ("What is the name of the dog?", "Their new puppy answers to Pushkin."),
]


def haystack(fact: str, seed: int, num_sentences: int = 30) -> str:
    """The fact somewhere between sentences of the sample conversations."""
    chance = random.Random(seed)
    said = [
        s for one in sample.load() for message in one["messages"] for s in split(message["content"]) if num_words(s) > 4
    ]
    sentences = chance.sample(said, num_sentences)
    sentences.insert(chance.randrange(num_sentences), fact)
    return " ".join(sentences)


def compressed(text: str, query: str, ratio: float) -> str:
    count = tokenizer_for().count
    costs = [count(sentence) for sentence in split(text)]
    [found] = extract([text], query, [int(count(text) / ratio)], [costs], vector=embed_query(query))
    assert count(found.text) <= count(text) / ratio + len(found.kept)
    return found.text


@pytest.mark.parametrize("ratio", [2, 3, 5])
def test_a_planted_fact_survives_where_truncation_loses_it(ratio: int) -> None:
    kept = truncated = 0
    trials = [(query, fact, seed) for query, fact in FACTS for seed in range(5)]
    for query, fact, seed in trials:
        text = haystack(fact, seed)
        kept += fact in compressed(text, query, ratio)
        truncated += fact in text[: len(text) // ratio]
    assert kept / len(trials) >= 0.9 and truncated / len(trials) <= 1.2 / ratio
    print(f"{ratio}x: extractive {kept}/{len(trials)}, truncation {truncated}/{len(trials)}")


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40), min_size=1, max_size=6),
    st.integers(0, 60),
)
def test_extraction_invents_no_word(texts: list[str], target: int) -> None:
    costs = [[len(s) for s in split(text)] for text in texts]
    found = extract(texts, "xyzzy", [target] * len(texts), costs, vector=embed_query("xyzzy"))
    for text, one, of_text in zip(texts, found, costs, strict=True):
        assert all(split(text)[i] in text for i in one.kept) and list(one.kept) == sorted(one.kept)
        if sum(of_text) > target:
            assert sum(of_text[i] for i in one.kept) <= target
            assert set(one.text.split()) <= set(text.split())


def test_it_splits_a_text_into_its_sentences() -> None:
    assert split('He said "no." Then he left! Why? It cost 3.5 euros.\nNext line') == [
        'He said "no."', "Then he left!", "Why?", "It cost 3.5 euros.", "Next line",
    ]  # fmt: skip
    assert split("東京に住んでいる。犬がいる。") == ["東京に住んでいる。", "犬がいる。"] and split(" \n ") == []


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1)), max_size=20), st.integers(0, 3000))
def test_targets_share_the_budget(texts: list[tuple[int, float]], total: int) -> None:
    lengths, relevance = [length for length, _ in texts], [score for _, score in texts]
    targets = share_targets(lengths, relevance, total)
    assert all(0 <= target <= length for target, length in zip(targets, lengths, strict=True))
    assert sum(targets) <= max(total, 0) * 1.5 + len(targets)
    if sum(lengths) <= total:
        assert targets == lengths


def test_what_answers_the_question_keeps_more() -> None:
    targets = share_targets([100, 100, 100], [0.9, 0.5, 0.1], 150)
    assert targets[0] > targets[1] > targets[2] > 0


def test_it_finds_what_must_not_be_lost() -> None:
    text = "On 3 May we met Anna Berg at 17:45 and ran `make test`; the boat was red."
    assert lost(text, "Anna Berg, 3 May, 17:45, make test") == {"`make test`"}
    assert lost(text, text) == set() and "boat" in lost(text, "3 17:45 Anna Berg `make test`", "Which boat?")


LONG = (
    "Anna bought the boat in Bergen for 900 euros. " + "It was a fine day and all of us walked along the harbour. " * 4
)


def config(server: ScriptedLLM) -> LLMConfig:
    return LLMConfig("openai/scripted", api_base=server.base_url, api_key="test", timeout_s=10)


def says(text: str) -> dict[str, Any]:
    return {"pieces": [{"number": 0, "text": text}]}


def test_a_rewriting_with_all_keywords_is_taken() -> None:
    with ScriptedLLM([says("Anna bought the boat in Bergen for 900 euros.")]) as server:
        found, notes = rewrite(config(server), [LONG, "Short."], "Which boat?", [12, 5])
        assert found == ["Anna bought the boat in Bergen for 900 euros.", "Short."] and notes == []
        words = num_words(LONG)
        assert f'"words": {words}, "keep": 12, "delete": {words - 12}' in prompt_of(server.requests[0])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "bad",
    [
        "Anna bought a boat in Bergen.",  # lost: 900
        "Anna bought the boat in Bergen for 900 euros, or 9999 crowns.",  # invented: 9999
        LONG,  # as long as it was
        "",
    ],
)
def test_a_bad_rewriting_is_asked_for_again_and_then_given_up(bad: str) -> None:
    good = "Anna bought the boat in Bergen, 900 euros."
    with ScriptedLLM([says(bad), says(good)]) as server:
        assert rewrite(config(server), [LONG], "Which boat?", [12])[0] == [good]
    with ScriptedLLM([says(bad)] * 3) as server:
        found, notes = rewrite(config(server), [LONG], "Which boat?", [12])
        assert found == [None] and len(server.requests) == compression.MAX_TRIES
        assert notes == ["1 of 1 rewritings lost keywords or were too long: extracted instead"]


@pytest.mark.parametrize("reply", [Status(500), Malformed("no"), Status(401)])
def test_a_model_that_fails_is_done_without(reply: Any) -> None:
    with ScriptedLLM([reply] * 5) as server:
        found, notes = rewrite(config(server), [LONG], "Which boat?", [12])
    assert found == [None] and "did not answer" in notes[0]


def test_a_long_text_is_rewritten_in_segments() -> None:
    text = " ".join(f"Sentence number {n} is about the boat and the harbour of the town of Bergen." for n in range(60))
    pieces = segments(text)
    assert " ".join(pieces) == text and len(pieces) > 3
    assert max(map(num_words, pieces)) <= compression.SEGMENT_WORDS[1]
