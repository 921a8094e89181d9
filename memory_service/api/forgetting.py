"""Receipts of what was forgotten on request."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service.errors import NotFound
from memory_service.forgetting import find_receipts
from memory_service.models import ForgettingReceipt
from memory_service.models.receipt import ENTITY_TYPES

from . import handlers
from .events import PageSerializer
from .paging import paginate
from .rendering import iso
from .serializers import NameField, validated


class ReceiptQuerySerializer(PageSerializer):
    entity_type = serializers.ChoiceField(choices=ENTITY_TYPES, required=False)
    entity_name = NameField()


@extend_schema(
    parameters=[OpenApiParameter(name, str) for name in ("entity_type", "entity_name", "page", "page_size")],
    responses=OpenApiTypes.OBJECT,
    tags=["forgetting"],
)
@api_view(["GET"])
def receipts(request: Request) -> Response:
    """The project's receipts, newest first. entity_name is hashed and compared: was this one forgotten, and when?"""
    query = validated(ReceiptQuerySerializer(data=request.query_params)).validated_data
    rows = find_receipts(
        handlers.project_of(request), kind=query.get("entity_type"), name=query.get("entity_name") or None
    )
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_receipt(one) for one in page]})


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["forgetting"])
@api_view(["GET"])
def receipt(request: Request, receipt_id: str) -> Response:
    """One receipt: what was destroyed, how much of it, when, and by which key and request."""
    found = find_receipts(handlers.project_of(request)).filter(public_id=receipt_id).first()
    if found is None:
        raise NotFound(f"receipt {receipt_id} was not found in this project; it is there when its event has SUCCEEDED")
    return Response(render_receipt(found))


def render_receipt(found: ForgettingReceipt) -> dict[str, Any]:
    return {
        "id": str(found.public_id),
        "event_id": str(found.public_id),
        "entity_type": found.entity_type,
        "entity_name_hash": found.name_hash,
        "entity_name": found.name,
        "counts": found.counts,
        "requested_at": iso(found.requested_at),
        "completed_at": iso(found.completed_at),
        "requested_by": {
            "key_prefix": found.key_prefix or None,
            "key_name": found.key_name or None,
            "request_id": found.request_id or None,
        },
    }
