"""A question -> memories, by a walk over the graph from the entities that it names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from django.db import DatabaseError, connection

from graph.memory_graph import MemoryGraph

from ..models import Entity
from . import graphs
from .anchors import find_anchors

logger = logging.getLogger(__name__)

MAX_ENTITIES = 50  # the best of a walk
MAX_MENTIONS = 300  # of an entity that still tells memories apart
MAX_READ_AT_ONCE = 5_000  # entities of a graph that a search reads itself; a larger one is read beside it
MAX_SCOPES = 50  # of one walk

_reading: set[tuple[int, ...]] = set()
_lock = threading.Lock()


def walk(scope_ids: Sequence[int], query: str) -> dict[int, float]:
    """memory -> what its entities are worth, the best as 1; empty where the question names no entity of the graph, and
    where a large graph is not read yet.

    Personalised PageRank from what the question names. What an entity is worth is shared among the memories that name
    it: of one that half of all memories name, it says little that a memory names it. Nothing, beyond MAX_MENTIONS.
    """
    if not 0 < len(scope_ids) <= MAX_SCOPES:
        return {}
    anchors = find_anchors(scope_ids, query, alike=False)
    graph = _graph_at_hand(scope_ids) if anchors else None
    seeds = {entity: weight for entity, weight in anchors.items() if entity in graph} if graph else {}
    if graph is None or not seeds:
        return {}
    ranked = {node.id: score for node, score in graph.rank(seeds, limit=MAX_ENTITIES)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT memory_id, sum(worth / links) FROM (SELECT l.memory_id, w.worth, "
            "count(*) OVER (PARTITION BY l.entity_id) AS links FROM memory_service_memoryentity l "
            "JOIN unnest(%s::bigint[], %s::float8[]) AS w(id, worth) ON w.id = l.entity_id "
            "JOIN memory_service_entity e ON e.id = l.entity_id AND e.num_mentions <= %s) found GROUP BY memory_id",
            [list(ranked), list(ranked.values()), MAX_MENTIONS],
        )
        found = dict(cursor.fetchall())
    best = max(found.values(), default=0.0)
    return {memory_id: worth / best for memory_id, worth in found.items()}


def _graph_at_hand(scope_ids: Sequence[int]) -> MemoryGraph | None:
    """None where it would take long: the next search has it."""
    if graphs.is_kept(scope_ids) or _is_small(scope_ids):
        return graphs.graph_of(scope_ids)
    key = tuple(sorted(set(scope_ids)))
    with _lock:
        if key not in _reading:
            _reading.add(key)
            threading.Thread(target=_read, args=(key,), name="read-graph", daemon=True).start()
    return None


def _is_small(scope_ids: Sequence[int]) -> bool:
    rows = Entity.objects.filter(scope__in=list(scope_ids)).values("pk")[: MAX_READ_AT_ONCE + 1]
    return len(rows) <= MAX_READ_AT_ONCE


def _read(key: tuple[int, ...]) -> None:
    try:
        graphs.graph_of(key)
    except DatabaseError as exc:
        logger.warning("the graph of scopes %s was not read, and the next search tries again: %s", key, exc)
    finally:
        with _lock:
            _reading.discard(key)
        connection.close()
