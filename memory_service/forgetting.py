"""Deletions that run as events: of what a filter lets through, and of every trace of an entity.

A deletion by filter closes memories and keeps them with their history. The deletion of a user, agent, app or run
destroys, because that is what it is asked for. What stays is a receipt: what, how many, when, by whom; no words, and of
the name only a hash.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from . import caches, chronicle, document_storage, knowledge, ledger, profiles
from .editing import close_by_request
from .embedding import embed_texts
from .erasure import Erasure
from .filters import ENTITY_FIELDS, Filter, parse, to_message_q
from .ingest import claim, record_failure
from .locks import Kind, advisory_lock
from .logs import request_id
from .models import (
    Answer,
    ApiKey,
    Assertion,
    ContextLedger,
    Document,
    Entity,
    EntityRecord,
    EvaluationCorpus,
    EvaluationRun,
    Event,
    EventStatus,
    ForgettingReceipt,
    ImportLine,
    Memory,
    MemoryExport,
    MemoryRevision,
    MemorySource,
    Message,
    Project,
    Scope,
    Session,
    hash_text,
)
from .models.receipt import ENTITY_TYPES
from .retrieval import find_scopes, memories_passing

DELETE_BATCH = 500
ALWAYS_COUNTED = ("memories", "messages", "sessions")
FORGOTTEN = {"forgotten": True}  # in place of a finished event's options that named who was forgotten
BUSY_PAUSE = timedelta(seconds=0.5)  # before a scope that a worker holds is tried again


def record_deletion(
    project: Project,
    *,
    raw_filter: Mapping[str, Any] | None,
    entity: dict[str, str] | None,
    key: ApiKey | None = None,
) -> Event:
    """One of: a filter, whose memories are closed; an entity, of which every trace is destroyed. key: who asks."""
    options = {"filter": raw_filter, "entity": entity, "key": str(key.public_id) if key else None}
    return Event.objects.create(
        project=project, type=Event.Type.DELETE, options=options, request_id=request_id.get()[:64]
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
    counts: Counter[str] = Counter(event.results[0]["deleted"] if event.results else {})
    erasure = Erasure(counts, lambda found: _save_counts(event, found))
    for scope_id in scope_ids:
        # Nobody may be turning messages of the scope into memories while they are looked for.
        with advisory_lock(Kind.SCOPE, scope_id) as held:
            if not held:
                busy += 1
            elif entity:
                forget_in_scope(scope_id, entity["type"], entity["name"], erasure)
            else:
                counts.update(_close_in_scope(event, scope_id))
    if busy:
        return _put_off(event, counts)
    if entity:
        erasure.destroy_named(event.project, entity["type"], entity["name"])
        erasure.destroy(Answer.objects.in_project(event.project).about(entity["name"]))
        forget_life(event.project, entity["type"], entity["name"])
        forget_records(event.project, entity["type"], entity["name"])
        _complete_forgetting(event, counts)
        caches.forget()
    else:
        _complete(event, counts)
    return None


def _close_in_scope(event: Event, scope_id: int) -> dict[str, int]:
    node = parse(event.options["filter"])
    return {
        "memories": delete_matching(event.project, node, scope_id),
        "unprocessed_messages": withdraw_matching(event, node, scope_id),
    }


def _save_counts(event: Event, counts: Mapping[str, int]) -> None:
    Event.objects.filter(pk=event.pk).update(results=[{"deleted": dict(counts)}], updated_at=timezone.now())


def _put_off(event: Event, counts: Mapping[str, int]) -> datetime:
    retry_at = timezone.now() + BUSY_PAUSE
    Event.objects.filter(pk=event.pk).update(
        status=EventStatus.PENDING,
        num_attempts=event.num_attempts - 1,
        results=[{"deleted": dict(counts)}],
        updated_at=timezone.now(),
    )
    return retry_at


def _complete(event: Event, counts: Mapping[str, int]) -> None:
    now = timezone.now()
    options = FORGOTTEN if _was_forgotten(event) else event.options
    Event.objects.filter(pk=event.pk).update(
        status=EventStatus.SUCCEEDED,
        options=options,
        results=[{"deleted": dict(counts)}],
        error="",
        completed_at=now,
        updated_at=now,
    )


@transaction.atomic
def _complete_forgetting(event: Event, counts: Mapping[str, int]) -> None:
    """The receipt, and an end to what events say of the name: this one's, and those of deletions by filter."""
    receipt = write_receipt(event, {**dict.fromkeys(ALWAYS_COUNTED, 0), **counts})
    for other in _deletions_by_filter(event.project):
        if event.options["entity"]["name"] in _strings(other.options):
            Event.objects.filter(pk=other.pk).update(options=FORGOTTEN)
    event.options = {"entity": {"type": receipt.entity_type, "name_hash": receipt.name_hash}}
    _complete(event, receipt.counts)


