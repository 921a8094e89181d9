"""`python -m benchmarks.selection FILE`: what each way to choose among the hits is worth, no LLM.

FILE is in LoCoMo's format; see docs/evaluation.md for what counts as found. Nothing is fitted
to it. Each question is one search per row of the table, with that row's options. Recall is the share of
the question's evidence that the returned hits cite; tokens are counted at four characters each, of the returned texts,
or of the kept sentences in focus mode (where a message counts as found by any of its sentences). Each row is compared
with the first of its group by a paired bootstrap over the questions, within their conversations.

Starts a service of its own, or uses one that is running (--host, --api-key).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from .conversations import CHARS_A_TOKEN, MAX_CITED, ingest, sessions
from .service import describe_machine, service

ALL = 200  # top_k where a budget ends the list
SENTENCES = 150
RESAMPLES = 5_000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True, slots=True)
class Row:
    """budget: of tokens, where the kept sentences are cut here, best first."""

    group: str
    name: str
    options: dict[str, Any]
    budget: int | None = None


def rows(budgets: Sequence[int]) -> list[Row]:
    found = []
    for budget in budgets:
        group, limit = f"{budget} tokens", {"top_k": ALL, "max_tokens": budget}
        found += [
            Row(group, "best first", limit),
            Row(group, "MMR, lambda 0.9", limit | {"select": "mmr", "mmr_lambda": 0.9}),
            Row(group, "MMR, lambda 0.7", limit | {"select": "mmr", "mmr_lambda": 0.7}),
            Row(group, "MMR, lambda 0.5", limit | {"select": "mmr", "mmr_lambda": 0.5}),
            Row(group, "greedy set", limit | {"select": "greedy"}),
            Row(group, "tree search", limit | {"select": "tree"}),
            Row(group, "diversity", limit | {"diversity": True}),
            Row(group, "focus", {"top_k": 100, "focus": SENTENCES}, budget),
        ]
    return [
        *found,
        Row("10 hits", "best first", {"top_k": 10}),
        Row("10 hits", "MMR, lambda 0.7", {"top_k": 10, "select": "mmr"}),
        Row("10 hits", "diversity", {"top_k": 10, "diversity": True}),
        Row("at most 20 hits", "best first", {"top_k": 20}),
        Row("at most 20 hits", "cut at the fall", {"top_k": 20, "select": "gradient"}),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--api-key")
    parser.add_argument("--skip-ingest", action="store_true", help="the conversations are there already")
    parser.add_argument("--every", type=int, default=1, help="ask every so manieth question only")
    parser.add_argument("--budgets", default="500,1000")
    parser.add_argument("--json", type=Path, help="write each question's figures")
    args = parser.parse_args()
    if bool(args.host) != bool(args.api_key):
        parser.error("--host and --api-key belong together")
    samples = json.loads(args.file.read_text())
    given: AbstractContextManager[Any] = nullcontext((args.host, args.api_key, None)) if args.host else service()
    with given as (url, key, _):
        api = httpx.Client(base_url=url, headers={"Authorization": f"Token {key}"}, timeout=120)
        if not args.skip_ingest:
            for sample in samples:
                ingest(api, sample)
        asked = [(s["sample_id"], *q) for s in samples for q in questions(s)][:: args.every]
        table = rows([int(budget) for budget in args.budgets.split(",")])
        measured = [[measure(api, user, text, evidence, row) for row in table] for user, text, evidence in asked]
    figures = np.array(measured, np.float64)  # (Q, R, 3): recall, tokens, milliseconds
    print_table(table, figures, [user for user, *_ in asked])
    print(f"\n{len(asked)} questions, {describe_machine()}")
    if args.json:
        named = [{"group": row.group, "name": row.name, "options": row.options} for row in table]
        args.json.write_text(json.dumps({"rows": named, "figures": figures.tolist()}))


def questions(sample: dict[str, Any]) -> Iterator[tuple[str, set[str]]]:
    known = {turn["dia_id"] for _, _, turns in sessions(sample) for turn in turns}
    for question in sample["qa"]:
        named = {f"D{int(a)}:{int(b)}" for e in question["evidence"] for a, b in re.findall(r"D:?(\d+):(\d+)", e)}
        if question["category"] != 5 and named & known:
            yield question["question"], named & known


def measure(api: httpx.Client, user: str, question: str, evidence: set[str], row: Row) -> tuple[float, int, float]:
    """(recall, tokens, milliseconds)"""
    body = {"query": question, "filters": {"user_id": user}, **row.options}
    started = time.perf_counter()
    answer = api.post("/v3/memories/search/", json=body)
    took_ms = 1000 * (time.perf_counter() - started)
    answer.raise_for_status()
    hits = answer.json()["results"]
    pieces = sentences_of(hits) if row.options.get("focus") else [(cited(hit), size(hit["memory"])) for hit in hits]
    found: set[str] = set()
    used = 0
    for ids, tokens in pieces:
        if row.budget is None or used + tokens <= row.budget:
            used += tokens
            found |= ids
    return len(found & evidence) / len(evidence), used, took_ms


def sentences_of(hits: Sequence[dict[str, Any]]) -> list[tuple[set[str], int]]:
    """Best first."""
    found = [(part["score"], cited(hit), size(part["text"])) for hit in hits for part in hit["focus"]]
    return [(ids, tokens) for _, ids, tokens in sorted(found, key=lambda one: -one[0])]


def cited(hit: dict[str, Any]) -> set[str]:
    ids = {source["message_id"] for source in hit["sources"]}
    return ids if len(ids) <= MAX_CITED else set()


def size(text: str) -> int:
    return int(max(1, -(-len(text) // CHARS_A_TOKEN)))


def interval(differences: NDArray[np.float64], strata: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """Of their mean, by a bootstrap within each stratum. differences: (Q,)."""
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(np.array(strata) == name) for name in dict.fromkeys(strata)]
    sums = np.zeros(RESAMPLES)
    for rows_of in groups:
        sums += differences[random.choice(rows_of, size=(RESAMPLES, len(rows_of)))].sum(axis=1)
    low, high = np.percentile(sums / len(differences), INTERVAL)
    return float(low), float(high)


def print_table(table: Sequence[Row], figures: NDArray[np.float64], strata: Sequence[str]) -> None:
    print("| budget | choice | recall | tokens | against best first | p50 ms |\n|---|---|---|---|---|---|")
    first: dict[str, int] = {}
    for place, row in enumerate(table):
        base = first.setdefault(row.group, place)
        recall, tokens, took_ms = figures[:, place].T
        difference = "" if base == place else describe(recall - figures[:, base, 0], strata)
        print(
            f"| {row.group} | {row.name} | {recall.mean():.3f} | {tokens.mean():.0f} | {difference} "
            f"| {statistics.median(took_ms.tolist()):.0f} |"
        )


def describe(differences: NDArray[np.float64], strata: Sequence[str]) -> str:
    low, high = interval(differences, strata)
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
