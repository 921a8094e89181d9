"""Taking memories in from elsewhere: mem0's platform, its open-source server, our own exports, plain JSON lines.

A file becomes an ImportJob with a row for each line, in one transaction, so that nothing is lost on the way; a worker
takes the lines in order and writes what became of each. Taking the same file in again changes nothing:

    a memory   is written under an id that is made from its origin's id, or from its words, and an id stands once
    messages   have ids of their own in their session, or are given some that are made from the line

A memory is taken as it is. Nothing is extracted from it, and nothing is consolidated with it. Messages go the way of
every message.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import IO, Any

import numpy as np
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Q
from django.utils import timezone

from . import ingest
from .embedding import Vectors, embed_texts
from .errors import Conflict, InvalidInput, NotFound, ServiceError, TooLarge
from .filters import ENTITY_FIELDS, parse_moment
from .ingest import AddRequest, EntityIds, NewMessage
from .locks import Kind, advisory_lock
from .models import (
    Event,
    ImportJob,
    ImportLine,
    JobStatus,
    Memory,
    MemoryRevision,
    MemoryState,
    Project,
    Scope,
    Session,
    hash_text,
)
from .models.conversation import MAX_NAME_CHARS
from .models.platform import UNFINISHED
from .storage import prepare, write_index
from .validation import check_json, check_moment, check_name_size, check_text

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 64 * 1024**2
MAX_LINES = 500_000
MAX_LINE_CHARS = 2_000_000
MAX_TEXT_CHARS = 20_000  # of a memory, as when one is written by hand
MAX_MESSAGE_CHARS = 200_000
MAX_METADATA_CHARS = 50_000
MAX_MESSAGES = 1000  # in one line
MAX_HISTORY = 1000  # steps of one memory
BATCH = 128  # lines taken together, so that their texts are embedded together
TURN_S = 30.0  # then others may have the worker
BUSY_PAUSE = timedelta(seconds=0.5)
MAX_ATTEMPTS = 5
STALE = timedelta(seconds=60)
POLICY = "import"  # in revisions
SHOWN_ERRORS = 1000

STATES = {
    "active": MemoryState.LIVE,
    "live": MemoryState.LIVE,
    "superseded": MemoryState.SUPERSEDED,
    "deleted": MemoryState.DELETED,
}
WRAPPERS = ("results", "memories", "data", "items")
FRAMES = ("header", "end")  # the lines of our own exports that hold no memory


# A file -> a job


def create_job(project: Project, items: Iterable[Any], *, defaults: Mapping[str, Any], source: str = "") -> ImportJob:
    """items: from `read_file` or `read_items`. Raises InvalidInput where there is nothing to import."""
    checked = {name: _name(value, name) for name, value in defaults.items() if value not in (None, "")}
    repeats: Counter[bytes] = Counter()
    with transaction.atomic():
        job = ImportJob.objects.create(project=project, defaults=checked, source=source[:MAX_NAME_CHARS])
        batch: list[ImportLine] = []
        for number, content, error in _checked(items):
            if number > MAX_LINES:
                raise TooLarge(f"over {MAX_LINES} lines: split the file")
            digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "replace")).digest()
            status = ImportLine.Status.FAILED if error else ImportLine.Status.PENDING
            batch.append(
                ImportLine(job=job, number=number, content=content, status=status, error=error, repeat=repeats[digest])
            )
            repeats[digest] += 1
            if len(batch) == 1000:
                ImportLine.objects.bulk_create(batch)
                batch = []
        ImportLine.objects.bulk_create(batch)
        job.num_lines = job.lines.count()
        if not job.num_lines:
            raise InvalidInput("there is nothing to import: no line and no list of memories was found")
        job.save(update_fields=["num_lines"])
    return job


def _checked(items: Iterable[Any]) -> Iterator[tuple[int, Any, str]]:
    """With its number, what can be stored of each, and what is wrong where it cannot."""
    for number, item in items:
        if isinstance(item, Mapping) and item.get("type") in FRAMES and "memory" not in item:
            continue
        if isinstance(item, Unreadable):
            yield number, None, item.reason
            continue
        try:
            check_json(item, name="line")
        except ServiceError as exc:
            yield number, None, str(exc)
        else:
            yield number, item, ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    reason: str


def read_file(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """(number, item): the lines of JSON lines, or the items of a list, also of one inside {"results": ...}.

    Raises InvalidInput for what is neither, TooLarge over MAX_FILE_BYTES.
    """
    raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise TooLarge(f"the file is over {MAX_FILE_BYTES // 1024**2} MB: split it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"the file is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    try:
        whole = _parse(text)
    except (ValueError, RecursionError) as exc:
        lines = [line for line in text.split("\n", 100) if line.strip()]
        if text.lstrip()[:1] != "{" or not any(map(_is_json, lines[:20])):
            raise InvalidInput(f"the file is neither JSON nor JSON lines: {exc}") from exc
        return _read_lines(text)
    return read_items(whole)


def _is_json(text: str) -> bool:
    try:
        _parse(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > MAX_LINE_CHARS:
            yield number, Unreadable(f"the line is over {MAX_LINE_CHARS} characters")
            continue
        try:
            yield number, _parse(line)
        except (ValueError, RecursionError) as exc:
            yield number, Unreadable(f"not JSON: {exc}")


def _parse(text: str) -> Any:
    """Raises ValueError also for what Python reads and JSON or PostgreSQL does not: NaN, Infinity, 1e999."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"the number {written[:40]} is too large")
    return number


