"""A run: ingest a set, ask its questions, score them, sum up. In steps: what is in the database is not done again."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from memory_service import retrieval
from memory_service.embedding import serving_profile
from memory_service.errors import Conflict, InvalidInput, NotFound, ServiceError
from memory_service.filters import ENTITY_FIELDS, parse
from memory_service.models import EvaluationCorpus, EvaluationRun, EvaluationScore, EvaluationStatus, Project
from memory_service.models.conversation import MAX_NAME_CHARS
from memory_service.models.evaluation import EVALUATION_UNFINISHED

from . import judging
from .asking import (
    Asked,
    Enqueue,
    Found,
    InProcess,
    code_hash,
    corpus_key,
    drop_corpus,
    fill_corpus,
    find_corpus,
    prepare_timing,
    read_options,
    required_llm,
    stages,
    tokenizer_name,
)
from .datasets import Conversation, Dataset, Question
from .metrics import DIGITS, bootstrap, compare, metric_names, percentile, score_question, to_matrix

logger = logging.getLogger(__name__)

WHOLE = ""  # the variant with every stage
MAX_SEEDS = 20
MAX_JUDGINGS = 10
SCORES_A_WRITE = 25
NUM_COUNTED = 10  # hits whose tokens are "tokens per query"
MAX_LISTED = 50  # conversations told one by one
TABLE_METRICS = ("recall@5", "recall@10", "recall@20", "recall@500t", "recall@1000t", "recall@2000t", "mrr", "ndcg@10")
POLICIES = ("local", "auto", "two_phase", "add_only")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. options: fields of SearchRequest. ablate: stages to leave out, one at a time.

    seeds: how often, each after the first with the sessions ingested in another order. judgings: how often the judge
    is asked about each answer; 0: no answers are made.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    ablate: Sequence[str] = ()
    seeds: int = 1
    judgings: int = 0
    policy: str = "local"
    reuse: bool = False
    keep: bool = False

    def checked(self) -> Plan:
        """Raises InvalidInput for what cannot be done."""
        unknown = [name for name in self.ablate if name not in stages()]
        if unknown:
            known = ", ".join(stages()) or "none that can be left out"
            raise InvalidInput(f"{', '.join(unknown)}: no stage of retrieval; there are {known}")
        for name, value, low, high in (
            ("seeds", self.seeds, 1, MAX_SEEDS),
            ("judgings", self.judgings, 0, MAX_JUDGINGS),
        ):
            if not low <= value <= high:
                raise InvalidInput(f"{name}={value} is out of range: {low} to {high} is accepted")
        if self.policy not in POLICIES:
            raise InvalidInput(f"policy={self.policy!r} is unknown: {', '.join(POLICIES)} are accepted")
        if self.judgings:
            required_llm(judging.NEEDED_FOR)
        options = read_options(self.options)
        if options.get("expand") == "llm":
            required_llm("expand=llm")
        values = asdict(self) | {"options": options, "ablate": list(dict.fromkeys(self.ablate))}
        return Plan(**values)

    @property
    def variants(self) -> list[str]:
        return [WHOLE, *self.ablate]


class Stopped(Exception):
    """The run was cancelled or deleted while it was under way."""


@dataclass(frozen=True, slots=True)
class Progress:
    """step: "ingest" or what is asked. done of total: messages, or questions."""

    step: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def create_run(
    project: Project,
    dataset: Dataset,
    plan: Plan,
    *,
    name: str = "",
    source: str = "",
    over_own: bool = False,
    content: Any = None,
) -> EvaluationRun:
    """Raises InvalidInput where there is nothing to ask or the plan cannot be carried out."""
    plan = plan.checked()
    if not dataset.num_questions:
        raise InvalidInput("there is no question with evidence in this set")
    return EvaluationRun.objects.create(
        project=project,
        name=name[:200],
        kind=dataset.kind,
        source=source[:MAX_NAME_CHARS],
        data_hash=hash_dataset(dataset),
        over_own=over_own,
        plan=asdict(plan),
        content=content,
        notes=list(dataset.notes),
        circumstances=circumstances(plan),
        scope_ids=reached_scopes(project, dataset) if over_own else [],
        entities=named_entities(dataset),
        num_steps=dataset.num_questions * len(plan.variants) * plan.seeds,
    )


def hash_dataset(dataset: Dataset) -> str:
    """Of messages, questions and evidence: two runs with the same hash were asked the same."""
    digest = hashlib.sha256()
    for conversation in dataset.conversations:
        for session in conversation.sessions:
            digest.update(json.dumps([session.id, [[t.id, t.role, t.text] for t in session.turns]]).encode())
        for question in conversation.questions:
            digest.update(json.dumps([question.id, question.text, sorted(question.evidence)]).encode())
    return digest.hexdigest()


def circumstances(plan: Plan) -> dict[str, Any]:
    """What else the figures depend on."""
    return {
        "embedding_model": serving_profile().model,
        "llm_model": settings.ENV.llm_model or None,
        "extraction_policy": plan.policy,
        "ingest_code": code_hash(),
        "tokenizer": tokenizer_name(),
        "stages": list(stages()),
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
    }


def reached_scopes(project: Project, dataset: Dataset) -> list[int]:
    """The scopes that the questions look into: when one of them is forgotten, so is the run."""
    asked = InProcess(project, {}, own=True)
    nodes = (asked.filter_of(c, question) for c in dataset.conversations for question in c.questions)
    seen: dict[str, list[int]] = {}
    for node in nodes:
        if repr(node) not in seen:
            seen[repr(node)] = retrieval.find_scopes(project, node)
    return sorted({scope_id for found in seen.values() for scope_id in found})


def named_entities(dataset: Dataset) -> list[dict[str, str]]:
    """Whom a set of one's own names: each entity apart. Also where nothing is remembered of it yet."""
    found: list[dict[str, str]] = []
    for conversation in dataset.conversations if dataset.kind == "qa-jsonl" else ():
        found += [{name: value} for name, value in conversation.entities.items()]
        found += [{"run_id": session.id} for session in conversation.sessions]
        for question in conversation.questions:
            for name in ENTITY_FIELDS:
                value = (question.filters or {}).get(name)
                if isinstance(value, str):
                    found.append({name: value})
    return [dict(pair) for pair in dict.fromkeys(tuple(one.items()) for one in found)]


