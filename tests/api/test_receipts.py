from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import pytest
from django.db import IntegrityError, transaction

from memory_service.models import ApiKey, Event, ForgettingReceipt
from tests.conftest import ApiClient, Worker

ADDRESS = "/v1/forgetting/receipts/"


def forget(client: ApiClient, name: str = "alice", kind: str = "user", **headers: str) -> str:
    said = {"messages": [{"role": "user", "content": "I live in Oslo."}], f"{kind}_id": name}
    assert client.post("/v3/memories/add/", said).status == 200
    answer = client.delete(f"/v2/entities/{kind}/{quote(name, safe='')}/", **headers)
    assert answer.status == 200, answer.json
    return str(answer.json["event_id"])


def test_it_says_what_was_destroyed_when_and_by_whom(client: ApiClient) -> None:
    event_id = forget(client, X_Request_ID="ticket-42")
    receipt = client.get(f"{ADDRESS}{event_id}/").json
    key = ApiKey.objects.get(prefix=receipt["requested_by"]["key_prefix"])
    assert receipt["requested_by"] == {"key_prefix": key.prefix, "key_name": "default", "request_id": "ticket-42"}
    assert (receipt["id"], receipt["event_id"], receipt["entity_type"]) == (event_id, event_id, "user")
    assert receipt["counts"] == client.get(f"/v1/event/{event_id}/").json["results"][0]["deleted"]
    assert receipt["counts"]["messages"] == receipt["counts"]["sessions"] == 1 and receipt["counts"]["memories"] >= 1
    assert receipt["requested_at"] <= receipt["completed_at"]
    assert receipt["entity_name"] is None and len(receipt["entity_name_hash"]) == 64
    assert "alice" not in str(receipt)


def test_it_lists_the_newest_first_and_by_page(client: ApiClient) -> None:
    ids = [forget(client, name, kind) for kind, name in [("user", "alice"), ("agent", "bot"), ("user", "bob")]]
    page = client.get(ADDRESS).json
    assert [one["id"] for one in page["results"]] == ids[::-1] and page["count"] == 3
    second = client.get(f"{ADDRESS}?page=2&page_size=1").json
    assert [one["id"] for one in second["results"]] == [ids[1]] and second["previous"] and second["next"]
    assert [one["id"] for one in client.get(f"{ADDRESS}?entity_type=agent").json["results"]] == [ids[1]]


@pytest.mark.parametrize("name", ["alice", "al ice/1", "Ærlig 学", "a&b=c"])
def test_it_answers_whether_somebody_was_forgotten(client: ApiClient, name: str) -> None:
    first, _, again = forget(client, name), forget(client, "somebody else"), forget(client, name)
    found = client.get(f"{ADDRESS}?entity_type=user&entity_name={quote(name, safe='')}").json["results"]
    assert [one["id"] for one in found] == [again, first]
    assert [one["id"] for one in client.get(f"{ADDRESS}?entity_name={quote(name, safe='')}").json["results"]] == [
        again,
        first,
    ]
    assert client.get(f"{ADDRESS}?entity_type=run&entity_name={quote(name, safe='')}").json["results"] == []


def test_it_keeps_the_name_where_the_operator_wants_it(client: ApiClient, settings: Any) -> None:
    settings.ENV = settings.ENV.model_copy(update={"forgetting_receipts": "name"})
    assert client.get(f"{ADDRESS}{forget(client)}/").json["entity_name"] == "alice"


def test_it_shows_nothing_to_another_project(client: ApiClient, stranger: ApiClient) -> None:
    event_id = forget(client)
    assert stranger.get(ADDRESS).json["results"] == []
    assert stranger.get(f"{ADDRESS}?entity_name=alice").json["results"] == []
    answer = stranger.get(f"{ADDRESS}{event_id}/")
    assert answer.status == 404 and event_id in answer.json["detail"]
    hashes = {client.get(f"{ADDRESS}{event_id}/").json["entity_name_hash"]}
    hashes.add(stranger.get(f"{ADDRESS}{forget(stranger)}/").json["entity_name_hash"])
    assert len(hashes) == 2, "the same name must not be recognised across projects"


