"""The segmentation that keeps alike pieces together best, over the whole document at once.

Small pieces, their cosines less the mean cosine of all pairs; the sum of these inside the chunks is made as large as
can be, by dynamic programming. Source: Smith and Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma 2024
(ClusterSemanticChunker).
"""

from __future__ import annotations

import numpy as np

from .pieces import check_int, check_sizes, join, small_pieces, texts
from .segments import Scores, best_segments
from .tokens import Tokenize, tokenized
from .types import Chunk, Embed, Vectors

PIECE_TOKENS = 50  # Chroma's


def split_cluster_semantic(
    text: str,
    *,
    embed: Embed,
    tokenize: Tokenize | None = None,
    piece_tokens: int | None = None,
    max_tokens: int = 300,
) -> list[Chunk]:
    """piece_tokens: of the small pieces; None is 50. O(N L) for N pieces, L of them in a chunk."""
    _, max_tokens = check_sizes(0, max_tokens)
    size = min(PIECE_TOKENS, max_tokens) if piece_tokens is None else piece_tokens
    check_int("piece_tokens", size, low=1, high=max_tokens)
    document = tokenized(text, tokenize)
    pieces = small_pieces(document, size)
    if len(pieces) < 2:
        return document.chunks(pieces)
    counts = document.count_spans(pieces)
    longest = longest_segment(counts, max_tokens)
    values = segment_similarities(embed(texts(document, pieces)), longest)
    places = np.concatenate([[0], np.cumsum(counts)])
    ends = np.minimum(np.arange(len(pieces))[:, None] + np.arange(longest)[None, :] + 1, len(pieces))  # (N, L)
    too_long = places[ends] - places[:-1, None] > max_tokens
    too_long[:, 0] = False
    values[too_long] = -np.inf
    return document.chunks(join(pieces, best_segments(values)))


def longest_segment(counts: object, max_tokens: int) -> int:
    """How many consecutive pieces fit into max_tokens at most; at least 1."""
    places = np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])
    beyond = np.searchsorted(places, places[:-1] + max_tokens, side="right") - 1
    return max(1, int((beyond - np.arange(len(places) - 1)).max(initial=1)))


def segment_similarities(vectors: Vectors, longest: int) -> Scores:
    """(N, D) -> (N, L): the sum over the pairs inside pieces i to i + l of their cosine less the mean of all pairs.

    -inf past the end. Only the band of pairs that can share a segment is computed.
    """
    num = len(vectors)
    total = vectors.sum(axis=0, dtype=np.float64)
    squares = float(np.einsum("nd,nd->", vectors, vectors, dtype=np.float64))
    mean = (float(total @ total) - squares) / (num * (num - 1)) if num > 1 else 0.0
    values = np.full((num, longest), -np.inf)
    values[:, 0] = 0.0
    with_first = np.zeros(num)  # of piece i, its sum with the next l
    for length in range(1, min(longest, num)):
        band = np.einsum("nd,nd->n", vectors[:-length], vectors[length:], dtype=np.float64) - mean
        with_first = with_first[: num - length] + band
        values[: num - length, length] = values[1 : num - length + 1, length - 1] + with_first
    return values
