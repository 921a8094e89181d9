"""Pass@k on the code chunks of Anthropic's contextual retrieval: the chunks are given, what stands beside them is not.

    python -m benchmarks.code_chunks FOLDER [--queries FILE] [--cache FILE.npz]

FOLDER: codebase_chunks.json (documents with their chunks) and a file of queries, a JSON object a line with `query` and
`golden_chunk_uuids` ([document's uuid, chunk's index] of each chunk that answers it). Pass@k is the mean share of its
golden chunks among the first k. Prints a table: each enrichment by meaning, by words, and by both.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPTHS = (5, 10, 20)


@dataclass(frozen=True, slots=True)
class Asked:
    """golden: places in the list of all chunks."""

    query: str
    golden: frozenset[int]


def read_chunks(path: Path) -> tuple[list[Any], dict[tuple[str, int], int]]:
    """The chunks of all documents with their places, and where each stands in the list."""
    from chunking.tokens import tokenized
    from memory_service.evaluation.chunk_index import Placed

    placed: list[Any] = []
    rows: dict[tuple[str, int], int] = {}
    for document in json.loads(path.read_text()):
        whole, uuid = tokenized(document["content"]), document["original_uuid"]
        for chunk in document["chunks"]:
            start = document["content"].index(chunk["content"])
            rows[uuid, chunk["original_index"]] = len(placed)
            placed.append(Placed(uuid, whole.chunk(start, start + len(chunk["content"]), kind="code")))
    return placed, rows


def read_queries(path: Path, rows: dict[tuple[str, int], int]) -> list[Asked]:
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [Asked(one["query"], frozenset(rows[uuid, i] for uuid, i in one["golden_chunk_uuids"])) for one in lines]


def pass_at(index: Any, asked: list[Asked], vectors: Any, retrieval: str) -> list[float]:
    """The mean share of golden chunks among the first k, for each of DEPTHS."""
    totals = [0.0] * len(DEPTHS)
    for one, vector in zip(asked, vectors, strict=True):
        best = index.rank(one.query, vector, max(DEPTHS), retrieval)
        for i, k in enumerate(DEPTHS):
            totals[i] += len(one.golden & set(best[:k])) / len(one.golden)
    return [total / len(asked) for total in totals]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", default="queries-dev.jsonl")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_service.settings")
    import django

    django.setup()
    from django.conf import settings

    from chunking.fusing import ENRICHMENTS
    from memory_service.evaluation.chunk_index import RETRIEVALS, CachedEmbedder
    from memory_service.evaluation.chunk_runs import ChunkPlan, make_index
    from memory_service.evaluation.chunk_sets import ChunkSet
    from memory_service.evaluation.report import table

    placed, rows = read_chunks(options.folder / "codebase_chunks.json")
    asked = read_queries(options.folder / options.queries, rows)
    chosen = ChunkSet(options.folder.name, {one.corpus: "" for one in placed}, ())
    embed = CachedEmbedder(options.cache, model=settings.ENV.embedding_model)
    vectors = embed.embed([one.query for one in asked])
    found = []
    for enrich in (one for one in ENRICHMENTS if one != "headers"):  # the documents have no titles
        plan = ChunkPlan("given", {}, enrich=enrich)
        index = make_index(chosen, placed, plan, embed, lambda *_: None).index
        for retrieval in RETRIEVALS:
            figures = pass_at(index, asked, vectors, retrieval)
            found.append([enrich, retrieval, *(f"{figure:.3f}" for figure in figures)])
    embed.save()
    print(f"{len(placed)} chunks, {len(asked)} queries")
    print(table(["enrichment", "retrieval", *(f"Pass@{k}" for k in DEPTHS)], found))


if __name__ == "__main__":
    main()
