"""A chunk's vector from vectors of texts alone: its own, its sentences', its neighbours'. No training, no longer input.

Two steps, so that the first can be kept by the text and used again after an edit elsewhere:

    base = unit(e(chunk) + sentence_weight * unit(sum of sqrt(tokens) * e(sentence)))
    situated = unit(base + neighbour_weight * (base before + base after))

A sentence that answers a question is a small part of its chunk: the first step lifts it. What a chunk's pronouns
stand for was often said in the chunk before: the second step lends it that. Appending the neighbours' text instead
makes an untrained model worse (SitEmb, arXiv:2508.01959, tables 1 and 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .sentences import sentence_spans
from .tokens import estimate_tokens
from .types import Embed, Vectors

SENTENCE_WEIGHT = 1.0
NEIGHBOUR_WEIGHT = 0.25


def base_vectors(texts: Sequence[str], *, embed: Embed, sentence_weight: float = SENTENCE_WEIGHT) -> Vectors:
    """(N, D) float32, unit length: each text's own vector mixed with the mean of its sentences' vectors."""
    if not texts:
        return embed([])
    sentences = [[text[start:end] for start, end in sentence_spans(text)] for text in texts]
    parts = list(dict.fromkeys([*texts, *(part for group in sentences if len(group) > 1 for part in group)]))
    vectors = embed(parts)
    place = {part: row for row, part in enumerate(parts)}
    mixed = vectors[[place[text] for text in texts]].astype(np.float32)
    for row, group in enumerate(sentences):
        if len(group) > 1:
            weights = np.sqrt([len(estimate_tokens(part)) for part in group])  # (S,)
            mixed[row] += sentence_weight * unit(weights @ vectors[[place[part] for part in group]])
    return unit(mixed)


def situate(
    base: Vectors, documents: Sequence[int] | NDArray[np.int64], *, neighbour_weight: float = NEIGHBOUR_WEIGHT
) -> Vectors:
    """base: (N, D) in the order of the text; documents: (N,) whose chunk each is. Returns (N, D) float32, unit length.

    Only chunks of one document that follow each other are neighbours. Raises ValueError where the lengths differ.
    """
    owners = np.asarray(documents)
    if len(owners) != len(base):
        raise ValueError(f"documents has {len(owners)} entries, base {len(base)} vectors: one for each is needed")
    situated = base.astype(np.float32)
    together = (owners[1:] == owners[:-1])[:, None]
    situated[1:] += neighbour_weight * base[:-1] * together
    situated[:-1] += neighbour_weight * base[1:] * together
    return unit(situated)


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Each to length 1; a zero vector stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return result
