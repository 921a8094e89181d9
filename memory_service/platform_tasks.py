"""Celery's way into the work around the memories: deletions of projects, webhooks, exports, imports.

As in tasks.py: a task may run twice without harm, the rows say what is left to do, and a broker that is away loses
nothing, because `sweep_jobs` finds the rows.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from celery import shared_task
from celery.signals import task_postrun
from django.utils import timezone
from kombu.exceptions import OperationalError

from . import answering, document_storage, exporting, importing, organisations, stable_order, tasks, webhooks
from .evaluation import jobs as evaluation_jobs
from .models import EvaluationRun, ImportJob, MemoryExport, ProjectDeletion

logger = logging.getLogger(__name__)

CHANGING = (tasks.process_scope.name, tasks.run_deletion.name, tasks.process_document.name)


def _send(task: Any, *arguments: int) -> None:
    try:
        task.apply_async(arguments, retry=False)
    except OperationalError as exc:
        logger.warning("the broker is away (%s); %s%s waits for the next sweep", exc, task.name, arguments)


def _again(task: Any, row_id: int, retry_at: datetime | None) -> None:
    if retry_at is not None:
        task.apply_async((row_id,), countdown=max(0.0, (retry_at - timezone.now()).total_seconds()))


def enqueue_project_deletion(deletion: ProjectDeletion) -> None:
    _send(delete_project, deletion.pk)


@shared_task
def delete_project(deletion_id: int) -> None:
    _again(delete_project, deletion_id, organisations.run_project_deletion(deletion_id))


def enqueue_webhooks() -> None:
    _send(deliver_webhooks)


@shared_task
def deliver_webhooks() -> None:
    """Every other second. Where nothing is due it reads one index and ends."""
    if webhooks.due_deliveries().exists():
        webhooks.deliver_due()


def enqueue_export(export: MemoryExport) -> None:
    _send(run_export, export.pk)


@shared_task
def run_export(export_id: int) -> None:
    _again(run_export, export_id, exporting.run_export(export_id))


def enqueue_import(job: ImportJob) -> None:
    _send(run_import, job.pk)


@shared_task
def run_import(job_id: int) -> None:
    events, retry_at = importing.run_import(job_id)
    for event in {event.scope_id: event for event in events}.values():
        tasks.enqueue(event)
    _again(run_import, job_id, retry_at)


def enqueue_evaluation(run: EvaluationRun) -> None:
    _send(run_evaluation, run.pk)


@shared_task
def run_evaluation(run_id: int) -> None:
    _again(run_evaluation, run_id, evaluation_jobs.run_evaluation(run_id))


@task_postrun.connect
def deliver_after_changes(task: Any, **_: Any) -> None:
    """What a task of the memories has changed is told at once, not at the next beat."""
    if task.name in CHANGING and webhooks.due_deliveries().exists():
        enqueue_webhooks()


@shared_task
def tidy() -> None:
    """Removes what was only kept for a while."""
    webhooks.drop_old_deliveries()
    exporting.drop_expired_exports()
    importing.drop_expired_jobs()
    evaluation_jobs.drop_orphans()
    answering.drop_expired()
    stable_order.drop_expired()
    document_storage.destroy_stale_orphans()


@shared_task
def sweep_jobs() -> None:
    """Puts back in motion what a dead worker or a lost message left waiting."""
    for row_id in organisations.unfinished_deletions(stale=True).values_list("pk", flat=True):
        delete_project.delay(row_id)
    for row_id in exporting.unfinished_exports(stale=True).values_list("pk", flat=True):
        run_export.delay(row_id)
    for row_id in importing.unfinished_jobs(stale=True).values_list("pk", flat=True):
        run_import.delay(row_id)
    for row_id in evaluation_jobs.unfinished_runs(stale=True).values_list("pk", flat=True):
        run_evaluation.delay(row_id)
