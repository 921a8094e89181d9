"""A question -> chunks of documents, by the signals and the fusion that rank memories (signals.py, fusion.py).

A document is to its chunks what a session is to its turns: a chunk's neighbours stand before and after it, and all the
chunks of a document are one "session". So every signal is on the scale that it has for memories, the learned weights
make the same probability of it, and a chunk's score can be put beside a memory's. Signals that chunks do not have
(who said it, the kind of answer, the graph) are as for a memory that says nothing of it.

BM25 is exact over all chunks that the filter lets through: their terms and lengths are packed by chunking, so that a
question reads a few values for each document. Meaning is exact up to EXACT_LIMIT chunks, and through HNSW above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection, transaction
from django.db.models import F
from numpy.typing import NDArray

from . import fusion, questions, signals, traits
from .document_storage import PACKED_TERM
from .embedding import Vectors, embed_query, serving_profile, to_literal
from .errors import InvalidInput
from .filters import Filter, to_document_q
from .fusion import Fusion
from .models import Document, DocumentChunk, DocumentChunking, Project
from .search_cache import Documents
from .signals import Scores
from .windows import Windows

EXACT_LIMIT = 10_000  # chunks: below it their vectors are all compared
NUM_APPROXIMATE = 400  # candidates taken from each of HNSW and BM25 above it
HNSW_EF_SEARCH = 400
MAX_SCAN_TUPLES = 200_000  # of the index, before a selective filter gives up
SIMILARITY = np.dtype([("chunking", ">i8"), ("ordinal", ">i4"), ("value", ">f4")])

NOT_OF_DOCUMENTS = (
    "these filters ask what only memories have; documents are found by user_id, agent_id, app_id, run_id, "
    "created_at, updated_at and metadata: leave 'documents' out of include, or the other conditions out of filters"
)


@dataclass(frozen=True, slots=True)
class ChunkQuery:
    """before: documents that came later are left out. left_out: names of signals."""

    query: str
    filter: Filter
    top_k: int = 10
    threshold: float | None = None
    keyword_search: bool = True
    fusion: Fusion = "learned"
    before: datetime | None = None
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk, whose document it is here, and where it stands. pages: (first, last), where the format has pages."""

    pk: int
    public_id: UUID
    document: Document
    content_id: int
    passage_id: int
    ordinal: int
    start: int
    end: int
    num_tokens: int
    kind: str
    headings: tuple[str, ...]
    text: str
    score: float
    pages: tuple[int, int] | None = None
    breakdown: dict[str, float] = field(default_factory=dict)
    contributions: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """`Lease (p. 12)`: what a citation calls it."""
        name = self.document.title or self.document.filename or self.document.source or "document"
        if self.pages is None:
            return name
        first, last = self.pages
        return f"{name} (p. {first})" if first == last else f"{name} (p. {first}-{last})"


