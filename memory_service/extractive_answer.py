"""A question -> an answer in words that were said, without a language model: a date, a stated value, or a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from .embedding import embed_query, embed_texts
from .evidence import EvidenceItem, day_of
from .extractive import split_sentences
from .lexical import terms
from .models import Memory
from .timeexpr import TimeExpression, describe, find_time_expressions

Asked = Literal["when", "where", "who", "how many", "other"]

MAX_ITEMS = 10  # looked into, best first
MAX_SENTENCES = 40
MAX_SENTENCE_CHARS = 600
QUESTION_MALUS = 0.3  # who asks the same does not answer it
MIN_MATCH = 0.30  # of a sentence: half its cosine, half the share of the question's stems that it holds
NEAR_BEST = 0.85  # of the best sentence's match; a date in such a one is worth more than one without
TIME_WORDS = re.compile(r"^(?:on |in )?(?:what|which) (?:day|date|month|year|time|week)\b|^since when\b|\bwhen\b", re.I)
PLACE_ATTRIBUTES = re.compile(
    r"\b(?:lives?|works? at|born|from|located|place|address|city|country|home|moved|stud)", re.I
)
PERSON_ATTRIBUTES = re.compile(
    r"\b(?:name|partner|wife|husband|friend|boss|brother|sister|mother|father|son|daughter|child|parent|married)", re.I
)
NUMBER = re.compile(
    r"\b(?:\d[\d.,]*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred)\b",
    re.I,
)
FIRST_PERSON = re.compile(r"\b(?:i|i'm|my|me|mine)\b", re.I)


@dataclass(frozen=True, slots=True)
class Extract:
    """text: to be shown, with its citation; value: the bare date, value or sentence. numbers: of its items."""

    text: str
    value: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    item: EvidenceItem
    text: str
    match: float


def what_is_asked(query: str) -> Asked:
    text = query.strip().lower()
    if TIME_WORDS.search(text) and not re.match(r"(?:what|who|where|why|how)\b(?! (?:day|date|month|year|time))", text):
        return "when"
    if re.search(r"\bhow (?:many|much|old|often|long|far|big)\b", text):
        return "how many"
    if re.search(r"\b(?:where|(?:what|which) (?:city|country|place|town|address|company))\b", text):
        return "where"
    return "who" if re.search(r"\b(?:who|whom|whose)\b", text) else "other"


def extract_answer(query: str, items: Sequence[EvidenceItem]) -> Extract | None:
    """None where nothing that was found comes near enough to the question."""
    asked = what_is_asked(query)
    sentences = rank_sentences(query, items[:MAX_ITEMS])
    if not sentences or sentences[0].match < MIN_MATCH:
        return None
    best = sentences[0]
    if asked == "when":
        return _date_of(sentences)
    stated = _stated(query, asked, [one for one in sentences if one.match >= MIN_MATCH])
    if stated is not None:
        return stated
    if asked == "how many":
        near = [one for one in sentences if one.match >= max(MIN_MATCH, NEAR_BEST * best.match)]
        best = next((one for one in near if NUMBER.search(one.text)), best)
    return Extract(f"{_said(best)} [{best.item.number}]", best.text, (best.item.number,))


def rank_sentences(query: str, items: Sequence[EvidenceItem]) -> list[Sentence]:
    """Best first: half the cosine with the question, half the share of the question's stems, which the speaker's name
    counts towards."""
    found = [(item, text[:MAX_SENTENCE_CHARS]) for item in items for text in split_sentences(item.text)][:MAX_SENTENCES]
    if not found:
        return []
    wanted = set(terms(query))
    vectors = embed_texts([f"{item.speaker}: {text}" if item.speaker else text for item, text in found])
    cosines = np.clip(vectors @ embed_query(query), 0.0, 1.0)
    ranked = []
    for (item, text), cosine in zip(found, cosines.tolist(), strict=True):
        held = wanted & set(terms(f"{item.speaker} {text}"))
        share = len(held) / len(wanted) if wanted else cosine
        malus = QUESTION_MALUS if text.endswith("?") else 0.0
        ranked.append(Sentence(item, text, (cosine + share) / 2 - malus))
    return sorted(ranked, key=lambda one: (-one.match, one.item.number))


def _date_of(sentences: Sequence[Sentence]) -> Extract:
    """The date that one of the best sentences names, else the day on which the best was said."""
    for one in sentences:
        if one.match < max(MIN_MATCH, NEAR_BEST * sentences[0].match):
            break
        named = [e for e in find_time_expressions(one.text, reference=_clock(one.item)) if e.grain != "minute"]
        if named:
            return _dated(one, _worded(named[0]))
    best = sentences[0]
    return _dated(best, day_of(best.item.said_at))


def _clock(item: EvidenceItem) -> datetime:
    """A fact's text counts from the day on which it was said."""
    return item.hit.memory.said_at if item.hit.memory is not None else item.said_at


def _worded(expression: TimeExpression) -> str:
    return describe(expression) if expression.relative else expression.text


def _dated(one: Sentence, value: str) -> Extract:
    return Extract(f"{value} [{one.item.number}]. {_said(one)}", value, (one.item.number,))


def _said(one: Sentence) -> str:
    return f"{one.item.speaker}: {one.text}" if one.item.speaker else one.text


def _stated(query: str, asked: Asked, sentences: Sequence[Sentence]) -> Extract | None:
    """The value of a fact whose subject and attribute the question names."""
    wanted = set(terms(query))
    for one in sentences:
        memory = one.item.hit.memory
        if memory is not None and memory.value and _fits(memory, asked, wanted, query):
            return Extract(f"{memory.value} [{one.item.number}]. {_said(one)}", memory.value, (one.item.number,))
    return None


def _fits(memory: Memory, asked: Asked, wanted: set[str], query: str) -> bool:
    attribute, value = memory.attribute or "", memory.value or ""
    subject = set(terms(memory.subject or ""))
    about = bool(subject & wanted) or not subject or bool(FIRST_PERSON.search(query))
    named = bool(set(terms(attribute)) & wanted)
    if not about or set(terms(value)) <= wanted:  # what the question says itself is no answer
        return False
    if asked == "how many":
        return named and bool(NUMBER.search(value))
    kinds = {"where": PLACE_ATTRIBUTES, "who": PERSON_ATTRIBUTES}
    return named or (asked in kinds and bool(kinds[asked].search(attribute)))
