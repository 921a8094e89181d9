"""A small n-gram model of the document itself, where no language model is configured.

It has read nothing but the text at hand. It knows which words the document repeats, and in which order, and nothing of
the language: its losses are a measure of lexical cohesion, not of a language model's surprise. Interpolated Witten-Bell
smoothing (Witten and Bell, IEEE Transactions on Information Theory 37(4), 1991) over words and marks, down to the
characters of a word that is found nowhere else.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .sentences import sentence_spans
from .types import Offsets

Way = Literal["held_out", "prequential"]
WAYS = ("held_out", "prequential")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_NO_WORD = ""  # stands before the first


class NGramModel:
    """A `Losses` over its own text.

    held_out: each sentence by the counts of all the others (and of the context), so that none is scored by itself.
    prequential: each token by the counts of what stands before it alone, as a causal model would. order: 1 to 5; 3
    reads two words back. Raises ValueError for other values.
    """

    def __init__(self, *, order: int = 3, way: Way = "held_out") -> None:
        if order not in range(1, 6):
            raise ValueError(f"order={order} must be from 1 to 5")
        if way not in WAYS:
            raise ValueError(f"way={way!r} must be one of {', '.join(WAYS)}")
        self.order = order
        self.way = way

    def __call__(self, context: str, text: str) -> tuple[Offsets, NDArray[np.float64]]:
        """(T,) where the words and marks of text start and (T,) their negative log likelihoods, in nats."""
        found = list(_TOKEN.finditer(text))
        offsets = np.array([match.start() for match in found], dtype=np.int64)
        words = [match.group().casefold() for match in found]
        before = [match.group().casefold() for match in _TOKEN.finditer(context)]
        scored = self._prequential(before, words) if self.way == "prequential" else self._held_out(before, words, text)
        return offsets, np.array(scored, dtype=np.float64)

    def _prequential(self, before: Sequence[str], words: Sequence[str]) -> list[float]:
        counts = _Counts(self.order, _Spelling(before))
        row = [*[_NO_WORD] * (self.order - 1), *before, *words]
        first = self.order - 1 + len(before)
        scored: list[float] = []
        for place in range(self.order - 1, len(row)):
            if place >= first:
                scored.append(-math.log(counts.probability(row, place)))
            counts.add(row, place)
            if place >= first:
                counts.spelling.add(row[place])
        return scored

    def _held_out(self, before: Sequence[str], words: Sequence[str], text: str) -> list[float]:
        row = [*[_NO_WORD] * (self.order - 1), *before, *words]
        first = self.order - 1 + len(before)
        counts = _Counts(self.order, _Spelling(row[self.order - 1 :]))
        for place in range(self.order - 1, len(row)):
            counts.add(row, place)
        scored: list[float] = []
        for begin, beyond in _sentence_tokens(text):
            # An n-gram that reaches over the sentence's end still holds words of it.
            own = range(first + begin, min(first + beyond + self.order - 1, len(row)))
            for place in own:
                counts.remove(row, place)
            scored.extend(-math.log(counts.probability(row, place)) for place in range(first + begin, first + beyond))
            for place in own:
                counts.add(row, place)
        return scored


def _sentence_tokens(text: str) -> list[tuple[int, int]]:
    """For each sentence the first of its tokens and the first beyond it."""
    spans = sentence_spans(text)
    edges = np.searchsorted([match.start() for match in _TOKEN.finditer(text)], [0, *(end for _, end in spans)])
    return [(int(a), int(b)) for a, b in pairwise(edges) if b > a]


class _Spelling:
    """How likely a word is by its characters: each by its share in the text, plus one, and an end. It sums to 1."""

    def __init__(self, words: Sequence[str]) -> None:
        self.characters: Counter[str] = Counter("".join(words))
        self.num_words = len(words)
        self.num_characters = sum(self.characters.values())

    def add(self, word: str) -> None:
        self.characters.update(word)
        self.num_words += 1
        self.num_characters += len(word)

    def probability(self, word: str) -> float:
        # One more for the end, and one for all characters that were never seen, 1.1 million of them alike.
        total = self.num_characters + self.num_words + len(self.characters) + 2
        probability = (self.num_words + 1) / total
        for character in word:
            seen = self.characters[character]
            probability *= (seen + 1) / total if seen else 1 / (total * 1_114_112)
        return max(probability, 1e-300)  # of a word of hundreds of characters


class _Counts:
    """n-grams up to an order, which can be added and removed."""

    def __init__(self, order: int, spelling: _Spelling) -> None:
        self.order = order
        self.spelling = spelling
        self.followers: dict[tuple[str, ...], dict[str, int]] = {}
        self.totals: dict[tuple[str, ...], int] = {}

    def add(self, row: Sequence[str], place: int) -> None:
        for length in range(self.order):
            history = tuple(row[place - length : place])
            following = self.followers.setdefault(history, {})
            following[row[place]] = following.get(row[place], 0) + 1
            self.totals[history] = self.totals.get(history, 0) + 1

    def remove(self, row: Sequence[str], place: int) -> None:
        for length in range(self.order):
            history = tuple(row[place - length : place])
            following = self.followers[history]
            if following[row[place]] == 1:
                del following[row[place]]
            else:
                following[row[place]] -= 1
            self.totals[history] -= 1

    def probability(self, row: Sequence[str], place: int) -> float:
        """Witten-Bell: the share of what followed, mixed with the shorter history's by how many kinds followed."""
        word = row[place]
        probability = self.spelling.probability(word)
        for length in range(self.order):
            history = tuple(row[place - length : place])
            total = self.totals.get(history, 0)
            if total:
                following = self.followers[history]
                kinds = len(following)
                probability = (following.get(word, 0) + kinds * probability) / (total + kinds)
        return probability
