"""Meta-Chunking by perplexity: a chunk ends with the sentence that a language model found easiest.

The score of a sentence is the mean negative log likelihood of its tokens given all that stands before it; a boundary
stands behind a minimum of these. Source: Meta-Chunking (arXiv:2410.12788), section 3 and its published code, from which
the rule for plateaus and the dynamic threshold are. Without a language model the small n-gram model of ngram.py scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .ngram import NGramModel
from .pieces import check_flag, check_float, check_int, check_sizes, join, sentence_pieces
from .segments import Scores, best_cuts
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk, Losses, Span

NUM_DROPS = 100  # recorded before the dynamic threshold moves; from the published code


def split_perplexity(
    text: str,
    *,
    losses: Losses | None = None,
    tokenize: Tokenize | None = None,
    threshold: float = 0.0,
    dynamic: bool = False,
    overlap: bool = False,
    window_tokens: int | None = None,
    min_tokens: int = 0,
    max_tokens: int = 300,
) -> list[Chunk]:
    """threshold: in nats, how far a minimum must lie under a neighbour. dynamic: see `minima`.

    overlap: the sentence of a minimum also begins the next chunk, if it fits there; such chunks do not partition the
    text. window_tokens: score so many tokens at once, given the window before, for a model that keeps no cache of its
    own. min_tokens: of minima that stand too close, the deepest are taken.
    """
    min_tokens, max_tokens = check_sizes(min_tokens, max_tokens)
    limit = check_float("threshold", threshold, low=0.0, high=100.0)
    check_flag("dynamic", dynamic)
    check_flag("overlap", overlap)
    if window_tokens is not None:
        check_int("window_tokens", window_tokens, low=16)
    document = tokenized(text, tokenize)
    pieces = sentence_pieces(document, max_tokens)
    if len(pieces) < 2:
        return document.chunks(pieces)
    scores = sentence_scores(document, pieces, losses or NGramModel(), window_tokens)
    edges = _edges(document, pieces, scores, minima(scores, limit, dynamic=dynamic), min_tokens, max_tokens)
    chunks = document.chunks(join(pieces, edges))
    return _overlapping(document, pieces, edges, max_tokens) if overlap else chunks


def minima(scores: Scores | Sequence[float], threshold: float, *, dynamic: bool = False) -> list[int]:
    """Places i, never the first or last, with s[i] < s[i-1] and s[i] < s[i+1], one of both by threshold or more; or
    with s[i] < s[i-1] by threshold or more and s[i] == s[i+1]: of a plateau its first.

    dynamic: once 100 drops are recorded (of each minimum the smaller of its two), the threshold is their least. Since
    each recorded drop reaches the threshold on its larger side alone, it may go down as well as up.
    """
    values = [float(score) for score in scores]
    found: list[int] = []
    drops: list[float] = []
    for i in range(1, len(values) - 1):
        before, after = values[i - 1] - values[i], values[i + 1] - values[i]
        if before > 0 and after > 0 and max(before, after) >= threshold:
            found.append(i)
            drops.append(min(before, after))
        elif before > 0 and after == 0 and before >= threshold:
            found.append(i)
            drops.append(before)
        if dynamic and len(drops) >= NUM_DROPS:
            threshold = min(drops)
    return found


def sentence_scores(
    document: TokenizedText, pieces: Sequence[Span], losses: Losses, window_tokens: int | None = None
) -> Scores:
    """(N,) the mean negative log likelihood of each piece's tokens, in nats.

    A piece without a token of the model takes the mean of its neighbours' tokens: the document's mean.
    """
    starts, nlls = _windowed(document, pieces, losses, window_tokens)
    edges = np.asarray([start for start, _ in pieces] + [pieces[-1][1]])
    places = np.searchsorted(starts, edges)
    sums = np.concatenate([[0.0], np.cumsum(nlls)])
    totals, counts = sums[places[1:]] - sums[places[:-1]], np.diff(places)
    mean = float(nlls.mean()) if len(nlls) else 0.0
    scores: Scores = np.where(counts > 0, totals / np.maximum(counts, 1), mean)
    return scores


def _windowed(
    document: TokenizedText, pieces: Sequence[Span], losses: Losses, window_tokens: int | None
) -> tuple[Scores, Scores]:
    text = document.text
    if window_tokens is None:
        offsets, nlls = losses("", text)
        return np.asarray(offsets), np.asarray(nlls, dtype=np.float64)
    windows: list[Span] = []
    held = 0
    for (start, end), count in zip(pieces, document.count_spans(pieces).tolist(), strict=True):
        if windows and held + count <= window_tokens:
            windows[-1] = (windows[-1][0], end)
            held += count
        else:
            windows.append((start, end))
            held = count
    found, before = [], ""
    for start, end in windows:
        offsets, nlls = losses(before, text[start:end])
        found.append((np.asarray(offsets) + start, np.asarray(nlls, dtype=np.float64)))
        before = text[start:end]
    return np.concatenate([o for o, _ in found]), np.concatenate([n for _, n in found])


def _edges(
    document: TokenizedText,
    pieces: Sequence[Span],
    scores: Scores,
    boundaries: Sequence[int],
    min_tokens: int,
    max_tokens: int,
) -> list[int]:
    """A minimum gains by its depth; where there is none in max_tokens, the easiest sentence ends the chunk."""
    gains = -1.0 - (scores[:-1] - scores.min())
    for place in boundaries:
        gains[place] = 1.0 + max(scores[place - 1] - scores[place], scores[place + 1] - scores[place])
    counts = document.count_spans(pieces).tolist()
    return best_cuts(counts, gains, min_tokens=min_tokens, max_tokens=max_tokens)


def _overlapping(document: TokenizedText, pieces: Sequence[Span], edges: Sequence[int], max_tokens: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    for first, beyond in pairwise(edges):
        start, end = pieces[first][0], pieces[beyond - 1][1]
        earlier = pieces[first - 1][0] if first else start
        begins = earlier if document.count(earlier, end) <= max_tokens else start
        chunks.append(document.chunk(begins, end))
    return chunks
