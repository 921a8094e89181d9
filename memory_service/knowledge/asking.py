"""Relations by a language model: what the new memories state, and which known relations that ends.

Asked outside of any transaction, written inside the one that finishes the event. What the model says is believed only
as far as the memory it cites names both ends; a known relation is closed, never removed, and only if the model was
shown it. Without a usable answer the patterns' relations stand, and the event's notes say so.
Source: Mem0-graph, arXiv:2504.19413, section 2.2; order of the steps as in mem0/memory/graph_memory.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Q

from graph.resolution import Mention, name_tokens, normalise_name

from ..errors import LLMError
from ..extraction.types import Candidate
from ..llm import LLMConfig, complete_structured
from ..models import Event, Memory, MemorySource, Relation, Scope, hash_text
from ..prompts.relations import (
    ObsoleteRelations,
    StatedRelation,
    StatedRelations,
    conflicts_prompt,
    relations_prompt,
)
from .recording import GraphWriter, self_name
from .statements import Reading, Triplet, relation_type, triplet_text

MAX_MEMORIES = 40  # shown in one request
MAX_EDGES = 100  # known relations shown for a conflict; as many a node in Mem0-graph's code


@dataclass(slots=True)
class Asked:
    """triplets: each with the candidate it rests on. obsolete: relations that are over, each with what says so."""

    triplets: list[tuple[Triplet, Candidate]] = field(default_factory=list)
    obsolete: list[tuple[int, Candidate]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def wants_relations(event: Event) -> bool:
    """By the add that made the event, else by the project."""
    asked = event.options.get("enable_graph")
    return bool(event.project.enable_graph if asked is None else asked)


def ask_relations(event: Event, candidates: Sequence[Candidate], llm: LLMConfig) -> Asked:
    """One request, and a second where known relations may be over. Raises nothing: a failure is a note."""
    asked = Asked()
    shown = _worth_asking(candidates)
    if not shown or event.scope is None:
        return asked
    try:
        _ask_for_relations(event.scope, shown, llm, asked)
        _ask_for_conflicts(event.scope, llm, asked)
    except LLMError as exc:
        kept = "its relations stand, and none was closed" if asked.triplets else "the patterns' relations stand"
        asked.notes.append(f"The language model gave no usable answer about the graph ({exc}); {kept}.")
    return asked


def _worth_asking(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Facts first, then what was said."""
    return sorted(candidates, key=lambda candidate: candidate.kind == "episodic")[:MAX_MEMORIES]


def _ask_for_relations(scope: Scope, shown: Sequence[Candidate], llm: LLMConfig, asked: Asked) -> None:
    own = self_name(scope) or "User"
    prompt = relations_prompt([candidate.text for candidate in shown], self_name=own)
    answer, _ = complete_structured(llm, prompt, StatedRelations, purpose="relations")
    seen: set[tuple[str, str, str, int]] = set()
    for stated in answer.relations:
        found = _believe(stated, shown, own)
        if isinstance(found, str):
            asked.notes.append(
                f"relation {triplet_text(stated.source[:40], stated.relation[:40], stated.target[:40])!r} "
                f"was not believed: {found}"
            )
            continue
        key = (found.source.normal, found.type, found.target.normal, stated.memory)
        if key not in seen:
            seen.add(key)
            asked.triplets.append((found, shown[stated.memory - 1]))


def _believe(stated: StatedRelation, shown: Sequence[Candidate], own: str) -> Triplet | str:
    """The triplet, or why it is none."""
    if not 1 <= stated.memory <= len(shown):
        return f"memory {stated.memory} is not among those shown, 1 to {len(shown)}"
    candidate = shown[stated.memory - 1]
    said = set(name_tokens(" ".join([candidate.text, candidate.speaker or "", own]).casefold()))
    name = relation_type(stated.relation)
    ends = [_called(end, own) for end in (stated.source, stated.target)]
    for end in ends:
        tokens = name_tokens(normalise_name(end))
        if not tokens or not set(tokens) <= said:
            return f"memory {stated.memory} does not name {end[:60]!r}"
    if not name:
        return f"{stated.relation[:40]!r} is no relation"
    source, target = Mention(ends[0], stated.source_type), Mention(ends[1], stated.target_type)
    if source.normal == target.normal:
        return "it leads back to itself"
    return Triplet(source, name, target, stated.confidence, origin="llm")


