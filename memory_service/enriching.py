"""Metadata of a document's chunks: written by a language model where there is one, else found by rules.

A model is asked about several chunks at once, with the document around them. What it answers is checked: keywords and
names must stand in the document. Chunks that it leaves out are asked for once more, and described by rules after that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chunking.enrichment import NUM_ENTITIES, NUM_KEYWORDS, NUM_QUESTIONS, Metadata, enrich
from chunking.types import Chunk

from .errors import LLMError, LLMMalformed, LLMUnavailable
from .extraction.entities import find_entities
from .extraction.types import Usage
from .llm import LLMConfig, complete_structured
from .prompts.enrich import DescribedChunk, DescribedChunks, enrich_prompt

logger = logging.getLogger(__name__)

PURPOSE = "enrich"
BATCH_CHUNKS = 8  # of one request
BATCH_CHARS = 12_000  # of their texts
WHOLE_CHARS = 24_000  # of a document that is shown whole
OPENING_CHARS = 2_000  # of a longer one's beginning, which says what it is
AROUND_CHARS = 3_000  # shown of it before and after the batch
MAX_TRIES = 2  # one, and one more for the chunks that were left out

OnProgress = Callable[[int, int], None]
"""(chunks done, of all)"""


@dataclass(slots=True)
class Enriched:
    """metadata: of each chunk, in order. num_written: how many a model wrote. usage: what each request cost."""

    metadata: list[Metadata]
    num_written: int = 0
    usage: list[Usage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def cost_usd(self) -> float | None:
        """None where the price of a request is not known."""
        costs = [one.cost_usd for one in self.usage]
        return sum(cost for cost in costs if cost is not None) if None not in costs else None


def describe_locally(chunks: Sequence[Chunk], *, title: str = "") -> list[Metadata]:
    return enrich(chunks, title=title, find_entities=lambda text: [one.name for one in find_entities(text)])


def describe(
    chunks: Sequence[Chunk],
    text: str,
    *,
    title: str = "",
    llm: LLMConfig | None = None,
    wait: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Enriched:
    """The metadata of one document's chunks.

    text: the document that the chunks are of. llm: None, or the model to ask. wait: raise LLMUnavailable, so that the
    caller tries again later; else a model that does not answer is asked no more, and the rest is described by rules.
    """
    found = Enriched(describe_locally(chunks, title=title))
    if llm is None:
        return found
    folded = text.casefold()
    done = 0
    for batch in batches(chunks):
        try:
            written = _ask(llm, batch, chunks, text, title, found.usage)
        except LLMMalformed as exc:
            _note(found, exc, len(batch))
            written = {}
        except LLMError as exc:
            if wait and isinstance(exc, LLMUnavailable):
                raise
            _note(found, exc, len(chunks) - done)
            break
        for number, one in written.items():
            found.metadata[number] = merge(found.metadata[number], one, folded)
        found.num_written += len(written)
        done += len(batch)
        on_progress(done, len(chunks))
    return found


def _note(found: Enriched, exc: LLMError, num_chunks: int) -> None:
    found.usage += exc.usage if isinstance(exc, LLMMalformed) else []
    found.notes.append(f"{num_chunks} chunks were described without a model: {exc}")
    logger.warning("%s", found.notes[-1])


def batches(chunks: Sequence[Chunk]) -> Iterator[list[int]]:
    """Places of the chunks that are asked about together, in order; a chunk longer than BATCH_CHARS stands alone."""
    batch: list[int] = []
    room = BATCH_CHARS
    for i, chunk in enumerate(chunks):
        if batch and (len(batch) == BATCH_CHUNKS or len(chunk.text) > room):
            yield batch
            batch, room = [], BATCH_CHARS
        batch.append(i)
        room -= len(chunk.text)
    if batch:
        yield batch


def surroundings(text: str, start: int, end: int) -> str:
    """The whole of a short document; of a long one its opening and what stands around [start, end)."""
    if len(text) <= WHOLE_CHARS:
        return text
    first, last = max(0, start - AROUND_CHARS), min(len(text), end + AROUND_CHARS)
    if first <= OPENING_CHARS:
        return text[:last]
    return f"{text[:OPENING_CHARS]}\n[...]\n{text[first:last]}"


def _ask(
    llm: LLMConfig, batch: Sequence[int], chunks: Sequence[Chunk], text: str, title: str, usage: list[Usage]
) -> dict[int, DescribedChunk]:
    shown = surroundings(text, chunks[batch[0]].start, chunks[batch[-1]].end)
    written: dict[int, DescribedChunk] = {}
    for _ in range(MAX_TRIES):
        missing = {i: chunks[i].text for i in batch if i not in written}
        if not missing:
            break
        prompt = enrich_prompt(shown, missing, title=title)
        try:
            answer, cost = complete_structured(llm, prompt, DescribedChunks, purpose=PURPOSE)
        except LLMMalformed as exc:
            if not written:
                raise
            usage += exc.usage
            break
        usage += cost
        written |= {one.number: one for one in answer.chunks if one.number in missing}
    return written


def merge(local: Metadata, written: DescribedChunk, folded: str) -> Metadata:
    """What the model wrote, and the local metadata where it wrote nothing that can be used.

    folded: the document, case-folded. Words and names that do not stand in it are dropped.
    """
    known: Mapping[str, float] = dict(local.keywords)
    terms = [term for term in dict.fromkeys(written.keywords) if term.casefold() in folded][:NUM_KEYWORDS]
    weighed = tuple((term, known.get(term.casefold(), 1 - i / (2 * NUM_KEYWORDS))) for i, term in enumerate(terms))
    entities = tuple(name for name in dict.fromkeys(written.entities) if name.casefold() in folded)[:NUM_ENTITIES]
    return replace(
        local,
        type=written.type or local.type,
        keywords=weighed or local.keywords,
        entities=entities or local.entities,
        questions=tuple(dict.fromkeys(written.questions))[:NUM_QUESTIONS] or local.questions,
        summary=written.summary or local.summary,
        context=written.context or local.context,
    )
