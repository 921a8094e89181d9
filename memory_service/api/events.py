"""Events: what became of an add or a deletion."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service.errors import NotFound
from memory_service.models import Event, EventStatus

from . import handlers, rendering
from .paging import paginate
from .serializers import MAX_PAGE_SIZE, validated


class PageSerializer(serializers.Serializer[Any]):
    page = serializers.IntegerField(default=1, min_value=1, max_value=10**9)
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=MAX_PAGE_SIZE)


class EventQuerySerializer(PageSerializer):
    status = serializers.ChoiceField(choices=EventStatus.values, required=False)
    event_type = serializers.ChoiceField(choices=Event.Type.values, required=False)

    def to_internal_value(self, data: Any) -> Any:
        given = {k: data[k] for k in data}
        given.setdefault("event_type", given.get("type"))
        upper = {k: str(given[k]).upper() for k in ("status", "event_type") if given.get(k)}
        paging = {k: given[k] for k in ("page", "page_size") if k in given}
        return super().to_internal_value({**paging, **upper})


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["events"])
@api_view(["GET"])
def event(request: Request, event_id: str) -> Response:
    """One event: its status, its results or its error, its notes, and what language models it used."""
    found = Event.objects.filter(project=handlers.project_of(request), public_id=event_id).first()
    if found is None:
        raise NotFound(f"event {event_id} was not found in this project")
    return Response({**rendering.render_event(found), "usage": rendering.render_usage(found)})


@extend_schema(
    parameters=[OpenApiParameter(name, str) for name in ("status", "event_type", "page", "page_size")],
    responses=OpenApiTypes.OBJECT,
    tags=["events"],
)
@api_view(["GET"])
def events(request: Request) -> Response:
    """The project's events, newest first."""
    query = validated(EventQuerySerializer(data=request.query_params)).validated_data
    rows = Event.objects.filter(project=handlers.project_of(request))
    if "status" in query:
        rows = rows.filter(status=query["status"])
    if "event_type" in query:
        rows = rows.filter(type=query["event_type"])
    page, envelope = paginate(request, rows.order_by("-id"), page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [rendering.render_event(one) for one in page]})
