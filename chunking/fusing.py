"""Metadata into what is searched: prefixes before the text, weighted vectors of keywords, and mixtures.

Each of these can hurt: metadata may be wrong. So an enriched vector never stands alone: `mix` keeps the vector of the
text in it, and `agreement` tells which chunks' metadata speak of their own chunk rather than of others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .enrichment import Metadata
from .situating import base_vectors, situate, unit
from .types import Embed, Vectors

MAX_TAG_CHARS = 50  # of a compacted tag
MAX_CONTEXT_CHARS = 300
MAX_QUESTION_CHARS = 150
CONTENT_WEIGHT = 0.8  # w_c of the TF-IDF weighted vector; w_m is the rest
PREFIXED_WEIGHT = 0.5  # of the text's vector where the other is of the text with its prefix
TRUSTED_SHARE = 0.05  # of a document's chunks: metadata nearest to its own chunk among so many is trusted

Enrichment = Literal["none", "headers", "prefix", "tfidf", "situated"]
ENRICHMENTS: tuple[Enrichment, ...] = get_args(Enrichment)

_UNSAFE = re.compile(r"[\[\]{}<>|\\`]+")
_LOW = re.compile(r"[^\w]+")


# What is searched


def enriched_texts(texts: Sequence[str], metadata: Sequence[Metadata], kind: Enrichment) -> list[str]:
    """What is embedded beside each chunk's text itself."""
    change: dict[str, Callable[[str, Metadata], str]] = {"headers": headed, "prefix": prefixed}
    if kind not in change:
        return list(texts)
    return [change[kind](text, one) for text, one in zip(texts, metadata, strict=True)]


def searched_texts(texts: Sequence[str], metadata: Sequence[Metadata], kind: Enrichment) -> list[str]:
    """What stands for each chunk where words are searched: the text, and its header where it has one.

    Not the prefix: its words are mostly the chunk's own, and counting them twice cost 0.008 of BM25's recall.
    """
    return enriched_texts(texts, metadata, "headers") if kind == "headers" else list(texts)


def enriched_vectors(
    texts: Sequence[str], content: Vectors, metadata: Sequence[Metadata], kind: Enrichment, *, embed: Embed
) -> Vectors:
    """(N, D) unit: what stands for each chunk of one document where meaning is searched.

    content: (N, D) of the texts. Raises ValueError for a kind that is not one of ENRICHMENTS.
    """
    if kind not in ENRICHMENTS:
        raise ValueError(f"kind={kind!r} is not known: one of {', '.join(ENRICHMENTS)}")
    if kind == "none" or not len(content):
        return content
    if kind == "situated":
        return situate(base_vectors(texts, embed=embed), [0] * len(texts))
    if kind == "headers":  # titles are of many chunks, so they cannot be told to be of this one
        return mix(content, embed(enriched_texts(texts, metadata, kind)), content_weight=PREFIXED_WEIGHT)
    trusted = agreement(content, embed([described(one) for one in metadata]))
    if kind == "prefix":
        enriched = embed(enriched_texts(texts, metadata, kind))
        return mix(content, enriched, content_weight=PREFIXED_WEIGHT, trusted=trusted)
    keywords = keyword_vectors(metadata, embed, like=content)
    return mix(content, keywords, content_weight=CONTENT_WEIGHT, trusted=trusted)


# Prefixes


def prefixed(text: str, metadata: Metadata) -> str:
    """ "[Type: Table] [Context: ...] [Q: ...] " and the text. What is empty is left out.

    The tags' values hold no brackets and no line breaks, so none can end its tag, begin another, or pass for the text.
    """
    tags = [("Type", compact(metadata.type)), ("Context", inline(_context(metadata), MAX_CONTEXT_CHARS))]
    tags += [("Q", inline(question, MAX_QUESTION_CHARS)) for question in metadata.questions]
    shown = "".join(f"[{name}: {value}] " for name, value in tags if value)
    return f"{shown}{text}"


def _context(metadata: Metadata) -> str:
    return metadata.context or ", ".join(compact(term) for term, _ in metadata.keywords[:5])


