"""Entities made by request, what there is to filter by, and the project's numbers."""

from __future__ import annotations

from typing import Any

import pytest

from memory_service.models import EntityRecord, Scope, Session
from tests.conftest import ApiClient

KINDS = ("user", "agent", "app", "run")


@pytest.mark.parametrize("kind", KINDS)
def test_it_makes_an_entity_and_forgets_it(client: ApiClient, stranger: ApiClient, kind: str) -> None:
    made = client.post(f"/v1/{kind}s/", {f"{kind}_id": "al ice/1", "metadata": {"plan": "gold"}})
    assert made.status == 201 and made.json["name"] == made.json[f"{kind}_id"] == "al ice/1"
    assert made.json["total_memories"] == 0
    again = client.post(f"/v1/{kind}s/", {"name": "al ice/1"})
    assert again.status == 200 and again.json["metadata"] == {"plan": "gold"} and again.json["id"] == made.json["id"]
    assert client.post(f"/v1/{kind}s/", {f"{kind}_id": "al ice/1", "metadata": {}}).json["metadata"] == {}
    found = client.get(f"/v2/entities/{kind}/al%20ice%2F1/")
    assert found.status == 200 and found.json["type"] == kind
    assert client.get("/v1/entities/").json[f"total_{kind}s"] == 1
    assert stranger.get(f"/v2/entities/{kind}/al%20ice%2F1/").status == 404
    assert stranger.get("/v1/entities/").json["count"] == 0
    assert client.delete(f"/v2/entities/{kind}/al%20ice%2F1/").status == 200
    assert client.get(f"/v2/entities/{kind}/al%20ice%2F1/").status == 404
    assert not EntityRecord.objects.exists() and not Scope.objects.exists() and not Session.objects.exists()


def test_it_tells_of_an_entity_that_has_memories(client: ApiClient) -> None:
    client.post("/v3/memories/add/", {"messages": "The boat leaves at nine.", "user_id": "ann", "infer": False})
    told = client.post("/v1/users/", {"user_id": "ann", "metadata": {"plan": "gold"}})
    assert told.status == 200 and told.json["total_memories"] == 1
    assert client.get("/v2/entities/user/ann/").json["metadata"] == {"plan": "gold"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"user_id": ""},
        {"user_id": 7.5, "metadata": 3},
        {"user_id": ["a"]},
        {"user_id": "a" * 300},
        {"user_id": "a\x00"},
        {"user_id": "\ud800"},
        {"user_id": "a", "metadata": "gold"},
        {"agent_id": "a"},
    ],
)
def test_it_refuses_what_is_no_entity(client: ApiClient, body: Any) -> None:
    answer = client.post("/v1/users/", body)
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]


def test_it_lists_what_there_is_to_filter_by(client: ApiClient, stranger: ApiClient) -> None:
    client.post("/v1/imports/", [{"memory": "x", "user_id": "ann", "categories": ["food"]}])
    client.post("/v1/agents/", {"agent_id": "cook"})
    stranger.post("/v1/users/", {"user_id": "somebody"})
    found = client.get("/v1/entities/filters/").json
    assert found["agents"] == ["cook"] and found["users"] == []
    assert found["filters"][1] == {"type": "agent", "field": "agent_id", "total": 1, "values": ["cook"]}


def test_it_counts_what_the_project_holds(client: ApiClient, stranger: ApiClient) -> None:
    for text in ("The boat leaves at nine.", "The oven is at 230 degrees."):
        client.post("/v3/memories/add/", {"messages": text, "user_id": "ann", "run_id": "r1", "infer": False})
    client.delete(f"/v1/memories/{client.get('/v1/events/').json['results'][0]['results'][0]['id']}/")
    counted = client.get("/v1/stats/").json
    assert counted["total_memories"] == 1 and counted["memories"] == {"active": 1, "deleted": 1}
    assert counted["total_add_events"] == 2 and counted["total_messages"] == 2 and counted["total_sessions"] == 1
    assert counted["total_users"] == 1 and counted["total_runs"] == 1 and counted["total_agents"] == 0
    empty = stranger.get("/v1/stats/").json
    assert empty["total_memories"] == empty["total_users"] == empty["total_add_events"] == 0
