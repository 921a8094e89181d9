"""Webhooks and their deliveries."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import organisations, platform_tasks, webhooks
from memory_service.errors import NotFound
from memory_service.models import Webhook, WebhookDelivery

from .events import PageSerializer
from .memories import body_of
from .organisations import key_of
from .paging import paginate
from .rendering import iso
from .serializers import validated

TAG = ["webhooks"]


class WebhookSerializer(serializers.Serializer[Any]):
    """For the API's description; the stage checks."""

    url = serializers.CharField(max_length=2000)
    name = serializers.CharField(max_length=webhooks.MAX_NAME_CHARS, required=False)
    event_types = serializers.ListField(child=serializers.ChoiceField(choices=webhooks.EVENT_TYPES))
    is_active = serializers.BooleanField(required=False)


class DeliveryQuerySerializer(PageSerializer):
    status = serializers.ChoiceField(choices=WebhookDelivery.Status.values, required=False)


@extend_schema(methods=["POST"], request=WebhookSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST"])
def project_webhooks(request: Request, project_id: str) -> Response:
    """A project's webhooks. POST makes one, and its answer is the only one that holds the secret."""
    project = organisations.find_project(key_of(request), project_id)
    if request.method == "GET":
        return Response([render_webhook(one) for one in project.webhooks.select_related("project").order_by("id")])
    made = webhooks.create_webhook(project, body_of(request))
    return Response({**render_webhook(made), "secret": made.secret}, status=201)


@extend_schema(methods=["PUT"], request=WebhookSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET", "DELETE"], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "PUT", "DELETE"])
def webhook(request: Request, webhook_id: str) -> Response:
    """One webhook. What a PUT does not name stays; `is_active: false` stops it."""
    found = find_webhook(request, webhook_id)
    if request.method == "DELETE":
        found.delete()
        return Response({"message": "Webhook deleted successfully"})
    if request.method == "PUT":
        changed = webhooks.change_webhook(found, body_of(request))
        return Response({"message": "Webhook updated successfully", **render_webhook(changed)})
    return Response(render_webhook(found))


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def rotate(request: Request, webhook_id: str) -> Response:
    """+ A new secret, shown this once. The one before signs too for a day."""
    changed = webhooks.rotate_secret(find_webhook(request, webhook_id))
    return Response({**render_webhook(changed), "secret": changed.secret})


@extend_schema(
    parameters=[OpenApiParameter("status", str), OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
    responses=OpenApiTypes.OBJECT,
    tags=TAG,
)
@api_view(["GET"])
def deliveries(request: Request, webhook_id: str) -> Response:
    """+ What was told, newest first: status, attempts, the receiver's answer, the error."""
    query = validated(DeliveryQuerySerializer(data=request.query_params)).validated_data
    rows = find_webhook(request, webhook_id).deliveries.order_by("-id")
    if "status" in query:
        rows = rows.filter(status=query["status"])
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_delivery(one) for one in page]})


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def redeliver(request: Request, webhook_id: str, delivery_id: str) -> Response:
    """+ Send one again, under the same id."""
    found = find_webhook(request, webhook_id).deliveries.filter(public_id=delivery_id).first()
    if found is None:
        raise NotFound(f"delivery {delivery_id} was not found for this webhook")
    again = webhooks.redeliver(found)
    platform_tasks.enqueue_webhooks()
    return Response(render_delivery(again), status=202)


def find_webhook(request: Request, webhook_id: str) -> Webhook:
    return webhooks.find_webhook(organisations.projects_of(key_of(request)), webhook_id)


def render_webhook(found: Webhook) -> dict[str, Any]:
    """Without the secret."""
    return {
        "id": str(found.public_id),
        "webhook_id": str(found.public_id),
        "name": found.name,
        "url": found.url,
        "event_types": found.event_types,
        "project": found.project.name,
        "project_id": str(found.project.public_id),
        "is_active": found.is_active,
        "disabled_reason": found.disabled_reason or None,
        "num_failures": found.num_failures,
        "paused_until": iso(found.paused_until),
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
    }


def render_delivery(one: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": str(one.public_id),
        "event_type": one.event_type,
        "memory_id": str(one.memory_public_id),
        "status": one.status,
        "num_attempts": one.num_attempts,
        "response_code": one.response_code,
        "latency_ms": one.latency_ms,
        "error": one.error or None,
        "next_attempt_at": iso(one.due_at) if one.status == WebhookDelivery.Status.PENDING else None,
        "created_at": iso(one.created_at),
        "delivered_at": iso(one.delivered_at),
    }
