"""The edges as arrays, beside networkx: what a ranking reads. Changing one edge changes one row.

What is kept is an edge list: a row can be appended or blanked in place, and `as_of` is a mask over it. The matrix of
the walk (scipy CSR) is made of it on the first ranking after a change, which takes a millisecond or two for 30,000
edges, and kept until the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .types import Edge

ALPHA = 0.85  # Page et al., 1999; also networkx's
TOLERANCE = 1e-6  # of the L1 difference between two rounds; networkx stops at 1e-6 for each node
MAX_ROUNDS = 200
FIRST_CAPACITY = 64

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

BEFORE_ALL, AFTER_ALL = -np.inf, np.inf


class EdgeArrays:
    """Rows of nodes are never given to another node, so that what was removed cannot come back under a new name."""

    def __init__(self) -> None:
        self.node_ids: list[int] = []
        self._node_row: dict[int, int] = {}
        self._edge_row: dict[int, int] = {}
        self._num_edges = 0
        self._ends = np.zeros((2, FIRST_CAPACITY), np.int64)  # rows of source and target
        self._times = np.zeros((2, FIRST_CAPACITY))  # seconds since 1970 of valid_at and invalid_at
        self._weight = np.zeros(FIRST_CAPACITY)  # 0: removed
        self._walk: tuple[Any, Rows] | None = None

    def add_node(self, node_id: int) -> None:
        if node_id not in self._node_row:
            self._node_row[node_id] = len(self.node_ids)
            self.node_ids.append(node_id)
            self._walk = None

    def remove_node(self, node_id: int) -> None:
        """Its edges must have been removed. The row stays, and no walk reaches it."""
        self._node_row.pop(node_id, None)

    def put(self, edge: Edge) -> None:
        """Adds the edge, or changes the one of that id."""
        row = self._edge_row.get(edge.id)
        if row is None:
            row = self._edge_row[edge.id] = self._num_edges
            self._num_edges += 1
            if row >= len(self._weight):
                self._grow()
        self._ends[:, row] = self._node_row[edge.source], self._node_row[edge.target]
        self._times[:, row] = _seconds(edge.valid_at, BEFORE_ALL), _seconds(edge.invalid_at, AFTER_ALL)
        self._weight[row] = edge.confidence
        self._walk = None

    def remove(self, edge_id: int) -> None:
        row = self._edge_row.pop(edge_id, None)
        if row is not None:
            self._weight[row] = 0.0
            self._walk = None

    def _grow(self) -> None:
        more = len(self._weight)
        self._ends = np.pad(self._ends, ((0, 0), (0, more)))
        self._times = np.pad(self._times, ((0, 0), (0, more)))
        self._weight = np.pad(self._weight, (0, more))

    def rank(
        self, seeds: Mapping[int, float], *, as_of: datetime | None, alpha: float = ALPHA, limit: int | None = None
    ) -> list[tuple[int, float]]:
        """Personalised PageRank of the nodes that the walk reaches, best first, as (id, score); all sum to 1.

        Edges are walked both ways, with a chance proportional to confidence. seeds: weights over 0 of nodes that are
        here. A walk that can go nowhere returns to the seeds.
        """
        start = np.zeros(len(self.node_ids))
        for node_id, weight in seeds.items():
            start[self._node_row[node_id]] = weight
        start /= start.sum()
        step, stuck = self._transitions(as_of)
        scores = start
        for _ in range(MAX_ROUNDS):
            # What gets stuck returns to the seeds, as does the share 1 - alpha of all.
            following = alpha * (step @ scores)
            following += (alpha * scores[stuck].sum() + 1 - alpha) * start
            change = np.abs(following - scores).sum()
            scores = following
            if change < TOLERANCE:
                break
        best = _best_rows(scores, limit)
        return [(self.node_ids[row], score) for row, score in zip(best.tolist(), scores[best].tolist(), strict=True)]

    def _transitions(self, as_of: datetime | None) -> tuple[Any, Rows]:
        """(N, N) chances of a step, [to, from], and the rows without any step; kept for the graph as it is now."""
        if as_of is None and self._walk is not None:
            return self._walk
        num = self._num_edges
        begin, stop = self._times[:, :num]
        if as_of is None:
            holds = np.isposinf(stop)
        else:
            moment = as_of.timestamp()
            holds = (begin <= moment) & (moment < stop)
        rows = np.flatnonzero(holds & (self._weight[:num] > 0))
        source, target = self._ends[:, rows]
        origin, end = np.concatenate([source, target]), np.concatenate([target, source])
        weight = np.concatenate([self._weight[rows]] * 2)
        size = len(self.node_ids)
        total = np.bincount(origin, weight, size)
        walk = (csr_array((weight / total[origin], (end, origin)), shape=(size, size)), np.flatnonzero(total == 0))
        if as_of is None:
            self._walk = walk
        return walk


def _best_rows(scores: Floats, limit: int | None) -> Rows:
    """Of scores over 0, the highest first; of equal ones the earlier row."""
    reached = np.flatnonzero(scores > 0)
    if limit is not None and limit < len(reached):
        threshold = np.partition(scores[reached], len(reached) - limit)[len(reached) - limit] if limit else np.inf
        reached = reached[scores[reached] >= threshold]
    return reached[np.argsort(-scores[reached], kind="stable")][:limit]


def _seconds(moment: datetime | None, otherwise: float) -> float:
    return otherwise if moment is None else moment.timestamp()


def fill(arrays: EdgeArrays, node_ids: Iterable[int], edges: Iterable[Edge]) -> None:
    """Many at once into empty arrays: a third of the time of one by one."""
    arrays.node_ids = list(node_ids)
    arrays._node_row = {node_id: row for row, node_id in enumerate(arrays.node_ids)}
    found = list(edges)
    row_of: Any = arrays._node_row.__getitem__
    arrays._edge_row = {edge.id: row for row, edge in enumerate(found)}
    arrays._num_edges = len(found)
    spare = max(FIRST_CAPACITY, len(found) // 4)
    arrays._ends = np.pad(
        np.array([[row_of(e.source) for e in found], [row_of(e.target) for e in found]], np.int64).reshape(2, -1),
        ((0, 0), (0, spare)),
    )
    times = [[_seconds(e.valid_at, BEFORE_ALL) for e in found], [_seconds(e.invalid_at, AFTER_ALL) for e in found]]
    arrays._times = np.pad(np.array(times, np.float64).reshape(2, -1), ((0, 0), (0, spare)))
    arrays._weight = np.pad(np.array([e.confidence for e in found], np.float64), (0, spare))
    arrays._walk = None
