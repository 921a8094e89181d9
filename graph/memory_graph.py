"""A scope's entities and relations as a graph: a networkx MultiDiGraph, with arrays beside it for rankings.

Every question takes `as_of`: only edges that held in the world then; without it, those whose end is not known. Every
answer is bounded. Ids that are not in the graph raise ValueError. Safe to share between threads.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import wraps
from itertools import islice, pairwise
from typing import Any, Concatenate, ParamSpec, TypeVar

import networkx as nx

from .edge_arrays import ALPHA, EdgeArrays, fill
from .types import Community, Edge, Neighbourhood, Node, Path

MAX_PATH_NODES = 2_000  # between two entities, that are looked at for paths
NUM_NAMED = 3  # members that a community's description names
NUM_TYPES = 3

P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[MemoryGraph, P], R]) -> Callable[Concatenate[MemoryGraph, P], R]:
    """One thread at a time."""

    @wraps(method)
    def locked(self: MemoryGraph, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked  # type: ignore[return-value]  # wraps() forgets that self is positional


class MemoryGraph:
    """nodes, edges: any order; an edge whose ends are not among the nodes raises ValueError.

    backend: the name of a networkx backend (nx-cugraph's is "cugraph") that `communities` and `rank` are passed on to;
    without one, communities are networkx's own and rankings come from the arrays.
    """

    def __init__(self, nodes: Iterable[Node] = (), edges: Iterable[Edge] = (), *, backend: str | None = None) -> None:
        self.lock = threading.RLock()
        self.backend = backend
        self.graph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        self._edges: dict[int, Edge] = {}
        self._arrays = EdgeArrays()
        self._communities: dict[tuple[Any, ...], list[Community]] = {}
        self.graph.add_nodes_from((node.id, {"node": node}) for node in nodes)
        for edge in edges:
            self._check_ends(edge)
            self._edges[edge.id] = edge
        self.graph.add_edges_from((e.source, e.target, e.id, {"edge": e}) for e in self._edges.values())
        fill(self._arrays, self.graph.nodes, self._edges.values())

    @property
    def num_nodes(self) -> int:
        return int(self.graph.number_of_nodes())

    @property
    def num_edges(self) -> int:
        return len(self._edges)

    def __contains__(self, node_id: int) -> bool:
        return node_id in self.graph

    def node(self, node_id: int) -> Node:
        self._check(node_id)
        found: Node = self.graph.nodes[node_id]["node"]
        return found

    def edge(self, edge_id: int) -> Edge:
        if edge_id not in self._edges:
            raise ValueError(f"edge {edge_id} is not in the graph")
        return self._edges[edge_id]

    def edges(self) -> list[Edge]:
        return list(self._edges.values())

    def nodes(self) -> list[Node]:
        return [data["node"] for _, data in self.graph.nodes(data=True)]

    # Changes, in place

    @_alone
    def put_node(self, node: Node) -> None:
        """Adds the node, or changes the one of that id."""
        self.graph.add_node(node.id, node=node)
        self._arrays.add_node(node.id)
        self._communities.clear()

    @_alone
    def put_edge(self, edge: Edge) -> None:
        """Adds the edge, or changes the one of that id, its ends too."""
        self._check_ends(edge)
        old = self._edges.get(edge.id)
        if old is not None and (old.source, old.target) != (edge.source, edge.target):
            self.graph.remove_edge(old.source, old.target, old.id)
        self._edges[edge.id] = edge
        self.graph.add_edge(edge.source, edge.target, edge.id, edge=edge)
        self._arrays.put(edge)
        self._communities.clear()

    @_alone
    def remove_edge(self, edge_id: int) -> None:
        """What is not there is left."""
        old = self._edges.pop(edge_id, None)
        if old is not None:
            self.graph.remove_edge(old.source, old.target, old.id)
            self._arrays.remove(edge_id)
            self._communities.clear()

    @_alone
    def remove_node(self, node_id: int) -> None:
        """With its edges. What is not there is left."""
        if node_id in self.graph:
            for edge in list(self._around(node_id)):
                self.remove_edge(edge.id)
            self.graph.remove_node(node_id)
            self._arrays.remove_node(node_id)
            self._communities.clear()

    # Questions

    @_alone
    def neighbourhood(
        self,
        node_id: int,
        *,
        depth: int = 1,
        types: Iterable[str] | None = None,
        as_of: datetime | None = None,
        max_nodes: int = 100,
        max_edges: int = 200,
    ) -> Neighbourhood:
        """What lies within `depth` edges, in either direction; of too much, the nearest and surest. types: of edges."""
        self._check(node_id)
        wanted = None if types is None else frozenset(types)
        distance, edges = {node_id: 0}, dict[int, Edge]()
        truncated, queue = False, deque([node_id])
        while queue:
            here = queue.popleft()
            if distance[here] >= depth:
                continue
            room = max_edges - len(edges)
            around = [e for e in self._around(here) if e.id not in edges and _passes(e, wanted, as_of)]
            truncated |= len(around) > room
            for edge in heapq.nlargest(room, around, key=_surest):
                there = edge.target if edge.source == here else edge.source
                if there not in distance:
                    if len(distance) >= max_nodes:
                        truncated = True
                        continue
                    distance[there] = distance[here] + 1
                    queue.append(there)
                edges[edge.id] = edge
            if len(edges) >= max_edges:
                truncated |= bool(queue)
                break
        return Neighbourhood([(self.node(n), d) for n, d in distance.items()], list(edges.values()), truncated)

    @_alone
    def paths(
        self,
        source: int,
        target: int,
        *,
        k: int = 3,
        max_length: int = 4,
        types: Iterable[str] | None = None,
        as_of: datetime | None = None,
    ) -> list[Path]:
        """The k shortest simple paths of at most max_length edges, walked in either direction; [] where there is none.

        Looks at no more than MAX_PATH_NODES entities, those nearest to both. Source: Yen 1971, in networkx.
        """
        self._check(source)
        self._check(target)
        if source == target:
            return []
        wanted = None if types is None else frozenset(types)
        near = self._between(source, target, max_length, wanted, as_of)
        if target not in near:
            return []
        between: nx.Graph[int] = nx.Graph()
        for node_id in near:
            for edge in self._around(node_id):
                if edge.source in near and edge.target in near and _passes(edge, wanted, as_of):
                    between.add_edge(edge.source, edge.target)
        short: list[list[int]] = []
        for way in islice(nx.shortest_simple_paths(between, source, target), k):
            if len(way) - 1 > max_length:
                break
            short.append(way)
        return [self._to_path(way, wanted, as_of) for way in short]

    def _between(
        self, source: int, target: int, max_length: int, wanted: frozenset[str] | None, as_of: datetime | None
    ) -> set[int]:
        """The nodes on some walk of at most max_length edges between the two, the nearest first."""
        ahead = self._distances(source, max_length, wanted, as_of)
        back = self._distances(target, max_length, wanted, as_of)
        both = [(ahead[n] + back[n], n) for n in ahead.keys() & back.keys() if ahead[n] + back[n] <= max_length]
        return {n for _, n in heapq.nsmallest(MAX_PATH_NODES, both)}

    def _distances(
        self, start: int, depth: int, wanted: frozenset[str] | None, as_of: datetime | None
    ) -> dict[int, int]:
        distance, queue = {start: 0}, deque([start])
        while queue:
            here = queue.popleft()
            if distance[here] == depth:
                break  # the queue is in the order of distance
            for edge in self._around(here):
                there = edge.target if edge.source == here else edge.source
                if there not in distance and _passes(edge, wanted, as_of):
                    distance[there] = distance[here] + 1
                    queue.append(there)
        return distance

    def _to_path(self, way: Sequence[int], wanted: frozenset[str] | None, as_of: datetime | None) -> Path:
        steps = [
            max(
                (e for e in self._joining(left, right) if _passes(e, wanted, as_of)),
                key=_surest,
            )
            for left, right in pairwise(way)
        ]
        return Path([self.node(n) for n in way], steps)

    @_alone
    def rank(
        self,
        seeds: Mapping[int, float],
        *,
        as_of: datetime | None = None,
        alpha: float = ALPHA,
        limit: int | None = None,
    ) -> list[tuple[Node, float]]:
        """Personalised PageRank from `seeds` (weights over 0), best first; what no walk reaches is left out.

        Edges are walked both ways, in proportion to their confidence.
        """
        if not seeds:
            raise ValueError("seeds is empty: a personalised ranking starts from at least one entity")
        for node_id, weight in seeds.items():
            self._check(node_id)
            if not 0 < weight < float("inf"):
                raise ValueError(f"seed {node_id} has weight {weight}: a finite weight over 0 is accepted")
        if self.backend:
            best = self._rank_by_backend(seeds, as_of, alpha)[:limit]
        else:
            best = self._arrays.rank(seeds, as_of=as_of, alpha=alpha, limit=limit)
        return [(self.node(node_id), score) for node_id, score in best]

    def _rank_by_backend(
        self, seeds: Mapping[int, float], as_of: datetime | None, alpha: float
    ) -> list[tuple[int, float]]:
        scores: dict[int, float] = nx.pagerank(
            self._weighted(as_of), alpha=alpha, personalization=dict(seeds), backend=self.backend
        )
        reached = ((node_id, score) for node_id, score in scores.items() if score > 0)
        return sorted(reached, key=lambda one: (-one[1], one[0]))

    @_alone
    def communities(
        self, *, resolution: float = 1.0, seed: int = 0, as_of: datetime | None = None, min_size: int = 2
    ) -> list[Community]:
        """Groups of entities with more edges inside than between, the largest first; the same for the same seed.

        Kept until the graph changes. Source: Louvain, Blondel et al. 2008, in networkx or its backend.
        """
        key = (resolution, seed, as_of)
        if key not in self._communities:
            weighted = self._weighted(as_of)
            weighted.remove_nodes_from(list(nx.isolates(weighted)))
            ways: dict[str, Any] = {"backend": self.backend} if self.backend else {}
            groups = (
                nx.community.louvain_communities(weighted, weight="weight", resolution=resolution, seed=seed, **ways)
                if weighted.number_of_edges()
                else []
            )
            if len(self._communities) >= 8:  # a caller may ask for many dates
                self._communities.clear()
            described = [self._describe(set(group), weighted, as_of) for group in groups]
            self._communities[key] = sorted(described, key=lambda c: (-len(c.nodes), c.nodes[0].id))
        return [found for found in self._communities[key] if len(found.nodes) >= min_size]

    def _describe(self, group: set[int], weighted: nx.Graph[int], as_of: datetime | None) -> Community:
        inside = Counter[str]()
        for node_id in group:
            inside.update(e.type for e in self._out(node_id) if e.target in group and e.holds(as_of))
        weight = {n: sum(d["weight"] for other, d in weighted[n].items() if other in group) for n in group}
        nodes = [self.node(n) for n in sorted(group, key=lambda n: (-weight[n], n))]
        kinds = Counter(node.type for node in nodes)
        named = ", ".join(node.name for node in nodes[:NUM_NAMED])
        more = f" and {len(nodes) - NUM_NAMED} more" if len(nodes) > NUM_NAMED else ""
        related = ", ".join(name.replace("_", " ") for name, _ in inside.most_common(NUM_TYPES))
        made_of = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(NUM_TYPES))
        description = f"{named}{more} ({made_of}): {related}" if related else f"{named}{more} ({made_of})"
        return Community(nodes, inside.total(), dict(inside.most_common()), dict(kinds.most_common()), description)

    @_alone
    def restricted_to(self, edge_ids: Iterable[int]) -> MemoryGraph:
        """A graph of its own with all nodes and only these edges."""
        kept = [self._edges[i] for i in edge_ids if i in self._edges]
        return MemoryGraph(self.nodes(), kept, backend=self.backend)

    def _weighted(self, as_of: datetime | None) -> nx.Graph[int]:
        """Undirected, parallel edges' confidences summed: what networkx's own algorithms are asked about."""
        weighted: nx.Graph[int] = nx.Graph()
        weighted.add_nodes_from(self.graph.nodes)
        total: dict[tuple[int, int], float] = {}
        for edge in self._edges.values():
            if edge.holds(as_of):
                ends = (min(edge.source, edge.target), max(edge.source, edge.target))
                total[ends] = total.get(ends, 0.0) + edge.confidence
        weighted.add_weighted_edges_from((a, b, weight) for (a, b), weight in total.items())
        return weighted

    def _around(self, node_id: int) -> Iterator[Edge]:
        """Every edge at the node, once."""
        yield from self._out(node_id)
        for other, between in self.graph.pred[node_id].items():
            if other != node_id:
                for data in between.values():
                    yield data["edge"]

    def _out(self, node_id: int) -> Iterator[Edge]:
        for between in self.graph.succ[node_id].values():
            for data in between.values():
                yield data["edge"]

    def _joining(self, left: int, right: int) -> Iterator[Edge]:
        for a, b in ((left, right), (right, left)):
            for data in self.graph.succ[a].get(b, {}).values():
                yield data["edge"]

    def _check(self, node_id: int) -> None:
        if node_id not in self.graph:
            raise ValueError(f"node {node_id} is not in the graph")

    def _check_ends(self, edge: Edge) -> None:
        for end in (edge.source, edge.target):
            if end not in self.graph:
                raise ValueError(f"edge {edge.id} ends at node {end}, which is not in the graph")
        if not 0 < edge.confidence <= 1:
            raise ValueError(f"edge {edge.id} has confidence {edge.confidence}: over 0 and up to 1 is accepted")


def _passes(edge: Edge, wanted: frozenset[str] | None, as_of: datetime | None) -> bool:
    return (wanted is None or edge.type in wanted) and edge.holds(as_of)


def _surest(edge: Edge) -> tuple[float, int]:
    return edge.confidence, -edge.id
