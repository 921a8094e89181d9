"""A question -> an answer with citations: by the project's language model from numbered evidence, or in words that were
said.

    retrieve    retrieval.search
    evidence    numbered lines under a budget of tokens (evidence.py)
    example     where past answers to the same filter were corrected: the question most like this one, with its right
                and its wrong answer
    ask         the model, which cites lines as [1]; numbers that were not shown are taken out of what it says
    feedback    where asked for: the model judges answer and evidence, and is asked again with one item more or less
    keep        the answer, so that it can be judged; whoever forgets what it rests on destroys it

Without a model, or where the model fails before it has said anything, the answer is put together from the evidence and
says so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from django.db import connection, transaction
from django.utils import timezone

from . import ledger, retrieval
from .embedding import embed_query, embed_texts, serving_profile
from .errors import Conflict, InvalidInput, LLMError, LLMUnavailable, NotFound
from .evidence import Evidence, citations_of, day_of, evidence_text
from .extractive_answer import extract_answer
from .filters import Filter, Test, flat_parts, only_user
from .llm import LLMConfig, complete, complete_structured, stream
from .models import Answer, Document, Memory, Message, Project, Scope
from .models.answers import ANSWER_DAYS, until_dropped
from .project_llm import llm_of
from .prompts.answer import NOT_KNOWN, Example, answer_prompt
from .prompts.judge_evidence import Judgement, judge_prompt
from .refining import Trace
from .retrieval import SearchRequest
from .tokens import tokenizer_for

MAX_ANSWER_TOKENS = 1_000
MAX_TOP_K = 200
GOOD_QUALITY, MAX_ROUNDS = 9, 3  # SAGE, arXiv:2503.01713
MAX_EXAMPLES = 200  # corrected answers that are compared, the newest
MIN_EXAMPLE_SIMILARITY = 0.5  # cosine; an example of something else would only distract
LINE_BEGINS = "[10] (31 December 2023, "  # of evidence, about: what a text costs beside itself
MAX_SCOPES = 1_000  # listed in a row; an answer over more is one over the whole project

NO_MODEL = "No language model is configured: the answer is made of words that were said."
NOTHING_FOUND = "Nothing was found, so no language model was asked."
NOT_CITED = "The answer cites nothing that the model was shown: take it with care."


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """filters: as they were asked, to be shown again. max_tokens: of evidence. reference_date: when it is asked."""

    search: SearchRequest
    filters: Any = None
    max_tokens: int = 2_000
    feedback_loop: bool = False
    contrastive: bool = True
    reference_date: datetime | None = None
    store: bool = True  # false: it cannot be judged later


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """evidence: Evidence; delta: str, a piece of the text; citation: a citation, where its number first stands; done:
    Answered."""

    name: Literal["evidence", "delta", "citation", "done"]
    data: Any


@dataclass(frozen=True, slots=True)
class Answered:
    """citations in `answer` are of `evidence`, which is not stored."""

    answer: Answer
    evidence: Evidence


@dataclass(slots=True)
class Draft:
    """An answer while it comes about."""

    evidence: Evidence
    method: Answer.Method = Answer.Method.EXTRACTIVE
    model: str = ""
    text: str = ""
    value: str | None = None
    known: bool = True
    numbers: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)


def answer(project: Project, request: AnswerRequest) -> Answered:
    """Raises InvalidInput for what search refuses, Conflict where what it rests on was forgotten meanwhile."""
    try:
        return _last(stream_answer(project, request))
    except LLMError as exc:  # it broke off in the middle, but nobody has read the half
        return _last(stream_answer(project, request, without_llm=f"The language model failed: {exc}"))


def _last(events: Iterator[AnswerEvent]) -> Answered:
    *_, done = events
    assert isinstance(done.data, Answered)  # the stream ends so, or raises
    return done.data


def stream_answer(project: Project, request: AnswerRequest, *, without_llm: str = "") -> Iterator[AnswerEvent]:
    """The answer as it comes: evidence, then deltas and citations, then done. Nothing is stored before the end.

    without_llm: why the model is not asked. Raises LLMError where the model fails after its first word; before that
    the answer is made without it. Closing the iterator stops the model.
    """
    llm = None if without_llm else llm_of(project)
    hits, draft = _retrieve(project, request, llm)
    yield AnswerEvent("evidence", draft.evidence)
    draft.notes += [without_llm] if without_llm else []
    if llm is None:
        draft.notes += [] if without_llm else [NO_MODEL]
        yield from _extract(request, draft)
    elif not draft.evidence.items:
        draft.notes.append(NOTHING_FOUND)
        yield from _extract(request, draft)
    else:
        yield from _ask_or_extract(project, request, llm, hits, draft)
    kept = _keep(project, request, draft) if request.store else _to_row(project, request, draft)
    yield AnswerEvent("done", Answered(kept, draft.evidence))


def try_answer(project: Project, request: AnswerRequest, llm: LLMConfig, *, payer: Project, purpose: str) -> Answered:
    """What `answer` would say with this model, whatever the project's policy, on another project's account: for
    evaluation. Nothing is stored. Raises LLMError where the model fails."""
    hits, draft = _retrieve(project, request, llm)
    if draft.evidence.items:
        draft.method, draft.model = Answer.Method.LLM, llm.model
        events = _ask(project, request, llm, hits, draft, payer=payer, purpose=purpose)
    else:
        events = _extract(request, draft)
    for _ in events:
        pass
    return Answered(_to_row(project, request, draft), draft.evidence)


def _retrieve(project: Project, request: AnswerRequest, llm: LLMConfig | None) -> tuple[Sequence[retrieval.Hit], Draft]:
    """With hits for the rounds that ask for more. The budget is the evidence's, counted by the model that reads it."""
    search, tokenizer = request.search, tokenizer_for(llm.model if llm else None)
    more = MAX_ROUNDS if request.feedback_loop and llm else 0
    trace = search.trace or Trace()
    wide = replace(search, top_k=search.top_k + more, refine=search.refine.under(request.max_tokens), trace=trace)
    hits = retrieval.search(project, wide, count_tokens=lambda text: tokenizer.count(f"{LINE_BEGINS}{text}\n"))
    evidence = evidence_text(hits[: search.top_k], request.max_tokens, tokenizer)
    return hits, Draft(evidence, notes=trace.all_notes)


