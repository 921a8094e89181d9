"""What models cost, who sees it, and where a budget ends their use."""

from __future__ import annotations

import csv
import io
import logging
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from memory_service import ledger, llm, profiles, session_summaries, tasks
from memory_service.errors import BudgetExhausted, LLMUnavailable
from memory_service.extraction.types import Usage
from memory_service.models import Budget, CompletionUsage, Event, Memory, Project, Scope, Session, SummaryNode
from memory_service.project_llm import llm_config
from tests.conftest import ApiClient, finished
from tests.llm import Start, scripted
from tests.scripted_llm import CutShort, Malformed, Status, Text

__all__ = ["scripted"]

ANN = {"user_id": "ann"}
FACT = {"text": "Ann lives in Oslo", "message": 1, "quote": "live in Oslo", "kind": "semantic"}
ASK = [{"role": "user", "content": "one two three four"}]
PRICES = {"openai/scripted": {"prompt": 2.0, "completion": 10.0}}


def say(client: ApiClient, text: str = "I live in Oslo.", **ids: str) -> Event:
    said = [{"role": "user", "content": text, "name": "Ann"}]
    return finished(client.post("/v3/memories/add/", {"messages": said, **(ids or ANN)}).json["event_id"])


def spend(
    project: Project, *, tokens: int = 100, usd: str | None = None, at: datetime | None = None, **more: Any
) -> None:
    named = {"model": "openai/a", "purpose": "extract", "latency_ms": 10.0} | more
    CompletionUsage.objects.create(
        project=project,
        prompt_tokens=tokens,
        completion_tokens=0,
        cost_usd=Decimal(usd) if usd else None,
        created_at=at or timezone.now(),
        **named,
    )


# The ledger


def test_it_knows_for_whom_a_call_was(client: ApiClient, scripted: Start) -> None:
    scripted([{"facts": [FACT]}])
    event = say(client)
    row = CompletionUsage.objects.get()
    assert (row.event, row.scope, row.user_id, row.purpose) == (event, event.scope, "ann", "extract")
    assert row.cost_usd is None and row.prompt_tokens > 0


def test_it_keeps_what_was_paid_when_the_work_fails(client: ApiClient, scripted: Start) -> None:
    """The first call succeeds and is paid, the second is not answered: the event waits, and the cost is known."""
    scripted([{"facts": [FACT]}, {"facts": [FACT | {"text": "Ann lives in Bergen", "quote": "Bergen"}]}, Status(503)])
    say(client)
    answer = client.post("/v3/memories/add/", {"messages": "I live in Bergen now.", **ANN})
    event = Event.objects.get(public_id=answer.json["event_id"])
    assert event.status == "PENDING"
    assert [row.purpose for row in event.usage.all()] == ["extract"]


def test_it_counts_every_answer_also_the_useless(project: Project, scripted: Start) -> None:
    scripted([Malformed("no"), Malformed("no"), Malformed("no")])
    config = llm_config()
    assert config
    with ledger.charged(project), pytest.raises(llm.LLMMalformed):
        llm.complete_structured(config, ASK, Fruits, purpose="test")
    assert CompletionUsage.objects.count() == 3


class Fruits(llm.BaseModel):
    fruits: list[str]


@pytest.mark.parametrize("ending", ["whole", "cut short", "left by the reader"])
def test_it_counts_streams_however_they_end(project: Project, scripted: Start, ending: str) -> None:
    scripted([CutShort("one two") if ending == "cut short" else Text("one two three")])
    config = llm_config()
    assert config
    with ledger.charged(project, user_id="ann"):
        pieces = llm.stream(config, ASK, purpose="answer")
        if ending == "left by the reader":
            next(pieces)
            pieces.close()  # type: ignore[attr-defined]
        elif ending == "cut short":
            with pytest.raises(LLMUnavailable):
                list(pieces)
        else:
            list(pieces)
    row = CompletionUsage.objects.get()
    assert (row.purpose, row.user_id) == ("answer", "ann") and row.prompt_tokens > 0


