"""`make bench-graph`: what questions to the knowledge graph take, at 100,000 entities and 300,000 relations.

    neighbourhood  through the stage function and over Django's test client, any scope, graphs kept by the process
    rank           personalised PageRank from five seeds, beside networkx.pagerank on the same graph
    update         one relation changed in the database until the kept graph has it
    read           a scope's graph read anew: what the first question after a start pays

Starts a PostgreSQL of its own on a temporary folder. Entities have few relations or very many, as names in
conversations do (chosen in proportion to 1 / rank). The rows are written straight into the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.service import describe_machine, percentiles

TYPES = ("lives_in", "works_at", "likes", "friend_of", "mentioned_with", "has_pet", "studied_at", "owns")
KINDS = ("person", "place", "organisation", "thing", "other")
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scopes", type=int, default=10)
    parser.add_argument("--entities", type=int, default=10_000, help="in each scope")
    parser.add_argument("--relations", type=int, default=30_000, help="in each scope")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with database():
        figures = {"machine": describe_machine()} | measure(args)
    print_table(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


@contextmanager
def database() -> Iterator[None]:
    """Django on a PostgreSQL that is ours alone."""
    folder = Path(tempfile.mkdtemp(prefix="ms-bench-graph-"))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "memory_service.settings",
        "DATA_DIR": str(folder),
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": "",
    }
    from memory_service import embedded

    process = embedded.start_postgres(folder, log=folder / "postgres.log")
    try:
        embedded.create_database(folder)
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        yield
        connection.close()
    finally:
        embedded.stop_postgres(process)
        shutil.rmtree(folder, ignore_errors=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from memory_service.models import ApiKey, Organisation, Project, Scope

    project = Project.objects.create(organisation=Organisation.objects.create(name="Bench"), name="graph")
    scopes = [Scope.objects.create(project=project, user_id=f"fill-{i}") for i in range(args.scopes)]
    for scope in scopes:
        fill(scope.pk, args.entities, args.relations)
    vacuum()
    chosen = random.Random(7)
    ids = {scope.pk: entity_ids(scope.pk) for scope in scopes}
    pick = [(s.pk, *chosen.choice(ids[s.pk])) for s in (chosen.choice(scopes) for _ in range(args.questions))]
    figures = bench_read(scopes[0].pk) | bench_neighbourhood([s.pk for s in scopes], pick)
    figures |= bench_http(ApiKey.issue(project)[1], pick)
    return figures | bench_rank(scopes[0].pk, chosen) | bench_update(scopes[0].pk, chosen)


def fill(scope_id: int, num_entities: int, num_relations: int) -> None:
    """Entities in the order of how often they are named; both ends of a relation in proportion to 1 / rank."""
    from django.db import connection
    from django.utils import timezone

    from memory_service.knowledge.recording import raise_version

    drawn = random.Random(scope_id)
    version = raise_version([scope_id])[scope_id]
    names = [f"Entity {i} of {scope_id}" for i in range(num_entities)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_service_entity (public_id, scope_id, created_at, version, name, normal_name, type) "
            "SELECT gen_random_uuid(), %s, %s, %s, t.name, lower(t.name), t.type FROM unnest(%s::text[], %s::text[]) "
            "AS t(name, type) RETURNING id",
            [scope_id, timezone.now(), version, names, [drawn.choice(KINDS) for _ in names]],
        )
        ids = [row[0] for row in cursor.fetchall()]
        weights = [1 / (rank + 20) for rank in range(num_entities)]
        pairs: set[tuple[int, int, str]] = set()
        while len(pairs) < num_relations:
            ends = zip(drawn.choices(ids, weights, k=num_relations), drawn.choices(ids, k=num_relations), strict=True)
            pairs |= {(a, b, drawn.choice(TYPES)) for a, b in ends if a != b}
        rows = sorted(pairs)[:num_relations]
        drawn.shuffle(rows)
        sources, targets, types = (list(column) for column in zip(*rows, strict=True))
        cursor.execute(
            "INSERT INTO memory_service_relation (public_id, scope_id, created_at, version, source_id, target_id, "
            "type, text, origin, confidence, num_mentions, valid_at) "
            "SELECT gen_random_uuid(), %s, %s, %s, t.s, t.t, t.type, concat_ws(' ', t.s, t.type, t.t), 'pattern', "
            "t.c, 1, %s "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::float8[]) AS t(s, t, type, c)",
            [
                *(scope_id, timezone.now(), version, timezone.now()),
                *(sources, targets, types, [round(drawn.uniform(0.3, 1.0), 2) for _ in rows]),
            ],
        )


def vacuum() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as autovacuum will have done on a service that grew this far


def entity_ids(scope_id: int) -> list[tuple[int, str]]:
    from memory_service.models import Entity

    return [
        (pk, str(public_id)) for pk, public_id in Entity.objects.filter(scope=scope_id).values_list("pk", "public_id")
    ]


def time_ms(call: Callable[..., Any], *args: Any) -> float:
    start = time.perf_counter()
    call(*args)
    return 1000 * (time.perf_counter() - start)


def bench_read(scope_id: int) -> dict[str, Any]:
    from memory_service.knowledge.graphs import GraphCache

    return {"read a scope's graph anew": percentiles([time_ms(lambda: GraphCache().get([scope_id])) for _ in range(5)])}


def bench_neighbourhood(scope_ids: list[int], pick: list[tuple[int, int, str]]) -> dict[str, Any]:
    from memory_service.knowledge import graph_of

    for scope_id in scope_ids:
        graph_of([scope_id])

    def around(scope_id: int, entity_id: int, depth: int) -> None:
        graph_of([scope_id]).neighbourhood(entity_id, depth=depth, max_edges=100)

    return {
        f"neighbourhood, depth {depth}, 100 relations, stage function": percentiles(
            [time_ms(around, scope_id, entity_id, depth) for scope_id, entity_id, _ in pick]
        )
        for depth in (1, 2)
    }


def bench_http(key: str, pick: list[tuple[int, int, str]]) -> dict[str, Any]:
    from django.test import Client

    client = Client(headers={"Authorization": f"Token {key}"}, SERVER_NAME="localhost")

    def ask(public_id: str) -> None:
        response = client.get(f"/v1/graph/entities/{public_id}/?depth=2&limit=100")
        assert response.status_code == 200, response.content

    taken = [time_ms(ask, public_id) for _, _, public_id in pick[: WARM_UP + 200]]
    return {"neighbourhood, the same at depth 2, HTTP test client": percentiles(taken[WARM_UP:])}


def bench_rank(scope_id: int, chosen: random.Random) -> dict[str, Any]:
    import networkx as nx

    from memory_service.knowledge import graph_of

    graph = graph_of([scope_id])
    ids = [node.id for node in graph.nodes()]
    seeds = [dict.fromkeys(chosen.sample(ids, 5), 1.0) for _ in range(60)]
    ours = [time_ms(lambda given: graph_of([scope_id]).rank(given, limit=20), given) for given in seeds]
    plain: nx.Graph[int] = nx.Graph()
    for edge in graph.edges():
        weight = plain.get_edge_data(edge.source, edge.target, {"weight": 0.0})["weight"]
        plain.add_edge(edge.source, edge.target, weight=weight + edge.confidence)
    theirs = [time_ms(lambda given: nx.pagerank(plain, personalization=given), given) for given in seeds[:20]]
    figures = {
        "rank from 5 seeds, 10,000 entities, kept": percentiles(ours),
        "networkx.pagerank on the same graph": percentiles(theirs),
        "communities (Louvain), once a change": percentiles([time_ms(graph.communities)]),
    }
    figures["networkx / ours"] = {
        "p50_ms": round(figures["networkx.pagerank on the same graph"]["p50_ms"]
                        / max(figures["rank from 5 seeds, 10,000 entities, kept"]["p50_ms"], 0.01), 1)
    }  # fmt: skip
    return figures


def bench_update(scope_id: int, chosen: random.Random) -> dict[str, Any]:
    """A relation changed as a writer would; what is timed is what the next question pays for it."""
    from memory_service.knowledge import graph_of
    from memory_service.knowledge.recording import raise_version
    from memory_service.models import Relation

    edges = [edge.id for edge in graph_of([scope_id]).edges()]
    taken, in_memory, ranked = [], [], []
    for _ in range(100):
        version = raise_version([scope_id])[scope_id]
        changed = chosen.choice(edges)
        Relation.objects.filter(pk=changed).update(confidence=round(chosen.uniform(0.3, 1.0), 2), version=version)
        taken.append(time_ms(graph_of, [scope_id]))
        graph = graph_of([scope_id])
        edge = graph.edge(changed)
        in_memory.append(time_ms(graph.put_edge, edge))
        ranked.append(time_ms(graph.rank, {edge.source: 1.0}))
    return {
        "update of the kept graph by one relation, with the query": percentiles(taken),
        "the same, in memory alone": {k: round(v, 3) for k, v in percentiles(in_memory).items()},
        "rank right after an update": percentiles(ranked),
    }


def print_table(figures: dict[str, Any]) -> None:
    print(f"\n{figures['machine']}\n")
    print("| what | p50 ms | p95 ms |\n|---|---|---|")
    for name, row in figures.items():
        if isinstance(row, dict):
            print(f"| {name} | {row['p50_ms']} | {row.get('p95_ms', '')} |")


if __name__ == "__main__":
    main()
