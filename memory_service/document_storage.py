"""Writes what documents are found by, and destroys it with the last document that has it.

A passage is what a chunk says. It is stored and embedded once in a project, so that an edit costs the vectors of the
chunks that changed, and a second document of the same text costs none.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from django.db import connection, transaction
from django.utils import timezone

from chunking.types import Chunk

from .embedding import Vectors, serving_profile, to_literal
from .lexical import count_terms
from .models import (
    Chunking,
    Document,
    DocumentChunk,
    DocumentContent,
    DocumentPage,
    Passage,
    ScopeChange,
    Webhook,
    WebhookDelivery,
)

ROWS = 2_000  # written by one statement
CONTENTS = 20  # destroyed in one transaction
MAX_TF = 32_767  # an int16's
STALE = timedelta(hours=1)
UNSEEN = "markup"  # of a chunk: scripts, styles and the like, see chunking/html.py
PACKED_TERM = np.dtype([("ordinal", ">i4"), ("tf", ">i2")])

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def hash_passage(context: str, text: str) -> str:
    return hashlib.sha256(f"{context}\x00{text}".encode("utf-8", "surrogatepass")).hexdigest()


def indexed_text(context: str, text: str) -> str:
    """What is embedded, and what words are looked up in."""
    return f"{context}\n{text}" if context else text


# Texts


def read_text(content: DocumentContent, start: int = 0, end: int | None = None) -> str:
    """text[start:end] of the whole."""
    end = content.num_chars if end is None else min(end, content.num_chars)
    rows = DocumentPage.objects.filter(content=content, start__lt=end).order_by("number")
    parts = []
    for at, size, text in rows.values_list("start", "num_chars", "text").iterator(chunk_size=50):
        if at + size > start:
            parts.append(text[max(0, start - at) : end - at])
    return "".join(parts)


# Chunks


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk as it is stored. context: words that are indexed before its text."""

    chunk: Chunk
    ordinal: int
    parent: int | None
    context: str = ""
    enrichment: Mapping[str, Any] | None = None

    @property
    def text_hash(self) -> str:
        return hash_passage(self.context, self.chunk.text)


def place(chunks: Sequence[Chunk]) -> list[Placed]:
    """Those that are searched first, then their parents; blank ones are left out, and what no reader sees."""
    kept = [i for i, chunk in enumerate(chunks) if chunk.text.strip() and chunk.kind != UNSEEN]
    order = sorted(kept, key=lambda i: (chunks[i].level > 0, chunks[i].start, i))
    ordinals = {i: ordinal for ordinal, i in enumerate(order)}
    parents = [chunks[i].parent for i in order]
    return [
        Placed(chunks[i], ordinals[i], None if parent is None else ordinals.get(parent))
        for i, parent in zip(order, parents, strict=True)
    ]


@transaction.atomic
def save_chunks(chunking: Chunking, placed: Sequence[Placed], project_id: int) -> None:
    """All of a chunking, or nothing: its chunks, their passages, its terms."""
    locked = Chunking.objects.select_for_update().filter(pk=chunking.pk, chunked_at__isnull=True).first()
    if locked is None:  # another was first, or its documents are gone
        return
    searched = [one for one in placed if one.chunk.level == 0]
    passages = _save_passages(project_id, searched)
    for batch in batched(placed, ROWS):
        DocumentChunk.objects.bulk_create(_to_row(chunking, one, passages) for one in batch)
    lengths = _save_terms(chunking, searched)
    Chunking.objects.filter(pk=chunking.pk).update(
        num_chunks=len(searched), num_terms=lengths, chunked_at=timezone.now()
    )
    chunking.refresh_from_db()


def _to_row(chunking: Chunking, one: Placed, passages: Mapping[str, int]) -> DocumentChunk:
    chunk = one.chunk
    return DocumentChunk(
        chunking=chunking,
        passage_id=passages[one.text_hash] if chunk.level == 0 else None,
        ordinal=one.ordinal,
        start=chunk.start,
        end=chunk.end,
        num_tokens=chunk.num_tokens,
        kind=chunk.kind[:30],
        headings=list(chunk.headings),
        level=chunk.level,
        parent=one.parent,
        enrichment=dict(one.enrichment) if one.enrichment is not None else None,
    )