def test_it_counts_nothing_outside(project: Project, scripted: Start) -> None:
    scripted(["one", "two"])
    config = llm_config()
    assert config
    with ledger.charged(project):
        llm.complete(config, ASK, purpose="test")
    llm.complete(config, ASK, purpose="test")
    assert CompletionUsage.objects.count() == 1


def test_it_takes_the_projects_own_price(client: ApiClient, project: Project, scripted: Start) -> None:
    assert client.put("/v1/budget/", {"prices": PRICES}).status == 200
    scripted([{"facts": [FACT]}])
    say(client)
    row = CompletionUsage.objects.get()
    expected = (row.prompt_tokens * 2 + row.completion_tokens * 10) / 1e6
    assert row.cost_usd is not None and float(row.cost_usd) == pytest.approx(expected, abs=1e-8)
    told = client.get("/v1/usage/").json["totals"]
    assert told["num_unpriced"] == 0 and told["cost_usd"] == pytest.approx(expected, abs=1e-7)


# Budgets


def test_it_stops_at_the_budget_and_goes_on_without(client: ApiClient, project: Project, scripted: Start) -> None:
    server = scripted([{"facts": [FACT]}] * 5)
    client.put("/v1/budget/", {"daily_tokens": 10})
    first = say(client)
    assert first.notes == [] and len(server.requests) == 1
    second = say(client, "I am allergic to walnuts.")
    assert len(server.requests) == 1
    [note] = second.notes
    assert "may not be asked" in note and "the daily budget of 10 tokens" in note and "extracted without it" in note
    assert Memory.objects.filter(kind="semantic", text__contains="walnut").exists()
    state = client.get("/v1/usage/").json
    assert state["budget_state"] == "exhausted"
    client.put("/v1/budget/", {"daily_tokens": None})
    assert client.get("/v1/usage/").json["budget_state"] == "ok"
    say(client, "I live in Oslo still.")
    assert len(server.requests) > 1


@pytest.mark.parametrize("limit", ["daily_usd", "monthly_usd", "daily_tokens", "monthly_tokens"])
def test_each_limit_ends_it(project: Project, scripted: Start, limit: str) -> None:
    server = scripted(["one"] * 9)
    config = llm_config()
    assert config
    ledger.save_budget(project, {limit: 5, "prices": {"openai/scripted": {"prompt": 1e6, "completion": 1e6}}})
    with ledger.charged(project):
        llm.complete(config, ASK, purpose="test")
        with pytest.raises(BudgetExhausted, match=r"openai/scripted was not asked for test: the \w+ budget of 5"):
            llm.complete(config, ASK, purpose="test")
    assert len(server.requests) == 1 and CompletionUsage.objects.count() == 1


def test_a_budget_of_nothing_asks_nothing(project: Project, scripted: Start) -> None:
    server = scripted([])
    config = llm_config()
    assert config
    ledger.save_budget(project, {"monthly_usd": 0})
    with ledger.charged(project), pytest.raises(BudgetExhausted):
        next(llm.stream(config, ASK, purpose="test"))
    assert server.requests == []


def test_it_counts_the_day_and_the_month_apart(project: Project) -> None:
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    for at in (now, now - timedelta(days=1), datetime(2026, 2, 28, 23, 59, tzinfo=UTC)):
        spend(project, tokens=100, usd="1", at=at)
    budget = ledger.save_budget(
        project, {"daily_usd": 2, "monthly_usd": 2, "daily_tokens": 125, "monthly_tokens": 1000}
    )
    limits = {limit.name: limit for limit in ledger.limits_of(budget, now)}
    assert {name: (limit.spent, limit.state, limit.period) for name, limit in limits.items()} == {
        "daily_usd": (1, "ok", "2026-03-10"),
        "monthly_usd": (2, "exhausted", "2026-03"),
        "daily_tokens": (100, "warning", "2026-03-10"),
        "monthly_tokens": (200, "ok", "2026-03"),
    }
    assert ledger.budget_state(list(limits.values())) == "exhausted"


def test_an_unknown_price_counts_tokens_alone(project: Project) -> None:
    spend(project, tokens=1_000)
    budget = ledger.save_budget(project, {"monthly_usd": 1, "monthly_tokens": 1_000})
    usd, tokens = ledger.limits_of(budget, timezone.now())
    assert (usd.name, usd.spent, usd.state, tokens.state) == ("monthly_usd", 0, "ok", "exhausted")


