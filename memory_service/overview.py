"""A summary of the memories that a filter lets through: by the model, or of their own words by TextRank.

Facts come first, since they say in a sentence what many turns say; where they leave room, what was said follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import ledger
from .errors import LLMUnavailable, ServiceError
from .extractive import Sentence, label, num_words, split_sentences, summarise_sentences
from .filters import Filter, parse
from .llm import LLMConfig
from .models import Event, Memory, Project
from .project_llm import llm_of
from .prompts.overview import overview_prompt
from .retrieval import memories_passing
from .session_summaries import ASK_SHARE, ask_within, render_lines

MAX_WORDS = 250
MAX_MEMORIES = 400  # newest first; `count` says how many there were
MAX_PROMPT_WORDS = 8_000


@dataclass(slots=True)
class Overview:
    """count: the memories that the filter let through; used: how many of them were read."""

    summary: str
    method: str
    count: int
    used: int
    notes: list[str] = field(default_factory=list)

    def as_result(self) -> dict[str, Any]:
        return {"summary": self.summary, "method": self.method, "count": self.count, "memories_used": self.used}


def summarise(project: Project, filters: Any, *, event: Event | None = None) -> Overview:
    """filters: as a request writes them. Raises InvalidInput; LLMUnavailable, where the event is then tried again."""
    memories, count = _read(project, parse(filters))
    llm = llm_of(project)
    if llm is None or not memories:
        return extract(memories, count)
    try:
        with ledger.charged(project, event=event):
            return _ask(llm, memories, count)
    except LLMUnavailable:
        raise
    except ServiceError as exc:
        found = extract(memories, count)
        found.notes.append(f"summarised without the language model: {exc}")
        return found


def summarise_local(project: Project, filters: Any) -> Overview:
    """Without a model, whatever is configured; deterministic."""
    return extract(*_read(project, parse(filters)))


def _read(project: Project, node: Filter) -> tuple[list[Memory], int]:
    """Oldest first, and how many there are in all."""
    passing = memories_passing(project, node)
    count = passing.count()
    newest = passing.order_by("-said_at", "-id")
    facts = list(newest.exclude(kind=Memory.Kind.EPISODIC)[:MAX_MEMORIES])
    said = list(newest.filter(kind=Memory.Kind.EPISODIC)[: MAX_MEMORIES - len(facts)])
    return sorted([*facts, *said], key=lambda memory: (memory.said_at, memory.pk)), count


def extract(memories: Sequence[Memory], count: int) -> Overview:
    sentences = [sentence for memory in memories for sentence in _sentences(memory)]
    text = render_lines(summarise_sentences(sentences, MAX_WORDS))
    return Overview(text, "extractive", count, len(memories))


def _sentences(memory: Memory) -> list[Sentence]:
    """A fact stands in its own words; what was said has its speaker and day. Facts are where a reader starts."""
    if memory.kind == Memory.Kind.EPISODIC:
        text = memory.text.removeprefix(f"{memory.speaker}: ") if memory.speaker else memory.text
        return [Sentence(part, label(memory.speaker or "User", memory.said_at)) for part in split_sentences(text)]
    return [Sentence(part, weight=2.0) for part in split_sentences(memory.text)]


def _ask(llm: LLMConfig, memories: Sequence[Memory], count: int) -> Overview:
    told: list[dict[str, str]] = []
    room = MAX_PROMPT_WORDS
    for memory in reversed(memories):  # what does not fit is the oldest
        room -= num_words(memory.text)
        if room < 0:
            break
        told.append({"memory": memory.text, "date": f"{memory.said_at:%Y-%m-%d}"})
    told.reverse()
    source_words = sum(num_words(one["memory"]) for one in told)
    limit = max(1, min(MAX_WORDS, source_words))

    def prompt(keep: int) -> Any:
        return overview_prompt(told, source_words=source_words, keep_words=keep)

    text, _ = ask_within(llm, prompt, asked=max(1, round(limit * ASK_SHARE)), limit=limit)
    return Overview(text, "llm", count, len(told))
