"""Summaries made of sentences that were said: TextRank under a budget of words, deterministic, without a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from graph.textrank import MAX_SENTENCES, choose, rank_sentences

from .lexical import terms

MIN_WORDS = 4  # "Sounds great!" sums up nothing
FIRST_SENTENCE = 1.3  # a message's first sentence is where a reader starts more often
MAX_SPEAKER_CHARS = 60
SAME = 0.8  # share of common stems (Jaccard) from which a sentence only repeats another

NUMBER = re.compile(r"\d+")
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """label: who said it and when, put before it: "Ann, 2 March 2025". weight: see textrank.rank_sentences."""

    text: str
    label: str = ""
    weight: float = 1.0

    @property
    def line(self) -> str:
        return f"{self.label}: {self.text}" if self.label else self.text


def split_sentences(text: str) -> list[str]:
    parts = (" ".join(part.split()) for part in SENTENCE_END.split(text))
    return [part for part in parts if part]


def num_words(text: str) -> int:
    return len(text.split())


def label(speaker: str, said_at: datetime) -> str:
    return f"{speaker[:MAX_SPEAKER_CHARS]}, {said_at.day} {said_at:%B %Y}"


def sentences_of(text: str, *, label: str = "") -> list[Sentence]:
    """Of one message, without those too short to mean anything alone."""
    found = [Sentence(part, label) for part in split_sentences(text) if num_words(part) >= MIN_WORDS]
    return [replace(found[0], weight=FIRST_SENTENCE), *found[1:]] if found else []


def summarise_sentences(sentences: Sequence[Sentence], max_words: int) -> list[Sentence]:
    """The most central ones, in their order, whose lines have at most max_words words together.

    Where there are more than MAX_SENTENCES, they are narrowed down run by run first, so that early ones count as much
    as late ones. One that is too long alone is cut, if there is no other.
    """
    unique = list({sentence.line.casefold(): sentence for sentence in reversed(sentences)}.values())[::-1]
    while len(unique) > MAX_SENTENCES:
        runs = [unique[i : i + MAX_SENTENCES] for i in range(0, len(unique), MAX_SENTENCES)]
        unique = [kept for run in runs for kept in _half(run)]
    chosen = _choose(unique, max_words)
    if not chosen and unique:
        [best] = _half(unique, 1)
        prefix = num_words(best.label)
        chosen = [replace(best, text=" ".join(best.text.split()[: max(1, max_words - prefix)]))]
    return chosen


def _choose(sentences: Sequence[Sentence], max_words: int) -> list[Sentence]:
    words = [terms(sentence.text) for sentence in sentences]
    stems = [frozenset(found) for found in words]
    numbers = [frozenset(NUMBER.findall(sentence.text)) for sentence in sentences]  # another number is another fact

    def same(left: int, right: int) -> bool:
        both, either = stems[left] & stems[right], stems[left] | stems[right]
        return bool(either) and len(both) / len(either) >= SAME and numbers[left] == numbers[right]

    scores = rank_sentences(words, weights=[sentence.weight for sentence in sentences])
    sizes = [num_words(sentence.line) for sentence in sentences]
    return [sentences[i] for i in choose(scores, sizes, max_words, same=same)]


def _half(sentences: Sequence[Sentence], count: int | None = None) -> list[Sentence]:
    scores = rank_sentences([terms(s.text) for s in sentences], weights=[s.weight for s in sentences])
    best = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: count or len(sentences) // 2]
    return [sentences[i] for i in sorted(best)]
