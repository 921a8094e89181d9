"""Cuts where neighbouring sentences are least alike.

Each sentence is embedded once; the two sides of a place are the means of the vectors of `buffer` sentences on each, so
that the time is the embedder's. (Kamradt's splitter embeds the joined texts instead, three times the work.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pieces import check_float, check_int, check_one_of, check_sizes, join, sentence_pieces, texts
from .segments import Scores, best_cuts
from .tokens import Tokenize, tokenized
from .types import Chunk, Embed, Vectors

BREAKPOINTS = ("percentile", "standard_deviation", "gradient")
BLOCK = 4096  # places compared at once
AMOUNTS = {"percentile": 90.0, "standard_deviation": 1.5, "gradient": 90.0}


def split_semantic(
    text: str,
    *,
    embed: Embed,
    tokenize: Tokenize | None = None,
    buffer: int = 2,
    breakpoint: str = "percentile",
    amount: float | None = None,
    min_tokens: int | None = None,
    max_tokens: int = 300,
) -> list[Chunk]:
    """buffer: sentences on each side of a place that are compared.

    breakpoint and amount: which distances are breakpoints. "percentile": those above this percentile of all (90).
    "standard_deviation": above the mean by this many of them (1.5). "gradient": those whose rise, over the distances
    before and after, is above this percentile of all rises (90). Under max_tokens and min_tokens the breakpoints, and
    where they are too few other places, are chosen by how far they exceed.
    """
    least, max_tokens = check_sizes(min_tokens, max_tokens)
    check_int("buffer", buffer, low=1, high=100)
    kind = check_one_of("breakpoint", breakpoint, BREAKPOINTS)
    high = 20.0 if kind == "standard_deviation" else 100.0
    limit = AMOUNTS[kind] if amount is None else check_float("amount", amount, low=0.0, high=high)
    document = tokenized(text, tokenize)
    pieces = sentence_pieces(document, max_tokens)
    if len(pieces) < 2:
        return document.chunks(pieces)
    distances = neighbour_distances(embed(texts(document, pieces)), buffer)
    counts = document.count_spans(pieces).tolist()
    edges = best_cuts(counts, excess(distances, kind, limit), min_tokens=least, max_tokens=max_tokens)
    return document.chunks(join(pieces, edges))


def neighbour_distances(vectors: Vectors, buffer: int) -> Scores:
    """(N, D) -> (N - 1,), 1 - cosine of the mean vectors of up to `buffer` sentences before and after each place.

    In blocks, so that a long document costs no memory beside its vectors.
    """
    num = len(vectors)
    found = np.empty(max(0, num - 1))
    for first in range(1, num, BLOCK):
        places = np.arange(first, min(first + BLOCK, num))
        low, high = max(0, first - buffer), min(num, int(places[-1]) + buffer)
        sums = np.zeros((high - low + 1, vectors.shape[1]))
        np.cumsum(vectors[low:high], axis=0, dtype=np.float64, out=sums[1:])
        here = sums[places - low]
        left = here - sums[np.maximum(places - buffer, 0) - low]
        right = sums[np.minimum(places + buffer, num) - low] - here
        lengths: NDArray[np.float64] = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        found[first - 1 : first - 1 + len(places)] = np.einsum("nd,nd->n", left, right) / np.maximum(lengths, 1e-12)
    return 1.0 - found


def excess(distances: Scores, kind: str, amount: float) -> Scores:
    """(N - 1,) above 0 for breakpoints, else below or at it."""
    if kind == "percentile":
        above: Scores = distances - np.percentile(distances, amount)
        return above
    if kind == "standard_deviation":
        return distances - float(distances.mean() + amount * distances.std())
    padded = np.concatenate([distances[:1], distances, distances[-1:]])
    rises = distances - (padded[:-2] + padded[2:]) / 2  # against both neighbours
    steeper: Scores = rises - np.percentile(rises, amount)
    return steeper
