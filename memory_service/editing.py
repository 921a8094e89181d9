"""Changes by request to single memories and batches of them: update, delete, feedback.

What a person or an agent changed by hand is theirs: an update or a deletion closes or rewrites the memory with a
revision that says so. Deletions by filter, and of whole entities, are in forgetting.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from . import knowledge
from .consolidation import close, replace_text
from .embedding import Vectors, embed_texts
from .errors import Conflict, NotFound
from .models import (
    Memory,
    MemoryRevision,
    MemoryState,
    Project,
    hash_text,
)

POLICY = "request"  # in revisions: nobody decided but the caller
SHOWN = (MemoryState.LIVE, MemoryState.SUPERSEDED)
WITH_PAST = (*SHOWN, MemoryState.DELETED)  # what has a history to show
TEXT_IS_TAKEN = "memory_text_unique_while_live"


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


def find_memory(
    project: Project, public_id: Any, *, lock: bool = False, states: Sequence[MemoryState] = SHOWN
) -> Memory:
    """Raises NotFound for what is not in the project or in none of the states."""
    memories = Memory.objects.in_project(project).filter(public_id=public_id, state__in=states)
    memory = (memories.select_for_update() if lock else memories).first()
    if memory is None:
        raise NotFound(f"memory {public_id} was not found in this project")
    return memory


def update_memory(project: Project, public_id: Any, change: Change) -> Memory:
    """Raises NotFound, and Conflict where it is immutable or its new text is already remembered."""
    [memory] = _update(project, [(public_id, change)])
    return memory


def update_batch(project: Project, changes: Sequence[tuple[Any, Change]]) -> int:
    """All or none."""
    return len(_update(project, changes))


def _update(project: Project, changes: Sequence[tuple[Any, Change]]) -> list[Memory]:
    vectors = _embed_new_texts([change for _, change in changes])  # before any row is locked
    try:
        with transaction.atomic():
            memories = _find_and_lock(project, [public_id for public_id, _ in changes])
            pairs = zip(memories, (change for _, change in changes), strict=True)
            return [_change(memory, change, vectors) for memory, change in pairs]
    except IntegrityError as exc:
        if TEXT_IS_TAKEN not in str(exc):
            raise
        raise Conflict(
            "another memory of the same scope was just given exactly this text: delete one of the two"
        ) from exc


def _embed_new_texts(changes: Sequence[Change]) -> dict[str, Vectors]:
    """Each text's vector, (1, D)."""
    texts = list(dict.fromkeys(change.text for change in changes if not isinstance(change.text, Unset)))
    if not texts:
        return {}
    vectors = embed_texts(texts)
    return {text: vectors[i : i + 1] for i, text in enumerate(texts)}


def _find_and_lock(project: Project, public_ids: Sequence[Any]) -> list[Memory]:
    """In the order asked for, one object per memory. Raises NotFound as find_memory does."""
    found = {str(memory.public_id): memory for memory in _lock(project, public_ids) if memory.state in SHOWN}
    for public_id in public_ids:
        if str(public_id) not in found:
            raise NotFound(f"memory {public_id} was not found in this project")
    return [found[str(public_id)] for public_id in public_ids]


def _change(memory: Memory, change: Change, vectors: Mapping[str, Vectors]) -> Memory:
    if memory.immutable:
        raise Conflict(f"memory {memory.public_id} is immutable: it was added so and cannot be changed, only deleted")
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
        replace_text(memory, vectors[memory.text], at=now)
        knowledge.close_unsupported([memory.pk], reworded=True)
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
        close_by_request(one)
    knowledge.close_unsupported([one.pk for one in (memory, *chain)])
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


def close_by_request(memory: Memory) -> None:
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
def delete_batch(project: Project, public_ids: Sequence[Any]) -> int:
    """All or none; an id that is named twice counts once."""
    _lock(project, public_ids)
    return sum(delete_memory(project, public_id) for public_id in dict.fromkeys(public_ids))


def _lock(project: Project, public_ids: Sequence[Any]) -> list[Memory]:
    """In one order whatever was asked for, so that two batches wait for each other and do not deadlock."""
    rows = Memory.objects.in_project(project).filter(public_id__in=public_ids).order_by("id")
    return list(rows.select_for_update())


@transaction.atomic
def give_feedback(project: Project, public_id: Any, feedback: str | None, reason: str | None) -> Memory:
    memory = find_memory(project, public_id)
    memory.feedback, memory.feedback_reason = feedback, reason
    memory.save(update_fields=["feedback", "feedback_reason"])
    return memory
