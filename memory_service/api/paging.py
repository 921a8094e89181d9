"""Pages as the protocol has them: count, next, previous, results; numbered from 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from memory_service.errors import NotFound


class Rows(Protocol):
    """What a page is cut from: a queryset, or what counts and slices like one."""

    def count(self) -> int: ...

    def __getitem__(self, at: slice, /) -> Iterable[Any]: ...


def paginate(
    request: Request, rows: Rows | QuerySet[Any], *, page: int, page_size: int
) -> tuple[list[Any], dict[str, Any]]:
    """The rows of one page, and its envelope. Raises NotFound for a page beyond the end (the first always exists)."""
    count = rows.count()
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
