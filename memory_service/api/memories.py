"""Memories, in the platform's current generation (v3) and the two before it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import editing
from memory_service.errors import InvalidInput
from memory_service.filters import ENTITY_FIELDS
from memory_service.models import EventStatus

from . import handlers, rendering
from .serializers import (
    AddSerializer,
    BatchDeleteSerializer,
    BatchUpdateSerializer,
    FeedbackSerializer,
    ListSerializer,
    SearchSerializer,
    UpdateSerializer,
    validated,
)

DELETED = "Memories deleted successfully!"
QUERY = [OpenApiParameter(name, str) for name in ENTITY_FIELDS]


def body_of(request: Request) -> dict[str, Any]:
    """The body, where it is an object. Raises ParseError in its parser, InvalidInput here."""
    if not isinstance(request.data, dict):
        raise InvalidInput(f"the body must be a JSON object, not {type(request.data).__name__}")
    return request.data


@extend_schema(request=AddSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["POST"])
def add(request: Request) -> Response:
    """Accept messages. They are kept before this answers, and processed after; `event_id` follows that."""
    return Response(handlers.added(handlers.add(request, body_of(request))))


@extend_schema(request=SearchSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["POST"])
def search(request: Request) -> Response:
    """The memories that answer a question, best first."""
    return Response(handlers.search(request, body_of(request), refuse_top_level=True))


@extend_schema(request=ListSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["POST"])
def list_memories(request: Request) -> Response:
    """A page of what a filter lets through, newest first."""
    return Response(handlers.list_page(request, body_of(request), refuse_top_level=True))


@extend_schema(request=UpdateSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["GET", "PUT", "DELETE"])
def memory(request: Request, memory_id: str) -> Response:
    """Read, change or delete one memory. A deletion keeps the history."""
    project = handlers.project_of(request)
    if request.method == "PUT":
        change = validated(UpdateSerializer(data=body_of(request))).to_change()
        return Response(handlers.render_one(editing.update_memory(project, memory_id, change)))
    if request.method == "DELETE":
        linked = request.query_params.get("delete_linked", "").lower() in ("true", "1")
        count = editing.delete_memory(project, memory_id, linked=linked)
        return Response({"message": "Memory deleted successfully!", "cascade_count": count - 1})
    return Response(handlers.render_one(editing.find_memory(project, memory_id)))


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["GET"])
def history(request: Request, memory_id: str) -> Response:
    """Every step in a memory's life, why it was taken and which messages caused it. Deleted memories keep theirs."""
    found = editing.find_memory(handlers.project_of(request), memory_id, states=editing.WITH_PAST)
    return Response(rendering.render_history(found))


@extend_schema(methods=["PUT"], request=BatchUpdateSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@extend_schema(methods=["DELETE"], request=BatchDeleteSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["PUT", "DELETE"])
def batch(request: Request) -> Response:
    """Change or delete up to 1,000 memories: all of them, or none where one cannot be."""
    project = handlers.project_of(request)
    if request.method == "PUT":
        changes = validated(BatchUpdateSerializer(data=body_of(request))).to_changes()
        count = editing.update_batch(project, changes)
        return Response({"message": f"Successfully updated {count} memories"})
    items = validated(BatchDeleteSerializer(data=body_of(request))).validated_data["memories"]
    count = editing.delete_batch(project, [item["memory_id"] for item in items])
    return Response({"message": f"Successfully deleted {count} memories"})


@extend_schema(request=FeedbackSerializer, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["POST"])
def feedback(request: Request) -> Response:
    """Say that a memory was good or bad; null takes it back."""
    data = validated(FeedbackSerializer(data=body_of(request))).validated_data
    found = editing.give_feedback(
        handlers.project_of(request), data["memory_id"], data["feedback"], data.get("feedback_reason")
    )
    return Response({"id": str(found.public_id), "feedback": found.feedback, "feedback_reason": found.feedback_reason})


# Older generations


@extend_schema(methods=["POST"], request=AddSerializer, responses=OpenApiTypes.OBJECT, tags=["older clients"])
@extend_schema(methods=["GET"], parameters=QUERY, responses=OpenApiTypes.OBJECT, tags=["older clients"])
@extend_schema(methods=["DELETE"], parameters=QUERY, responses=OpenApiTypes.OBJECT, tags=["memories"])
@api_view(["GET", "POST", "DELETE"])
def memories_v1(request: Request) -> Response:
    """Add and list as clients before v3 do; and delete by filter, which all generations do here."""
    if request.method == "DELETE":
        event = handlers.delete_matching(request)
        return Response({"message": DELETED, "event_id": str(event.public_id)})
    if request.method == "POST":
        return Response(_added_v1(request))
    data = {k: v for k, v in request.query_params.items() if k not in ("org_id", "project_id", "fields", "categories")}
    for name in ("fields", "categories"):
        if name in request.query_params:
            data[name] = [part for value in request.query_params.getlist(name) for part in value.split(",")]
    return Response(_listed(request, handlers.list_page(request, data, refuse_top_level=False), data))


def _added_v1(request: Request) -> Any:
    data = body_of(request)
    event = handlers.add(request, data)
    answer = event.results if event.status == EventStatus.SUCCEEDED else [handlers.added(event)]
    return {"results": answer, "relations": []} if data.get("output_format") == "v1.1" else answer


def _listed(request: Request, page: dict[str, Any], data: dict[str, Any]) -> Any:
    """A bare list, unless a page or the later format was asked for."""
    if "page" in request.query_params or "page" in data:
        return page
    if data.get("output_format") == "v1.1" or "relations" in page:
        return {name: page[name] for name in ("results", "relations") if name in page}
    return page["results"]


@extend_schema(request=ListSerializer, responses=OpenApiTypes.OBJECT, tags=["older clients"])
@api_view(["POST"])
def list_v2(request: Request) -> Response:
    data = body_of(request)
    return Response(_listed(request, handlers.list_page(request, data, refuse_top_level=False), data))


@extend_schema(request=SearchSerializer, responses=OpenApiTypes.OBJECT, tags=["older clients"])
@api_view(["POST"])
def search_older(request: Request) -> Response:
    """v1 and v2: entity ids may stand at the top level, and the answer is a bare list."""
    data = body_of(request)
    answer = handlers.search(request, data, refuse_top_level=False)
    if data.get("output_format") == "v1.1" or "relations" in answer:
        return Response({"relations": [], **answer})
    return Response(answer["results"])
