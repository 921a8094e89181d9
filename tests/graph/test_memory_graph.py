"""The graph as a library: questions against networkx or a plain count, changes in place against a fresh build."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from graph.memory_graph import MemoryGraph
from graph.types import Edge, Node

PEOPLE = ["Ann", "Bo", "Cleo", "Dora", "Emil", "Fritz"]
Y2020, Y2021, Y2022 = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2021, 2022))


def small() -> MemoryGraph:
    """Ann -> Bo -> Cleo -> Dora, Ann -> Emil -> Dora; Ann lived with Fritz in 2020."""
    edges = [
        Edge(1, 0, 1, "friend_of", 0.9),
        Edge(2, 1, 2, "friend_of", 0.8),
        Edge(3, 2, 3, "friend_of", 0.7),
        Edge(4, 0, 4, "works_with", 0.6),
        Edge(5, 3, 4, "works_with", 0.5),
        Edge(6, 0, 5, "lives_with", 1.0, Y2020, Y2021),
        Edge(7, 0, 1, "works_with", 0.4),
    ]
    return MemoryGraph([Node(i, name, "person") for i, name in enumerate(PEOPLE)], edges)


def large(num_nodes: int, num_edges: int, seed: int = 1) -> MemoryGraph:
    drawn = random.Random(seed)
    nodes = [Node(i, f"n{i}") for i in range(num_nodes)]
    ends = [drawn.sample(range(num_nodes), 2) for _ in range(num_edges)]
    return MemoryGraph(nodes, [Edge(i, a, b, "r", drawn.uniform(0.1, 1)) for i, (a, b) in enumerate(ends)])


def names(found: Any) -> set[str]:
    return {node.name for node, _ in found.nodes}


def test_it_finds_what_lies_around_an_entity() -> None:
    near = small().neighbourhood(0)
    assert {(node.name, distance) for node, distance in near.nodes} == {("Ann", 0), ("Bo", 1), ("Emil", 1)}
    assert {edge.id for edge in near.edges} == {1, 4, 7} and not near.truncated
    assert names(small().neighbourhood(0, depth=2)) == {"Ann", "Bo", "Emil", "Cleo", "Dora"}
    assert names(small().neighbourhood(0, depth=2, types=["friend_of"])) == {"Ann", "Bo", "Cleo"}
    assert names(small().neighbourhood(0, depth=0)) == {"Ann"}


def test_it_takes_the_surest_of_too_much_and_says_so() -> None:
    some = small().neighbourhood(0, max_edges=1)
    assert [edge.id for edge in some.edges] == [1] and some.truncated
    few = small().neighbourhood(0, depth=3, max_nodes=2)
    assert len(few.nodes) == 2 and few.truncated
    assert all({edge.source, edge.target} <= {node.id for node, _ in few.nodes} for edge in few.edges)


@pytest.mark.parametrize(("as_of", "there"), [(None, False), (Y2020, True), (Y2021, False), (Y2022, False)])
def test_every_question_is_asked_as_of_a_time(as_of: datetime | None, there: bool) -> None:
    graph = small()
    assert ("Fritz" in names(graph.neighbourhood(0, as_of=as_of))) is there
    assert bool(graph.paths(0, 5, as_of=as_of)) is there
    assert ("Fritz" in {node.name for node, _ in graph.rank({0: 1}, as_of=as_of)}) is there
    assert any("Fritz" in [n.name for n in c.nodes] for c in graph.communities(as_of=as_of)) is there


def test_before_it_began_an_edge_does_not_hold() -> None:
    assert not small().paths(0, 5, as_of=datetime(2019, 12, 31, tzinfo=UTC))


def test_it_finds_the_shortest_ways_and_no_longer_ones_than_asked() -> None:
    found = small().paths(0, 3, k=5, max_length=3)
    assert [[node.name for node in path.nodes] for path in found] == [
        ["Ann", "Emil", "Dora"],
        ["Ann", "Bo", "Cleo", "Dora"],
    ]
    assert [edge.id for edge in found[1].edges] == [1, 2, 3], "the surest of two edges between Ann and Bo"
    assert found[1].confidence == pytest.approx(0.9 * 0.8 * 0.7)
    assert len(small().paths(0, 3, k=5, max_length=2)) == 1 and len(small().paths(0, 3, k=1)) == 1
    assert small().paths(0, 3, max_length=1) == [] == small().paths(0, 0)


def test_it_finds_the_same_ways_as_networkx_in_a_large_graph() -> None:
    graph = large(400, 900)
    plain = nx.Graph((edge.source, edge.target) for edge in graph.edges())
    for source, target in [(0, 17), (5, 300), (250, 9)]:
        expected = nx.shortest_path_length(plain, source, target) if nx.has_path(plain, source, target) else None
        found = graph.paths(source, target, k=1, max_length=6)
        assert (len(found[0].edges) if found else None) == (expected if expected and expected <= 6 else None)


def as_plain(graph: MemoryGraph) -> Any:
    plain: nx.Graph[int] = nx.Graph()
    plain.add_nodes_from(node.id for node in graph.nodes())
    for edge in graph.edges():
        if edge.invalid_at is None:
            weight = plain.get_edge_data(edge.source, edge.target, {"weight": 0.0})["weight"]
            plain.add_edge(edge.source, edge.target, weight=weight + edge.confidence)
    return plain


def test_it_ranks_as_networkx_does() -> None:
    graph = large(300, 500)  # with nodes that no edge reaches
    seeds = {3: 1.0, 50: 2.0, 299: 0.5}
    expected = nx.pagerank(as_plain(graph), personalization=seeds, tol=1e-12, max_iter=1000)
    found = {node.id: score for node, score in graph.rank(seeds)}
    assert found == pytest.approx({i: s for i, s in expected.items() if s > 0}, abs=1e-5)
    assert sum(found.values()) == pytest.approx(1)
    ranked = graph.rank(seeds)
    assert graph.rank(seeds, limit=7) == ranked[:7] and graph.rank(seeds, limit=0) == []
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_changes_in_place_equal_a_fresh_build(seed: int) -> None:
    drawn = random.Random(seed)
    graph = large(40, 80, seed)
    for step in range(200):
        graph.rank({graph.nodes()[0].id: 1})  # so that there is something kept to go out of date
        ids = [node.id for node in graph.nodes()]
        edges = [edge.id for edge in graph.edges()]
        match drawn.randrange(6):
            case 0:
                graph.put_node(Node(1000 + step, "new"))
            case 1 if len(ids) > 5:
                graph.remove_node(drawn.choice(ids))
            case 2 if edges:
                graph.remove_edge(drawn.choice(edges))
            case 3 if edges:
                old = graph.edge(drawn.choice(edges))
                graph.put_edge(Edge(old.id, old.source, old.target, "r", 0.5, None, Y2020))
            case 4 if edges:
                source, target = drawn.sample(ids, 2)
                graph.put_edge(Edge(drawn.choice(edges), source, target, "moved", drawn.uniform(0.1, 1)))
            case _:
                source, target = drawn.sample(ids, 2)
                graph.put_edge(Edge(10_000 + step, source, target, "r", drawn.uniform(0.1, 1)))
    fresh = MemoryGraph(graph.nodes(), graph.edges())
    assert sorted(graph.graph.edges(keys=True)) == sorted(fresh.graph.edges(keys=True))
    for start in graph.nodes()[:5]:
        ranks = [{node.id: score for node, score in one.rank({start.id: 1})} for one in (graph, fresh)]
        assert ranks[0] == pytest.approx(ranks[1], abs=1e-9)
        assert graph.neighbourhood(start.id, depth=2) == fresh.neighbourhood(start.id, depth=2)
    assert graph.communities() == fresh.communities()


def test_it_groups_what_belongs_together_and_says_what_it_is() -> None:
    nodes = [Node(i, f"p{i}", "person" if i < 5 else "place") for i in range(10)]
    edges = [Edge(100 * a + b, a, b, "friend_of" if a < 5 else "near") for g in (range(5), range(5, 10))
             for a in g for b in g if a < b]  # fmt: skip
    graph = MemoryGraph(nodes, [*edges, Edge(9999, 0, 9, "visited", 0.1)])
    found = graph.communities()
    assert [len(community.nodes) for community in found] == [5, 5]
    assert [community.entity_types for community in found] == [{"person": 5}, {"place": 5}]
    assert [community.relation_types for community in found] == [{"friend_of": 10}, {"near": 10}]
    assert found[0].num_edges == 10 and "2 more (5 person): friend of" in found[0].description
    assert graph.communities() == found and graph.communities(min_size=6) == []
    graph.put_edge(Edge(5000, 0, 1, "sibling_of"))
    assert graph.communities()[0].num_edges == 11, "a change is seen"
    assert MemoryGraph().communities() == []


def test_it_is_fast_enough() -> None:
    """Bounds with room for a busy machine: ten times what `make bench-graph` measures on a quiet one."""
    graph = large(10_000, 30_000)

    def fastest(call: Any) -> float:
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return 1000 * min(taken)

    assert fastest(lambda: graph.rank({0: 1, 1: 1, 2: 1, 3: 1, 4: 1}, limit=20)) < 50
    assert fastest(lambda: graph.put_edge(Edge(5, 7, 8, "r", 0.5))) < 5
    assert fastest(lambda: graph.neighbourhood(0, depth=2)) < 20


FAKE_BACKEND = """
import networkx as nx
asked = []
class Converted:
    __networkx_backend__ = "fake"
    def __init__(self, graph):
        self.graph = graph
    def is_directed(self):
        return False
    def is_multigraph(self):
        return False
