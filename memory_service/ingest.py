"""Record messages; process an event: extract, consolidate, link, embed, in that order.

The database is the queue: an event is a row that `record_add` writes with its messages, in one transaction, before the
caller is answered. A Celery message only says "look at this scope". Whoever holds the scope's advisory lock drains its
events in order; a row left RUNNING while the lock is free belonged to a worker that died, and is taken over at once.
The claim token in the row decides who may finish it, so an event is applied once even if two believed they held it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from django.db import DatabaseError, transaction
from django.db.models import Count, F
from django.utils import timezone

from . import categories, consolidation, ledger, policies, procedural
from .embedding import Vectors, embed_texts
from .errors import BudgetExhausted, Conflict, LLMUnavailable, ServiceError
from .extraction.llm import WINDOW_MESSAGES, extract_llm
from .extraction.local import extract_local
from .extraction.types import Candidate, Extraction, Grounding, SourceMessage
from .knowledge import asking
from .llm import LLMConfig
from .locks import Kind, advisory_lock
from .logs import request_id
from .models import EntityRecord, Event, EventStatus, Message, Project, Scope, Session
from .project_llm import llm_config, project_policy

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
MAX_LLM_ATTEMPTS = 3  # then the local path takes over, and the event says so
MAX_BACKOFF_S = 300.0
TURN_S = 30.0  # a scope with much to do lets the others have a worker after so long
AFTER_A_TURN = timedelta(milliseconds=50)
BATCH_EVENTS, BATCH_MESSAGES = 16, 64  # processed together, so that their texts are embedded together
NOTHING_NEW = "No memory was made: what was said is small talk, or known already."


@dataclass(frozen=True, slots=True)
class EntityIds:
    """Whom a memory belongs to. At least one is set."""

    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    role: str
    content: str
    said_at: datetime
    client_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class AddRequest:
    """What an add asks for. wishes: custom_instructions, custom_categories, includes, excludes of this call."""

    messages: Sequence[NewMessage]
    ids: EntityIds
    metadata: dict[str, Any] = field(default_factory=dict)
    infer: bool = True
    immutable: bool = False
    expiration_date: date | None = None
    wishes: dict[str, Any] = field(default_factory=dict)
    timezone: str | None = None  # an IANA name, or an offset such as -08:00
    enable_graph: bool | None = None  # None: as the project says
    memory_type: str | None = None  # "procedural_memory": one memory of how the run was done

    def options(self) -> dict[str, Any]:
        expires = self.expiration_date.isoformat() if self.expiration_date else None
        return {
            "metadata": self.metadata,
            "infer": self.infer,
            "immutable": self.immutable,
            "expiration_date": expires,
            "wishes": self.wishes,
            "timezone": self.timezone,
            "enable_graph": self.enable_graph,
            **({"memory_type": self.memory_type} if self.memory_type else {}),
        }


# Recording


@transaction.atomic
def record_add(project: Project, request: AddRequest) -> Event:
    """Writes session, messages and a PENDING event. The caller enqueues the scope when this has committed.

    Messages whose client id is in the session already are not written again; where that is all of them, the event
    that brought them is returned, and tried anew if it had failed. Raises Conflict when such a message now says
    something else.
    """
    scope = find_or_make_scope(project, request.ids)
    # Under the scope's lock nobody else makes the session.
    session = scope.sessions.filter(run_id=request.ids.run_id).first()
    session = session or Session.objects.create(scope=scope, run_id=request.ids.run_id)
    fresh, known = _split_known(session, request.messages)
    if known and not fresh:
        return _revive(known[-1].event)
    event = Event.objects.create(
        project=project,
        scope=scope,
        type=Event.Type.ADD,
        options=request.options(),
        request_id=request_id.get()[:64],
    )
    _write_messages(session, event, fresh)
    return event


def _revive(event: Event) -> Event:
    """An event that failed is tried anew when its messages are posted again; any other is as it is."""
    failed = Event.objects.filter(pk=event.pk, status=EventStatus.FAILED)
    now = timezone.now()
    if failed.update(status=EventStatus.PENDING, num_attempts=0, error="", completed_at=None, updated_at=now):
        event.refresh_from_db()
    return event


def find_or_make_scope(project: Project, ids: EntityIds) -> Scope:
    """Locks the scope's row: two adds to one scope commit in the order of their events' ids."""
    named: dict[str, Any] = {"user_id": ids.user_id, "agent_id": ids.agent_id, "app_id": ids.app_id, "run_id": None}
    if not any(named.values()):
        named["run_id"] = ids.run_id
    row = Scope.objects.select_for_update(no_key=True).filter(project=project, **named)
    scope = row.first()
    if scope is None:
        Scope.objects.bulk_create([Scope(project=project, **named)], ignore_conflicts=True)
        scope = row.get()
    return scope


@transaction.atomic
def find_or_make_entity(project: Project, kind: str, name: str, *, metadata: dict[str, Any] | None) -> bool:
    """A user, agent, app or run without memories. Returns whether it is new. metadata: None leaves it as it is."""
    rows = Session.objects.filter(scope__project=project) if kind == "run" else Scope.objects.filter(project=project)
    made = not rows.filter(**{f"{kind}_id": name}).exists()
    if made:
        scope = find_or_make_scope(project, EntityIds(**{f"{kind}_id": name}))
        if kind == "run":
            Session.objects.get_or_create(scope=scope, run_id=name)
    record, _ = EntityRecord.objects.get_or_create(project=project, type=kind, name=name)
    if metadata is not None:
        record.metadata, record.updated_at = metadata, timezone.now()
        record.save(update_fields=["metadata", "updated_at"])
    return made


def _split_known(session: Session, messages: Sequence[NewMessage]) -> tuple[list[NewMessage], list[Message]]:
    wanted = [m.client_id for m in messages if m.client_id is not None]
    stored = session.messages.select_related("event").filter(client_id__in=wanted) if wanted else []
    known = {m.client_id: m for m in stored}
    fresh: dict[Any, NewMessage] = {}
    for i, message in enumerate(messages):
        earlier = known.get(message.client_id) or fresh.get(message.client_id)
        if message.client_id is None:
            fresh[i] = message
        elif earlier is None:
            fresh[message.client_id] = message
        elif (earlier.role, earlier.content) != (message.role, message.content):
            raise Conflict(
                f"message id {message.client_id!r} is already in this session with other words: "
                "give the changed message an id of its own"
            )
    return list(fresh.values()), [known[c] for c in dict.fromkeys(wanted) if c in known]


def _write_messages(session: Session, event: Event, messages: Sequence[NewMessage]) -> None:
    first_seq = session.num_messages  # read under the scope's lock
    Message.objects.bulk_create(
        Message(
            session=session,
            event=event,
            seq=first_seq + i,
            client_id=message.client_id,
            role=message.role,
            name=message.name,
            content=message.content,
            said_at=message.said_at,
        )
        for i, message in enumerate(messages)
    )
    said = [m.said_at for m in messages]
    session.num_messages = first_seq + len(messages)
    if said:
        session.first_said_at = min(filter(None, [session.first_said_at, *said]))
        session.last_said_at = max(filter(None, [session.last_said_at, *said]))
    session.save(update_fields=["num_messages", "first_said_at", "last_said_at"])


# Processing


@dataclass(slots=True)
class Work:
    """One claimed event on its way through the stages."""

    event: Event
    messages: list[Message]
    policy: policies.Policy = "local"
    llm: LLMConfig | None = None
    extraction: Extraction = field(default_factory=Extraction)
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    @property
    def candidates(self) -> list[Candidate]:
        return self.extraction.candidates

    @property
    def texts(self) -> list[str]:
        return [c.text for c in (*self.extraction.candidates, *self.extraction.quarantined)]


class LostClaim(Exception):
    """Another worker took the event over; what we did for it is rolled back."""


def drain_scope(scope_id: int) -> datetime | None:
    """Processes the scope's events in order until none is left.

    Returns when to look again, where the next event waits out a back-off or others shall have their turn; None
    otherwise, also when another worker holds the scope: it looks again itself before it lets go for good.
    """
    while True:
        with advisory_lock(Kind.SCOPE, scope_id) as held:
            if not held:
                return None
            retry_at = _drain_locked(scope_id)
        if retry_at is not None and retry_at > timezone.now():
            return retry_at
        # An event that was recorded after our last look found the lock held; so we look once more without it.
        if not Event.objects.unfinished().filter(scope_id=scope_id).exists():
            return None


def _drain_locked(scope_id: int) -> datetime | None:
    """While one batch is being written, the texts of the next are embedded beside it, on another core."""
    end_of_turn = time.monotonic() + TURN_S
    with ThreadPoolExecutor(1) as beside:
        staged: Staged | None = None
        while True:
            over = time.monotonic() > end_of_turn
            if over and staged is None:
                return timezone.now() + AFTER_A_TURN
            alone = staged is not None and staged.stands_alone
            events = [] if over or alone else claim_batch(scope_id, after=staged)
            following = stage(events, beside) if events else None
            if staged is None and following is None:
                return _next_look(scope_id)
            if staged and not settle(staged) and following:
                # One of the earlier events is to be tried again: the later ones must not overtake it.
                release(following.events)
                following = None
            staged = following


def _next_look(scope_id: int) -> datetime | None:
    """When the scope's first event has waited out its back-off; None where nothing waits."""
    first = Event.objects.unfinished().filter(scope_id=scope_id).order_by("id").first()
    return first.retry_at if first else None