def read_items(whole: Any) -> Iterator[tuple[int, Any]]:
    """A list, an object that wraps one, or a single memory or conversation."""
    if isinstance(whole, Mapping) and not _is_item(whole):
        wrapped = next((whole[name] for name in WRAPPERS if isinstance(whole.get(name), list)), None)
        if wrapped is None:
            raise InvalidInput(
                f"there is no list of memories: expected a list, or an object with one under {', '.join(WRAPPERS)}"
            )
        whole = wrapped
    if not isinstance(whole, Mapping | list):
        raise InvalidInput(f"there is no list of memories, but a single {type(whole).__name__}")
    items = whole if isinstance(whole, list) else [whole]
    return iter(enumerate(items, start=1))


def _is_item(value: Mapping[str, Any]) -> bool:
    return any(isinstance(value.get(name), str) for name in ("memory", "text", "content")) or "messages" in value


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS:
        raise InvalidInput(f"{name} must be a string of at most {MAX_NAME_CHARS} characters")
    return check_name_size(check_text(value, name=name), name=name)


# A line -> what is to be written


@dataclass(frozen=True, slots=True)
class Step:
    """Of a memory's history, at its origin."""

    operation: str
    old_text: str | None
    new_text: str | None
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A memory of somewhere else, checked."""

    ids: EntityIds
    text: str
    said_at: datetime
    updated_at: datetime
    origin_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    kind: str = "semantic"
    state: MemoryState = MemoryState.LIVE
    immutable: bool = False
    expiration_date: date | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    subject: str | None = None
    attribute: str | None = None
    value: str | None = None
    replaced_by: str = ""
    history: tuple[Step, ...] = ()

    def public_id(self, project: Project) -> uuid.UUID:
        """The same for the same origin, in each project another."""
        if self.origin_id:
            return imported_id(project, self.origin_id)
        said = [self.ids.user_id, self.ids.agent_id, self.ids.app_id, self.ids.run_id, self.text]
        return uuid.uuid5(project.public_id, "imported text:" + json.dumps(said))


def imported_id(project: Project, origin_id: str) -> uuid.UUID:
    return uuid.uuid5(project.public_id, f"imported id:{origin_id}")


def read_item(raw: Any, defaults: Mapping[str, str], *, now: datetime) -> Item | Mapping[str, Any]:
    """A checked memory; or the line itself where it holds messages. Raises InvalidInput and TooLarge."""
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"expected an object, not {type(raw).__name__}")
    if raw.get("messages") is not None and not isinstance(raw.get("memory"), str):
        return raw
    if isinstance(raw.get("role"), str) and raw.get("content") is not None:  # one message a line
        said = ("id", "role", "name", "content", "created_at")
        rest = {k: v for k, v in raw.items() if k not in said}
        return {**rest, "messages": [{k: raw[k] for k in said if k in raw}]}
    text = next((raw[name] for name in ("memory", "text", "content") if isinstance(raw.get(name), str)), None)
    if text is None and isinstance(raw.get("data"), Mapping) and isinstance(raw["data"].get("memory"), str):
        text = raw["data"]["memory"]
    if text is None or not text.strip():
        raise InvalidInput("there is nothing to remember: expected memory (or text), or messages")
    if len(text) > MAX_TEXT_CHARS:
        raise TooLarge(f"the memory has {len(text)} characters; at most {MAX_TEXT_CHARS} are accepted")
    said_at = _moment(raw, "created_at") or _moment(raw, "timestamp") or now
    origin_id = raw.get("id") or raw.get("memory_id")
    return Item(
        ids=read_ids(raw, defaults),
        text=text.strip(),
        said_at=said_at,
        updated_at=_moment(raw, "updated_at") or said_at,
        origin_id=None if origin_id is None else _name(str(origin_id), "id"),
        metadata=_metadata(raw),
        categories=_categories(raw.get("categories")),
        kind=_choice(raw, "kind", Memory.Kind.values, "semantic"),
        state=STATES[_choice(raw, "lifecycle_state", list(STATES), "active")],
        immutable=raw.get("immutable") is True,
        expiration_date=_date(raw.get("expiration_date")),
        valid_at=_moment(raw, "valid_at"),
        invalid_at=_moment(raw, "invalid_at"),
        subject=_short(raw, "subject"),
        attribute=_short(raw, "attribute"),
        value=_short(raw, "value"),
        replaced_by=_short(raw, "replaced_by") or "",
        history=_history(raw.get("history"), said_at),
    )


def read_ids(raw: Mapping[str, Any], defaults: Mapping[str, str]) -> EntityIds:
    """The line's own, else the job's. A line that names somebody is not also the job's user's."""
    inside = raw.get("filters") if isinstance(raw.get("filters"), Mapping) else {}
    named = {name: raw.get(name) or inside.get(name) for name in ENTITY_FIELDS}  # type: ignore[union-attr]
    own = {name: _name(value, name) for name, value in named.items() if value not in (None, "")}
    ids = {**defaults, **own}
    if not ids:
        raise InvalidInput(f"nobody is named: at least one of {', '.join(ENTITY_FIELDS)} is needed, here or for all")
    return EntityIds(**ids)


def _moment(raw: Mapping[str, Any], name: str) -> datetime | None:
    value = raw.get(name)
    if value in (None, ""):
        return None
    moment = parse_moment(value, name=name)
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, clock.min, UTC)
    return check_moment(moment, name=name)


def _date(value: Any) -> date | None:
    if value in (None, ""):
        return None
    moment = parse_moment(value, name="expiration_date")
    return moment.date() if isinstance(moment, datetime) else moment


def _metadata(raw: Mapping[str, Any]) -> dict[str, Any]:
    metadata = raw.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"metadata must be an object, not {type(metadata).__name__}")
    if len(json.dumps(metadata)) > MAX_METADATA_CHARS:
        raise TooLarge(f"metadata is over {MAX_METADATA_CHARS} characters of JSON")
    return dict(metadata)


def _categories(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, str) and len(one) <= 200 for one in items) or len(items) > 100:
        raise InvalidInput("categories must be a list of at most 100 short strings")
    if any(ord(c) < 32 for one in items for c in one):
        raise InvalidInput("categories hold a control character")
    return tuple(dict.fromkeys(items))


def _choice(raw: Mapping[str, Any], name: str, accepted: Sequence[str], default: str) -> str:
    value = raw.get(name) or default
    if value not in accepted:
        raise InvalidInput(f"{name}={str(value)[:40]!r} is unknown; accepted are {', '.join(accepted)}")
    return str(value)


def _short(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise InvalidInput(f"{name} must be a string")
    return value


def _history(value: Any, said_at: datetime) -> tuple[Step, ...]:
    """As the platform and our own exports write it; what is no step is refused, not skipped."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_HISTORY:
        raise InvalidInput(f"history must be a list of at most {MAX_HISTORY} steps")
    return tuple(_step(one, said_at, i) for i, one in enumerate(value))


