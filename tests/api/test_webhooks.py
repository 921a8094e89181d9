"""Webhooks: managed over HTTP, told once for each change, signed, tried again, and never to where they must not go."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from memory_service import editing, platform_tasks, webhooks
from memory_service.models import ApiKey, Memory, MemoryRevision, Organisation, Project, Webhook, WebhookDelivery
from tests.conftest import ApiClient, Worker
from tests.receiver import Received, Receiver, receiving

EVERYTHING = ["memory_add", "memory_update", "memory_delete", "memory_categorize"]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(settings.ENV, "webhook_allow_private", True)
    with receiving() as running:
        yield running


@pytest.fixture
def hooks(project: Project) -> str:
    return f"/api/v1/webhooks/projects/{project.public_id}/"


def make(client: ApiClient, hooks: str, url: str, types: list[str] = EVERYTHING) -> dict[str, Any]:
    answer = client.post(hooks, {"url": url, "name": "Log", "event_types": types})
    assert answer.status == 201, answer.json
    return answer.json


def remember(client: ApiClient, text: str, user: str = "ann") -> str:
    answer = client.post("/v3/memories/add/", {"messages": text, "user_id": user, "infer": False})
    return str(answer.json["results"][0]["id"])


def told(receiver: Receiver) -> list[tuple[str, str | None]]:
    details = [one.json["event_details"] for one in receiver.received]
    return [(one["event"], one["data"]["memory"]) for one in details]


def is_signed(request: Received, secret: str) -> bool:
    """As the documents tell a receiver to check it."""
    signed = request.headers["X-Webhook-Timestamp"].encode() + b"." + request.body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(one, expected) for one in request.headers["X-Webhook-Signature"].split(","))


# Managing


def test_it_is_made_listed_changed_and_deleted(client: ApiClient, hooks: str, project: Project) -> None:
    made = make(client, hooks, "https://example.org/hook", ["memory_add"])
    assert made["secret"].startswith("whsec_") and made["project"] == project.name and made["is_active"] is True
    [listed] = client.get(hooks).json
    assert listed == {k: v for k, v in made.items() if k != "secret"}
    one = f"/api/v1/webhooks/{made['webhook_id']}/"
    changed = client.put(one, {"event_types": ["memory_delete", "memory_delete"], "is_active": False})
    assert changed.status == 200 and changed.json["message"] == "Webhook updated successfully"
    assert changed.json["event_types"] == ["memory_delete"] and changed.json["url"] == "https://example.org/hook"
    assert client.get(one).json["disabled_reason"] == "by request"
    assert "secret" not in client.get(one).json
    assert client.delete(one).json == {"message": "Webhook deleted successfully"}
    assert client.get(one).status == 404 and client.get(hooks).json == []


def test_it_belongs_to_one_project(
    client: ApiClient, stranger: ApiClient, hooks: str, project: Project, worker: Worker
) -> None:
    made = make(client, hooks, "https://example.org/hook")
    one = f"/api/v1/webhooks/{made['webhook_id']}/"
    assert stranger.get(hooks).status == stranger.get(one).status == stranger.delete(one).status == 404
    assert stranger.post(hooks, {"url": "https://example.org/", "event_types": ["memory_add"]}).status == 404
    assert stranger.put(one, {"is_active": False}).status == 404
    assert stranger.post(f"{one}rotate/", {}).status == stranger.get(f"{one}deliveries/").status == 404
    beside = Project.objects.create(organisation=project.organisation, name="Beside")
    assert ApiClient(ApiKey.issue(beside)[1]).get(one).status == 404
    assert ApiClient(ApiKey.issue(beside, role="owner")[1]).get(one).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "https://example.org/"},
        {"event_types": ["memory_add"]},
        {"url": "https://example.org/", "event_types": []},
        {"url": "https://example.org/", "event_types": "memory_add"},
        {"url": "https://example.org/", "event_types": ["memory_sing"]},
        {"url": "https://example.org/", "event_types": [["memory_add"]]},
        {"url": "https://example.org/", "event_types": ["memory_add"], "name": 7},
        {"url": "https://example.org/", "event_types": ["memory_add"], "is_active": "no"},
        {"url": "http://169.254.169.254/", "event_types": ["memory_add"]},
        {"url": "http://[::ffff:10.0.0.1]/", "event_types": ["memory_add"]},
        {"url": "http://0x7f000001/", "event_types": ["memory_add"]},
        {"url": ["https://example.org/"], "event_types": ["memory_add"]},
        [],
    ],
)
def test_it_refuses_what_makes_no_sense(client: ApiClient, hooks: str, body: Any) -> None:
    answer = client.post(hooks, body)
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]
    assert Webhook.objects.count() == 0


def test_it_bounds_their_number(client: ApiClient, hooks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MAX_WEBHOOKS", 1)
    make(client, hooks, "https://example.org/1")
    answer = client.post(hooks, {"url": "https://example.org/2", "event_types": EVERYTHING})
    assert answer.status == 409 and "1 webhooks already" in answer.json["detail"]


# Telling


def test_it_tells_each_change_once_and_signs_it(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    made = make(client, hooks, receiver.url)
    memory_id = remember(client, "The oven is at 230 degrees.")
    client.put(f"/v1/memories/{memory_id}/", {"text": "The oven is at 240 degrees."})
    client.delete(f"/v1/memories/{memory_id}/")
    platform_tasks.deliver_webhooks()
    platform_tasks.deliver_webhooks()
    assert sorted(told(receiver)) == [
        ("ADD", "The oven is at 230 degrees."),
        ("DELETE", "The oven is at 240 degrees."),
        ("UPDATE", "The oven is at 240 degrees."),
    ]
    for request in receiver.received:
        assert is_signed(request, made["secret"]) and not is_signed(request, "another")
        assert request.json["event_details"]["id"] == memory_id
        assert request.json["event_details"]["user_id"] == "ann"
        assert request.json["type"] == request.headers["X-Webhook-Event"]
        assert request.json["delivery_id"] == request.headers["X-Webhook-Id"]
    listed = client.get(f"/api/v1/webhooks/{made['id']}/deliveries/").json
    assert listed["count"] == 3
    assert {(d["status"], d["response_code"], d["num_attempts"]) for d in listed["results"]} == {("delivered", 200, 1)}


def test_it_tells_only_what_was_asked_for_and_only_of_its_project(
    client: ApiClient, stranger: ApiClient, hooks: str, receiver: Receiver
) -> None:
    make(client, hooks, receiver.url, ["memory_delete"])
    remember(stranger, "Somebody else's secret.")
    first = remember(client, "The oven is at 230 degrees.")
    client.delete(f"/v1/memories/{first}/")
    webhooks.deliver_due()
    assert told(receiver) == [("DELETE", "The oven is at 230 degrees.")]


def test_it_tells_nothing_of_a_change_that_is_rolled_back(client: ApiClient, hooks: str, project: Project) -> None:
    make(client, hooks, "https://example.org/hook")
    memory_id = remember(client, "The oven is at 230 degrees.")
    before = WebhookDelivery.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        editing.delete_memory(project, memory_id)
        assert WebhookDelivery.objects.count() == before + 1
        raise RuntimeError
    assert WebhookDelivery.objects.count() == before


def test_it_tells_categories_when_they_are_given_and_when_they_change(
    client: ApiClient, hooks: str, receiver: Receiver
) -> None:
    make(client, hooks, receiver.url, ["memory_categorize"])
    memory = Memory.objects.get(public_id=remember(client, "The oven is at 230 degrees."))
    for categories in ([], ["kitchen"], ["kitchen"], ["kitchen", "tools"]):
        MemoryRevision.objects.create(
            memory=memory, operation="UPDATE", new_text=memory.text, policy="request", categories=categories
        )
    webhooks.deliver_due()
    told = sorted(one.json["event_details"]["categories"] for one in receiver.received)
    assert told == [["kitchen"], ["kitchen", "tools"]]
    assert {one.json["event_details"]["event"] for one in receiver.received} == {"CATEGORIZE"}


def test_it_keeps_no_text_of_what_is_forgotten(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    """A delivery that was on its way dies; that the memory is gone is told, by its id alone."""
    made = make(client, hooks, receiver.url)
    memory_id = remember(client, "The oven is at 230 degrees.")
    client.delete("/v2/entities/user/ann/")
    webhooks.deliver_due()
    assert told(receiver) == [("DELETE", None)]
    assert receiver.received[0].json["event_details"]["id"] == memory_id
    assert b"oven" not in receiver.received[0].body
    results = client.get(f"/api/v1/webhooks/{made['id']}/deliveries/").json["results"]
    assert [(d["event_type"], d["status"]) for d in results] == [("memory_delete", "delivered"), ("memory_add", "dead")]
    again = f"/api/v1/webhooks/{made['id']}/deliveries/{results[1]['id']}/redeliver/"
    assert client.post(again, {}).status == 409
    assert "oven" not in str(list(WebhookDelivery.objects.values()))


def test_it_tries_again_ever_later_and_then_gives_up(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    made = make(client, hooks, receiver.url, ["memory_add"])
    receiver.answers = [(500, {})]
    remember(client, "The oven is at 230 degrees.")
    pauses = []
    for _ in range(webhooks.MAX_ATTEMPTS):
        webhooks.deliver_due()
        row = WebhookDelivery.objects.get()
        pauses.append((row.due_at - timezone.now()).total_seconds())
        Webhook.objects.update(paused_until=None)
        assert webhooks.deliver_due() == 0  # not before its time
        WebhookDelivery.objects.update(due_at=timezone.now())
    assert row.status == "dead" and row.error == "HTTP 500" and row.response_code == 500
    assert len(receiver.received) == webhooks.MAX_ATTEMPTS
    expected = [webhooks.FIRST_BACKOFF_S * webhooks.BACKOFF_FACTOR**i for i in range(webhooks.MAX_ATTEMPTS - 1)]
    for pause, middle in zip(pauses, expected, strict=False):
        assert 0.7 * min(middle, webhooks.MAX_BACKOFF_S) < pause < 1.3 * min(middle, webhooks.MAX_BACKOFF_S)
    receiver.answers = [(204, {})]
    again = f"/api/v1/webhooks/{made['id']}/deliveries/{row.public_id}/redeliver/"
    assert client.post(again, {}).json["status"] == "pending"
    assert client.post(again, {}).status == 409
    webhooks.deliver_due()
    row.refresh_from_db()
    assert row.status == "delivered" and row.response_code == 204
    assert {one.headers["X-Webhook-Id"] for one in receiver.received} == {str(row.public_id)}


def test_it_waits_as_long_as_the_receiver_asks(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    make(client, hooks, receiver.url)
    receiver.answers = [(429, {"Retry-After": "1200"})]
    remember(client, "The oven is at 230 degrees.")
    webhooks.deliver_due()
    row = WebhookDelivery.objects.get()
    assert row.status == "pending" and 1190 < (row.due_at - timezone.now()).total_seconds() <= 1200


def test_it_stops_when_disabled_and_goes_on_when_enabled(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    made = make(client, hooks, receiver.url)
    one = f"/api/v1/webhooks/{made['id']}/"
    remember(client, "Before.")
    client.put(one, {"is_active": False})
    remember(client, "While it is off.")
    assert webhooks.deliver_due() == 0 and receiver.received == []
    client.put(one, {"is_active": True})
    webhooks.deliver_due()
    assert told(receiver) == [("ADD", "Before.")]


def test_it_stops_a_webhook_whose_receiver_is_gone(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    made = make(client, hooks, receiver.url)
    receiver.answers = [(410, {})]
    remember(client, "The oven is at 230 degrees.")
    webhooks.deliver_due()
    assert WebhookDelivery.objects.get().status == "dead"
    found = client.get(f"/api/v1/webhooks/{made['id']}/").json
    assert found["is_active"] is False and found["disabled_reason"] == "the receiver answered 410"


def test_it_takes_over_what_a_dead_worker_held(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    make(client, hooks, receiver.url)
    remember(client, "The oven is at 230 degrees.")
    [claimed] = webhooks.claim_due()
    assert webhooks.deliver_due() == 0
    WebhookDelivery.objects.update(claimed_at=timezone.now() - webhooks.ABANDONED - timedelta(seconds=1))
    assert webhooks.deliver_due() == 1
    row = WebhookDelivery.objects.get()
    assert row.status == "delivered" and row.num_attempts == 2
    # The first worker was only slow: what it has to say changes nothing any more.
    parcel = webhooks.Parcel(claimed.pk, claimed.webhook_id, 1, 0, receiver.url, b"", {})
    webhooks.record(parcel, webhooks.Outcome(None, "too late", 1.0))
    row.refresh_from_db()
    assert row.status == "delivered"


def test_it_signs_with_both_secrets_after_a_rotation(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    made = make(client, hooks, receiver.url)
    fresh = client.post(f"/api/v1/webhooks/{made['id']}/rotate/", {}).json
    assert fresh["secret"] != made["secret"]
    remember(client, "The oven is at 230 degrees.")
    webhooks.deliver_due()
    assert is_signed(receiver.received[0], made["secret"]) and is_signed(receiver.received[0], fresh["secret"])
    Webhook.objects.update(previous_secret_until=timezone.now())
    remember(client, "The meter is in the cellar.")
    webhooks.deliver_due()
    assert is_signed(receiver.received[1], fresh["secret"]) and not is_signed(receiver.received[1], made["secret"])


def test_it_sends_nothing_to_a_private_address(
    client: ApiClient, hooks: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the webhook was made while that was allowed."""
    make(client, hooks, receiver.url)
    monkeypatch.setattr(settings.ENV, "webhook_allow_private", False)
    remember(client, "The oven is at 230 degrees.")
    webhooks.deliver_due()
    row = WebhookDelivery.objects.get()
    assert receiver.received == [] and row.status == "pending" and row.response_code is None
    assert row.error.startswith("refused: ") and "not a public address" in row.error


