"""How well chunks hold what answers a question: recall, precision, IoU and Precision-Omega on spans.

R is the union of a question's references (the excerpts that answer it), C the chunks that were retrieved for it:

    recall    = |R ∩ ∪C| / |R|
    precision = |R ∩ ∪C| / Σ|C|
    IoU       = |R ∩ ∪C| / (Σ|C| + |R \\ ∪C|)
    Omega     = |R ∩ ∪T| / |∪T ∪ R|, T: all chunks of the index that overlap R

What is retrieved twice counts twice in Σ|C|, so overlapping chunks pay for it in precision and IoU. Omega, the best
precision that a retriever could reach with these chunks, is by union. Spans are half-open, in characters here as in the
source's code (its report says tokens). Two differences from that code: a chunk that only touches a reference's edge
does not overlap it, and places come from the chunker, not from a search for the chunk's text.

Source: Smith and Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma 2024; chunking_evaluation,
base_evaluation.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean

from .types import Span

MAX_TOUCHING = 20  # chunks retrieved at most where their number follows the references; the source's


@dataclass(frozen=True, slots=True)
class ChunkScores:
    """Four shares, from 0 to 1: of one question, or the means over several."""

    recall: float
    precision: float
    iou: float
    precision_omega: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def union(spans: Iterable[Span]) -> list[Span]:
    """The same places as spans that are sorted and neither overlap nor touch. Empty spans are dropped.

    Raises ValueError for a span that ends before it starts.
    """
    merged: list[Span] = []
    for start, end in sorted(spans):
        if end < start:
            raise ValueError(f"span ({start}, {end}) ends before it starts")
        if start == end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def measure(spans: Iterable[Span]) -> int:
    """Characters in all; what is there twice counts twice."""
    return sum(end - start for start, end in spans)


def intersection(a: Sequence[Span], b: Sequence[Span]) -> list[Span]:
    """What two unions (see `union`) have in common, as a union."""
    common: list[Span] = []
    i = j = 0
    while i < len(a) and j < len(b):
        start, end = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < end:
            common.append((start, end))
        if a[i][1] <= b[j][1]:
            i += 1
        else:
            j += 1
    return common


def touching(references: Iterable[Span], chunks: Iterable[Span]) -> list[Span]:
    """The chunks that hold a character of a reference. One that only meets its edge does not."""
    wanted = union(references)
    return [
        (start, end)
        for start, end in chunks
        if any(start < until and begin < end for begin, until in wanted if begin < until) and start < end
    ]


def precision_omega(references: Iterable[Span], chunks: Iterable[Span]) -> float:
    """references, chunks: of one document; all its chunks, or those that overlap the references.

    Raises ValueError where there is no reference.
    """
    wanted = _references(references)
    held = union(touching(wanted, chunks))
    return measure(intersection(wanted, held)) / measure(union([*held, *wanted]))


def score(
    references: Iterable[Span], retrieved: Iterable[Span], chunks: Iterable[Span], *, num_foreign_chars: int = 0
) -> ChunkScores:
    """One question's figures.

    references, retrieved, chunks: places in the document that the question is about: what answers it, what was
    retrieved of it, all its chunks (or those that overlap the references). num_foreign_chars: what was retrieved of
    other documents of the index, in all. Nothing retrieved: recall, precision and IoU are 0.
    Raises ValueError where there is no reference.
    """
    wanted, retrieved = _references(references), list(retrieved)
    found = measure(intersection(wanted, union(retrieved)))
    total = measure(retrieved) + num_foreign_chars
    size = measure(wanted)
    return ChunkScores(
        recall=found / size,
        precision=found / total if total else 0.0,
        iou=found / (total + size - found),
        precision_omega=precision_omega(wanted, chunks),
    )


def mean(scores: Sequence[ChunkScores]) -> ChunkScores:
    """Over questions, each weighing the same. Raises ValueError of none."""
    if not scores:
        raise ValueError("there is no mean of no questions")
    return ChunkScores(*(fmean(getattr(one, field.name) for one in scores) for field in fields(ChunkScores)))


def _references(spans: Iterable[Span]) -> list[Span]:
    wanted = union(spans)
    if not wanted:
        raise ValueError("references hold no character: a question must have something that answers it")
    return wanted
