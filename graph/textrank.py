"""TextRank: which sentences of a text say what the others say too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import networkx as nx

DAMPING = 0.85  # Mihalcea and Tarau, EMNLP 2004, section 2
MAX_SENTENCES = 400  # every one is compared with every other


def rank_sentences(
    terms: Sequence[Sequence[str]], *, weights: Sequence[float] | None = None, damping: float = DAMPING
) -> list[float]:
    """A score for each sentence, from 0; they sum to 1. Deterministic.

    terms: of each sentence its words as they are compared (stems without stop words). weights: how likely a reader
    starts at each sentence, at least 0, not all 0; equal if None. Similarity is the number of words that two sentences
    share over the sum of the logarithms of their lengths. Raises ValueError where the lengths differ.
    Source: Mihalcea and Tarau, TextRank, EMNLP 2004, section 4.2; weights are a personalised PageRank's.
    """
    if weights is not None and len(weights) != len(terms):
        raise ValueError(f"{len(weights)} weights for {len(terms)} sentences: one for each is needed")
    if not terms:
        return []
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(terms)))
    graph.add_weighted_edges_from(_similar(terms))
    start = dict(enumerate(weights)) if weights is not None else None
    ranks = nx.pagerank(graph, alpha=damping, personalization=start, dangling=start)
    return [float(ranks[index]) for index in range(len(terms))]


def _similar(terms: Sequence[Sequence[str]]) -> list[tuple[int, int, float]]:
    """The pairs of sentences that share a word, found through the words."""
    words = [frozenset(sentence) for sentence in terms]
    holders: dict[str, list[int]] = {}
    for index, sentence in enumerate(words):
        for word in sorted(sentence):
            holders.setdefault(word, []).append(index)
    shared: dict[tuple[int, int], int] = {}
    for found in holders.values():
        for position, left in enumerate(found):
            for right in found[position + 1 :]:
                shared[left, right] = shared.get((left, right), 0) + 1
    lengths = [math.log(1 + len(sentence)) for sentence in words]  # 1 +: a sentence of one word has a length too
    return [(left, right, n / (lengths[left] + lengths[right])) for (left, right), n in sorted(shared.items())]


def choose(
    scores: Sequence[float], sizes: Sequence[int], budget: int, *, same: Callable[[int, int], bool] | None = None
) -> list[int]:
    """The best sentences that fit into `budget` together, as indices in the order of the text.

    sizes: of each sentence, in the budget's unit. A sentence that is the `same` as one already taken is passed over.
    A sentence that no longer fits is passed over for a shorter one. Ties go to the earlier sentence.
    """
    taken: list[int] = []
    room = budget
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if sizes[index] <= room and not (same and any(same(index, other) for other in taken)):
            taken.append(index)
            room -= sizes[index]
    return sorted(taken)
