"""Summaries: of a session, as a tree (+), and of the memories that a filter lets through."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import jobs, overview, project_llm, session_summaries, tasks
from memory_service.filters import ENTITY_FIELDS, parse
from memory_service.models import Event, EventStatus, Session, SummaryNode

from . import handlers
from .events import PageSerializer
from .memories import body_of
from .paging import paginate
from .rendering import iso
from .serializers import EntityIdsSerializer, validated
from .sessions import PAGING, find_session

SUMMARY_WAIT_S = 30.0  # a model's answer; the event goes on after it
TREE = SummaryNode.Workflow.HIERARCHICAL


class SummarySerializer(EntityIdsSerializer):
    filters = serializers.JSONField(required=False, allow_null=True)

    def to_raw_filter(self) -> dict[str, Any] | None:
        data = self.validated_data
        parts: list[Any] = [{name: data[name]} for name in ENTITY_FIELDS if data.get(name)]
        parts += [data["filters"]] if data.get("filters") else []
        parse({"AND": parts} if parts else None)
        return {"AND": parts} if parts else None


@extend_schema(request=SummarySerializer, responses=OpenApiTypes.OBJECT, tags=["summaries"])
@api_view(["POST"])
def summary(request: Request) -> Response:
    """A summary of what a filter lets through. A language model works in the background, and this waits for it; where
    that takes too long the answer is PENDING, and `event_id` leads to the summary."""
    project = handlers.project_of(request)
    asked = validated(SummarySerializer(data=body_of(request))).to_raw_filter()
    if not settings.ENV.llm_model or project_llm.llm_of(project) is None:
        found = overview.summarise_local(project, asked)
        return Response({"status": EventStatus.SUCCEEDED, **found.as_result(), "notes": found.notes})
    event = jobs.record_job(project, Event.Type.SUMMARY, {"filters": asked})
    tasks.enqueue(event)
    event = handlers.wait_for(event, SUMMARY_WAIT_S)
    answer: dict[str, Any] = {"status": event.status, "event_id": str(event.public_id), "notes": event.notes}
    if event.status == EventStatus.SUCCEEDED:
        return Response({**answer, **event.results[0]})
    if event.status == EventStatus.FAILED:
        found = overview.summarise_local(project, asked)
        notes = [f"the language model gave no summary: {event.error}"]
        return Response({**answer, "status": EventStatus.SUCCEEDED, **found.as_result(), "notes": notes})
    return Response({**answer, "summary": None})


class RebuildSerializer(serializers.Serializer[Any]):
    max_words = serializers.IntegerField(
        default=session_summaries.DEFAULT_WORDS,
        min_value=session_summaries.MIN_WORDS,
        max_value=session_summaries.MAX_WORDS,
    )


class LevelSerializer(PageSerializer):
    level = serializers.IntegerField(required=False, min_value=0, max_value=100)


@extend_schema(
    methods=["GET"],
    parameters=[OpenApiParameter("level", int), *PAGING],
    responses=OpenApiTypes.OBJECT,
    tags=["sessions +"],
)
@extend_schema(methods=["POST"], request=RebuildSerializer, responses=OpenApiTypes.OBJECT, tags=["sessions +"])
@api_view(["GET", "POST"])
def session_summary(request: Request, session_id: str) -> Response:
    """GET: the session's summary and the tree it was built from; `level` adds the nodes of one level. POST: build the
    tree, over all messages; `event_id` follows that."""
    session = find_session(request, session_id)
    if request.method == "POST":
        max_words = validated(RebuildSerializer(data=body_of(request))).validated_data["max_words"]
        options = {"session": str(session.public_id), "max_words": max_words}
        event = jobs.record_job(handlers.project_of(request), Event.Type.SUMMARY, options)
        tasks.enqueue(event)
        event.refresh_from_db()
        return Response(
            {"message": "The summary is being built", "status": event.status, "event_id": str(event.public_id)}
        )
    query = validated(LevelSerializer(data=request.query_params)).validated_data
    answer = _render_tree(session)
    if "level" in query:
        rows = session.summary_nodes.filter(workflow=TREE, level=query["level"]).order_by("index")
        page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
        answer |= {**envelope, "results": [_render_node(node) for node in page]}
    return Response(answer)


def _render_tree(session: Session) -> dict[str, Any]:
    nodes = session.summary_nodes.filter(workflow=TREE)
    live = session.summary_nodes.filter(workflow=SummaryNode.Workflow.INCREMENTAL)
    levels = sorted(set(nodes.values_list("level", flat=True)))
    newest = nodes.order_by("-level", "index").first()
    return {
        "session_id": str(session.public_id),
        "summary": session.summary or None,
        "summarised_messages": session.summary_seq + 1,
        "num_messages": session.num_messages,
        "root": _render_node(newest) if newest else None,
        "levels": [{"level": level, **_error(nodes.filter(level=level))} for level in levels],
        "length_error": _error(nodes),
        "live": {**_render_node(live[0]), "length_error": _error(live)} if live else None,
    }


def _error(nodes: Any) -> dict[str, Any]:
    error = session_summaries.length_error(nodes)
    return {
        "num_nodes": nodes.count(),
        "written_by_model": error["num_nodes"],
        "mean_length_error": None if error["mean_error"] is None else round(error["mean_error"], 4),
        "longer_than_asked": error["num_over"],
    }


def _render_node(node: SummaryNode) -> dict[str, Any]:
    return {
        "level": node.level,
        "index": node.index,
        "first_seq": node.first_seq,
        "last_seq": node.last_seq,
        "text": node.text,
        "source_words": node.source_words,
        "asked_words": node.asked_words,
        "num_words": node.num_words,
        "num_tokens": node.num_tokens,
        "num_tries": node.num_tries,
        "method": node.method,
        "model": node.model or None,
        "created_at": iso(node.created_at),
    }
