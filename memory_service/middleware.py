"""What happens to every request before a view sees it."""

from __future__ import annotations

import io
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse

from . import caches
from .logs import loggable_path, request_id

logger = logging.getLogger("memory_service.request")

GetResponse = Callable[[HttpRequest], HttpResponse]
WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
ACCEPTED_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
VERSIONED = re.compile(r"^/(api/)?v[123]/")
QUIET_PATHS = ("/healthz", "/readyz", "/static/")


class RequestId:
    """Takes the caller's X-Request-ID where it is harmless, makes one where not, and logs one line a request."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        token = request_id.set(given if ACCEPTED_ID.match(given) else uuid.uuid4().hex)
        start = time.perf_counter()
        caches.arm()  # what the request leaves in a cache shall not stay there
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id.get()
            if not request.path.startswith(QUIET_PATHS):
                self._log(request, response, 1000 * (time.perf_counter() - start))
            return response
        finally:
            request_id.reset(token)

    def _log(self, request: HttpRequest, response: HttpResponse, duration_ms: float) -> None:
        extra = {
            "method": request.method,
            "path": loggable_path(request),
            "status": response.status_code,
            "duration_ms": round(duration_ms, 1),
        }
        logger.info("%s %s %s", request.method, extra["path"], response.status_code, extra=extra)


class NormalisePath:
    """`//v1/ping/` is `/v1/ping/`: a client's host that ends in a slash asks for the former. So is `/v1/ping`: a
    redirect to the slash at the end would lose a body. What follows is left alone, for it may be a name: `/alice` and
    `a/` are other users than `alice` and `a`."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = re.sub(r"^/{2,}", "/", request.path_info)
        if VERSIONED.match(path) and not _written_path(request).endswith("/"):
            path += "/"
        if path != request.path_info:
            request.path_info = request.path = path
        return self.get_response(request)


def _written_path(request: HttpRequest) -> str:
    """The path as it was sent, if the server tells: once it is decoded, the name `a/` looks like a slash at the end."""
    written = request.META.get("RAW_URI") or request.META.get("REQUEST_URI")
    return written.partition("?")[0] if written else request.path_info


def read_chunked(application: WSGIApplication, *, limit: int) -> WSGIApplication:
    """Gives a body that was sent in chunks its length, without which Django would take it for empty.

    limit: bytes. One more is read, so that whoever parses the body sees that it is too large.
    """

    def read_first(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() and not environ.get("CONTENT_LENGTH"):
            body = environ["wsgi.input"].read(limit + 1)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return application(environ, start_response)

    return read_first
