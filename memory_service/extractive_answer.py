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
MAX_SENTENCES = 200
MAX_EMBEDDED = 16  # sentences: each costs some milliseconds
MAX_SENTENCE_CHARS = 600
QUESTION_MALUS = 0.3  # who asks the same does not answer it
OTHER_SPEAKER_MALUS = 0.15  # where the question names somebody who speaks, and this is somebody else
MIN_MATCH = 0.40  # of a sentence; chosen on FairytaleQA by benchmarks/answer_floor.py
NEAR_BEST = 0.85  # of the best rank: a date in such a sentence is worth more than one without
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
    """match: with the question, up to 1. rank: the mean of that and of its item's score as a share of the best."""

    item: EvidenceItem
    text: str
    match: float
    rank: float


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
    sentences = [one for one in rank_sentences(query, items[:MAX_ITEMS]) if one.match >= MIN_MATCH]
    if not sentences:
        return None
    best = sentences[0]
    if asked == "when":
        return _date_of(sentences)
    stated = _stated(query, asked, sentences)
    if stated is not None:
        return stated
    if asked == "how many":
        best = next((one for one in _near_best(sentences) if NUMBER.search(one.text)), best)
    return Extract(f"{_said(best)} [{best.item.number}]", best.text, (best.item.number,))


def rank_sentences(query: str, items: Sequence[EvidenceItem]) -> list[Sentence]:
    """Best first, by `rank`; those that share most with the question, if there are many.

    match: half the cosine with the question, half the share of the question's stems, which the speaker's name counts
    towards; less for a question, and for another speaker than the one that the question names.
    """
    wanted = set(terms(query))
    best_score = max((item.hit.score for item in items), default=0.0) or 1.0
    found = [(item, text[:MAX_SENTENCE_CHARS]) for item in items for text in split_sentences(item.text)][:MAX_SENTENCES]
    shares = [len(wanted & set(terms(f"{item.speaker} {text}"))) / max(1, len(wanted)) for item, text in found]
    order = sorted(range(len(found)), key=lambda i: -(shares[i] + found[i][0].hit.score / best_score))[:MAX_EMBEDDED]
    if not order:
        return []
    chosen = [found[i] for i in order]
    vectors = embed_texts([f"{item.speaker}: {text}" if item.speaker else text for item, text in chosen])
    cosines = np.clip(vectors @ embed_query(query), 0.0, 1.0).tolist()
    named = {item.speaker for item in items if item.speaker and wanted & set(terms(item.speaker))}
    ranked = []
    for i, cosine in zip(order, cosines, strict=True):
        item, text = found[i]
        match = (cosine + shares[i]) / 2 if wanted else cosine
        match -= QUESTION_MALUS if text.endswith("?") else 0.0
        match -= OTHER_SPEAKER_MALUS if named and item.speaker and item.speaker not in named else 0.0
        ranked.append(Sentence(item, text, match, (match + item.hit.score / best_score) / 2))
    return sorted(ranked, key=lambda one: (-one.rank, one.item.number))


def _near_best(sentences: Sequence[Sentence]) -> list[Sentence]:
    return [one for one in sentences if one.rank >= NEAR_BEST * sentences[0].rank]


def _date_of(sentences: Sequence[Sentence]) -> Extract:
    """The date that one of the best sentences names, else the day on which the best was said."""
    for one in _near_best(sentences):
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