def _step(raw: Any, said_at: datetime, i: int) -> Step:
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"history[{i}] must be an object")
    operation = str(raw.get("event") or "").upper()
    if operation not in MemoryRevision.Operation.values:
        raise InvalidInput(f"history[{i}].event is none of {', '.join(MemoryRevision.Operation.values)}")
    texts = {name: raw.get(name) for name in ("old_memory", "new_memory", "reason")}
    for name, text in texts.items():
        if text is not None and (not isinstance(text, str) or len(text) > MAX_TEXT_CHARS):
            raise InvalidInput(f"history[{i}].{name} must be a string")
    at = _moment(raw, "created_at") or said_at
    return Step(operation, texts["old_memory"], texts["new_memory"], at, texts["reason"] or "")


def read_messages(raw: Mapping[str, Any], line: ImportLine, *, now: datetime) -> list[NewMessage]:
    """With ids of their own, made from the line where it gives none. Raises InvalidInput and TooLarge."""
    items = raw["messages"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not items:
        raise InvalidInput("messages must be a non-empty list of {role, content}, or a string")
    if len(items) > MAX_MESSAGES:
        raise TooLarge(f"{len(items)} messages are over the limit of {MAX_MESSAGES} in one line")
    default = _moment(raw, "timestamp") or _moment(raw, "created_at") or now
    stated = json.dumps([{k: v for k, v in raw.items() if k != "metadata"}, line.repeat], sort_keys=True)
    digest = hashlib.sha256(stated.encode("utf-8", "replace")).hexdigest()[:24]
    return [_message(one, i, default, f"import-{digest}-{i}") for i, one in enumerate(items)]


def _message(raw: Any, i: int, default: datetime, made_id: str) -> NewMessage:
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"messages[{i}] must be an object with role and content")
    role, content = raw.get("role", "user"), raw.get("content")
    if role not in ("user", "assistant", "system", "developer", "tool", "function"):
        raise InvalidInput(f"messages[{i}].role={str(role)[:40]!r} is unknown")
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    if not isinstance(content, str) or not content.strip():
        raise InvalidInput(f"messages[{i}].content must be text that is not empty")
    if len(content) > MAX_MESSAGE_CHARS:
        raise TooLarge(f"messages[{i}] is over {MAX_MESSAGE_CHARS} characters")
    given, speaker = raw.get("id"), raw.get("name")
    return NewMessage(
        role if role in ("user", "assistant") else "system",
        content,
        _moment(raw, "created_at") or default,
        _name(str(given), f"messages[{i}].id") if given else made_id,
        _name(speaker, f"messages[{i}].name") if speaker else None,
    )