def check_filters(dataset: Dataset) -> None:
    """Raises InvalidInput, naming the question, for a filter that cannot be understood."""
    for conversation in dataset.conversations:
        for question in conversation.questions:
            if question.filters is not None:
                try:
                    parse(dict(question.filters))
                except ServiceError as exc:
                    raise InvalidInput(f"{question.id}: {exc}") from exc


# Carrying a run out


def execute(
    run: EvaluationRun,
    dataset: Dataset,
    *,
    enqueue: Enqueue | None = None,
    asked: Asked | None = None,
    deadline: float = math.inf,
    on_progress: OnProgress = lambda _: None,
) -> bool:
    """Does what is left of a run. True when it is over, False where the deadline (of time.monotonic) came first.

    asked: something else than a scratch project or the project's own memories; it is filled already. Raises Stopped
    where the run is no longer wanted, and what ingesting and searching raise.
    """
    plan = Plan(**run.plan)
    _start(run)
    prepare_timing()
    for seed in range(plan.seeds):
        target = asked or _target(run, dataset, plan, seed, enqueue, deadline, on_progress)
        if target is None:
            return False
        for variant in plan.variants:
            if not _ask_all(run, dataset, plan, target, variant, seed, deadline, on_progress):
                return False
    _check_wanted(run)
    finish(run, summarise(run))
    if not plan.keep:
        drop_corpora(run)
    return True


def _start(run: EvaluationRun) -> None:
    rows = EvaluationRun.objects.filter(pk=run.pk, status__in=EVALUATION_UNFINISHED)
    if not rows.update(status=EvaluationStatus.RUNNING, updated_at=timezone.now()):
        raise Stopped
    run.refresh_from_db()


