"""Strategies of chunking, measured: split the documents, index the chunks, ask the questions, store the figures.

Each strategy is a run of its own (EvaluationRun of kind "chunking"), so that two of them can be compared question by
question as other runs are. Nothing is ingested into the service: the index is made here, by its embedder and its BM25.
"""

from __future__ import annotations

import inspect
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chunking import metrics
from chunking.chunk_score import chunk_score
from chunking.enrichment import Metadata
from chunking.fusing import ENRICHMENTS, Enrichment, enriched_vectors, searched_texts
from chunking.ngram import NGramModel
from chunking.strategies import STRATEGIES, Models, split
from chunking.types import Chunk, Span
from memory_service import language_models
from memory_service.enriching import describe
from memory_service.errors import InvalidInput
from memory_service.extraction.types import Usage
from memory_service.ledger import charged
from memory_service.llm import LLMConfig, complete
from memory_service.models import EvaluationRun, EvaluationScore, EvaluationStatus, Project
from memory_service.models.conversation import MAX_NAME_CHARS
from memory_service.project_llm import llm_config

from .asking import required_llm
from .chunk_index import RETRIEVALS, CachedEmbedder, ChunkIndex, OnProgress, Placed, Retrieval, by_corpus, tokenize_by
from .chunk_sets import ChunkQuestion, ChunkSet
from .metrics import DIGITS, estimate_tokens
from .runner import WHOLE, summarise_scores

