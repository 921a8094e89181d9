"""`python -m benchmarks.locomo FILE --api-key KEY`: evidence recall on conversations in LoCoMo's format, no LLM.

Each session is one add under user_id = the conversation; each question is one search there. A hit counts for the
messages that it cites, if they are at most three. Recall is the share of a question's evidence among the first k hits,
or among the hits that fit into N tokens of text (four characters each). Category 5 (adversarial) is left out; the
others are named by their numbers: 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop. The mean over conversations
comes with its standard deviation. The data is Maharana et al., ACL 2024, CC BY-NC, and not part of this repository.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

TOP_K = 120
DEPTHS, BUDGETS = (10, 20), (500, 1000, 2000)
MAX_CITED = 3
CHARS_A_TOKEN = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--host", default="http://127.0.0.1:8000")
    parser.add_argument("--api-key", required=True)
    args = parser.parse_args()
    api = httpx.Client(base_url=args.host, headers={"Authorization": f"Token {args.api_key}"}, timeout=120)
    by_conversation, by_category = {}, defaultdict(list)
    for sample in json.loads(args.file.read_text()):
        ingest(api, sample)
        scores = list(ask_all(api, sample))
        by_conversation[sample["sample_id"]] = [score for _, score in scores]
        for category, score in scores:
            by_category[f"category {category}"].append(score)
    print_table({**by_conversation, **dict(sorted(by_category.items()))}, list(by_conversation))


def sessions(sample: dict[str, Any]) -> Iterator[tuple[int, datetime, list[dict[str, Any]]]]:
    number, talk = 1, sample["conversation"]
    while f"session_{number}" in talk:
        said = datetime.strptime(talk[f"session_{number}_date_time"].strip(), "%I:%M %p on %d %B, %Y")
        yield number, said.replace(tzinfo=UTC), talk[f"session_{number}"]
        number += 1


def to_message(turn: dict[str, Any], role: str) -> dict[str, str]:
    photo = f" [shares a photo: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
    return {"id": turn["dia_id"], "role": role, "name": turn["speaker"], "content": turn["text"] + photo}


def ingest(api: httpx.Client, sample: dict[str, Any]) -> None:
    user, first = sample["sample_id"], sample["conversation"]["speaker_a"]
    events = []
    for number, said, turns in sessions(sample):
        messages = [to_message(turn, "user" if turn["speaker"] == first else "assistant") for turn in turns]
        body = {"messages": messages, "user_id": user, "run_id": f"{user}/{number}", "timestamp": said.timestamp()}
        answer = api.post("/v3/memories/add/", json=body)
        answer.raise_for_status()
        events.append(answer.json()["event_id"])
    for event in events:
        while (status := api.get(f"/v1/event/{event}/").json()["status"]) not in ("SUCCEEDED", "FAILED"):
            time.sleep(0.1)
        if status == "FAILED":
            raise SystemExit(f"event {event} of {user} failed")


def ask_all(api: httpx.Client, sample: dict[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """(category, recalls) for each question with evidence."""
    known = {turn["dia_id"] for _, _, turns in sessions(sample) for turn in turns}
    for question in sample["qa"]:
        # Some ids are malformed ("D8:6; D9:17", "D:11:26"): every D<n>:<m> counts.
        named = {f"D{int(a)}:{int(b)}" for e in question["evidence"] for a, b in re.findall(r"D:?(\d+):(\d+)", e)}
        if question["category"] != 5 and named & known:
            yield question["category"], ask(api, sample["sample_id"], question["question"], named & known)


def ask(api: httpx.Client, user: str, question: str, evidence: set[str]) -> dict[str, float]:
    body = {"query": question, "filters": {"user_id": user}, "top_k": TOP_K}
    answer = api.post("/v3/memories/search/", json=body)
    answer.raise_for_status()
    hits = []
    for hit in answer.json()["results"]:
        cited = {source["message_id"] for source in hit["sources"]}
        hits.append((cited if len(cited) <= MAX_CITED else set(), max(1, len(hit["memory"]) // CHARS_A_TOKEN)))
    found = {f"recall@{k}": set().union(*(cited for cited, _ in hits[:k])) for k in DEPTHS}
    for budget in BUDGETS:
        used, found[f"recall@{budget}t"] = 0, set()
        for cited, tokens in hits:
            used += tokens
            if used > budget:
                break
            found[f"recall@{budget}t"] |= cited
    return {name: len(ids & evidence) / len(evidence) for name, ids in found.items()}


def print_table(groups: dict[str, list[dict[str, float]]], conversations: list[str]) -> None:
    names = [f"recall@{k}" for k in DEPTHS] + [f"recall@{b}t" for b in BUDGETS]
    print(f"| | questions | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")

    def row(title: str, scores: list[dict[str, float]], spread: bool = False) -> str:
        cells = [f"{statistics.mean(s[name] for s in scores):.3f}" for name in names]
        if spread and len(conversations) > 1:
            means = {n: [statistics.mean(s[n] for s in groups[c]) for c in conversations] for n in names}
            cells = [f"{cell} ± {statistics.stdev(means[n]):.3f}" for cell, n in zip(cells, names, strict=True)]
        return f"| {title} | {len(scores)} | {' | '.join(cells)} |"

    for title, scores in groups.items():
        print(row(title, scores))
    print(row("all", [score for c in conversations for score in groups[c]], spread=True))


if __name__ == "__main__":
    main()