def test_it_gives_every_webhook_its_share(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    """One with much to tell does not keep the others waiting."""
    make(client, hooks, "http://127.0.0.1:1/nobody-listens", ["memory_add"])
    client.post(
        "/v3/memories/add/",
        {"messages": [{"role": "user", "content": f"Fact {i}."} for i in range(60)], "user_id": "a", "infer": False},
    )
    make(client, hooks, receiver.url, ["memory_add"])
    remember(client, "The oven is at 230 degrees.")
    claimed = webhooks.claim_due()
    assert len({one.webhook_id for one in claimed}) == 2
    webhooks.send(claimed)
    assert told(receiver) == [("ADD", "The oven is at 230 degrees.")]


def test_it_pauses_a_webhook_whose_receiver_is_away_and_tries_one_after_that(
    client: ApiClient, hooks: str, receiver: Receiver
) -> None:
    """A time-out for each of many deliveries would keep the worker from the memories."""
    made = make(client, hooks, receiver.url, ["memory_add"])
    receiver.answers = [(503, {})]
    said = [{"role": "user", "content": f"Fact {i}."} for i in range(12)]
    client.post("/v3/memories/add/", {"messages": said, "user_id": "a", "infer": False})
    assert webhooks.deliver_due() == len(receiver.received) == webhooks.THREADS
    found = client.get(f"/api/v1/webhooks/{made['id']}/").json
    assert found["num_failures"] == 1 and found["paused_until"]
    for expected in (1, 1):
        Webhook.objects.update(paused_until=timezone.now())
        assert webhooks.deliver_due() == expected
    pause = Webhook.objects.get().paused_until - timezone.now()
    assert 55 < pause.total_seconds() <= 60
    receiver.answers = [(200, {})]
    Webhook.objects.update(paused_until=timezone.now())
    WebhookDelivery.objects.update(due_at=timezone.now())
    assert webhooks.deliver_due() == 12
    assert client.get(f"/api/v1/webhooks/{made['id']}/").json["num_failures"] == 0
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_it_drops_old_deliveries_that_are_over(client: ApiClient, hooks: str, receiver: Receiver) -> None:
    make(client, hooks, receiver.url, ["memory_add"])
    remember(client, "The oven is at 230 degrees.")
    webhooks.deliver_due()
    remember(client, "The meter is in the cellar.")
    WebhookDelivery.objects.update(created_at=timezone.now() - timedelta(days=webhooks.KEPT_DAYS + 1))
    platform_tasks.tidy()
    assert [row.status for row in WebhookDelivery.objects.all()] == ["pending"]


def test_it_leaves_other_organisations_alone(client: ApiClient, hooks: str) -> None:
    other = Project.objects.create(organisation=Organisation.objects.create(name="Acme"), name="Elsewhere")
    assert client.get(f"/api/v1/webhooks/projects/{other.public_id}/").status == 404