# Without a model


def _extract(request: AnswerRequest, draft: Draft) -> Iterator[AnswerEvent]:
    found = extract_answer(request.search.query, draft.evidence.items)
    draft.method, draft.model = Answer.Method.EXTRACTIVE, ""
    draft.known = found is not None
    draft.text, draft.value = (found.text, found.value) if found else (NOT_KNOWN, None)
    draft.numbers = list(found.numbers) if found else []
    yield AnswerEvent("delta", draft.text)
    for citation in citations_of(draft.evidence, draft.numbers):
        yield AnswerEvent("citation", citation)


# With a model


def _ask_or_extract(
    project: Project, request: AnswerRequest, llm: LLMConfig, hits: Sequence[retrieval.Hit], draft: Draft
) -> Iterator[AnswerEvent]:
    draft.method, draft.model = Answer.Method.LLM, llm.model
    said = False
    try:
        for event in _ask(project, request, llm, hits, draft):
            said = said or (event.name == "delta" and bool(event.data.strip()))
            yield event
    except LLMError as exc:
        if said:
            raise
        draft.notes.append(f"The language model gave no answer ({exc}): this one is made of words that were said.")
        yield from _extract(request, draft)
        return
    draft.known = not draft.text.casefold().startswith(NOT_KNOWN.rstrip(".").casefold())
    if draft.known and not draft.numbers:
        draft.notes.append(NOT_CITED)