def test_it_needs_a_key(db: None) -> None:
    assert ApiClient(None).get(ADDRESS).status == 401


def test_it_can_only_be_read(client: ApiClient) -> None:
    path = f"{ADDRESS}{forget(client)}/"
    for method in ("DELETE", "PUT", "POST", "PATCH"):
        assert client.call(method, path, {}).status == client.call(method, ADDRESS, {}).status == 405


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("entity_type=cat", "entity_type"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("page_size=100000", "page_size"),
        ("entity_name=a%00b", "entity_name"),
        ("entity_name=" + "a" * 300, "entity_name"),
    ],
)
def test_it_refuses_what_makes_no_sense(client: ApiClient, query: str, reason: str) -> None:
    answer = client.get(f"{ADDRESS}?{query}")
    assert answer.status == 400 and reason in answer.json["detail"] and answer.json["error"] == answer.json["detail"]


def test_a_page_beyond_the_end_and_an_id_of_nothing_are_not_found(client: ApiClient) -> None:
    assert client.get(f"{ADDRESS}?page=2").status == 404
    assert client.get(f"{ADDRESS}not-a-uuid/").status == 404
    assert client.get(f"{ADDRESS}00000000-0000-0000-0000-000000000000/").status == 404


def test_there_is_no_receipt_before_it_is_done_nor_of_a_deletion_by_filter(client: ApiClient, worker: Worker) -> None:
    client.delete("/v1/memories/?user_id=alice")
    assert client.get(ADDRESS).json["results"] == []
    worker.paused = True
    event_id = client.delete(f"/v2/entities/user/{_told(client, worker)}/").json["event_id"]
    assert client.get(f"{ADDRESS}{event_id}/").status == 404
    worker.resume()
    assert client.get(f"{ADDRESS}{event_id}/").status == 200


def _told(client: ApiClient, worker: Worker) -> str:
    client.post("/v3/memories/add/", {"messages": "I live in Oslo.", "user_id": "alice"})
    return "alice"


def test_an_earlier_deletion_by_filter_loses_the_name_too(client: ApiClient, worker: Worker) -> None:
    client.delete("/v1/memories/?user_id=bob")
    kept = client.get("/v1/events/").json["results"][0]["id"]
    client.delete('/v1/memories/?filters={"OR":[{"user_id":"alice"},{"user_id":"carol"}]}')
    worker.paused = True
    client.delete('/v1/memories/?filters={"user_id":{"in":["alice"]}}')  # still to be done when alice is forgotten
    late = worker.waiting.pop()
    worker.paused = False
    forget(client)
    worker.enqueue(late)
    assert "alice" not in str(list(Event.objects.values_list("options", flat=True)))
    assert "bob" in str(Event.objects.get(public_id=kept).options)
    assert Event.objects.exclude(status="SUCCEEDED").count() == 0


def test_a_key_that_was_revoked_or_is_gone_stays_named(client: ApiClient) -> None:
    event_id = forget(client)
    key = ApiKey.objects.get(prefix=client.get(f"{ADDRESS}{event_id}/").json["requested_by"]["key_prefix"])
    prefix, project = key.prefix, key.project
    key.delete()
    other = ApiClient(ApiKey.issue(project)[1])
    assert other.get(f"{ADDRESS}{event_id}/").json["requested_by"]["key_prefix"] == prefix


def test_the_log_does_not_hold_the_name(client: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="memory_service.request")
    forget(client, "e")  # a letter of "entities"
    lines = [record.getMessage() for record in caplog.records if "/v2/entities/" in record.getMessage()]
    assert lines == ["DELETE /v2/entities/user/[name]/ 200"]


@pytest.mark.parametrize(
    ("changed", "constraint"),
    [
        ({"entity_type": "cat"}, "receipt_entity_type_known"),
        ({"name_hash": "alice"}, "receipt_name_hashed"),
        ({"completed_at": "1999-01-01T00:00:00Z"}, "receipt_times_ordered"),
    ],
)
def test_the_database_refuses_what_is_no_receipt(client: ApiClient, changed: dict[str, str], constraint: str) -> None:
    forget(client)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        ForgettingReceipt.objects.update(**changed)