def claim_batch(scope_id: int, *, after: Staged | None = None) -> list[Event]:
    """Claims the next events of a scope whose lock we hold: several at once where no LLM call is due.

    after: what we hold already. An event that waits out a back-off holds up all behind it.
    """
    ready: list[Event] = []
    num_messages = 0
    held = [event.pk for event in after.events] if after else []
    waiting = Event.objects.unfinished().filter(scope_id=scope_id).exclude(pk__in=held).order_by("id")
    for event in waiting.select_related("project", "scope").annotate(num_new=Count("messages"))[:BATCH_EVENTS]:
        if event.num_attempts >= MAX_ATTEMPTS:
            give_up(event)
            continue
        num_messages += event.num_new  # type: ignore[attr-defined]
        alone = wants_llm(event) or event.num_attempts > 0
        if event.retry_at is not None and event.retry_at > timezone.now():
            break
        if (alone and (ready or after)) or (ready and num_messages > BATCH_MESSAGES):
            break
        ready.append(event)
        if alone:
            break
    return [event for event in ready if claim(event)]


def give_up(event: Event) -> None:
    """An event that took its worker down so often would do it again."""
    now = timezone.now()
    error = f"{event.num_attempts} workers died while processing this. The messages are kept; post them again to retry."
    Event.objects.unfinished().filter(pk=event.pk).update(
        status=EventStatus.FAILED, error=error, completed_at=now, updated_at=now
    )


