"""A question -> the text that goes into the prompt: memories under a budget of tokens.

    find       retrieval's hits as candidates; what is said twice or scores too low is left out
    sections   a summary, a profile, relations, where they are asked for: at most a fifth of the budget each
    compress   sentences left out, or rewritten by a language model, where asked for (compression.py)
    fill       by relevance; what does not fit is passed over for what does
    order      as found, by time, or stable (stable_order.py)
    render     in the format asked for, and counted once more: the budget holds for the text as it is

Each memory is counted when it is first drawn, and the text is drawn once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from . import compression, ledger, retrieval, stable_order, tokens
from .context_sections import SECTIONS, load_sections
from .document_search import FoundChunk
from .embedding import embed_query
from .errors import InvalidInput
from .extractive import num_words
from .formats import FORMATS, Entry, Format, Rendered, Section
from .models import Memory, Project
from .project_llm import llm_of
from .refining import Trace, text_of
from .retrieval import Hit, SearchRequest, Source
from .tokens import Tokenizer

ORDERS = ("relevance", "time", "stable")
COMPRESSIONS = ("none", "extractive", "llm")
MEMORIES = "memories"
MIN_TOKENS, DEFAULT_TOKENS, MAX_TOKENS = 16, 1_000, 200_000
DEFAULT_TOP_K, MAX_TOP_K = 60, 1_000
TOKENS_A_MEMORY = 20  # few memories are shorter: so many are looked for that the budget can be filled
MAX_KEEP_SHARE = 0.95
SECTION_SHARE = 0.2  # of the budget, for each section beside the memories
COMPRESS_RATIO = 4  # how many times the budget is read where it is to be compressed into it

Reason = Literal["budget", "duplicate", "below_threshold", "compressed_away", "not_selected"]
REASONS: tuple[str, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """search: the question and its filter. model: whose tokens are counted, see tokens.tokenizer_for. session: the
    caller's name for what the stable order is kept for. keep_share: of the budget, which a stable context leaves as it
    was; None: as stable_order.py finds best. sections: of SECTIONS, and "memories"."""

    search: SearchRequest
    max_tokens: int = DEFAULT_TOKENS
    format: str = "markdown"
    order: str = "relevance"
    compress: str = "none"
    model: str | None = None
    sections: tuple[str, ...] = (MEMORIES,)
    session: str | None = None
    keep_share: float | None = None


@dataclass(slots=True)
class Candidate:
    """A memory, or a message that is none yet, as it may be shown. kept: its sentences, where not all are shown."""

    hit: Hit
    id: str
    speaker: str  # "Ann: " where the text begins with it
    text: str  # without it
    date: str
    note: str = ""  # " (until 2023-05-08)"
    kept: tuple[int, ...] | None = None
    compressed: bool = False

    @property
    def shown(self) -> str:
        return f"{self.speaker}{self.text}{self.note}"

    def entry(self, part: int = 1) -> Entry:
        return Entry(self.shown, self.date, part)

    @property
    def in_time(self) -> tuple[Any, int, int]:
        memory, message = self.hit.memory, self.hit.message
        if memory is not None:
            return memory.said_at, memory.position or 0, memory.pk
        if (chunk := self.hit.chunk) is not None:
            return chunk.document.created_at, chunk.start, chunk.pk
        assert message is not None  # a hit is one of the three
        return message.said_at, message.seq, message.pk


@dataclass(frozen=True, slots=True)
class Item:
    """What is shown of one memory: text[start:end] of the context."""

    id: str
    is_memory: bool
    score: float
    start: int
    end: int
    tokens: int
    compressed: bool
    sources: list[Source]
    chunk: FoundChunk | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """unchanged_tokens: how many leading tokens the last context of this session began with too (stable order)."""

    text: str
    items: list[Item]
    num_tokens: int
    tokenizer: Tokenizer
    left_out: list[tuple[str, Reason]]
    notes: list[str] = field(default_factory=list)
    unchanged_tokens: int | None = None
    epoch: int | None = None

    @property
    def unchanged_share(self) -> float | None:
        if self.unchanged_tokens is None:
            return None
        return self.unchanged_tokens / self.num_tokens if self.num_tokens else 1.0


def assemble(project: Project, request: ContextRequest) -> Context:
    """Raises InvalidInput where two of the wishes exclude each other."""
    check(request)
    tokenizer = tokens.tokenizer_for(request.model)
    drawing = Drawing(FORMATS[request.format], tokenizer, request)
    hits, candidates, left_out, notes = find(project, request, drawing)
    drawing.add_sections(load_sections(project, request.search, request.sections, hits))
    if MEMORIES not in request.sections:
        candidates, left_out = [], []
    if request.compress != "none":
        candidates, gone, why = compress(project, request, drawing, candidates)
        left_out += gone
        notes += why
    if request.order == "stable":
        return assemble_stable(project, request, drawing, candidates, left_out, notes)
    chosen, too_much = drawing.fill(candidates)
    left_out += [(one.id, "budget") for one in too_much]
    return finish(drawing, chosen, left_out, notes)


def check(request: ContextRequest) -> None:
    if not MIN_TOKENS <= request.max_tokens <= MAX_TOKENS:
        raise InvalidInput(f"max_tokens={request.max_tokens} is out of range: {MIN_TOKENS} to {MAX_TOKENS} is accepted")
    _check_one("format", request.format, tuple(FORMATS))
    _check_one("order", request.order, ORDERS)
    _check_one("compress", request.compress, COMPRESSIONS)
    for name in request.sections:
        _check_one("sections", name, (MEMORIES, *SECTIONS))
    if request.keep_share is not None and not 0 <= request.keep_share <= MAX_KEEP_SHARE:
        raise InvalidInput(f"keep_share={request.keep_share:g} is out of range: 0 to {MAX_KEEP_SHARE} is accepted")
    if request.order == "stable" and not request.session:
        raise InvalidInput(
            "order=stable needs session: any name for the conversation whose context is to stay the same"
        )
    if request.search.refine.focus and request.compress != "none":
        raise InvalidInput(
            f"focus and compress={request.compress} both leave sentences out: choose one of them, "
            "focus for a number of sentences or compress for what fits into max_tokens"
        )
    if request.order == "stable" and request.compress == "llm":
        raise InvalidInput("order=stable cannot be compressed by a language model, which never says the same twice")


def _check_one(name: str, value: str, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise InvalidInput(f"{name}={value[:80]!r} is unknown; accepted are {', '.join(accepted)}")


def find(
    project: Project, request: ContextRequest, drawing: Drawing
) -> tuple[list[Hit], list[Candidate], list[tuple[str, Reason]], list[str]]:
    """(hits, what of them may be shown, what may not, notes)"""
    if not _wants_hits(request):
        return [], [], [], []
    trace, refinement = request.search.trace or Trace(), request.search.refine.under(drawing.budget)
    plain = refinement.does_nothing  # then what is below the threshold can be told; else nothing is made of it
    threshold = request.search.threshold if plain else None
    search = replace(request.search, refine=refinement, trace=trace)
    hits = retrieval.search(
        project, replace(search, threshold=None) if plain else search, count_tokens=drawing.cost_of_text
    )
    candidates, left_out = choose_candidates(hits, threshold)
    # The first top_k are what was asked for, and say nothing about what stands behind them.
    cut = (fate for fate in trace.fates if not fate.kept and (refinement.select != "top_k" or fate.stage != "select"))
    left_out += [(fate.name, "not_selected") for fate in cut]
    return hits, candidates, left_out, trace.all_notes


def _wants_hits(request: ContextRequest) -> bool:
    return bool({MEMORIES, "relations"} & set(request.sections))


def default_top_k(max_tokens: int, compress: str = "none") -> int:
    """So many that they fill the budget, compressed too."""
    wanted = max_tokens // TOKENS_A_MEMORY * (COMPRESS_RATIO if compress != "none" else 1)
    return max(DEFAULT_TOP_K, min(MAX_TOP_K, wanted))


# Candidates


def choose_candidates(
    hits: Iterable[Hit], threshold: float | None = None
) -> tuple[list[Candidate], list[tuple[str, Reason]]]:
    """What may be shown, best first; and what may not, with the reason."""
    chosen: list[Candidate] = []
    left_out: list[tuple[str, Reason]] = []
    said: set[tuple[str, str]] = set()
    for hit in hits:
        candidate = focused(to_candidate(hit))
        same = (" ".join(candidate.shown.casefold().split()), candidate.date)
        if threshold is not None and hit.score < threshold:
            left_out.append((candidate.id, "below_threshold"))
        elif same in said:
            left_out.append((candidate.id, "duplicate"))
        else:
            said.add(same)
            chosen.append(candidate)
    return chosen, left_out


def to_candidate(hit: Hit) -> Candidate:
    memory = hit.memory
    if hit.chunk is not None:
        return chunk_candidate(hit, hit.chunk)
    if memory is None:
        message = hit.message
        assert message is not None  # a hit is one of the three
        speaker = f"{message.name or message.role.capitalize()}: "
        return Candidate(hit, str(message.public_id), speaker, message.content, message.said_at.date().isoformat())
    speaker = f"{memory.speaker}: " if memory.speaker else ""
    text = memory.text.removeprefix(speaker)
    if text == memory.text and memory.kind != Memory.Kind.EPISODIC:
        speaker = ""  # a fact names its subject in its own words
    note = f" (until {memory.invalid_at.date().isoformat()})" if memory.invalid_at else ""
    return Candidate(hit, str(memory.public_id), speaker, text, memory.said_at.date().isoformat(), note)


def chunk_candidate(hit: Hit, chunk: FoundChunk) -> Candidate:
    """The document is named where a memory has its speaker: with the page, so that it can be cited."""
    day = chunk.document.created_at.date().isoformat()
    return Candidate(hit, str(chunk.public_id), f"{chunk.place}: ", chunk.text, day)


def focused(candidate: Candidate) -> Candidate:
    """With the sentences alone that focus mode has kept of it."""
    hit = candidate.hit
    if not hit.sentences:
        return candidate
    offset = len(text_of(hit)) - len(candidate.text)  # the speaker's name
    sentences = compression.split_spans(candidate.text)
    spans = [(kept.start - offset, kept.end - offset) for kept in hit.sentences]
    kept = tuple(i for i, (a, b) in enumerate(sentences) if any(start < b and a < end for start, end in spans))
    if not kept or len(kept) == len(sentences):
        return candidate
    text = compression.rejoin([candidate.text[start:end] for start, end in sentences], kept)
    return replace(candidate, text=text, kept=kept, compressed=True)


# Drawing and counting


class Drawing:
    """One context in the making: what it may hold, and what each piece of it costs."""

    def __init__(self, format: Format, tokenizer: Tokenizer, request: ContextRequest) -> None:
        self.format, self.tokenizer = format, tokenizer
        self.max_tokens = request.max_tokens
        self.ratio = COMPRESS_RATIO if request.compress != "none" else 1
        self.grouped = request.order != "relevance"
        self.sections_last = request.order == "stable"
        self.sections: list[Section] = []
        self._costs: dict[str, int] = {}

    def cost(self, text: str) -> int:
        """Counted once for each text."""
        found = self._costs.get(text)
        if found is None:
            # No token is longer than this: what is longer than the budget allows need not be counted.
            too_long = len(text) > 200 * self.max_tokens
            found = self._costs[text] = self.max_tokens + 1 if too_long else self.tokenizer.count(text)
        return found

    def cost_of(self, candidate: Candidate) -> int:
        return self.cost(self.format.item(candidate.entry(), self.grouped))

    @property
    def budget(self) -> int:
        """Of the memories, as they are before they are compressed."""
        return self.ratio * max(0, self.max_tokens - self.frame_cost())

    def cost_of_text(self, text: str) -> int:
        """Of a memory of which only the text is known."""
        return self.cost(self.format.item(Entry(text, "2000-01-01"), self.grouped))

    def heading_cost(self, candidate: Candidate) -> int:
        return self.cost(self.format.heading(candidate.entry())) if self.grouped else 0

    def render(self, entries: Sequence[Entry]) -> Rendered:
        return self.format.render(entries, self.sections, self.grouped, self.sections_last)

    def frame_cost(self) -> int:
        """Of all that is not a memory."""
        drawn = self.format.render([], self.sections, self.grouped, self.sections_last).text
        with_head = self.format.render([Entry("", "2000-01-01")], self.sections, self.grouped, self.sections_last).text
        return max(self.tokenizer.count(drawn), self.tokenizer.count(with_head) - 1)

    def add_sections(self, sections: Iterable[Section]) -> None:
        """Each as far as its share of the budget goes, line by line; none of which nothing fits."""
        for section in sections:
            room = int(self.max_tokens * SECTION_SHARE)
            lines: list[str] = []
            for line in section.lines:
                if self.cost(self.format.section(Section(section.name, (*lines, line)))) <= room:
                    lines.append(line)
            if lines:
                self.sections.append(Section(section.name, tuple(lines)))

    def fill(
        self, candidates: Iterable[Candidate], *, room: int | None = None
    ) -> tuple[list[Candidate], list[Candidate]]:
        """(those that fit, those that do not), best first; a heading is paid for once for each date."""
        room = self.max_tokens - self.frame_cost() if room is None else room
        chosen: list[Candidate] = []
        too_much: list[Candidate] = []
        dates: set[str] = set()
        for candidate in candidates:
            cost = self.cost_of(candidate)
            if candidate.date not in dates:
                cost += self.heading_cost(candidate)
            if cost <= room:
                chosen.append(candidate)
                dates.add(candidate.date)
                room -= cost
            else:
                too_much.append(candidate)
        return chosen, too_much


def finish(drawing: Drawing, chosen: list[Candidate], left_out: list[tuple[str, Reason]], notes: list[str]) -> Context:
    """Draws what was chosen (best first), and takes out the worst until the text is inside the budget."""
    while True:
        ordered = sorted(chosen, key=lambda one: one.in_time) if drawing.grouped else chosen
        rendered = drawing.render([one.entry() for one in ordered])
        num_tokens = drawing.tokenizer.count(rendered.text)
        if num_tokens <= drawing.max_tokens:
            break
        if chosen:
            left_out.append((chosen.pop().id, "budget"))
        elif drawing.sections:
            drawing.sections.pop()
        else:  # not even the frame fits
            rendered, num_tokens = Rendered("", []), 0
            break
    items = [to_item(drawing, one, span) for one, span in zip(ordered, rendered.spans, strict=True)]
    return Context(rendered.text, items, num_tokens, drawing.tokenizer, left_out, notes)


def to_item(drawing: Drawing, candidate: Candidate, span: tuple[int, int]) -> Item:
    return Item(
        id=candidate.id,
        is_memory=candidate.hit.memory is not None,
        score=candidate.hit.score,
        start=span[0],
        end=span[1],
        tokens=drawing.cost_of(candidate),
        compressed=candidate.compressed,
        sources=candidate.hit.sources,
        chunk=candidate.hit.chunk,
    )


# Compression


def compress(
    project: Project, request: ContextRequest, drawing: Drawing, candidates: list[Candidate]
) -> tuple[list[Candidate], list[tuple[str, Reason]], list[str]]:
    """The best candidates, COMPRESS_RATIO times what would fit, made to fit; (them, what is gone, notes)."""
    room = drawing.max_tokens - drawing.frame_cost()
    pool, rest = drawing.fill(candidates, room=COMPRESS_RATIO * room)
    if not pool or sum(map(drawing.cost_of, pool)) + sum(map(drawing.heading_cost, pool)) <= room:
        return candidates, [], []
    overheads = [drawing.cost_of(replace(one, text="")) for one in pool]
    lengths = [drawing.cost(one.text) for one in pool]
    targets = compression.share_targets(lengths, [one.hit.score for one in pool], max(0, room - sum(overheads)))
    rewritten: list[str | None] = [None] * len(pool)
    notes: list[str] = []
    if request.compress == "llm":
        rewritten, notes = rewrite(project, request, pool, targets, lengths)
    extracts = compression.extract(
        [one.text for one in pool],
        request.search.query,
        targets,
        [[drawing.cost(sentence) for sentence in compression.split(one.text)] for one in pool],
        vector=embed_query(request.search.query),
    )
    shorter: list[Candidate] = []
    gone: list[tuple[str, Reason]] = []
    for one, found, words in zip(pool, extracts, rewritten, strict=True):
        if words is not None:
            shorter.append(replace(one, text=words, compressed=words != one.text))
        elif len(found.kept) == len(compression.split(one.text)):
            shorter.append(one)
        elif found.kept:
            shorter.append(replace(one, text=found.text, kept=found.kept, compressed=True))
        else:
            gone.append((one.id, "compressed_away"))
    return [*shorter, *rest], gone, notes


def rewrite(
    project: Project, request: ContextRequest, pool: Sequence[Candidate], targets: Sequence[int], lengths: Sequence[int]
) -> tuple[list[str | None], list[str]]:
    llm = llm_of(project)
    if llm is None:
        return [None] * len(pool), ["no language model is configured: compressed by leaving sentences out"]
    texts = [one.text for one in pool]
    words = [
        max(1, num_words(text) * target // max(1, length))
        for text, target, length in zip(texts, targets, lengths, strict=True)
    ]
    with ledger.charged(project):
        return compression.rewrite(llm, texts, request.search.query, words)


# Stable order


def assemble_stable(
    project: Project,
    request: ContextRequest,
    drawing: Drawing,
    candidates: list[Candidate],
    left_out: list[tuple[str, Reason]],
    notes: list[str],
) -> Context:
    assert request.session  # check() saw to it
    with stable_order.opened(project, request.session, shape_of(request, drawing)) as book:
        shown = stable_order.plan(
            book, project, request.search, drawing, candidates, to_candidate, keep_share=request.keep_share
        )
        while True:
            rendered = drawing.render([one.entry for one in shown.all])
            num_tokens = drawing.tokenizer.count(rendered.text)
            if num_tokens <= drawing.max_tokens or not shown.drop_last():
                break
        if num_tokens > drawing.max_tokens:
            if drawing.sections:
                drawing.sections.clear()
            rendered = drawing.render([])
            num_tokens = drawing.tokenizer.count(rendered.text)
            if num_tokens > drawing.max_tokens:
                rendered, num_tokens = Rendered("", []), 0
        book.save(shown)
    items = [to_item(drawing, one.candidate, span) for one, span in zip(shown.all, rendered.spans, strict=True)]
    here = {one.candidate.id for one in shown.all}
    left_out += [(one.id, "budget") for one in candidates]
    left_out = [(one, reason) for one, reason in left_out if one not in here]
    kept = shown.num_unchanged
    unchanged = drawing.tokenizer.count(rendered.text[: rendered.spans[kept - 1][1]]) if kept else 0
    return Context(
        rendered.text, items, num_tokens, drawing.tokenizer, left_out, notes, min(unchanged, num_tokens), shown.epoch
    )


def shape_of(request: ContextRequest, drawing: Drawing) -> str:
    return f"{request.format}/{drawing.tokenizer.name[:24]}/{request.max_tokens}/{request.compress}"
