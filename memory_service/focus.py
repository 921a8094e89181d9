"""Focus mode: of what was found, the sentences that matter.

A memory of one sentence costs nothing: its vector is stored. Only the sentences of longer ones are embedded, in one
batch, and kept by their text for as long as any text is kept in a process (caches.py).
Source: Enhancing Retrieval-Augmented Generation: A Study of Best Practices, arXiv:2501.07391, "Focus Mode".
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import caches
from .embedding import Vectors

NUM_CACHED = 8_192  # sentences; 12 MiB at 384 dimensions
MIN_CHARS = 3  # of a sentence; less is a stray mark
PASSAGE_SHARE = 0.5  # of a sentence's score, from its memory's; docs/selection.md

Span = tuple[int, int]

_END = re.compile(r"[.!?…]+[\"”')\]]*\s+|[。！？]+|\n+")
# What a full stop may follow without ending a sentence: titles, initials (but not "I"), Latin abbreviations.
_NO_END = re.compile(r"(?:^|\s)(?:[A-HJ-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Mt|vs|approx|e\.g|i\.e|cf)\.\s+$")


@dataclass(frozen=True, slots=True)
class Passage:
    """text: what spans point into. score: 0..1. speaker: whose name is put before each sentence when it is embedded,
    as it stands before a whole turn. vector: (D,) of the whole text, where it is stored."""

    text: str
    score: float
    speaker: str | None = None
    vector: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """Characters text[start:end] of its passage."""

    start: int
    end: int
    score: float


def split_spans(text: str) -> list[Span]:
    """Sentences as (start, end), without the space around them. A text of marks alone is one."""
    spans: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        if _NO_END.search(text, max(start, match.end() - 12), match.end()) and "\n" not in match[0]:
            continue
        _append(spans, text, start, match.end())
        start = match.end()
    _append(spans, text, start, len(text))
    return spans or [(0, len(text))]


def _append(spans: list[Span], text: str, start: int, end: int) -> None:
    said = text[start:end]
    start += len(said) - len(said.lstrip())
    if len(said.strip()) >= MIN_CHARS:
        spans.append((start, start + len(said.strip())))


def choose_sentences(
    passages: Sequence[Passage], query: Vectors, num_sentences: int, *, embed: Callable[[Sequence[str]], Vectors]
) -> list[list[Sentence]]:
    """For each passage those of its sentences that are among the num_sentences best of all, in their order.

    query: (D,), unit length. embed: texts -> (M, D), unit length. A sentence's score is the mean of its cosine and its
    passage's score; ties go to the earlier passage.
    """
    spans = [split_spans(passage.text) for passage in passages]
    texts, owners = [], []
    for number, (passage, found) in enumerate(zip(passages, spans, strict=True)):
        if len(found) == 1 and passage.vector is not None:
            continue
        for start, end in found:
            texts.append(_labelled(passage, start, end))
            owners.append(number)
    vectors = iter(embed_cached(texts, embed))
    sentences: list[tuple[int, Sentence]] = []
    for number, (passage, found) in enumerate(zip(passages, spans, strict=True)):
        stored = passage.vector if len(found) == 1 else None
        for start, end in found:
            cosine = float(np.clip((stored if stored is not None else next(vectors)) @ query, 0.0, 1.0))
            score = PASSAGE_SHARE * passage.score + (1 - PASSAGE_SHARE) * cosine
            sentences.append((number, Sentence(start, end, score)))
    best = sorted(range(len(sentences)), key=lambda i: -sentences[i][1].score)[:num_sentences]
    kept: list[list[Sentence]] = [[] for _ in passages]
    for i in sorted(best):
        number, sentence = sentences[i]
        kept[number].append(sentence)
    return kept


def _labelled(passage: Passage, start: int, end: int) -> str:
    said = passage.text[start:end]
    label = f"{passage.speaker}: " if passage.speaker else ""
    return said if said.startswith(label) or not passage.text.startswith(label) else label + said


_lock = threading.Lock()
_known: OrderedDict[str, Vectors] = OrderedDict()


def embed_cached(texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors]) -> list[Vectors]:
    """One vector for each text; those not known yet in one batch."""
    if not texts:
        return []
    with _lock:
        found = {text: _known[text] for text in texts if text in _known}
    new = [text for text in dict.fromkeys(texts) if text not in found]
    if new:
        caches.arm()
        found |= dict(zip(new, embed(new), strict=True))
        with _lock:
            _known.update((text, found[text]) for text in new)
            while len(_known) > NUM_CACHED:
                _known.popitem(last=False)
    return [found[text] for text in texts]


def _sweep(everything: bool) -> bool:
    with _lock:
        _known.clear()
    return False


caches.register(_sweep)
