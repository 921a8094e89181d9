"""Keeps memories in step with the timelines of what was said: every change of mind passes through here.

A statement (models.Assertion) joins its timeline, the timeline is folded anew (timeline.py), and the memories that
stand for its spans are made, ended, reopened or reworded to match. As the fold looks at all that was said and not at
the order in which it came, so do the memories. Callers hold the transaction; `lock` is taken in it before any row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Q
from django.utils import timezone

from .embedding import Vectors, embed_texts
from .extraction.attributes import ATTRIBUTES, is_single
from .extraction.local import extract_local
from .extraction.types import Candidate, Grounding, SourceMessage
from .locks import Kind, lock_for_transaction
from .models import (
    Assertion,
    Event,
    Memory,
    MemoryRevision,
    MemorySource,
    MemoryState,
    Message,
    Review,
    Scope,
    hash_text,
)
from .models.conversation import MAX_NAME_CHARS
from .storage import new_memory, prepare, rewrite_index, turn_position, write_index
from .timeline import Said, Span, Timeline, content, fold, names, same_value, subject_key

MAX_REMEMBERED_KEYS = 1000  # of statements that a correction without a subject may mean, newest first
POLICY = "local"

UNNAMED = "user"  # the subject of a speaker who has given no name
Key = tuple[str, str]  # subject_key, attribute
Status = Assertion.Status


@dataclass(slots=True)
class Changes:
    """What came of a fold. operations: (memory, ADD | UPDATE | DELETE), in order. added: new memories, with the
    candidate each stands for; and those that hold again."""

    operations: list[tuple[Memory, str]] = field(default_factory=list)
    added: list[tuple[Memory, Candidate]] = field(default_factory=list)
    joined: list[tuple[Memory, Candidate]] = field(default_factory=list)  # said again of a memory that was there
    closed: list[Memory] = field(default_factory=list)
    untold: list[tuple[Candidate, Message]] = field(default_factory=list)  # corrections of nothing that is known


@dataclass(frozen=True, slots=True)
class Statement:
    """A candidate with a subject and an attribute (or with words to take back), its vector and its message."""

    candidate: Candidate
    vector: np.ndarray[Any, Any]
    message: Message


def lock(scope_id: int) -> None:
    """One at a time folds the timelines of a scope. A worker that waits for a model does not hold it."""
    lock_for_transaction(Kind.TIMELINE, scope_id)


def tell(event: Event, scope: Scope, statements: Sequence[Statement], *, options: Mapping[str, Any]) -> Changes:
    """Adds statements to their timelines and brings the memories in step."""
    rows = [row for statement in statements for row in _to_rows(event, scope, statement)]
    if not rows:
        return Changes()
    _name_subjects(scope, [row for row, _ in rows])
    located = [pair for pair in rows if pair[0].subject_key or _locate(scope, *pair)]
    keys = list(dict.fromkeys((row.subject_key, row.attribute) for row, _ in located))  # in the order of speaking
    known = _load(scope, keys)
    for row, _ in located:
        _suppress(row, known.get((row.subject_key, row.attribute), []))
    Assertion.objects.bulk_create(row for row, _ in located)
    for row, _ in located:
        known[row.subject_key, row.attribute].append(row)
    folding = _Folding(scope, event, options)
    for row, statement in located:
        folding.statements[row.pk] = statement
    folding.run(known)
    folding.changes.untold = [(s.candidate, s.message) for row, s in rows if not row.subject_key and not row.silent]
    return folding.changes


def _to_rows(event: Event, scope: Scope, statement: Statement) -> Iterable[tuple[Assertion, Statement]]:
    said, message = statement.candidate, statement.message
    at = min(said.valid_at, message.said_at) if said.valid_at else message.said_at
    spot = said.grounding[0] if said.grounding else Grounding(message.pk, 0, 0)
    single = said.single if said.single is not None else bool(said.attribute and is_single(said.attribute))
    row = Assertion(
        scope=scope,
        event=event,
        message=message,
        start=spot.start,
        end=spot.end,
        subject=said.subject or "",
        subject_key=subject_key(said.subject or ""),
        attribute=said.attribute or "",
        value=said.value,
        single=single,
        text=said.text,
        polarity=said.polarity,
        valid_at=said.valid_at,
        at=at,
        said_at=message.said_at,
        until=said.valid_until,
        dated=said.valid_at is not None and said.valid_at <= message.said_at,
        corrects=said.corrects,
        instead_of=said.instead_of,
        silent=said.silent,
        confidence=said.confidence,
    )
    yield row, statement
    also = ATTRIBUTES.get(said.attribute or "")
    if also and said.polarity == "holds":
        for name in also.ends:
            ends: dict[str, Any] = {f.attname: getattr(row, f.attname) for f in Assertion._meta.concrete_fields}
            ends |= {"id": None, "attribute": name, "value": None, "polarity": "ended", "silent": True}
            yield Assertion(**(ends | {"single": bool(is_single(name)), "corrects": False})), statement


# Whom a statement is about


def _name_subjects(scope: Scope, rows: Sequence[Assertion]) -> None:
    """ "Anna" is "Ann's sister Anna" where that is the only Anna; if the bare name came first, it was she."""
    keys = {row.subject_key for row in rows if row.subject_key}
    bare = {key for key in keys if " " not in key}
    kin = {key for key in keys if " " in key and "'s " in key}
    bare_of_kin = {key.rsplit(" ", 1)[1] for key in kin}
    stated, introduced = _known(scope, keys | bare_of_kin), _introductions(scope, rows)
    # It reads the names in all the scope's messages, so not of those who are known: most speak of themselves.
    speakers = _speakers(scope, (bare - stated) | bare_of_kin | (introduced & bare))
    known = stated | speakers
    introduced -= speakers
    fuller = _fuller(scope, (bare - known) | bare_of_kin)
    for row in rows:
        longer = fuller.get(row.subject_key, set())
        name = row.subject_key.rsplit(" ", 1)[-1]
        if row.subject_key in introduced:
            row.subject_key = UNNAMED
        elif row.subject_key in bare - known and len(longer) == 1:
            row.subject_key = next(iter(longer))
        elif (
            row.subject_key in kin and name in speakers and row.message and subject_key(row.message.name or "") != name
        ):
            row.subject_key = name  # "my brother Tom", where Tom speaks for himself
    for key in kin - known:
        name = key.rsplit(" ", 1)[1]
        if not fuller.get(name) and name in known - speakers:
            Assertion.objects.filter(scope=scope, subject_key=name).update(subject_key=key)


def _introductions(scope: Scope, rows: Sequence[Assertion]) -> set[str]:
    """The names that a speaker without a name has given as their own."""
    told = Assertion.objects.active().filter(scope=scope, subject_key=UNNAMED, attribute="name", polarity="holds")
    given = [row.value for row in rows if (row.subject_key, row.attribute) == (UNNAMED, "name")]
    return {subject_key(name) for name in (*told.values_list("value", flat=True), *given) if name}


def _known(scope: Scope, keys: set[str]) -> set[str]:
    rows = Assertion.objects.filter(scope=scope, subject_key__in=keys)
    return set(rows.values_list("subject_key", flat=True).distinct()) if keys else set()


def _speakers(scope: Scope, keys: set[str]) -> set[str]:
    """Those of the names that people who speak in the scope have."""
    if not keys:
        return set()
    names_said = Message.objects.filter(session__scope=scope, name__isnull=False).values_list("name", flat=True)
    return keys & {subject_key(name) for name in names_said.distinct() if name}


def _fuller(scope: Scope, names_asked: set[str]) -> dict[str, set[str]]:
    """For each bare name, the longer names that end, or begin, with it."""
    if not names_asked:
        return {}
    condition = Q()
    for name in names_asked:
        condition |= Q(subject_key__endswith=f" {name}") | Q(subject_key__startswith=f"{name} ")
    found: dict[str, set[str]] = defaultdict(set)
    rows = Assertion.objects.filter(scope=scope).filter(condition)
    for key in rows.values_list("subject_key", flat=True).distinct():
        for name in {key.split(" ", 1)[0], key.rsplit(" ", 1)[1]} & names_asked:
            found[name].add(key)
    return found


def _locate(scope: Scope, row: Assertion, statement: Statement) -> bool:
    """Finds what "it is Tuesday, not Monday" is about: the newest earlier statement that holds the words."""
    if not row.instead_of or row.value is None:
        return False
    earlier = Assertion.objects.active().filter(scope=scope, polarity="holds", said_at__lte=row.said_at)
    for other in earlier.exclude(message=row.message).order_by("-said_at", "-id")[:MAX_REMEMBERED_KEYS]:
        if other.value and names(row.instead_of, other.value):
            row.subject, row.subject_key, row.attribute = other.subject, other.subject_key, other.attribute
            row.single, row.text = other.single, _exchange(other.text, row.instead_of, row.value)
            row.value = _exchange(other.value, row.instead_of, row.value)
            return True
    return False


def _exchange(text: str, old: str, new: str) -> str:
    """The text with the old words replaced, whatever their case; where they are not together, the new words alone."""
    at = text.casefold().find(old.casefold())
    return text[:at] + new + text[at + len(old) :] if at >= 0 else new


# Timelines


def _load(scope: Scope, keys: Iterable[Key]) -> dict[Key, list[Assertion]]:
    found: dict[Key, list[Assertion]] = {key: [] for key in keys}
    rows = Assertion.objects.filter(
        scope=scope, subject_key__in={k for k, _ in found}, attribute__in={a for _, a in found}
    )
    for row in rows.order_by("id"):
        if (row.subject_key, row.attribute) in found:
            found[row.subject_key, row.attribute].append(row)
    return found


def _suppress(row: Assertion, known: Sequence[Assertion]) -> None:
    """What a person deleted or rewrote does not come back by being said again."""
    if row.polarity == "holds" and any(
        other.status == Status.SUPPRESSED and same_value(other.value, row.value) for other in known
    ):
        row.status = Status.WITHDRAWN


def _to_said(row: Assertion) -> Said:
    standing: Any = row.status if row.status in (Status.APPROVED, Status.REFUSED) else "open"
    polarity: Any = row.polarity
    return Said(
        key=row.pk,
        value=row.value,
        text=row.text,
        at=row.at,
        said_at=row.said_at,
        polarity=polarity,
        until=row.until,
        dated=row.dated,
        corrects=row.corrects,
        instead_of=row.instead_of,
        silent=row.silent or row.status == Status.SUPPRESSED,  # it still ended what it ended
        confidence=row.confidence,
        standing=standing,
        by_hand=row.by_hand,
        beside=not row.single and bool(row.attribute and is_single(row.attribute)),
    )


ACTIVE = (Status.OPEN, Status.APPROVED, Status.REFUSED, Status.SUPPRESSED)


class _Folding:
    """One run over some timelines of a scope."""

    def __init__(self, scope: Scope, event: Event | None, options: Mapping[str, Any], *, policy: str = POLICY) -> None:
        self.scope, self.event, self.options, self.policy = scope, event, options, policy
        self.statements: dict[int, Statement] = {}
        self.rows: dict[int, Assertion] = {}
        self.memories: dict[int, Memory] = {}
        self.changes = Changes()
        self.now = timezone.now()
        self.reason = ""
        self.revisions: list[MemoryRevision] = []

    def run(self, timelines: Mapping[Key, Sequence[Assertion]]) -> None:
        self.rows = {row.pk: row for rows in timelines.values() for row in rows}
        linked = {row.memory_id for row in self.rows.values() if row.memory_id is not None}
        locked = Memory.objects.select_for_update().filter(pk__in=linked).order_by("pk")
        self.memories = {memory.pk: memory for memory in locked}
        self.messages = Message.objects.select_related("session").in_bulk(
            {row.message_id for row in self.rows.values() if row.message_id is not None}
        )
        found: list[tuple[Timeline, dict[int, Memory | None]]] = []
        for (_, attribute), rows in timelines.items():
            active = [row for row in rows if row.status in ACTIVE]
            line = fold(map(_to_said, active), single=any(row.single for row in active), attribute=attribute)
            found.append((line, self._match(line)))
        for line, standing in found:
            self._close_what_ended(line, standing)
        self._make(found)
        for line, standing in found:
            self._settle(line, standing)
        self._link(found)
        pending = Review.objects.filter(scope=self.scope, status=Review.Status.PENDING)
        self.has_reviews = pending.exists()
        for line, standing in found:
            self._review(line, standing)
        MemoryRevision.objects.bulk_create(self.revisions)

    def _match(self, line: Timeline) -> dict[int, Memory | None]:
        """For each span (by its place), the memory that stood for it, if one did."""
        taken: set[int] = set()
        standing: dict[int, Memory | None] = {}
        for place, span in enumerate(line.spans):
            standing[place] = None
            for said in sorted(span.said, key=lambda s: (not s.by_hand, s.key)):
                memory = self.memories.get(self.rows[said.key].memory_id or 0)
                if memory and memory.pk not in taken and memory.state != MemoryState.DELETED:
                    standing[place] = memory
                    taken.add(memory.pk)
                    break
        return standing

    def _close_what_ended(self, line: Timeline, standing: Mapping[int, Memory | None]) -> None:
        """Before anything is made: no two live memories may have one text. Also what stands for no span any more."""
        for place, span in enumerate(line.spans):
            memory = standing[place]
            if memory and span.ended_by is not None and memory.state == MemoryState.LIVE:
                memory.state, memory.expired_at = MemoryState.SUPERSEDED, self.now
                memory.save(update_fields=["state", "expired_at"])
                self._revise(memory, "DELETE", memory.text, None, self._why_ended(span), span.ended_by)
                self.changes.closed.append(memory)
        kept = {memory.pk for memory in standing.values() if memory}
        for span in line.spans:
            for said in span.said:
                memory = self.memories.get(self.rows[said.key].memory_id or 0)
                if memory and memory.pk not in kept and memory.state == MemoryState.LIVE:
                    memory.state, memory.expired_at = MemoryState.SUPERSEDED, self.now
                    memory.invalid_at = memory.invalid_at or self._end_of(span, memory)
                    memory.save(update_fields=["state", "expired_at", "invalid_at"])
                    self._revise(memory, "DELETE", memory.text, None, "another memory says the same", said)
                    self.changes.closed.append(memory)

    def _end_of(self, span: Span, memory: Memory) -> datetime:
        return max(filter(None, [span.end or self.now, memory.valid_at, memory.said_at]))

    def _why_ended(self, span: Span) -> str:
        by = span.ended_by
        assert by is not None  # the caller looked
        if span.retracted:
            return f"taken back: {by.text}"
        return f"ended on {span.end:%Y-%m-%d}: {by.text}"

    def _make(self, found: Sequence[tuple[Timeline, dict[int, Memory | None]]]) -> None:
        """New memories for the spans that have none, in one statement."""
        texts = self._live_texts(found)
        fresh: list[tuple[Memory, Candidate, Span]] = []
        for line, standing in found:
            for place, span in enumerate(line.spans):
                if standing[place] is not None:
                    continue
                memory, candidate = self._build(span)
                twin = texts.get((memory.run_id, memory.text_hash)) if memory.state == MemoryState.LIVE else None
                if twin is not None:
                    standing[place] = twin
                    self.memories[twin.pk or 0] = twin
                    continue
                if memory.state == MemoryState.LIVE:
                    texts[memory.run_id, memory.text_hash] = memory
                standing[place] = memory
                fresh.append((memory, candidate, span))
        memories = [memory for memory, _, _ in fresh]
        Memory.objects.bulk_create(memories)
        write_index(memories, self._vectors([span.best for _, _, span in fresh]))
        for memory, candidate, span in fresh:
            self.memories[memory.pk] = memory
            self.changes.added.append((memory, candidate))
            late = f"; {self._why_ended(span)}" if span.ended_by else ""
            reason = (self.reason or _describe(span)) + late
            self._revise(memory, "ADD", None, memory.text, reason, span.best)

    def _live_texts(self, found: Sequence[Any]) -> dict[tuple[str | None, str], Memory]:
        hashes = {hash_text(span.best.text) for line, _ in found for span in line.spans}
        rows = Memory.objects.live().filter(scope=self.scope, text_hash__in=hashes)
        return {(memory.run_id, memory.text_hash): self.memories.get(memory.pk, memory) for memory in rows}

    def _build(self, span: Span) -> tuple[Memory, Candidate]:
        row = self.rows[span.best.key]
        statement = self.statements.get(row.pk)
        candidate = statement.candidate if statement else _to_candidate(row)
        message = self.messages.get(row.message_id or 0)
        assert message is not None  # only what is written by hand has none, and it has a memory
        turn = next((s for s in map(self.statements.get, (s.key for s in span.said)) if s and s.candidate.turn), None)
        memory = new_memory(
            message,
            self.scope,
            self.options,
            at=self.now,
            text=row.text,
            kind="semantic",
            state=MemoryState.LIVE if span.ended_by is None else MemoryState.SUPERSEDED,
            speaker=(candidate.speaker or message.name or "")[:MAX_NAME_CHARS] or None,
            position=turn_position(turn.message, turn.candidate.part) if turn else None,
            subject=row.subject,
            attribute=row.attribute,
            value=row.value,
            confidence=row.confidence,
            categories=list(candidate.categories),
            said_at=row.said_at,
            valid_at=self._valid_at(span),
            invalid_at=span.end,
            updated_at=row.said_at,
            expired_at=self.now if span.ended_by is not None else None,
        )
        return memory, candidate

    def _valid_at(self, span: Span) -> datetime:
        first = self.rows[span.said[0].key]
        return first.valid_at if first.valid_at and first.valid_at > first.said_at else span.start

    def _vectors(self, saids: Sequence[Said]) -> Vectors:
        known = {i: self.statements[s.key] for i, s in enumerate(saids) if s.key in self.statements}
        fitting = {i: s.vector for i, s in known.items() if s.candidate.text == saids[i].text}
        missing = [i for i in range(len(saids)) if i not in fitting]
        if missing:
            fitting |= dict(zip(missing, embed_texts([saids[i].text for i in missing]), strict=True))
        return np.array([fitting[i] for i in range(len(saids))], dtype=np.float32)

    def _settle(self, line: Timeline, standing: Mapping[int, Memory | None]) -> None:
        """Brings the memories that stood in step: words, times, state."""
        at_span = {said.key: place for place, span in enumerate(line.spans) for said in span.said}
        for place, span in enumerate(line.spans):
            memory = standing[place]
            assert memory is not None  # _make saw to it
            by = span.ended_by
            successor = standing.get(at_span.get(by.key, -1)) if by else None
            if successor is not None and successor.pk != memory.pk and memory.replaced_by_id != successor.pk:
                memory.replaced_by = successor
                memory.save(update_fields=["replaced_by"])
            if memory.created_at == self.now:
                continue
            self._reopen(memory, span)
            self._retime(memory, span)
            self._reword(memory, span)

    def _reopen(self, memory: Memory, span: Span) -> None:
        if span.ended_by is not None or memory.state != MemoryState.SUPERSEDED:
            return
        twin = Memory.objects.live().filter(scope=self.scope, run_id=memory.run_id, text_hash=memory.text_hash)
        if twin.exists():
            return
        memory.state, memory.expired_at, memory.invalid_at, memory.replaced_by = MemoryState.LIVE, None, span.end, None
        memory.save(update_fields=["state", "expired_at", "invalid_at", "replaced_by"])
        reason = self.reason or "holds: what ended it does not count any more, or was earlier"
        self._revise(memory, "UPDATE", memory.text, memory.text, reason, span.best)
        self.changes.added.append((memory, _to_candidate(self.rows[span.best.key])))

    def _retime(self, memory: Memory, span: Span) -> None:
        valid_at = self._valid_at(span)
        if (memory.valid_at, memory.invalid_at) == (valid_at, span.end):
            return
        was_closed = memory.invalid_at is not None and memory.expired_at != self.now
        memory.valid_at, memory.invalid_at = valid_at, span.end
        memory.save(update_fields=["valid_at", "invalid_at"])
        if was_closed:
            by = span.ended_by or span.best
            until = f" to {span.end:%Y-%m-%d}" if span.end else ""
            self._revise(
                memory, "UPDATE", memory.text, memory.text, f"held from {span.start:%Y-%m-%d}{until}: {by.text}", by
            )

    def _reword(self, memory: Memory, span: Span) -> None:
        """The fullest statement of the span, or the one by hand, gives the words. Not those of an immutable memory."""
        row = self.rows[span.best.key]
        same = memory.text == row.text
        if same and (memory.subject, memory.attribute, memory.value) == (row.subject, row.attribute, row.value):
            return
        fuller = row.by_hand or len(content(row.value)) > len(content(memory.value))
        if same or not fuller or memory.immutable:
            return
        old_text = memory.text
        twin = Memory.objects.live().filter(scope=self.scope, run_id=memory.run_id, text_hash=hash_text(row.text))
        if memory.state == MemoryState.LIVE and twin.exclude(pk=memory.pk).exists():
            return
        reword(memory, row.text, self._vectors([span.best]), at=self.now)
        memory.value, memory.confidence = row.value, row.confidence
        memory.save(update_fields=["value", "confidence"])
        self._revise(memory, "UPDATE", old_text, memory.text, self.reason or "said more fully", span.best)

    def _link(self, found: Sequence[tuple[Timeline, Mapping[int, Memory | None]]]) -> None:
        """Statements to their memories, and memories to the messages that say them."""
        moved: list[Assertion] = []
        sources: list[MemorySource] = []
        for line, standing in found:
            for place, span in enumerate(line.spans):
                memory = standing[place]
                assert memory is not None  # _make saw to it
                for row in (self.rows[said.key] for said in span.said):
                    if row.memory_id != memory.pk:
                        if row.memory_id is not None:
                            MemorySource.objects.filter(memory=row.memory_id, message=row.message_id).delete()
                        row.memory = memory
                        moved.append(row)
                        statement = self.statements.get(row.pk)
                        if statement is not None and memory.created_at != self.now:
                            self.changes.joined.append((memory, statement.candidate))
                        if row.message_id is not None:
                            at = {"message_id": row.message_id, "start": row.start, "end": row.end}
                            sources.append(MemorySource(memory=memory, **at))
        Assertion.objects.bulk_update(moved, ["memory"])
        MemorySource.objects.bulk_create(sources, ignore_conflicts=True)

    def _review(self, line: Timeline, standing: Mapping[int, Memory | None]) -> None:
        """An ending that waits is put before a person, once; one that is no longer in doubt is taken off the list."""
        waiting: set[tuple[int, int]] = set()
        place_of = {id(span): place for place, span in enumerate(line.spans)}
        rows: list[Review] = []
        for doubt in line.doubts:
            if doubt.by.standing == "refused":
                continue
            for span in doubt.spans:
                memory = standing[place_of[id(span)]]
                assert memory is not None  # _make saw to it
                waiting.add((memory.pk, doubt.by.key))
                why = f"{doubt.by.text!r} would end {memory.text!r}, but {doubt.reason}"
                rows.append(
                    Review(
                        scope=self.scope,
                        memory=memory,
                        by=self.memories.get(self.rows[doubt.by.key].memory_id or 0),
                        assertion_id=doubt.by.key,
                        event=self.event,
                        reason=why,
                        confidence=doubt.by.confidence,
                    )
                )
        if not rows and not self.has_reviews:
            return
        Review.objects.bulk_create(rows, ignore_conflicts=True)
        keys = [said.key for span in line.spans for said in span.said] + [d.by.key for d in line.doubts]
        pending = Review.objects.filter(scope=self.scope, assertion__in=keys, status=Review.Status.PENDING)
        gone = [r.pk for r in pending if (r.memory_id, r.assertion_id) not in waiting]
        if gone:
            Review.objects.filter(pk__in=gone).update(status=Review.Status.OBSOLETE, decided_at=self.now)

    def _revise(
        self, memory: Memory, operation: str, old_text: str | None, new_text: str | None, reason: str, by: Said
    ) -> None:
        row = self.rows[by.key]
        self.revisions.append(
            MemoryRevision(
                memory=memory,
                event=self.event,
                operation=operation,
                old_text=old_text,
                new_text=new_text,
                reason=reason,
                policy="request" if by.by_hand else self.policy,
                message_ids=[row.message_id] if row.message_id is not None else [],
                metadata=memory.metadata,
                categories=memory.categories,
            )
        )
        self.changes.operations.append((memory, operation))


def _describe(span: Span) -> str:
    row = span.best
    if span.polarity == "holds":
        return f"new: nothing that was known says {row.value!r}" if row.value else "new"
    return "new: it says what does not hold"


def _to_candidate(row: Assertion) -> Candidate:
    polarity: Any = row.polarity
    return Candidate(
        text=row.text,
        kind="semantic",
        grounding=(Grounding(row.message_id, row.start, row.end),) if row.message_id else (),
        valid_at=row.valid_at,
        subject=row.subject,
        attribute=row.attribute,
        value=row.value,
        polarity=polarity,
        confidence=row.confidence,
    )


def reword(memory: Memory, text: str, vectors: Vectors, *, at: datetime) -> None:
    """Gives the memory other words, with its postings and its vector ((1, D)). The caller writes the revision."""
    memory.text = text
    prepare(memory)
    memory.text_hash = hash_text(memory.text)
    memory.text_version += 1
    memory.updated_at = at
    memory.save(update_fields=["text", "text_hash", "text_version", "num_terms", "traits", "updated_at"])
    rewrite_index(memory, vectors)


# By hand


def refold(scope: Scope, keys: Iterable[Key], *, reason: str = "", event: Event | None = None) -> Changes:
    """Brings the memories of timelines in step after statements were suppressed, approved or restored."""
    folding = _Folding(scope, event, {})
    folding.reason = reason
    folding.run(_load(scope, keys))
    return folding.changes


def rewritten(memory: Memory, old_text: str) -> None:
    """A person gave the memory other words: what they replaced is suppressed, and theirs stand in the timeline."""
    rows = list(Assertion.objects.active().filter(memory=memory).order_by("id"))
    if not rows:
        return
    row = rows[0]
    value = _read_value(memory, row) or _difference(old_text, memory.text, row.value)
    if not same_value(value, row.value):
        Assertion.objects.filter(pk__in=[r.pk for r in rows]).update(status=Status.SUPPRESSED)
    live = memory.state == MemoryState.LIVE
    Assertion.objects.create(
        scope=memory.scope,
        memory=memory,
        subject=row.subject,
        subject_key=row.subject_key,
        attribute=row.attribute,
        value=value,
        single=row.single,
        text=memory.text,
        polarity=row.polarity,
        at=min(r.at for r in rows),
        said_at=timezone.now() if live else row.said_at,
        by_hand=True,
    )
    memory.value = value
    memory.save(update_fields=["value"])
    refold(memory.scope, {(row.subject_key, row.attribute)}, reason="by request")


def _read_value(memory: Memory, row: Assertion) -> str | None:
    """The value that the new words give the same attribute, read as a message would be."""
    message = SourceMessage(0, "user", memory.text, memory.said_at)
    for candidate in extract_local([message]).candidates:
        same_subject = subject_key(candidate.subject or "") in (row.subject_key, subject_key(row.subject))
        if candidate.attribute == row.attribute and same_subject and not candidate.silent:
            return candidate.value
    return None


def _difference(old: str, new: str, value: str | None) -> str:
    """What stands in the new text where the old one had its value; the whole text where that cannot be told."""
    if value and value in old:
        before, _, after = old.partition(value)
        if new.startswith(before) and new.endswith(after) and len(new) > len(before) + len(after):
            return new[len(before) : len(new) - len(after)]
    return new


def deleted(memory: Memory, *, for_good: bool) -> None:
    """The memory was closed by request. for_good: what it says does not come back by being said again."""
    status = Status.SUPPRESSED if for_good else Status.WITHDRAWN
    Assertion.objects.active().filter(memory=memory).update(status=status)


def withdraw(memory: Memory) -> None:
    """A policy outside of the timelines closed the memory: its statements count no more."""
    Assertion.objects.active().filter(memory=memory).update(status=Status.WITHDRAWN)


def judge(assertion: Assertion, *, approved: bool, reason: str) -> Changes:
    """A person's word on whether the statement ends others."""
    assertion.status = Status.APPROVED if approved else Status.REFUSED
    assertion.save(update_fields=["status"])
    return refold(assertion.scope, {(assertion.subject_key, assertion.attribute)}, reason=reason)