def release(events: Sequence[Event]) -> None:
    """Gives claimed events back as if they had not been touched."""
    for event in events:
        Event.objects.filter(pk=event.pk, claim=event.claim, status=EventStatus.RUNNING).update(
            status=EventStatus.PENDING, claim=None, num_attempts=F("num_attempts") - 1
        )


def claim(event: Event) -> bool:
    """Takes the event, whoever had it. True if it was still to be done."""
    token, now = uuid.uuid4(), timezone.now()
    changed = (
        Event.objects.unfinished()
        .filter(pk=event.pk)
        .update(
            status=EventStatus.RUNNING,
            claim=token,
            num_attempts=F("num_attempts") + 1,
            retry_at=None,
            started_at=now,
            updated_at=now,
        )
    )
    event.claim = token
    event.num_attempts += 1
    return changed == 1


@dataclass(slots=True)
class Staged:
    """A batch that is extracted, and whose vectors are on their way."""

    events: Sequence[Event]
    works: list[Work]
    embedded: Future[None]

    @property
    def stands_alone(self) -> bool:
        """What an LLM is asked may depend on what the event before wrote."""
        return any(wants_llm(event) for event in self.events)


def stage(events: Sequence[Event], beside: Executor) -> Staged | None:
    """Loads and extracts here, embeds on the executor. None where a lone event could not be extracted."""
    try:
        works = [load(event) for event in events]
        for work in works:
            with ledger.charged(work.event.project, event=work.event, scope=work.event.scope):
                extract(work)
    except Exception as exc:  # noqa: BLE001 - whatever it was, it must end in a row that a person can read
        return _stage_apart(events, exc, beside)
    return Staged(events, works, beside.submit(embed, works))


