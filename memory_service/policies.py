"""Candidates against the memories near them -> what to do with each. The caller applies it to its tables.

Two policies with a model (two_phase, add_only) and one without (local).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rapidfuzz import fuzz

from memory_service.extraction.grounding import (
    clauses,
    content_words,
    denies_otherwise,
    negations,
    numbers,
    telling_words,
    unfounded_numbers,
)
from memory_service.extraction.llm import Wishes, extract_with_known
from memory_service.extraction.types import Candidate, Extraction, SourceMessage, Usage
from memory_service.llm import LLMConfig, complete_structured
from memory_service.prompts.consolidate import FactDecision, FactDecisions, Stated, consolidate_prompt

Operation = Literal["ADD", "UPDATE", "INVALIDATE", "NONE", "TELL"]
Policy = Literal["two_phase", "add_only", "local"]

TAU_DUP = 0.9  # cosine; without a usable decision, a memory this near is taken to say the same
SAME_WORDS_RATIO = 95.0  # of 100, rapidfuzz's token sort ratio
SAME_ORDER_RATIO = 90.0  # of 100; "Ann paid Bob" and "Bob paid Ann" have the same words
# Of an UPDATE's telling words, those in the two texts: "moved from Oslo to Bergen" may join two that say "lives in".
MIN_MERGED = 2 / 3
MAX_KNOWN = 10  # existing memories shown to the add-only extractor (mem0 v3)

# What models write for the four operations; DELETE and NOOP are the paper's own words.
_SYNONYMS: Mapping[str, Operation] = {
    "ADD": "ADD",
    "UPDATE": "UPDATE",
    "INVALIDATE": "INVALIDATE",
    "DELETE": "INVALIDATE",
    "NONE": "NONE",
    "NOOP": "NONE",
}


@dataclass(frozen=True)
class Neighbour:
    """A stored memory near a candidate. similarity: cosine, up to 1. deleted: by hand, and not to come back."""

    memory_id: int
    text: str
    similarity: float
    valid_at: datetime | None = None
    subject: str | None = None
    attribute: str | None = None
    value: str | None = None
    deleted: bool = False


@dataclass(frozen=True)
class Decision:
    """What becomes of one candidate.

    TELL: join the statement to its timeline (chronicle.py), which says what it ends.
    ADD: store the candidate. UPDATE: `text` becomes a new version of the target, which also rests on the
    candidate's sources; the old version is kept. INVALIDATE: close the target at the candidate's time, keep
    it, and add the candidate (the paper's DELETE, made soft). NONE: store nothing; with a target, the
    candidate's sources are added to the target's. reason: for a person. confidence: 0 to 1.
    """

    operation: Operation
    candidate: Candidate
    target_id: int | None
    text: str | None
    reason: str
    policy: Policy
    confidence: float = 1.0


def decide_two_phase(
    config: LLMConfig, candidates: Sequence[Candidate], neighbours: Sequence[Sequence[Neighbour]]
) -> tuple[list[Decision], list[Usage]]:
    """One decision for each candidate, in order, by one request for them all; none where nothing is near.

    neighbours[i] are those of candidates[i]. The model sees small numbers instead of ids. What it may not do
    (an id or operation it made up, an UPDATE without text, a second change of one memory) becomes NONE where
    a neighbour is at least TAU_DUP similar, else ADD, and the reason says so; an UPDATE whose text says what
    neither memory nor fact says becomes ADD. Raises ValueError if the
    lengths differ, and LLMUnavailable, LLMRejected, LLMMalformed. Source: Mem0, arXiv:2504.19413, section
    2.1.
    """
    _check_lengths(candidates, neighbours)
    neighbours = [[near for near in nearby if not near.deleted] for nearby in neighbours]
    pool = list({near.memory_id: near for nearby in neighbours for near in nearby}.values())
    if not pool:
        return [_nothing_near(candidate, "two_phase") for candidate in candidates], []
    number_of = {near.memory_id: number for number, near in enumerate(pool)}
    facts = [
        Stated(candidate.text, candidate.valid_at, [number_of[near.memory_id] for near in nearby])
        for candidate, nearby in zip(candidates, neighbours, strict=True)
    ]
    prompt = consolidate_prompt(facts, [Stated(near.text, near.valid_at) for near in pool])
    answer, usage = complete_structured(config, prompt, FactDecisions, purpose="consolidate")
    return _resolve(answer.decisions, candidates, neighbours, pool), usage


def extract_add_only(
    config: LLMConfig,
    messages: Sequence[SourceMessage],
    *,
    summary: str,
    window: Sequence[SourceMessage],
    existing: Sequence[Neighbour],
    custom_instructions: str = "",
    custom_categories: Sequence[Mapping[str, str]] = (),
    includes: str = "",
    excludes: str = "",
) -> Extraction:
    """The facts in `messages` that the ten nearest of `existing` do not say, by one request. All are
    additions.

    Grounding, context and errors are as in extract_llm. A model repeats itself now and then: pass the
    candidates through decide_local before storing them. Source: mem0 v3 (April 2026), mem0/memory/main.py.
    """
    nearest = sorted(existing, key=lambda near: -near.similarity)[:MAX_KNOWN]
    return extract_with_known(
        config,
        messages,
        summary=summary,
        window=window,
        known=[near.text for near in nearest],
        wishes=Wishes(custom_instructions, custom_categories, includes, excludes),
    )


def decide_local(
    candidates: Sequence[Candidate], neighbours: Sequence[Sequence[Neighbour]], *, policy: Policy = "local"
) -> list[Decision]:
    """TELL for what has a timeline; else NONE for what a neighbour says already, and ADD for the rest. No model.

    The same text but for case, spaces and closing punctuation is known; and, unless episodic, the same words
    with the same numbers and negations. policy: the name to put on the decisions. Raises ValueError if the
    lengths differ.
    """
    _check_lengths(candidates, neighbours)
    return [
        Decision("TELL", candidate, None, None, "", policy)
        if policy == "local" and belongs_to_timeline(candidate)
        else _decide_locally(candidate, nearby, policy)
        for candidate, nearby in zip(candidates, neighbours, strict=True)
    ]


def belongs_to_timeline(candidate: Candidate) -> bool:
    """Whether it is a statement of a subject's attribute, or takes words back."""
    return candidate.kind == "semantic" and (
        (candidate.subject is not None and candidate.attribute is not None)
        or (candidate.corrects and bool(candidate.instead_of) and candidate.value is not None)
    )


def normalise(text: str) -> str:
    """The text by which two memories are the same: without case, runs of spaces and closing punctuation."""
    return " ".join(text.casefold().split()).rstrip(" .!?,;:…。！？")


def _decide_locally(candidate: Candidate, nearby: Sequence[Neighbour], policy: Policy) -> Decision:
    if not nearby:
        return _nothing_near(candidate, policy)
    wanted = normalise(candidate.text)
    same = next((near for near in nearby if normalise(near.text) == wanted), None)
    words = "the same words"
    if same is None and candidate.kind != "episodic":
        same = next((near for near in nearby if _says_the_same(wanted, normalise(near.text))), None)
        words = "like words"
    if same is not None and same.deleted:
        return Decision("NONE", candidate, None, None, f"deleted by request in {words}: it stays so", policy)
    if same is not None:
        return Decision("NONE", candidate, same.memory_id, None, f"stored already in {words}", policy)
    return Decision("ADD", candidate, None, None, "no stored memory says this", policy)


def _says_the_same(left: str, right: str) -> bool:
    return (
        fuzz.token_sort_ratio(left, right) >= SAME_WORDS_RATIO
        and fuzz.ratio(left, right) >= SAME_ORDER_RATIO
        and numbers(left) == numbers(right)
        and negations(left) == negations(right)
        and content_words(left) == content_words(right)  # in a long sentence another name hardly moves the ratios
    )


def _resolve(
    answers: Sequence[FactDecision],
    candidates: Sequence[Candidate],
    neighbours: Sequence[Sequence[Neighbour]],
    pool: Sequence[Neighbour],
) -> list[Decision]:
    # A model that thinks in the paper's terms says DELETE and ADD of one fact; our INVALIDATE is both.
    by_fact: dict[int, FactDecision] = {}
    for answer in sorted(answers, key=lambda answer: answer.operation.strip().upper() == "ADD"):
        by_fact.setdefault(answer.fact, answer)
    changed: set[int] = set()
    decisions = []
    for number, (candidate, nearby) in enumerate(zip(candidates, neighbours, strict=True)):
        decision = _believe(by_fact.get(number), candidate, nearby, pool, changed)
        if decision.operation in ("UPDATE", "INVALIDATE"):
            assert decision.target_id is not None  # _fault has seen to it
            changed.add(decision.target_id)
        decisions.append(decision)
    return decisions


def _believe(
    answer: FactDecision | None,
    candidate: Candidate,
    nearby: Sequence[Neighbour],
    pool: Sequence[Neighbour],
    changed: set[int],
) -> Decision:
    fault = _fault(answer, pool, changed)
    if answer is None or fault:
        return _without_the_model(candidate, nearby, fault)
    operation = _SYNONYMS[answer.operation.strip().upper()]
    target = None if operation == "ADD" or answer.target is None else pool[answer.target]
    text = " ".join((answer.text or "").split()) if operation == "UPDATE" else None
    if target and text and normalise(text) == normalise(target.text):
        operation, text = "NONE", None  # it says what it said
    if target and text and (unlike := _unlike(text, target, candidate)):
        reason = f"the model's UPDATE of memory {target.memory_id} was not believed: {unlike}; added instead"
        return Decision("ADD", candidate, None, None, reason, "two_phase")
    return Decision(
        operation,
        candidate,
        target.memory_id if target else None,
        text,
        answer.reason or "the model gave no reason",
        "two_phase",
        answer.confidence,
    )


def _fault(answer: FactDecision | None, pool: Sequence[Neighbour], changed: set[int]) -> str:
    """Why the answer cannot be used, or ""."""
    if answer is None:
        return "the model gave no decision"
    operation = _SYNONYMS.get(answer.operation.strip().upper())
    if operation is None:
        return f"the model chose {answer.operation[:40]!r}, which is no operation"
    if operation == "ADD" or (operation == "NONE" and answer.target is None):
        return ""
    if answer.target is None or not 0 <= answer.target < len(pool):
        return f"the model chose {operation} of memory {answer.target}, which it was not shown"
    if operation == "UPDATE" and not (answer.text or "").strip():
        return "the model chose UPDATE without a text"
    if operation != "NONE" and pool[answer.target].memory_id in changed:
        return f"the model chose {operation} of a memory that another fact changes already"
    return ""


def _unlike(merged: str, target: Neighbour, candidate: Candidate) -> str:
    """Why `merged` is not what the two say together, or ""."""
    dates = [f"{moment:%Y-%m-%d}" for moment in (target.valid_at, candidate.valid_at) if moment]
    if missing := unfounded_numbers(merged, target.text, candidate.text, *dates):
        return f"neither of the two says {', '.join(missing)}"
    if denies_otherwise(merged, *clauses(target.text), *clauses(candidate.text)):
        return "it denies what the two affirm, or the reverse"
    words = telling_words(merged)
    unsaid = words - content_words(target.text) - content_words(candidate.text)
    if len(words) - len(unsaid) < MIN_MERGED * len(words):
        return f"neither of the two says {', '.join(sorted(unsaid))}"
    return ""


def _without_the_model(candidate: Candidate, nearby: Sequence[Neighbour], fault: str) -> Decision:
    nearest = max(nearby, key=lambda near: near.similarity, default=None)
    if nearest and nearest.similarity >= TAU_DUP:
        reason = f"{fault}; left, as memory {nearest.memory_id} is {nearest.similarity:.2f} similar"
        return Decision("NONE", candidate, nearest.memory_id, None, reason, "two_phase")
    return Decision("ADD", candidate, None, None, f"{fault}; added, as no memory is {TAU_DUP} similar", "two_phase")


def _nothing_near(candidate: Candidate, policy: Policy) -> Decision:
    return Decision("ADD", candidate, None, None, "no stored memory is near", policy)


def _check_lengths(candidates: Sequence[Candidate], neighbours: Sequence[Sequence[Neighbour]]) -> None:
    if len(candidates) != len(neighbours):
        raise ValueError(f"neighbours has {len(neighbours)} lists for {len(candidates)} candidates: one for each")