# Running


def unfinished_jobs(*, stale: bool = False) -> Any:
    rows = ImportJob.objects.filter(status__in=UNFINISHED)
    return rows.filter(updated_at__lt=timezone.now() - STALE) if stale else rows


def run_import(job_id: int) -> tuple[list[Event], datetime | None]:
    """Takes lines in for TURN_S at most. Returns the events to enqueue, and when to go on; None where it is over.

    Safe to run twice, and at once.
    """
    events: list[Event] = []
    with advisory_lock(Kind.IMPORT, job_id) as held:
        job = unfinished_jobs().select_related("project").filter(pk=job_id).first()
        if not held or job is None or job.project.deleted_at is not None:
            return [], None
        rows = ImportJob.objects.filter(pk=job.pk)
        rows.update(status=JobStatus.RUNNING, updated_at=timezone.now())
        end = time.monotonic() + TURN_S
        try:
            while lines := list(job.lines.filter(status=ImportLine.Status.PENDING).order_by("number")[:BATCH]):
                if not _take(job, lines, events):
                    return events, timezone.now() + BUSY_PAUSE
                rows.update(updated_at=timezone.now(), num_attempts=0)
                if time.monotonic() > end:
                    return events, timezone.now()
            _finish(job)
        except Exception as exc:
            logger.exception("import %s", job.public_id)
            attempts, now = job.num_attempts + 1, timezone.now()
            failed = attempts >= MAX_ATTEMPTS
            rows.update(
                status=JobStatus.FAILED if failed else JobStatus.PENDING,
                error=f"{type(exc).__name__}: {exc}",
                num_attempts=attempts,
                updated_at=now,
                completed_at=now if failed else None,
            )
            return events, None if failed else now + timedelta(seconds=ingest.backoff_s(attempts, exc))
    return events, None