def _stage_apart(events: Sequence[Event], exc: Exception, beside: Executor) -> Staged | None:
    """So that only the event at fault bears it: the first alone now, the others in their turn."""
    if len(events) == 1:
        record_failure(events[0], exc)
        return None
    release(events[1:])
    return stage(events[:1], beside)


def settle(staged: Staged) -> bool:
    """Writes what the batch came to. Each event ends SUCCEEDED, FAILED with a reason, or PENDING with a time to try
    again; false if one is PENDING, and then those behind it are given back."""
    for i, work in enumerate(staged.works):
        try:
            staged.embedded.result()
            with ledger.charged(work.event.project, event=work.event, scope=work.event.scope):
                finish(work)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it must end in a row that a person can read
            if record_failure(work.event, exc) == EventStatus.PENDING:
                release(staged.events[i + 1 :])
                return False
    return True


def load(event: Event) -> Work:
    messages = list(event.messages.filter(withdrawn_at__isnull=True).select_related("session__scope").order_by("seq"))
    work = Work(event, messages)
    if wants_llm(event):
        work.policy, work.llm = project_policy(event.project), llm_config()
    return work


def wants_llm(event: Event) -> bool:
    return bool(event.options.get("infer", True)) and project_policy(event.project) != "local"


def extract(work: Work) -> None:
    sources = [to_source(message, work.event.options.get("timezone")) for message in work.messages]
    if work.event.options.get("memory_type") == procedural.MEMORY_TYPE:
        extract_procedure(work, sources)
        return
    if not work.event.options.get("infer", True):
        work.extraction = as_said(sources)
        return
    window = load_window(work)
    work.extraction = extract_local(sources, context=window, whole_turns=work.llm is not None)
    if work.llm is not None:
        extract_with_llm(work, sources, window)


def to_source(message: Message, zone: str | None = None) -> SourceMessage:
    """zone: the speaker's, as a name or an offset such as -08:00: "today" is a day there, not in Greenwich."""
    role: Any = message.role
    said_at = message.said_at.astimezone(read_zone(zone)) if zone else message.said_at
    return SourceMessage(message.pk, role, message.content, said_at, message.name)


def read_zone(zone: str) -> tzinfo:
    """Raises ValueError for what is neither a name nor an offset."""
    if zone[0] in "+-":
        offset = datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo
        assert offset is not None  # it was parsed with one
        return offset
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, OSError) as exc:
        raise ValueError(
            f"timezone={zone!r} is neither a name such as Europe/Oslo nor an offset such as -08:00"
        ) from exc


def load_window(work: Work) -> list[SourceMessage]:
    """The messages of the session before the new ones, oldest first."""
    if not work.messages:
        return []
    first = work.messages[0]
    before = first.session.messages.filter(seq__lt=first.seq).order_by("-seq")[:WINDOW_MESSAGES]
    return [to_source(message) for message in reversed(before)]


