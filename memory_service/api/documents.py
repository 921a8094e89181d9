"""+ Documents: sent as text or as a file, searched by their chunks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, parser_classes
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from chunking.strategies import STRATEGIES
from memory_service import document_search, document_storage, tasks
from memory_service import documents as stage
from memory_service.document_stages import DELETED
from memory_service.errors import InvalidInput, TooLarge
from memory_service.filters import ENTITY_FIELDS, parse
from memory_service.ingest import EntityIds
from memory_service.models import Document, DocumentChunk, DocumentChunking, Event, JobStatus
from memory_service.models.conversation import MAX_NAME_CHARS
from memory_service.models.documents import MAX_SOURCE_CHARS, MAX_TITLE_CHARS
from memory_service.parsing.formats import MEDIA_TYPES
from memory_service.parsing.types import storable
from memory_service.validation import check_json

from . import handlers
from .events import PageSerializer
from .memories import body_of
from .paging import paginate
from .parsing import StrictJSONParser
from .rendering import iso
from .serializers import MAX_WAIT_S, EntityIdsSerializer, NumberField, check_metadata, validated

TAG = ["documents +"]
INLINE_TYPES = tuple(MEDIA_TYPES[name] for name in ("text", "markdown", "html"))
FORM_ROOM_BYTES = 2**20  # of a form, beside its file
MAX_CONTENT_CHARS = 1_000_000  # in one answer
PAGING = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]


class WishSerializer(serializers.Serializer[Any]):
    strategy = serializers.CharField(
        required=False, allow_null=True, max_length=50, help_text="how it is cut: GET /v1/documents/strategies/"
    )
    options = serializers.DictField(required=False, allow_null=True, help_text="of the strategy")
    wait_s = NumberField(default=0, min_value=0, max_value=MAX_WAIT_S)


class ChangeSerializer(WishSerializer):
    content = serializers.CharField(
        required=False, trim_whitespace=False, help_text="the text; or a form with the field `file`"
    )
    media_type = serializers.CharField(required=False, allow_blank=True, max_length=200)
    title = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=MAX_TITLE_CHARS)
    metadata = serializers.DictField(required=False, allow_null=True)

    def validate_metadata(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return check_metadata(value)


class DocumentSerializer(EntityIdsSerializer, ChangeSerializer):
    source = serializers.CharField(  # type: ignore[assignment]
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=MAX_SOURCE_CHARS,
        help_text="where it came from; the same source again edits the document",
    )


class UploadSerializer(DocumentSerializer):
    """For the API's description: the same as a form."""

    file = serializers.FileField()
    metadata = serializers.CharField(required=False, help_text="JSON")  # type: ignore[assignment]
    options = serializers.CharField(required=False, help_text="JSON")  # type: ignore[assignment]


class DocumentQuerySerializer(PageSerializer):
    user_id = serializers.CharField(required=False)
    agent_id = serializers.CharField(required=False)
    app_id = serializers.CharField(required=False)
    run_id = serializers.CharField(required=False)
    state = serializers.ChoiceField(choices=JobStatus.values, required=False)
    source = serializers.CharField(required=False, max_length=MAX_SOURCE_CHARS)  # type: ignore[assignment]
    title = serializers.CharField(required=False, max_length=MAX_TITLE_CHARS)
    filters = serializers.CharField(required=False, max_length=100_000)


class SpanSerializer(serializers.Serializer[Any]):
    start = serializers.IntegerField(default=0, min_value=0, max_value=2**62)
    end = serializers.IntegerField(required=False, min_value=0, max_value=2**62)


# Sending