def _take(job: ImportJob, lines: Sequence[ImportLine], events: list[Event]) -> bool:
    """False where nothing could be done because workers held the scopes."""
    now = timezone.now()
    memories: dict[EntityIds, list[tuple[ImportLine, Item]]] = {}
    taken = 0
    for line in lines:
        try:
            item = read_item(line.content, job.defaults, now=now)
            if isinstance(item, Item):
                memories.setdefault(_scope_of(item.ids), []).append((line, item))
                continue
            events += _take_messages(job, line, item, now=now)
        except ServiceError as exc:
            _fail(line, str(exc))
        taken += 1
    vectors = _embed_new(job.project, [item for pairs in memories.values() for _, item in pairs])
    for ids, pairs in memories.items():
        taken += _take_memories(job, ids, pairs, vectors)
    return taken > 0


def _embed_new(project: Project, items: Sequence[Item]) -> dict[str, Any]:
    """The vector of each text that is not here already; before any row is locked."""
    known = _known(item.public_id(project) for item in items)
    texts = list(dict.fromkeys(item.text for item in items if item.public_id(project) not in known))
    return dict(zip(texts, embed_texts(texts), strict=True)) if texts else {}


def _known(public_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    return set(Memory.objects.filter(public_id__in=list(public_ids)).values_list("public_id", flat=True))


def _scope_of(ids: EntityIds) -> EntityIds:
    """What a scope is named by: a run has one of its own only where nothing else is named."""
    named = EntityIds(ids.user_id, ids.agent_id, ids.app_id)
    return named if named != EntityIds() else ids


def _take_messages(job: ImportJob, line: ImportLine, raw: Mapping[str, Any], *, now: datetime) -> list[Event]:
    """Raises what ingest raises for messages that are here already with other words."""
    request = AddRequest(
        messages=read_messages(raw, line, now=now),
        ids=read_ids(raw, job.defaults),
        metadata=_metadata(raw),
        infer=raw.get("infer") is not False,
        expiration_date=_date(raw.get("expiration_date")),
    )
    with transaction.atomic():
        if not _still_wanted([line]):
            return []
        event = ingest.record_add(job.project, request)
        _done(line, known=event.created_at < now, event_public_id=event.public_id)
    return [event]


def _still_wanted(lines: Sequence[ImportLine]) -> set[int]:
    """Locked. Whoever is forgotten while we read is not brought back by what we have read."""
    pending = ImportLine.objects.filter(pk__in=[line.pk for line in lines], status=ImportLine.Status.PENDING)
    return set(pending.select_for_update().order_by("pk").values_list("pk", flat=True))


def _take_memories(
    job: ImportJob, ids: EntityIds, pairs: Sequence[tuple[ImportLine, Item]], vectors: Mapping[str, Any]
) -> int:
    """All of one scope in one transaction, or, where one of them clashes, one by one. 0 where a worker holds it."""
    with transaction.atomic():
        if not _still_wanted([line for line, _ in pairs]):
            return len(pairs)
        scope = ingest.find_or_make_scope(job.project, ids)
    with advisory_lock(Kind.SCOPE, scope.pk) as held:
        if not held:
            return 0
        try:
            with transaction.atomic():
                _write(job, scope, pairs, vectors)
        except IntegrityError:
            for pair in pairs:
                _write_alone(job, scope, pair, vectors)
    return len(pairs)


def _write_alone(job: ImportJob, scope: Scope, pair: tuple[ImportLine, Item], vectors: Mapping[str, Any]) -> None:
    try:
        with transaction.atomic():
            _write(job, scope, [pair], vectors)
    except IntegrityError as exc:
        _fail(pair[0], f"it clashes with what was written at the same time: {str(exc).splitlines()[0]}")


def _write(job: ImportJob, scope: Scope, pairs: Sequence[tuple[ImportLine, Item]], vectors: Mapping[str, Any]) -> None:
    """In the caller's transaction, under the scope's lock."""
    wanted = _still_wanted([line for line, _ in pairs])
    pairs = [(line, item) for line, item in pairs if line.pk in wanted]
    public_ids = [item.public_id(job.project) for _, item in pairs]
    known = _known(public_ids)
    settled: list[tuple[ImportLine, ImportLine.Status, uuid.UUID, str]] = []
    hashes = [hash_text(item.text) for _, item in pairs]
    live = Memory.objects.live().filter(scope=scope, text_hash__in=hashes)
    columns = live.values_list("run_id", "text_hash", "public_id")
    said = {(run_id, text): public_id for run_id, text, public_id in columns}
    sessions: dict[str | None, Session] = {}
    added: list[tuple[ImportLine, Item, Memory]] = []
    for (line, item), public_id in zip(pairs, public_ids, strict=True):
        key = (item.ids.run_id, hash_text(item.text))
        twin = said.get(key) if item.state == MemoryState.LIVE else None
        if public_id in known or twin is not None:
            settled.append((line, ImportLine.Status.KNOWN, twin or public_id, item.replaced_by))
            continue
        if item.text not in vectors:  # what was known when we looked was forgotten since
            vectors = {**vectors, item.text: embed_texts([item.text])[0]}
        known.add(public_id)
        if item.state == MemoryState.LIVE:
            said[key] = public_id
        session = _session(scope, item, sessions)
        added.append((line, item, _build(job, scope, session, item, public_id)))
    memories = [memory for _, _, memory in added]
    Memory.objects.bulk_create(memories)
    write_index(memories, _stacked([vectors[memory.text] for memory in memories]))
    MemoryRevision.objects.bulk_create(
        revision for line, item, memory in added for revision in _revisions(job, line, item, memory)
    )
    settled += [(line, ImportLine.Status.DONE, memory.public_id, item.replaced_by) for line, item, memory in added]
    _settle(settled)


def _settle(settled: Sequence[tuple[ImportLine, ImportLine.Status, uuid.UUID, str]]) -> None:
    """In one statement: one for each line would take longer than all the rest."""
    columns: list[list[Any]] = [
        [line.pk for line, _, _, _ in settled],
        [str(status) for _, status, _, _ in settled],
        [public_id for _, _, public_id, _ in settled],
        [replaced_by for _, _, _, replaced_by in settled],
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE memory_service_importline l SET status = t.status, content = NULL, error = '', "
            "memory_public_id = t.memory, replaced_by = t.replaced_by FROM "
            "unnest(%s::bigint[], %s::text[], %s::uuid[], %s::text[]) AS t(id, status, memory, replaced_by) "
            "WHERE l.id = t.id",
            columns,
        )


def _stacked(vectors: Sequence[Any]) -> Vectors:
    return np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)