def as_said(sources: Sequence[SourceMessage]) -> Extraction:
    """infer=false: each message as it is; system messages are no memories."""
    return Extraction(
        candidates=[
            Candidate(
                text=source.content,
                kind="episodic",
                grounding=(Grounding(source.id, 0, len(source.content)),),
                speaker=source.name,
            )
            for source in sources
            if source.role != "system" and source.content.strip()
        ]
    )


def extract_with_llm(work: Work, sources: Sequence[SourceMessage], window: Sequence[SourceMessage]) -> None:
    """What was said stays from the local path; its facts give way to the model's.

    A model that cannot be reached is waited for, MAX_LLM_ATTEMPTS times; then, and when it refuses or talks
    nonsense, the local facts stand and the event's notes say why.
    """
    try:
        found = _ask_llm(work, sources, window)
    except ServiceError as exc:
        _fall_back(work, exc)
    else:
        said = [c for c in work.extraction.candidates if c.kind == "episodic"]
        found.candidates = [*said, *found.candidates]
        work.extraction = found


def extract_procedure(work: Work, sources: Sequence[SourceMessage]) -> None:
    """One memory of what the run did, by the model or without; it is never merged into another."""
    llm = work.llm
    work.extraction = procedural.extract_local(sources)
    if llm is not None:
        try:
            work.extraction = procedural.extract_llm(llm, sources, instructions=work.event.project.custom_instructions)
        except ServiceError as exc:
            _fall_back(work, exc)
    work.policy, work.llm = ("add_only" if llm else "local"), None


def _ask_llm(work: Work, sources: Sequence[SourceMessage], window: Sequence[SourceMessage]) -> Extraction:
    assert work.llm is not None  # the caller looked
    project = work.event.project
    asked = {
        "custom_instructions": instructions_of(project),
        "custom_categories": project.custom_categories or categories.DEFAULT,
        "includes": project.settings.get("inclusion_prompt") or "",
        "excludes": project.settings.get("exclusion_prompt") or "",
    }
    wishes = {**asked, **{k: v for k, v in work.event.options.get("wishes", {}).items() if v}}
    summary = work.messages[0].session.summary if work.messages else ""
    if work.policy == "add_only":
        existing = _nearest_facts(work, sources)
        return policies.extract_add_only(work.llm, sources, summary=summary, window=window, existing=existing, **wishes)
    return extract_llm(work.llm, sources, summary=summary, window=window, **wishes)


def instructions_of(project: Project) -> str:
    """The project's, and those for memories of what the assistant said or did."""
    of_agent = project.settings.get("agent_custom_instructions")
    parts = [project.custom_instructions, f"For memories about the assistant: {of_agent}" if of_agent else ""]
    return "\n".join(part for part in parts if part)


def _nearest_facts(work: Work, sources: Sequence[SourceMessage]) -> list[policies.Neighbour]:
    assert work.event.scope is not None  # ADD events have one
    text = "\n".join(source.content for source in sources)
    return consolidation.find_neighbours(work.event.scope, embed_texts([text])[0])


def _fall_back(work: Work, exc: ServiceError) -> None:
    """To the local path. Raises `exc` again where the model is waited for once more, or where there is none."""
    waits = isinstance(exc, LLMUnavailable) and work.event.num_attempts < MAX_LLM_ATTEMPTS
    if waits or work.llm is None:
        raise exc
    logger.warning("event %s: the LLM failed (%s); the local path took over", work.event.public_id, exc)
    work.policy, work.llm = "local", None
    why = "may not be asked" if isinstance(exc, BudgetExhausted) else "gave no usable answer"
    work.extraction.notes.append(f"The language model {why} ({exc}); extracted without it.")


def embed(works: Sequence[Work]) -> None:
    """All texts of the batch in one go."""
    vectors = embed_texts([text for work in works for text in work.texts])
    start = 0
    for work in works:
        work.vectors = vectors[start : start + len(work.texts)]
        start += len(work.texts)


