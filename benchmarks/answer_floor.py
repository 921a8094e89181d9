"""`DJANGO_SETTINGS_MODULE=memory_service.settings python -m benchmarks.answer_floor FILE`: from which match on a
sentence answers, without a language model.

FILE: stories with sections and questions, as FairytaleQA has them (JSON lines). Each question is put to the ten
sentences of its own story that share most words with it, and to those of another story, which cannot answer. For each
floor: the share of questions that get an answer from either. No database is needed.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import django

NUM_SENTENCES = 10
FLOORS = (0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    django.setup()
    stories = [json.loads(line) for line in args.file.read_text().splitlines()]
    sections = {story["story"]: [section["text"] for section in story["sections"]] for story in stories}
    asked = [(story["story"], one["question"]) for story in stories for one in story["questions"]]
    chance = random.Random(args.seed)
    chance.shuffle(asked)
    own, other = [], []
    for name, question in asked[: args.questions]:
        elsewhere = chance.choice([one for one in sections if one != name])
        own.append(best_match(question, sections[name]))
        other.append(best_match(question, sections[elsewhere]))
    print(f"| floor | answered from its own story | from another |\n|---|---|---|\n{rows(own, other)}")


def rows(own: Sequence[float], other: Sequence[float]) -> str:
    def share(found: Sequence[float], floor: float) -> str:
        return f"{sum(match >= floor for match in found) / len(found):.2f}"

    return "\n".join(f"| {floor:.2f} | {share(own, floor)} | {share(other, floor)} |" for floor in FLOORS)


def best_match(question: str, texts: Sequence[str]) -> float:
    from memory_service.evidence import evidence_text
    from memory_service.extractive import split_sentences
    from memory_service.extractive_answer import rank_sentences
    from memory_service.lexical import terms
    from memory_service.models import Memory
    from memory_service.retrieval import Hit

    wanted = set(terms(question))
    sentences = [sentence for text in texts for sentence in split_sentences(text)]
    nearest = sorted(sentences, key=lambda one: -len(wanted & set(terms(one))))[:NUM_SENTENCES]
    said_at = datetime(2023, 1, 1, tzinfo=UTC)
    memories = [Memory(text=text, kind="episodic", said_at=said_at, scope_id=1) for text in nearest]
    hits = [Hit(1.0, {}, memory=memory) for memory in memories]
    return max((one.match for one in rank_sentences(question, evidence_text(hits, 10_000).items)), default=0.0)


if __name__ == "__main__":
    main()
