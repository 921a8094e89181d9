"""What a graph is built from and what it answers with: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Node:
    """An entity. id: the caller's, unique in the graph."""

    id: int
    name: str
    type: str = "other"


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation from `source` to `target` (ids of nodes). id: the caller's, unique in the graph.

    [valid_at, invalid_at): when it holds in the world, both aware or None for unbounded. confidence: over 0, up to 1.
    origin: who says so.
    """

    id: int
    source: int
    target: int
    type: str
    confidence: float = 1.0
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    origin: str = "llm"
    text: str = ""

    def holds(self, as_of: datetime | None) -> bool:
        """At `as_of`; without one, whether its end is not known."""
        if as_of is None:
            return self.invalid_at is None
        return (self.valid_at is None or self.valid_at <= as_of) and (
            self.invalid_at is None or as_of < self.invalid_at
        )


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """nodes: each with its distance from the centre in edges, nearest first, the centre itself included.

    truncated: something was left out because of a limit.
    """

    nodes: list[tuple[Node, int]]
    edges: list[Edge]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Path:
    """nodes: from source to target. edges: one for each step, the surest between its two nodes, in either direction."""

    nodes: list[Node]
    edges: list[Edge]

    @property
    def confidence(self) -> float:
        """The product of its edges' confidences."""
        product = 1.0
        for edge in self.edges:
            product *= edge.confidence
        return product


@dataclass(frozen=True, slots=True)
class Community:
    """nodes: the most central (by the weight of their edges inside) first.

    relation_types, entity_types: how often each occurs inside, the most frequent first.
    """

    nodes: list[Node]
    num_edges: int
    relation_types: Mapping[str, int]
    entity_types: Mapping[str, int]
    description: str
