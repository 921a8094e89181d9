"""Makes memories, and writes what they are found by: their postings and their vectors. Callers hold the transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from . import traits
from .caches import forgettable
from .embedding import Vectors, serving_profile, to_literal
from .lexical import count_terms
from .models import Embedding, Memory, Message, Posting, Scope, hash_text
from .models.memory import POSITIONS_PER_MESSAGE

MAX_TF = 32_767  # a smallint's

# A memory's terms are asked for twice: for its length before it is saved, for its postings after.
_count_terms = forgettable(maxsize=1024)(count_terms)


def new_memory(
    message: Message, scope: Scope, options: Mapping[str, Any], *, at: datetime, text: str, **fields: Any
) -> Memory:
    """A memory of what a message said, not saved. It repeats the names of its scope and session, so that a filter
    touches one table, and takes over what its add asked for.

    message: with its session. options: the event's. at: when we learn it. fields: the memory's own.
    """
    session = message.session
    return prepare(
        Memory(
            project_id=scope.project_id,
            scope=scope,
            session=session,
            user_id=scope.user_id,
            agent_id=scope.agent_id,
            app_id=scope.app_id,
            run_id=session.run_id,
            text=text,
            text_hash=hash_text(text),
            metadata=options.get("metadata") or {},
            immutable=bool(options.get("immutable")),
            expiration_date=options.get("expiration_date"),
            created_at=at,
            **fields,
        )
    )


def turn_position(message: Message, part: int) -> int:
    """Where a part of a message stands in its session, for neighbours."""
    return message.seq * POSITIONS_PER_MESSAGE + min(part, POSITIONS_PER_MESSAGE - 1)


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
    memory.traits = traits.of(memory.text, memory.speaker, is_turn=memory.kind == Memory.Kind.EPISODIC)
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
