"""+ Changes of mind: the difference of two moments, undo, and the endings that wait for a person."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import editing, moments
from memory_service.models import Memory, Review

from . import handlers, rendering
from .events import PageSerializer
from .memories import QUERY, body_of
from .paging import paginate
from .serializers import AsOfField, FilteredSerializer, validated

MAX_DIFFERENCES = 1000


class DifferenceSerializer(FilteredSerializer):
    """`from` and `to`, of the store's time; to: now, if it is not given."""

    to = AsOfField(required=False, allow_null=True)

    def get_fields(self) -> Any:
        return {"from": AsOfField(), **super().get_fields()}


class ReviewQuerySerializer(PageSerializer):
    status = serializers.ChoiceField(choices=Review.Status.choices, required=False)


class VerdictSerializer(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(choices=["accept", "reject"])


@extend_schema(
    parameters=[*QUERY, OpenApiParameter("from", str), OpenApiParameter("to", str)],
    request=DifferenceSerializer,
    responses=OpenApiTypes.OBJECT,
    tags=["memories +"],
)
@api_view(["GET", "POST"])
def difference(request: Request) -> Response:
    """What the store knew at one moment and not at another: added, removed, changed. Filters as in search."""
    data = dict(request.query_params.items()) if request.method == "GET" else body_of(request)
    parser = validated(DifferenceSerializer(data=data))
    asked = parser.validated_data
    found = moments.difference(
        handlers.project_of(request),
        parser.to_filter(refuse_top_level=False),
        asked["from"],
        asked.get("to") or timezone.now(),
        limit=MAX_DIFFERENCES,
    )
    return Response(
        {
            "from": rendering.iso(asked["from"]),
            "to": rendering.iso(asked.get("to")),
            "added": rendered(found.added),
            "removed": rendered(found.removed),
            "changed": [
                {"id": str(memory.public_id), "old_memory": words, "new_memory": memory.text}
                for words, memory in found.changed
            ],
        }
    )


def rendered(memories: list[Memory]) -> list[dict[str, Any]]:
    """With the words that the difference found, which may not be today's."""
    words = {memory.pk: memory.text for memory in memories}
    rows = Memory.objects.for_rendering().in_bulk(list(words))
    for pk, row in rows.items():
        row.text = words[pk]
    return rendering.render_memories([rows[memory.pk] for memory in memories if memory.pk in rows])


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=["memories +"])
@api_view(["POST"])
def undo(request: Request, revision_id: str) -> Response:
    """Take back one revision (the `id` of an entry of the history) by a revision of its own."""
    return Response(handlers.render_one(editing.undo(handlers.project_of(request), revision_id)))


@extend_schema(
    parameters=[OpenApiParameter("status", str), OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
    responses=OpenApiTypes.OBJECT,
    tags=["memories +"],
)
@api_view(["GET"])
def reviews(request: Request) -> Response:
    """Endings that are too unsure to act by themselves, newest first. status: pending, if it is not given."""
    query = validated(ReviewQuerySerializer(data=request.query_params)).validated_data
    rows = Review.objects.filter(
        scope__project=handlers.project_of(request), status=query.get("status") or Review.Status.PENDING
    )
    rows = rows.select_related("memory", "by", "event").order_by("-id")
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_review(one) for one in page]})


@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=["memories +"])
@extend_schema(methods=["POST"], request=VerdictSerializer, responses=OpenApiTypes.OBJECT, tags=["memories +"])
@api_view(["GET", "POST"])
def review(request: Request, review_id: str) -> Response:
    """One of them; POST {"decision": "accept"} lets it act, "reject" keeps both memories."""
    project = handlers.project_of(request)
    if request.method == "POST":
        verdict = validated(VerdictSerializer(data=body_of(request))).validated_data["decision"]
        return Response(render_review(editing.decide_review(project, review_id, accept=verdict == "accept")))
    return Response(render_review(editing.find_review(project, review_id)))


def render_review(one: Review) -> dict[str, Any]:
    return {
        "id": str(one.public_id),
        "status": one.status,
        "reason": one.reason,
        "confidence": one.confidence,
        "memory": {"id": str(one.memory.public_id), "memory": one.memory.text},
        "by": {"id": str(one.by.public_id), "memory": one.by.text} if one.by else None,
        "event_id": str(one.event.public_id) if one.event else None,
        "created_at": rendering.iso(one.created_at),
        "decided_at": rendering.iso(one.decided_at),
    }
