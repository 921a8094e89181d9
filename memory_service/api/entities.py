"""Users, agents, apps and runs: who has memories here, and the end of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import Count, F, Func, Max, Min, Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from memory_service.errors import InvalidInput, NotFound
from memory_service.ingest import find_or_make_entity
from memory_service.models import Answer, EntityRecord, Event, Memory, MemoryState, Message, Project, Scope, Session
from memory_service.validation import check_text

from . import handlers
from .events import PageSerializer
from .memories import body_of
from .paging import paginate
from .rendering import LIFECYCLE, iso
from .serializers import MAX_PAGE_SIZE, NameField, check_metadata, validated

TYPES = ("user", "agent", "app", "run")
UNPAGED_PAGES = 5  # in the answer to who asks for no page
LIVE = Q(memories__state="live")


def _rows(project: Project, kind: str) -> Any:
    """What an entity of this type is known by: the scopes (or, for a run, sessions) that name one."""
    named = {f"{kind}_id__isnull": False}
    if kind == "run":
        return Session.objects.filter(scope__project=project, **named)
    return Scope.objects.filter(project=project, **named)


def find_entities(project: Project, kind: str, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The entities of one type, by name: all, or those of these names."""
    column = f"{kind}_id"
    rows = _rows(project, kind)
    if names is not None:
        rows = rows.filter(**{f"{column}__in": names})
    records = EntityRecord.objects.filter(project=project, type=kind)
    known = {one.name: one for one in (records if names is None else records.filter(name__in=names))}
    counted = rows.values(column).annotate(
        total=Count("memories", filter=LIVE, distinct=True),
        first=Min("created_at"),
        last=Max("memories__created_at"),
    )
    return [_render(project, kind, row[column], row, known.get(row[column])) for row in counted.order_by(column)]


def _render(project: Project, kind: str, name: str, row: dict[str, Any], record: EntityRecord | None) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(project.public_id, f"{kind}:{name}")),
        "name": name,
        "type": kind,
        "owner": None,
        "metadata": record.metadata if record else {},
        "created_at": iso(row["first"]),
        "updated_at": iso(row["last"] or row["first"]),
        "total_memories": row["total"],
    }


