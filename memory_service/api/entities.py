"""Users, agents, apps and runs: who has memories here, and the end of them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Count, Max, Min, Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service.errors import InvalidInput, NotFound
from memory_service.models import Project, Scope, Session
from memory_service.validation import check_text

from . import handlers
from .events import PageSerializer
from .paging import paginate_list
from .rendering import iso
from .serializers import validated

TYPES = ("user", "agent", "app", "run")
LIVE = Q(memories__state="live")


def find_entities(project: Project, kind: str, name: str | None = None) -> list[dict[str, Any]]:
    """The entities of one type, by name; or the one of that name."""
    rows: Any = (
        Scope.objects.filter(project=project) if kind != "run" else Session.objects.filter(scope__project=project)
    )
    column = f"{kind}_id"
    rows = rows.filter(**({f"{column}__isnull": False} if name is None else {column: name}))
    counted = rows.values(column).annotate(
        total=Count("memories", filter=LIVE, distinct=True),
        first=Min("created_at"),
        last=Max("memories__created_at"),
    )
    return [_render(project, kind, row[column], row) for row in counted.order_by(column)]


def _render(project: Project, kind: str, name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(project.public_id, f"{kind}:{name}")),
        "name": name,
        "type": kind,
        "owner": None,
        "metadata": {},
        "created_at": iso(row["first"]),
        "updated_at": iso(row["last"] or row["first"]),
        "total_memories": row["total"],
    }


@extend_schema(
    parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
    responses=OpenApiTypes.OBJECT,
    tags=["entities"],
)
@api_view(["GET"])
def entities(request: Request) -> Response:
    """Everyone with memories in the project; all on one page unless pages are asked for."""
    project = handlers.project_of(request)
    by_type = {kind: find_entities(project, kind) for kind in TYPES}
    found = [entity for kind in TYPES for entity in by_type[kind]]
    totals = {f"total_{kind}s": len(by_type[kind]) for kind in TYPES}
    links: dict[str, Any] = {"count": len(found), "next": None, "previous": None}
    if "page" in request.query_params or "page_size" in request.query_params:
        found, links = _page(request, found)
    return Response({**links, "results": found, **totals})


def _page(request: Request, found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    query = validated(PageSerializer(data=request.query_params)).validated_data
    return paginate_list(request, found, page=query["page"], page_size=query["page_size"])


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["entities"])
@api_view(["GET", "DELETE"])
def entity(request: Request, kind: str, name: str) -> Response:
    """One entity. DELETE destroys every trace of it: messages, memories, their history and vectors."""
    found = find_entity(request, kind, name)
    if request.method == "DELETE":
        event = handlers.delete_entity(request, kind, name)
        return Response({"message": "Entity deleted successfully!", "event_id": str(event.public_id)})
    return Response(found)


def find_entity(request: Request, kind: str, name: str) -> dict[str, Any]:
    if kind not in TYPES:
        raise InvalidInput(f"entity type {kind!r} is unknown; accepted are {', '.join(TYPES)}")
    found = find_entities(handlers.project_of(request), kind, check_text(name, name="entity name"))
    if not found:
        raise NotFound(f"{kind} {name!r} was not found in this project")
    return found[0]
