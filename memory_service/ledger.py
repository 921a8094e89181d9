"""What language models cost, for whom and what for; and where a project's budget ends their use.

`charged` is the one place where a project's calls are counted: inside it, every paid request is checked against the
budget just before it is made, and is a row of CompletionUsage as soon as it has been answered. The row is there whether
or not the work succeeds that it was for. Workers see each other's rows, so together they overshoot a budget by at most
the request that each of them has under way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Avg, Count, F, Max, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from . import llm
from .errors import BudgetExhausted
from .extraction.types import Usage
from .models import Budget, CompletionUsage, Event, Project, Scope

logger = logging.getLogger(__name__)

WARNING_SHARE = 0.8
LIMITS = ("daily_usd", "monthly_usd", "daily_tokens", "monthly_tokens")
TOKENS_OF_A_PRICE = 1_000_000
STATES = ("ok", "warning", "exhausted")

# What usage can be grouped by, and the column that says it.
GROUPS: dict[str, Any] = {
    "day": TruncDate("created_at"),
    "user": F("user_id"),
    "model": F("model"),
    "purpose": F("purpose"),
    "event": F("event__public_id"),
    "project": F("project__public_id"),
}


@contextmanager
def charged(
    project: Project, *, event: Event | None = None, scope: Scope | None = None, user_id: str | None = None
) -> Iterator[None]:
    """The requests to language models that are made inside are the project's, and for this event, scope and user.

    Inside, llm.py raises BudgetExhausted in place of a request once the budget is spent. Not to be used within a
    transaction that may be rolled back: the rows of what was paid would go with it.
    """
    user_id = user_id or (scope.user_id if scope else None)
    with llm.metered(_Meter(project, event, scope, user_id)):
        yield


@dataclass
class _Meter:
    project: Project
    event: Event | None
    scope: Scope | None
    user_id: str | None
    budget: Budget | None = None

    def check(self, model: str, purpose: str) -> None:
        self.budget = Budget.objects.filter(project=self.project).first()
        if self.budget is None:
            return
        spent = [limit for limit in limits_of(self.budget, timezone.now()) if limit.state == "exhausted"]
        if spent:
            raise BudgetExhausted(f"{model} was not asked for {purpose}: {'; '.join(map(str, spent))}")

    def note(self, usage: Usage) -> Usage:
        usage = priced(usage, self.budget)
        CompletionUsage.objects.create(
            project=self.project,
            event=self.event,
            scope=self.scope,
            user_id=self.user_id,
            model=usage.model[:200],
            purpose=usage.purpose[:50],
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            latency_ms=usage.latency_ms,
            cost_usd=usage.cost_usd,
        )
        if self.budget is not None:
            raise_alarms(self.project, timezone.now())
        return usage


def priced(usage: Usage, budget: Budget | None) -> Usage:
    """At the project's own price for the model where it has one."""
    price = (budget.prices if budget else {}).get(usage.model)
    if not price:
        return usage
    cost = usage.prompt_tokens * price["prompt"] + usage.completion_tokens * price["completion"]
    return replace(usage, cost_usd=cost / TOKENS_OF_A_PRICE)


