"""`expiration_date` from one end to the other: after its day a memory is not returned, unless asked for; it is kept."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone

from memory_service.models import Memory
from tests.conftest import ApiClient, finished

ANN = {"user_id": "ann"}
TEXT = "I parked the red bicycle behind the library."


def today() -> date:
    return timezone.now().date()


def add(client: ApiClient, expires: Any, **more: Any) -> str:
    body = {"messages": TEXT, **ANN, "infer": False, "expiration_date": expires, **more}
    answer = client.post("/v3/memories/add/", body)
    assert answer.status == 200, answer.json
    finished(answer.json["event_id"])
    return str(Memory.objects.get().public_id)


def found(client: ApiClient, **more: Any) -> list[str]:
    body = {"query": "where is the bicycle", "filters": ANN, **more}
    return [hit["id"] for hit in client.post("/v3/memories/search/", body).json["results"]]


def listed(client: ApiClient, **more: Any) -> list[str]:
    return [memory["id"] for memory in client.post("/v3/memories/", {"filters": ANN, **more}).json["results"]]


@pytest.mark.parametrize(("days", "shown"), [(-400, False), (-1, False), (0, True), (1, True), (4000, True)])
def test_it_is_returned_to_the_end_of_its_day(client: ApiClient, days: int, shown: bool) -> None:
    expires = (today() + timedelta(days=days)).isoformat()
    memory_id = add(client, expires)
    wanted = [memory_id] if shown else []
    assert found(client) == listed(client) == wanted
    assert found(client, show_expired=True) == listed(client, show_expired=True) == [memory_id]
    memory = client.get(f"/v1/memories/{memory_id}/").json  # by its id it is there
    assert (memory["expiration_date"], memory["lifecycle_state"]) == (expires, "active")
    assert Memory.objects.count() == 1


def test_older_generations_and_the_open_server_mean_the_same(client: ApiClient) -> None:
    memory_id = add(client, (today() - timedelta(days=1)).isoformat())
    asked = {"query": "bicycle", **ANN}
    for path in ("/v1/memories/search/", "/v2/memories/search/"):
        assert client.post(path, asked).json == []
        assert [hit["id"] for hit in client.post(path, {**asked, "show_expired": True}).json] == [memory_id]
    assert client.post("/search", asked).json["results"] == []
    assert client.get("/memories?user_id=ann").json["results"] == []
    assert [one["id"] for one in client.get("/memories?user_id=ann&show_expired=true").json["results"]] == [memory_id]
    assert client.get("/v1/memories/?user_id=ann").json == []


def test_an_update_sets_and_null_clears(client: ApiClient) -> None:
    memory_id = add(client, None)
    path = f"/v1/memories/{memory_id}/"
    assert found(client) == [memory_id]
    assert client.put(path, {"expiration_date": "2020-01-01"}).json["expiration_date"] == "2020-01-01"
    assert found(client) == listed(client) == []
    client.put(path, {"text": "I parked the blue bicycle behind the library."})  # what is not named stays
    assert client.get(path).json["expiration_date"] == "2020-01-01" and found(client) == []
    assert client.put(path, {"expiration_date": None}).json["expiration_date"] is None
    assert found(client) == listed(client) == [memory_id]


def test_a_process_that_keeps_the_scope_notices(client: ApiClient) -> None:
    """The third search is answered from what the process keeps: it too must not return what has expired since."""
    memory_id = add(client, None)
    for _ in range(3):
        assert found(client) == [memory_id]
    client.put(f"/v1/memories/{memory_id}/", {"expiration_date": "2020-01-01"})
    for _ in range(3):
        assert found(client) == []


def test_a_filter_reads_the_date(client: ApiClient) -> None:
    memory_id = add(client, "2099-12-31")
    assert listed(client, filters={"AND": [ANN, {"expiration_date": {"gte": "2099-01-01"}}]}) == [memory_id]
    assert listed(client, filters={"AND": [ANN, {"expiration_date": {"lt": "2099-01-01"}}]}) == []


def test_facts_expire_with_the_messages_they_are_drawn_from(client: ApiClient) -> None:
    body = {"messages": "I am allergic to walnuts.", **ANN, "expiration_date": "2020-01-01"}
    finished(client.post("/v3/memories/add/", body).json["event_id"])
    assert Memory.objects.filter(kind="semantic").exists()
    assert listed(client) == [] and len(listed(client, show_expired=True)) == Memory.objects.count()


def test_messages_that_wait_expire_too(client: ApiClient, worker: Any) -> None:
    worker.paused = True
    body = {"messages": TEXT, **ANN, "expiration_date": "2020-01-01"}
    client.post("/v3/memories/add/", body)
    assert found(client) == [] and len(found(client, show_expired=True)) == 1


@pytest.mark.parametrize("value", ["soon", "2025-13-40", 3, [], "2025-03-31T12:00:00Z", "0000-00-00", "\x00"])
def test_it_refuses_what_is_no_date(client: ApiClient, value: Any) -> None:
    answer = client.post("/v3/memories/add/", {"messages": TEXT, **ANN, "expiration_date": value})
    assert answer.status == 400 and not Memory.objects.exists()
    memory_id = add(client, None)
    assert client.put(f"/v1/memories/{memory_id}/", {"expiration_date": value}).status == 400