def _ask(
    project: Project,
    request: AnswerRequest,
    llm: LLMConfig,
    hits: Sequence[retrieval.Hit],
    draft: Draft,
    *,
    payer: Project | None = None,
    purpose: str = "answer",
) -> Iterator[AnswerEvent]:
    """payer: whose account it is on, where that is not the project's."""
    example = find_example(project, request) if request.contrastive else None
    user_id = only_user(request.search.filter)
    with ledger.charged(payer or project, user_id=user_id):  # a stream keeps the meter that is set now
        if request.feedback_loop:
            pieces = iter([_best_draft(request, llm, hits, example, draft)])
        else:
            prompt = _prompt(request, draft.evidence, example)
            pieces = stream(llm, prompt, purpose=purpose, max_tokens=MAX_ANSWER_TOKENS)
    if request.feedback_loop:
        yield AnswerEvent("evidence", draft.evidence)  # of the answer that was chosen
    for kind, found in CitationReader(len(draft.evidence.items)).read(pieces):
        if kind == "delta":
            draft.text += found
            yield AnswerEvent("delta", found)
        else:
            draft.numbers.append(found)
            [citation] = citations_of(draft.evidence, [found])
            yield AnswerEvent("citation", citation)
    draft.text = draft.text.strip()
    if not draft.text:
        raise LLMUnavailable(f"{llm.model} for answer: it said nothing")


def _prompt(request: AnswerRequest, evidence: Evidence, example: Example | None) -> list[dict[str, str]]:
    today = day_of(request.reference_date or timezone.now())
    return answer_prompt(request.search.query, evidence.text, today=today, example=example)


def _best_draft(
    request: AnswerRequest, llm: LLMConfig, hits: Sequence[retrieval.Hit], example: Example | None, draft: Draft
) -> str:
    """SAGE's self-feedback: answers and judgements until one is good enough, no new number of items is left to try, or
    MAX_ROUNDS are over. The answer that was judged best; `draft` takes its evidence and the account of the rounds."""
    num_items = min(request.search.top_k, len(hits))
    tried: dict[int, tuple[int, str, Evidence]] = {}
    while True:
        evidence = evidence_text(hits[:num_items], request.max_tokens, draft.evidence.tokenizer)
        prompt = _prompt(request, evidence, example)
        said = complete(llm, prompt, purpose="answer", max_tokens=MAX_ANSWER_TOKENS).text
        asked = judge_prompt(request.search.query, evidence.text, said)
        try:
            judged, _ = complete_structured(llm, asked, Judgement, purpose="judge_evidence")
        except LLMError as exc:
            draft.notes.append(f"The feedback loop ended without a judgement: {exc}")
            tried[num_items] = (0, said, evidence)
            break
        tried[num_items] = (judged.quality, said, evidence)
        draft.rounds.append({"top_k": num_items, "quality": judged.quality, "verdict": judged.verdict})
        following = next_top_k(num_items, judged.verdict, tried, available=len(hits))
        if judged.quality >= GOOD_QUALITY or len(tried) >= MAX_ROUNDS or following is None:
            break
        num_items = following
    _, said, draft.evidence = max(tried.values(), key=lambda one: one[0])
    return said


def next_top_k(num_items: int, verdict: int, tried: Any, *, available: int) -> int | None:
    """One more or one less, as the verdict says; None where that was tried, is none at all, or more than there are."""
    following = num_items + verdict
    return following if 1 <= following <= available and following not in tried else None


