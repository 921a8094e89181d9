"""`python -m benchmarks.stable_context FILE`: what the stable order reuses, and what it costs in evidence.

Takes conversations in LoCoMo's format into a scratch database, then asks a session of 50 questions of each (categories
1 to 4) through the context stage: the first of the file (`--asked file`), 50 by chance (`--asked shuffled`, one session
for each of `--seeds`), or those about the earliest sessions, in the order in which their evidence was said
(`--asked topic`). For each question and budget: the evidence recall of the context by relevance, by time and in the
stable order, and for the stable order the share of its leading tokens that the context before it had too (the first
question has none before it and counts as 0). Recall is the share of a question's evidence messages that are cited by
the items of the context; an item that cites more than three messages counts for none.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.stories import database

if TYPE_CHECKING:
    from memory_service.context import Context
    from memory_service.evaluation.datasets import Conversation, Question

NUM_TURNS = 50
RESAMPLES = 2_000
ASKED = ("file", "shuffled", "topic")
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    parser.add_argument("--keep", type=float, nargs="+", default=[], help="values of keep_share to try beside none")
    parser.add_argument("--asked", nargs="+", choices=ASKED, default=["file"])
    parser.add_argument("--seeds", type=int, default=3, help="shuffled sessions of each conversation")
    parser.add_argument("--one-scope", action="store_true", help="all conversations are one user's: a larger scope")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with database() as api:
        from memory_service.evaluation.datasets import read_dataset

        conversations = read_dataset("locomo", args.file).conversations
        if args.one_scope:
            conversations = (join(conversations),)
        for conversation in conversations:
            ingest(api, conversation)
        rows = list(replay_all(conversations, args))
    report(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def join(conversations: Sequence[Conversation]) -> Conversation:
    """One conversation of all their sessions; its questions are theirs in turn."""
    sessions, questions = [], []
    for one in conversations:
        for session in one.sessions:
            turns = tuple(replace(turn, id=f"{one.id}/{turn.id}") for turn in session.turns)
            sessions.append(replace(session, turns=turns))
        evidence = [frozenset(f"{one.id}/{name}" for name in question.evidence) for question in one.questions]
        questions.append([replace(q, evidence=names) for q, names in zip(one.questions, evidence, strict=True)])
    in_turn = [question for group in zip_longest(*questions) for question in group if question]
    return replace(conversations[0], id="all", sessions=tuple(sessions), questions=tuple(in_turn))


def ingest(api: Any, conversation: Conversation) -> None:
    for session in conversation.sessions:
        messages = [{"id": t.id, "role": t.role, "name": t.name, "content": t.text} for t in session.turns]
        assert session.said_at is not None  # LoCoMo dates each session
        ids = {"user_id": conversation.id, "run_id": session.id}
        body = {"messages": messages, "timestamp": session.said_at.timestamp(), **ids}
        assert api.post("/v3/memories/add/", body).status == 200


def replay_all(conversations: Sequence[Conversation], args: argparse.Namespace) -> Iterator[Row]:
    """One row for each question, budget and order."""
    for conversation in conversations:
        plain: dict[tuple[str, int, str], Row] = {}
        for asked, seed in sessions_asked(args):
            questions = choose_questions(conversation, asked, seed)
            for budget in args.budgets:
                for order in ("relevance", "time"):
                    for question in questions:
                        key = (question.id, budget, order)
                        if key not in plain:
                            plain[key] = measure(question, ask(conversation, question, budget, order))
                yield from _rows(asked, budget, "relevance", [plain[q.id, budget, "relevance"] for q in questions])
                yield from _rows(asked, budget, "time", [plain[q.id, budget, "time"] for q in questions])
                for keep in (None, *args.keep):
                    name = "stable" if keep is None else f"stable, keep_share {keep:g}"
                    session = f"{conversation.id}/{asked}/{seed}/{budget}/{keep}"
                    found = [
                        measure(q, ask(conversation, q, budget, "stable", session=session, keep=keep))
                        | {"session": session, "conversation": conversation.id}
                        for q in questions
                    ]
                    yield from _rows(asked, budget, name, found)


def sessions_asked(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    for asked in args.asked:
        for seed in range(args.seeds if asked == "shuffled" else 1):
            yield asked, seed


def choose_questions(conversation: Conversation, asked: str, seed: int = 0) -> list[Question]:
    questions = list(conversation.questions)
    if asked == "shuffled":
        random.Random(seed).shuffle(questions)
    elif asked == "topic":
        questions.sort(key=lambda one: min(tuple(map(int, re.findall(r"\d+", name))) for name in one.evidence))
    return questions[:NUM_TURNS]


def ask(
    conversation: Conversation,
    question: Question,
    budget: int,
    order: str,
    *,
    session: str | None = None,
    keep: float | None = None,
) -> Context:
    from memory_service import context, filters
    from memory_service.models import Project
    from memory_service.retrieval import SearchRequest

    node = filters.parse({"user_id": conversation.id})
    search = SearchRequest(question.text, node, top_k=context.default_top_k(budget))
    request = context.ContextRequest(search, max_tokens=budget, order=order, session=session, keep_share=keep)
    return context.assemble(Project.objects.get(), request)


def measure(question: Question, context: Context) -> Row:
    from memory_service.evaluation.metrics import MAX_CITED

    cited: set[str] = set()
    for item in context.items:
        names = {source.name for source in item.sources}
        cited |= names if len(names) <= MAX_CITED else set()
    return {
        "question": question.id,
        "recall": len(cited & question.evidence) / len(question.evidence),
        "num_items": len(context.items),
        "num_tokens": context.num_tokens,
        "unchanged_tokens": context.unchanged_tokens,
        "epoch": context.epoch,
    }


def _rows(asked: str, budget: int, order: str, found: Sequence[Row]) -> Iterator[Row]:
    for turn, row in enumerate(found):
        conversation = row["question"].split("/")[0]
        yield {**row, "conversation": conversation, "asked": asked, "budget": budget, "order": order, "turn": turn}


def report(rows: Sequence[Row]) -> None:
    """Intervals are over questions (in brackets); ± is the standard deviation over the conversations."""
    print("| asked | budget | order | recall | against relevance | ± | items | tokens | reused tokens | ± | epochs |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["asked"], row["budget"], row["order"]), []).append(row)
    for (asked, budget, order), found in groups.items():
        base = groups[asked, budget, "relevance"]
        differences = [row["recall"] - other["recall"] for row, other in zip(found, base, strict=True)]
        low, high = bootstrap(differences)
        cells = [f"{statistics.mean(row['recall'] for row in found):.3f}"]
        cells += [
            f"{statistics.mean(differences):+.3f} [{low:+.3f}, {high:+.3f}]",
            f"{_spread(found, differences):.3f}",
        ]
        cells += [f"{statistics.mean(row[name] for row in found):.1f}" for name in ("num_items", "num_tokens")]
        if found[0]["unchanged_tokens"] is None:
            cells += ["", "", ""]
        else:
            shares = [row["unchanged_tokens"] / max(1, row["num_tokens"]) for row in found]
            epochs = {(row["session"], row["epoch"]) for row in found}
            cells += [f"{statistics.mean(shares):.3f}", f"{_spread(found, shares):.3f}"]
            cells.append(f"{len(epochs) / len({row['session'] for row in found}):.1f}")
        print(f"| {asked} | {budget} | {order} | {' | '.join(cells)} |")


def _spread(rows: Sequence[Row], values: Sequence[float]) -> float:
    """The standard deviation of the conversations' means."""
    by_conversation: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        by_conversation.setdefault(row["conversation"], []).append(value)
    means = [statistics.mean(found) for found in by_conversation.values()]
    return statistics.stdev(means) if len(means) > 1 else 0.0


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by the percentiles of resampled means."""
    chance = random.Random(0)
    means = sorted(statistics.mean(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


if __name__ == "__main__":
    main()
