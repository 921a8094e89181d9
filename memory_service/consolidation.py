"""Candidates against stored memories: what is new is added, what is known gains a source, what changed is closed.

`decide` asks the project's policy (policies.py); `apply` writes its decisions. Both run while the caller holds the
scope's lock, so no other event of the scope changes what they read. Nothing is destroyed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from django.utils import timezone

from . import chronicle, knowledge, policies, timeline
from .embedding import Vectors, embed_texts, serving_profile, to_literal
from .extraction.types import Candidate
from .llm import LLMConfig
from .models import (
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
from .policies import Decision, Neighbour
from .storage import new_memory, turn_position, write_index

NUM_NEIGHBOURS = 10  # s of the Mem0 paper, section 2.1


@dataclass(slots=True)
class Outcome:
    """What an event came to: the protocol's results, in order."""

    results: list[dict[str, Any]] = field(default_factory=list)

    def record(self, memory: Memory, event: str) -> None:
        self.results.append({"id": str(memory.public_id), "data": {"memory": memory.text}, "event": event})


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision for each candidate, in order. seen: the text of every memory that they were compared with."""

    decisions: list[Decision]
    seen: dict[int, str]


def decide(
    scope: Scope,
    candidates: Sequence[Candidate],
    vectors: Vectors,
    *,
    policy: policies.Policy,
    llm: LLMConfig | None,
) -> Plan:
    """Raises what the LLM's door raises."""
    told = policy == "local"  # statements with a timeline are compared with that, not with what is near
    neighbours = [
        []
        if candidate.kind == "episodic" or (told and policies.belongs_to_timeline(candidate))
        else find_neighbours(scope, vector, with_deleted=True)
        for candidate, vector in zip(candidates, vectors, strict=True)
    ]
    seen = {near.memory_id: near.text for nearby in neighbours for near in nearby}
    if policy == "two_phase" and llm is not None:
        return Plan(_decide_two_phase(llm, candidates, neighbours), seen)
    return Plan(policies.decide_local(candidates, neighbours, policy=policy), seen)


def _decide_two_phase(
    llm: LLMConfig, candidates: Sequence[Candidate], neighbours: Sequence[Sequence[Neighbour]]
) -> list[Decision]:
    """The model judges facts; what was said stays as it was said."""
    facts = [i for i, candidate in enumerate(candidates) if candidate.kind != "episodic"]
    decisions = policies.decide_local(candidates, neighbours, policy="two_phase")
    judged, _ = policies.decide_two_phase(llm, [candidates[i] for i in facts], [neighbours[i] for i in facts])
    for i, decision in zip(facts, judged, strict=True):
        decisions[i] = decision
    return decisions


def find_neighbours(scope: Scope, vector: np.ndarray[Any, Any], *, with_deleted: bool = False) -> list[Neighbour]:
    """The live facts of the scope nearest to a vector, exactly: they are a small part of its memories.

    with_deleted: and those deleted by request, so that they are known again.
    """
    states = ["live", "deleted"] if with_deleted else ["live"]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH facts AS MATERIALIZED (SELECT id, text, valid_at, subject, attribute, value, "
            "state = 'deleted' AS gone FROM memory_service_memory "
            "WHERE scope_id = %s AND state = ANY(%s) AND kind <> 'episodic') "
            "SELECT f.id, f.text, 1 - (e.vector <=> %s::vector) AS similarity, f.valid_at, f.subject, f.attribute, "
            "f.value, f.gone FROM facts f JOIN memory_service_embedding e ON e.memory_id = f.id AND e.profile_id = %s "
            "ORDER BY f.gone, similarity DESC LIMIT %s",
            [scope.pk, states, to_literal(vector), serving_profile().pk, NUM_NEIGHBOURS],
        )
        return [Neighbour(*row) for row in cursor.fetchall()]


def apply(event: Event, plan: Plan, vectors: Vectors, messages: Iterable[Message]) -> Outcome:
    """Writes the plan in the caller's transaction. vectors: (N, D), one for each decision's candidate."""
    return _Writer(event, {message.pk: message for message in messages}).write(plan, vectors)


def quarantine(event: Event, candidates: Sequence[Candidate], vectors: Vectors, messages: Iterable[Message]) -> None:
    """Keeps what could not be grounded where no search returns it."""
    writer = _Writer(event, {message.pk: message for message in messages})
    memories = [writer.build(candidate) for candidate in candidates]
    for memory in memories:
        memory.state = MemoryState.QUARANTINED
    Memory.objects.bulk_create(memories)
    write_index(memories, vectors)
    writer.link_sources((m, c) for m, c in zip(memories, candidates, strict=True) if c.grounding)


