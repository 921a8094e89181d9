"""Rows and values of the graph -> JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graph.types import Community, Edge, Neighbourhood, Node, Path
from memory_service.knowledge.search import RelationHit
from memory_service.models import Entity, EntityMerge, Relation

from .rendering import iso

Ids = Mapping[int, str]  # of rows -> as the API shows them


def entity_ids(ids: Iterable[int]) -> dict[int, str]:
    rows = Entity.objects.filter(pk__in=set(ids)).values_list("pk", "public_id")
    return {pk: str(public_id) for pk, public_id in rows}


def relation_ids(ids: Iterable[int]) -> dict[int, str]:
    rows = Relation.objects.filter(pk__in=set(ids)).values_list("pk", "public_id")
    return {pk: str(public_id) for pk, public_id in rows}


def render_relation(hit: RelationHit) -> dict[str, Any]:
    """The protocol's shape, and what we know beside it."""
    relation = hit.relation
    return {
        "source": relation.source.name,
        "relationship": relation.type,
        "target": relation.target.name,
        "id": str(relation.public_id),
        "source_id": str(relation.source.public_id),
        "target_id": str(relation.target.public_id),
        "valid_at": iso(relation.valid_at),
        "invalid_at": iso(relation.invalid_at),
        "confidence": round(relation.confidence, 4),
        "origin": relation.origin,
        "num_mentions": relation.num_mentions,
        "memory_ids": hit.memories,
        "score": round(hit.score, 4),
    }


def render_entity(entity: Entity) -> dict[str, Any]:
    return {
        "id": str(entity.public_id),
        "name": entity.name,
        "type": entity.type,
        "discriminator": entity.discriminator or None,
        "description": entity.description or None,
        "is_ambiguous": entity.is_ambiguous,
        "num_mentions": entity.num_mentions,
        "user_id": entity.scope.user_id,
        "agent_id": entity.scope.agent_id,
        "app_id": entity.scope.app_id,
        "created_at": iso(entity.created_at),
        "last_mentioned_at": iso(entity.last_mentioned_at),
    }


def render_node(node: Node, ids: Ids, **more: Any) -> dict[str, Any]:
    return {"id": ids.get(node.id), "name": node.name, "type": node.type, **more}


def render_edge(edge: Edge, entities: Ids, relations: Ids) -> dict[str, Any]:
    return {
        "id": relations.get(edge.id),
        "source_id": entities.get(edge.source),
        "relationship": edge.type,
        "target_id": entities.get(edge.target),
        "text": edge.text,
        "confidence": round(edge.confidence, 4),
        "origin": edge.origin,
        "valid_at": iso(edge.valid_at),
        "invalid_at": iso(edge.invalid_at),
    }


def render_neighbourhood(found: Neighbourhood) -> dict[str, Any]:
    entities = entity_ids(node.id for node, _ in found.nodes)
    relations = relation_ids(edge.id for edge in found.edges)
    return {
        "entities": [render_node(node, entities, distance=distance) for node, distance in found.nodes],
        "relations": [render_edge(edge, entities, relations) for edge in found.edges],
        "truncated": found.truncated,
    }


def render_paths(found: list[Path]) -> list[dict[str, Any]]:
    entities = entity_ids(node.id for path in found for node in path.nodes)
    relations = relation_ids(edge.id for path in found for edge in path.edges)
    return [
        {
            "length": len(path.edges),
            "confidence": round(path.confidence, 4),
            "entities": [render_node(node, entities) for node in path.nodes],
            "relations": [render_edge(edge, entities, relations) for edge in path.edges],
        }
        for path in found
    ]


def render_ranking(ranked: list[tuple[Node, float]]) -> list[dict[str, Any]]:
    ids = entity_ids(node.id for node, _ in ranked)
    return [render_node(node, ids, score=round(score, 6)) for node, score in ranked]


def render_communities(found: list[Community], num_members: int) -> list[dict[str, Any]]:
    ids = entity_ids(node.id for community in found for node in community.nodes[:num_members])
    return [
        {
            "description": community.description,
            "size": len(community.nodes),
            "num_relations": community.num_edges,
            "relation_types": community.relation_types,
            "entity_types": community.entity_types,
            "entities": [render_node(node, ids) for node in community.nodes[:num_members]],
        }
        for community in found
    ]


def render_merge(merge: EntityMerge) -> dict[str, Any]:
    return {
        "id": str(merge.public_id),
        "kept": {"id": str(merge.kept.public_id), "name": merge.kept.name},
        "merged": {"id": str(merge.merged.public_id), "name": merge.merged.name},
        "reason": merge.reason,
        "similarity": None if merge.similarity is None else round(merge.similarity, 4),
        "created_at": iso(merge.created_at),
        "undone_at": iso(merge.undone_at),
    }
