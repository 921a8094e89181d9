"""Runs that are asked for through the API: labelled questions over a project's own memories, or with messages of their
own. A worker carries them out in turns; they can be cancelled and deleted at any time."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from memory_service.errors import Conflict, InvalidInput, NotFound, ServiceError, TooLarge
from memory_service.ingest import backoff_s
from memory_service.locks import Kind, advisory_lock
from memory_service.models import EvaluationCorpus, EvaluationRun, EvaluationStatus, Project
from memory_service.models.evaluation import EVALUATION_UNFINISHED

from . import runner
from .asking import drop_corpus
from .datasets import Dataset, Line, read_lines, read_qa
from .runner import Plan

logger = logging.getLogger(__name__)

MAX_QUESTIONS = 2000
MAX_ASKED = 20_000  # questions, over seeds and stages that are left out
MAX_MESSAGES = 10_000
MAX_LINES = 10_000
MAX_SEEDS = 5
MAX_UNFINISHED = 3  # of one project
MAX_ATTEMPTS = 5
TURN_S = 20.0  # then others may have the worker
STALE = timedelta(seconds=60)
ORPHANED = timedelta(hours=1)


def read_items(items: Sequence[Any]) -> Dataset:
    """The lines of a set of one's own, as a list of objects. Raises InvalidInput naming the line, and TooLarge."""
    if len(items) > MAX_LINES:
        raise TooLarge(f"{len(items)} lines are over the limit of {MAX_LINES}: make several evaluations")
    for number, item in enumerate(items, start=1):
        if not isinstance(item, Mapping):
            raise InvalidInput(f"line {number} must be an object, not {type(item).__name__}")
    dataset = read_qa(Line(number, item) for number, item in enumerate(items, start=1))
    if dataset.num_questions > MAX_QUESTIONS:
        raise TooLarge(f"{dataset.num_questions} questions are over the limit of {MAX_QUESTIONS}")
    if dataset.num_messages > MAX_MESSAGES:
        raise TooLarge(f"{dataset.num_messages} messages are over the limit of {MAX_MESSAGES}")
    runner.check_filters(dataset)
    return dataset


def split_lines(text: str) -> list[Mapping[str, Any]]:
    """JSON lines -> objects. Raises InvalidInput, naming the line."""
    return [line.value for line in read_lines(text)]


def create(project: Project, items: Sequence[Any], plan: Plan, *, name: str = "") -> EvaluationRun:
    """Without a line of messages the project's own memories are asked. The caller enqueues the run.

    Raises InvalidInput, TooLarge, and Conflict where too many are under way.
    """
    dataset = read_items(items)
    if plan.seeds > MAX_SEEDS:
        raise InvalidInput(f"seeds={plan.seeds} is out of range: 1 to {MAX_SEEDS} is accepted")
    over_own = not dataset.num_messages
    if over_own and plan.seeds > 1:
        raise InvalidInput("seeds are orders of ingesting, and these questions are about memories that are there")
    num_asked = dataset.num_questions * len(plan.variants) * plan.seeds
    if num_asked > MAX_ASKED:
        raise TooLarge(f"{num_asked} searches (questions x stages x seeds) are over the limit of {MAX_ASKED}")
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        under_way = EvaluationRun.objects.filter(
            project=project, status__in=EVALUATION_UNFINISHED, content__isnull=False
        )
        if under_way.count() >= MAX_UNFINISHED:
            raise Conflict(f"{MAX_UNFINISHED} evaluations of this project are under way: wait for one, or cancel it")
        return runner.create_run(project, dataset, plan, name=name, over_own=over_own, content=list(items))


def unfinished_runs(*, stale: bool = False) -> Any:
    """Those that a worker carries out: a run of the command line has no content."""
    rows = EvaluationRun.objects.filter(status__in=EVALUATION_UNFINISHED, content__isnull=False)
    return rows.filter(updated_at__lt=timezone.now() - STALE) if stale else rows


def run_evaluation(run_id: int) -> datetime | None:
    """A turn of a run. Returns when to go on or to try again; None where it is over. Safe to run twice, and at once."""
    with advisory_lock(Kind.EVALUATION, run_id) as held:
        run = unfinished_runs().select_related("project").filter(pk=run_id).first()
        if not held or run is None or run.project.deleted_at is not None:
            return None
        rows = EvaluationRun.objects.filter(pk=run.pk)
        num_attempts = run.num_attempts + 1
        rows.update(num_attempts=num_attempts, updated_at=timezone.now())
        try:
            over = runner.execute(run, read_items(run.content), deadline=time.monotonic() + TURN_S)
        except runner.Stopped:
            runner.drop_corpora(run)
            return None
        except Exception as exc:
            logger.warning("evaluation %s: %s", run.public_id, exc, exc_info=not isinstance(exc, ServiceError))
            return _put_off(run, exc, num_attempts)
        rows.update(num_attempts=0, updated_at=timezone.now())
        return None if over else timezone.now()


def _put_off(run: EvaluationRun, exc: Exception, num_attempts: int) -> datetime | None:
    """When to try again; None where that is of no use."""
    if (isinstance(exc, ServiceError) and exc.permanent) or num_attempts >= MAX_ATTEMPTS:
        runner.fail(run, str(exc) or type(exc).__name__)
        runner.drop_corpora(run)
        return None
    rows = EvaluationRun.objects.filter(pk=run.pk, status__in=EVALUATION_UNFINISHED)
    rows.update(status=EvaluationStatus.PENDING, error=str(exc), updated_at=timezone.now())
    return timezone.now() + timedelta(seconds=backoff_s(num_attempts, exc))


def find(project: Project, public_id: Any) -> EvaluationRun:
    found = EvaluationRun.objects.filter(project=project, public_id=public_id).first()
    if found is None:
        raise NotFound(f"evaluation {public_id} was not found in this project")
    return found


def cancel(run: EvaluationRun) -> EvaluationRun:
    """Raises Conflict where it is over. A worker that is at it stops with the next scores it writes."""
    now = timezone.now()
    rows = EvaluationRun.objects.filter(pk=run.pk, status__in=EVALUATION_UNFINISHED)
    if not rows.update(status=EvaluationStatus.CANCELLED, content=None, completed_at=now, updated_at=now):
        run.refresh_from_db(fields=["status"])
        raise Conflict(f"evaluation {run.public_id} is {run.status} and cannot be cancelled")
    run.refresh_from_db()
    return run


def drop_orphans() -> int:
    """Scratch projects that nobody keeps, of runs that are over or gone."""
    rows = EvaluationRun.objects.filter(status__in=EVALUATION_UNFINISHED)
    used = {pk for found in rows.values_list("circumstances__corpora", flat=True) for pk in (found or {}).values()}
    old = EvaluationCorpus.objects.filter(kept=False, created_at__lt=timezone.now() - ORPHANED).exclude(pk__in=used)
    num_dropped = 0
    for corpus in old.select_related("project", "owner"):
        try:
            drop_corpus(corpus)
            num_dropped += 1
        except (ServiceError, IntegrityError) as exc:
            logger.warning("%s stays for now: %s", corpus, exc)
    return num_dropped
