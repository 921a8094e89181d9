"""Answers in words that were said: what a question asks for, what is a match, what fits into a budget."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_service.evidence import evidence_text
from memory_service.extractive_answer import Asked, extract_answer, what_is_asked
from memory_service.models import Memory
from memory_service.retrieval import Hit
from memory_service.tokens import tokenizer_for

SAID = datetime(2023, 5, 8, 12, tzinfo=UTC)  # a Monday


def hit(text: str, *, speaker: str | None = "Caroline", kind: str = "episodic", **stated: str) -> Hit:
    written = f"{speaker}: {text}" if speaker else text
    memory = Memory(text=written, speaker=speaker, kind=kind, said_at=SAID, scope_id=1, **stated)
    return Hit(0.5, {}, memory=memory)


def fact(text: str, subject: str, attribute: str, value: str) -> Hit:
    return hit(text, speaker=None, kind="semantic", subject=subject, attribute=attribute, value=value)


def answer(query: str, *hits: Hit) -> str | None:
    found = extract_answer(query, evidence_text(hits, 4_000).items)
    return found.value if found else None


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("When did Ann move?", "when"),
        ("What day did she leave?", "when"),
        ("In what year was he born?", "when"),
        ("Since when does she paint?", "when"),
        ("How many dogs does he have?", "how many"),
        ("How long did it take?", "how many"),
        ("Where does she live?", "where"),
        ("Which city did they visit?", "where"),
        ("Who is her boss?", "who"),
        ("Whose car is it?", "who"),
        ("What did she do when it rained?", "other"),
        ("Why did they leave?", "other"),
    ],
)
def test_it_knows_what_is_asked(query: str, asked: Asked) -> None:
    assert what_is_asked(query) == asked


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("I went to the support group yesterday.", "7 May 2023"),
        ("I went to the support group on 3 May 2023.", "3 May 2023"),
        ("I went to the support group last week.", "week of 1 May 2023"),
        ("I went to the support group.", "8 May 2023"),
    ],
)
def test_when_is_a_date(text: str, value: str) -> None:
    assert answer("When did Caroline go to the support group?", hit("Painting is fun."), hit(text)) == value


def test_a_stated_value_answers() -> None:
    job = fact("Caroline works at the library", "Caroline", "works at", "the library")
    home = fact("Caroline lives in Oslo", "Caroline", "lives in", "Oslo")
    dogs = fact("Anton has three dogs", "Anton", "dogs", "three")
    assert answer("Where does Caroline live?", job, home) == "Oslo"
    assert answer("Where does Caroline work?", home, job) == "the library"
    assert answer("Where do I live?", job, home) == "Oslo"
    assert answer("How many dogs does Anton have?", dogs) == "three"
    assert answer("Does Caroline live in Oslo?", home) == "Caroline lives in Oslo"


def test_a_question_is_no_answer_to_itself() -> None:
    asked, told = hit("What kind of flowers do you like?"), hit("I like roses, of all flowers.")
    assert answer("What kind of flowers does Caroline like?", asked, told) == "I like roses, of all flowers."


def test_it_does_not_know_what_nobody_said() -> None:
    assert answer("What is the melting point of tungsten?", hit("Painting is fun."), hit("My dog is brown.")) is None
    assert answer("Who?") is None


TEXTS = st.text(max_size=400).filter(lambda text: text.strip() != "")


@given(
    st.lists(TEXTS, max_size=12),
    st.integers(min_value=0, max_value=300),
    st.sampled_from(["openai/gpt-4o", "gpt-4", "embedding", "ollama/unheard-of"]),
)
def test_evidence_stays_within_its_budget(texts: list[str], max_tokens: int, model: str) -> None:
    tokenizer = tokenizer_for(model)
    evidence = evidence_text([hit(text) for text in texts], max_tokens, tokenizer)
    assert tokenizer.count(evidence.text) == evidence.num_tokens <= max_tokens
    assert evidence.tokenizer == tokenizer
    assert [item.number for item in evidence.items] == list(range(1, len(evidence.items) + 1))
    assert evidence.num_left_out == len(texts) - len(evidence.items)
    assert all("\n" not in item.line and item.text for item in evidence.items)


def test_the_best_is_cut_rather_than_left_out() -> None:
    evidence = evidence_text([hit("é" * 5_000), hit("short")], 60)
    assert evidence.items[0].text.startswith("éé") and evidence.items[0].text.endswith("...")
    assert evidence.num_tokens <= 60
    skipped = evidence_text([hit("short"), hit("x" * 5_000), hit("also short")], 60)
    assert [item.text for item in skipped.items] == ["short", "also short"]


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=200), st.lists(TEXTS, min_size=1, max_size=3))
def test_any_text_is_answered_or_not_known(query: str, texts: list[str]) -> None:
    found = extract_answer(query, evidence_text([hit(text) for text in texts], 500).items)
    assert found is None or (found.value and found.numbers)
