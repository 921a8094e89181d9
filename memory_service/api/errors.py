"""Every error leaves as JSON with `detail` (what the clients show) and `error` (the same, where others look)."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from memory_service.errors import ServiceError, TooSoon
from memory_service.logs import loggable_path, request_id

logger = logging.getLogger(__name__)

API_PREFIXES = ("/v1/", "/v2/", "/v3/", "/api/", "/memories", "/search", "/entities")

RETRY_AFTER_S = 2
UNREACHABLE = f"The database cannot answer just now. Try again in {RETRY_AFTER_S} seconds."


def handle(exc: Exception, context: dict[str, Any]) -> Response:
    set_rollback()
    if isinstance(exc, ServiceError):
        wait_s = exc.retry_after_s if isinstance(exc, TooSoon) else None
        return _answer(exc.status, str(exc), headers={"Retry-After": str(math.ceil(wait_s))} if wait_s else None)
    if isinstance(exc, OperationalError | InterfaceError):
        logger.warning("the database did not answer %s: %s", loggable_path(context["request"]), exc)
        return _answer(503, UNREACHABLE, headers={"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(exc, Http404 | PermissionDenied):
        exc = exceptions.NotFound() if isinstance(exc, Http404) else exceptions.PermissionDenied()
    if isinstance(exc, SuspiciousOperation):  # of a form: too many fields, too many files, too large
        return _answer(413 if isinstance(exc, RequestDataTooBig) else 400, str(exc))
    if isinstance(exc, exceptions.APIException):
        return _answer(exc.status_code, _sentence(exc), headers=_headers(exc))
    logger.exception("unexpected error in %s", loggable_path(context["request"]))
    return _answer(500, _unexpected())


def describe(exc: Exception, what: str) -> dict[str, Any]:
    """An error that comes when the status line is sent already. what: what failed, for the log."""
    if isinstance(exc, ServiceError):
        detail = str(exc)
    elif isinstance(exc, OperationalError | InterfaceError):
        logger.warning("the database did not answer %s: %s", what, exc)
        detail = UNREACHABLE
    else:
        logger.error("unexpected error in %s", what, exc_info=exc)
        detail = _unexpected()
    return {"detail": detail, "error": detail}


def _unexpected() -> str:
    return f"Something went wrong on our side; the log has it under request id {request_id.get()}."


def _answer(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Response({"detail": detail, "error": detail}, status=status, headers=headers)


def _headers(exc: exceptions.APIException) -> dict[str, str]:
    header = getattr(exc, "auth_header", None)
    return {"WWW-Authenticate": header} if header else {}


def _sentence(exc: exceptions.APIException) -> str:
    if isinstance(exc, exceptions.NotAuthenticated):
        return "No API key: send the header 'Authorization: Token KEY'."
    if isinstance(exc, exceptions.ValidationError):
        return "; ".join(_flatten(exc.detail))
    return str(exc.detail)


def _flatten(detail: Any, path: str = "") -> list[str]:
    """Serializer errors as `messages[2].role: ...`."""
    if isinstance(detail, dict):
        parts = (_flatten(inner, _join(path, key)) for key, inner in detail.items())
        return [text for part in parts for text in part]
    if isinstance(detail, list):
        nested = any(isinstance(inner, dict) for inner in detail)
        paths = (f"{path}[{i}]" if nested else path for i in range(len(detail)))
        return [text for inner, at in zip(detail, paths, strict=True) for text in _flatten(inner, at)]
    return [f"{path}: {detail}" if path else str(detail)]


def _join(path: str, key: Any) -> str:
    if key == "non_field_errors":
        return path
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API_PREFIXES):
        detail = _unknown_host(request) if isinstance(exception, DisallowedHost) else str(exception)
        return JsonResponse({"detail": detail, "error": detail}, status=400)
    return defaults.bad_request(request, exception)


def _unknown_host(request: HttpRequest) -> str:
    host = request.headers.get("Host", "")
    return f"This service does not answer to the host {host[:80]!r}: whoever runs it adds it to ALLOWED_HOSTS."


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API_PREFIXES):
        detail = f"There is nothing at {request.path}; see /api/docs/ for what there is."
        return JsonResponse({"detail": detail, "error": detail}, status=404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API_PREFIXES):
        return JsonResponse({"detail": _unexpected(), "error": _unexpected()}, status=500)
    return defaults.server_error(request)
