"""A question -> memories, by a walk over the graph from the entities that it names."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from .anchors import find_anchors
from .graphs import graph_of

MAX_ENTITIES = 50  # the best of a walk


def walk(scope_ids: Sequence[int], query: str) -> dict[int, float]:
    """memory -> what its entities are worth, the best as 1; empty where the question names no entity of the graph.

    Personalised PageRank from what the question names. What an entity is worth is shared among the memories that name
    it: of one that half of all memories name, it says little that a memory names it.
    """
    graph = graph_of(scope_ids)
    seeds = {entity: weight for entity, weight in find_anchors(scope_ids, query).items() if entity in graph}
    if not seeds:
        return {}
    ranked = {node.id: score for node, score in graph.rank(seeds, limit=MAX_ENTITIES)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT memory_id, sum(worth / links) FROM (SELECT l.memory_id, w.worth, "
            "count(*) OVER (PARTITION BY l.entity_id) AS links FROM memory_service_memoryentity l "
            "JOIN unnest(%s::bigint[], %s::float8[]) AS w(id, worth) ON w.id = l.entity_id) found GROUP BY memory_id",
            [list(ranked), list(ranked.values())],
        )
        found = dict(cursor.fetchall())
    best = max(found.values(), default=0.0)
    return {memory_id: worth / best for memory_id, worth in found.items()}