def write_receipt(event: Event, counts: Mapping[str, int]) -> ForgettingReceipt:
    entity = event.options["entity"]
    key = ApiKey.objects.filter(project=event.project, public_id=event.options.get("key")).first()
    receipt, _ = ForgettingReceipt.objects.get_or_create(
        public_id=event.public_id,
        defaults={
            "project": event.project,
            "entity_type": entity["type"],
            "name_hash": hash_name(event.project, entity["type"], entity["name"]),
            "name": entity["name"] if settings.ENV.forgetting_receipts == "name" else None,
            "counts": dict(counts),
            "api_key": key,
            "key_prefix": key.prefix if key else "",
            "key_name": key.name if key else "",
            "request_id": event.request_id,
            "requested_at": event.created_at,
            "completed_at": timezone.now(),
        },
    )
    return receipt


def hash_name(project: Project, kind: str, name: str) -> str:
    """HMAC-SHA256 of type and name, with the service's secret as the key and the project as the salt.

    The same name gives the same hash in the project, so that a receipt can be looked for; without the secret nobody can
    try names on a stolen table.
    """
    text = f"{project.public_id}:{kind}:{name}"
    return hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def find_receipts(project: Project, *, kind: str | None = None, name: str | None = None) -> Any:
    """The project's receipts, newest first: all, of one type, or of one entity."""
    receipts = ForgettingReceipt.objects.filter(project=project).order_by("-id")
    if kind is not None:
        receipts = receipts.filter(entity_type=kind)
    if name is not None:
        kinds = [kind] if kind else ENTITY_TYPES
        receipts = receipts.filter(name_hash__in=[hash_name(project, one, name) for one in kinds])
    return receipts


def _deletions_by_filter(project: Project) -> Any:
    """Done ones: of one that still runs the filter is needed, and it looks itself when it is done."""
    return Event.objects.filter(
        project=project, type=Event.Type.DELETE, options__filter__isnull=False, completed_at__isnull=False
    ).iterator(chunk_size=1000)


def _was_forgotten(event: Event) -> bool:
    """Whether a deletion by filter names somebody who has been forgotten since it was asked for."""
    named = set(_strings(event.options.get("filter")))
    hashes = [hash_name(event.project, kind, name) for name in named for kind in ENTITY_TYPES]
    return ForgettingReceipt.objects.filter(
        project=event.project, name_hash__in=hashes, completed_at__gte=event.created_at
    ).exists()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner)


def delete_matching(project: Project, node: Filter, scope_id: int) -> int:
    """Closes every live memory of the scope that the filter lets through, expired ones too. Returns how many."""
    num_deleted = 0
    while True:
        with transaction.atomic():
            chronicle.lock(scope_id)
            matching = memories_passing(project, node, show_expired=True).filter(scope_id=scope_id).order_by("id")
            memories = list(matching.select_for_update(of=("self",))[:DELETE_BATCH])
            for memory in memories:
                close_by_request(memory, for_good=False)
            knowledge.close_unsupported([memory.pk for memory in memories])
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
    """Destroys every row of a user, agent, app or run. Returns how many of each kind. The caller holds the scopes'
    locks, or knows that no worker runs."""
    erasure = Erasure()
    forget_records(project, kind, name)
    for scope_id in _scopes_of(project, kind, name):
        forget_in_scope(scope_id, kind, name, erasure)
    erasure.destroy_named(project, kind, name)
    erasure.destroy(Answer.objects.in_project(project).about(name))
    forget_life(project, kind, name)
    caches.forget()
    return {**dict.fromkeys(ALWAYS_COUNTED, 0), **erasure.counts}


