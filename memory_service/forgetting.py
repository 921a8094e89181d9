"""Deletions that run as events: of what a filter lets through, and of every trace of an entity.

A deletion by filter closes memories and keeps them with their history. The deletion of a user, agent, app or run
destroys, because that is what it is asked for; its own event stays, as the receipt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from .editing import close_by_request
from .filters import ENTITY_FIELDS, Filter, parse, to_message_q
from .ingest import claim, record_failure
from .locks import Kind, advisory_lock
from .models import (
    Embedding,
    Entity,
    EntityRecord,
    Event,
    EventStatus,
    ImportLine,
    Memory,
    MemoryEntity,
    MemoryExport,
    MemoryRevision,
    MemorySource,
    Message,
    Posting,
    Project,
    Scope,
    Session,
)
from .retrieval import find_scopes, memories_passing

DELETE_BATCH = 500
BUSY_PAUSE = timedelta(seconds=0.5)  # before a scope that a worker holds is tried again


def record_deletion(project: Project, *, raw_filter: Mapping[str, Any] | None, entity: dict[str, str] | None) -> Event:
    """One of: a filter, whose memories are closed; an entity, of which every trace is destroyed."""
    return Event.objects.create(
        project=project, type=Event.Type.DELETE, options={"filter": raw_filter, "entity": entity}
    )


def run_deletion(event_id: int) -> datetime | None:
    """Returns when to run it again, where a scope was busy or an error may pass; None where it is done or given up.

    Safe to run twice, and at once: one holds the lock, and what is gone already is not found again.
    """
    with advisory_lock(Kind.DELETION, event_id) as held:
        event = Event.objects.unfinished().select_related("project").filter(pk=event_id).first()
        if not held or event is None or not claim(event):
            return None
        try:
            return _run(event)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it must end in a row that a person can read
            if record_failure(event, exc) == EventStatus.PENDING:
                event.refresh_from_db(fields=["retry_at"])
                return event.retry_at
            return None


def _run(event: Event) -> datetime | None:
    entity = event.options.get("entity")
    scope_ids = (
        _scopes_of(event.project, entity["type"], entity["name"])
        if entity
        else find_scopes(event.project, parse(event.options["filter"]))
    )
    if entity:
        forget_records(event.project, entity["type"], entity["name"])
    busy = 0
    counts: dict[str, int] = event.results[0]["deleted"] if event.results else {}
    for scope_id in scope_ids:
        # Nobody may be turning messages of the scope into memories while they are looked for.
        with advisory_lock(Kind.SCOPE, scope_id) as held:
            if not held:
                busy += 1
                continue
            found = _delete_in_scope(event, scope_id)
        counts = {name: counts.get(name, 0) + number for name, number in found.items()}
    if busy:
        return _put_off(event, counts)
    _complete(event, counts)
    return None


def _delete_in_scope(event: Event, scope_id: int) -> dict[str, int]:
    entity = event.options.get("entity")
    if entity:
        return forget_in_scope(scope_id, entity["type"], entity["name"])
    node = parse(event.options["filter"])
    return {
        "memories": delete_matching(event.project, node, scope_id),
        "unprocessed_messages": withdraw_matching(event, node, scope_id),
    }


def _put_off(event: Event, counts: dict[str, int]) -> datetime:
    retry_at = timezone.now() + BUSY_PAUSE
    Event.objects.filter(pk=event.pk).update(
        status=EventStatus.PENDING,
        num_attempts=event.num_attempts - 1,
        results=[{"deleted": counts}],
        updated_at=timezone.now(),
    )
    return retry_at


def _complete(event: Event, counts: dict[str, int]) -> None:
    now = timezone.now()
    Event.objects.filter(pk=event.pk).update(
        status=EventStatus.SUCCEEDED, results=[{"deleted": counts}], error="", completed_at=now, updated_at=now
    )


def delete_matching(project: Project, node: Filter, scope_id: int) -> int:
    """Closes every live memory of the scope that the filter lets through, expired ones too. Returns how many."""
    num_deleted = 0
    while True:
        with transaction.atomic():
            matching = memories_passing(project, node, show_expired=True).filter(scope_id=scope_id).order_by("id")
            memories = list(matching.select_for_update(of=("self",))[:DELETE_BATCH])
            for memory in memories:
                close_by_request(memory)
        num_deleted += len(memories)
        if not memories:
            return num_deleted


def withdraw_matching(event: Event, node: Filter, scope_id: int) -> int:
    """Messages that were acknowledged before the deletion and are no memories yet shall become none."""
    condition = to_message_q(node)
    if condition is None:
        return 0
    earlier = Event.objects.without_memories().filter(scope_id=scope_id, pk__lt=event.pk).values("pk")
    waiting = Message.objects.filter(condition, event__in=earlier, withdrawn_at__isnull=True)
    ids = list(waiting.values_list("pk", flat=True))
    return Message.objects.filter(pk__in=ids).update(withdrawn_at=timezone.now())


# Entities


def _scopes_of(project: Project, kind: str, name: str) -> Sequence[int]:
    assert f"{kind}_id" in ENTITY_FIELDS  # the view checked
    column = "sessions__run_id" if kind == "run" else f"{kind}_id"
    return list(Scope.objects.filter(project=project, **{column: name}).values_list("pk", flat=True).distinct())


def forget_entity(project: Project, kind: str, name: str) -> dict[str, int]:
    """Destroys every row of a user, agent, app or run. Returns how many of each kind."""
    total: dict[str, int] = {}
    forget_records(project, kind, name)
    for scope_id in _scopes_of(project, kind, name):
        _add(total, forget_in_scope(scope_id, kind, name))
    return total


@transaction.atomic
def forget_in_scope(scope_id: int, kind: str, name: str) -> dict[str, int]:
    """The whole scope, or one run of it. What was exported of the scope goes too, and what is being imported of the
    entity: whoever writes an export waits for the memories, so they are looked for at the end."""
    counts = _forget_rows(scope_id, kind, name)
    counts["exports"] = MemoryExport.objects.filter(scope_ids__contains=[scope_id]).delete()[0]
    return counts


def _forget_rows(scope_id: int, kind: str, name: str) -> dict[str, int]:
    memories, sessions = Memory.objects.filter(scope=scope_id), Session.objects.filter(scope=scope_id)
    if kind == "run":
        _rehome(memories.filter(run_id=name), name)
        counts = _destroy(memories.filter(run_id=name), sessions.filter(run_id=name))
        Entity.objects.filter(scope=scope_id, memory_links__isnull=True).delete()
        Scope.objects.filter(pk=scope_id, sessions__isnull=True, memories__isnull=True).delete()
        return counts
    counts = _destroy(memories, sessions)
    Event.objects.filter(scope=scope_id).delete()
    Entity.objects.filter(scope=scope_id).delete()
    Scope.objects.filter(pk=scope_id).delete()
    return counts


def forget_scope(scope_id: int) -> dict[str, int]:
    """Destroys a whole scope, in transactions of bounded size: nobody may be left to see the half of it."""
    counts: dict[str, int] = {}
    for ids in _batches(Memory.objects.filter(scope=scope_id)):
        with transaction.atomic():
            _add(counts, _destroy(Memory.objects.filter(pk__in=ids), Session.objects.none()))
    for ids in _batches(Message.objects.filter(session__scope=scope_id)):
        with transaction.atomic():
            _raw_delete(MemorySource.objects.filter(message__in=ids))
            _raw_delete(Message.objects.filter(pk__in=ids))
        _add(counts, {"messages": len(ids)})
    for ids in _batches(Event.objects.filter(scope=scope_id)):
        Event.objects.filter(pk__in=ids).delete()
    _add(counts, forget_in_scope(scope_id, "scope", ""))
    return counts


def _batches(rows: Any) -> Iterator[list[int]]:
    """Ids of rows that are deleted before the next batch is asked for."""
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:DELETE_BATCH]):
        yield ids


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for what, number in more.items():
        counts[what] = counts.get(what, 0) + number


def forget_records(project: Project, kind: str, name: str) -> None:
    """What is kept of an entity outside its scopes: the record of it, and lines of files that are being imported."""
    EntityRecord.objects.filter(project=project, type=kind, name=name).delete()
    field = f"{kind}_id"
    named = Q(content__contains={field: name}) | Q(content__contains={"filters": {field: name}})
    # The job's own names are for lines that name nobody of that kind.
    named |= Q(**{f"job__defaults__{field}": name}) & ~Q(content__has_key=field)
    lines = ImportLine.objects.filter(named, job__project=project, content__isnull=False)
    lines.filter(status=ImportLine.Status.PENDING).update(
        content=None, status=ImportLine.Status.FAILED, error=f"{kind} {name!r} was deleted before this was imported"
    )
    lines.update(content=None)


def _rehome(memories: Any, run_id: str) -> None:
    """A fact that another run states too is that run's from now on."""
    elsewhere = MemorySource.objects.filter(memory__in=memories).exclude(message__session__run_id=run_id)
    for source in elsewhere.select_related("memory", "message__session").order_by("memory", "message"):
        memory, session = source.memory, source.message.session
        twin = Memory.objects.live().filter(scope=memory.scope_id, run_id=session.run_id, text_hash=memory.text_hash)
        if memory.run_id == run_id and not twin.exists():
            memory.session, memory.run_id = session, session.run_id
            memory.save(update_fields=["session", "run_id"])


def _destroy(memories: Any, sessions: Any) -> dict[str, int]:
    """Table by table, leaves first: Django's own cascade would read every row into memory."""
    ids = list(memories.values_list("pk", flat=True))
    session_ids = list(sessions.values_list("pk", flat=True))
    messages = Message.objects.filter(session__in=session_ids)
    events = list(messages.values_list("event_id", flat=True).distinct())
    counts = {"memories": len(ids), "messages": messages.count(), "sessions": len(session_ids)}
    for model in (Posting, Embedding, MemoryEntity, MemoryRevision, MemorySource):
        _raw_delete(model.objects.filter(memory__in=ids))
    _raw_delete(MemorySource.objects.filter(message__in=messages))
    Memory.objects.filter(replaced_by__in=ids).update(replaced_by=None)
    _raw_delete(Memory.objects.filter(pk__in=ids))
    _raw_delete(messages)
    Event.objects.filter(pk__in=events, messages__isnull=True).delete()
    _raw_delete(Session.objects.filter(pk__in=session_ids))
    return counts


def _raw_delete(rows: Any) -> None:
    rows._raw_delete(rows.db)
