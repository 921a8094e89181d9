"""Rows -> the protocol's JSON. `+` in the contract's words marks what is ours beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from memory_service.document_search import FoundChunk
from memory_service.models import Event, Memory, MemoryRevision, MemoryState, Message, Session
from memory_service.refining import Refinement
from memory_service.retrieval import Hit, SearchRequest, Source, load_sources

MEMORY_FIELDS = (
    "id",
    "memory",
    "user_id",
    "agent_id",
    "app_id",
    "run_id",
    "session_id",
    "hash",
    "metadata",
    "categories",
    "structured_attributes",
    "expiration_date",
    "replaced_by",
    "linked_memory_ids",
    "synthesized",
    "lifecycle_state",
    "created_at",
    "updated_at",
    "recorded_at",
    "immutable",
    "kind",
    "valid_at",
    "invalid_at",
    "feedback",
    "sources",
)
CHUNK_FIELDS = (
    *("type", "document_id", "title", "source", "start", "end", "page_start", "page_end", "headings"),
    "num_tokens",
)
HIT_FIELDS = (*MEMORY_FIELDS, *CHUNK_FIELDS, "score", "score_breakdown", "score_contributions", "focus")

LIFECYCLE = {
    MemoryState.LIVE.value: "active",
    MemoryState.SUPERSEDED.value: "superseded",
    MemoryState.DELETED.value: "deleted",
    MemoryState.QUARANTINED.value: "quarantined",
}


def iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def render_memories(memories: Sequence[Memory], fields: set[str] | None = None) -> list[dict[str, Any]]:
    sources = load_sources([memory.pk for memory in memories])
    linked = load_linked(memories)
    return [
        pick(render_memory(memory, sources.get(memory.pk, []), linked.get(memory.pk, [])), fields)
        for memory in memories
    ]


def load_linked(memories: Iterable[Memory]) -> dict[int, list[str]]:
    """For each memory, the ids of those it superseded."""
    found: dict[Any, list[str]] = {}
    rows = Memory.objects.filter(replaced_by__in=[memory.pk for memory in memories]).order_by("id")
    for replaced_by, public_id in rows.values_list("replaced_by", "public_id"):
        found.setdefault(replaced_by, []).append(str(public_id))
    return found


def pick(rendered: dict[str, Any], fields: set[str] | None) -> dict[str, Any]:
    return rendered if fields is None else {k: v for k, v in rendered.items() if k in fields}


def render_memory(memory: Any, sources: Sequence[Source], linked: Sequence[str]) -> dict[str, Any]:
    """memory: from `for_rendering`."""
    return {
        "id": str(memory.public_id),
        "memory": memory.text,
        "user_id": memory.user_id,
        "agent_id": memory.agent_id,
        "app_id": memory.app_id,
        "run_id": memory.run_id,
        "session_id": memory.run_id or _str(memory.session_name),
        "hash": memory.text_hash,
        "metadata": memory.metadata or None,
        "categories": memory.categories,
        "structured_attributes": render_time_parts(memory.said_at),
        "expiration_date": memory.expiration_date.isoformat() if memory.expiration_date else None,
        "replaced_by": _str(memory.replaced_by_name),
        "linked_memory_ids": list(linked),
        "synthesized": False,
        "lifecycle_state": LIFECYCLE[memory.state],
        "created_at": iso(memory.said_at),
        "updated_at": iso(memory.updated_at),
        "recorded_at": iso(memory.created_at),
        "immutable": memory.immutable,
        "kind": memory.kind,
        "valid_at": iso(memory.valid_at),
        "invalid_at": iso(memory.invalid_at),
        "feedback": memory.feedback,
        "sources": [render_source(source) for source in sources],
    }


def _str(value: Any) -> str | None:
    return None if value is None else str(value)


def render_source(source: Source) -> dict[str, Any]:
    return {
        "message_id": source.name,
        "session_id": str(source.session),
        "run_id": source.run_id,
        "created_at": iso(source.said_at),
    }


def render_time_parts(moment: datetime) -> dict[str, Any]:
    return {
        "year": moment.year,
        "month": moment.month,
        "day": moment.day,
        "hour": moment.hour,
        "minute": moment.minute,
        "quarter": (moment.month - 1) // 3 + 1,
        "is_weekend": moment.weekday() >= 5,
        "day_of_week": moment.strftime("%A").lower(),
        "day_of_year": moment.timetuple().tm_yday,
        "week_of_year": moment.isocalendar().week,
    }


def render_hits(
    hits: Sequence[Hit], *, explain: bool, fields: set[str] | None, typed: bool = False
) -> list[dict[str, Any]]:
    """typed: each says whether it is a memory or a chunk of a document."""
    linked = load_linked(hit.memory for hit in hits if hit.memory)
    rendered = [_render_hit(hit, linked, explain) for hit in hits]
    if typed:
        rendered = [{"type": "memory", **one} for one in rendered]
    return [pick(one, fields and (fields | {"type"} if typed else fields)) for one in rendered]


def _render_hit(hit: Hit, linked: dict[int, list[str]], explain: bool) -> dict[str, Any]:
    if hit.memory is not None:
        rendered = render_memory(hit.memory, hit.sources, linked.get(hit.memory.pk, []))
    elif hit.chunk is not None:
        rendered = render_chunk(hit.chunk)
    else:
        assert hit.message is not None  # a hit is one of the three
        rendered = render_pending(hit.message)
    rendered["score"] = round(hit.score, 4)
    if hit.sentences:
        text = rendered["memory"]
        rendered["focus"] = [
            {"text": text[s.start : s.end], "start": s.start, "end": s.end, "score": round(s.score, 4)}
            for s in hit.sentences
        ]
    if explain:
        rendered["score_breakdown"] = hit.breakdown
        if hit.contributions:
            rendered["score_contributions"] = hit.contributions
    return rendered


def render_chunk(chunk: FoundChunk) -> dict[str, Any]:
    """A chunk of a document among memories: `memory` is its text, so that whoever reads memories can read it."""
    document = chunk.document
    return {
        "id": str(chunk.public_id),
        "type": "document_chunk",
        "memory": chunk.text,
        "document_id": str(document.public_id),
        "title": document.title or None,
        "source": document.source or None,
        "start": chunk.start,
        "end": chunk.end,
        "page_start": chunk.pages[0] if chunk.pages else None,
        "page_end": chunk.pages[1] if chunk.pages else None,
        "headings": list(chunk.headings),
        "num_tokens": chunk.num_tokens,
        "kind": chunk.kind or None,
        "user_id": document.user_id,
        "agent_id": document.agent_id,
        "app_id": document.app_id,
        "run_id": document.run_id,
        "metadata": document.metadata or None,
        "created_at": iso(document.created_at),
        "updated_at": iso(document.updated_at),
    }


def render_refinement(asked: SearchRequest) -> dict[str, Any]:
    """For explain: what refining and expansion did, where they were asked for."""
    answer: dict[str, Any] = {}
    if asked.trace is None:
        return answer
    if asked.refine != Refinement():
        fates = [asdict(fate) for fate in asked.trace.fates]
        answer["refinement"] = {
            "stages": asked.trace.stages,
            "candidates": [{"id": fate.pop("name"), **fate} for fate in fates],
            "notes": asked.trace.notes,
        }
    if asked.trace.expansion is not None:
        answer["expansion"] = asdict(asked.trace.expansion)
    return answer


def as_source(message: Message) -> Source:
    session = message.session
    name = message.client_id or str(message.public_id)
    return Source(0, message.pk, name, session.public_id, session.run_id, message.said_at)


def render_pending(message: Message) -> dict[str, Any]:
    """A message that is accepted but not processed yet, in the shape of a memory."""
    scope = message.session.scope
    text = f"{message.name}: {message.content}" if message.name else message.content
    return {
        "id": str(message.public_id),
        "memory": text,
        "user_id": scope.user_id,
        "agent_id": scope.agent_id,
        "app_id": scope.app_id,
        "run_id": message.session.run_id,
        "session_id": message.session.run_id or str(message.session.public_id),
        "hash": None,
        "metadata": message.event.options.get("metadata") or None,
        "categories": [],
        "structured_attributes": render_time_parts(message.said_at),
        "expiration_date": None,
        "replaced_by": None,
        "linked_memory_ids": [],
        "synthesized": False,
        "lifecycle_state": "pending",
        "created_at": iso(message.said_at),
        "updated_at": iso(message.said_at),
        "recorded_at": iso(message.created_at),
        "immutable": False,
        "kind": "episodic",
        "valid_at": iso(message.said_at),
        "invalid_at": None,
        "feedback": None,
        "sources": [render_source(as_source(message))],
    }


def render_history(memory: Memory) -> list[dict[str, Any]]:
    revisions = list(memory.revisions.order_by("id"))
    ids = {message_id for revision in revisions for message_id in revision.message_ids}
    messages = Message.objects.in_bulk(ids)
    return [_render_revision(memory, revision, messages) for revision in revisions]


def _render_revision(memory: Memory, revision: MemoryRevision, messages: dict[int, Message]) -> dict[str, Any]:
    said = [messages[i] for i in dict.fromkeys(revision.message_ids) if i in messages]
    return {
        "id": str(revision.public_id),
        "memory_id": str(memory.public_id),
        "input": [{"role": m.role, "content": m.content, **({"name": m.name} if m.name else {})} for m in said],
        "old_memory": revision.old_text,
        "new_memory": revision.new_text,
        "event": revision.operation,
        "categories": revision.categories,
        "metadata": revision.metadata or None,
        "user_id": memory.user_id,
        "agent_id": memory.agent_id,
        "app_id": memory.app_id,
        "run_id": memory.run_id,
        "created_at": iso(revision.created_at),
        "updated_at": iso(revision.created_at),
        "reason": revision.reason,
        "policy": revision.policy,
    }


def render_event(event: Event) -> dict[str, Any]:
    latency_ms = None
    if event.completed_at:
        latency_ms = round(1000 * (event.completed_at - event.created_at).total_seconds(), 1)
    return {
        "id": str(event.public_id),
        "event_type": event.type,
        "status": event.status,
        "payload": {k: v for k, v in event.options.items() if v not in (None, {}, "")},
        "metadata": event.options.get("metadata") or {},
        "results": event.results,
        "notes": event.notes,
        "error": event.error or None,
        "num_attempts": event.num_attempts,
        "graph_status": None,
        "created_at": iso(event.created_at),
        "updated_at": iso(event.updated_at),
        "started_at": iso(event.started_at),
        "completed_at": iso(event.completed_at),
        "latency": latency_ms,
    }


def render_usage(event: Event) -> list[dict[str, Any]]:
    return [
        {
            "model": usage.model,
            "purpose": usage.purpose,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "latency_ms": round(usage.latency_ms, 1),
            "cost_usd": float(usage.cost_usd) if usage.cost_usd is not None else None,
        }
        for usage in event.usage.order_by("id")
    ]


def render_session(session: Session) -> dict[str, Any]:
    return {
        "id": str(session.public_id),
        "run_id": session.run_id,
        "user_id": session.scope.user_id,
        "agent_id": session.scope.agent_id,
        "app_id": session.scope.app_id,
        "num_messages": session.num_messages,
        "summary": session.summary or None,
        "created_at": iso(session.created_at),
        "first_message_at": iso(session.first_said_at),
        "last_message_at": iso(session.last_said_at),
    }


def render_message(message: Message) -> dict[str, Any]:
    return {
        "id": message.client_id or str(message.public_id),
        "message_id": str(message.public_id),
        "role": message.role,
        "name": message.name,
        "content": message.content,
        "created_at": iso(message.said_at),
        "recorded_at": iso(message.created_at),
        "event_id": str(message.event.public_id),
    }
