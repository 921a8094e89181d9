"""Celery's way into the stages. A task may run twice without harm; the rows say what is left to do."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from . import editing, ingest
from .models import Event, EventStatus, Session

logger = logging.getLogger(__name__)

STALE_S = 10  # an unfinished event untouched for so long has no worker coming for it
SUMMARY_AFTER_MESSAGES = 8
SUMMARIES_A_ROUND = 20


def enqueue(event: Event) -> None:
    """Tells a worker to look. A broker that is away loses nothing: `sweep` finds the row."""
    try:
        if event.type == Event.Type.DELETE:
            run_deletion.apply_async((event.pk,), retry=False)
        elif event.scope_id is not None:
            process_scope.apply_async((event.scope_id,), retry=False)
    except OperationalError as exc:
        logger.warning("the broker is away (%s); event %s waits for the next sweep", exc, event.public_id)


@shared_task
def process_scope(scope_id: int) -> None:
    retry_at = ingest.drain_scope(scope_id)
    if retry_at is not None:
        process_scope.apply_async((scope_id,), countdown=max(0.0, (retry_at - timezone.now()).total_seconds()))


@shared_task
def run_deletion(event_id: int) -> None:
    editing.run_deletion(event_id)


@shared_task
def refresh_summaries() -> None:
    """Never on a request's path, and only over sessions that have come to rest."""
    for session in Session.objects.needing_summary(SUMMARY_AFTER_MESSAGES)[:SUMMARIES_A_ROUND]:
        ingest.refresh_summary(session)


@shared_task
def sweep() -> None:
    """Puts back in motion what a dead worker, a lost message or a back-off left waiting."""
    stale = timezone.now() - timedelta(seconds=STALE_S)
    waiting = Event.objects.unfinished().filter(updated_at__lt=stale)
    for scope_id in waiting.filter(type=Event.Type.ADD).values_list("scope_id", flat=True).distinct():
        process_scope.delay(scope_id)
    deletions = waiting.filter(type=Event.Type.DELETE)
    deletions.filter(status=EventStatus.RUNNING).update(status=EventStatus.PENDING)
    for event_id in deletions.values_list("pk", flat=True):
        run_deletion.delay(event_id)