class CitationReader:
    """Reads a model's text piece by piece; lets `[n]` through where n was shown, and takes other numbers out.

    A mark that is split over pieces is held back until it is whole. What a model thinks before it answers is left out.
    """

    MARK = re.compile(r"\s*\[\s*(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\s*\]")
    UNFINISHED = re.compile(r"\s*(?:\[[\d\s,;]{0,40})?$")
    THOUGHT = ("<think>", "</think>")

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items
        self._held = ""
        self._begun = False
        self._cited: set[int] = set()

    def read(self, pieces: Iterator[str]) -> Iterator[tuple[str, Any]]:
        """("delta", text) and ("citation", number), the latter once for each number, behind the delta that has it."""
        for piece in pieces:
            self._held += piece
            if self._begun or self._drop_thought():
                yield from self._release(len(self._held) - len(self._unfinished()))
        yield from self._release(len(self._held))

    def _unfinished(self) -> str:
        found = self.UNFINISHED.search(self._held)
        return found.group() if found else ""

    def _drop_thought(self) -> bool:
        """Whether the answer itself has begun."""
        begin, end = self.THOUGHT
        said = self._held.lstrip()
        if said.startswith(begin):
            if end not in said:
                return False
            self._held = said = said.partition(end)[2].lstrip()
        if begin.startswith(said):  # nothing yet, or what may become a thought
            return False
        self._held, self._begun = said, True
        return True

    def _release(self, end: int) -> Iterator[tuple[str, Any]]:
        text, self._held = self._held[:end], self._held[end:]
        position = 0
        for mark in self.MARK.finditer(text):
            shown = [n for n in map(int, re.findall(r"\d+", mark[1])) if 1 <= n <= self.num_items]
            space = mark.group()[: mark.start(1) - mark.start()].partition("[")[0]
            said = text[position : mark.start()] + (space + "".join(f"[{n}]" for n in shown) if shown else "")
            if said:
                yield "delta", said
            for number in shown:
                if number not in self._cited:
                    self._cited.add(number)
                    yield "citation", number
            position = mark.end()
        if text[position:]:
            yield "delta", text[position:]


# Past corrections as examples


def find_example(project: Project, request: AnswerRequest) -> Example | None:
    """The corrected question most like this one, of answers to exactly the same filter; never this question itself."""
    rows = list(
        Answer.objects.in_project(project)
        .filter(filter_hash=hash_filter(request.search.filter))
        .exclude(corrected_answer="")
        .order_by("-id")[:MAX_EXAMPLES]
    )
    query = request.search.query
    rows = [row for row in rows if _normal(row.query) != _normal(query)]
    if not rows:
        return None
    similarities = _vectors_of(rows) @ embed_query(query)
    best = int(np.argmax(similarities))
    if similarities[best] < MIN_EXAMPLE_SIMILARITY:
        return None
    return Example(rows[best].query, rows[best].corrected_answer, rows[best].text)


def _normal(query: str) -> str:
    return " ".join(re.findall(r"\w+", query.casefold()))


def _vectors_of(rows: Sequence[Answer]) -> Any:
    """(N, D), made anew for rows whose vector is of another profile."""
    profile = serving_profile()
    stale = [row for row in rows if row.profile_id != profile.pk or row.query_vector is None]
    if stale:
        for row, vector in zip(stale, embed_texts([row.query for row in stale]), strict=True):
            row.query_vector, row.profile = vector, profile
            Answer.objects.filter(pk=row.pk).update(query_vector=vector, profile=profile)
    return np.array([np.asarray(row.query_vector, dtype=np.float32) for row in rows])


def judge(project: Project, public_id: Any, *, correct: bool, corrected_answer: str | None) -> Answer:
    """Keeps what a person says of an answer; again, what they say now. A correction makes it an example for like
    questions. Raises NotFound, and InvalidInput for a correction of what is correct or that changes nothing."""
    corrected = (corrected_answer or "").strip()
    if corrected and correct:
        raise InvalidInput("corrected_answer is for an answer that is not correct: send correct=false with it")
    with transaction.atomic():
        found = Answer.objects.in_project(project).select_for_update(of=("self",)).filter(public_id=public_id).first()
        if found is None:
            raise _not_found(public_id)
        if corrected and _normal(corrected) == _normal(found.text):
            raise InvalidInput("corrected_answer says what the answer said: nothing is corrected")
        found.correct, found.corrected_answer, found.judged_at = correct, corrected, timezone.now()
        found.expires_at = None
        found.query_vector, found.profile = (embed_query(found.query), serving_profile()) if corrected else (None, None)
        found.save()
    return found


