"""`python -m benchmarks.factconsolidation FILE`: does a later fact overrule an earlier one? Without a language model.

FILE is MemoryAgentBench's fact consolidation as JSON: a list of {context: numbered facts, questions, answers, ids}.
Only its single-hop lists are asked. Each list is posted in order to one user, through the API; then

    newest in 5   the share of questions whose newest answering fact is among the first five hits of a search
    not current   the share of overruled facts (the same words up to the value) that no current memory says

The intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stories import database

FACT = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
WORD = re.compile(r"\w+")
NUM_HITS = 5
MESSAGES_AN_ADD = 20
EMPTY = frozenset("what which who where is was the of in a an by did does to are were whose with has".split())  # noqa: SIM905


@dataclass(frozen=True)
class Asked:
    """newest: the last fact that answers. overruled: earlier facts with other values in its place."""

    question: str
    newest: str
    overruled: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--one-message", action="store_true", help="post each fact in an add of its own")
    parser.add_argument("--numbered", action="store_true", help="leave the numbers before the facts")
    parser.add_argument("--misses", action="store_true", help="print what was missed")
    args = parser.parse_args()
    lists = [one for one in json.loads(args.file.read_text()) if "_sh_" in one["ids"][0]]
    print("| list | facts | newest in 5 | not current | facts/s | ms a search |\n|---|---|---|---|---|---|")
    with database() as api:
        for number, one in enumerate(lists):
            report(api, f"user-{number}", one, args)


def report(api: Any, user: str, one: dict[str, Any], args: argparse.Namespace) -> None:
    facts = [fact for _, fact in FACT.findall(one["context"])]
    asked = [
        found
        for question, answers in zip(one["questions"], one["answers"], strict=True)
        if (found := locate(question, answers, facts))
    ]
    started = time.perf_counter()
    said = [f"{i}. {fact}" for i, fact in enumerate(facts)] if args.numbered else facts
    size = 1 if args.one_message else MESSAGES_AN_ADD
    for i in range(0, len(said), size):
        messages = [{"role": "user", "content": text} for text in said[i : i + size]]
        answer = api.post("/v3/memories/add/", {"messages": messages, "user_id": user})
        assert answer.status == 200, answer
    took_s = time.perf_counter() - started
    current = {normal(text) for text in list_all(api, user)}
    started = time.perf_counter()
    hits = [search(api, user, each.question) for each in asked]
    search_ms = 1000 * (time.perf_counter() - started) / len(asked)
    newest = [any(says(text, each.newest) for text in texts) for each, texts in zip(asked, hits, strict=True)]
    overruled = sorted({fact for each in asked for fact in each.overruled})
    gone = [not any(fact_in(normal(fact), text) for text in current) for fact in overruled]
    print(
        f"| {one['ids'][0].rsplit('_', 1)[0]} | {len(facts)} | {share(newest)} | {share(gone)} "
        f"| {len(facts) / took_s:.0f} | {search_ms:.0f} |"
    )
    if args.misses:
        for each, ok, texts in zip(asked, newest, hits, strict=True):
            if not ok:
                print("missed:", each.question, "|", each.newest, "|", texts)
        for fact, ok in zip(overruled, gone, strict=True):
            if not ok:
                print("still current:", fact)


def locate(question: str, answers: Sequence[str], facts: Sequence[str]) -> Asked | None:
    """The facts that a question is about; None where none of the list holds the answer."""
    wanted = words(question)
    holding = [(i, fact, answer) for i, fact in enumerate(facts) for answer in answers if answer in fact]
    if not holding:
        return None
    i, newest, answer = max(holding, key=lambda h: (len(wanted & words(h[1].replace(h[2], ""))), h[0]))
    before, _, after = newest.rpartition(answer)
    overruled = [
        fact for fact in facts[:i] if fact != newest and before and fact.startswith(before) and fact.endswith(after)
    ]
    return Asked(question, newest, tuple(dict.fromkeys(overruled)))


def words(text: str) -> set[str]:
    return {word for word in WORD.findall(text.casefold()) if word not in EMPTY}


def search(api: Any, user: str, question: str) -> list[str]:
    body = {"query": question, "filters": {"user_id": user}, "top_k": NUM_HITS}
    answer = api.post("/v3/memories/search/", body)
    assert answer.status == 200, answer
    return [hit["memory"] for hit in answer.json["results"]]


def list_all(api: Any, user: str) -> list[str]:
    texts: list[str] = []
    page = 1
    while True:
        body = {"filters": {"user_id": user}, "page": page, "page_size": 200}
        answer = api.post("/v3/memories/", body)
        assert answer.status == 200, answer
        texts += [memory["memory"] for memory in answer.json["results"]]
        if not answer.json["next"]:
            return texts
        page += 1


def normal(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))


def says(text: str, fact: str) -> bool:
    return fact_in(normal(fact), normal(text))


def fact_in(fact: str, text: str) -> bool:
    return f" {fact} " in f" {text} "


def share(hits: Sequence[bool]) -> str:
    """As "97.0 % (91.5-99.0, n 100)"."""
    n, p, z = len(hits), sum(hits) / len(hits), 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (100 * (middle + s * half) / (1 + z * z / n) for s in (-1, 1))
    return f"{100 * p:.1f} % ({low:.1f}-{high:.1f}, n {n})"


if __name__ == "__main__":
    main()
