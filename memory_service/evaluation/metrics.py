"""Figures of one question, and of many with their intervals. Pure: rankings and evidence in, numbers out.

A ranking is a list of `Ranked`, best first. The evidence of a question (`gold`) is the set of message ids that answer
it. `recall@k` is the share of it that the first k hits cite; `recall@Nt` the share that those hits cite which fit into
N tokens of text in rank order, up to the first that does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

DEPTHS = (5, 10, 20, 50)
BUDGETS = (500, 1000, 2000)  # tokens
NDCG_DEPTH = 10
SESSION_DEPTHS = (5, 10)
MAX_CITED = 3  # a hit that cites more messages counts for none: a summary of everything is no evidence
CHARS_A_TOKEN = 4

CONFIDENCE = 0.95
NUM_RESAMPLES = 4000
DIGITS = 6  # more than a table shows, so that nothing is rounded twice
BLOCK_CELLS = 4_000_000  # of the matrix of resampling weights that is held at once

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One hit, as the figures see it.

    ids: the messages that it cites, none where they are more than MAX_CITED. sessions: of those messages. tokens: of
    its text at CHARS_A_TOKEN. exact_tokens: by a tokenizer, where one was at hand.
    """

    ids: frozenset[str]
    sessions: frozenset[str] = frozenset()
    tokens: int = 1
    exact_tokens: int | None = None


def estimate_tokens(text: str) -> int:
    return max(1, len(text) // CHARS_A_TOKEN)


# One question


def score_question(
    hits: Sequence[Ranked], gold: frozenset[str], gold_sessions: frozenset[str] = frozenset()
) -> dict[str, float]:
    """Every figure of one question, from 0 to 1. What there is no evidence for (messages, sessions) is left out."""
    scores: dict[str, float] = {}
    if gold:
        scores |= _score_messages(hits, gold)
    if gold_sessions:
        scores |= _score_sessions(hits, gold_sessions)
    return scores


def _score_messages(hits: Sequence[Ranked], gold: frozenset[str]) -> dict[str, float]:
    ids = [hit.ids for hit in hits]
    scores = {f"recall@{k}": _share(ids[:k], gold) for k in DEPTHS}
    for budget in BUDGETS:
        fitting = num_fitting([hit.tokens for hit in hits], budget)
        scores[f"recall@{budget}t"] = _share(ids[:fitting], gold)
    exact = [hit.exact_tokens for hit in hits if hit.exact_tokens is not None]
    if len(exact) == len(hits):
        scores |= {f"recall@{n}tok": _share(ids[: num_fitting(exact, n)], gold) for n in BUDGETS}
    for k in DEPTHS:
        scores[f"any@{k}"] = float(scores[f"recall@{k}"] > 0)
        scores[f"all@{k}"] = float(scores[f"recall@{k}"] == 1)
    return scores | {"mrr": reciprocal_rank(ids, gold), f"ndcg@{NDCG_DEPTH}": ndcg(ids, gold, NDCG_DEPTH)}


def _score_sessions(hits: Sequence[Ranked], gold: frozenset[str]) -> dict[str, float]:
    """Sessions in the order of their best hit, each once: LongMemEval's session level."""
    ranked = [frozenset({name}) for name in dict.fromkeys(s for hit in hits for s in sorted(hit.sessions))]
    scores: dict[str, float] = {}
    for k in SESSION_DEPTHS:
        share = _share(ranked[:k], gold)
        scores |= {
            f"session_recall@{k}": share,
            f"session_any@{k}": float(share > 0),
            f"session_all@{k}": float(share == 1),
            f"session_ndcg@{k}": ndcg(ranked, gold, k),
        }
    return scores


def _share(found: Sequence[frozenset[str]], gold: frozenset[str]) -> float:
    return len(gold & frozenset[str]().union(*found)) / len(gold)


def num_fitting(tokens: Sequence[int], budget: int) -> int:
    """How many hits fit from the top: the first that does not fit ends it, as a context is filled."""
    return int(np.searchsorted(np.cumsum(tokens, dtype=np.int64), budget, side="right"))


def reciprocal_rank(found: Sequence[frozenset[str]], gold: frozenset[str]) -> float:
    """1 / rank of the first hit that cites any of the evidence; 0 where none does."""
    return next((1 / rank for rank, ids in enumerate(found, start=1) if ids & gold), 0.0)


def ndcg(found: Sequence[frozenset[str]], gold: frozenset[str], k: int) -> float:
    """The gain of a hit is the evidence that it cites first: what is cited again gains nothing.

    The ideal ranking has one piece a hit. A hit that cites two pieces can do better than that, so the ratio is
    cut at 1. Where each hit cites one message this is the usual binary nDCG (Järvelin and Kekäläinen, TOIS 2002).
    """
    gain, seen = 0.0, frozenset[str]()
    for rank, ids in enumerate(found[:k], start=1):
        fresh = (ids & gold) - seen
        gain += len(fresh) / math.log2(rank + 1)
        seen |= fresh
    return min(1.0, gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(gold)) + 1)))


