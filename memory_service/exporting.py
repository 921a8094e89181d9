"""What is remembered, to take away: in the shape of a schema (a job), or whole, with its history (a stream).

A structured export holds text of its own, so it ends: after EXPORT_DAYS, or when anybody whose memories are in it is
forgotten. The whole export is written while it is read, and kept nowhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from . import structuring
from .errors import Conflict, InvalidInput, LLMMalformed, LLMUnavailable, NotFound, ServiceError
from .filters import Filter, names_an_entity, parse, to_q
from .ingest import backoff_s
from .llm import LLMConfig, complete_structured
from .locks import Kind, advisory_lock
from .models import (
    CompletionUsage,
    JobStatus,
    Memory,
    MemoryEntity,
    MemoryExport,
    MemoryRevision,
    MemorySource,
    MemoryState,
    Project,
)
from .models.platform import UNFINISHED
from .project_llm import llm_config, project_policy
from .prompts.export import Structured, export_prompt
from .retrieval import memories_passing
from .structuring import Fact, Filled
from .validation import check_text

logger = logging.getLogger(__name__)

MAX_MEMORIES = 5_000  # looked at for a structured export, newest first
MAX_PROMPT_CHARS = 48_000  # of memories shown to a language model
MAX_INSTRUCTIONS_CHARS = 10_000
MAX_ATTEMPTS = 4
MAX_LLM_ATTEMPTS = 3
STALE = timedelta(seconds=60)
BATCH = 200  # memories read at a time by a whole export
FORMAT, FORMAT_VERSION = "memory-service-export", 1
STATES = {
    "active": MemoryState.LIVE,
    "superseded": MemoryState.SUPERSEDED,
    "deleted": MemoryState.DELETED,
}
DEFAULT_STATES = ("active", "superseded")


# In the shape of a schema


def create_export(project: Project, *, schema: Any, filters: Any, instructions: Any) -> MemoryExport:
    """Raises InvalidInput for what is no schema, no filter, or a filter that names nobody."""
    node = parse(filters)
    if not names_an_entity(node):
        raise InvalidInput(
            "filters must name whose memories to export by one of user_id, agent_id, app_id, run_id; '*' stands for all"
        )
    if instructions is not None and not isinstance(instructions, str):
        raise InvalidInput("export_instructions must be a string")
    if instructions and len(instructions) > MAX_INSTRUCTIONS_CHARS:
        raise InvalidInput(f"export_instructions is over {MAX_INSTRUCTIONS_CHARS} characters")
    return MemoryExport.objects.create(
        project=project,
        schema=structuring.read_schema(schema),
        filters=filters,
        instructions=check_text(instructions or "", name="export_instructions"),
    )


def find_export(project: Project, public_id: Any) -> MemoryExport:
    """Raises NotFound for what is not in the project, or was removed."""
    found = MemoryExport.objects.filter(project=project, public_id=_uuid(public_id)).first()
    if found is None:
        raise NotFound(f"export {public_id} was not found in this project; exports are kept for a week")
    return found


def find_latest(project: Project, filters: Any) -> MemoryExport:
    """The newest with exactly this filter."""
    parse(filters)
    found = MemoryExport.objects.filter(project=project, filters=filters).order_by("-id").first()
    if found is None:
        raise NotFound("no export with these filters was found in this project; POST /v1/exports/ makes one")
    return found


def _uuid(value: Any) -> UUID:
    try:
        return UUID(str(value))
    except ValueError as exc:
        raise InvalidInput(f"memory_export_id={str(value)[:80]!r} is not an export's id") from exc


def data_of(export: MemoryExport) -> Any:
    """Raises Conflict where it failed; the caller has seen that it is over."""
    if export.status == JobStatus.FAILED:
        raise Conflict(f"export {export.public_id} failed: {export.error}. Create it again to retry")
    return export.data


def unfinished_exports(*, stale: bool = False) -> Any:
    rows = MemoryExport.objects.filter(status__in=UNFINISHED)
    return rows.filter(updated_at__lt=timezone.now() - STALE) if stale else rows


def run_export(export_id: int) -> datetime | None:
    """Returns when to try again, where that may help. Safe to run twice, and at once."""
    with advisory_lock(Kind.EXPORT, export_id) as held:
        export = unfinished_exports().select_related("project").filter(pk=export_id).first()
        if not held or export is None or export.project.deleted_at is not None:
            return None
        export.num_attempts += 1
        rows = MemoryExport.objects.filter(pk=export.pk)
        rows.update(status=JobStatus.RUNNING, num_attempts=export.num_attempts, updated_at=timezone.now())
        try:
            return None if _run(export) else timezone.now()
        except Exception as exc:
            logger.warning("export %s: %s", export.public_id, exc, exc_info=not isinstance(exc, ServiceError))
            now = timezone.now()
            permanent = isinstance(exc, ServiceError) and exc.permanent
            if permanent or export.num_attempts >= MAX_ATTEMPTS:
                error = str(exc) or type(exc).__name__
                rows.update(status=JobStatus.FAILED, error=error, completed_at=now, updated_at=now)
                return None
            rows.update(status=JobStatus.PENDING, error=str(exc), updated_at=now)
            return now + timedelta(seconds=backoff_s(export.num_attempts, exc))


def _run(export: MemoryExport) -> bool:
    """False where something of what was read was forgotten before it could be written."""
    passing = memories_passing(export.project, parse(export.filters)).order_by("-said_at", "-id")
    memories = list(passing[: MAX_MEMORIES + 1])
    notes = []
    if len(memories) > MAX_MEMORIES:
        notes.append(f"only the newest {MAX_MEMORIES} memories were looked at")
        memories = memories[:MAX_MEMORIES]
    filled = structure(export, memories)
    return _write(export, memories, filled, [*notes, *filled.notes])


def structure(export: MemoryExport, memories: Sequence[Memory]) -> Filled:
    """By the project's language model where it has one, else by what is written."""
    node = structuring.build(export.schema)
    facts = [_to_fact(memory) for memory in memories]
    config = llm_config() if project_policy(export.project) != "local" else None
    if config is None or not facts:
        return structuring.fill(node, facts)
    try:
        return _ask_llm(config, export, node, facts)
    except ServiceError as exc:
        if isinstance(exc, LLMUnavailable) and export.num_attempts < MAX_LLM_ATTEMPTS:
            raise
        _record_usage(export, exc.usage if isinstance(exc, LLMMalformed) else ())
        filled = structuring.fill(node, facts)
        filled.notes.append(f"The language model gave no usable answer ({exc}); filled without it.")
        return filled


