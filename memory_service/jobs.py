"""Work that runs as an event and belongs to no scope: re-categorising, profiles, summaries.

An event of these types is claimed, run and finished as a deletion is: it may be started twice, and its effects happen
once, because what each job writes is decided by what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils import timezone

from . import categories, document_stages, overview, profiles, session_summaries
from .errors import NotFound
from .ingest import MAX_ATTEMPTS, claim, give_up, record_failure, release
from .locks import Kind, advisory_lock
from .models import Event, EventStatus, Project, Session

# What a job returns: results and notes of its event.
Done = tuple[list[dict[str, Any]], list[str]]


def record_job(project: Project, kind: str, options: dict[str, Any]) -> Event:
    return Event.objects.create(project=project, type=kind, options=options)


def run(event_id: int) -> datetime | None:
    """Returns when to run it again, where an error may pass; None where it is done, given up or another worker's."""
    with advisory_lock(Kind.JOB, event_id) as held:
        event = Event.objects.unfinished().select_related("project").filter(pk=event_id).first()
        if not held or event is None or _waits(event):
            return None
        if event.num_attempts >= MAX_ATTEMPTS:
            give_up(event)
            return None
        if not claim(event):
            return None
        try:
            results, notes = JOBS[event.type](event)
        except document_stages.NotDone as exc:
            release([event])
            return exc.retry_at
        except Exception as exc:  # noqa: BLE001 - whatever it was, it must end in a row that a person can read
            if record_failure(event, exc) == EventStatus.PENDING:
                # Of what was forgotten meanwhile the event is gone too.
                return Event.objects.filter(pk=event.pk).values_list("retry_at", flat=True).first()
            return None
        now = timezone.now()
        Event.objects.filter(pk=event.pk, claim=event.claim).update(
            status=EventStatus.SUCCEEDED, results=results, notes=notes, error="", completed_at=now, updated_at=now
        )
    return None


def _waits(event: Event) -> bool:
    """For the time of its next attempt, when it will be looked at again."""
    return event.retry_at is not None and event.retry_at > timezone.now()


def _categorise(event: Event) -> Done:
    return [{"categorized": categories.recategorise(event.project, event=event)}], []


def _profiles(event: Event) -> Done:
    return [profiles.run_job(event)], []


def _summary(event: Event) -> Done:
    if "session" not in event.options:
        answer = overview.summarise(event.project, event.options["filters"], event=event)
        return [answer.as_result()], answer.notes
    rows = Session.objects.filter(scope__project=event.project, public_id=event.options["session"])
    session = rows.select_related("scope__project").first()
    if session is None:
        raise NotFound(f"session {event.options['session']} is no longer there")
    built = session_summaries.rebuild(session, max_words=event.options["max_words"], event=event)
    counts = {"levels": built.num_levels, "nodes": built.num_nodes, "computed": built.num_computed}
    return [{"session_id": event.options["session"], **counts}], built.notes


JOBS: dict[str, Callable[[Event], Done]] = {
    Event.Type.CATEGORIZE: _categorise,
    Event.Type.PROFILE: _profiles,
    Event.Type.SUMMARY: _summary,
    Event.Type.DOCUMENT: document_stages.process,
}
