"""QChunker: several segmentations of one text, of which ChunkScore picks one; a review of what each chunk lacks.

The segmentations are those of other strategies, or of a language model that first writes an outline of what the text
answers and then cuts by it. Source: QChunker (arXiv 2603.*), whose models are trained for it; here any model is asked.

The review adds to a chunk what it takes for granted and the text says elsewhere. It is kept beside the chunk, whose
text stays the document's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .chunk_score import LAMBDA, ChunkScore, chunk_score
from .dynamic_merge import merge
from .ngram import NGramModel
from .pieces import check_float, check_int, check_sizes, join, sentence_pieces
from .segments import greedy_cuts
from .strategies import STRATEGIES, Models, split
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Choose, Chunk, Embed, Losses

Complete = Callable[[str], str]

NAME = "qchunker"
CANDIDATES = ("cluster_semantic", "semantic", "segmentation", "perplexity", "intents")
MAX_CANDIDATES = 8
LIKE_SIZE = 1.5  # how many times more or fewer chunks than the median's a segmentation may have to be compared
PART_SENTENCES = 80  # that a language model cuts at once
MAX_ADDED_CHARS = 600  # of a completion
MAX_CONTEXT_CHARS = 24_000  # of the document, shown for a review

OUTLINE_PROMPT = (
    "Read the text and write an outline of the questions that it answers, in its order: what moves it, what it "
    "assumes, how it proceeds, what it concludes, and which steps depend on which. One question a line.\n\n"
    "<text>\n{part}\n</text>"
)
SEGMENT_PROMPT = (
    "Here is a text in numbered sentences, and an outline of the questions that it answers. Cut it into chunks so that "
    "each answers a question of the outline whole and depends on no other. Answer with the numbers of the sentences "
    "that begin a chunk, as a JSON list of numbers, nothing else. Variant {variant}: aim at about {num} chunks.\n\n"
    "<outline>\n{outline}\n</outline>\n\n<sentences>\n{sentences}\n</sentences>"
)
REVIEW_PROMPT = (
    "A chunk was cut from a document and will be read alone. List what a reader of the chunk alone lacks to understand "
    "it (who is meant, what a term stands for, a premise) and which the document states in so many words elsewhere. "
    'Answer in JSON: {{"missing": [{{"what": "...", "quote": "the words of the document"}}]}}; an empty list if '
    "nothing is lacking.\n\n<document>\n{document}\n</document>\n\n<chunk>\n{chunk}\n</chunk>"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A segmentation, and what it is worth. compared: False where its number of chunks is too unlike the others'."""

    name: str
    chunks: list[Chunk]
    score: ChunkScore
    compared: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """what: the chunk lacks. quote: where the document says it; [start, end) of the document's characters."""

    what: str
    quote: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Review:
    """missing: verified to stand in the document, outside the chunk. completion: them in one text, "" for none."""

    missing: tuple[Missing, ...]

    @property
    def is_whole(self) -> bool:
        return not self.missing

    @property
    def completion(self) -> str:
        return " ".join(missing.quote for missing in self.missing)[:MAX_ADDED_CHARS]


def split_qchunker(
    text: str,
    *,
    embed: Embed,
    losses: Losses | None = None,
    choose: Choose | None = None,
    complete: Complete | None = None,
    tokenize: Tokenize | None = None,
    candidates: Sequence[str] | None = None,
    num_samples: int = 0,
    weight: float = LAMBDA,
    max_tokens: int = 300,
) -> list[Chunk]:
    """candidates: names of strategies; None takes all of CANDIDATES that there are. num_samples: segmentations by the
    language model's outline, besides. weight: lambda of ChunkScore."""
    _, max_tokens = check_sizes(0, max_tokens)
    models = Models(embed, tokenize, losses, choose, complete)
    if not text:
        return []
    weighed = weigh(text, models, candidates=candidates, num_samples=num_samples, weight=weight, max_tokens=max_tokens)
    return best(weighed).chunks


