"""Celery's way into the stages. A task may run twice without harm; the rows say what is left to do."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from . import categories, forgetting, ingest, jobs, profiles, session_summaries
from .errors import ServiceError
from .knowledge import merging
from .models import Event, Session, change

logger = logging.getLogger(__name__)

BROKER_PAUSE_S = 10.0  # after it did not answer: requests do not wait for it one after the other
STALE_S = 10  # an unfinished event untouched for so long has no worker coming for it
SUMMARY_AFTER_MESSAGES = 8
SUMMARIES_A_ROUND = 5
PROFILES_A_ROUND = 5

_broker_away_until = 0.0  # of time.monotonic()


def enqueue(event: Event) -> None:
    """Tells a worker to look. A broker that is away loses nothing: `sweep` finds the row."""
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return
    try:
        if event.type == Event.Type.DOCUMENT:
            process_document.apply_async((event.pk,), retry=False)
        elif event.type in jobs.JOBS:
            run_job.apply_async((event.pk,), retry=False)
        elif event.type == Event.Type.DELETE:
            run_deletion.apply_async((event.pk,), retry=False)
        elif event.scope_id is not None:
            process_scope.apply_async((event.scope_id,), retry=False)
    except OperationalError as exc:
        _broker_away_until = time.monotonic() + BROKER_PAUSE_S
        logger.warning("the broker is away (%s); event %s waits for the next sweep", exc, event.public_id)


@shared_task
def process_scope(scope_id: int) -> None:
    retry_at = ingest.drain_scope(scope_id)
    if retry_at is not None:
        process_scope.apply_async((scope_id,), countdown=max(0.0, (retry_at - timezone.now()).total_seconds()))


@shared_task
def run_deletion(event_id: int) -> None:
    retry_at = forgetting.run_deletion(event_id)
    if retry_at is not None:
        run_deletion.apply_async((event_id,), countdown=max(0.0, (retry_at - timezone.now()).total_seconds()))


@shared_task
def run_job(event_id: int) -> None:
    retry_at = jobs.run(event_id)
    if retry_at is not None:
        run_job.apply_async((event_id,), countdown=max(0.0, (retry_at - timezone.now()).total_seconds()))


@shared_task
def process_document(event_id: int) -> None:
    """In a queue of its own, so that a memory waits for one turn of a document and not for all that were sent."""
    retry_at = jobs.run(event_id)
    if retry_at is not None:
        process_document.apply_async((event_id,), countdown=max(0.0, (retry_at - timezone.now()).total_seconds()))


@shared_task
def refresh_profiles() -> None:
    """First profiles, and new ones for users of whom enough has changed."""
    for project, user_id in profiles.due(limit=PROFILES_A_ROUND):
        try:
            profiles.generate(project, user_id)
        except ServiceError as exc:
            logger.warning("a profile of project %s waits for the next round: %s", project.public_id, exc)


@shared_task
def follow_categories() -> None:
    """Starts an event for each project whose categories were changed, by whatever way."""
    for project in categories.projects_to_recategorise():
        enqueue(jobs.record_job(project, Event.Type.CATEGORIZE, {}))


@shared_task
def refresh_summaries() -> None:
    """Never on a request's path, and only over sessions that have come to rest."""
    for session in Session.objects.needing_summary(SUMMARY_AFTER_MESSAGES)[:SUMMARIES_A_ROUND]:
        session_summaries.refresh(session)


@shared_task
def sweep() -> None:
    """Puts back in motion what a dead worker, a lost message or a back-off left waiting."""
    stale = timezone.now() - timedelta(seconds=STALE_S)
    waiting = Event.objects.unfinished().filter(updated_at__lt=stale)
    for scope_id in waiting.filter(type=Event.Type.ADD).values_list("scope_id", flat=True).distinct():
        process_scope.delay(scope_id)
    for event_id in waiting.filter(type=Event.Type.DELETE).values_list("pk", flat=True):
        run_deletion.delay(event_id)
    documents = waiting.filter(type=Event.Type.DOCUMENT)
    for event_id in documents.values_list("pk", flat=True):
        process_document.delay(event_id)
    others = [kind for kind in jobs.JOBS if kind != Event.Type.DOCUMENT]
    for event_id in waiting.filter(type__in=others).values_list("pk", flat=True):
        run_job.delay(event_id)


@shared_task
def compact_changes() -> None:
    """Keeps the table that versions are summed from short."""
    change.compact()


@shared_task
def resolve_entities() -> None:
    """Embeds the names of new entities, and merges those that are surely one. Never on the path of an add."""
    for scope_id in merging.embed_names():
        merging.merge_duplicates(scope_id)