@dataclass(frozen=True, slots=True)
class Searched:
    """The chunks of the documents that a filter lets through; row = offset of the chunking + ordinal."""

    document_ids: list[int]
    chunking_ids: NDArray[np.int64]  # (C,) ascending
    offsets: NDArray[np.int64]  # (C + 1,)
    num_terms: Scores  # (N,)

    @property
    def size(self) -> int:
        return int(self.offsets[-1])

    def rows_of(self, chunking_ids: NDArray[np.int64], ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self.offsets[np.searchsorted(self.chunking_ids, chunking_ids)] + ordinals
        return rows

    def place_of(self, row: int) -> tuple[int, int, int]:
        """(document, chunking, ordinal)"""
        at = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self.document_ids[at], int(self.chunking_ids[at]), row - int(self.offsets[at])


def takes_documents(node: Filter) -> bool:
    """Whether the filter asks nothing that documents do not have."""
    return to_document_q(node) is not None


def find_chunks(project: Project, asked: ChunkQuery) -> list[FoundChunk]:
    """Best first. Raises InvalidInput for a filter that documents cannot be asked."""
    searched = load_searched(project, asked)
    if not searched.size:
        return []
    documents = _arranged(searched)
    question = questions.read(asked.query, documents.traits, speaker_aware=False)
    found = score(searched, documents, question, asked)
    weights = fusion.learned_weights(with_feedback=False)
    scores = fusion.fuse(found, asked.fusion, weights)
    common = sum((found[name] for name in found if "bm25" in name or "semantic" in name), np.zeros(searched.size))
    scores = np.where(common > 0, scores, 0.0)  # nothing in common: never returned
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    if asked.threshold is not None:
        order = order[scores[order] >= asked.threshold]
    added = weights.contributions(found) if asked.fusion == "learned" else {}
    rows = order[: asked.top_k].tolist()
    return load_chunks(
        searched,
        rows,
        [float(scores[row]) for row in rows],
        [{name: round(float(signal[row]), 4) for name, signal in found.items()} for row in rows],
        [{name: round(float(part[row]), 4) for name, part in added.items()} for row in rows],
    )


def visible(project: Project, node: Filter, *, before: datetime | None = None) -> Any:
    """The live documents that a filter lets through."""
    condition = to_document_q(node)
    if condition is None:
        raise InvalidInput(NOT_OF_DOCUMENTS)
    rows = Document.objects.in_project(project).live().annotate(said_at=F("created_at")).filter(condition)
    return rows if before is None else rows.filter(created_at__lte=before)


def load_searched(project: Project, asked: ChunkQuery) -> Searched:
    """A chunking that several of the documents share is searched once, as the first one's."""
    documents = visible(project, asked.filter, before=asked.before).order_by()
    rows = DocumentChunking.objects.filter(document__in=documents, state=DocumentChunking.State.SERVING)
    columns = ("chunking_id", "document_id", "chunking__num_chunks", "chunking__num_terms")
    first: dict[int, tuple[int, int, bytes]] = {}
    for chunking_id, *rest in rows.order_by("chunking_id", "document_id").values_list(*columns):
        first.setdefault(chunking_id, tuple(rest))
    sizes = [size for _, size, _ in first.values()]
    lengths = [np.frombuffer(packed, ">i4") for _, _, packed in first.values()]
    return Searched(
        [document_id for document_id, _, _ in first.values()],
        np.fromiter(first, np.int64, len(first)),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate(lengths).astype(np.float64) if lengths else np.zeros(0),
    )


def _arranged(searched: Searched) -> Documents:
    """As the signals want documents: in order, neighbours linked, one session for each chunking."""
    rows = np.arange(searched.size, dtype=np.int64)
    sizes = np.diff(searched.offsets)
    numbers = np.repeat(np.arange(np.count_nonzero(sizes)), sizes[sizes > 0])
    linked = numbers[1:] == numbers[:-1]
    return Documents(
        rows,
        searched.num_terms,
        np.zeros(searched.size, np.int64),
        linked,
        rows,
        traits.unpack(np.zeros(searched.size, np.int64)),
        numbers,
        int(np.count_nonzero(sizes)),
        Windows(linked),
    )


# Signals


def score(
    searched: Searched, documents: Documents, question: questions.Question, asked: ChunkQuery
) -> dict[str, Scores]:
    """(N,) for each signal."""
    weights = fusion.learned_weights(with_feedback=False).weights
    wanted = set(weights) if asked.fusion == "learned" else set(signals.BASIC)
    wanted -= asked.left_out
    uses_words = asked.keyword_search and any("bm25" in name or name == "coverage" for name in wanted)
    terms = question.content if uses_words else ()
    frequencies = load_frequencies(searched, terms)
    asking = replace(question, content=tuple(terms))
    words = signals.compute(documents, asking, frequencies, np.zeros(0), wanted=["bm25"])["bm25"]
    cosines = score_meaning(searched, embed_query(asked.query), words)
    names = [name for name in signals.NAMES if name in wanted]
    return signals.compute(documents, asking, frequencies, cosines, wanted=names)


def load_frequencies(searched: Searched, terms: Sequence[str]) -> dict[str, Scores]:
    """For each term that occurs, (N,) how often it stands in each chunk."""
    if not terms:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT term, chunking_id, packed FROM memory_service_chunkterm "
            "WHERE chunking_id = ANY(%s) AND term = ANY(%s)",
            [searched.chunking_ids.tolist(), list(terms)],
        )
        found = cursor.fetchall()
    frequencies: dict[str, Scores] = {}
    for term, chunking_id, packed in found:
        postings = np.frombuffer(packed, PACKED_TERM)
        if term not in frequencies:
            frequencies[term] = np.zeros(searched.size)
        start = searched.offsets[np.searchsorted(searched.chunking_ids, chunking_id)]
        frequencies[term][start + postings["ordinal"]] = postings["tf"]
    return frequencies


def score_meaning(searched: Searched, vector: Vectors, words: Scores) -> Scores:
    """(N,) cosines, negative ones as 0."""
    literal = to_literal(vector)
    cosines = np.zeros(searched.size)
    if searched.size <= EXACT_LIMIT:
        found = _similarities(literal, "c.chunking_id = ANY(%s) AND c.level = 0", [searched.chunking_ids.tolist()])
    else:
        rows = _candidates(searched, literal, words)
        places = [searched.place_of(int(row)) for row in rows]
        found = _similarities(
            literal,
            "(c.chunking_id, c.ordinal) IN (SELECT * FROM unnest(%s::bigint[], %s::int[]))",
            [[chunking for _, chunking, _ in places], [ordinal for _, _, ordinal in places]],
        )
    rows = searched.rows_of(found["chunking"].astype(np.int64), found["ordinal"].astype(np.int64))
    cosines[rows] = found["value"]
    return np.clip(cosines, 0.0, 1.0)