def weigh(
    text: str,
    models: Models,
    *,
    candidates: Sequence[str] | None = None,
    num_samples: int = 0,
    weight: float = LAMBDA,
    max_tokens: int = 300,
) -> list[Candidate]:
    """Every segmentation with its score. All are merged up to max_tokens first, so that they are of a like size.

    Raises ValueError for names that are not known, too many of them, samples without a language model, and a
    service without an embedder.
    """
    share = check_float("weight", weight, low=0.0, high=1.0)
    check_int("num_samples", num_samples, low=0, high=MAX_CANDIDATES)
    if models.embed is None:
        raise ValueError("ChunkScore needs embed")
    if num_samples and models.complete is None:
        raise ValueError(f"num_samples={num_samples} needs a language model: none is configured")
    document = tokenized(text, models.tokenize)
    found: dict[str, list[Chunk]] = {}
    for name in check_candidates(candidates):
        chunks = split(text, name, models=models, options={"max_tokens": max_tokens})
        found[name] = merge(document, chunks, max_tokens)
    if num_samples and models.complete:
        found.update(sampled(document, models.complete, num_samples, max_tokens))
    distinct = {tuple(chunk.span for chunk in chunks): name for name, chunks in reversed(found.items())}
    names = [name for name in found if name in distinct.values()]
    median = float(np.median([len(found[name]) for name in names])) if names else 0.0
    losses = models.losses or NGramModel()
    return [
        Candidate(
            name,
            found[name],
            chunk_score([chunk.text for chunk in found[name]], embed=models.embed, losses=losses, weight=share),
            median / LIKE_SIZE <= len(found[name]) <= median * LIKE_SIZE,
        )
        for name in names
        if found[name]
    ]


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The highest score among those that can be compared; among equals the first."""
    compared = [candidate for candidate in candidates if candidate.compared] or list(candidates)
    return max(compared, key=lambda candidate: candidate.score.score)


def check_candidates(candidates: object) -> list[str]:
    """Raises ValueError unless they are names of strategies, at most MAX_CANDIDATES and at least one."""
    if candidates is None:
        return [name for name in CANDIDATES if name in STRATEGIES]
    if not isinstance(candidates, list | tuple) or not 1 <= len(candidates) <= MAX_CANDIDATES:
        raise ValueError(f"candidates must be a list of 1 to {MAX_CANDIDATES} strategies")
    accepted = sorted(STRATEGIES.keys() - {NAME})
    for name in candidates:
        if not isinstance(name, str) or name not in accepted:
            raise ValueError(f"candidates: {name!r} must be one of {', '.join(accepted)}")
    return list(dict.fromkeys(candidates))


# Segmentations by a language model


def sampled(document: TokenizedText, complete: Complete, num_samples: int, max_tokens: int) -> dict[str, list[Chunk]]:
    """`num_samples` segmentations, guided by one outline; the samples aim at different numbers of chunks."""
    pieces = sentence_pieces(document, max_tokens)
    counts = document.count_spans(pieces).tolist()
    wanted = [[False] * max(0, len(pieces) - 1) for _ in range(num_samples)]
    for first in range(0, len(pieces), PART_SENTENCES):
        part = pieces[first : first + PART_SENTENCES]
        outline = complete(OUTLINE_PROMPT.format(part=document.text[part[0][0] : part[-1][1]].strip()))
        lines = "\n".join(f"{i}. {' '.join(document.text[a:b].split())}" for i, (a, b) in enumerate(part, 1))
        fewest = max(1, -(-sum(counts[first : first + len(part)]) // max_tokens))
        for sample in range(num_samples):
            prompt = SEGMENT_PROMPT.format(
                variant=sample + 1, num=fewest * (sample + 2) // 2, outline=outline.strip()[:4000], sentences=lines
            )
            for number in _numbers(complete(prompt), len(part)):
                if first + number - 1 > 0:
                    wanted[sample][first + number - 2] = True
    found: dict[str, list[Chunk]] = {}
    for sample, cuts in enumerate(wanted, 1):
        edges = greedy_cuts(counts, cuts, min_tokens=0, max_tokens=max_tokens)
        found[f"outline {sample}"] = document.chunks(join(pieces, edges))
    return found


def _numbers(answer: str, most: int) -> list[int]:
    """The list of numbers in a model's answer, through prose around it; what is out of range is left out."""
    match = re.search(r"\[[\d\s,]*\]", answer.rpartition("</think>")[2])
    return [n for n in map(int, re.findall(r"\d{1,6}", match.group())) if 1 <= n <= most] if match else []


# What a chunk lacks


def review(document: str, chunk: Chunk, complete: Complete) -> Review:
    """What the chunk takes for granted, by a language model.

    What is not word for word in the document, or stands in the chunk itself, is left out: what a model knows of its own
    is nothing that the document says.
    """
    shown = _around(document, chunk)
    answer = complete(REVIEW_PROMPT.format(document=shown, chunk=chunk.text.strip()))
    missing: list[Missing] = []
    for entry in _entries(answer):
        what, quote = entry.get("what"), entry.get("quote")
        place = _find(document, quote) if isinstance(quote, str) and isinstance(what, str) else None
        if place is None or (chunk.start <= place[0] and place[1] <= chunk.end):
            continue
        known = document[place[0] : place[1]]
        if known in chunk.text or any(known in other.quote for other in missing):
            continue
        missing.append(Missing(str(what).strip()[:MAX_ADDED_CHARS], known, *place))
    return Review(tuple(missing))


def _around(document: str, chunk: Chunk) -> str:
    """The document; of a long one its beginning, where names are introduced, and what stands near."""
    if len(document) <= MAX_CONTEXT_CHARS:
        return document
    half = MAX_CONTEXT_CHARS // 2
    start = max(half, chunk.start - half * 2 // 3)
    return f"{document[:half]}\n[...]\n{document[start : start + half]}"


def _entries(answer: str) -> list[Mapping[str, Any]]:
    match = re.search(r"\{.*\}", answer.rpartition("</think>")[2], re.DOTALL)
    try:
        found = json.loads(match.group(), strict=False).get("missing") if match else None
    except (ValueError, AttributeError, RecursionError):
        return []
    return [entry for entry in found if isinstance(entry, Mapping)][:20] if isinstance(found, list) else []


def _find(document: str, quote: str) -> tuple[int, int] | None:
    """Where the words of the quote stand, whatever white space is between them; None for under two words."""
    words = quote.split()
    if len(words) < 2 or len(quote) > MAX_ADDED_CHARS:
        return None
    match = re.search(r"\s+".join(map(re.escape, words)), document)
    return match.span() if match else None