class _Writer:
    """The rows of one event."""

    def __init__(self, event: Event, messages: dict[int, Message]) -> None:
        assert event.scope is not None  # only ADD events come here
        self.event, self.scope, self.messages = event, event.scope, messages
        self.options: dict[str, Any] = event.options
        self.targets: dict[int, Memory] = {}
        self.known: dict[tuple[str | None, str], Memory] = {}
        self.outcome = Outcome()
        self.now = timezone.now()

    def write(self, plan: Plan, vectors: Vectors) -> Outcome:
        chronicle.lock(self.scope.pk)  # before any row
        self.targets = self._unchanged_targets(plan)
        self.known = self._known_texts(plan.decisions)
        added: list[tuple[Memory, Candidate]] = []
        rows: list[int] = []
        sourced: list[tuple[Memory, Candidate]] = []
        closing: list[tuple[Decision, Memory]] = []
        told: list[chronicle.Statement] = []
        for row, decision in enumerate(plan.decisions):
            candidate, target = decision.candidate, self.targets.get(decision.target_id or 0)
            if decision.operation == "TELL":
                message = self._message(candidate) or self._any_message()
                told.append(chronicle.Statement(candidate, vectors[row], message))
                continue
            standing = self._standing(decision, target)
            if standing is not None:
                sourced.append((standing, candidate))
            elif decision.operation != "NONE" or decision.target_id is not None:
                memory = self.build(candidate)
                self.known[self._key(candidate)] = memory
                added.append((memory, candidate))
                rows.append(row)
                if decision.operation == "INVALIDATE" and target and not target.immutable:
                    closing.append((decision, memory))
        self._add(added, vectors[rows])
        for decision, memory in closing:
            self._close(self.targets[decision.target_id or 0], by=memory, decision=decision)
        self.link_sources([*added, *sourced])
        self._revise_added(added, {id(d.candidate): d for d in plan.decisions})
        changes = chronicle.tell(self.event, self.scope, told, options=self.options)
        for changed, operation in changes.operations:
            self.outcome.record(changed, operation)
        added += self._add_untold(changes.untold)
        closed = [memory for memory in self.targets.values() if memory.state != MemoryState.LIVE]
        knowledge.record(
            self.scope, self.event, [*added, *sourced, *changes.added, *changes.joined], [*closed, *changes.closed]
        )
        return self.outcome

    def _add_untold(self, turns: Sequence[tuple[Candidate, Message]]) -> list[tuple[Memory, Candidate]]:
        """What takes back words that nobody said is kept as it was said."""
        candidates = [as_turn(candidate) for candidate, _ in turns]
        fresh = {self._key(c): c for c in candidates if self._key(c) not in self.known}
        live = self._known_hashes([hash_text(c.text) for c in fresh.values()])
        new = [c for key, c in fresh.items() if key not in live]
        if not new:
            return []
        added = [(self.build(candidate), candidate) for candidate in new]
        self._add(added, embed_texts([candidate.text for candidate in new]))
        self.link_sources(added)
        reason = "kept as it was said: nothing is known that it could correct"
        decisions = {id(c): Decision("ADD", c, None, None, reason, "local") for c in new}
        self._revise_added(added, decisions)
        return added

    def _unchanged_targets(self, plan: Plan) -> dict[int, Memory]:
        """Locked. A memory that was edited or deleted while the decision was made is no target any more: what was
        decided about it was decided about another text, and the candidate is added instead."""
        ids = sorted({d.target_id for d in plan.decisions if d.target_id})
        found = Memory.objects.live().select_for_update().filter(pk__in=ids).order_by("pk")
        return {memory.pk: memory for memory in found if memory.text == plan.seen.get(memory.pk)}

    def _standing(self, decision: Decision, target: Memory | None) -> Memory | None:
        """The memory that already says, or now says, what the candidate does; it gains the candidate's sources."""
        if decision.operation == "NONE" and target:
            return target
        if decision.operation == "UPDATE" and target and not target.immutable:
            self._update(target, decision)
            return target
        return self.known.get(self._key(decision.candidate))

    def _key(self, candidate: Candidate) -> tuple[str | None, str]:
        return self._run_id(candidate), hash_text(candidate.text)

    def _known_texts(self, decisions: Sequence[Decision]) -> dict[tuple[str | None, str], Memory]:
        return self._known_hashes([hash_text(d.candidate.text) for d in decisions if d.operation != "TELL"])

    def _known_hashes(self, hashes: Sequence[str]) -> dict[tuple[str | None, str], Memory]:
        found = Memory.objects.live().filter(scope=self.scope, text_hash__in=hashes)
        return {(memory.run_id, memory.text_hash): memory for memory in found}

    def _message(self, candidate: Candidate) -> Message | None:
        return self.messages.get(candidate.grounding[0].message_id) if candidate.grounding else None

    def _any_message(self) -> Message:
        return next(iter(self.messages.values()))

    def _run_id(self, candidate: Candidate) -> str | None:
        message = self._message(candidate) or self._any_message()
        return message.session.run_id

    def build(self, candidate: Candidate) -> Memory:
        message = self._message(candidate)
        source = message or self._any_message()
        is_turn = candidate.kind == "episodic" and message is not None
        return new_memory(
            source,
            self.scope,
            self.options,
            at=self.now,
            text=candidate.text,
            kind=candidate.kind,
            speaker=(candidate.speaker or "")[:MAX_NAME_CHARS] or None,
            position=turn_position(source, candidate.part) if is_turn else None,
            subject=candidate.subject,
            attribute=candidate.attribute,
            value=candidate.value,
            confidence=candidate.confidence,
            categories=list(candidate.categories),
            said_at=source.said_at,
            valid_at=candidate.valid_at or source.said_at,
            updated_at=source.said_at,
        )

    def _add(self, added: Sequence[tuple[Memory, Candidate]], vectors: Vectors) -> None:
        memories = [memory for memory, _ in added]
        Memory.objects.bulk_create(memories)
        write_index(memories, vectors)
        for memory in memories:
            self.outcome.record(memory, "ADD")

    def _update(self, target: Memory, decision: Decision) -> None:
        """The id stays, the text changes; the old text stands in the revision."""
        old_text, text = target.text, decision.text or decision.candidate.text
        clash = Memory.objects.live().filter(scope=self.scope, run_id=target.run_id, text_hash=hash_text(text))
        if old_text == text or clash.exclude(pk=target.pk).exists():
            return
        chronicle.reword(target, text, embed_texts([text]), at=self.now)
        self.known.pop((target.run_id, hash_text(old_text)), None)
        self.known[target.run_id, target.text_hash] = target
        self._revise(target, "UPDATE", old_text, target.text, decision)
        self.outcome.record(target, "UPDATE")

    def _close(self, target: Memory, *, by: Memory, decision: Decision) -> None:
        """The later of the two stands. One that is less than sure waits for a person."""
        if decision.confidence < timeline.MIN_CONFIDENCE:
            why = f"{by.text!r} would end {target.text!r}, but its confidence is {decision.confidence:.2f}"
            at = {"event": self.event, "confidence": decision.confidence, "reason": f"{why}: {decision.reason}"}
            Review.objects.create(scope=self.scope, memory=target, by=by, **at)
            return
        since, until = (by.valid_at or by.said_at), (target.valid_at or target.said_at)
        if since < until:  # the older of the two came later: it was over before
            target, by = by, target
        chronicle.withdraw(target)
        close(target, at=by.valid_at or by.said_at, state=MemoryState.SUPERSEDED, replaced_by=by)
        self._revise(target, "DELETE", target.text, None, decision)
        self.outcome.record(target, "DELETE")

    def _revise(
        self, memory: Memory, operation: str, old_text: str | None, new_text: str | None, decision: Decision
    ) -> None:
        MemoryRevision.objects.create(
            memory=memory,
            event=self.event,
            operation=operation,
            old_text=old_text,
            new_text=new_text,
            reason=decision.reason,
            policy=decision.policy,
            message_ids=[g.message_id for g in decision.candidate.grounding],
            metadata=memory.metadata,
            categories=memory.categories,
        )

    def _revise_added(self, added: Sequence[tuple[Memory, Candidate]], decisions: dict[int, Decision]) -> None:
        MemoryRevision.objects.bulk_create(
            MemoryRevision(
                memory=memory,
                event=self.event,
                operation="ADD",
                new_text=memory.text,
                reason=decisions[id(candidate)].reason,
                policy=decisions[id(candidate)].policy,
                message_ids=[g.message_id for g in candidate.grounding],
                metadata=memory.metadata,
                categories=memory.categories,
            )
            for memory, candidate in added
        )

    def link_sources(self, pairs: Iterable[tuple[Memory, Candidate]]) -> None:
        MemorySource.objects.bulk_create(
            (
                MemorySource(memory=memory, message_id=g.message_id, start=g.start, end=g.end)
                for memory, candidate in pairs
                for g in candidate.grounding
            ),
            ignore_conflicts=True,
        )


def as_turn(candidate: Candidate) -> Candidate:
    """The turn that a statement stood for, as it was said."""
    return replace(
        candidate,
        text=candidate.utterance or candidate.text,
        kind="episodic",
        subject=None,
        attribute=None,
        value=None,
        categories=(),
    )


def close(memory: Memory, *, at: datetime, state: str, replaced_by: Memory | None = None) -> None:
    """The memory stays, with its end: in the world at `at`, for us now."""
    memory.invalid_at = max(at, memory.valid_at) if memory.valid_at else at
    memory.expired_at = timezone.now()
    memory.state = state
    memory.replaced_by = replaced_by
    memory.save(update_fields=["invalid_at", "expired_at", "state", "replaced_by"])