def finish(work: Work) -> None:
    """Decides, then writes everything that the event came to, or nothing."""
    event, extraction = work.event, work.extraction
    assert event.scope is not None  # ADD events have one
    num_candidates = len(extraction.candidates)
    vectors = work.vectors[:num_candidates]
    if not extraction.usage:  # a model that was asked has sorted its facts itself
        extraction.candidates = categories.label(extraction.candidates, vectors, wanted=categories.wanted(event))
    try:
        plan = consolidation.decide(event.scope, extraction.candidates, vectors, policy=work.policy, llm=work.llm)
    except ServiceError as exc:
        _fall_back(work, exc)
        return finish(work)
    asked = asking.Asked()
    if work.llm is not None and asking.wants_relations(event):
        asked = asking.ask_relations(event, extraction.candidates, work.llm)
    with transaction.atomic():
        _lock_claim(event)
        outcome = consolidation.apply(event, plan, vectors, work.messages)
        consolidation.quarantine(event, extraction.quarantined, work.vectors[num_candidates:], work.messages)
        asking.write_relations(event, asked)
        notes = [*extraction.notes, *asked.notes, *([] if outcome.results else [NOTHING_NEW])]
        _complete(event, outcome.results, notes)
    return None


def _lock_claim(event: Event) -> None:
    held = Event.objects.select_for_update().filter(pk=event.pk, claim=event.claim, status=EventStatus.RUNNING)
    if not held.exists():
        raise LostClaim(f"event {event.public_id} was taken over")


def _complete(event: Event, results: list[dict[str, Any]], notes: list[str]) -> None:
    now = timezone.now()
    Event.objects.filter(pk=event.pk).update(
        status=EventStatus.SUCCEEDED, results=results, notes=notes, error="", completed_at=now, updated_at=now
    )


def record_failure(event: Event, exc: BaseException) -> EventStatus | None:
    """Back to PENDING with a back-off where trying again may help, FAILED with a reason where it will not.

    Returns which; None where the event is another worker's by now.
    """
    if isinstance(exc, LostClaim):
        logger.warning("%s", exc)
        return None
    now = timezone.now()
    held = Event.objects.filter(pk=event.pk, claim=event.claim, status=EventStatus.RUNNING)
    permanent = isinstance(exc, ServiceError) and exc.permanent
    if permanent or event.num_attempts >= MAX_ATTEMPTS:
        logger.error("event %s failed", event.public_id, exc_info=exc)
        held.update(status=EventStatus.FAILED, error=_reason(event, exc), completed_at=now, updated_at=now)
        return EventStatus.FAILED
    logger.warning("event %s will be tried again: %s", event.public_id, exc, exc_info=not _expected(exc))
    retry_at = now + timedelta(seconds=backoff_s(event.num_attempts, exc))
    held.update(status=EventStatus.PENDING, error=_reason(event, exc), retry_at=retry_at, updated_at=now)
    return EventStatus.PENDING


def _expected(exc: BaseException) -> bool:
    return isinstance(exc, ServiceError | DatabaseError)


def backoff_s(num_attempts: int, exc: BaseException) -> float:
    """Doubles from one second; never less than the provider asked for."""
    asked = exc.retry_after_s if isinstance(exc, LLMUnavailable) and exc.retry_after_s else 0.0
    return min(max(2.0 ** (num_attempts - 1), asked), MAX_BACKOFF_S)


def _reason(event: Event, exc: BaseException) -> str:
    what = str(exc) or type(exc).__name__
    if isinstance(exc, ServiceError):
        return what
    return (
        f"{type(exc).__name__}: {what} (attempt {event.num_attempts} of {MAX_ATTEMPTS}). The messages are kept; the "
        f"worker's log has the trace under request id {event.request_id or '-'}; post them again to retry."
    )
