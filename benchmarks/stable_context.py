"""`python -m benchmarks.stable_context FILE`: what the stable order reuses, and what it costs in evidence.

Takes conversations in LoCoMo's format into a scratch database, then asks a session of 50 questions of each, in the
file's order (categories 1 to 4), through the context stage. For each question and budget: the evidence recall of the
context by relevance, by time and in the stable order, and for the stable order the share of its leading tokens that
the context before it had too (the first question has none before it and counts as 0). Recall is the share of a
question's evidence messages that are cited by the items of the context; an item that cites more than three messages
counts for none.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.locomo import MAX_CITED, sessions, to_message
from benchmarks.stories import database

if TYPE_CHECKING:
    from memory_service.context import Context

NUM_TURNS = 50
RESAMPLES = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--keep", type=float, nargs="+", default=[], help="values of keep_share to try beside none")
    parser.add_argument("--by-session", action="store_true", help="ask in the order in which the evidence was said")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    samples = json.loads(args.file.read_text())
    with database() as api:
        for sample in samples:
            ingest(api, sample)
        rows = list(replay_all(samples, args))
    report(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def ingest(api: Any, sample: dict[str, Any]) -> None:
    first = sample["conversation"]["speaker_a"]
    for number, said, turns in sessions(sample):
        messages = [to_message(turn, "user" if turn["speaker"] == first else "assistant") for turn in turns]
        user = sample["sample_id"]
        body = {"messages": messages, "user_id": user, "run_id": f"{user}/{number}", "timestamp": said.timestamp()}
        assert api.post("/v3/memories/add/", body).status == 200


def replay_all(samples: Sequence[dict[str, Any]], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each question, budget and order."""
    for sample in samples:
        asked = questions(sample, by_session=args.by_session)
        for budget in args.budgets:
            plain = {order: [ask(sample, q, budget, order) for q, _ in asked] for order in ("relevance", "time")}
            for order, found in plain.items():
                yield from _rows(sample, asked, found, budget, order)
            for keep in (None, *args.keep):
                name = "stable" if keep is None else f"stable, keep_share {keep:g}"
                found = [ask(sample, q, budget, "stable", session=f"{budget}/{keep}", keep=keep) for q, _ in asked]
                yield from _rows(sample, asked, found, budget, name)


def questions(sample: dict[str, Any], *, by_session: bool) -> list[tuple[str, set[str]]]:
    """The first NUM_TURNS of the file, each with its evidence."""
    known = {turn["dia_id"] for _, _, turns in sessions(sample) for turn in turns}
    found = []
    for one in sample["qa"]:
        named = {f"D{int(a)}:{int(b)}" for e in one["evidence"] for a, b in re.findall(r"D:?(\d+):(\d+)", e)} & known
        if one["category"] != 5 and named:
            found.append((one["question"], named))
    if by_session:
        found.sort(key=lambda pair: min(tuple(map(int, re.findall(r"\d+", name))) for name in pair[1]))
    return found[:NUM_TURNS]


def ask(
    sample: dict[str, Any], question: str, budget: int, order: str, *, session: str = "", keep: float | None = None
) -> Context:
    from memory_service import context, filters
    from memory_service.models import Project
    from memory_service.retrieval import SearchRequest

    node = filters.parse({"user_id": sample["sample_id"]})
    search = SearchRequest(question, node, top_k=context.default_top_k(budget))
    named = f"{sample['sample_id']}/{session}" if session else None
    request = context.ContextRequest(search, max_tokens=budget, order=order, session=named, keep_share=keep)
    return context.assemble(Project.objects.get(), request)


def _rows(
    sample: dict[str, Any], asked: Sequence[tuple[str, set[str]]], found: Sequence[Context], budget: int, order: str
) -> Iterator[dict[str, Any]]:
    for turn, ((_, evidence), context) in enumerate(zip(asked, found, strict=True)):
        cited: set[str] = set()
        for item in context.items:
            names = {source.name for source in item.sources}
            cited |= names if len(names) <= MAX_CITED else set()
        yield {
            "conversation": sample["sample_id"],
            "turn": turn,
            "budget": budget,
            "order": order,
            "recall": len(cited & evidence) / len(evidence),
            "num_items": len(context.items),
            "num_tokens": context.num_tokens,
            "unchanged_tokens": context.unchanged_tokens,
            "epoch": context.epoch,
        }


def report(rows: Sequence[dict[str, Any]]) -> None:
    print("| budget | order | recall | against relevance | items | tokens | reused tokens | epochs |")
    print("|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["order"]), []).append(row)
    for (budget, order), found in groups.items():
        base = groups[budget, "relevance"]
        recall = statistics.mean(row["recall"] for row in found)
        differences = [row["recall"] - other["recall"] for row, other in zip(found, base, strict=True)]
        low, high = bootstrap(differences)
        cells = [f"{recall:.3f}", f"{statistics.mean(differences):+.3f} [{low:+.3f}, {high:+.3f}]"]
        cells += [f"{statistics.mean(row[name] for row in found):.1f}" for name in ("num_items", "num_tokens")]
        shares = [row["unchanged_tokens"] / row["num_tokens"] for row in found if row["unchanged_tokens"] is not None]
        cells.append(f"{statistics.mean(shares):.3f}" if shares else "")
        epochs = {(row["conversation"], row["epoch"]) for row in found if row["epoch"] is not None}
        cells.append(f"{len(epochs) / len({row['conversation'] for row in found}):.1f}" if epochs else "")
        print(f"| {budget} | {order} | {' | '.join(cells)} |")


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by the percentiles of resampled means."""
    chance = random.Random(0)
    means = sorted(statistics.mean(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


if __name__ == "__main__":
    main()
