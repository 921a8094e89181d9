"""`python -m benchmarks.answers FILE --api-key KEY`: extractive answers on conversations in LoCoMo's format, no LLM.

Each session is one add, each question one POST to /v1/answers/ of a running service that has no language model. For
each category: the token F1 of the answer's `value` with the written answer (SQuAD's: lower case, without articles and
punctuation), the share of questions whose citation is one of the written evidence, the share that is "Not known.", and
how long the answer took. Category 5 (adversarial) asks what was never said: there "Not known." is right.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import string
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.conversations import ingest

TOP_K = 20


@dataclass(frozen=True, slots=True)
class Score:
    f1: float
    cites: float
    unknown: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--host", default="http://127.0.0.1:8000")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--conversations", type=int, default=10, help="how many, from the first")
    parser.add_argument("--keep", action="store_true", help="they are in the service already")
    args = parser.parse_args()
    api = httpx.Client(base_url=args.host, headers={"Authorization": f"Token {args.api_key}"}, timeout=120)
    scores: dict[int, list[Score]] = defaultdict(list)
    for sample in json.loads(args.file.read_text())[: args.conversations]:
        if not args.keep:
            ingest(api, sample)
        for question in sample["qa"]:
            scores[question["category"]].append(ask(api, sample["sample_id"], question))
    print("| category | questions | F1 | cites evidence | not known | p50 ms | p95 ms |\n|---|---|---|---|---|---|---|")
    for category, found in sorted(scores.items()):
        print_row(str(category), found)
    print_row("1 to 4", [one for category, found in scores.items() if category != 5 for one in found])


def ask(api: httpx.Client, user: str, question: dict[str, Any]) -> Score:
    started = time.perf_counter()
    body = {"query": question["question"], "filters": {"user_id": user}, "top_k": TOP_K}
    answer = api.post("/v1/answers/", json=body)
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    told = answer.json()
    cited = {source["message_id"] for citation in told["citations"] for source in citation["sources"]}
    named = {f"D{int(a)}:{int(b)}" for e in question["evidence"] for a, b in re.findall(r"D:?(\d+):(\d+)", e)}
    right = str(question.get("answer", ""))
    return Score(token_f1(told["value"] or "", right), bool(cited & named), not told["known"], seconds)


def token_f1(told: str, right: str) -> float:
    """Rajpurkar et al., SQuAD, EMNLP 2016, section 6."""
    first, second = _tokens(told), _tokens(right)
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else 0.0


def _tokens(text: str) -> list[str]:
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(?:a|an|the)\b", " ", bare).split()


def print_row(title: str, found: list[Score]) -> None:
    f1, cites = statistics.mean(s.f1 for s in found), statistics.mean(s.cites for s in found)
    unknown = statistics.mean(s.unknown for s in found)
    times = sorted(1000 * s.seconds for s in found)
    p50, p95 = times[len(times) // 2], times[int(0.95 * (len(times) - 1))]
    print(f"| {title} | {len(found)} | {f1:.3f} | {cites:.3f} | {unknown:.3f} | {p50:.0f} | {p95:.0f} |")


if __name__ == "__main__":
    main()
