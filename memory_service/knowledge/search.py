"""A question -> relations, and what the graph endpoints ask of a project's graphs.

Two ways to a relation (Mem0-graph, arXiv:2504.19413, section 2.2): from the entities that the question names to the
edges around them; and from the meaning and words of the whole question to the memories that edges rest on. A relation
that both find keeps its better score. A relation is shown where a memory that it rests on passes the filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from graph.memory_graph import MemoryGraph
from graph.resolution import normalise_name

from .. import lexical, retrieval
from ..errors import NotFound
from ..filters import Filter, Logic, Test, to_q
from ..models import Entity, Memory, MemoryState, Project, Relation, RelationSource
from ..retrieval import Hit, SearchRequest
from .anchors import find_anchors
from .graphs import graph_of

MAX_AROUND = 400  # relations at the entities of a question
NUM_HITS = 30  # memories whose relations are taken
MAX_SHOWN_MEMORIES = 5  # of one relation


@dataclass(slots=True)
class RelationHit:
    """memories: public ids of what it rests on, at most MAX_SHOWN_MEMORIES."""

    relation: Relation
    score: float
    memories: list[str] = field(default_factory=list)


def relations_for(
    project: Project,
    query: str,
    node: Filter,
    limit: int = 20,
    *,
    as_of: datetime | None = None,
    hits: Sequence[Hit] | None = None,
) -> list[RelationHit]:
    """The relations that answer a question, best first.

    as_of: what held in the world then; without it, what has not ended. hits: of a search for the same, where one has
    been made.
    """
    scope_ids = retrieval.find_scopes(project, node)
    anchors = find_anchors(scope_ids, query)
    if hits is None:
        hits = retrieval.search(project, SearchRequest(query, node, top_k=NUM_HITS))
    by_memory = {hit.memory.pk: hit.similarity for hit in hits if hit.memory is not None}
    passing = relations_passing(project, node, as_of=as_of).filter(scope_id__in=scope_ids)
    around = passing.filter(Q(source__in=list(anchors)) | Q(target__in=list(anchors))) if anchors else passing.none()
    found = {r.pk: r for r in around.order_by("-confidence", "-num_mentions", "id")[:MAX_AROUND]}
    supported = RelationSource.objects.filter(memory__in=list(by_memory)).values_list("relation_id", "memory_id")
    support: dict[int, float] = {}
    for relation_id, memory_id in supported:
        support[relation_id] = max(support.get(relation_id, 0.0), by_memory[memory_id])
    found |= {r.pk: r for r in passing.filter(pk__in=list(support.keys() - found.keys()))}
    words = set(lexical.terms(query))
    scored = [RelationHit(r, _score(r, anchors, support.get(r.pk, 0.0), words)) for r in found.values()]
    ordered = sorted(scored, key=lambda hit: (-hit.score, -hit.relation.num_mentions, hit.relation.pk))
    return with_memories(_said_once(ordered)[:limit])


def _said_once(hits: Iterable[RelationHit]) -> list[RelationHit]:
    """Without the worse of two that say the same from another origin."""
    first: dict[tuple[Any, ...], RelationHit] = {}
    for hit in hits:
        r = hit.relation
        first.setdefault((r.source_id, r.type, r.target_id, r.invalid_at), hit)
    return list(first.values())


def _score(relation: Relation, anchors: Mapping[int, float], support: float, words: set[str]) -> float:
    """The better of the two ways, 0 to 1.

    By entity: how surely the question names an end, times the mean of the relation's confidence and of the share of
    the question's words that the triplet has. By meaning: the score of the best memory it rests on, less where the
    relation is unsure.
    """
    anchor = max(anchors.get(relation.source_id, 0.0), anchors.get(relation.target_id, 0.0))
    overlap = len(words & set(lexical.terms(relation.text))) / len(words) if words else 0.0
    by_entity = anchor * (relation.confidence + overlap) / 2
    by_meaning = support * (1 + relation.confidence) / 2
    return round(min(1.0, max(by_entity, by_meaning)), 4)


def with_memories(hits: list[RelationHit]) -> list[RelationHit]:
    """With the live memories that each rests on, the latest first."""
    by_id = {hit.relation.pk: hit for hit in hits}
    rows = RelationSource.objects.filter(relation__in=list(by_id)).exclude(
        memory__state__in=[MemoryState.DELETED, MemoryState.QUARANTINED]
    )
    for relation_id, public_id in rows.order_by("-memory_id").values_list("relation_id", "memory__public_id"):
        if len(by_id[relation_id].memories) < MAX_SHOWN_MEMORIES:
            by_id[relation_id].memories.append(str(public_id))
    return hits


def relations_passing(project: Project, node: Filter, *, as_of: datetime | None = None) -> Any:
    """The relations that rest on a memory which the filter lets through; with their ends."""
    relations = Relation.objects.filter(scope__project=project, source__merged_into=None, target__merged_into=None)
    memories = Memory.objects.in_project(project).filter(to_q(node)).unexpired(timezone.now())
    if as_of is None:
        relations, memories = relations.open(), memories.live()
    else:
        relations = relations.filter(
            Q(valid_at=None) | Q(valid_at__lte=as_of), Q(invalid_at=None) | Q(invalid_at__gt=as_of)
        )
        memories = memories.filter(state__in=[MemoryState.LIVE, MemoryState.SUPERSEDED])
    passing = RelationSource.objects.filter(relation=OuterRef("pk"), memory__in=memories.values("pk"))
    return relations.filter(Exists(passing)).select_related("source", "target")


def list_relations(project: Project, node: Filter, limit: int) -> list[RelationHit]:
    """Beside a listing of memories: what the graph holds of them, the surest first. Nothing was asked: no score."""
    found = relations_passing(project, node).order_by("-confidence", "-num_mentions", "id")[: 2 * limit]
    return with_memories(_said_once(RelationHit(relation, relation.confidence) for relation in found)[:limit])


# Graphs of a filter

EXACT_FIELDS = ("user_id", "agent_id", "app_id")  # a scope has one of each, so a filter on them chooses whole scopes


def graph_for(project: Project, node: Filter, *, as_of: datetime | None = None) -> MemoryGraph:
    """The graph of what a filter lets through: whole scopes from what the process keeps, a part of them by a query."""
    scope_ids = retrieval.find_scopes(project, node)
    graph = graph_of(scope_ids)
    if chooses_scopes(node):
        return graph
    passing = relations_passing(project, node, as_of=as_of).filter(scope_id__in=scope_ids)
    return graph.restricted_to(passing.values_list("pk", flat=True))


def chooses_scopes(node: Filter) -> bool:
    """Whether the filter is nothing but a choice of whole scopes."""
    if isinstance(node, Test):
        return node.field in EXACT_FIELDS and node.operator in ("eq", "in", "any")
    assert isinstance(node, Logic)  # a filter is one or the other
    return node.operator != "NOT" and all(chooses_scopes(part) for part in node.parts)


def list_entities(project: Project, node: Filter, *, name: str | None = None, type_: str | None = None) -> Any:
    """The entities of what a filter lets through, the most mentioned first. name: part of a name or another name."""
    entities = Entity.objects.filter(scope__project=project, merged_into=None).select_related("scope")
    if chooses_scopes(node):
        entities = entities.filter(scope__in=retrieval.find_scopes(project, node))
    else:
        memories = retrieval.memories_passing(project, node).values("pk")
        entities = entities.filter(pk__in=Entity.objects.filter(memory_links__memory__in=memories).values("pk"))
    if name:
        entities = entities.filter(
            Q(normal_name__contains=normalise_name(name) or name.casefold())
            | Q(pk__in=Entity.objects.filter(aliases__normal_name__contains=normalise_name(name)).values("pk"))
        )
    if type_:
        entities = entities.filter(type=type_)
    return entities.order_by("-num_mentions", "name", "id")


def find_entity(project: Project, public_id: Any) -> Entity:
    """Raises NotFound for what is not in the project."""
    found = (
        Entity.objects.filter(scope__project=project, public_id=public_id)
        .select_related("scope", "merged_into")
        .first()
    )
    if found is None:
        raise NotFound(f"entity {public_id} was not found in this project")
    return found


def memories_of(entity: Entity, limit: int) -> list[Memory]:
    """The live memories that name it, the latest first."""
    memories = Memory.objects.live().unexpired(timezone.now()).filter(entity_links__entity=entity)
    return list(memories.for_rendering().order_by("-said_at", "-id")[:limit])