def _session(scope: Scope, item: Item, known: dict[str | None, Session]) -> Session:
    """As the memories of messages are filed: in the session of their run."""
    run_id = item.ids.run_id
    if run_id not in known:
        Scope.objects.select_for_update(no_key=True).get(pk=scope.pk)  # under it nobody else makes the session
        known[run_id] = scope.sessions.filter(run_id=run_id).first() or Session.objects.create(
            scope=scope, run_id=run_id, first_said_at=item.said_at, last_said_at=item.said_at
        )
    return known[run_id]


def _build(job: ImportJob, scope: Scope, session: Session, item: Item, public_id: uuid.UUID) -> Memory:
    now = timezone.now()
    valid_at = item.valid_at or item.said_at
    over = item.state != MemoryState.LIVE
    origin = {"origin_id": item.origin_id} if item.origin_id else {}
    return prepare(
        Memory(
            public_id=public_id,
            project=job.project,
            scope=scope,
            session=session,
            user_id=scope.user_id,
            agent_id=scope.agent_id,
            app_id=scope.app_id,
            run_id=session.run_id,
            kind=item.kind,
            state=item.state,
            text=item.text,
            text_hash=hash_text(item.text),
            subject=item.subject,
            attribute=item.attribute,
            value=item.value,
            metadata={**item.metadata, **origin},
            categories=list(item.categories),
            immutable=item.immutable,
            expiration_date=item.expiration_date,
            said_at=item.said_at,
            valid_at=valid_at,
            invalid_at=max(item.invalid_at or now, valid_at) if over or item.invalid_at else None,
            created_at=now,
            updated_at=item.updated_at,
            expired_at=now if over else None,
        )
    )