class AllEntities:
    """The project's entities of every type, type by type, of which only what is sliced out is read."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.counts = {kind: self.names(kind).count() for kind in TYPES}

    def names(self, kind: str) -> Any:
        return _rows(self.project, kind).values_list(f"{kind}_id", flat=True).distinct().order_by(f"{kind}_id")

    def count(self) -> int:
        return sum(self.counts.values())

    def __getitem__(self, at: slice) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        start, stop = at.start, at.stop
        for kind, count in self.counts.items():
            names = list(self.names(kind)[max(0, start) : stop]) if start < count and stop > 0 else []
            found += find_entities(self.project, kind, names) if names else []
            start, stop = start - count, stop - count
        return found


@extend_schema(
    parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
    responses=OpenApiTypes.OBJECT,
    tags=["entities"],
)
@api_view(["GET"])
def entities(request: Request) -> Response:
    """Everyone with memories in the project; the first thousand on one page unless pages are asked for."""
    rows = AllEntities(handlers.project_of(request))
    totals = {f"total_{kind}s": count for kind, count in rows.counts.items()}
    found, links = _page(request, rows)
    return Response({**links, "results": found, **totals})


def _page(request: Request, rows: AllEntities) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if "page" in request.query_params or "page_size" in request.query_params:
        query = validated(PageSerializer(data=request.query_params)).validated_data
        return paginate(request, rows, page=query["page"], page_size=query["page_size"])
    found, links = paginate(request, rows, page=1, page_size=UNPAGED_PAGES * MAX_PAGE_SIZE)
    if links["next"]:  # the pages that one can ask for are smaller
        following = replace_query_param(links["next"], "page", UNPAGED_PAGES + 1)
        links["next"] = replace_query_param(following, "page_size", MAX_PAGE_SIZE)
    return found, links


def _is_answered_about(request: Request, kind: str, name: str) -> bool:
    """Whether a kept answer names it: that is to be forgotten, too, of somebody without memories."""
    return kind in TYPES and Answer.objects.in_project(handlers.project_of(request)).naming(name).exists()


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["entities"])
@api_view(["GET", "DELETE"])
def entity(request: Request, kind: str, name: str) -> Response:
    """One entity. DELETE destroys every trace of it: messages, memories, their history and vectors."""
    check_text(name, name="entity name")
    found = (
        {}
        if request.method == "DELETE" and _is_answered_about(request, kind, name)
        else find_entity(request, kind, name)
    )
    if request.method == "DELETE":
        event = handlers.delete_entity(request, kind, name)
        return Response({"message": "Entity deleted successfully!", "event_id": str(event.public_id)})
    return Response(found)


def find_entity(request: Request, kind: str, name: str) -> dict[str, Any]:
    if kind not in TYPES:
        raise InvalidInput(f"entity type {kind!r} is unknown; accepted are {', '.join(TYPES)}")
    found = find_entities(handlers.project_of(request), kind, [check_text(name, name="entity name")])
    if not found:
        raise NotFound(f"{kind} {name!r} was not found in this project")
    return found[0]


class EntitySerializer(serializers.Serializer[Any]):
    """The name stands under the type's own field (user_id, agent_id, app_id, run_id), or under `name`."""

    name = NameField()
    user_id = NameField()
    agent_id = NameField()
    app_id = NameField()
    run_id = NameField()
    metadata = serializers.DictField(required=False, allow_null=True)

    def validate_metadata(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return check_metadata(value)


@extend_schema(request=EntitySerializer, responses=OpenApiTypes.OBJECT, tags=["entities"])
@api_view(["POST"])
def make_entity(request: Request, kind: str) -> Response:
    """Make a user, agent, app or run before it has memories, or change what is told about it. Adding a memory makes
    one too."""
    project = handlers.project_of(request)
    data = validated(EntitySerializer(data=body_of(request))).validated_data
    name = data.get(f"{kind}_id") or data.get("name")
    if not name:
        raise InvalidInput(f"{kind}_id must be given")
    made = find_or_make_entity(project, kind, name, metadata=data.get("metadata"))
    [found] = find_entities(project, kind, [name])
    return Response({**found, f"{kind}_id": name}, status=201 if made else 200)


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["entities"])
@api_view(["GET"])
def entity_filters(request: Request) -> Response:
    """What there is to filter by: the first names of each type, and the categories in use."""
    project = handlers.project_of(request)
    rows = AllEntities(project)
    names = {kind: list(rows.names(kind)[:MAX_PAGE_SIZE]) for kind in TYPES}
    live = Memory.objects.in_project(project).live()
    categories = live.annotate(one=Func(F("categories"), function="unnest")).values_list("one", flat=True)
    return Response(
        {
            "filters": [
                {"type": kind, "field": f"{kind}_id", "total": rows.counts[kind], "values": names[kind]}
                for kind in TYPES
            ],
            **{f"{kind}s": names[kind] for kind in TYPES},
            "categories": sorted(set(categories.distinct().order_by("one")[:1000])),
        }
    )


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["entities"])
@api_view(["GET"])
def stats(request: Request) -> Response:
    """How much there is. Searches are not recorded, so there is no number of them."""
    project = handlers.project_of(request)
    memories = Memory.objects.in_project(project)
    states = dict(memories.values_list("state").annotate(Count("pk")).order_by())
    kinds = dict(memories.live().values_list("kind").annotate(Count("pk")).order_by())
    events: dict[str, int] = {}
    for kind, count in Event.objects.filter(project=project).values_list("type").annotate(Count("pk")).order_by():
        events[kind] = count
    return Response(
        {
            "total_memories": states.get(MemoryState.LIVE, 0),
            "memories": {LIFECYCLE[state]: count for state, count in states.items()},
            "kinds": kinds,
            "total_add_events": events.get(Event.Type.ADD, 0),
            "total_delete_events": events.get(Event.Type.DELETE, 0),
            "total_search_events": None,
            "total_messages": Message.objects.filter(session__scope__project=project).count(),
            "total_sessions": Session.objects.filter(scope__project=project).count(),
            **{f"total_{kind}s": count for kind, count in AllEntities(project).counts.items()},
        }
    )