def test_it_raises_each_alarm_once(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    ledger.save_budget(project, {"daily_tokens": 100})
    meter = ledger._Meter(project, None, None, None)
    said = []
    for _ in range(6):
        meter.budget = Budget.objects.get()
        with caplog.at_level(logging.WARNING, "memory_service.ledger"):
            meter.note(Usage("m", "test", 40, 0, 1.0))
        said.append([record.getMessage() for record in caplog.records])
        caplog.clear()
    assert [len(lines) for lines in said] == [0, 1, 1, 0, 0, 0]
    assert "daily_tokens at 80 %" in said[1][0] and "daily_tokens at 120 %" in said[2][0]


def test_other_projects_budgets_are_theirs(client: ApiClient, stranger: ApiClient, project: Project) -> None:
    spend(project, tokens=50)
    client.put("/v1/budget/", {"daily_tokens": 10})
    assert client.get("/v1/budget/").json["budget_state"] == "exhausted"
    assert stranger.get("/v1/budget/").json["daily_tokens"] is None
    assert stranger.get("/v1/usage/?group_by=project").json["results"] == []


def test_summaries_and_profiles_go_on_without(client: ApiClient, project: Project, scripted: Start) -> None:
    server = scripted([])
    client.put("/v1/budget/", {"monthly_tokens": 0})
    texts = ("I live in Oslo.", "I work as a baker.", "I am allergic to walnuts.", "I like sailing.")
    for text in [*texts, *(f"On day {i} I walked to the harbour and met my friend Tom there." for i in range(8))]:
        say(client, text)
    profiles.save_settings(project, {"enabled": True})
    tasks.refresh_profiles()
    found = client.get("/v2/entities/user/ann/profile/").json
    assert (found["status"], found["method"]) == ("succeeded", "local") and "budget" in found["notes"][0]
    tasks.refresh_summaries()
    session = Session.objects.get()
    assert "harbour" in session.summary
    assert SummaryNode.objects.get(workflow="incremental").method == "extractive"
    rebuilt = session_summaries.rebuild(session, max_words=50)
    assert rebuilt.summary and all("budget" in note for note in rebuilt.notes)
    told = client.post("/v1/summary/", {"filters": ANN}).json
    assert (told["status"], told["method"]) == ("SUCCEEDED", "extractive") and "budget" in told["notes"][0]
    assert server.requests == []


@pytest.mark.django_db(transaction=True)
def test_workers_together_overshoot_by_a_call_each_at_most(project: Project, scripted: Start) -> None:
    num_workers, price = 4, 5
    server = scripted(["one"] * 200)
    ledger.save_budget(project, {"daily_tokens": 10 * price})
    config = llm_config()
    assert config
    llm.complete(config, ASK, purpose="warm up")  # LiteLLM is imported
    refused = []

    def work() -> None:
        try:
            with ledger.charged(project):
                for _ in range(30):
                    llm.complete(config, ASK, purpose="test")
        except BudgetExhausted as exc:
            refused.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(num_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == num_workers
    num_calls = len(server.requests) - 1
    assert CompletionUsage.objects.count() == num_calls
    assert 10 <= num_calls < 10 + num_workers


# REST


def test_it_groups_what_was_spent(client: ApiClient, project: Project) -> None:
    scope = Scope.objects.create(project=project, user_id="ann")
    day = datetime(2026, 3, 10, 12, tzinfo=UTC)
    spend(project, tokens=10, usd="0.5", at=day, user_id="ann", scope=scope)
    spend(project, tokens=20, usd="0.25", at=day, user_id="bob", model="openai/b", purpose="profile")
    spend(project, tokens=40, at=day + timedelta(days=1), user_id="ann")
    found = client.get("/v1/usage/?group_by=day").json
    assert [(row["day"], row["num_calls"], row["prompt_tokens"]) for row in found["results"]] == [
        ("2026-03-10", 2, 30),
        ("2026-03-11", 1, 40),
    ]
    assert found["totals"]["cost_usd"] == 0.75 and found["totals"]["num_unpriced"] == 1
    by_user = client.get("/v1/usage/?group_by=user,model").json["results"]
    assert [(row["user"], row["model"], row["prompt_tokens"]) for row in by_user] == [
        ("ann", "openai/a", 50),
        ("bob", "openai/b", 20),
    ]
    only = client.get("/v1/usage/?group_by=purpose&start_date=2026-03-10&end_date=2026-03-10").json
    assert {row["purpose"]: row["prompt_tokens"] for row in only["results"]} == {"extract": 10, "profile": 20}
    assert client.get("/v1/usage/?group_by=project").json["results"][0]["project"] == str(project.public_id)
    assert client.get("/v1/usage/?group_by=event").json["results"][0]["event"] is None
    page = client.get("/v1/usage/?group_by=day&page_size=1&page=2").json
    assert [row["day"] for row in page["results"]] == ["2026-03-11"] and page["previous"]


def test_it_gives_a_csv_file(client: ApiClient, project: Project) -> None:
    for name in ("ann", '=HYPERLINK("x")', "b,c"):
        spend(project, tokens=10, usd="0.5", user_id=name)
    response = client._client.get("/v1/usage/?group_by=user&format=csv", headers=client.headers)
    assert response.status_code == 200 and response["Content-Type"].startswith("text/csv")
    assert "usage.csv" in response["Content-Disposition"]
    header, *rows = list(csv.reader(io.StringIO(response.content.decode())))
    assert header[:4] == ["user", "num_calls", "prompt_tokens", "completion_tokens"]
    assert sorted(row[0] for row in rows) == ['\'=HYPERLINK("x")', "ann", "b,c"]
    refused = client._client.get("/v1/usage/?group_by=cat&format=csv", headers=client.headers)
    assert refused.status_code == 400 and b"accepted are day" in refused.content


@pytest.mark.parametrize(
    "query",
    [
        "group_by=cat",
        "group_by=,",
        "start_date=soon",
        "start_date=2026-03-02&end_date=2026-02-01",
        "start_date=99999999999999",
        "page=0",
        "page_size=5000",
        "group_by=" + "day," * 100,
        "end_date=2026-03-02%00",
    ],
)
def test_it_refuses_a_question_that_it_does_not_understand(client: ApiClient, query: str) -> None:
    answer = client.get(f"/v1/usage/?{query}")
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]


def test_it_keeps_what_a_put_does_not_name(client: ApiClient) -> None:
    client.put("/v1/budget/", {"daily_usd": 1.5, "monthly_tokens": 1000, "prices": PRICES})
    found = client.put("/v1/budget/", {"daily_usd": 2}).json
    assert (found["daily_usd"], found["monthly_tokens"], found["prices"]) == (2.0, 1000, PRICES)
    assert [limit["name"] for limit in found["limits"]] == ["daily_usd", "monthly_tokens"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"daily_usd": -1},
        {"daily_usd": "much"},
        {"daily_usd": 1e300},
        {"daily_usd": "NaN"},
        {"monthly_tokens": 1.5},
        {"monthly_tokens": 10**30},
        {"weekly_usd": 1},
        {"prices": 3},
        {"prices": {"m": 3}},
        {"prices": {"m": {"prompt": 1}}},
        {"prices": {"m": {"prompt": -1, "completion": 1}}},
        {"prices": {"": {"prompt": 1, "completion": 1}}},
        {"prices": {"m\x00": {"prompt": 1, "completion": 1}}},
    ],
)
def test_it_refuses_a_budget_that_is_none(client: ApiClient, body: Any) -> None:
    answer = client.put("/v1/budget/", body)
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]
    assert not Budget.objects.exists()


def test_a_forgotten_user_is_named_by_no_row(client: ApiClient, scripted: Start) -> None:
    scripted([{"facts": [FACT]}])
    say(client)
    client.delete("/v2/entities/user/ann/")
    row = CompletionUsage.objects.get()
    assert (row.user_id, row.scope, row.event) == (None, None, None) and row.prompt_tokens > 0
