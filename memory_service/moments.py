"""As of when a question is answered: which versions of a memory hold then.

Two times: valid_at to invalid_at is when something was true in the world, created_at to expired_at when this store
took it for true. Without a word on either, a question is about now: the live versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from .errors import InvalidInput
from .filters import Filter, to_q
from .models import Memory, MemoryRevision, MemoryState, Project
from .timeexpr import find_time_expressions

SHOWN = (MemoryState.LIVE, MemoryState.SUPERSEDED)
ONCE_KNOWN = (*SHOWN, MemoryState.DELETED)  # by request; what was forgotten for good is no row any more

_PAST_WORDS = re.compile(
    r"\b(?:before|previous(?:ly)?|formerly|former|used to|earlier|in the past|originally|at first|at the time|back then"
    r"|back in|ever|first|once|prior|until|any ?more|no longer|ex|old(?! are| is| am)|past|history|changed?|over time"
    r"|last (?:job|address|city|home|flat|apartment|house|employer|company|partner|car|phone))\b|\bex-",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """as_of: in the world. known_at: in the store. past: versions that were ended, too; overlapping: of those, the
    ones that held at some time in [begin, finish)."""

    as_of: datetime | None = None
    known_at: datetime | None = None
    past: bool = False
    overlapping: tuple[datetime, datetime] | None = None

    @property
    def is_now(self) -> bool:
        return self.as_of is None and self.known_at is None


NOW = Moment()


def moment_of(
    query: str,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    reference_date: datetime | None = None,
    latest_only: bool | None = None,
) -> Moment:
    """What a question asks about. latest_only: true for the versions that hold, false for the ended ones too; None:
    as the question reads ("Where did she live before?", "in March 2023").

    reference_date: the day on which "last year" is said; None: today.
    """
    if as_of is not None or known_at is not None:
        return Moment(as_of, known_at)
    if latest_only is not None:
        return Moment(past=not latest_only)
    if _PAST_WORDS.search(query):
        return Moment(past=True)
    today = reference_date or timezone.now()
    for expression in find_time_expressions(query, reference=today):
        if expression.begin < today:
            return Moment(past=True, overlapping=(expression.begin, expression.finish))
    return NOW


def holding(moment: Moment) -> Q:
    """The condition on Memory."""
    if moment.is_now:
        if not moment.past:
            return Q(state=MemoryState.LIVE)
        return Q(state=MemoryState.LIVE) | (Q(state=MemoryState.SUPERSEDED) & _overlapping(moment.overlapping))
    started = Q(pk__isnull=False)
    open_then = started
    if moment.as_of is not None:
        # A plan holds from when it was made, whenever it is for.
        started = Q(said_at__lte=moment.as_of) | Q(valid_at__lte=moment.as_of)
        open_then = Q(invalid_at__isnull=True) | Q(invalid_at__gt=moment.as_of)
    if moment.known_at is None:
        return Q(state__in=SHOWN) & started & open_then
    known = Q(state__in=ONCE_KNOWN, created_at__lte=moment.known_at)
    believed = Q(expired_at__isnull=True) | Q(expired_at__gt=moment.known_at)
    if moment.as_of is None:
        return known & believed
    return known & started & (believed | (Q(state=MemoryState.SUPERSEDED) & open_then))


def _overlapping(interval: tuple[datetime, datetime] | None) -> Q:
    if interval is None:
        return Q(pk__isnull=False)
    begin, finish = interval
    started = Q(valid_at__isnull=True) | Q(valid_at__lt=finish)
    return started & (Q(invalid_at__isnull=True) | Q(invalid_at__gt=begin))


def texts_known_at(memories: Iterable[Memory], known_at: datetime) -> Mapping[int, str]:
    """The words that memories had then, for those that were reworded since."""
    later: Any = (
        MemoryRevision.objects.filter(
            memory__in=[memory.pk for memory in memories], created_at__gt=known_at, operation="UPDATE"
        )
        .exclude(old_text=None)
        .order_by("memory", "id")
        .distinct("memory")
    )
    return dict(later.values_list("memory", "old_text"))


@dataclass(frozen=True, slots=True)
class Difference:
    """What a store knew at one moment and not at another. changed: (the words then, the memory as it is now)."""

    added: list[Memory]
    removed: list[Memory]
    changed: list[tuple[str, Memory]]


def difference(project: Project, node: Filter, start: datetime, end: datetime, *, limit: int = 1000) -> Difference:
    """Between two moments of the store; at most `limit` of each kind, newest first. Words are those of each moment.

    Raises InvalidInput where end is before start.
    """
    if end < start:
        raise InvalidInput(f"to={end.isoformat()} is before from={start.isoformat()}: give the earlier moment first")
    rows = Memory.objects.in_project(project).filter(to_q(node)).order_by("-id")
    then, later = holding(Moment(known_at=start)), holding(Moment(known_at=end))
    added = list(rows.filter(later).exclude(pk__in=rows.filter(then).values("pk"))[:limit])
    removed = list(rows.filter(then).exclude(pk__in=rows.filter(later).values("pk"))[:limit])
    reworded = MemoryRevision.objects.filter(operation="UPDATE", created_at__gt=start, created_at__lte=end)
    both = list(rows.filter(then, pk__in=reworded.values("memory")).filter(later)[:limit])
    words_then, words_later = texts_known_at([*removed, *both], start), texts_known_at([*added, *both], end)
    for memory in added:
        memory.text = words_later.get(memory.pk, memory.text)
    changed = []
    for memory in both:
        before = words_then.get(memory.pk, memory.text)
        memory.text = words_later.get(memory.pk, memory.text)
        if before != memory.text:
            changed.append((before, memory))
    for memory in removed:
        memory.text = words_then.get(memory.pk, memory.text)
    return Difference(added, removed, changed)