@transaction.atomic
def forget_life(project: Project, kind: str, name: str) -> None:
    """What was made of the entity's memories and stands in no scope: profile, summaries asked for, whom a call was for.

    Summaries by a filter may hold anybody's words: all of the project's go."""
    Event.objects.filter(project=project, type=Event.Type.SUMMARY).delete()
    if kind == "user":
        profiles.forget_user(project.pk, name)
        ledger.forget_user(project.pk, name)


def forget_in_scope(scope_id: int, kind: str, name: str, erasure: Erasure | None = None) -> dict[str, int]:
    """The whole scope, or one run of it. Returns what the erasure has counted so far."""
    erasure = erasure or Erasure()
    project_id = Scope.objects.filter(pk=scope_id).values_list("project_id", flat=True).first()
    profiles.forget_scope(scope_id)
    _forget_document_events(scope_id, name if kind == "run" else None, erasure)
    if kind == "run":
        _forget_run(scope_id, name, erasure)
    else:
        erasure.destroy_scope(scope_id)
    # What was exported of the scope, or answered from it, goes too. Whoever writes such a row waits for the memories,
    # so these come last.
    erasure.destroy(MemoryExport.objects.filter(scope_ids__contains=[scope_id]))
    erasure.destroy(EvaluationRun.objects.filter(scope_ids__contains=[scope_id]))
    erasure.destroy(Answer.objects.filter(scope_ids__contains=[scope_id]))
    erasure.destroy(ContextLedger.objects.filter(scope_ids__contains=[scope_id]))
    if project_id is not None:  # texts of documents that nobody else has
        erasure.counts.update(document_storage.destroy_orphans(project_id))
    return {**dict.fromkeys(ALWAYS_COUNTED, 0), **erasure.counts}


def _forget_document_events(scope_id: int, run_id: str | None, erasure: Erasure) -> None:
    """The work on documents: an event names no scope, and its options and errors may repeat what was sent."""
    rows = Document.objects.filter(scope=scope_id)
    rows = rows if run_id is None else rows.filter(run_id=run_id)
    for project_id, public_id in list(rows.values_list("project_id", "public_id")):
        events = Event.objects.filter(project=project_id, type=Event.Type.DOCUMENT, options__document=str(public_id))
        erasure.destroy(events)


def forget_scope(scope_id: int) -> dict[str, int]:
    """Destroys a whole scope, in transactions of bounded size: nobody may be left to see the half of it."""
    return forget_in_scope(scope_id, "scope", "")


def forget_records(project: Project, kind: str, name: str) -> None:
    """What is kept of an entity outside its scopes: the record of it, the keys that are bound to it, and lines of files
    that are being imported."""
    EntityRecord.objects.filter(project=project, type=kind, name=name).delete()
    if kind != "run":
        ApiKey.objects.filter(project=project, **{f"bound_{kind}_id": name}).delete()
    field = f"{kind}_id"
    forget_evaluations(project, field, name)
    named = Q(content__contains={field: name}) | Q(content__contains={"filters": {field: name}})
    # The job's own names are for lines that name nobody of that kind.
    named |= Q(**{f"job__defaults__{field}": name}) & ~Q(content__has_key=field)
    lines = ImportLine.objects.filter(named, job__project=project, content__isnull=False)
    lines.filter(status=ImportLine.Status.PENDING).update(
        content=None, status=ImportLine.Status.FAILED, error=f"{kind} {name!r} was deleted before this was imported"
    )
    lines.update(content=None)


def forget_evaluations(project: Project, field: str, name: str) -> None:
    """Evaluations whose questions name an entity, and what was ingested to ask them."""
    runs = EvaluationRun.objects.filter(project=project, entities__contains=[{field: name}])
    corpora = [pk for found in runs.values_list("circumstances__corpora", flat=True) for pk in (found or {}).values()]
    for corpus in EvaluationCorpus.objects.filter(pk__in=corpora):
        for scope_id in Scope.objects.filter(project=corpus.project_id).values_list("pk", flat=True):
            forget_scope(scope_id)
    runs.delete()