# Budgets


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a budget: name is one of LIMITS; period is the day or month that `spent` was summed over."""

    name: str
    limit: Decimal | int
    spent: Decimal | int
    period: str

    @property
    def share(self) -> float:
        return float(self.spent / self.limit) if self.limit else 1.0

    @property
    def state(self) -> str:
        if self.spent >= self.limit:
            return "exhausted"
        return "warning" if self.share >= WARNING_SHARE else "ok"

    def __str__(self) -> str:
        unit = "USD" if self.name.endswith("usd") else "tokens"
        span = self.name.partition("_")[0]
        limit, spent = _written(self.limit), _written(self.spent)
        return f"the {span} budget of {limit} {unit} for {self.period} is exhausted ({spent} spent)"


def _written(amount: Decimal | int) -> str:
    return f"{amount.normalize():f}" if isinstance(amount, Decimal) else str(amount)


def limits_of(budget: Budget, at: datetime) -> list[Limit]:
    """The limits that are set, with what has been spent of each in the UTC day and month of `at`. One query."""
    at = at.astimezone(timezone.get_default_timezone())
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)
    month = today.replace(day=1)
    named = [name for name in LIMITS if getattr(budget, name) is not None]
    if not named:
        return []
    rows = CompletionUsage.objects.filter(project=budget.project_id, created_at__gte=month)
    tokens, usd, of_today = F("prompt_tokens") + F("completion_tokens"), F("cost_usd"), Q(created_at__gte=today)
    spent = rows.aggregate(
        monthly_tokens=Sum(tokens, default=0),
        monthly_usd=Sum(usd, default=Decimal(0)),
        daily_tokens=Sum(tokens, filter=of_today, default=0),
        daily_usd=Sum(usd, filter=of_today, default=Decimal(0)),
    )
    periods = {"daily": f"{today:%Y-%m-%d}", "monthly": f"{month:%Y-%m}"}
    return [Limit(name, getattr(budget, name), spent[name], periods[name.partition("_")[0]]) for name in named]


def budget_state(limits: Sequence[Limit]) -> str:
    """The worst of them."""
    return max((limit.state for limit in limits), key=STATES.index, default="ok")


def raise_alarms(project: Project, at: datetime) -> None:
    """A line in the log when a limit passes 80 % and when it passes 100 %: once each in its period."""
    budget = Budget.objects.filter(project=project).first()
    reached = [limit for limit in limits_of(budget, at) if limit.state != "ok"] if budget else []
    if not budget or all(budget.alarmed.get(limit.name) == _alarm(limit) for limit in reached):
        return
    with transaction.atomic():
        locked = Budget.objects.select_for_update().get(pk=budget.pk)
        news = [limit for limit in reached if locked.alarmed.get(limit.name) != _alarm(limit)]
        locked.alarmed = {**locked.alarmed, **{limit.name: _alarm(limit) for limit in news}}
        locked.save(update_fields=["alarmed"])
    for limit in news:
        logger.warning(
            "project %s: %s at %.0f %% in %s (%s of %s)",
            project.public_id,
            limit.name,
            100 * limit.share,
            limit.period,
            limit.spent,
            limit.limit,
        )


def _alarm(limit: Limit) -> str:
    return f"{limit.period} {limit.state}"


def save_budget(project: Project, changes: Mapping[str, Any]) -> Budget:
    """changes: columns of Budget. What is not named stays."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        budget, _ = Budget.objects.get_or_create(project=project)
        for name, value in changes.items():
            setattr(budget, name, value)
        budget.save(update_fields=list(changes))
    budget.refresh_from_db()
    return budget


def find_budget(project: Project) -> Budget:
    """The project's, or one without limits."""
    return Budget.objects.filter(project=project).first() or Budget(project=project)


# Reports


def report(
    project: Project, *, group_by: Sequence[str], start: datetime | None = None, end: datetime | None = None
) -> Any:
    """A queryset of {group: value, ..., num_calls, prompt_tokens, ...}, ordered by its groups.

    group_by: of GROUPS. start is included, end is not. cost_usd sums what has a price; num_unpriced counts the rest.
    """
    rows = _rows(project, start, end).annotate(**{f"by_{name}": GROUPS[name] for name in group_by})
    keys = [f"by_{name}" for name in group_by]
    return rows.values(*keys).annotate(**_sums()).order_by(*keys)


def totals(project: Project, *, start: datetime | None = None, end: datetime | None = None) -> dict[str, Any]:
    return dict(_rows(project, start, end).aggregate(**_sums()))


def _rows(project: Project, start: datetime | None, end: datetime | None) -> Any:
    rows = CompletionUsage.objects.filter(project=project)
    rows = rows.filter(created_at__gte=start) if start else rows
    return rows.filter(created_at__lt=end) if end else rows


def _sums() -> dict[str, Any]:
    return {
        "num_calls": Count("id"),
        "sum_prompt_tokens": Sum("prompt_tokens", default=0),
        "sum_completion_tokens": Sum("completion_tokens", default=0),
        "sum_cost_usd": Sum("cost_usd", default=Decimal(0)),
        "num_unpriced": Count("id", filter=Q(cost_usd__isnull=True)),
        "mean_latency_ms": Avg("latency_ms"),
        "max_latency_ms": Max("latency_ms"),
    }


def forget_user(project_id: int, user_id: str) -> None:
    """What was paid stays in the sums; for whom does not."""
    CompletionUsage.objects.filter(project=project_id, user_id=user_id).update(user_id=None)