def reinstated(memory: Memory, *, reason: str) -> None:
    """What ended the memory is not to end it; its statements count again. Its row is as it was before the end."""
    rows = Assertion.objects.filter(memory=memory)
    keys = set(rows.values_list("subject_key", "attribute"))
    if not keys:
        return
    rows.filter(status__in=[Status.SUPPRESSED, Status.WITHDRAWN]).update(status=Status.OPEN)
    ours = set(rows.values_list("pk", flat=True))
    for (_, attribute), timeline in _load(memory.scope, keys).items():
        while enders := _enders(timeline, attribute, ours):
            Assertion.objects.filter(pk__in=enders).update(status=Status.REFUSED)
            for row in timeline:
                row.status = Status.REFUSED if row.pk in enders else row.status
    refold(memory.scope, keys, reason=reason)


def _enders(rows: Sequence[Assertion], attribute: str, ours: set[int]) -> set[int]:
    """The statements that end the spans of ours."""
    active = [row for row in rows if row.status in ACTIVE]
    line = fold(map(_to_said, active), single=any(row.single for row in active), attribute=attribute)
    ended = [span for span in line.spans if span.ended_by and any(said.key in ours for said in span.said)]
    return {span.ended_by.key for span in ended if span.ended_by and span.ended_by.standing != "refused"}