@transaction.atomic
def _forget_run(scope_id: int, run_id: str, erasure: Erasure) -> None:
    chronicle.lock(scope_id)
    knowledge.raise_version([scope_id])  # in the order in which all writers of the graph take their locks
    memories = Memory.objects.filter(scope=scope_id, run_id=run_id)
    sessions = Session.objects.filter(scope=scope_id, run_id=run_id)
    said = list(Message.objects.filter(session__in=sessions).values_list("pk", flat=True))
    events = list(Event.objects.filter(messages__in=said).values_list("pk", flat=True).distinct())
    timelines = set(Assertion.objects.filter(message__in=said).values_list("subject_key", "attribute"))
    _rehome(memories, run_id)
    _take_back(scope_id, run_id, said, erasure)
    gone = [str(public_id) for public_id in memories.values_list("public_id", flat=True)]
    knowledge.forget_memories(list(memories.values_list("pk", flat=True)))
    erasure.destroy(memories)
    erasure.destroy(Document.objects.filter(scope=scope_id, run_id=run_id))
    erasure.destroy(sessions)
    erasure.destroy(Event.objects.filter(pk__in=events, messages__isnull=True))
    _drop_results(scope_id, gone)
    if timelines:
        chronicle.refold(Scope.objects.get(pk=scope_id), timelines, reason="what was said in a forgotten run is gone")
    erasure.destroy(Entity.objects.filter(scope=scope_id, memory_links__isnull=True))
    if Scope.objects.filter(pk=scope_id, sessions__isnull=True, memories__isnull=True, documents__isnull=True).exists():
        erasure.destroy_scope(scope_id)


def _take_back(scope_id: int, run_id: str, said: Sequence[int], erasure: Erasure) -> None:
    """What the run's messages did to memories that stay: their text is again what others said, their history silent."""
    caused = MemoryRevision.objects.filter(memory__scope=scope_id, message_ids__overlap=list(said))
    caused = caused.exclude(memory__run_id=run_id)
    for memory in Memory.objects.filter(revisions__in=caused.filter(operation="UPDATE")).distinct():
        kept = memory.revisions.exclude(message_ids__overlap=list(said)).exclude(new_text=None).order_by("id").last()
        text = kept.new_text if kept else None
        twins = Memory.objects.live().filter(scope=scope_id, run_id=memory.run_id, text_hash=hash_text(text or ""))
        if text is None or twins.exclude(pk=memory.pk).exists():
            erasure.destroy(Memory.objects.filter(pk=memory.pk))
        elif text != memory.text:
            chronicle.reword(memory, text, embed_texts([text]), at=timezone.now())
    caused.filter(operation="UPDATE").delete()
    caused.update(reason="", message_ids=[])


def _drop_results(scope_id: int, memory_ids: Iterable[str]) -> None:
    """Events that stay may list a memory that does not, with its text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE memory_service_event SET results = (SELECT coalesce(jsonb_agg(r), '[]'::jsonb) "
            "FROM jsonb_array_elements(results) AS r WHERE (r->>'id' = ANY(%s)) IS NOT TRUE) "
            "WHERE scope_id = %s AND jsonb_typeof(results) = 'array' AND EXISTS "
            "(SELECT 1 FROM jsonb_array_elements(results) AS r WHERE r->>'id' = ANY(%s))",
            [list(memory_ids), scope_id, list(memory_ids)],
        )


def _rehome(memories: Any, run_id: str) -> None:
    """A fact that another run states too is that run's from now on, unless its text was put together from both."""
    merged = MemoryRevision.objects.filter(operation="UPDATE").values("memory")
    elsewhere = MemorySource.objects.filter(memory__in=memories.exclude(pk__in=merged))
    elsewhere = elsewhere.exclude(message__session__run_id=run_id)
    for source in elsewhere.select_related("memory", "message__session").order_by("memory", "message"):
        memory, session = source.memory, source.message.session
        twin = Memory.objects.live().filter(scope=memory.scope_id, run_id=session.run_id, text_hash=memory.text_hash)
        if memory.run_id == run_id and not twin.exists():
            memory.session, memory.run_id = session, session.run_id
            memory.save(update_fields=["session", "run_id"])