def _called(end: str, own: str) -> str:
    return own if end.strip().casefold() in ("user", "the user") else end.strip()


def _ask_for_conflicts(scope: Scope, llm: LLMConfig, asked: Asked) -> None:
    known = _known_around(scope, asked)
    if not known:
        return
    new = [(triplet.text, candidate.valid_at) for triplet, candidate in asked.triplets]
    prompt = conflicts_prompt([(same[0].text, same[0].valid_at) for same in known], new)
    answer, _ = complete_structured(llm, prompt, ObsoleteRelations, purpose="relation_conflicts")
    for one in answer.obsolete:
        if not (1 <= one.edge <= len(known) and 1 <= one.by <= len(new)):
            asked.notes.append(f"relation {one.edge} was not closed by {one.by}: the model was not shown both")
            continue
        ending = asked.triplets[one.by - 1][1]
        asked.obsolete += [(relation.pk, ending) for relation in known[one.edge - 1]]


def _known_around(scope: Scope, asked: Asked) -> list[list[Relation]]:
    """Open relations at the ends of the new ones, in both directions, the latest first; not those said again.

    The same relation of two origins is shown, and closed, as one.
    """
    names = {mention.normal for triplet, _ in asked.triplets for mention in (triplet.source, triplet.target)}
    again = {(t.source.normal, t.type, t.target.normal) for t, _ in asked.triplets}
    at_ends = Q(source__normal_name__in=names) | Q(target__normal_name__in=names)
    aliases = Q(source__aliases__normal_name__in=names) | Q(target__aliases__normal_name__in=names)
    known = Relation.objects.open().filter(at_ends | aliases, scope=scope).exclude(origin="co_occurrence")
    rows = known.select_related("source", "target").distinct().order_by("-id")[:MAX_EDGES]
    same: dict[tuple[str, str, str], list[Relation]] = {}
    for row in rows:
        same.setdefault((row.source.normal_name, row.type, row.target.normal_name), []).append(row)
    return [group for key, group in same.items() if key not in again]


def write_relations(event: Event, asked: Asked) -> None:
    """In the transaction that has just written the event's memories."""
    assert event.scope is not None  # ADD events have one
    if not asked.triplets:
        return
    memories = _memories_of(event.scope, [candidate for _, candidate in asked.triplets])
    readings: dict[int, tuple[Memory, Reading]] = {}
    for triplet, candidate in asked.triplets:
        memory = memories.get(hash_text(candidate.text))
        if memory is None:
            continue
        _, reading = readings.setdefault(memory.pk, (memory, Reading()))
        reading.triplets.append(triplet)
        for mention in (triplet.source, triplet.target):
            if all(known.normal != mention.normal for known in reading.mentions):
                reading.mentions.append(mention)
    if not readings:
        return
    writer = GraphWriter(event.scope)
    writer.write(list(readings.values()), count=False)
    ending = [(relation_id, memories.get(hash_text(candidate.text))) for relation_id, candidate in asked.obsolete]
    writer.close([(i, memory.valid_at or memory.said_at) for i, memory in ending if memory is not None])


def _memories_of(scope: Scope, candidates: Sequence[Candidate]) -> dict[str, Memory]:
    """hash of a candidate's text -> the live memory that says it: the same text, else a fact drawn from its message."""
    hashes = {hash_text(candidate.text) for candidate in candidates}
    found = {m.text_hash: m for m in Memory.objects.live().filter(scope=scope, text_hash__in=hashes).order_by("id")}
    missing = [c for c in candidates if hash_text(c.text) not in found and c.grounding]
    if missing:
        said_in = MemorySource.objects.filter(
            message__in=[c.grounding[0].message_id for c in missing], memory__scope=scope, memory__state="live"
        )
        rows = said_in.select_related("memory").order_by("memory__kind", "-id")
        merged = {row.message_id: row.memory for row in rows}
        for candidate in missing:
            if (memory := merged.get(candidate.grounding[0].message_id)) is not None:
                found[hash_text(candidate.text)] = memory
    return found