KIND = "chunking"
MAX_RETRIEVED = 1000
AS_MANY_AS_TOUCH = -1  # retrieve as many chunks as overlap the references, at most metrics.MAX_TOUCHING
DEFAULT_RETRIEVE = 5  # the source's
DESCRIBERS = ("local", "llm")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy with its options."""

    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        shown = " ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.strategy} {shown}".rstrip()


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """What a run does. retrieve: chunks a question, or AS_MANY_AS_TOUCH. tokenizer: by which chunks are sized.

    enrich: what stands for a chunk beside its text (chunking.fusing). metadata: who describes it, one of DESCRIBERS.
    shuffle: a seed, to give each chunk the metadata of another of its document: how much wrong metadata costs.
    chunk_score: also ChunkScore, which asks no questions.
    """

    strategy: str
    options: Mapping[str, Any]
    retrieve: int = DEFAULT_RETRIEVE
    retrieval: Retrieval = "vector"
    tokenizer: str = "estimate"
    enrich: Enrichment = "none"
    metadata: str = "local"
    shuffle: int | None = None
    chunk_score: bool = False

    @property
    def label(self) -> str:
        parts = [Candidate(self.strategy, self.options).label]
        if self.enrich != "none":
            parts.append(f"+ {self.enrich}{' by llm' if self.metadata == 'llm' else ''}")
        if self.shuffle is not None:
            parts.append("shuffled")
        return " ".join(parts)

    def checked(self) -> ChunkPlan:
        """Raises InvalidInput for what cannot be done."""
        if self.retrieve != AS_MANY_AS_TOUCH and not 1 <= self.retrieve <= MAX_RETRIEVED:
            raise InvalidInput(
                f"retrieve={self.retrieve} is out of range: 1 to {MAX_RETRIEVED}, or {AS_MANY_AS_TOUCH} for as many "
                "chunks as overlap the references"
            )
        if self.retrieval not in RETRIEVALS:
            raise InvalidInput(f"retrieval={self.retrieval!r} is not known: one of {', '.join(RETRIEVALS)}")
        if self.enrich not in ENRICHMENTS:
            raise InvalidInput(f"enrich={self.enrich!r} is not known: one of {', '.join(ENRICHMENTS)}")
        if self.metadata not in DESCRIBERS:
            raise InvalidInput(f"metadata={self.metadata!r} is not known: one of {', '.join(DESCRIBERS)}")
        if self.metadata == "llm":
            required_llm("metadata=llm")
        return self


# What to measure


def read_candidates(strategies: str | None, options: Mapping[str, Any]) -> list[Candidate]:
    """strategies: "recursive,fixed:max_tokens=100:overlap_tokens=20", or None for all that are registered.

    options: for every strategy that has them; a strategy's own come first. Raises InvalidInput for names that are not
    known, and for an option that none of the strategies has.
    """
    if strategies is None:
        chosen = [Candidate(name) for name in sorted(STRATEGIES)]
    else:
        chosen = [_read_candidate(one) for one in strategies.split(",") if one.strip()]
    if not chosen:
        raise InvalidInput("there is no strategy to measure")
    fitting = [{name: value for name, value in options.items() if _takes(one.strategy, name)} for one in chosen]
    for name in options:
        if not any(name in one for one in fitting):
            raise InvalidInput(f"--options {name}: none of {', '.join(c.strategy for c in chosen)} has that option")
    found = [Candidate(one.strategy, {**more, **one.options}) for one, more in zip(chosen, fitting, strict=True)]
    return list({one.label: one for one in found}.values())


def _read_candidate(written: str) -> Candidate:
    name, *settings_ = written.strip().split(":")
    if name not in STRATEGIES:
        raise InvalidInput(f"strategy={name!r} is not known: one of {', '.join(sorted(STRATEGIES))}")
    return Candidate(name, dict(map(read_option, settings_)))


def read_option(written: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON where it is JSON, else a string. Raises InvalidInput."""
    name, separator, value = written.partition("=")
    if not separator or not name.isidentifier():
        raise InvalidInput(f"option {written!r} must be NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _takes(strategy: str, option: str) -> bool:
    parameters = inspect.signature(STRATEGIES[strategy].load()).parameters
    return option in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


# Measuring


@dataclass(frozen=True, slots=True)
class Splits:
    """A strategy's chunks. placed: those that are searched, of all documents. seconds: of splitting alone."""

    placed: tuple[Placed, ...]
    seconds: float


def split_all(chosen: ChunkSet, candidate: Candidate, models: Models, on_progress: OnProgress) -> Splits:
    """Raises InvalidInput for options that the strategy refuses, and models that are missing."""
    placed: list[Placed] = []
    seconds, done, total = 0.0, 0, sum(map(len, chosen.corpora.values()))
    for name, text in chosen.corpora.items():
        started = time.perf_counter()
        try:
            chunks = split(text, candidate.strategy, models=models, options=candidate.options)
        except ValueError as exc:
            raise InvalidInput(f"{candidate.label}: {exc}") from exc
        seconds += time.perf_counter() - started
        _check(chunks, text, f"{candidate.label}: {name}")
        placed += [Placed(name, chunk) for chunk in chunks if not chunk.level and chunk.text.strip()]
        done += len(text)
        on_progress(f"{candidate.label}: split", done, total)
    return Splits(tuple(placed), seconds)


def _check(chunks: Sequence[Chunk], text: str, where: str) -> None:
    for chunk in chunks:
        if text[chunk.start : chunk.end] != chunk.text:
            raise InvalidInput(f"{where}: the chunk at {chunk.start} to {chunk.end} is not what stands there")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a question retrieved, best first, and its figures. ranks: of each reference, where it was found first."""

    question: ChunkQuestion
    retrieved: tuple[Placed, ...]
    scores: metrics.ChunkScores
    ranks: Mapping[str, int | None]
    latency_ms: float


def ask_all(
    chosen: ChunkSet,
    index: ChunkIndex,
    embed: CachedEmbedder,
    plan: ChunkPlan,
    on_progress: OnProgress = lambda *_: None,
) -> list[Answered]:
    """Every question against the index of all documents."""
    chunks = {name: [chunk.span for chunk in found] for name, found in by_corpus(index.placed).items()}
    vectors = embed.embed([question.text for question in chosen.questions])
    answered = []
    for number, (question, vector) in enumerate(zip(chosen.questions, vectors, strict=True), start=1):
        touching = metrics.touching(question.references, chunks.get(question.corpus, []))
        num = plan.retrieve
        if num == AS_MANY_AS_TOUCH:
            num = min(max(1, len(touching)), metrics.MAX_TOUCHING)
        started = time.perf_counter()
        found = tuple(index.placed[i] for i in index.rank(question.text, vector, num, plan.retrieval))
        answered.append(_score(question, found, touching, 1000 * (time.perf_counter() - started)))
        on_progress("questions", number, len(chosen.questions))
    return answered


def _score(question: ChunkQuestion, found: tuple[Placed, ...], touching: Sequence[Span], latency_ms: float) -> Answered:
    own = [one.chunk.span for one in found if one.corpus == question.corpus]
    foreign = sum(one.chunk.end - one.chunk.start for one in found if one.corpus != question.corpus)
    scores = metrics.score(question.references, own, touching, num_foreign_chars=foreign)
    ranks = {f"{a}-{b}": _first_rank(question.corpus, (a, b), found) for a, b in question.references}
    return Answered(question, found, scores, ranks, latency_ms)


def _first_rank(corpus: str, reference: Span, found: Sequence[Placed]) -> int | None:
    for rank, one in enumerate(found, start=1):
        if one.corpus == corpus and metrics.touching([reference], [one.chunk.span]):
            return rank
    return None


def measure(
    project: Project,
    chosen: ChunkSet,
    plan: ChunkPlan,
    *,
    models: Models,
    embed: CachedEmbedder,
    name: str = "",
    on_progress: OnProgress = lambda *_: None,
) -> EvaluationRun:
    """One strategy, measured and stored. Raises InvalidInput, before anything is stored.

    plan: checked.
    """
    candidate = Candidate(plan.strategy, plan.options)
    with charged(project):
        splits = split_all(chosen, candidate, models, on_progress)
    if not splits.placed:
        raise InvalidInput(f"{candidate.label} made no chunk")

    def told(step: str, done: int, total: int) -> None:
        on_progress(f"{plan.label}: {step}", done, total)

    with charged(project):
        indexed = make_index(chosen, splits.placed, plan, embed, told)
    answered = ask_all(chosen, indexed.index, embed, plan, told)
    embed.save()
    seconds = {"split_s": splits.seconds, "embed_s": indexed.embed_s, "enrich_s": indexed.enrich_s}
    figures = chunk_figures(splits.placed) | {name: round(value, 3) for name, value in seconds.items()}
    if plan.chunk_score:
        figures["chunk_score"] = score_chunks(splits.placed, models, embed, told)
    if indexed.usage:
        figures["llm"] = told_usage(indexed.usage)
    return store(project, chosen, plan, answered, figures, name=name or plan.label, notes=indexed.notes)


@dataclass(frozen=True, slots=True)
class Indexed:
    """An index, and what it took to make it."""

    index: ChunkIndex
    embed_s: float
    enrich_s: float
    usage: Sequence[Usage] = ()
    notes: Sequence[str] = ()


def make_index(
    chosen: ChunkSet, placed: Sequence[Placed], plan: ChunkPlan, embed: CachedEmbedder, on_progress: OnProgress
) -> Indexed:
    """One index over the chunks of all documents, enriched document by document."""
    texts = [one.chunk.text for one in placed]
    started = time.perf_counter()
    vectors = embed.embed(texts, lambda done, total: on_progress("embed", done, total))
    embed_s = time.perf_counter() - started
    if plan.enrich == "none":
        return Indexed(ChunkIndex(placed, vectors, texts), embed_s, 0.0)
    started = time.perf_counter()
    usage: list[Usage] = []
    notes: list[str] = []
    searched, mixed, first = [], [], 0
    for name, chunks in by_corpus(placed).items():  # in the order of `placed`
        of_corpus = slice(first, first + len(chunks))
        first += len(chunks)
        found = describe(
            chunks,
            chosen.corpora[name],
            title=chosen.titles.get(name, ""),
            llm=required_llm("metadata=llm") if plan.metadata == "llm" else None,
            on_progress=partial(on_progress, f"describe {name}"),
        )
        usage += found.usage
        notes += [f"{name}: {note}" for note in found.notes]
        metadata = shuffled(found.metadata, plan.shuffle)
        searched += searched_texts(texts[of_corpus], metadata, plan.enrich)
        mixed.append(enriched_vectors(texts[of_corpus], vectors[of_corpus], metadata, plan.enrich, embed=embed))
        on_progress("enrich", first, len(placed))
    enrich_s = time.perf_counter() - started
    index = ChunkIndex(placed, np.concatenate(mixed), searched, around=plan.enrich == "situated")
    return Indexed(index, embed_s, enrich_s, usage, notes)


def shuffled(metadata: Sequence[Metadata], seed: int | None) -> list[Metadata]:
    moved = list(metadata)
    if seed is not None:
        random.Random(seed).shuffle(moved)
    return moved


def told_usage(usage: Sequence[Usage]) -> dict[str, Any]:
    """cost_usd: None where the price of a request is not known."""
    costs = [one.cost_usd for one in usage]
    return {
        "num_requests": len(usage),
        "prompt_tokens": sum(one.prompt_tokens for one in usage),
        "completion_tokens": sum(one.completion_tokens for one in usage),
        "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
    }


def chunk_figures(placed: Sequence[Placed]) -> dict[str, Any]:
    """Number and size of the chunks, in all and of each document."""

    def told(chunks: Sequence[Chunk]) -> dict[str, Any]:
        return {
            "num_chunks": len(chunks),
            "mean_tokens": round(statistics.fmean(chunk.num_tokens for chunk in chunks), 1),
            "mean_chars": round(statistics.fmean(chunk.end - chunk.start for chunk in chunks), 1),
        }

    grouped = by_corpus(placed)
    return told([one.chunk for one in placed]) | {"by_corpus": {name: told(found) for name, found in grouped.items()}}


def score_chunks(
    placed: Sequence[Placed], models: Models, embed: CachedEmbedder, on_progress: OnProgress
) -> dict[str, Any]:
    """ChunkScore and its two terms: the mean over documents by their chunks, and of each document.

    By the configured language model, else by a model of the document's own words (chunking.ngram).
    """
    grouped = by_corpus(placed)
    by_document: dict[str, dict[str, float | None]] = {}
    for number, (name, chunks) in enumerate(grouped.items(), start=1):
        found = chunk_score([chunk.text for chunk in chunks], embed=embed, losses=models.losses or NGramModel())
        by_document[name] = {
            "score": round(found.score, DIGITS),
            "independence": None if found.logical_independence is None else round(found.logical_independence, DIGITS),
            "dispersion": round(found.semantic_dispersion, DIGITS),
        }
        on_progress("ChunkScore", number, len(grouped))
    told: dict[str, Any] = {"by_corpus": by_document, "losses": "configured" if models.losses else "n-gram"}
    for term in ("score", "independence", "dispersion"):
        pairs = [(value, len(grouped[name])) for name, one in by_document.items() if (value := one[term]) is not None]
        total = sum(weight for _, weight in pairs)
        told[term] = round(sum(value * weight for value, weight in pairs) / total, DIGITS) if total else None
    return told


def service_models(embed: CachedEmbedder, tokenizer: str) -> Models:
    """What strategies may ask for, as this service has it configured."""
    config = llm_config()
    return Models(
        embed=embed,
        tokenize=tokenize_by(tokenizer),
        losses=language_models.losses(),
        choose=language_models.choose(),
        complete=partial(_complete, config) if config else None,
    )


def _complete(config: LLMConfig, prompt: str) -> str:
    return complete(config, [{"role": "user", "content": prompt}], purpose=language_models.PURPOSE).text


# Storing


@transaction.atomic
def store(
    project: Project,
    chosen: ChunkSet,
    plan: ChunkPlan,
    answered: Sequence[Answered],
    figures: Mapping[str, Any],
    *,
    name: str = "",
    notes: Sequence[str] = (),
) -> EvaluationRun:
    """A run that is over, with a row for each question.

    Questions are one conversation, so that intervals are over questions; a document is a category.
    """
    now = timezone.now()
    run = EvaluationRun.objects.create(
        project=project,
        name=name[:200],
        kind=KIND,
        source=chosen.name[:MAX_NAME_CHARS],
        data_hash=chosen.data_hash(),
        plan=asdict(plan),
        notes=[*chosen.notes, *notes],
        circumstances=circumstances(),
        status=EvaluationStatus.SUCCEEDED,
        num_steps=len(answered),
        num_done=len(answered),
        completed_at=now,
    )
    scores = [to_score(run, chosen, one, number) for number, one in enumerate(answered)]
    EvaluationScore.objects.bulk_create(scores, batch_size=500)
    run.summary = summarise_scores(scores) | {KIND: dict(figures) | {"label": name}}
    run.save(update_fields=["summary"])
    return run


def to_score(run: EvaluationRun, chosen: ChunkSet, answered: Answered, number: int) -> EvaluationScore:
    question = answered.question
    return EvaluationScore(
        run=run,
        variant=WHOLE,
        number=number,
        question_id=question.id[:MAX_NAME_CHARS],
        conversation=chosen.name,
        category=question.corpus[:100],
        question=question.text,
        metrics=answered.scores.as_dict(),
        ranks=dict(answered.ranks),
        num_hits=len(answered.retrieved),
        latency_ms=answered.latency_ms,
        tokens=sum(estimate_tokens(one.chunk.text) for one in answered.retrieved),
        exact_tokens=sum(one.chunk.num_tokens for one in answered.retrieved),
    )


def circumstances() -> dict[str, Any]:
    """What else the figures depend on."""
    return {
        "embedding_model": settings.ENV.embedding_model,
        "llm_model": settings.ENV.llm_model or None,
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
    }


OnRun = Callable[[EvaluationRun], None]


def measure_all(
    project: Project,
    chosen: ChunkSet,
    candidates: Sequence[Candidate],
    like: ChunkPlan,
    *,
    models: Models,
    embed: CachedEmbedder,
    enrichments: Sequence[Enrichment] = ("none",),
    skip_faulty: bool = False,
    name: str = "",
    on_run: OnRun = lambda _: None,
    on_progress: OnProgress = lambda *_: None,
) -> tuple[list[EvaluationRun], list[str]]:
    """A run for each candidate and enrichment, in their order, and notes on those that were skipped.

    like: what else their plans are. skip_faulty: a strategy that refuses (its models are not here) is skipped and
    noted. on_run: told of each run when it is stored.
    """
    runs, notes = [], []
    plans = [
        replace(like, strategy=one.strategy, options=one.options, enrich=enrich).checked()
        for one in candidates
        for enrich in dict.fromkeys(enrichments)
    ]
    for plan in plans:
        try:
            run = measure(project, chosen, plan, models=models, embed=embed, name=name, on_progress=on_progress)
        except InvalidInput as exc:
            if not skip_faulty:
                raise
            notes.append(str(exc))
            continue
        runs.append(run)
        on_run(run)
    return runs, notes
