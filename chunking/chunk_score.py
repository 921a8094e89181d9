"""ChunkScore: which of several segmentations of one text is best, without questions.

    LI = mean over the chunks but the first of  NLL(c_i | c_i-1) / NLL(c_i)
    SD = 1/K  log det(Z^T J Z + alpha I)        Z: (d, K) the chunks' vectors; J centres each over its own d features
    ChunkScore = lambda LI + (1 - lambda) SD

Source: QChunker (arXiv 2603.*), which takes perplexities in LI; here mean negative log likelihoods, of chunks of
cohesion.MIN_TOKENS and more, for the ratio of perplexities of a few tokens is noise. The two terms have different
scales (LI about 0 to 1, SD from log alpha = -6.9 to 0), so SD decides at lambda = 0.3: both are told. Two scores can be
compared only for the same text and a like number of chunks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cohesion import boundary_clarity
from .types import Embed, Losses, Vectors

LAMBDA = 0.3  # QChunker, fitted on CRUD
ALPHA = 1e-3


@dataclass(frozen=True, slots=True)
class ChunkScore:
    """logical_independence: None where no chunk but the first is long enough to be measured; it then counts as 1."""

    score: float
    logical_independence: float | None
    semantic_dispersion: float
    num_chunks: int


def chunk_score(
    texts: Sequence[str], *, embed: Embed, losses: Losses, weight: float = LAMBDA, alpha: float = ALPHA
) -> ChunkScore:
    """Of the chunks of one text, in order. Raises ValueError for no chunks, and a weight outside 0 to 1."""
    if not texts:
        raise ValueError("a segmentation without chunks has no ChunkScore")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight} must be from 0 to 1")
    clarity = boundary_clarity(losses, texts)
    dispersion = semantic_dispersion(embed(texts), alpha=alpha)
    score = weight * (1.0 if clarity is None else clarity) + (1 - weight) * dispersion
    return ChunkScore(score, clarity, dispersion, len(texts))


def semantic_dispersion(vectors: Vectors, *, alpha: float = ALPHA) -> float:
    """(K, D) -> (1/K) log det(Z^T J Z + alpha I), in float64. The order of the chunks does not matter.

    About log(alpha) for chunks that are all alike, about 0 for unit vectors at right angles. Beyond D - 1 chunks each
    one more adds log(alpha), whatever it says. Raises ValueError for no vectors, and for alpha <= 0.
    """
    num, dimensions = len(vectors), int(vectors.shape[1])
    if num == 0 or alpha <= 0:
        raise ValueError(f"semantic dispersion needs vectors and alpha > 0, not {num} vectors and alpha={alpha}")
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)  # over each chunk's own features, as published
    # det(Z^T Z + aI_K) = a^(K - D) det(Z Z^T + aI_D): the smaller of the two is decomposed.
    gram = centred @ centred.T if num <= dimensions else centred.T @ centred
    _, logdet = np.linalg.slogdet(gram + alpha * np.eye(len(gram)))
    return (float(logdet) + (num - len(gram)) * math.log(alpha)) / num
