"""Writes what memories are found by: their postings and their vectors. Callers hold the transaction."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from .caches import forgettable
from .embedding import Vectors, serving_profile, to_literal
from .lexical import count_terms
from .models import Embedding, Memory, Posting

MAX_TF = 32_767  # a smallint's

# A memory's terms are asked for twice: for its length before it is saved, for its postings after.
_count_terms = forgettable(maxsize=1024)(count_terms)


def write_index(memories: Sequence[Memory], vectors: Vectors) -> None:
    """memories: saved, with num_terms set by `prepare`. vectors: (N, D), in the same order."""
    if memories:
        _write_postings(memories)
        _write_embeddings(memories, vectors)


def rewrite_index(memory: Memory, vectors: Vectors) -> None:
    """After the text changed."""
    Posting.objects.filter(memory=memory).delete()
    Embedding.objects.filter(memory=memory, profile=serving_profile()).delete()
    write_index([memory], vectors)


def prepare(memory: Memory) -> Memory:
    memory.num_terms = sum(_count_terms(memory.text).values())
    return memory


def _write_postings(memories: Sequence[Memory]) -> None:
    rows = [
        (memory.scope_id, term, memory.pk, min(tf, MAX_TF))
        for memory in memories
        for term, tf in _count_terms(memory.text).items()
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_service_posting (scope_id, term, memory_id, tf) "
            "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::smallint[])",
            columns,
        )


def _write_embeddings(memories: Sequence[Memory], vectors: Vectors) -> None:
    profile = serving_profile()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_service_embedding (profile_id, memory_id, scope_id, vector) "
            "SELECT %s, m, s, v::vector FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS t(m, s, v)",
            [
                profile.pk,
                [memory.pk for memory in memories],
                [memory.scope_id for memory in memories],
                [to_literal(vector) for vector in vectors],
            ],
        )
