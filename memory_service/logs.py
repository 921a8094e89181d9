"""JSON logs in which every line of one request, and of the task it started, carries the same request id."""

from __future__ import annotations

import logging
from contextvars import ContextVar

from django.http import HttpRequest
from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def loggable_path(request: HttpRequest) -> str:
    """The path without the name of a user, agent, app or run, which is not to stay in a log when it is forgotten."""
    match = request.resolver_match
    name = match.kwargs.get("name") if match else None
    if not name:
        return request.path
    head, _, tail = request.path.rpartition(name)
    return f"{head}[name]{tail}"


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class JSONFormatter(JsonFormatter):
    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
