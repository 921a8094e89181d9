"""Changes by request: update, delete, feedback, and the forgetting of an entity.

What a person or an agent changed by hand is theirs: an update or a deletion closes or rewrites the memory with a
revision that says so. Only the deletion of an entity destroys, because that is what it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from .consolidation import close, replace_text
from .embedding import embed_texts
from .errors import Conflict, NotFound
from .filters import ENTITY_FIELDS, Filter, parse
from .models import (
    Embedding,
    Entity,
    Event,
    EventStatus,
    Memory,
    MemoryEntity,
    MemoryRevision,
    MemorySource,
    MemoryState,
    Message,
    Posting,
    Project,
    Scope,
    Session,
    hash_text,
)
from .retrieval import memories_passing

POLICY = "request"  # in revisions: nobody decided but the caller
DELETE_BATCH = 500


class Unset:
    """Told apart from None, which clears."""


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Change:
    """What to change of a memory; what is UNSET stays."""

    text: str | Unset = UNSET
    metadata: dict[str, Any] | Unset = UNSET
    said_at: datetime | Unset = UNSET
    expiration_date: date | Unset | None = UNSET


def find_memory(project: Project, public_id: Any, *, lock: bool = False) -> Memory:
    """Raises NotFound for what is not in the project, is deleted, or is in quarantine."""
    shown = [MemoryState.LIVE, MemoryState.SUPERSEDED]
    memories = Memory.objects.in_project(project).filter(public_id=public_id, state__in=shown)
    memory = (memories.select_for_update() if lock else memories).first()
    if memory is None:
        raise NotFound(f"memory {public_id} was not found in this project")
    return memory


@transaction.atomic
def update_memory(project: Project, public_id: Any, change: Change) -> Memory:
    """Raises NotFound, and Conflict where it is immutable or its new text is already remembered."""
    memory = find_memory(project, public_id, lock=True)
    if memory.immutable:
        raise Conflict(f"memory {public_id} is immutable: it was added so and cannot be changed, only deleted")
    now = timezone.now()
    old_text = memory.text
    if not isinstance(change.metadata, Unset):
        memory.metadata = change.metadata
    if not isinstance(change.said_at, Unset):
        memory.said_at = change.said_at
    if not isinstance(change.expiration_date, Unset):
        memory.expiration_date = change.expiration_date
    memory.updated_at = now
    memory.save(update_fields=["metadata", "said_at", "expiration_date", "updated_at"])
    if not isinstance(change.text, Unset) and change.text != old_text:
        _check_text_is_new(memory, change.text)
        memory.text = change.text
        replace_text(memory, embed_texts([memory.text]), at=now)
    _revise(memory, "UPDATE", old_text=old_text, new_text=memory.text)
    return memory


def _check_text_is_new(memory: Memory, text: str) -> None:
    twin = (
        Memory.objects.live()
        .filter(scope=memory.scope_id, run_id=memory.run_id, text_hash=hash_text(text))
        .exclude(pk=memory.pk)
        .first()
    )
    if twin:
        raise Conflict(f"memory {twin.public_id} of the same scope says exactly this already: delete one of the two")


@transaction.atomic
def delete_memory(project: Project, public_id: Any, *, linked: bool = False) -> int:
    """Closes the memory and, if asked, all that it superseded, and what those did. Returns how many."""
    memory = find_memory(project, public_id, lock=True)
    chain = _superseded_by(memory) if linked else []
    for one in [memory, *chain]:
        _delete(one)
    return 1 + len(chain)


def _superseded_by(memory: Memory) -> list[Memory]:
    found: dict[int, Memory] = {}
    layer = [memory.pk]
    while layer:
        older = Memory.objects.filter(replaced_by__in=layer, state=MemoryState.SUPERSEDED).exclude(pk__in=found)
        fresh = {one.pk: one for one in older if one.pk != memory.pk}
        found |= fresh
        layer = list(fresh)
    return list(found.values())


def _delete(memory: Memory) -> None:
    close(memory, at=timezone.now(), state=MemoryState.DELETED, replaced_by=memory.replaced_by)
    _revise(memory, "DELETE", old_text=memory.text, new_text=None)


def _revise(memory: Memory, operation: str, *, old_text: str | None, new_text: str | None) -> None:
    MemoryRevision.objects.create(
        memory=memory,
        operation=operation,
        old_text=old_text,
        new_text=new_text,
        reason="by request",
        policy=POLICY,
        metadata=memory.metadata,
        categories=memory.categories,
    )


@transaction.atomic
def update_batch(project: Project, changes: Sequence[tuple[Any, Change]]) -> int:
    """All or none."""
    _lock(project, [public_id for public_id, _ in changes])
    for public_id, change in changes:
        update_memory(project, public_id, change)
    return len(changes)


@transaction.atomic
def delete_batch(project: Project, public_ids: Sequence[Any]) -> int:
    """All or none; an id that is named twice counts once."""
    _lock(project, public_ids)
    return sum(delete_memory(project, public_id) for public_id in dict.fromkeys(public_ids))


def _lock(project: Project, public_ids: Sequence[Any]) -> None:
    """In one order whatever was asked for, so that two batches wait for each other and do not deadlock."""
    rows = Memory.objects.in_project(project).filter(public_id__in=public_ids).order_by("id")
    list(rows.select_for_update().values_list("pk"))


@transaction.atomic
def give_feedback(project: Project, public_id: Any, feedback: str | None, reason: str | None) -> Memory:
    memory = find_memory(project, public_id)
    memory.feedback, memory.feedback_reason = feedback, reason
    memory.save(update_fields=["feedback", "feedback_reason"])
    return memory


# Deletions that run as events


def record_deletion(project: Project, *, raw_filter: Mapping[str, Any] | None, entity: dict[str, str] | None) -> Event:
    """One of: a filter, whose memories are closed; an entity, of which every trace is destroyed."""
    return Event.objects.create(
        project=project, type=Event.Type.DELETE, options={"filter": raw_filter, "entity": entity}
    )


def run_deletion(event_id: int) -> None:
    """Safe to run twice: what is gone already is not found again."""
    now = timezone.now()
    claimed = (
        Event.objects.unfinished()
        .filter(pk=event_id)
        .update(status=EventStatus.RUNNING, started_at=now, updated_at=now)
    )
    if not claimed:
        return
    event = Event.objects.select_related("project").get(pk=event_id)
    entity = event.options.get("entity")
    if entity:
        counts = forget_entity(event.project, entity["type"], entity["name"])
    else:
        counts = {"memories": delete_matching(event.project, parse(event.options["filter"]))}
    now = timezone.now()
    Event.objects.filter(pk=event_id).update(
        status=EventStatus.SUCCEEDED, results=[{"deleted": counts}], completed_at=now, updated_at=now
    )


def delete_matching(project: Project, node: Filter) -> int:
    """Closes every live memory that the filter lets through, expired ones too. Returns how many."""
    num_deleted = 0
    while True:
        with transaction.atomic():
            matching = memories_passing(project, node, show_expired=True).order_by("id")
            memories = list(matching.select_for_update(of=("self",))[:DELETE_BATCH])
            for memory in memories:
                _delete(memory)
        num_deleted += len(memories)
        if not memories:
            return num_deleted


def find_entity_scopes(project: Project, kind: str, name: str) -> Any:
    """The scopes (or, for a run, sessions) of an entity: kind is user, agent, app or run."""
    if kind == "run":
        return Session.objects.filter(scope__project=project, run_id=name)
    return Scope.objects.filter(project=project, **{f"{kind}_id": name})


@transaction.atomic
def forget_entity(project: Project, kind: str, name: str) -> dict[str, int]:
    """Destroys every row of a user, agent, app or run. Returns how many of each kind."""
    assert f"{kind}_id" in ENTITY_FIELDS  # the view checked
    if kind == "run":
        sessions = Session.objects.filter(scope__project=project, run_id=name)
        counts = _destroy(Memory.objects.filter(project=project, run_id=name), sessions)
        _drop_orphans(project)
        return counts
    scopes = Scope.objects.filter(project=project, **{f"{kind}_id": name})
    counts = _destroy(Memory.objects.filter(scope__in=scopes), Session.objects.filter(scope__in=scopes))
    ids = list(scopes.values_list("pk", flat=True))
    Event.objects.filter(scope__in=ids).delete()
    Entity.objects.filter(scope__in=ids).delete()
    Scope.objects.filter(pk__in=ids).delete()
    return counts


def _destroy(memories: Any, sessions: Any) -> dict[str, int]:
    """Table by table, leaves first: Django's own cascade would read every row into memory."""
    ids = list(memories.values_list("pk", flat=True))
    session_ids = list(sessions.values_list("pk", flat=True))
    messages = Message.objects.filter(session__in=session_ids)
    events = list(messages.values_list("event_id", flat=True).distinct())
    counts = {"memories": len(ids), "messages": messages.count(), "sessions": len(session_ids)}
    for model in (Posting, Embedding, MemoryEntity, MemoryRevision):
        _raw_delete(model.objects.filter(memory__in=ids))
    _raw_delete(MemorySource.objects.filter(memory__in=ids))
    _raw_delete(MemorySource.objects.filter(message__in=messages))
    Memory.objects.filter(replaced_by__in=ids).update(replaced_by=None)
    _raw_delete(Memory.objects.filter(pk__in=ids))
    _raw_delete(messages)
    Event.objects.filter(pk__in=events, messages__isnull=True).delete()
    _raw_delete(Session.objects.filter(pk__in=session_ids))
    return counts


def _raw_delete(rows: Any) -> None:
    rows._raw_delete(rows.db)


def _drop_orphans(project: Project) -> None:
    """The names that only a run's memories knew, and the scope that was the run's alone, go with it."""
    Entity.objects.filter(scope__project=project, memory_links__isnull=True).delete()
    scopes = Scope.objects.filter(project=project, sessions__isnull=True, memories__isnull=True)
    scopes.filter(events__isnull=True).delete()