def _to_fact(memory: Memory) -> Fact:
    return Fact(
        id=str(memory.public_id),
        text=memory.text,
        said_at=memory.said_at,
        subject=memory.subject,
        attribute=memory.attribute,
        value=memory.value,
        categories=tuple(memory.categories),
        metadata=memory.metadata,
    )


def _ask_llm(config: LLMConfig, export: MemoryExport, node: structuring.Node, facts: Sequence[Fact]) -> Filled:
    shown: list[Fact] = []
    num_chars = 0
    # Facts say more in fewer words than what was said.
    for fact in sorted(facts, key=lambda one: one.attribute is None):
        num_chars += len(fact.text)
        if num_chars > MAX_PROMPT_CHARS and shown:
            break
        shown.append(fact)
    shown.sort(key=lambda one: one.said_at, reverse=True)
    texts = [f"({fact.said_at:%Y-%m-%d}) {fact.text}" for fact in shown]
    messages = export_prompt(export.schema, texts, instructions=export.instructions)
    answer, usage = complete_structured(config, messages, Structured, purpose="export")
    _record_usage(export, usage)
    filled = structuring.check(node, answer.data, shown)
    for name, numbers in answer.sources.items():
        ids = [shown[i - 1].id for i in numbers if 0 < i <= len(shown)]
        if ids and isinstance(filled.data, dict) and filled.data.get(name) not in (None, []):
            filled.sources[f"/{name}"] = ids
    if len(shown) < len(facts):
        filled.notes.append(f"the model was shown {len(shown)} of {len(facts)} memories")
    return filled


def _record_usage(export: MemoryExport, usage: Sequence[Any]) -> None:
    CompletionUsage.objects.bulk_create(
        CompletionUsage(
            project_id=export.project_id,
            model=one.model[:200],
            purpose=one.purpose,
            prompt_tokens=one.prompt_tokens,
            completion_tokens=one.completion_tokens,
            latency_ms=one.latency_ms,
            cost_usd=one.cost_usd,
        )
        for one in usage
    )


@transaction.atomic
def _write(export: MemoryExport, memories: Sequence[Memory], filled: Filled, notes: Sequence[str]) -> bool:
    """The memories are locked until the export stands: whoever forgets them waits for it, and then finds it."""
    ids = [memory.pk for memory in memories]
    locked = Memory.objects.filter(pk__in=ids).order_by("pk").select_for_update(of=("self",), no_key=True)
    rows = MemoryExport.objects.filter(pk=export.pk)
    now = timezone.now()
    if len(list(locked.values_list("pk", flat=True))) < len(ids):
        rows.update(status=JobStatus.PENDING, num_attempts=export.num_attempts - 1, updated_at=now)
        return False
    rows.update(
        status=JobStatus.SUCCEEDED,
        data=filled.data,
        sources=filled.sources,
        notes=list(notes),
        scope_ids=sorted({memory.scope_id for memory in memories}),
        num_memories=len(memories),
        error="",
        completed_at=now,
        updated_at=now,
    )
    return True


def drop_expired_exports() -> int:
    return MemoryExport.objects.filter(expires_at__lt=timezone.now()).delete()[0]


# Whole, with its history


def read_states(value: Any) -> list[MemoryState]:
    asked = DEFAULT_STATES if value is None else value
    known = isinstance(asked, list | tuple) and all(isinstance(one, str) and one in STATES for one in asked)
    if not known or not asked:
        raise InvalidInput(f"states must be a non-empty list of {', '.join(STATES)}")
    return [STATES[one] for one in asked]


