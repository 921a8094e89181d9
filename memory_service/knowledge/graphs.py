"""The graphs of scopes, kept per process and brought up to date in place.

A scope's graph is true at a version (models/knowledge.py: GraphState). Every writer raises the version first and holds
that row until its transaction ends, so versions are in the order of commits, and reading the rows with a newer version
than the graph's misses none. Where rows were destroyed, or many changed, the graph is read anew, in one query.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import connection

from graph.memory_graph import MemoryGraph
from graph.types import Edge, Node

MAX_KEPT_ROWS = 600_000  # nodes and edges of all graphs a process keeps: some 600 MB
MAX_PATCHED_ROWS = 2_000  # above it a graph is read anew: that is faster, and nobody waits for a lock meanwhile

Versions = dict[int, int]

_NODES = (
    "SELECT 0 AS kind, e.id, e.name, e.type, NULL::bigint AS source, NULL::bigint AS target, "
    "NULL::float8 AS confidence, NULL::timestamptz AS valid_at, NULL::timestamptz AS invalid_at, NULL::text AS origin, "
    "e.merged_into_id IS NOT NULL AS gone FROM memory_service_entity e WHERE e.scope_id = ANY(%(scopes)s)"
)
_EDGES = (
    "SELECT 1, r.id, r.text, r.type, r.source_id, r.target_id, r.confidence, r.valid_at, r.invalid_at, r.origin, false "
    "FROM memory_service_relation r WHERE r.scope_id = ANY(%(scopes)s)"
)
_NEWER = f"{_NODES} AND e.version > %(since)s UNION ALL {_EDGES} AND r.version > %(since)s ORDER BY 1, 2 LIMIT %(most)s"


@dataclass(slots=True)
class _Kept:
    graph: MemoryGraph
    versions: Versions
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def num_rows(self) -> int:
        return self.graph.num_nodes + self.graph.num_edges


class GraphCache:
    """Graphs by their scopes, the least recently used dropped above max_rows. Safe to share between threads."""

    def __init__(self, max_rows: int = MAX_KEPT_ROWS) -> None:
        self.max_rows = max_rows
        self._kept: OrderedDict[tuple[int, ...], _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, scope_ids: Sequence[int]) -> MemoryGraph:
        """The graph of these scopes as they are now."""
        key = tuple(sorted(set(scope_ids)))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            return self._put(key, _read(key))
        with kept.lock:
            if _bring_up_to_date(kept, key):
                return kept.graph
        return self._put(key, _read(key))

    def _put(self, key: tuple[int, ...], fresh: _Kept) -> MemoryGraph:
        with self._lock:
            self._kept[key] = fresh
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(one.num_rows for one in self._kept.values()) > self.max_rows:
                self._kept.popitem(last=False)
        return fresh.graph

    def keeps(self, scope_ids: Sequence[int]) -> bool:
        return tuple(sorted(set(scope_ids))) in self._kept

    def __len__(self) -> int:
        return len(self._kept)


@lru_cache(maxsize=1)
def _cache() -> GraphCache:
    return GraphCache()


def graph_of(scope_ids: Sequence[int]) -> MemoryGraph:
    """The graph of these scopes: entities that are merged into none, and all relations, closed ones too.

    Shared with other threads of the process, which may bring it up to date between two questions to it.
    """
    return _cache().get(scope_ids)


def is_kept(scope_ids: Sequence[int]) -> bool:
    """Whether this process has the graph of these scopes, so that asking for it takes no reading of all its rows."""
    return _cache().keeps(scope_ids)


def versions_of(scope_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """scope -> (version, version at which rows were last destroyed), of those that have a graph."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT scope_id, version, rebuilt_at FROM memory_service_graphstate WHERE scope_id = ANY(%s)",
            [list(scope_ids)],
        )
        return {scope_id: (version, rebuilt_at) for scope_id, version, rebuilt_at in cursor.fetchall()}


def _read(key: tuple[int, ...]) -> _Kept:
    # Before what it vouches for: what is written in between is read once more the next time, which changes nothing.
    versions = {scope: version for scope, (version, _) in versions_of(key).items()}
    nodes, edges = _rows(f"{_NODES} UNION ALL {_EDGES} ORDER BY 1, 2", {"scopes": list(key)})
    known = {node.id for node, gone in nodes if not gone}
    graph = MemoryGraph(
        (node for node, gone in nodes if not gone),
        (edge for edge in edges if edge.source in known and edge.target in known),
        backend=settings.ENV.graph_backend or None,
    )
    return _Kept(graph, versions)


def _bring_up_to_date(kept: _Kept, key: tuple[int, ...]) -> bool:
    """False where the graph has to be read anew."""
    states = versions_of(key)
    versions = {scope: version for scope, (version, _) in states.items()}
    if versions == kept.versions:
        return True
    changed = [scope for scope, version in versions.items() if version != kept.versions.get(scope, 0)]
    if kept.versions.keys() - versions.keys() or any(states[s][1] > kept.versions.get(s, 0) for s in changed):
        return False
    since = {scope: kept.versions.get(scope, 0) for scope in changed}
    nodes: list[tuple[Node, bool]] = []
    edges: list[Edge] = []
    for scope, version in since.items():
        found = _rows(_NEWER, {"scopes": [scope], "since": version, "most": MAX_PATCHED_ROWS + 1})
        nodes += found[0]
        edges += found[1]
        if len(nodes) + len(edges) > MAX_PATCHED_ROWS:
            return False
    _patch(kept.graph, nodes, edges)
    kept.versions = versions
    return True


def _patch(graph: MemoryGraph, nodes: Sequence[tuple[Node, bool]], edges: Sequence[Edge]) -> None:
    with graph.lock:
        for node, gone in nodes:
            if gone:
                graph.remove_node(node.id)
            else:
                graph.put_node(node)
        for edge in edges:
            if edge.source in graph and edge.target in graph:
                graph.put_edge(edge)
            else:
                graph.remove_edge(edge.id)


def _rows(sql: str, params: dict[str, Any]) -> tuple[list[tuple[Node, bool]], list[Edge]]:
    nodes: list[tuple[Node, bool]] = []
    edges: list[Edge] = []
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        for kind, id_, name, type_, source, target, confidence, valid_at, invalid_at, origin, gone in cursor.fetchall():
            if kind == 0:
                nodes.append((Node(id_, name, type_), gone))
            else:
                edges.append(Edge(id_, source, target, type_, confidence, valid_at, invalid_at, origin, name))
    return nodes, edges
