"""What the session pages read: the list with its counts, and a session as turns with what they left."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db.models import Count, Exists, F, IntegerField, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from memory_service.models import (
    Event,
    EventStatus,
    Memory,
    MemorySource,
    MemoryState,
    Message,
    Project,
    Scope,
    Session,
)

NUM_TONES = 6  # speakers' colours in dashboard.css
MAX_SUGGESTIONS = 100
MAX_FAILURES_SHOWN = 3


# --- the list


def find_sessions(project: Project, *, q: str = "", user: str = "", agent: str = "") -> QuerySet[Session]:
    """Newest first, each with num_memories (live ones) and num_pending (its events that are not finished).

    q: part of a run or user id, or words that all stand in one message.
    """
    sessions = Session.objects.filter(scope__project=project)
    if user:
        sessions = sessions.filter(scope__user_id=user)
    if agent:
        sessions = sessions.filter(Q(scope__agent_id=agent) | Q(scope__app_id=agent))
    if q:
        sessions = sessions.filter(
            Q(run_id__icontains=q) | Q(scope__user_id__icontains=q) | Q(pk__in=_sessions_saying(project, q))
        )
    return (
        sessions.select_related("scope")
        .annotate(num_memories=_count(_memories_of_outer()), num_pending=_count(_pending_of_outer()))
        .order_by(F("last_said_at").desc(nulls_last=True), "-pk")
    )


def suggest(project: Project, field: str) -> list[str]:
    """Some of the ids in use, for the filter's suggestions: field is user_id, agent_id or app_id."""
    return list(
        Scope.objects.filter(project=project, **{f"{field}__isnull": False})
        .order_by(field)
        .values_list(field, flat=True)
        .distinct()[:MAX_SUGGESTIONS]
    )


def _sessions_saying(project: Project, words: str) -> QuerySet[Message, int]:
    """Not correlated with the outer row: the planner reads the messages once and hashes what it found."""
    messages = Message.objects.filter(session__scope__project=project)
    for word in words.split():
        messages = messages.filter(content__icontains=word)
    return messages.values_list("session", flat=True)


def _memories_of_outer() -> QuerySet[Memory]:
    return Memory.objects.live().filter(session=OuterRef("pk")).order_by()


def _pending_of_outer() -> QuerySet[Event]:
    """Starts from the scope: its unfinished events are few, and have an index of their own."""
    of_session = Message.objects.filter(event=OuterRef("pk"), session=OuterRef(OuterRef("pk")))
    return Event.objects.unfinished().filter(Exists(of_session), scope=OuterRef("scope")).order_by()


def _count(rows: QuerySet[Any]) -> Coalesce:
    """Counts in a subquery: two counts over joins would multiply each other."""
    counted = rows.annotate(_one=F("pk") - F("pk")).values("_one").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


# --- one session


@dataclass(frozen=True)
class Segment:
    """A stretch of a message that the same memories rest on."""

    text: str
    source_ids: tuple[int, ...]


@dataclass(frozen=True)
class Turn:
    """A message, its text cut where memories begin and end, and those memories by their sources."""

    message: Message
    speaker: str
    tone: int
    segments: list[Segment]
    sources: list[MemorySource]


@dataclass(frozen=True)
class Progress:
    """What is still to be remembered of a session's scope. `version` differs when a page would."""

    num_unfinished: int
    num_memories: int
    version: str


def read_turns(session: Session, *, start: int, stop: int) -> list[Turn]:
    """The session's messages number start to stop, counted from 0, in three queries however many there are."""
    messages = list(session.messages.order_by("seq")[start:stop])
    sources = _sources_by_message(messages)
    return [_turn(message, sources[message.pk]) for message in messages]


def read_progress(session: Session) -> Progress:
    """Of the scope, not of the session alone: another session's events may still change these memories."""
    waiting = Event.objects.unfinished().filter(scope=session.scope_id)
    found = waiting.aggregate(num=Count("pk"), first=Min("pk"), last=Max("pk"))
    num_memories = Memory.objects.live().filter(session=session).count()
    seen = (
        found["num"],
        found["first"],
        found["last"],
        num_memories,
        session.num_messages,
        session.summary_seq,
    )
    return Progress(found["num"], num_memories, "-".join(str(part or 0) for part in seen))


def find_failures(session: Session) -> list[Event]:
    """The latest events that could not remember what was said in this session."""
    of_session = Message.objects.filter(event=OuterRef("pk"), session=session)
    failed = Event.objects.filter(Exists(of_session), scope=session.scope_id, status=EventStatus.FAILED)
    return list(failed.order_by("-pk")[:MAX_FAILURES_SHOWN])


def name_speaker(message: Message) -> str:
    return message.name or message.role.capitalize()


def split_at_sources(content: str, spans: Iterable[tuple[int, int, int]]) -> list[Segment]:
    """Cuts a text at every begin and end of a span, so that overlapping spans can be marked on their own.

    spans: (source id, start, end), in characters; what lies beyond the text is ignored.
    """
    inside = [(pk, max(start, 0), min(end, len(content))) for pk, start, end in spans]
    inside = [(pk, start, end) for pk, start, end in inside if start < end]
    cuts = sorted({0, len(content)} | {start for _, start, _ in inside} | {end for *_, end in inside})
    return [
        Segment(content[a:b], tuple(pk for pk, start, end in inside if start <= a and b <= end))
        for a, b in pairwise(cuts)
    ]


def _sources_by_message(messages: Sequence[Message]) -> dict[int, list[MemorySource]]:
    """A deleted memory is gone for whoever asked for that, so it is not shown here either."""
    sources = (
        MemorySource.objects.filter(message__in=messages)
        .exclude(memory__state=MemoryState.DELETED)
        .select_related("memory")
        .prefetch_related("memory__entities")
        .order_by("start", "memory_id")
    )
    found: dict[int, list[MemorySource]] = defaultdict(list)
    for source in sources:
        found[source.message_id].append(source)
    return found


def _turn(message: Message, sources: list[MemorySource]) -> Turn:
    speaker = name_speaker(message)
    return Turn(
        message=message,
        speaker=speaker,
        tone=zlib.crc32(speaker.encode("utf-8", "surrogatepass")) % NUM_TONES,  # the same on every page and day
        segments=split_at_sources(message.content, [(s.pk, s.start, s.end) for s in sources]),
        sources=sources,
    )