def exported(project: Project, node: Filter, states: Sequence[MemoryState]) -> Any:
    """The memories of a whole export, in the order they were written; those past their expiration date too."""
    return Memory.objects.in_project(project).filter(to_q(node), state__in=states).order_by("id")


def export_lines(project: Project, node: Filter, states: Sequence[MemoryState]) -> Iterator[str]:
    """JSON, one object a line: a header, a memory each, and an end that counts them. Without the end it is cut."""
    header = {
        "type": "header",
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "project_id": str(project.public_id),
        "exported_at": timezone.now().isoformat(),
    }
    yield _line(header)
    number = 0
    for memory in export_rows(exported(project, node, states)):
        number += 1
        yield _line({"type": "memory", **memory})
    yield _line({"type": "end", "memories": number})


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def export_rows(memories: Any) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        batch = list(memories.filter(pk__gt=after)[:BATCH].select_related("session", "replaced_by"))
        if not batch:
            return
        yield from render_batch(batch)
        after = batch[-1].pk


def export_page(
    project: Project, memories: Any, *, after: Any, page_size: int
) -> tuple[list[dict[str, Any]], str | None]:
    """memories: from `exported`. after: the id of the last memory of the page before.

    Returns the page, and what to ask the next one with.
    """
    if after is not None:
        mine = Memory.objects.in_project(project).filter(public_id=_cursor(after))
        last = mine.values_list("pk", flat=True).first()
        if last is None:
            raise NotFound(f"cursor {after} is not the id of a memory: it was forgotten meanwhile; begin again")
        memories = memories.filter(pk__gt=last)
    rows = list(memories[: page_size + 1].select_related("session", "replaced_by"))
    page = rows[:page_size]
    return render_batch(page), str(page[-1].public_id) if len(rows) > page_size else None


def _cursor(value: Any) -> UUID:
    try:
        return UUID(str(value))
    except ValueError as exc:
        raise InvalidInput(f"cursor={str(value)[:80]!r} is not what an export answered as next_cursor") from exc


def render_batch(memories: Sequence[Memory]) -> list[dict[str, Any]]:
    ids = [memory.pk for memory in memories]
    history = _grouped(MemoryRevision.objects.filter(memory__in=ids).order_by("id"))
    sources = _grouped(
        MemorySource.objects.filter(memory__in=ids).select_related("message__session").order_by("message", "start")
    )
    entities = _grouped(MemoryEntity.objects.filter(memory__in=ids).select_related("entity").order_by("id"))
    return [
        _render(memory, history.get(memory.pk, []), sources.get(memory.pk, []), entities.get(memory.pk, []))
        for memory in memories
    ]


def _grouped(rows: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.memory_id, []).append(row)
    return found


STATE_NAMES = {state: name for name, state in STATES.items()}


def _render(
    memory: Memory, history: Sequence[MemoryRevision], sources: Sequence[MemorySource], entities: Sequence[MemoryEntity]
) -> dict[str, Any]:
    return {
        "id": str(memory.public_id),
        "memory": memory.text,
        "hash": memory.text_hash,
        "user_id": memory.user_id,
        "agent_id": memory.agent_id,
        "app_id": memory.app_id,
        "run_id": memory.run_id,
        "kind": memory.kind,
        "lifecycle_state": STATE_NAMES[MemoryState(memory.state)],
        "subject": memory.subject,
        "attribute": memory.attribute,
        "value": memory.value,
        "confidence": memory.confidence,
        "speaker": memory.speaker,
        "entities": [{"name": one.entity.name, "type": one.entity.type} for one in entities],
        "metadata": memory.metadata,
        "categories": memory.categories,
        "immutable": memory.immutable,
        "expiration_date": memory.expiration_date.isoformat() if memory.expiration_date else None,
        "feedback": memory.feedback,
        "feedback_reason": memory.feedback_reason,
        "created_at": _iso(memory.said_at),
        "updated_at": _iso(memory.updated_at),
        "recorded_at": _iso(memory.created_at),
        "valid_at": _iso(memory.valid_at),
        "invalid_at": _iso(memory.invalid_at),
        "expired_at": _iso(memory.expired_at),
        "replaced_by": str(memory.replaced_by.public_id) if memory.replaced_by else None,
        "history": [_render_revision(one) for one in history],
        "sources": [_render_source(one) for one in sources],
    }


def _render_revision(one: MemoryRevision) -> dict[str, Any]:
    return {
        "event": one.operation,
        "old_memory": one.old_text,
        "new_memory": one.new_text,
        "reason": one.reason,
        "policy": one.policy,
        "metadata": one.metadata,
        "categories": one.categories,
        "created_at": _iso(one.created_at),
    }


def _render_source(one: MemorySource) -> dict[str, Any]:
    message = one.message
    return {
        "message_id": message.client_id or str(message.public_id),
        "session_id": str(message.session.public_id),
        "run_id": message.session.run_id,
        "role": message.role,
        "name": message.name,
        "content": message.content,
        "start": one.start,
        "end": one.end,
        "created_at": _iso(message.said_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
