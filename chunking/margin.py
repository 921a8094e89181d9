"""Meta-Chunking by margin sampling: a language model is asked, sentence by sentence, whether to split or to keep.

The answer is not read: the probabilities of "1" and "2" as next token are compared, which models of half a billion
parameters can do. Source: Meta-Chunking (arXiv:2410.12788), section 3, and its published code.
"""

from __future__ import annotations

import numpy as np

from .pieces import check_float, check_sizes, sentence_pieces
from .tokens import Tokenize, tokenized
from .types import Choose, Chunk, Span

NUM_MARGINS = 5  # whose mean is the threshold; from the published code
PROMPT = (
    "This is a text chunking task. As an expert in text analysis, choose one of two options by the logical structure "
    "and the meaning of the text.\n"
    "1. Split it into two parts, the first: {left!r} and the second: {right!r}\n"
    "2. Keep it unsplit, in its original form: {both!r}\n"
    "Answer with 1 or 2.\nAnswer: "
)


def split_margin(
    text: str,
    *,
    choose: Choose,
    tokenize: Tokenize | None = None,
    threshold: float | None = None,
    min_tokens: int = 0,
    max_tokens: int = 300,
) -> list[Chunk]:
    """A sentence joins the chunk before it where P("2") - P("1") exceeds the threshold.

    threshold: -1 to 1; None is 0 for the first five margins, then the mean of the last five. Nothing is asked where the
    chunk holds fewer than min_tokens, or the sentence does not fit into max_tokens.
    """
    min_tokens, max_tokens = check_sizes(min_tokens, max_tokens)
    fixed = None if threshold is None else check_float("threshold", threshold, low=-1.0, high=1.0)
    document = tokenized(text, tokenize)
    margins: list[float] = []
    spans: list[Span] = []
    held = 0
    pieces = sentence_pieces(document, max_tokens)
    for (start, end), count in zip(pieces, document.count_spans(pieces).tolist(), strict=True):
        joins = bool(spans) and held + count <= max_tokens
        if joins and held >= min_tokens:
            limit = threshold_after(margins) if fixed is None else fixed
            margins.append(margin(text[spans[-1][0] : spans[-1][1]], text[start:end], choose))
            joins = margins[-1] > limit
        if joins:
            spans[-1] = (spans[-1][0], end)
            held += count
        else:
            spans.append((start, end))
            held = count
    return document.chunks(spans)


def margin(left: str, right: str, choose: Choose) -> float:
    """P(keep) - P(split), from -1 to 1."""
    both = (left + right).strip()
    split, keep = np.asarray(choose(PROMPT.format(left=left.strip(), right=right.strip(), both=both), ("1", "2")))
    return float(keep - split)


def threshold_after(margins: list[float]) -> float:
    """0, then the mean of the last five."""
    return float(np.mean(margins[-NUM_MARGINS:])) if len(margins) >= NUM_MARGINS else 0.0