@extend_schema(
    methods=["POST"],
    request={"application/json": DocumentSerializer, "multipart/form-data": UploadSerializer},
    responses={200: OpenApiTypes.OBJECT, 202: OpenApiTypes.OBJECT},
    tags=TAG,
)
@extend_schema(methods=["GET"], parameters=[DocumentQuerySerializer], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST"])
@parser_classes([StrictJSONParser, MultiPartParser])
def documents(request: Request) -> Response:
    """POST: keep a document. It is kept before this answers and read after; `event_id` follows that. The same document
    again is the same; a `source` that sends another content edits its document. GET: the documents, newest first."""
    if request.method == "GET":
        return _list(request)
    data, file = _read(request)
    parser = validated(DocumentSerializer(data=data))
    new = _to_new(parser.validated_data, file)
    if not any((new.ids.user_id, new.ids.agent_id, new.ids.app_id, new.ids.run_id)):
        raise InvalidInput(f"name whose document this is: at least one of {', '.join(ENTITY_FIELDS)} is needed")
    return _answer(request, stage.receive(handlers.project_of(request), new), parser.validated_data["wait_s"])


def _read(request: Request) -> tuple[Mapping[str, Any], Any]:
    """(fields, file), of a form or of JSON; the file is None where JSON has no content."""
    if request.content_type and request.content_type.startswith("multipart/"):
        limit = settings.ENV.document_max_mb * 2**20
        length = str(request.META.get("CONTENT_LENGTH") or "")
        if length.isdecimal() and int(length) > limit + FORM_ROOM_BYTES:
            raise TooLarge(f"the document is over {settings.ENV.document_max_mb} MB: split it")
        form: Any = request.data
        fields = {name: form[name] for name in form if name not in request.FILES}
        for name in ("metadata", "options"):
            if name in fields:
                fields[name] = _json_field(name, fields[name])
        check_json(fields, name="form")
        return fields, request.FILES.get("file")
    return body_of(request), None


def _json_field(name: str, text: str) -> Any:
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"{name} is not JSON: {exc}") from exc
    check_json(found, name=name)
    if not isinstance(found, dict):
        raise InvalidInput(f"{name} must be a JSON object, not {type(found).__name__}")
    return found


def _to_new(data: Mapping[str, Any], file: Any, *, needs_file: bool = True) -> stage.NewDocument:
    """Raises InvalidInput where there is no content and one is needed."""
    content, media_type = data.get("content"), (data.get("media_type") or "").strip()
    if file is not None and content is not None:
        raise InvalidInput("send content or a file, not both")
    filename = ""
    if file is not None:
        filename = storable(PurePosixPath(str(file.name or "")).name)[:MAX_NAME_CHARS]
        media_type = media_type or str(file.content_type or "")
    elif content is not None:
        media_type = media_type or MEDIA_TYPES["text"]
        if media_type.partition(";")[0].strip().lower() not in INLINE_TYPES:
            raise InvalidInput(
                f"media_type={media_type[:80]!r} cannot be sent as content; accepted are {', '.join(INLINE_TYPES)}: "
                "send other formats as a file, in a form"
            )
    elif needs_file:
        raise InvalidInput("there is no document: send content as text, or a form with the field 'file'")
    return stage.NewDocument(
        ids=EntityIds(**{name: data.get(name) or None for name in ENTITY_FIELDS}),
        file=file.file if file is not None else io.BytesIO((content or "").encode()),
        filename=filename,
        media_type=media_type,
        title=data.get("title"),
        source=data.get("source") or "",
        metadata=data.get("metadata"),
        strategy=data.get("strategy") or None,
        options=data.get("options"),
    )


def _answer(request: Request, received: stage.Received, wait_s: float) -> Response:
    """The document, with the event that follows what was begun."""
    event = received.event
    if event is not None:
        if received.changed:
            tasks.enqueue(event)
            event.refresh_from_db()
        handlers.wait_for(event, wait_s)
    rows = Document.objects.select_related("content", "event").filter(pk=received.document.pk)
    found = rows.first()
    if found is None or found.deleted_at is not None:
        raise InvalidInput(DELETED)
    waits = found.state in (JobStatus.PENDING, JobStatus.RUNNING)
    told = {"made": received.made, "changed": received.changed}
    return Response({**render_document(found), **told}, status=202 if waits else 200)


# One document