def headed(text: str, metadata: Metadata) -> str:
    """The context (titles above the chunk, or a sentence that a model wrote) on a line of its own, then the text."""
    context = inline(metadata.context, MAX_CONTEXT_CHARS)
    return f"{context}\n\n{text}" if context else text


def compact(value: str) -> str:
    """A tag in CamelCase of letters and digits: "release notes" -> "ReleaseNotes". At most MAX_TAG_CHARS."""
    parts = [part for part in _LOW.split(_clean(value)) if part]
    return "".join(map(_capitalised, parts))[:MAX_TAG_CHARS]


def _capitalised(word: str) -> str:
    first = word[:1].upper()
    return (first if len(first) == 1 else word[:1]) + word[1:]  # some letters have no capital of one character


def inline(value: str, max_chars: int) -> str:
    """One line without brackets and control characters, cut at a word where there is one."""
    line = " ".join(_UNSAFE.sub(" ", _clean(value)).split())
    if len(line) <= max_chars:
        return line
    cut = line[:max_chars].rpartition(" ")[0] or line[:max_chars]
    return cut.rstrip()


def _clean(value: str) -> str:
    """NFKC folds full-width brackets into ours; controls, format characters and lone surrogates become spaces."""
    folded = unicodedata.normalize("NFKC", value)
    return "".join(" " if unicodedata.category(char)[0] == "C" else char for char in folded)


# Vectors


def keyword_vectors(metadata: Sequence[Metadata], embed: Embed, *, like: Vectors) -> Vectors:
    """(N, D) unit: sum of tfidf(t) e(t) over a chunk's keywords, normalised. Without keywords: its row of `like`.

    like: (N, D), the vectors of the chunks' texts. Each keyword is embedded once.
    """
    vocabulary = {term: i for i, term in enumerate(dict.fromkeys(t for one in metadata for t, _ in one.keywords))}
    if not vocabulary:
        return like
    vectors = embed(list(vocabulary))  # (V, D)
    found = np.array(like, dtype=np.float32)
    for i, one in enumerate(metadata):
        if one.keywords:
            weights = np.array([weight for _, weight in one.keywords], dtype=np.float32)
            found[i] = weights @ vectors[[vocabulary[term] for term, _ in one.keywords]]
    return unit(found)


def agreement(content: Vectors, described: Vectors, *, share: float = TRUSTED_SHARE) -> NDArray[np.bool_]:
    """(N,) whether a chunk's metadata speaks of this chunk: it is among the `share` of chunks nearest to it.

    content: (N, D) of the texts of one document; described: (N, D) of the metadata alone. Metadata that was moved to
    another chunk is nearer to the chunk that it came from, and to most of that one's like.
    Raises ValueError where share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} must be between 0 and 1")
    similarities = described @ content.T  # (N, N)
    own = np.diagonal(similarities)[:, None]
    ranks = (similarities > own).sum(axis=1)
    trusted: NDArray[np.bool_] = ranks < max(1, share * len(content))
    return trusted


def mix(
    content: Vectors,
    enriched: Vectors,
    *,
    content_weight: float = CONTENT_WEIGHT,
    trusted: NDArray[np.bool_] | None = None,
) -> Vectors:
    """(N, D) unit: norm(w_c * content + (1 - w_c) * enriched); where the metadata is not trusted, the content's own.

    Raises ValueError where the weight is not between 0 and 1.
    """
    if not 0 <= content_weight <= 1:
        raise ValueError(f"content_weight={content_weight} must be between 0 and 1")
    mixed = unit(content_weight * content + (1 - content_weight) * enriched)
    return mixed if trusted is None else np.where(trusted[:, None], mixed, content)


def described(metadata: Metadata) -> str:
    """The metadata alone as text, for `agreement`: what it says without the chunk."""
    words = [term for term, _ in metadata.keywords]
    parts = (metadata.context, metadata.summary, *metadata.questions, *metadata.entities, ", ".join(words))
    return inline(". ".join(part for part in parts if part), 4 * MAX_CONTEXT_CHARS)
