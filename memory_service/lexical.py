"""BM25 over stems: how text becomes terms, and how postings become scores.

The postings are rows of a table (models.Posting), so that the words of a memory are written in the transaction that
writes the memory. The scores are computed over the documents that a search may return, with document frequencies and
mean length taken over just those: a true BM25 of the scope, whatever else the database holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

from .caches import forgettable

BM25_K1, BM25_B = 1.2, 0.75  # Robertson and Zaragoza, 2009: k1 in 1.2-2.0, b = 0.75
MAX_TERM_CHARS = 64

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
INNER_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # camelCase, HTTPServer, v2
# Thai, Lao, Myanmar, Khmer and their neighbours, kana, Han: written without spaces between words.
UNSPACED_RUN = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007\u3041-\u3096\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff"
    "\U00020000-\U0003ffff]+)"
)
ARABIC_FORMS = str.maketrans({"\u0643": "\u06a9", "\u064a": "\u06cc", "\u200c": " ", "\u2019": "'"})

STOP_WORDS = frozenset(
    """a about am an and any are as at be been being but by can could did do does doing for from had has have
    having he her hers him his how i if in into is it its just me my of on or our ours out over she should so some
    such than that the their theirs them then there these they this those to too up us very was we were what when
    where which while who whom whose why will with would you your yours i'm i've i'll i'd it's that's he's she's
    we're they're you're don't didn't doesn't isn't wasn't aren't can't won't let's there's what's""".split()  # noqa: SIM905
)

_stemmer = snowballstemmer.stemmer("english")


@forgettable(maxsize=200_000)
def stem(word: str) -> str:
    return str(_stemmer.stemWord(word))[:MAX_TERM_CHARS]


def terms(text: str) -> list[str]:
    """Stems in order, without stop words; identifiers also give their parts.

    Scripts without spaces between words give overlapping pairs of characters, so that a word is found inside a run.
    """
    text = unicodedata.normalize("NFKC", text).translate(ARABIC_FORMS)
    if text.isascii() or not UNSPACED_RUN.search(text):
        return _spaced_terms(text)
    found: list[str] = []
    for index, piece in enumerate(UNSPACED_RUN.split(text)):  # every second piece is a run
        found.extend(_pairs(piece) if index % 2 else _spaced_terms(piece))
    return found


def _spaced_terms(text: str) -> list[str]:
    found: list[str] = []
    for match in WORD.finditer(text):
        word = match.group().removesuffix("'s")
        lower = word.lower()
        if match.group().lower() in STOP_WORDS or lower in STOP_WORDS:
            continue
        found.append(stem(lower))
        if not (lower == word or word.istitle() or "'" in word):
            parts = [part.lower() for part in INNER_WORD.findall(word)]
            if len(parts) > 1:
                found.extend(stem(part) for part in parts if part not in STOP_WORDS)
    return found


def _pairs(run: str) -> list[str]:
    """Neighbouring characters of a run; of one character, itself. Vowel and tone marks are left out."""
    chars = "".join(filter(str.isalnum, run))
    return [chars[i : i + 2] for i in range(max(len(chars) - 1, min(len(chars), 1)))]


def count_terms(text: str) -> Counter[str]:
    return Counter(terms(text))


def bm25(
    postings: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]],
    lengths: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Scores of every document for one query.

    postings: for each query term, (rows, tf): the documents (as rows of `lengths`) that hold it and how often.
    lengths: (N,) terms in each document. Returns (N,). Source: Robertson et al., Okapi at TREC-3, 1994, with the
    idf of Lucene, which is never negative.
    """
    num_docs = len(lengths)
    scores = np.zeros(num_docs)
    if num_docs == 0:
        return scores
    norm = BM25_K1 * (1 - BM25_B + BM25_B * lengths / max(lengths.mean(), 1e-9))  # (N,)
    for rows, tf in postings:
        scores[rows] += idf(len(rows), num_docs) * tf * (BM25_K1 + 1) / (tf + norm[rows])
    return scores


def idf(document_frequency: int, num_docs: int) -> float:
    """Lucene's: never negative."""
    return float(np.log1p((num_docs - document_frequency + 0.5) / (document_frequency + 0.5)))