class Backend:
    @staticmethod
    def convert_from_nx(graph, **kwargs):
        return Converted(graph)
    @staticmethod
    def convert_to_nx(result, **kwargs):
        return result
    @staticmethod
    def pagerank(graph, *args, **kwargs):
        asked.append("pagerank")
        return nx.pagerank(graph.graph, *args, **kwargs)
    @staticmethod
    def louvain_communities(graph, *args, **kwargs):
        asked.append("louvain_communities")
        return nx.community.louvain_communities(graph.graph, *args, **kwargs)
backend = Backend()
"""


def test_it_passes_rankings_and_communities_on_to_an_installed_backend(tmp_path: Path) -> None:
    (tmp_path / "fake_backend.py").write_text(FAKE_BACKEND)
    (tmp_path / "fake-1.0.dist-info").mkdir()
    (tmp_path / "fake-1.0.dist-info" / "METADATA").write_text("Name: fake\nVersion: 1.0\n")
    (tmp_path / "fake-1.0.dist-info" / "entry_points.txt").write_text(
        "[networkx.backends]\nfake = fake_backend:backend\n"
    )
    code = """
from tests.graph.test_memory_graph import MemoryGraph, small
import fake_backend
own, elsewhere = small(), MemoryGraph(small().nodes(), small().edges(), backend="fake")
ranks = [{node.id: round(score, 4) for node, score in graph.rank({0: 1.0})} for graph in (own, elsewhere)]
groups = [{frozenset(n.id for n in c.nodes) for c in graph.communities()} for graph in (own, elsewhere)]
assert ranks[0].keys() == ranks[1].keys() and all(abs(ranks[0][i] - ranks[1][i]) < 1e-3 for i in ranks[0])
assert groups[0] == groups[1]
print(sorted(set(fake_backend.asked)))
"""
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['louvain_communities', 'pagerank']", done.stderr


def test_it_names_a_backend_that_is_not_there() -> None:
    with pytest.raises(ImportError, match="cugraph"):
        MemoryGraph(small().nodes(), small().edges(), backend="cugraph").rank({0: 1.0})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: g.neighbourhood(99), "node 99 is not in the graph"),
        (lambda g: g.paths(0, 99), "node 99 is not in the graph"),
        (lambda g: g.rank({}), "seeds is empty"),
        (lambda g: g.rank({99: 1}), "node 99 is not in the graph"),
        (lambda g: g.rank({0: 0}), "over 0"),
        (lambda g: g.rank({0: float("inf")}), "finite"),
        (lambda g: g.edge(99), "edge 99 is not in the graph"),
        (lambda g: g.put_edge(Edge(50, 0, 99, "r")), "edge 50 ends at node 99"),
        (lambda g: g.put_edge(Edge(50, 0, 1, "r", 0.0)), "confidence 0.0"),
        (lambda g: MemoryGraph([Node(1, "a")], [Edge(5, 1, 2, "r")]), "edge 5 ends at node 2"),
    ],
)
def test_it_refuses_what_is_not_there(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(small())
