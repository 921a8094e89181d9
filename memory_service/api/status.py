"""Ping for clients; /healthz and /readyz for whoever keeps the service running."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from kombu.exceptions import OperationalError
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service.celery import app
from memory_service.models import Membership

from . import handlers

WORKER_TIMEOUT_S = 1.0


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["status"])
@api_view(["GET"])
def ping(request: Request) -> Response:
    """Which organisation and project the key opens."""
    project = handlers.project_of(request)
    owner = Membership.objects.filter(project=project, role=Membership.Role.OWNER).select_related("user").first()
    return Response(
        {
            "status": "ok",
            "org_id": str(project.organisation.public_id),
            "project_id": str(project.public_id),
            "user_email": (owner.user.email if owner else "") or None,
        }
    )


def healthz(request: HttpRequest) -> JsonResponse:
    """The process is up."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Whether an add would be kept, processed and found; and if not, what is missing."""
    checks = {"database": _check_database(), "broker": _check_broker()}
    checks["worker"] = _check_worker() if checks["broker"] == "ok" else "not asked: the broker is away"
    ready = all(found == "ok" for found in checks.values())
    return JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)


def _check_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM memory_service_embeddingprofile WHERE state = 'serving'")
            return "ok" if cursor.fetchone() else "no embedding profile: run `manage.py bootstrap`"
    except DatabaseError as exc:
        return f"not ready: {_first_line(exc)}"


def _check_broker() -> str:
    try:
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=2)
            return "ok"
    except (OperationalError, OSError) as exc:
        return f"not ready: {_first_line(exc)}"


def _check_worker() -> str:
    answers: Any = app.control.ping(timeout=WORKER_TIMEOUT_S, limit=1)
    return "ok" if answers else f"no worker answered in {WORKER_TIMEOUT_S:g} s"


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