def _save_passages(project_id: int, placed: Sequence[Placed]) -> dict[str, int]:
    """Text hash -> id. Locked against destruction. In the order of their hashes, so that no two writers wait for each
    other."""
    wanted = {one.text_hash: one for one in placed}
    found: dict[str, int] = {}
    with connection.cursor() as cursor:
        for hashes in batched(sorted(wanted), ROWS):
            rows = [wanted[one] for one in hashes]
            cursor.execute(
                "INSERT INTO memory_service_passage (project_id, text_hash, context, text) "
                "SELECT %s, h, c, t FROM unnest(%s::text[], %s::text[], %s::text[]) AS p(h, c, t) "
                "ON CONFLICT (project_id, text_hash) DO NOTHING",
                [project_id, hashes, [one.context for one in rows], [one.chunk.text for one in rows]],
            )
            cursor.execute(
                "SELECT text_hash, id FROM memory_service_passage WHERE project_id = %s AND text_hash = ANY(%s) "
                "ORDER BY text_hash FOR KEY SHARE",
                [project_id, hashes],
            )
            found.update(cursor.fetchall())
    return found


def _save_terms(chunking: Chunking, placed: Sequence[Placed]) -> bytes:
    """Returns how many terms each chunk has, packed."""
    ordinals: dict[str, array[int]] = {}
    frequencies: dict[str, array[int]] = {}
    lengths = np.zeros(len(placed), ">i4")
    for one in placed:  # in the order of their ordinals
        counts = count_terms(indexed_text(one.context, one.chunk.text))
        lengths[one.ordinal] = sum(counts.values())
        for term, tf in counts.items():
            ordinals.setdefault(term, array("i")).append(one.ordinal)
            frequencies.setdefault(term, array("h")).append(min(tf, MAX_TF))
    with connection.cursor() as cursor:
        for terms in batched(sorted(ordinals), ROWS):
            packed = [_packed(ordinals[term], frequencies[term]) for term in terms]
            cursor.execute(
                "INSERT INTO memory_service_chunkterm (chunking_id, term, packed) "
                "SELECT %s, t, p FROM unnest(%s::text[], %s::bytea[]) AS x(t, p)",
                [chunking.pk, terms, packed],
            )
    return lengths.tobytes()


def _packed(ordinals: array[int], frequencies: array[int]) -> bytes:
    rows = np.empty(len(ordinals), PACKED_TERM)
    rows["ordinal"], rows["tf"] = ordinals, frequencies
    return rows.tobytes()


# Vectors


def passages_without_vector(chunking: Chunking) -> list[int]:
    """Ids, each once, of the passages that the serving profile has no vector of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT c.passage_id FROM memory_service_documentchunk c "
            "LEFT JOIN memory_service_passageembedding e ON e.passage_id = c.passage_id AND e.profile_id = %s "
            "WHERE c.chunking_id = %s AND c.passage_id IS NOT NULL AND e.id IS NULL ORDER BY 1",
            [serving_profile().pk, chunking.pk],
        )
        return [row[0] for row in cursor.fetchall()]


def load_passages(ids: Sequence[int]) -> list[tuple[int, str]]:
    """(id, what is to be embedded)"""
    rows = Passage.objects.filter(pk__in=ids).order_by("pk").values_list("pk", "context", "text")
    return [(pk, indexed_text(context, text)) for pk, context, text in rows]


def save_vectors(ids: Sequence[int], vectors: Vectors) -> None:
    """One that is there already stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_service_passageembedding (profile_id, passage_id, vector) "
            "SELECT %s, p, v::vector FROM unnest(%s::bigint[], %s::text[]) AS t(p, v) "
            "ON CONFLICT (profile_id, passage_id) DO NOTHING",
            [serving_profile().pk, list(ids), [to_literal(vector) for vector in vectors]],
        )


