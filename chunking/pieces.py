"""What the strategies put together: sentences cut to a size, and the checks of the options that they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from .sentences import sentence_spans
from .tokens import TokenizedText
from .types import Span

MIN_TOKENS = 40  # two sentences, about: where nothing else is said
MAX_SIZE = 1_000_000  # of any number of tokens or sentences that an option may name


def sentence_pieces(document: TokenizedText, max_tokens: int) -> list[Span]:
    """The sentences in order, without a gap, each cut where it holds more than max_tokens tokens.

    A cut falls before the last word that fits, or between two tokens where one word is longer than that. Only tokens
    that start at the same character are not parted.
    """
    spans = sentence_spans(document.text)
    counts = document.count_spans(spans).tolist()
    pieces: list[Span] = []
    for span, count in zip(spans, counts, strict=True):
        pieces.extend([span] if count <= max_tokens else _cut(document, span, max_tokens))
    return pieces


def small_pieces(document: TokenizedText, piece_tokens: int) -> list[Span]:
    """Neighbouring sentences together while they fit into piece_tokens; a longer sentence is cut."""
    sentences = sentence_pieces(document, piece_tokens)
    counts = document.count_spans(sentences).tolist()
    pieces: list[Span] = []
    held = 0
    for (start, end), count in zip(sentences, counts, strict=True):
        if pieces and held + count <= piece_tokens:
            pieces[-1] = (pieces[-1][0], end)
            held += count
        else:
            pieces.append((start, end))
            held = count
    return pieces


def _cut(document: TokenizedText, span: Span, max_tokens: int) -> Iterable[Span]:
    text, starts = document.text, document.starts
    start, end = span
    while document.count(start, end) > max_tokens:
        first = int(np.searchsorted(starts, start))
        last = first + max_tokens  # the first token that does not fit
        cut = int(starts[last])
        for place in range(last, first + max_tokens // 2, -1):
            if text[int(starts[place]) - 1].isspace():
                cut = int(starts[place])
                break
        if cut <= start:  # all of them start at one character
            beyond = int(np.searchsorted(starts, start, side="right"))
            if beyond >= len(starts) or int(starts[beyond]) >= end:
                break
            cut = int(starts[beyond])
        yield start, cut
        start = cut
    yield start, end


def join(pieces: Sequence[Span], edges: Sequence[int]) -> list[Span]:
    """pieces grouped by edges, places from 0 to len(pieces), both included, ascending: spans of the groups."""
    return [(pieces[a][0], pieces[b - 1][1]) for a, b in pairwise(edges)]


def texts(document: TokenizedText, spans: Sequence[Span]) -> list[str]:
    return [document.text[start:end] for start, end in spans]


# Options


def check_int(name: str, value: object, *, low: int, high: int = MAX_SIZE) -> int:
    """Raises ValueError unless value is a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} must be a whole number from {low:,} to {high:,}")
    return value


def check_float(name: str, value: object, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Raises ValueError unless value is a finite number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r} must be a number")
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else f"{low:g} or more"
        raise ValueError(f"{name}={value!r} must be {bounds}")
    return float(value)


def check_one_of(name: str, value: object, accepted: Sequence[str]) -> str:
    """Raises ValueError unless value is one of the accepted words."""
    if not isinstance(value, str) or value not in accepted:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(accepted)}")
    return value


def check_flag(name: str, value: object) -> bool:
    """Raises ValueError unless value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be true or false")
    return value


def check_sizes(min_tokens: object, max_tokens: object) -> tuple[int, int]:
    """Of min_tokens None is 40, or a quarter of max_tokens. Raises ValueError unless 0 <= min_tokens <= max_tokens."""
    largest = check_int("max_tokens", max_tokens, low=1)
    if min_tokens is None:
        return min(MIN_TOKENS, largest // 4), largest
    smallest = check_int("min_tokens", min_tokens, low=0)
    if smallest > largest:
        raise ValueError(f"min_tokens={smallest} must not be more than max_tokens={largest}")
    return smallest, largest
