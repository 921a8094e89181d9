"""Pages as the protocol has them: count, next, previous, results; numbered from 1."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from memory_service.errors import NotFound


def paginate(request: Request, rows: QuerySet[Any], *, page: int, page_size: int) -> tuple[list[Any], dict[str, Any]]:
    """The rows of one page, and its envelope. Raises NotFound for a page beyond the end (the first always exists)."""
    return _cut(request, rows, rows.count(), page=page, page_size=page_size)


def _cut(request: Request, rows: Any, count: int, *, page: int, page_size: int) -> tuple[list[Any], dict[str, Any]]:
    num_pages = max(1, -(-count // page_size))
    if page > num_pages:
        raise NotFound(f"page {page} is beyond the end: there are {num_pages} pages of {page_size}")
    start = (page - 1) * page_size
    envelope = {
        "count": count,
        "next": _link(request, page + 1) if page < num_pages else None,
        "previous": _link(request, page - 1) if page > 1 else None,
    }
    return list(rows[start : start + page_size]), envelope


def _link(request: Request, page: int) -> str:
    return replace_query_param(request.build_absolute_uri(), "page", page)


def paginate_list(request: Request, rows: list[Any], *, page: int, page_size: int) -> tuple[list[Any], dict[str, Any]]:
    """The same over rows that are in memory."""
    return _cut(request, rows, len(rows), page=page, page_size=page_size)