def _revisions(job: ImportJob, line: ImportLine, item: Item, memory: Memory) -> Iterator[MemoryRevision]:
    """Its history at the origin, where that came along; else that it was imported."""
    came_from = f"imported from {job.source or 'a request'}, line {line.number}"
    steps = item.history or (Step("ADD", None, item.text, memory.created_at),)
    for step in steps:
        yield MemoryRevision(
            memory=memory,
            operation=step.operation,
            old_text=step.old_text,
            new_text=step.new_text,
            reason=f"{step.reason} ({came_from})" if step.reason else came_from,
            policy=POLICY,
            metadata=memory.metadata,
            categories=memory.categories,
            created_at=step.at,
        )


def _done(line: ImportLine, *, known: bool, **became: Any) -> None:
    status = ImportLine.Status.KNOWN if known else ImportLine.Status.DONE
    ImportLine.objects.filter(pk=line.pk).update(status=status, content=None, error="", **became)


def _fail(line: ImportLine, error: str) -> None:
    ImportLine.objects.filter(pk=line.pk).update(status=ImportLine.Status.FAILED, error=error)


@transaction.atomic
def _finish(job: ImportJob) -> None:
    """Last what points from one memory to another: all of them are there now."""
    pointing = job.lines.exclude(replaced_by="").exclude(memory_public_id=None)
    pairs: list[Any] = list(pointing.values_list("memory_public_id", "replaced_by"))
    for public_id, origin_id in pairs:
        later = Memory.objects.in_project(job.project).filter(public_id=imported_id(job.project, origin_id)).first()
        if later is not None:
            earlier = Memory.objects.in_project(job.project).filter(public_id=public_id, replaced_by=None)
            earlier.exclude(pk=later.pk).exclude(state=MemoryState.LIVE).update(replaced_by=later)
    now = timezone.now()
    ImportJob.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED, error="", completed_at=now, updated_at=now)


# Looking


def find_job(project: Project, public_id: Any) -> ImportJob:
    found = ImportJob.objects.filter(project=project, public_id=public_id).first()
    if found is None:
        raise NotFound(f"import {public_id} was not found in this project; imports are kept for a week")
    return found


def retry_failed(job: ImportJob) -> int:
    """Puts the lines that failed, and can be read, back. Raises Conflict while the job runs."""
    if job.status in UNFINISHED:
        raise Conflict(f"import {job.public_id} is still {job.status}")
    failed = job.lines.filter(status=ImportLine.Status.FAILED, content__isnull=False)
    with transaction.atomic():
        count = failed.update(status=ImportLine.Status.PENDING, error="")
        ImportJob.objects.filter(pk=job.pk).update(
            status=JobStatus.PENDING, num_attempts=0, error="", completed_at=None, updated_at=timezone.now()
        )
    return count


def progress(job: ImportJob) -> dict[str, int]:
    """How many lines are in which state."""
    counts = dict(job.lines.values_list("status").annotate(Count("pk")).order_by())
    return {status: counts.get(status, 0) for status in ImportLine.Status.values}


def errors(job: ImportJob) -> Any:
    return job.lines.filter(~Q(error="")).order_by("number")


def drop_expired_jobs() -> int:
    """The jobs with their lines; what they brought in stays."""
    return ImportJob.objects.filter(expires_at__lt=timezone.now()).exclude(status__in=UNFINISHED).delete()[0]