def _target(
    run: EvaluationRun,
    dataset: Dataset,
    plan: Plan,
    seed: int,
    enqueue: Enqueue | None,
    deadline: float,
    on_progress: OnProgress,
) -> InProcess | None:
    """None where the deadline came before all was ingested."""
    if run.over_own:
        run.scope_ids = sorted({*run.scope_ids, *reached_scopes(run.project, dataset)})
        EvaluationRun.objects.filter(pk=run.pk).update(scope_ids=run.scope_ids)
        return InProcess(run.project, plan.options, own=True)
    corpus = corpus_of(run, dataset, plan, seed)
    done = 0

    def note(num_messages: int) -> None:
        nonlocal done
        done += num_messages
        _note_step(run, f"ingest, {done} of {dataset.num_messages} messages")
        on_progress(Progress("ingest", done, dataset.num_messages))

    if not fill_corpus(corpus, dataset, seed=seed, enqueue=enqueue, deadline=deadline, on_messages=note):
        return None
    return InProcess(corpus.project, plan.options, payer=run.project)


def corpus_of(run: EvaluationRun, dataset: Dataset, plan: Plan, seed: int) -> EvaluationCorpus:
    """The run's own; where `reuse` is asked for, a kept one of the same data and code."""
    known = run.circumstances.get("corpora", {})
    if str(seed) in known:
        found = EvaluationCorpus.objects.filter(pk=known[str(seed)]).select_related("project").first()
        if found is not None:
            return found
    key = corpus_key(dataset, policy=plan.policy, seed=seed)
    corpus = find_corpus(run.project, key, policy=plan.policy, keep=plan.reuse or plan.keep)
    run.circumstances = {**run.circumstances, "corpora": {**known, str(seed): corpus.pk}}
    EvaluationRun.objects.filter(pk=run.pk).update(circumstances=run.circumstances)
    return corpus


def drop_corpora(run: EvaluationRun) -> None:
    """The scratch projects of a run that nobody wants to keep; one that a worker is at goes with jobs.drop_orphans."""
    for pk in run.circumstances.get("corpora", {}).values():
        corpus = EvaluationCorpus.objects.filter(pk=pk, kept=False).select_related("project", "owner").first()
        if corpus is not None:
            try:
                drop_corpus(corpus)
            except (Conflict, IntegrityError) as exc:
                logger.warning("%s stays for now: %s", corpus, exc)


def _ask_all(
    run: EvaluationRun,
    dataset: Dataset,
    plan: Plan,
    target: Asked,
    variant: str,
    seed: int,
    deadline: float,
    on_progress: OnProgress,
) -> bool:
    known = set(run.scores.filter(variant=variant, seed=seed).values_list("question_id", flat=True))
    step = _step_name(plan, variant, seed)
    batch: list[EvaluationScore] = []
    done = len(known)
    for number, (conversation, question) in enumerate(all_questions(dataset)):
        if question.id in known:
            continue
        if time.monotonic() > deadline:
            _write(run, batch, step)
            return False
        found = target.ask(conversation, question, without=variant)
        score = to_score(run, conversation, question, found, number=number, variant=variant, seed=seed)
        if plan.judgings and variant == WHOLE and seed == 0:
            judging.judge_into(run.project, score, target, conversation, question, num_judgings=plan.judgings)
        batch.append(score)
        done += 1
        on_progress(Progress(step, done, dataset.num_questions))
        if len(batch) >= SCORES_A_WRITE:
            _write(run, batch, step)
            batch = []
    _write(run, batch, step)
    return True


def _step_name(plan: Plan, variant: str, seed: int) -> str:
    step = f"without {variant}" if variant else "questions"
    return f"{step}, seed {seed}" if plan.seeds > 1 else step


def all_questions(dataset: Dataset) -> Iterator[tuple[Conversation, Question]]:
    for conversation in dataset.conversations:
        for question in conversation.questions:
            yield conversation, question