def _similarities(literal: str, condition: str, params: list[Any]) -> NDArray[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(int8send(c.chunking_id) || int4send(c.ordinal) || "
            "float4send((1 - (e.vector <=> %s::vector))::float4), ''::bytea) "
            "FROM memory_service_documentchunk c JOIN memory_service_passageembedding e "
            f"ON e.passage_id = c.passage_id AND e.profile_id = %s WHERE {condition}",
            [literal, serving_profile().pk, *params],
        )
        row = cursor.fetchone()
    return np.frombuffer((row[0] if row else None) or b"", SIMILARITY)


def _candidates(searched: Searched, literal: str, words: Scores) -> NDArray[np.int64]:
    """The nearest through the index, the best by words, and the neighbours of both."""
    near = _nearest(searched, literal)
    best = np.argsort(-words, kind="stable")[:NUM_APPROXIMATE]
    chosen = np.union1d(near, best[words[best] > 0])
    around = np.concatenate([chosen - 1, chosen, chosen + 1])
    return np.unique(np.clip(around, 0, searched.size - 1))


def _nearest(searched: Searched, literal: str) -> NDArray[np.int64]:
    """Through the profile's index, which is read on until enough rows pass (pgvector 0.8)."""
    profile = serving_profile()
    cast = f"vector({profile.dimensions})"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        cursor.execute(f"SET LOCAL hnsw.ef_search = {HNSW_EF_SEARCH}")
        cursor.execute(f"SET LOCAL hnsw.max_scan_tuples = {MAX_SCAN_TUPLES}")
        cursor.execute(
            "SELECT c.chunking_id, c.ordinal FROM memory_service_passageembedding e "
            "JOIN memory_service_documentchunk c ON c.passage_id = e.passage_id AND c.chunking_id = ANY(%s) "
            f"WHERE e.profile_id = {profile.pk} ORDER BY e.vector::{cast} <=> %s::{cast} LIMIT {NUM_APPROXIMATE}",
            [searched.chunking_ids.tolist(), literal],
        )
        found = np.array(cursor.fetchall(), np.int64).reshape(-1, 2)
    return searched.rows_of(found[:, 0], found[:, 1])


# Rows


def load_chunks(
    searched: Searched,
    rows: Sequence[int],
    scores: Sequence[float],
    breakdowns: Sequence[dict[str, float]],
    contributions: Sequence[dict[str, float]],
) -> list[FoundChunk]:
    """What was destroyed since it was found is left out."""
    places = [searched.place_of(row) for row in rows]
    documents = Document.objects.in_bulk([document for document, _, _ in places])
    chunks = _load_rows((chunking, ordinal) for _, chunking, ordinal in places)
    found = []
    for (document, chunking, ordinal), value, signals_, parts in zip(
        places, scores, breakdowns, contributions, strict=True
    ):
        row = chunks.get((chunking, ordinal))
        if row is not None and document in documents:
            found.append(_to_found(row, documents[document], value, signals_, parts))
    pages = load_pages([(one.content_id, one.start, one.end) for one in found])
    return [replace(one, pages=pages.get(i)) for i, one in enumerate(found)]


def _load_rows(places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], DocumentChunk]:
    wanted = list(places)
    chunkings, ordinals = [chunking for chunking, _ in wanted], [ordinal for _, ordinal in wanted]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id FROM unnest(%s::bigint[], %s::int[]) AS t(chunking, ordinal) "
            "JOIN memory_service_documentchunk c ON c.chunking_id = t.chunking AND c.ordinal = t.ordinal",
            [chunkings, ordinals],
        )
        ids = [row[0] for row in cursor.fetchall()]
    rows = DocumentChunk.objects.filter(pk__in=ids).select_related("passage")
    return {(row.chunking_id, row.ordinal): row for row in rows.annotate(content_id=F("chunking__content"))}


def _to_found(
    row: Any, document: Document, value: float, breakdown: dict[str, float], parts: dict[str, float]
) -> FoundChunk:
    return FoundChunk(
        pk=row.pk,
        public_id=row.public_id,
        document=document,
        content_id=row.content_id,
        passage_id=row.passage_id,
        ordinal=row.ordinal,
        start=row.start,
        end=row.end,
        num_tokens=row.num_tokens,
        kind=row.kind,
        headings=tuple(row.headings),
        text=row.passage.text,
        score=value,
        breakdown=breakdown,
        contributions=parts,
    )


def load_pages(spans: Sequence[tuple[int, int, int]]) -> Mapping[int, tuple[int, int]]:
    """(content, start, end) of each -> by its place in `spans`, (first, last) page; nothing for texts without pages."""
    if not spans:
        return {}
    contents, starts, ends = (list(column) for column in zip(*spans, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.i - 1, min(p.page), max(p.page) "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS t(content, s, e, i) "
            "JOIN memory_service_documentpage p ON p.content_id = t.content AND p.page IS NOT NULL "
            "AND p.start < t.e AND p.start + p.num_chars > t.s GROUP BY 1",
            [contents, starts, ends],
        )
        return {i: (first, last) for i, first, last in cursor.fetchall()}


def load_vectors(passage_ids: Sequence[int]) -> dict[int, Vectors]:
    """(D,) of each passage that has one, unit length."""
    profile = serving_profile()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT passage_id, vector_send(vector) FROM memory_service_passageembedding "
            "WHERE profile_id = %s AND passage_id = ANY(%s)",
            [profile.pk, list(passage_ids)],
        )
        found = {pk: np.frombuffer(packed, ">f4", offset=4).astype(np.float32) for pk, packed in cursor.fetchall()}
    return {pk: vector / max(float(np.linalg.norm(vector)), 1e-12) for pk, vector in found.items()}