# Telling


def note_change(scope_id: int) -> None:
    """The scope's version rises: what a process keeps of the scope is out of date (models/change.py)."""
    ScopeChange.objects.create(scope_id=scope_id)


def tell_webhooks(document: Document, event_type: str) -> None:
    """In the transaction that changes the document. A failure is told by the database itself (migration 0013)."""
    hooks = Webhook.objects.filter(
        project=document.project_id, is_active=True, event_types__contains=[event_type]
    ).values_list("pk", flat=True)
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook_id=pk, memory_public_id=document.public_id, event_type=event_type) for pk in hooks
    )


# Destroying


def destroy_orphans(project_id: int) -> dict[str, int]:
    """Contents that no document has or had, with all that was made of them. Returns how many of each kind."""
    counts: dict[str, int] = {}
    while True:
        with transaction.atomic():
            gone = _destroy_batch(project_id)
        if not gone:
            return counts
        for name, number in gone.items():
            counts[name] = counts.get(name, 0) + number


def destroy_stale_orphans() -> None:
    """Those that a request left behind which ended between keeping the bytes and recording the document."""
    before = timezone.now() - STALE
    rows = DocumentContent.objects.filter(versions=None, documents=None, created_at__lt=before)
    for project_id in rows.values_list("project_id", flat=True).distinct():
        destroy_orphans(project_id)


def _destroy_batch(project_id: int) -> dict[str, int]:
    """Locked first, and looked at again under the lock: whoever takes a content up locks it too."""
    unused = (
        "SELECT c.id FROM memory_service_documentcontent c WHERE c.project_id = %s "
        "AND NOT EXISTS (SELECT 1 FROM memory_service_documentversion v WHERE v.content_id = c.id) "
        "AND NOT EXISTS (SELECT 1 FROM memory_service_document d WHERE d.content_id = c.id)"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"{unused} ORDER BY c.id LIMIT {CONTENTS} FOR UPDATE OF c", [project_id])
        locked = [row[0] for row in cursor.fetchall()]
        if not locked:
            return {}
        cursor.execute(f"{unused} AND c.id = ANY(%s)", [project_id, locked])
        ids = [row[0] for row in cursor.fetchall()]
        return _destroy(cursor, ids)


def _destroy(cursor: Any, content_ids: list[int]) -> dict[str, int]:
    mine = "chunking_id IN (SELECT id FROM memory_service_chunking WHERE content_id = ANY(%s))"
    cursor.execute(f"DELETE FROM memory_service_chunkterm WHERE {mine}", [content_ids])
    cursor.execute(
        f"WITH gone AS (DELETE FROM memory_service_documentchunk WHERE {mine} RETURNING passage_id) "
        "SELECT DISTINCT passage_id FROM gone WHERE passage_id IS NOT NULL ORDER BY 1",
        [content_ids],
    )
    passages = [row[0] for row in cursor.fetchall()]
    cursor.execute("SELECT id FROM memory_service_passage WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [passages])
    cursor.execute(
        "SELECT p.id FROM memory_service_passage p WHERE p.id = ANY(%s) AND NOT EXISTS "
        "(SELECT 1 FROM memory_service_documentchunk c WHERE c.passage_id = p.id)",
        [passages],
    )
    unused = [row[0] for row in cursor.fetchall()]
    cursor.execute("DELETE FROM memory_service_passageembedding WHERE passage_id = ANY(%s)", [unused])
    cursor.execute("DELETE FROM memory_service_passage WHERE id = ANY(%s)", [unused])
    for table in ("chunking", "documentpage", "documentblob"):
        cursor.execute(f"DELETE FROM memory_service_{table} WHERE content_id = ANY(%s)", [content_ids])
    cursor.execute("DELETE FROM memory_service_documentcontent WHERE id = ANY(%s)", [content_ids])
    return {"document_contents": len(content_ids), "passages": len(unused)} if content_ids else {}