def to_score(
    run: EvaluationRun | None,
    conversation: Conversation,
    question: Question,
    found: Found,
    *,
    number: int,
    variant: str,
    seed: int,
) -> EvaluationScore:
    """Not saved."""
    first = found.ranked[:NUM_COUNTED]
    exact = [hit.exact_tokens for hit in first if hit.exact_tokens is not None]
    return EvaluationScore(
        run=run,
        variant=variant,
        seed=seed,
        number=number,
        question_id=question.id,
        conversation=conversation.id,
        category=question.category,
        question=question.text,
        metrics=score_question(found.ranked, question.evidence, question.sessions),
        ranks={one: _first_rank(found, one) for one in sorted(question.evidence)},
        num_hits=len(found.ranked),
        num_over_cited=found.num_over_cited,
        latency_ms=found.latency_ms,
        tokens=sum(hit.tokens for hit in first),
        exact_tokens=sum(exact) if len(exact) == len(first) else None,
    )


def _first_rank(found: Found, evidence: str) -> int | None:
    return next((rank for rank, hit in enumerate(found.ranked, start=1) if evidence in hit.ids), None)


@transaction.atomic
def _write(run: EvaluationRun, batch: Sequence[EvaluationScore], step: str) -> None:
    """The scores, if the run is still wanted: its row is locked meanwhile. Raises Stopped."""
    row = (
        EvaluationRun.objects.select_for_update(no_key=True).filter(pk=run.pk, status=EvaluationStatus.RUNNING).first()
    )
    if row is None:
        raise Stopped
    EvaluationScore.objects.bulk_create(batch, ignore_conflicts=True)
    row.num_done, row.step, row.updated_at = row.scores.count(), step, timezone.now()
    row.save(update_fields=["num_done", "step", "updated_at"])


def _note_step(run: EvaluationRun, step: str) -> None:
    rows = EvaluationRun.objects.filter(pk=run.pk, status=EvaluationStatus.RUNNING)
    if not rows.update(step=step, updated_at=timezone.now()):
        raise Stopped


def _check_wanted(run: EvaluationRun) -> None:
    if not EvaluationRun.objects.filter(pk=run.pk, status=EvaluationStatus.RUNNING).exists():
        raise Stopped


def finish(run: EvaluationRun, summary: Mapping[str, Any]) -> None:
    now = timezone.now()
    rows = EvaluationRun.objects.filter(pk=run.pk, status=EvaluationStatus.RUNNING)
    rows.update(
        status=EvaluationStatus.SUCCEEDED,
        summary=summary,
        content=None,
        step="",
        error="",
        completed_at=now,
        updated_at=now,
    )
    run.refresh_from_db()


def fail(run: EvaluationRun, reason: str) -> None:
    now = timezone.now()
    EvaluationRun.objects.filter(pk=run.pk, status__in=EVALUATION_UNFINISHED).update(
        status=EvaluationStatus.FAILED, error=reason or "unknown", content=None, completed_at=now, updated_at=now
    )


# Summing up


def summarise(run: EvaluationRun) -> dict[str, Any]:
    """What is told of a run: each variant's figures, and what each stage that was left out is worth."""
    plan = Plan(**run.plan)
    scores = list(run.scores.order_by("variant", "seed", "number"))
    by_variant = {name: [score for score in scores if score.variant == name] for name in plan.variants}
    summary = summarise_scores(by_variant[WHOLE])
    corpora = EvaluationCorpus.objects.filter(pk__in=run.circumstances.get("corpora", {}).values())
    ingested = [corpus for corpus in corpora if corpus.ingest_s]
    seconds = sum(corpus.ingest_s for corpus in ingested)
    summary["num_messages"] = max((corpus.num_messages for corpus in corpora), default=None)
    summary["ingest_messages_per_s"] = round(sum(c.num_messages for c in ingested) / seconds, 1) if seconds else None
    if plan.ablate:
        summary["ablation"] = {
            stage: difference(by_variant[WHOLE], by_variant[stage])["metrics"] for stage in plan.ablate
        }
    return summary


