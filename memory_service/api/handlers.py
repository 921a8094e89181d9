"""What every generation of the protocol comes down to. Views differ only in where they read and how they wrap."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from django.conf import settings
from rest_framework.request import Request

from memory_service import forgetting, ingest, moments, retrieval, tasks
from memory_service.errors import InvalidInput
from memory_service.filters import narrows, parse
from memory_service.knowledge import search as relation_search
from memory_service.models import ApiKey, EvaluationRun, Event, EventStatus, ImportJob, Memory, MemoryExport, Project
from memory_service.models.platform import UNFINISHED

from . import rendering
from .graph_rendering import render_relation
from .paging import paginate
from .serializers import (
    AddSerializer,
    ListSerializer,
    SearchSerializer,
    read_delete_filter,
    read_fields,
    validated,
)

POLL_S = 0.02
DIRECT_WAIT_S = 15.0  # for infer=false and the open server's callers, who expect results
DELETE_WAIT_S = 5.0  # most deletions are done by then, and the caller can read what it did

# Who waits holds a thread of the web server; two are kept for whoever only asks, /healthz among them.
waiters = threading.BoundedSemaphore(max(1, settings.ENV.web_threads - 2))

Job = TypeVar("Job", MemoryExport, ImportJob, EvaluationRun)

ADDED = "Memory processing has been queued for background execution"


def key_of(request: Request) -> ApiKey:
    key = request.auth
    assert isinstance(key, ApiKey)  # the permission class let nobody else in
    return key


def project_of(request: Request) -> Project:
    return key_of(request).project


def add(request: Request, data: Any, *, default_wait_s: float = 0.0) -> Event:
    """Records, enqueues and, where asked, waits. The event as it then is."""
    parser = validated(AddSerializer(data=data))
    asked = parser.to_request()
    event = ingest.record_add(project_of(request), asked)
    tasks.enqueue(event)
    wait_s = max(parser.validated_data["wait_s"], default_wait_s)
    if not asked.infer or parser.validated_data.get("async_mode") is False:
        wait_s = max(wait_s, DIRECT_WAIT_S)
    return wait_for(event, wait_s)


def wait_for(event: Event, wait_s: float) -> Event:
    """The event as it is after `wait_s`, or as soon as it is done; at once where too many wait already."""
    end = time.monotonic() + wait_s
    if _unfinished(event) and wait_s > 0 and waiters.acquire(blocking=False):
        try:
            while _unfinished(event) and time.monotonic() < end:
                time.sleep(POLL_S)
                event.refresh_from_db(fields=["status", "results", "error", "notes"])
        finally:
            waiters.release()
    return event


def wait_for_job(job: Job, wait_s: float) -> Job:
    """The same for a row of work that is no event."""
    end = time.monotonic() + wait_s
    if job.status in UNFINISHED and waiters.acquire(blocking=False):
        try:
            while job.status in UNFINISHED and time.monotonic() < end:
                time.sleep(POLL_S)
                job.refresh_from_db()
        finally:
            waiters.release()
    return job


def _unfinished(event: Event) -> bool:
    return event.status in (EventStatus.PENDING, EventStatus.RUNNING)


def added(event: Event) -> dict[str, Any]:
    """The answer to an add: results where they are known already."""
    answer = {"message": ADDED, "status": event.status, "event_id": str(event.public_id)}
    if event.status == EventStatus.SUCCEEDED:
        answer |= {"message": "Memories added", "results": event.results}
    elif event.status == EventStatus.FAILED:
        answer |= {"message": event.error}
    return answer


def search(request: Request, data: Any, *, refuse_top_level: bool) -> dict[str, Any]:
    """`results`, and beside them `relations` where the graph was asked for."""
    parser = validated(SearchSerializer(data=data))
    fields = read_fields(parser.validated_data.get("fields"), rendering.HIT_FIELDS)
    asked = parser.to_request(refuse_top_level=refuse_top_level)
    hits = retrieval.search(project_of(request), asked)
    explain = parser.validated_data["explain"] or bool(fields and fields & {"score_breakdown", "score_contributions"})
    answer: dict[str, Any] = {
        "results": rendering.render_hits(
            hits, explain=explain, fields=fields and fields | {"score"}, typed="documents" in asked.include
        )
    }
    if explain:
        answer |= rendering.render_refinement(asked)
    if parser.validated_data["enable_graph"]:
        found = relation_search.relations_for(project_of(request), asked.query, asked.filter, asked.top_k, hits=hits)
        answer["relations"] = [render_relation(hit) for hit in found]
    return answer


def list_page(request: Request, data: Mapping[str, Any], *, refuse_top_level: bool) -> dict[str, Any]:
    """One page, newest first. page and page_size: the query's win over the body's."""
    paging = {k: request.query_params[k] for k in ("page", "page_size") if k in request.query_params}
    parser = validated(ListSerializer(data={**data, **paging}))
    fields = read_fields(parser.validated_data.get("fields"), rendering.MEMORY_FIELDS)
    node = parser.to_scoped_filter(refuse_top_level=refuse_top_level)
    memories = retrieval.memories_passing(
        project_of(request),
        node,
        show_expired=parser.validated_data["show_expired"],
        moment=(moment := parser.to_moment()),
    )
    rows, envelope = paginate(
        request,
        memories.for_rendering().order_by("-said_at", "-id"),
        page=parser.validated_data["page"],
        page_size=parser.validated_data["page_size"],
    )
    if moment.known_at is not None:
        texts = moments.texts_known_at(rows, moment.known_at)
        for row in rows:
            row.text = texts.get(row.pk, row.text)
    answer = {**envelope, "results": rendering.render_memories(rows, fields)}
    if parser.validated_data["enable_graph"]:
        found = relation_search.list_relations(project_of(request), node, parser.validated_data["page_size"])
        answer["relations"] = [render_relation(hit) for hit in found]
    return answer


def render_one(memory: Memory) -> dict[str, Any]:
    return rendering.render_memories([Memory.objects.for_rendering().get(pk=memory.pk)])[0]


def delete_matching(request: Request) -> Event:
    raw = read_delete_filter(request.query_params)
    if not narrows(parse(raw)):
        raise InvalidInput(
            "filters must name whose memories to delete, e.g. {'user_id': 'alice'}, or what their metadata holds"
        )
    return _run_deletion(
        forgetting.record_deletion(project_of(request), raw_filter=raw, entity=None, key=key_of(request))
    )


def delete_entity(request: Request, kind: str, name: str) -> Event:
    entity = {"type": kind, "name": name}
    return _run_deletion(
        forgetting.record_deletion(project_of(request), raw_filter=None, entity=entity, key=key_of(request))
    )


def _run_deletion(event: Event) -> Event:
    tasks.enqueue(event)
    return wait_for(event, DELETE_WAIT_S)
