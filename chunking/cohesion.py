"""How well a text is cut, measured without questions or with them: functions over `Losses` and `Embed`.

Boundary clarity and chunk stickiness: Zhao et al., MoC: Mixtures of Text Chunking Learners (arXiv:2503.09600), on mean
negative log likelihoods instead of perplexities, which short chunks make explode. Answer coverage: Intent-Driven
Dynamic Chunking (arXiv:2602.14784).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .segments import Scores
from .types import Chunk, Embed, Losses, Span

MIN_TOKENS = 8  # of a chunk whose mean loss is a measure at all
STICKY = 0.8  # of the loss that is left once the other chunk is known; from MoC's published code


def mean_loss(losses: Losses, context: str, text: str) -> float | None:
    """The mean negative log likelihood of the text's tokens after the context, in nats; None under MIN_TOKENS."""
    _, nlls = losses(context, text)
    return float(np.mean(nlls)) if len(nlls) >= MIN_TOKENS else None


def clarity_ratio(losses: Losses, before: str, text: str) -> float | None:
    """NLL(text | before) / NLL(text): near 1 where `before` tells nothing of it, near 0 where it tells all.

    None where the text is too short to tell. Above 1 where the context misleads the model.
    """
    alone, given = mean_loss(losses, "", text), mean_loss(losses, before, text)
    return None if alone is None or given is None or alone <= 0 else given / alone


def boundary_clarity(losses: Losses, texts: Sequence[str]) -> float | None:
    """The mean of the ratio above over all pairs of neighbours; None where no chunk can be measured."""
    ratios = [clarity_ratio(losses, a, b) for a, b in pairwise(texts)]
    known = [ratio for ratio in ratios if ratio is not None]
    return float(np.mean(known)) if known else None


def chunk_stickiness(
    losses: Losses, texts: Sequence[str], *, threshold: float = STICKY, max_distance: int | None = None
) -> float:
    """The structural entropy, in bits, of the graph of chunks that depend on each other; lower is better.

    An edge joins chunks i before j where NLL(j | i) / NLL(j) < threshold, at most max_distance apart (None: all pairs,
    K^2 / 2 scorings). H = - sum over the chunks of d / 2m log2(d / 2m), d its degree and m the edges; 0 without edges.
    (MoC's published code keeps the pairs *above* 0.8, which measures the opposite of what the paper describes.)

    Raises ValueError for a threshold outside 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold} must be from 0 to 1")
    alone = [mean_loss(losses, "", text) for text in texts]
    degrees = np.zeros(len(texts))
    for j, loss in enumerate(alone):
        if loss is None or loss <= 0:
            continue
        first = 0 if max_distance is None else max(0, j - max_distance)
        for i in range(first, j):
            given = mean_loss(losses, texts[i], texts[j])
            if given is not None and given / loss < threshold:
                degrees[[i, j]] += 1
    return structural_entropy(degrees)


def structural_entropy(degrees: Scores) -> float:
    """Of one dimension, in bits; 0 for a graph without edges."""
    shares = degrees[degrees > 0] / max(1.0, float(degrees.sum()))
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def answer_coverage(chunks: Sequence[Chunk], answers: Sequence[Sequence[Span]]) -> float:
    """The share of the answers whose excerpts lie whole in one chunk. answers: of each question its spans.

    nan without an answer.
    """
    if not answers:
        return float("nan")
    held = sum(
        any(all(chunk.start <= start and end <= chunk.end for start, end in spans) for chunk in chunks)
        for spans in answers
    )
    return held / len(answers)


def question_coverage(
    chunks: Sequence[Chunk], questions: Sequence[str], *, embed: Embed, threshold: float = 0.5
) -> float:
    """The share of the questions to which some chunk's cosine is threshold or more. nan without a question."""
    if not questions:
        return float("nan")
    if not chunks:
        return 0.0
    cosines = embed([chunk.text for chunk in chunks]) @ embed(questions).T  # (K, Q)
    return float((cosines.max(axis=0) >= threshold).mean())