@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["DELETE"], responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["PUT", "PATCH"], request=ChangeSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "PUT", "PATCH", "DELETE"])
@parser_classes([StrictJSONParser, MultiPartParser])
def document(request: Request, document_id: str) -> Response:
    """A document and how far the work on it is. PUT, PATCH: other content, title or metadata; what is not named stays.
    DELETE closes it; what it was stays until whoever it belongs to is forgotten."""
    project = handlers.project_of(request)
    if request.method == "GET":
        return Response(render_document(stage.find(project, document_id)))
    if request.method == "DELETE":
        stage.delete(project, document_id)
        return Response({"message": "Document deleted successfully!"})
    data, file = _read(request)
    parsed = validated(ChangeSerializer(data=data)).validated_data
    if file is not None or parsed.get("content") is not None:
        received = stage.edit(project, document_id, _to_new(parsed, file))
        return _answer(request, received, parsed["wait_s"])
    if parsed.get("strategy") or parsed.get("options"):
        raise InvalidInput("strategy and options alone: POST /v1/documents/{id}/rechunk/ cuts a document anew")
    if parsed.get("title") is None and parsed.get("metadata") is None:
        raise InvalidInput("nothing to change: send at least one of content, file, title, metadata")
    stage.change(project, document_id, title=parsed.get("title"), metadata=parsed.get("metadata"))
    return Response(render_document(stage.find(project, document_id)))


@extend_schema(
    parameters=[OpenApiParameter("start", int), OpenApiParameter("end", int)], responses=OpenApiTypes.OBJECT, tags=TAG
)
@api_view(["GET"])
def content(request: Request, document_id: str) -> Response:
    """The text that is searched: `start` to `end`, in characters, at most a million at once. Spans of chunks and of
    citations are places in it."""
    asked = validated(SpanSerializer(data=request.query_params)).validated_data
    found = stage.current_content(stage.find(handlers.project_of(request), document_id))
    start = min(asked["start"], found.num_chars)
    end = min(asked.get("end", found.num_chars), found.num_chars, start + MAX_CONTENT_CHARS)
    if asked.get("end", start) < asked["start"]:
        raise InvalidInput(f"end={asked['end']} is before start={asked['start']}")
    text = document_storage.read_text(found, start, end)
    more = end < min(asked.get("end", found.num_chars), found.num_chars)
    told = {"start": start, "end": end, "num_chars": found.num_chars, "next_start": end if more else None}
    return Response({"text": text, **told})


@extend_schema(parameters=PAGING, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET"])
def chunks(request: Request, document_id: str) -> Response:
    """The chunks that it is searched by, in the order of the text, with their spans, pages and headings."""
    query = validated(PageSerializer(data=request.query_params)).validated_data
    found = stage.find(handlers.project_of(request), document_id)
    rows = stage.chunks_of(found)
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    content_id = stage.current_content(found).pk
    pages = document_search.load_pages([(content_id, one.start, one.end) for one in page])
    return Response({**envelope, "results": [render_chunk(one, pages.get(i)) for i, one in enumerate(page)]})


# Chunkings


@extend_schema(request=WishSerializer, responses={202: OpenApiTypes.OBJECT}, tags=TAG)
@api_view(["POST"])
def rechunk(request: Request, document_id: str) -> Response:
    """Cut it anew, beside what serves, which serves on until the new chunks can all be found."""
    data = validated(WishSerializer(data=body_of(request))).validated_data
    received = stage.rechunk(
        handlers.project_of(request),
        document_id,
        strategy=data.get("strategy") or None,
        options=data.get("options"),
    )
    return _answer(request, received, data["wait_s"])


@extend_schema(parameters=PAGING, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET"])
def chunkings(request: Request, document_id: str) -> Response:
    """Every chunking that it has had, newest first; one of them serves."""
    query = validated(PageSerializer(data=request.query_params)).validated_data
    rows = stage.chunkings_of(stage.find(handlers.project_of(request), document_id))
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_chunking(one) for one in page]})


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def switch(request: Request, document_id: str, chunking_id: str) -> Response:
    """Let a chunking serve that served before, with the text that it is of."""
    project = handlers.project_of(request)
    stage.switch(project, document_id, chunking_id)
    return Response(render_document(stage.find(project, document_id)))


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET"])
def strategies(request: Request) -> Response:
    """The ways to cut a document, and which needs what."""
    known = sorted(STRATEGIES.values(), key=lambda one: one.name)
    told = [{"name": one.name, "description": one.description, "needs": list(one.needs)} for one in known]
    return Response({"default": stage.DEFAULT_STRATEGY, "results": told})


