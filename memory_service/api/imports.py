"""+ Imports: a file or a list of memories, taken in line by line."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, parser_classes
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import importing, platform_tasks
from memory_service.errors import InvalidInput
from memory_service.filters import ENTITY_FIELDS
from memory_service.models import ImportJob, ImportLine

from . import handlers
from .events import PageSerializer
from .paging import paginate
from .parsing import StrictJSONParser
from .rendering import iso
from .serializers import NumberField, validated

TAG = ["imports +"]
FIRST_ERRORS = 20  # in the job's own answer; the rest is paged
MAX_WAIT_S = 60
OPTIONS = (*ENTITY_FIELDS, "wait_s")


class ImportSerializer(serializers.Serializer[Any]):
    """For the API's description: in JSON the list stands under `memories`, in multipart the file under `file`."""

    memories = serializers.ListField(child=serializers.DictField(), required=False)
    file = serializers.FileField(required=False)
    user_id = serializers.CharField(required=False, help_text="for lines that name nobody; the others alike")
    agent_id = serializers.CharField(required=False)
    app_id = serializers.CharField(required=False)
    run_id = serializers.CharField(required=False)
    wait_s = serializers.FloatField(required=False)


class WaitSerializer(serializers.Serializer[Any]):
    wait_s = NumberField(default=0, min_value=0, max_value=MAX_WAIT_S)


class LineQuerySerializer(PageSerializer):
    status = serializers.ChoiceField(choices=ImportLine.Status.values, required=False)


@extend_schema(methods=["POST"], request=ImportSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(
    methods=["GET"],
    parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
    responses=OpenApiTypes.OBJECT,
    tags=TAG,
)
@api_view(["GET", "POST"])
@parser_classes([StrictJSONParser, MultiPartParser])
def imports(request: Request) -> Response:
    """Take memories or messages in. Every line is kept before this answers; `GET /v1/imports/{id}/` follows it."""
    project = handlers.project_of(request)
    if request.method == "GET":
        query = validated(PageSerializer(data=request.query_params)).validated_data
        rows = ImportJob.objects.filter(project=project).order_by("-id")
        page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
        return Response({**envelope, "results": [render_job(one) for one in page]})
    items, options, source = read_request(request)
    wait_s = validated(WaitSerializer(data={k: options[k] for k in ("wait_s",) if k in options})).validated_data[
        "wait_s"
    ]
    defaults = {name: options.get(name) for name in ENTITY_FIELDS}
    job = importing.create_job(project, items, defaults=defaults, source=source)
    platform_tasks.enqueue_import(job)
    job.refresh_from_db()
    return Response(render_job(handlers.wait_for_job(job, wait_s)), status=202)


def read_request(request: Request) -> tuple[Any, dict[str, Any], str]:
    """Lines with their numbers, the options beside them, and what they came from."""
    data: Any = request.data
    if request.content_type and request.content_type.startswith("multipart/"):
        options = {name: data[name] for name in OPTIONS if name in data}
        file = request.FILES.get("file")
        if file is None:
            raise InvalidInput("there is no file: send it as the form's field 'file'")
        return importing.read_file(file), options, str(file.name or "")
    if not isinstance(data, dict | list):
        raise InvalidInput(f"the body must be a list of memories or an object, not {type(data).__name__}")
    options = {name: data[name] for name in OPTIONS if name in data} if isinstance(data, dict) else {}
    return importing.read_items(data), options, ""


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET"])
def job(request: Request, import_id: str) -> Response:
    """How far an import is, and its first errors with their line numbers."""
    return Response(render_job(importing.find_job(handlers.project_of(request), import_id)))


@extend_schema(
    parameters=[OpenApiParameter("status", str), OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
    responses=OpenApiTypes.OBJECT,
    tags=TAG,
)
@api_view(["GET"])
def lines(request: Request, import_id: str) -> Response:
    """What became of each line."""
    query = validated(LineQuerySerializer(data=request.query_params)).validated_data
    rows = importing.find_job(handlers.project_of(request), import_id).lines.order_by("number")
    if "status" in query:
        rows = rows.filter(status=query["status"])
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_line(one) for one in page]})


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def retry(request: Request, import_id: str) -> Response:
    """Try the lines that failed again."""
    found = importing.find_job(handlers.project_of(request), import_id)
    importing.retry_failed(found)
    platform_tasks.enqueue_import(found)
    found.refresh_from_db()
    return Response(render_job(found), status=202)


def render_job(found: ImportJob) -> dict[str, Any]:
    return {
        "id": str(found.public_id),
        "status": found.status,
        "source": found.source or None,
        "num_lines": found.num_lines,
        "lines": importing.progress(found),
        "errors": [{"line": one.number, "error": one.error} for one in importing.errors(found)[:FIRST_ERRORS]],
        "error": found.error or None,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
        "completed_at": iso(found.completed_at),
        "expires_at": iso(found.expires_at),
    }


def render_line(one: ImportLine) -> dict[str, Any]:
    """content: of a line that failed, to be mended and sent again."""
    return {
        "line": one.number,
        "status": one.status,
        "error": one.error or None,
        "memory_id": str(one.memory_public_id) if one.memory_public_id else None,
        "event_id": str(one.event_public_id) if one.event_public_id else None,
        "content": one.content,
    }
