"""Ranked hits -> numbered lines under a budget of tokens, and numbers -> the messages or the places in documents that
they rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .document_search import FoundChunk
from .models import Memory, MemorySource
from .refining import sentence_texts
from .retrieval import Hit
from .tokens import Tokenizer, tokenizer_for

CUT = " ..."
MIN_CUT_TOKENS = 8  # less of a text than this says nothing
MAX_TOKEN_CHARS = 200  # no token is longer: what is longer than the budget allows need not be counted

Draw = Callable[[Sequence["EvidenceItem"]], str]


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
        if self.hit.chunk is not None:
            return self.hit.chunk.document.scope_id
        assert self.hit.message is not None  # a hit is one of the three
        return self.hit.message.session.scope_id

    @property
    def public_id(self) -> str:
        row = self.hit.memory or self.hit.message or self.hit.chunk
        assert row is not None  # a hit is one of the three
        return str(row.public_id)


@dataclass(frozen=True, slots=True)
class Evidence:
    """num_tokens: of all that is drawn, by `tokenizer`. num_left_out: hits that did not fit."""

    items: tuple[EvidenceItem, ...] = ()
    num_left_out: int = 0
    num_tokens: int = 0
    tokenizer: Tokenizer | None = None

    @property
    def text(self) -> str:
        return draw_lines(self.items)

    def of(self, number: int) -> EvidenceItem | None:
        return self.items[number - 1] if 1 <= number <= len(self.items) else None


def draw_lines(items: Sequence[EvidenceItem]) -> str:
    return "\n".join(item.line for item in items)


def evidence_text(
    hits: Sequence[Hit], max_tokens: int, tokenizer: Tokenizer | None = None, *, draw: Draw = draw_lines
) -> Evidence:
    """The hits in their order, each on a line of its own. One that does not fit is skipped for smaller ones behind it;
    the best is cut rather than left out.

    tokenizer: of the model that reads it; None: tokens.tokenizer_for's own choice. draw: how all of it goes into the
    prompt; what comes of it is within the budget.
    """
    tokenizer = tokenizer or tokenizer_for()
    counter = _Counter(tokenizer)
    items: list[EvidenceItem] = []
    frame = tokenizer.count(draw([]))
    room = max_tokens - frame
    for hit in hits:
        item = counter.counted(_item(len(items) + 1, hit), room)
        if item.num_tokens > room and not items:
            item = counter.cut(item, room)
        if item.num_tokens <= room and item.text:
            items.append(item)
            room -= item.num_tokens
    num_tokens = tokenizer.count(draw(items)) if items else 0
    while num_tokens > max_tokens:  # lines together may be more than the sum of the lines
        items.pop()
        num_tokens = tokenizer.count(draw(items)) if items else 0
    return Evidence(tuple(items), len(hits) - len(items), num_tokens, tokenizer)


def _item(number: int, hit: Hit) -> EvidenceItem:
    if hit.memory is not None:
        memory = hit.memory
        episodic = memory.kind == Memory.Kind.EPISODIC
        speaker = memory.speaker or "" if episodic else ""
        text = memory.text.removeprefix(f"{speaker}: ") if speaker else memory.text
        said_at = memory.said_at if episodic else memory.valid_at or memory.said_at
    elif (chunk := hit.chunk) is not None:
        speaker, text, said_at = chunk.place, chunk.text, chunk.document.created_at
    else:
        assert hit.message is not None  # a hit is one of the three
        message = hit.message
        speaker, text, said_at = message.name or message.role, message.content, message.said_at
    if hit.sentences:
        text = " ".join(sentence_texts(hit)).removeprefix(f"{speaker}: ")
    return EvidenceItem(number, hit, " ".join(text.split()), speaker, said_at, 0)


@dataclass(frozen=True, slots=True)
class _Counter:
    tokenizer: Tokenizer

    def counted(self, item: EvidenceItem, room: int) -> EvidenceItem:
        """With its tokens; of one that cannot fit into `room`, only that they are more."""
        line = f"{item.line}\n"
        too_long = len(line) > MAX_TOKEN_CHARS * max(0, room)
        return replace(item, num_tokens=room + 1 if too_long else self.tokenizer.count(line))

    def cut(self, item: EvidenceItem, room: int) -> EvidenceItem:
        """As much of its beginning as fits; without text where that is next to nothing."""
        if self.counted(replace(item, text=CUT), room).num_tokens + MIN_CUT_TOKENS > room:
            return replace(item, text="")
        kept, low, high = replace(item, text=""), 0, min(len(item.text), MAX_TOKEN_CHARS * room)
        while low < high:
            middle = (low + high + 1) // 2
            tried = self.counted(replace(item, text=f"{item.text[:middle].rstrip()}{CUT}"), room)
            if tried.num_tokens <= room:
                kept, low = tried, middle
            else:
                high = middle - 1
        return kept


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
    if item.hit.chunk is not None:
        return _chunk_citation(item, item.hit.chunk)
    if memory is not None:
        sources = spans.get(memory.pk, [])
    else:
        assert message is not None  # a hit is one of the three
        sources = [_source(message, 0, len(message.content))]
    return {
        "number": item.number,
        "memory_id": str(memory.public_id) if memory is not None else None,
        "kind": memory.kind if memory is not None else None,
        "text": item.text,
        "created_at": item.said_at.isoformat(),
        "sources": sources,
    }


def _chunk_citation(item: EvidenceItem, chunk: FoundChunk) -> dict[str, Any]:
    """The document, the pages and the characters of its text."""
    document = chunk.document
    span = {"start": chunk.start, "end": chunk.end}
    pages = {"page_start": chunk.pages[0] if chunk.pages else None, "page_end": chunk.pages[1] if chunk.pages else None}
    return {
        "number": item.number,
        "memory_id": None,
        "kind": "document_chunk",
        "text": item.text,
        "created_at": item.said_at.isoformat(),
        "document_id": str(document.public_id),
        "chunk_id": str(chunk.public_id),
        "title": document.title or None,
        "source": document.source or None,
        "headings": list(chunk.headings),
        **pages,
        **span,
        "sources": [{"document_id": str(document.public_id), **span, **pages, "quote": chunk.text}],
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
