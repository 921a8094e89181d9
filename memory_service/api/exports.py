"""Exports: in the shape of a schema, and whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, renderer_classes
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import exporting, platform_tasks
from memory_service.errors import InvalidInput
from memory_service.filters import ENTITY_FIELDS, parse
from memory_service.models import JobStatus, MemoryExport

from . import handlers
from .memories import body_of
from .rendering import iso
from .serializers import MAX_PAGE_SIZE, validated

TAG = ["exports"]
WAIT_S = 10.0  # for an export that was just asked for; most are done by then
RECEIVED = "Memory export request received. The export will be ready in a few seconds."
OTHER_FIELDS = ("session_id", "created_at", "updated_at", "categories", "metadata", "kind")  # short forms of filters


class ExportSerializer(serializers.Serializer[Any]):
    """For the API's description; the stage checks."""

    schema = serializers.JSONField(help_text="a JSON schema, as an object or as its JSON")
    filters = serializers.JSONField(required=False)
    export_instructions = serializers.CharField(required=False, help_text="wishes to the language model")


class WholeExportSerializer(serializers.Serializer[Any]):
    filters = serializers.JSONField(required=False, allow_null=True)
    states = serializers.JSONField(required=False, allow_null=True)
    format = serializers.ChoiceField(choices=["jsonl", "json"], default="jsonl")
    cursor = serializers.CharField(required=False, allow_null=True)
    page_size = serializers.IntegerField(default=100, min_value=1, max_value=MAX_PAGE_SIZE)


class LinesRenderer(BaseRenderer):
    """So that a caller may ask for lines and be told of an error in JSON all the same."""

    media_type = "application/x-ndjson"
    format = "jsonl"
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return json.dumps(data).encode()


@extend_schema(request=ExportSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def exports(request: Request) -> Response:
    """Ask for memories in the shape of a JSON schema. The answer names the export; `/v1/exports/get/` has the data."""
    body = body_of(request)
    made = exporting.create_export(
        handlers.project_of(request),
        schema=body.get("schema"),
        filters=read_filters(body),
        instructions=body.get("export_instructions"),
    )
    platform_tasks.enqueue_export(made)
    return Response({"message": RECEIVED, "id": str(made.public_id)})


@extend_schema(request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def get_export(request: Request) -> Response:
    """The data of an export, by `memory_export_id` or by the filters it was made with (the newest). 202 while it is
    not ready."""
    project = handlers.project_of(request)
    body = body_of(request)
    public_id = body.get("memory_export_id") or body.get("id")
    if public_id is not None:
        found = exporting.find_export(project, public_id)
    else:
        filters = read_filters(body)
        if filters is None:
            raise InvalidInput("say which export: memory_export_id, or the filters that it was made with")
        found = exporting.find_latest(project, filters)
    found = handlers.wait_for_job(found, WAIT_S)
    if found.status in (JobStatus.PENDING, JobStatus.RUNNING):
        message = "The export is not ready yet: ask again."
        return Response({"id": str(found.public_id), "status": found.status, "message": message}, status=202)
    return Response(exporting.data_of(found))


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "DELETE"])
def export(request: Request, export_id: str) -> Response:
    """+ An export's state, notes, and which memories each value rests on. DELETE removes it."""
    found = exporting.find_export(handlers.project_of(request), export_id)
    if request.method == "DELETE":
        found.delete()
        return Response({"message": "Export deleted successfully"})
    return Response(render_export(found))


@extend_schema(request=WholeExportSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
@renderer_classes([JSONRenderer, LinesRenderer])
def whole_export(request: Request) -> Any:
    """+ Memories with history, sources and entities: `jsonl` streams all, `json` answers page by page."""
    project = handlers.project_of(request)
    body = body_of(request)
    data = validated(WholeExportSerializer(data=body)).validated_data
    node, states = parse(read_filters(body)), exporting.read_states(data.get("states"))
    if data["format"] == "json":
        rows = exporting.exported(project, node, states)
        page, cursor = exporting.export_page(project, rows, after=data.get("cursor"), page_size=data["page_size"])
        return Response({"count": rows.count(), "results": page, "next_cursor": cursor})
    lines = exporting.export_lines(project, node, states)
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson")
    response["Content-Disposition"] = 'attachment; filename="memories.jsonl"'
    return response


def read_filters(body: Mapping[str, Any]) -> Any:
    """What narrows the export, in one filter: `filters`, and entity ids and short forms beside it. None for nothing."""
    given = {name: body[name] for name in (*ENTITY_FIELDS, *OTHER_FIELDS) if body.get(name) not in (None, "")}
    filters = body.get("filters")
    if filters not in (None, {}) and not isinstance(filters, dict):
        raise InvalidInput(f"filters must be an object such as {{'user_id': 'alice'}}, not {type(filters).__name__}")
    if not given:
        return filters or None
    return {"AND": [given, filters]} if filters else given


def render_export(found: MemoryExport) -> dict[str, Any]:
    return {
        "id": str(found.public_id),
        "status": found.status,
        "filters": found.filters,
        "num_memories": found.num_memories,
        "sources": found.sources,
        "notes": found.notes,
        "error": found.error or None,
        "created_at": iso(found.created_at),
        "completed_at": iso(found.completed_at),
        "expires_at": iso(found.expires_at),
    }