# Many questions


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its bounds at CONFIDENCE. n: how many questions; p: two-sided, of a difference from 0."""

    mean: float
    low: float
    high: float
    n: int
    p: float | None = None

    def rounded(self) -> dict[str, Any]:
        shown: dict[str, Any] = {name: round(getattr(self, name), DIGITS) for name in ("mean", "low", "high")}
        return shown | {"n": self.n} | ({} if self.p is None else {"p": round(self.p, DIGITS)})


def bootstrap(values: Floats, clusters: Sequence[str], *, seed: int = 0, paired: bool = False) -> list[Interval]:
    """The mean of each column with its interval, by resampling whole clusters (conversations).

    values: (N, M), one row a question; NaN where a question has no such figure. clusters: N names; where all are the
    same the questions themselves are resampled. paired: the values are differences, and p is given.

    The interval is the expanded percentile interval, which widens the percentile interval as Student's t widens the
    normal one: with five conversations the plain one would be far too narrow. Source: Hesterberg, What Teachers Should
    Know About the Bootstrap, The American Statistician 2015, section 3.3; clusters: Field and Welsh, JRSS B 2007.
    Deterministic for a seed. Raises ValueError where clusters and rows differ in number.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(clusters) != len(values):
        raise ValueError(f"{len(clusters)} clusters for {len(values)} rows: there must be one for each")
    sums, counts = _cluster_sums(values, clusters)
    resampled = _resample(sums, counts, np.random.default_rng(seed))
    return [_interval(sums[:, m], counts[:, m], resampled[:, m], paired) for m in range(values.shape[1])]


def _cluster_sums(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """(G, M) sums and counts of what is not NaN; one cluster is taken apart into its questions."""
    names = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    member = np.array([names[name] for name in clusters], dtype=np.int64)
    if len(names) == 1:
        member = np.arange(len(values))
    num_clusters = int(member.max()) + 1 if len(member) else 0
    present = ~np.isnan(values)
    sums, counts = np.zeros((num_clusters, values.shape[1])), np.zeros((num_clusters, values.shape[1]))
    np.add.at(sums, member, np.where(present, values, 0.0))
    np.add.at(counts, member, present.astype(np.float64))
    return sums, counts


def _resample(sums: Floats, counts: Floats, rng: np.random.Generator) -> Floats:
    """(NUM_RESAMPLES, M) means over clusters that were drawn with replacement; NaN where none drawn has the figure."""
    num_clusters = len(sums)
    if not num_clusters:
        return np.empty((0, sums.shape[1]))
    block = max(1, BLOCK_CELLS // num_clusters)
    means = []
    for start in range(0, NUM_RESAMPLES, block):
        size = min(block, NUM_RESAMPLES - start)
        weights = rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=size).astype(np.float64)
        drawn = weights @ counts
        means.append(np.divide(weights @ sums, drawn, out=np.full_like(drawn, math.nan), where=drawn > 0))
    return np.concatenate(means)


def _interval(sums: Floats, counts: Floats, resampled: Floats, paired: bool) -> Interval:
    num_clusters, n = int((counts > 0).sum()), int(counts.sum())
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(sums.sum() / n)
    if num_clusters == 1:  # one question says nothing about others
        return Interval(mean, -1.0, 1.0, n, 1.0) if paired else Interval(mean, 0.0, 1.0, n)
    resampled = resampled[~np.isnan(resampled)]
    stretch = math.sqrt(num_clusters / (num_clusters - 1))
    tail = float(special.ndtr(stretch * special.stdtrit(num_clusters - 1, (1 - CONFIDENCE) / 2)))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    p = _p_value(resampled, num_clusters, stretch) if paired else None
    return Interval(mean, float(low), float(high), n, p)


def _p_value(resampled: Floats, num_clusters: int, stretch: float) -> float:
    """Where an interval would just touch 0: the interval above, turned round."""
    share = min((resampled <= 0).sum(), (resampled >= 0).sum()) + 1
    z = special.ndtri(min(0.5, share / (len(resampled) + 1)))
    return float(min(1.0, 2 * special.stdtr(num_clusters - 1, z / stretch)))


def compare(a: Floats, b: Floats, clusters: Sequence[str], *, seed: int = 0) -> list[Interval]:
    """b - a for each column, over the same questions: (N, M) each. The question's own difficulty cancels out."""
    return bootstrap(np.asarray(b) - np.asarray(a), clusters, seed=seed, paired=True)


def to_matrix(scores: Sequence[Mapping[str, float]], names: Sequence[str]) -> Floats:
    """(N, M) with NaN for what a question has not."""
    rows = [[score.get(name, math.nan) for name in names] for score in scores]
    return np.array(rows, dtype=np.float64).reshape(len(scores), len(names))


def percentile(values: Sequence[float], share: float) -> float | None:
    """By linear interpolation; None of nothing."""
    return float(np.quantile(np.asarray(values), share)) if len(values) else None


def metric_names(scores: Sequence[Mapping[str, float]]) -> list[str]:
    """All that any question has, in the order in which they are told."""
    return list(dict.fromkeys(name for score in scores for name in score))