def summarise_scores(scores: Sequence[EvaluationScore]) -> dict[str, Any]:
    """Means with intervals over all questions and by category, and the spread over conversations and seeds."""
    questions = per_question(scores)
    names = metric_names([one.metrics for one in questions])
    latencies = [score.latency_ms for score in scores]
    exact = [score.exact_tokens for score in scores if score.exact_tokens is not None]
    conversations = list(dict.fromkeys(one.conversation for one in questions))
    listed = conversations if 1 < len(conversations) <= MAX_LISTED else []
    by_conversation = {name: means([one for one in questions if one.conversation == name], names) for name in listed}
    return {
        "num_questions": len(questions),
        "num_conversations": len(conversations),
        "metrics": {"all": intervals(questions, names), **by_category(questions, names)},
        "by_conversation": by_conversation,
        "spread_over_conversations": spread(list(by_conversation.values()), names),
        "spread_over_seeds": spread(by_seed(scores, names), names),
        "latency_ms": {"p50": _rounded(percentile(latencies, 0.5)), "p95": _rounded(percentile(latencies, 0.95))},
        "tokens_per_query": _rounded(statistics.fmean(s.tokens for s in scores)) if scores else None,
        "exact_tokens_per_query": _rounded(statistics.fmean(exact)) if exact else None,
        "hits_over_cited": sum(score.num_over_cited for score in scores),
    }


@dataclass(frozen=True, slots=True)
class Measured:
    """A question's figures, the mean over seeds."""

    id: str
    conversation: str
    category: str
    metrics: Mapping[str, float]


def per_question(scores: Iterable[EvaluationScore]) -> list[Measured]:
    grouped: dict[str, list[EvaluationScore]] = {}
    for score in scores:
        grouped.setdefault(score.question_id, []).append(score)
    return [
        Measured(
            name,
            group[0].conversation,
            group[0].category,
            {
                metric: statistics.fmean(values)
                for metric in metric_names([one.metrics for one in group])
                if (values := [one.metrics[metric] for one in group if metric in one.metrics])
            },
        )
        for name, group in grouped.items()
    ]


def intervals(questions: Sequence[Measured], names: Sequence[str]) -> dict[str, Any]:
    found = bootstrap(to_matrix([one.metrics for one in questions], names), [one.conversation for one in questions])
    return {name: one.rounded() for name, one in zip(names, found, strict=True) if one.n}


def by_category(questions: Sequence[Measured], names: Sequence[str]) -> dict[str, Any]:
    """Numbers in their order, then words."""
    categories = sorted({one.category for one in questions if one.category}, key=category_order)
    return {name: intervals([one for one in questions if one.category == name], names) for name in categories}


def category_order(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def means(questions: Sequence[Measured], names: Sequence[str]) -> dict[str, float]:
    found = {name: [one.metrics[name] for one in questions if name in one.metrics] for name in names}
    return {name: round(statistics.fmean(values), DIGITS) for name, values in found.items() if values}


def by_seed(scores: Sequence[EvaluationScore], names: Sequence[str]) -> list[dict[str, float]]:
    seeds = sorted({score.seed for score in scores})
    return [means(per_question(s for s in scores if s.seed == seed), names) for seed in seeds] if len(seeds) > 1 else []


def spread(groups: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """The standard deviation over groups; nothing of fewer than two."""
    found = {name: [group[name] for group in groups if name in group] for name in names}
    return {name: round(statistics.stdev(values), DIGITS) for name, values in found.items() if len(values) > 1}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def difference(a: Iterable[EvaluationScore], b: Iterable[EvaluationScore]) -> dict[str, Any]:
    """b - a over the questions that both have. Raises NotFound where there are none."""
    first, second = ({one.id: one for one in per_question(scores)} for scores in (a, b))
    shared = [name for name in first if name in second]
    if not shared:
        raise NotFound("the two runs have no question in common: compare runs over the same set")
    names = [n for n in metric_names([first[q].metrics for q in shared]) if any(n in second[q].metrics for q in shared)]
    groups = {"all": shared}
    for category in sorted({first[q].category for q in shared if first[q].category}, key=category_order):
        groups[category] = [q for q in shared if first[q].category == category]
    metrics = {}
    for group, ids in groups.items():
        found = compare(
            to_matrix([first[q].metrics for q in ids], names),
            to_matrix([second[q].metrics for q in ids], names),
            [first[q].conversation for q in ids],
        )
        metrics[group] = {name: one.rounded() for name, one in zip(names, found, strict=True) if one.n}
    return {
        "num_questions": len(shared),
        "only_a": len(first) - len(shared),
        "only_b": len(second) - len(shared),
        "metrics": metrics,
    }
