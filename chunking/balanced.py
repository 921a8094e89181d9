"""Chunks near one size that end where a paragraph ends or the text turns: the default for text.

Every place between two sentences has a price, and so has a chunk's distance from the size that is asked for; dynamic
programming finds the cheapest segmentation of the whole document. A chunk of n tokens that ends at a place costs

    (n / target - 1)^2 + turn_weight * (cosine - mean cosine) - paragraph_weight * (1: blank line, 0.5: line's end, 0)

with the cosine between the mean vectors of the `window` sentences before and after it. Retrieval wants both: chunks of
very different sizes compete unequally for a question, and a chunk about two things is found for neither.
"""

from __future__ import annotations

import math
import re

import numpy as np

from .pieces import check_float, check_int, join, sentence_pieces, texts
from .segments import Scores, best_segments
from .semantic import neighbour_distances
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk, Embed, Span

DEFAULT_TARGET_TOKENS = 150
LARGEST = 2.0  # times target_tokens
PIECE_SHARE = 1.0  # of target_tokens: a longer sentence is cut

_BLANK_LINE = re.compile(r"(?:\r\n|\r|\n)[^\S\r\n]*(?:\r\n|\r|\n)\s*\Z")
_LINE_END = re.compile(r"[\r\n]\s*\Z")


def split_balanced(
    text: str,
    *,
    embed: Embed,
    tokenize: Tokenize | None = None,
    target_tokens: int = DEFAULT_TARGET_TOKENS,
    turn_weight: float = 0.7,
    paragraph_weight: float = 0.6,
    window: int = 3,
) -> list[Chunk]:
    """Chunks of about target_tokens tokens, at most twice as many.

    turn_weight: how much likeness across a cut costs. paragraph_weight: what the end of a paragraph is worth. Both
    are measured in the cost of a chunk that is empty or twice the size (1). window: sentences on each side of a place.
    Raises ValueError for options out of range.
    """
    check_int("target_tokens", target_tokens, low=1)
    check_float("turn_weight", turn_weight, low=0.0, high=100.0)
    check_float("paragraph_weight", paragraph_weight, low=0.0, high=100.0)
    check_int("window", window, low=1, high=100)
    document = tokenized(text, tokenize)
    pieces = sentence_pieces(document, max(1, math.floor(PIECE_SHARE * target_tokens)))
    if len(pieces) < 2:
        return document.chunks(pieces)
    distances = neighbour_distances(embed(texts(document, pieces)), window)  # (N - 1,)
    prices = turn_weight * (distances.mean() - distances) - paragraph_weight * paragraph_ends(document, pieces)[:-1]
    values = segment_values(document.count_spans(pieces), np.append(prices, 0.0), target_tokens)
    return document.chunks(join(pieces, best_segments(values)))


def paragraph_ends(document: TokenizedText, pieces: list[Span]) -> Scores:
    """(N,) 1 where a piece ends with a blank line, 0.5 where with its line, else 0."""
    return np.array([_ending(document.text[start:end]) for start, end in pieces])


def _ending(piece: str) -> float:
    if _BLANK_LINE.search(piece):
        return 1.0
    return 0.5 if _LINE_END.search(piece) else 0.0


def segment_values(counts: np.ndarray, prices: Scores, target_tokens: int) -> Scores:
    """counts, prices: (N,) tokens of each piece, price of a cut behind it. Returns (N, L) minus the costs.

    -inf for segments of several pieces that hold more than twice target_tokens.
    """
    num = len(counts)
    places = np.concatenate([[0], np.cumsum(counts)])  # (N + 1,)
    beyond = (
        np.searchsorted(places, places[:-1] + int(LARGEST * target_tokens), side="right") - 1
    )  # the last edge that fits
    longest = max(1, int((beyond - np.arange(num)).max()))
    edges = np.arange(num)[:, None] + 1 + np.arange(longest)[None, :]  # (N, L) where each segment ends
    inside = edges <= num
    edges = np.minimum(edges, num)
    sizes = (places[edges] - places[:-1, None]) / target_tokens
    values: Scores = -((sizes - 1.0) ** 2 + prices[edges - 1])
    several = np.arange(longest)[None, :] > 0
    values[~inside | (several & (sizes > LARGEST))] = -np.inf
    return values
