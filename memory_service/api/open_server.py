"""The dialect of mem0's own open-source server: other paths and envelopes over the same handlers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import editing
from memory_service.errors import ServiceError
from memory_service.filters import ENTITY_FIELDS
from memory_service.models import EventStatus

from . import entities as platform_entities
from . import handlers, rendering
from .memories import QUERY, body_of
from .serializers import (
    MAX_PAGE_SIZE,
    MAX_TOP_K,
    AddSerializer,
    SearchSerializer,
    UpdateSerializer,
    validated,
)

TAGS = ["open-source server's dialect"]
DEFAULT_TOP_K = 100  # of a listing
WAIT_S = 60.0  # its callers expect what was remembered in the answer


@extend_schema(methods=["POST"], request=AddSerializer, responses=OpenApiTypes.OBJECT, tags=TAGS)
@extend_schema(
    methods=["GET", "DELETE"],
    parameters=QUERY,
    responses=OpenApiTypes.OBJECT,
    tags=TAGS,
)
@api_view(["GET", "POST", "DELETE"])
def memories(request: Request) -> Response:
    if request.method == "POST":
        return Response({"results": _added(request)})
    if request.method == "DELETE":
        handlers.delete_matching(request)
        return Response({"message": "All relevant memories deleted"})
    data: dict[str, Any] = {
        k: request.query_params[k] for k in (*ENTITY_FIELDS, "show_expired") if k in request.query_params
    }
    data["page_size"] = _read_top_k(request)
    return Response({"results": handlers.list_page(request, data, refuse_top_level=False)["results"]})


class TopKSerializer(serializers.Serializer[Any]):
    top_k = serializers.IntegerField(required=False, min_value=1, max_value=MAX_TOP_K)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_TOP_K)


def _read_top_k(request: Request) -> int:
    """How many to list: never more than a page."""
    given = {name: request.query_params[name] for name in ("top_k", "limit") if request.query_params.get(name)}
    asked = validated(TopKSerializer(data=given)).validated_data
    return min(asked.get("top_k") or asked.get("limit") or DEFAULT_TOP_K, MAX_PAGE_SIZE)


def _added(request: Request) -> list[dict[str, Any]]:
    event = handlers.add(request, body_of(request), default_wait_s=WAIT_S)
    if event.status == EventStatus.FAILED:
        raise ServiceError(event.error)
    if event.status != EventStatus.SUCCEEDED:
        return [{"id": None, "memory": None, "event": event.status, "event_id": str(event.public_id)}]
    return [{"id": r["id"], "memory": r["data"]["memory"], "event": r["event"]} for r in event.results]


@extend_schema(request=UpdateSerializer, responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["GET", "PUT", "DELETE"])
def memory(request: Request, memory_id: str) -> Response:
    project = handlers.project_of(request)
    if request.method == "PUT":
        data = body_of(request)
        text = data.get("text") or data.get("memory") or data.get("data")
        change = validated(UpdateSerializer(data={**data, **({"text": text} if text else {})})).to_change()
        editing.update_memory(project, memory_id, change)
        return Response({"message": "Memory updated successfully!"})
    if request.method == "DELETE":
        editing.delete_memory(project, memory_id)
        return Response({"message": "Memory deleted successfully"})
    return Response(handlers.render_one(editing.find_memory(project, memory_id)))


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["GET"])
def history(request: Request, memory_id: str) -> Response:
    return Response(
        rendering.render_history(editing.find_memory(handlers.project_of(request), memory_id, states=editing.WITH_PAST))
    )


@extend_schema(request=SearchSerializer, responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["POST"])
def search(request: Request) -> Response:
    return Response(handlers.search(request, body_of(request), refuse_top_level=False))


@extend_schema(operation_id="open_server_list_entities", responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["GET"])
def entities(request: Request) -> Response:
    project = handlers.project_of(request)
    kinds = platform_entities.TYPES
    return Response([one for kind in kinds for one in platform_entities.find_entities(project, kind)])


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["DELETE"])
def entity(request: Request, kind: str, name: str) -> Response:
    platform_entities.find_entity(request, kind, name)  # what is not there is not found, as everywhere
    handlers.delete_entity(request, kind, name)
    return Response({"message": "Entity deleted successfully"})