# Listing and rendering


def _list(request: Request) -> Response:
    query = validated(DocumentQuerySerializer(data=request.query_params)).validated_data
    named = {name: query[name] for name in ENTITY_FIELDS if name in query}
    parts = [part for part in (named, _json_field("filters", query["filters"]) if "filters" in query else None) if part]
    rows = document_search.visible(handlers.project_of(request), parse({"AND": parts} if parts else None))
    for name, lookup in (("state", "state"), ("source", "source"), ("title", "title__icontains")):
        if name in query:
            rows = rows.filter(**{lookup: query[name]})
    rows = rows.select_related("content", "event").order_by("-id")
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    serving = stage.serving_of(page)
    return Response({**envelope, "results": [_render(one, serving.get(one.pk)) for one in page]})


def render_document(found: Document) -> dict[str, Any]:
    return _render(found, stage.serving_of([found]).get(found.pk))


def _render(found: Document, serving: DocumentChunking | None) -> dict[str, Any]:
    """What is searched is of the serving chunking; before there is one, of the content that was sent."""
    shown = serving.version.content if serving else found.content
    return {
        "id": str(found.public_id),
        "title": found.title or None,
        "source": found.source or None,
        "filename": found.filename or None,
        "media_type": stage.media_type_of(shown),
        "user_id": found.user_id,
        "agent_id": found.agent_id,
        "app_id": found.app_id,
        "run_id": found.run_id,
        "metadata": found.metadata or None,
        "state": found.state,
        "error": found.error or None,
        "event_id": str(found.event.public_id) if found.event else None,
        "progress": _render_progress(found, found.event),
        "version": serving.version.number if serving else None,
        "chunking_id": str(serving.public_id) if serving else None,
        "strategy": serving.chunking.strategy if serving else found.strategy,
        "options": serving.chunking.options if serving else found.options,
        "num_bytes": shown.num_bytes,
        "sha256": shown.sha256,
        "num_pages": shown.num_pages,
        "num_chars": shown.num_chars,
        "num_chunks": serving.chunking.num_chunks if serving else None,
        "num_embedded": serving.num_embedded if serving else None,
        "num_reused": serving.num_reused if serving else None,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
    }


def _render_progress(found: Document, event: Event | None) -> dict[str, Any] | None:
    """None where nothing is under way."""
    if found.state not in (JobStatus.PENDING, JobStatus.RUNNING):
        return None
    progress = stage.progress_of(found, event)
    return {
        "stage": progress.stage,
        "pages": {"done": progress.pages[0], "total": progress.pages[1]},
        "chunks": {"done": progress.chunks[0], "total": progress.chunks[1]},
    }


def render_chunk(one: DocumentChunk, pages: tuple[int, int] | None) -> dict[str, Any]:
    return {
        "id": str(one.public_id),
        "ordinal": one.ordinal,
        "text": one.text,  # type: ignore[attr-defined]  # annotated
        "start": one.start,
        "end": one.end,
        "num_tokens": one.num_tokens,
        "page_start": pages[0] if pages else None,
        "page_end": pages[1] if pages else None,
        "headings": one.headings,
        "kind": one.kind or None,
        "enrichment": one.enrichment,
    }


def render_chunking(one: DocumentChunking) -> dict[str, Any]:
    return {
        "id": str(one.public_id),
        "state": one.state,
        "version": one.version.number,
        "strategy": one.chunking.strategy,
        "options": one.chunking.options,
        "num_chunks": one.chunking.num_chunks,
        "num_embedded": one.num_embedded,
        "num_reused": one.num_reused,
        "created_at": iso(one.created_at),
        "served_at": iso(one.served_at),
        "retired_at": iso(one.retired_at),
    }
