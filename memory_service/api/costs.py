"""+ What language models cost a project, and the budget that ends their use."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, renderer_classes
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import ledger
from memory_service.errors import InvalidInput
from memory_service.models import Budget, Project

from . import handlers
from .memories import body_of
from .paging import paginate
from .rendering import iso
from .serializers import MomentField, NumberField, validated

MAX_ROWS = 1_000  # of a page; a CSV file has up to MAX_CSV_ROWS
MAX_CSV_ROWS = 100_000
MAX_USD, MAX_TOKENS, MAX_PRICES, MAX_PRICE_USD = 10_000_000, 10**15, 200, 100_000
SUMS = (
    "num_calls",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "num_unpriced",
    "mean_latency_ms",
    "max_latency_ms",
)


class CSVRenderer(BaseRenderer):
    """A file of rows, or an error as one line."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if not isinstance(data, list):
            return str(data.get("detail", data)).encode()
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerows([_cell(value) for value in row] for row in data)
        return out.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value


class UsageQuerySerializer(serializers.Serializer[Any]):
    group_by = serializers.CharField(default="day", max_length=200)
    start_date = MomentField(required=False)
    end_date = MomentField(required=False)
    page = serializers.IntegerField(default=1, min_value=1, max_value=10**9)
    page_size = serializers.IntegerField(default=200, min_value=1, max_value=MAX_ROWS)

    def validate_group_by(self, value: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        unknown = [name for name in names if name not in ledger.GROUPS]
        if unknown or not names:
            raise serializers.ValidationError(f"{value[:80]!r} is unknown; accepted are {', '.join(ledger.GROUPS)}")
        return names

    def bounds(self) -> dict[str, datetime | None]:
        """A bare end date takes its day in."""
        data = self.validated_data
        start, end = data.get("start_date"), data.get("end_date")
        if (
            end
            and isinstance(self.initial_data.get("end_date"), str)
            and len(self.initial_data["end_date"].strip()) == 10
        ):
            end += timedelta(days=1)
        if start and end and end < start:
            raise InvalidInput("end_date is before start_date")
        return {"start": start, "end": end}


@extend_schema(
    parameters=[OpenApiParameter(name, str) for name in ("group_by", "start_date", "end_date", "format")],
    responses={(200, "application/json"): OpenApiTypes.OBJECT, (200, "text/csv"): OpenApiTypes.STR},
    tags=["costs +"],
)
@api_view(["GET"])
@renderer_classes([JSONRenderer, CSVRenderer])
def usage(request: Request) -> Response:
    """Calls of language models, by any of day, user, model, purpose, event and project. `?format=csv` gives a file."""
    project = handlers.project_of(request)
    parser = validated(UsageQuerySerializer(data=request.query_params))
    query, bounds = parser.validated_data, parser.bounds()
    rows = ledger.report(project, group_by=query["group_by"], **bounds)
    if request.accepted_renderer.format == "csv":
        return _as_csv(rows, query["group_by"])
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response(
        {
            **envelope,
            "group_by": list(query["group_by"]),
            "start_date": iso(bounds["start"]),
            "end_date": iso(bounds["end"]),
            "results": [_render_row(row, query["group_by"]) for row in page],
            "totals": _render_sums(ledger.totals(project, **bounds)),
            **_render_state(project),
        }
    )


def _as_csv(rows: Any, group_by: tuple[str, ...]) -> Response:
    rendered = (_render_row(row, group_by) for row in rows[:MAX_CSV_ROWS].iterator())
    header = [*group_by, *SUMS]
    table = [header, *([row[name] for name in header] for row in rendered)]
    return Response(table, headers={"Content-Disposition": 'attachment; filename="usage.csv"'})


def _render_row(row: Mapping[str, Any], group_by: tuple[str, ...]) -> dict[str, Any]:
    groups = {name: row[f"by_{name}"] for name in group_by}
    return {name: value if value is None else str(value) for name, value in groups.items()} | _render_sums(row)


def _render_sums(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "num_calls": row["num_calls"],
        "prompt_tokens": row["sum_prompt_tokens"],
        "completion_tokens": row["sum_completion_tokens"],
        "cost_usd": float(row["sum_cost_usd"]),
        "num_unpriced": row["num_unpriced"],
        "mean_latency_ms": _rounded(row["mean_latency_ms"]),
        "max_latency_ms": _rounded(row["max_latency_ms"]),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _render_state(project: Project) -> dict[str, Any]:
    limits = ledger.limits_of(ledger.find_budget(project), timezone.now())
    return {
        "budget_state": ledger.budget_state(limits),
        "limits": [
            {
                "name": limit.name,
                "limit": float(limit.limit),
                "spent": float(limit.spent),
                "share": round(limit.share, 4),
                "period": limit.period,
                "state": limit.state,
            }
            for limit in limits
        ],
    }


class PriceSerializer(serializers.Serializer[Any]):
    prompt = NumberField(min_value=0, max_value=MAX_PRICE_USD)
    completion = NumberField(min_value=0, max_value=MAX_PRICE_USD)


class BudgetSerializer(serializers.Serializer[Any]):
    """USD and tokens by the UTC day and month; null is no limit. prices: USD for a million tokens, by model."""

    daily_usd = serializers.DecimalField(14, 6, required=False, allow_null=True, min_value=0, max_value=MAX_USD)
    monthly_usd = serializers.DecimalField(14, 6, required=False, allow_null=True, min_value=0, max_value=MAX_USD)
    daily_tokens = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_TOKENS)
    monthly_tokens = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MAX_TOKENS)
    prices = serializers.DictField(child=PriceSerializer(), required=False, allow_null=True)

    def validate_prices(self, value: dict[str, Any] | None) -> dict[str, Any]:
        prices = value or {}
        if len(prices) > MAX_PRICES or any(not name or len(name) > 200 for name in prices):
            raise serializers.ValidationError(f"at most {MAX_PRICES} models, named in 1 to 200 characters")
        return {name: dict(price) for name, price in prices.items()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in self.initial_data if name not in self.fields]
        if unknown:
            raise serializers.ValidationError(
                f"unknown {', '.join(map(str, unknown))[:200]}; accepted are {', '.join(self.fields)}"
            )
        if not attrs:
            raise serializers.ValidationError(f"nothing to change: send at least one of {', '.join(self.fields)}")
        return attrs


@extend_schema(methods=["PUT"], request=BudgetSerializer, responses=OpenApiTypes.OBJECT, tags=["costs +"])
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=["costs +"])
@api_view(["GET", "PUT"])
def budget(request: Request) -> Response:
    """What the project may spend, and how much of it is spent. PUT writes what it names; null takes a limit away."""
    project = handlers.project_of(request)
    if request.method == "PUT":
        changes = validated(BudgetSerializer(data=body_of(request))).validated_data
        found = ledger.save_budget(project, changes)
    else:
        found = ledger.find_budget(project)
    return Response({**_render_budget(found), **_render_state(project)})


def _render_budget(found: Budget) -> dict[str, Any]:
    return {
        "daily_usd": _float(found.daily_usd),
        "monthly_usd": _float(found.monthly_usd),
        "daily_tokens": found.daily_tokens,
        "monthly_tokens": found.monthly_tokens,
        "prices": found.prices,
    }


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
