"""What speaks for each document as the answer to a question: one array for each signal, on a scale from 0 to 1.

Pure numpy, over the documents that a filter lets through, in the order of sessions and turns. "Around" and "before"
are counted in turns of one session; a document that is no turn (a fact) stands alone there.

    bm25, semantic                    the words and the meaning of the text itself
    neighbour_bm25, neighbour_semantic   of the text with one turn on each side
    around_bm25, around_semantic      with three turns on each side
    before_bm25                       with the two turns before it: what it answers
    session_bm25, session_semantic    of its whole session: all its words; its best text
    coverage                          the share of the question's words, by idf, within two turns on each side
    speaker                           1: said by whom the question names; 0: by somebody else; 0.5: it names nobody
    answer_kind                       it names a time where the question asks when, a number where it asks how many
    length                            the logarithm of its length in terms
    pseudo_feedback                   bm25 of the terms that stand out in the best texts of a first pass
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import lexical
from .questions import Question
from .search_cache import Documents
from .windows import Totals

Scores = NDArray[np.float64]
Frequencies = Mapping[str, Scores]  # of each term that occurs, (N,) how often it stands in each document

BASIC = ("bm25", "semantic", "neighbour_bm25", "neighbour_semantic")
NAMES = (
    *BASIC, "around_bm25", "around_semantic", "before_bm25", "session_bm25", "session_semantic", "coverage", "speaker",
    "answer_kind", "length",
)  # fmt: skip
LONGEST_TERMS = 256  # a text of so many terms or more has length 1

NUM_FEEDBACK_TEXTS, NUM_FEEDBACK_CANDIDATES, NUM_FEEDBACK_TERMS = 8, 40, 10


def compute(
    documents: Documents, question: Question, frequencies: Frequencies, cosines: Scores, *, wanted: Sequence[str]
) -> dict[str, Scores]:
    """(N,) for each wanted signal, but for `pseudo_feedback`, which needs a first pass.

    frequencies: of the question's content terms at least. cosines: (N,), 0 to 1.
    """
    size = len(documents.ids)
    if not size:
        return {name: np.zeros(0) for name in wanted}
    windows, lengths = documents.windows, documents.num_terms
    seen = [frequencies[term] for term in question.content if term in frequencies]
    num_unseen = len(question.content) - len(seen)
    matrix = np.zeros((size, max(1, len(seen))), np.float32)  # (N, T)
    for column, frequency in enumerate(seen):
        matrix[:, column] = frequency

    @cache
    def totals(name: str) -> Totals:
        values: dict[str, NDArray[Any]] = {"tf": matrix, "length": lengths, "cosine": cosines}
        return Totals(values[name] if name in values else (matrix > 0).astype(np.float32), windows)

    def words(before: int, after: int) -> Scores:
        return bm25_share(totals("tf").sum(before, after), totals("length").sum(before, after), num_unseen)

    def meaning(reach: int) -> Scores:
        low, high = windows.bounds(reach, reach)
        return np.asarray(np.maximum(totals("cosine").sum(reach, reach), 0.0) / (high - low))

    makers: dict[str, Callable[[], Scores]] = {
        "bm25": lambda: bm25_share(matrix, lengths, num_unseen),
        "neighbour_bm25": lambda: words(1, 1),
        "around_bm25": lambda: words(3, 3),
        "before_bm25": lambda: words(2, 0),
        "session_bm25": lambda: _session_words(documents, matrix, num_unseen),
        "coverage": lambda: _coverage(totals("held").sum(2, 2), matrix, num_unseen),
        "semantic": lambda: cosines,
        "neighbour_semantic": lambda: meaning(1),
        "around_semantic": lambda: meaning(3),
        "session_semantic": lambda: _session_best(documents, cosines),
        "speaker": lambda: _speaker(documents, question),
        "answer_kind": lambda: _answer_kind(documents, question),
        "length": lambda: np.minimum(1.0, np.log1p(lengths) / np.log1p(LONGEST_TERMS)),
    }
    return {name: makers[name]() for name in wanted if name in makers}


def bm25_share(frequencies: NDArray[np.float32], lengths: Scores, num_unseen: int = 0) -> Scores:
    """BM25 as a share of what a text of mean length with each query term once would score; at most 1.

    frequencies: (N, T). lengths: (N,). num_unseen: query terms that no text holds; they count in the divisor.
    """
    idfs, best = _idfs(frequencies, num_unseen)
    norm = lexical.BM25_K1 * (1 - lexical.BM25_B + lexical.BM25_B * lengths / max(lengths.mean(), 1e-9))
    parts = frequencies / (frequencies + norm.astype(np.float32)[:, None])
    return np.asarray(np.minimum((parts @ idfs).astype(np.float64) * ((lexical.BM25_K1 + 1) / best), 1.0))


def _idfs(frequencies: NDArray[np.float32], num_unseen: int) -> tuple[NDArray[np.float32], float]:
    """((T,) of each term, their sum with those of the unseen)"""
    size = len(frequencies)
    idfs = [lexical.idf(int(count), size) for count in np.count_nonzero(frequencies, axis=0)]
    return np.array(idfs, np.float32), sum(idfs) + num_unseen * lexical.idf(0, size)


def _session_words(documents: Documents, matrix: NDArray[np.float32], num_unseen: int) -> Scores:
    """The session as one text."""
    session, count = documents.session, documents.num_sessions
    begins = np.searchsorted(session, np.arange(count))
    summed = np.add.reduceat(matrix, begins, axis=0)
    lengths = np.add.reduceat(documents.num_terms, begins)
    return np.asarray(bm25_share(summed, lengths, num_unseen)[session])


def _session_best(documents: Documents, values: Scores) -> Scores:
    begins = np.searchsorted(documents.session, np.arange(documents.num_sessions))
    return np.asarray(np.maximum.reduceat(values, begins)[documents.session])


def _coverage(near: NDArray[np.float32], matrix: NDArray[np.float32], num_unseen: int) -> Scores:
    """near: (N, T) in how many texts near by each term stands."""
    idfs, best = _idfs(matrix, num_unseen)
    return np.asarray(((near > 0) @ idfs).astype(np.float64) / best)


def _speaker(documents: Documents, question: Question) -> Scores:
    traits = documents.traits
    if not question.names_speaker:
        return np.full(len(documents.ids), 0.5)
    named = np.isin(traits.name, list(question.speakers)) | np.isin(traits.first_name, list(question.first_names))
    present = np.unique(traits.name[named])
    if len(present) != 1:  # of two it says nothing who of them is to have said it
        return np.full(len(documents.ids), 0.5)
    return np.where(traits.name == 0, 0.5, named.astype(np.float64))


def _answer_kind(documents: Documents, question: Question) -> Scores:
    fits = np.zeros(len(documents.ids))
    if question.asks_when:
        fits = np.maximum(fits, documents.traits.names_time)
    if question.asks_number:
        fits = np.maximum(fits, documents.traits.names_number)
    return fits


def feedback_candidates(
    texts: Sequence[Mapping[str, int]], weights: Sequence[float], *, known: set[str]
) -> dict[str, float]:
    """Terms of the best texts of a first pass, with how much of them they are (the relevance model RM1: Lavrenko and
    Croft, SIGIR 2001); the NUM_FEEDBACK_CANDIDATES first.

    texts: term -> tf. weights: of each text, how surely it answers. known: terms of the question.
    """
    found: dict[str, float] = {}
    total = sum(weights) or 1.0
    for text, weight in zip(texts, weights, strict=True):
        length = max(3, sum(text.values()))
        for term, tf in text.items():
            if term not in known:
                found[term] = found.get(term, 0.0) + weight / total * tf / length
    best = sorted(found, key=lambda term: (-found[term], term))[:NUM_FEEDBACK_CANDIDATES]
    return {term: found[term] for term in best}


def feedback(documents: Documents, candidates: Mapping[str, float], frequencies: Frequencies) -> Scores:
    """BM25 of the candidates that stand out most, by their share times their idf. A term of one document finds nothing
    else, and is none of them. frequencies: of the candidates."""
    size = len(documents.ids)
    counts = {term: int((tf > 0).sum()) for term, tf in frequencies.items()}
    worth = {t: candidates[t] * lexical.idf(count, size) for t, count in counts.items() if count >= 2}
    chosen = sorted(worth, key=lambda term: (-worth[term], term))[:NUM_FEEDBACK_TERMS]
    if not chosen:
        return np.zeros(size)
    matrix = np.stack([frequencies[term] for term in chosen], axis=1).astype(np.float32)
    return bm25_share(matrix, documents.num_terms)
