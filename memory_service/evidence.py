"""Ranked hits -> numbered lines under a token budget, and numbers -> the messages that they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .models import Memory, MemorySource
from .retrieval import Hit

BYTES_PER_TOKEN = 3  # English has over four; with three the estimate errs on the side of the budget
CUT = " ..."
MIN_CUT_TOKENS = 8  # less of a text than this says nothing


def estimate_tokens(text: str) -> int:
    """Without the model's own tokenizer: UTF-8 bytes by three, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One hit as it is shown. number: what an answer cites it by, from 1. text: without speaker and date."""

    number: int
    hit: Hit
    text: str
    speaker: str
    said_at: datetime
    num_tokens: int

    @property
    def line(self) -> str:
        told = ", ".join(filter(None, (day_of(self.said_at), self.speaker)))
        return f"[{self.number}] ({told}) {self.text}"

    @property
    def scope_id(self) -> int:
        if self.hit.memory is not None:
            return self.hit.memory.scope_id
        assert self.hit.message is not None  # a hit is one or the other
        return self.hit.message.session.scope_id

    @property
    def public_id(self) -> str:
        row = self.hit.memory or self.hit.message
        assert row is not None  # a hit is one or the other
        return str(row.public_id)


@dataclass(frozen=True, slots=True)
class Evidence:
    """num_left_out: hits that did not fit."""

    items: tuple[EvidenceItem, ...] = ()
    num_left_out: int = 0

    @property
    def text(self) -> str:
        return "\n".join(item.line for item in self.items)

    @property
    def num_tokens(self) -> int:
        return sum(item.num_tokens for item in self.items)

    def of(self, number: int) -> EvidenceItem | None:
        return self.items[number - 1] if 1 <= number <= len(self.items) else None


def evidence_text(hits: Sequence[Hit], max_tokens: int) -> Evidence:
    """The hits in their order, each on a line of its own. One that does not fit is skipped for smaller ones behind it;
    the best is cut rather than left out."""
    items: list[EvidenceItem] = []
    room = max_tokens
    for hit in hits:
        item = _item(len(items) + 1, hit)
        if item.num_tokens > room and not items:
            item = _cut(item, room)
        if item.num_tokens <= room and item.text:
            items.append(item)
            room -= item.num_tokens
    return Evidence(tuple(items), len(hits) - len(items))


def _item(number: int, hit: Hit) -> EvidenceItem:
    if hit.memory is not None:
        memory = hit.memory
        episodic = memory.kind == Memory.Kind.EPISODIC
        speaker = memory.speaker or "" if episodic else ""
        text = memory.text.removeprefix(f"{speaker}: ") if speaker else memory.text
        said_at = memory.said_at if episodic else memory.valid_at or memory.said_at
    else:
        assert hit.message is not None  # a hit is one or the other
        message = hit.message
        speaker, text, said_at = message.name or message.role, message.content, message.said_at
    return _counted(EvidenceItem(number, hit, " ".join(text.split()), speaker, said_at, 0))


def _counted(item: EvidenceItem) -> EvidenceItem:
    return replace(item, num_tokens=estimate_tokens(f"{item.line}\n"))


def _cut(item: EvidenceItem, room: int) -> EvidenceItem:
    bare = _counted(replace(item, text=CUT))
    left = (room - bare.num_tokens) * BYTES_PER_TOKEN
    if left < MIN_CUT_TOKENS * BYTES_PER_TOKEN:
        return replace(item, text="")
    kept = item.text.encode()[:left].decode("utf-8", "ignore")
    return _counted(replace(item, text=f"{kept.rstrip()}{CUT}"))


def day_of(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


# Citations


def citations_of(evidence: Evidence, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """One for each number, once, in the order given: the memory, and the characters of the messages it rests on."""
    items = [item for number in dict.fromkeys(numbers) if (item := evidence.of(number))]
    spans = _load_spans(item.hit.memory.pk for item in items if item.hit.memory)
    return [_citation(item, spans) for item in items]


def _load_spans(memory_ids: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    rows = MemorySource.objects.filter(memory__in=list(memory_ids)).order_by("message_id", "start")
    for source in rows.select_related("message__session"):
        told = _source(source.message, source.start, source.end)
        found.setdefault(source.memory_id, []).append(told)
    return found


def _citation(item: EvidenceItem, spans: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    memory, message = item.hit.memory, item.hit.message
    if memory is not None:
        sources = spans.get(memory.pk, [])
    else:
        assert message is not None  # a hit is one or the other
        sources = [_source(message, 0, len(message.content))]
    return {
        "number": item.number,
        "memory_id": str(memory.public_id) if memory is not None else None,
        "kind": memory.kind if memory is not None else None,
        "text": item.text,
        "created_at": item.said_at.isoformat(),
        "sources": sources,
    }


def _source(message: Any, start: int, end: int) -> dict[str, Any]:
    return {
        "message_id": message.client_id or str(message.public_id),
        "session_id": str(message.session.public_id),
        "run_id": message.session.run_id,
        "speaker": message.name or message.role,
        "start": start,
        "end": end,
        "quote": message.content[start:end],
        "created_at": message.said_at.isoformat(),
    }
