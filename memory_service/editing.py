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

from . import chronicle, knowledge
from .consolidation import close
from .embedding import Vectors, embed_texts
from .errors import Conflict, NotFound
from .models import (
    Memory,
    MemoryRevision,
    MemoryState,
    Project,
    Review,
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
            _lock_scopes(project, [public_id for public_id, _ in changes])
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
        chronicle.reword(memory, change.text, vectors[change.text], at=now)
        knowledge.close_unsupported([memory.pk], reworded=True)
    _revise(memory, "UPDATE", old_text=old_text, new_text=memory.text)
    if memory.text != old_text:
        chronicle.rewritten(memory, old_text)
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
    _lock_scopes(project, [public_id])
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


def close_by_request(memory: Memory, *, for_good: bool = True) -> None:
    """for_good: saying again what it said does not bring it back. The caller holds the scope's chronicle."""
    close(memory, at=timezone.now(), state=MemoryState.DELETED, replaced_by=memory.replaced_by)
    _revise(memory, "DELETE", old_text=memory.text, new_text=None)
    chronicle.deleted(memory, for_good=for_good)


def _revise(
    memory: Memory, operation: str, *, old_text: str | None, new_text: str | None, reason: str = "by request"
) -> None:
    MemoryRevision.objects.create(
        memory=memory,
        operation=operation,
        old_text=old_text,
        new_text=new_text,
        reason=reason,
        policy=POLICY,
        metadata=memory.metadata,
        categories=memory.categories,
    )


@transaction.atomic
def delete_batch(project: Project, public_ids: Sequence[Any]) -> int:
    """All or none; an id that is named twice counts once."""
    _lock_scopes(project, public_ids)
    _lock(project, public_ids)
    return sum(delete_memory(project, public_id) for public_id in dict.fromkeys(public_ids))


def _lock_scopes(project: Project, public_ids: Sequence[Any]) -> None:
    """The chronicles of the memories' scopes, in one order, before any row."""
    memories = Memory.objects.in_project(project).filter(public_id__in=public_ids)
    for scope_id in sorted(set(memories.values_list("scope_id", flat=True))):
        chronicle.lock(scope_id)


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


# A person's second thoughts


@transaction.atomic
def undo(project: Project, revision_id: Any) -> Memory:
    """Takes one step of a memory's life back, by a step of its own. Raises NotFound, and Conflict where a later step
    stands in the way."""
    revision = MemoryRevision.objects.filter(memory__project=project, public_id=revision_id).first()
    if revision is None:
        raise NotFound(f"revision {revision_id} was not found in this project")
    scope_id = Memory.objects.values_list("scope_id", flat=True).get(pk=revision.memory_id)
    chronicle.lock(scope_id)
    memory = Memory.objects.select_for_update().get(pk=revision.memory_id)
    reason = f"undo of revision {revision.public_id}"
    if revision.operation == MemoryRevision.Operation.ADD:
        _undo_add(memory, reason)
    elif revision.operation == MemoryRevision.Operation.UPDATE:
        _undo_update(memory, revision, reason)
    else:
        _undo_delete(memory, reason)
    return memory


def _undo_add(memory: Memory, reason: str) -> None:
    if memory.state != MemoryState.LIVE:
        raise Conflict(f"memory {memory.public_id} is {memory.state}: only a live one can be taken back")
    close(memory, at=timezone.now(), state=MemoryState.DELETED, replaced_by=memory.replaced_by)
    chronicle.deleted(memory, for_good=True)
    _revise(memory, "DELETE", old_text=memory.text, new_text=None, reason=reason)


def _undo_update(memory: Memory, revision: MemoryRevision, reason: str) -> None:
    old_text = revision.old_text
    if not old_text or old_text == revision.new_text:
        raise Conflict(f"revision {revision.public_id} changed no words: there is nothing to take back")
    if memory.text != revision.new_text:
        raise Conflict(f"memory {memory.public_id} was reworded since: undo the later revision first")
    _check_text_is_new(memory, old_text)
    chronicle.reword(memory, old_text, embed_texts([old_text]), at=timezone.now())
    chronicle.rewritten(memory, str(revision.new_text))
    _revise(memory, "UPDATE", old_text=revision.new_text, new_text=old_text, reason=reason)


def _undo_delete(memory: Memory, reason: str) -> None:
    if memory.state == MemoryState.LIVE:
        raise Conflict(f"memory {memory.public_id} is live: its end was undone already")
    _check_text_is_new(memory, memory.text)
    memory.state, memory.invalid_at, memory.expired_at, memory.replaced_by = MemoryState.LIVE, None, None, None
    memory.save(update_fields=["state", "invalid_at", "expired_at", "replaced_by"])
    chronicle.reinstated(memory, reason=reason)
    _revise(memory, "UPDATE", old_text=memory.text, new_text=memory.text, reason=reason)


@transaction.atomic
def decide_review(project: Project, public_id: Any, *, accept: bool) -> Review:
    """Lets an ending that waited act, or not. Raises NotFound, and Conflict where it is decided already."""
    review = find_review(project, public_id)
    chronicle.lock(review.scope_id)
    review.refresh_from_db()
    if review.status != Review.Status.PENDING:
        raise Conflict(f"review {public_id} is {review.status} already")
    review.status = Review.Status.ACCEPTED if accept else Review.Status.REJECTED
    review.decided_at = timezone.now()
    review.save(update_fields=["status", "decided_at"])
    if review.assertion is not None:
        chronicle.judge(review.assertion, approved=accept, reason=f"review {review.public_id}: {review.status}")
    elif accept:
        _end_by_review(review)
    return review


def find_review(project: Project, public_id: Any) -> Review:
    rows = Review.objects.filter(scope__project=project, public_id=public_id)
    review = rows.select_related("memory", "by", "event").first()
    if review is None:
        raise NotFound(f"review {public_id} was not found in this project")
    return review


def _end_by_review(review: Review) -> None:
    assert review.by is not None  # a constraint of the table
    target = Memory.objects.select_for_update().get(pk=review.memory_id)
    if target.state != MemoryState.LIVE:
        raise Conflict(f"memory {target.public_id} is {target.state} already")
    chronicle.withdraw(target)
    close(target, at=review.by.valid_at or review.by.said_at, state=MemoryState.SUPERSEDED, replaced_by=review.by)
    _revise(target, "DELETE", old_text=target.text, new_text=None, reason=f"review {review.public_id}: accepted")