def find_answer(project: Project, public_id: Any) -> Answer:
    found = Answer.objects.in_project(project).filter(public_id=public_id).first()
    if found is None:
        raise _not_found(public_id)
    return found


def _not_found(public_id: Any) -> NotFound:
    return NotFound(
        f"answer {public_id} was not found in this project; one that nobody judged is kept for {ANSWER_DAYS} days"
    )


def delete_answer(project: Project, public_id: Any) -> None:
    find_answer(project, public_id).delete()


def drop_expired() -> int:
    return Answer.objects.filter(expires_at__lte=timezone.now()).delete()[0]


# Keeping


@transaction.atomic
def _keep(project: Project, request: AnswerRequest, draft: Draft) -> Answer:
    """What it rests on is locked until the row stands: whoever forgets it waits for us, and then finds the row."""
    items = draft.evidence.items
    scope_ids = {item.scope_id for item in items}
    _lock(Scope, scope_ids)
    _lock(Memory, {item.hit.memory.pk for item in items if item.hit.memory is not None})
    _lock(Message, {item.hit.message.pk for item in items if item.hit.message is not None})
    _lock(Document, {item.hit.chunk.document.pk for item in items if item.hit.chunk is not None})
    row = _to_row(project, request, draft)
    row.save()
    return row


def _to_row(project: Project, request: AnswerRequest, draft: Draft) -> Answer:
    """Not saved."""
    scope_ids = {item.scope_id for item in draft.evidence.items}
    reachable = retrieval.find_scopes(project, request.search.filter)
    citations = citations_of(draft.evidence, draft.numbers)
    return Answer(
        project=project,
        filters=request.filters,
        filter_hash=hash_filter(request.search.filter),
        names=sorted(set(_strings_of(request.search.filter))),
        scope_ids=sorted(scope_ids | set(reachable)) if len(reachable) <= MAX_SCOPES else sorted(scope_ids),
        whole_project=len(reachable) > MAX_SCOPES,
        query=request.search.query,
        text=draft.text,
        value=draft.value,
        method=draft.method,
        model=draft.model[:200],
        known=draft.known,
        grounded=bool(citations),
        citations=citations,
        notes=draft.notes,
        rounds=draft.rounds,
        top_k=request.search.top_k,
        expires_at=until_dropped(),
    )


def _lock(model: type[Scope] | type[Memory] | type[Message] | type[Document], ids: set[int]) -> None:
    """Against deletion alone, as a foreign key to the rows would. Raises Conflict where one is gone."""
    if not ids:
        return
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(model._meta.db_table)
        cursor.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [sorted(ids)])
        if len(cursor.fetchall()) < len(ids):
            raise Conflict("what the answer rests on was forgotten while it was given: ask again")


def hash_filter(node: Filter) -> str:
    """The same for filters that are written differently and say the same, as far as order and brackets go."""
    return hashlib.sha256(_canonical(node).encode("utf-8", "surrogatepass")).hexdigest()


def _canonical(node: Filter) -> str:
    if isinstance(node, Test):
        value = sorted(map(repr, node.value)) if node.operator == "in" else node.value
        return repr((node.field, node.operator, value))
    parts = sorted({_canonical(part) for part in flat_parts(node)})
    return parts[0] if len(parts) == 1 and node.operator != "NOT" else f"{node.operator}({', '.join(parts)})"


def _strings_of(node: Filter) -> Iterator[str]:
    """What a filter names, whatever it does with it."""
    if isinstance(node, Test):
        yield from _strings(node.value)
    else:
        for part in node.parts:
            yield from _strings_of(part)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _strings(inner)
