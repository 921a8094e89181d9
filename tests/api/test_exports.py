"""Exports over HTTP: in the shape of a schema, and whole; and that they end with whom they are about."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from memory_service import exporting, platform_tasks, structuring
from memory_service.models import CompletionUsage, Memory, MemoryExport, Project
from tests.conftest import ApiClient, Worker
from tests.scripted_llm import ScriptedLLM, Status

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "allergies": {"type": "array", "items": {"type": "string"}},
        "shoe_size": {"type": "integer"},
    },
}
SAID = [
    {"role": "user", "name": "Nora", "content": "I live in Porto and I am allergic to walnuts."},
    {"role": "user", "name": "Nora", "content": "I am allergic to coriander too."},
]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_tasks, "enqueue_export", lambda row: exporting.run_export(row.pk))
    monkeypatch.setattr("memory_service.api.exports.WAIT_S", 0.0)


def tell(client: ApiClient, user: str = "nora") -> None:
    client.post("/v3/memories/add/", {"messages": SAID, "user_id": user, "wait_s": 5})


def export(client: ApiClient, **body: Any) -> str:
    answer = client.post("/v1/exports/", {"schema": SCHEMA, "user_id": "nora", **body})
    assert answer.status == 200, answer.json
    assert "export request received" in answer.json["message"]
    return str(answer.json["id"])


def get(client: ApiClient, **body: Any) -> Any:
    return client.post("/v1/exports/get/", body)


def lines(client: ApiClient, body: Any) -> list[dict[str, Any]]:
    response = client._client.post(
        "/v1/exports/memories/", json.dumps(body), content_type="application/json", headers=client.headers
    )
    assert response.status_code == 200 and response["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in b"".join(response.streaming_content).decode().splitlines()]


# In the shape of a schema


def test_it_fills_a_schema_and_names_its_sources(client: ApiClient) -> None:
    tell(client)
    name = export(client)
    data = get(client, memory_export_id=name).json
    assert data["city"] == "Porto" and set(data["allergies"]) == {"walnuts", "coriander"} and data["shoe_size"] is None
    state = client.get(f"/v1/exports/{name}/").json
    assert state["status"] == "SUCCEEDED" and state["num_memories"] == Memory.objects.count()
    [source] = state["sources"]["/city"]
    assert "Porto" in client.get(f"/v1/memories/{source}/").json["memory"]


def test_it_finds_an_export_by_its_filters_and_takes_a_schema_as_text(client: ApiClient) -> None:
    tell(client)
    export(client, schema={"type": "object", "properties": {"x": {"type": "string"}}})
    export(client, schema=json.dumps(SCHEMA))
    assert get(client, user_id="nora").json["city"] == "Porto"
    export(client, user_id=None, filters={"AND": [{"user_id": "nora"}, {"kind": "episodic"}]})
    assert get(client, filters={"AND": [{"user_id": "nora"}, {"kind": "episodic"}]}).status == 200
    assert get(client, user_id="somebody").status == 404
    assert get(client).status == 400


def test_it_says_when_an_export_is_not_ready_and_when_it_failed(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_tasks, "enqueue_export", lambda row: None)
    name = export(client)
    answer = get(client, memory_export_id=name)
    assert answer.status == 202 and answer.json["status"] == "PENDING"
    monkeypatch.setattr(structuring, "fill", lambda *_: 1 / 0)
    export_id = MemoryExport.objects.get().pk
    for _ in range(exporting.MAX_ATTEMPTS):
        exporting.run_export(export_id)
    failed = get(client, memory_export_id=name)
    assert failed.status == 409 and "division by zero" in failed.json["detail"]


def test_it_hides_exports_of_other_projects(client: ApiClient, stranger: ApiClient) -> None:
    tell(client)
    name = export(client)
    assert get(stranger, memory_export_id=name).status == 404
    assert get(stranger, user_id="nora").status == 404
    assert stranger.get(f"/v1/exports/{name}/").status == stranger.delete(f"/v1/exports/{name}/").status == 404
    theirs = export(stranger)
    assert get(stranger, memory_export_id=theirs).json == {"city": None, "allergies": [], "shoe_size": None}
    assert client.delete(f"/v1/exports/{name}/").status == 200
    assert get(client, memory_export_id=name).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "nora"},
        {"schema": SCHEMA},
        {"schema": SCHEMA, "filters": []},
        {"schema": SCHEMA, "filters": "user_id"},
        {"schema": SCHEMA, "filters": {"colour": "red"}},
        {"schema": SCHEMA, "filters": {"NOT": {"user_id": "a"}}},
        {"schema": SCHEMA, "user_id": 7},
        {"schema": SCHEMA, "user_id": ["a", 7]},
        {"schema": "{", "user_id": "nora"},
        {"schema": 7, "user_id": "nora"},
        {"schema": {"type": "object", "properties": {"a": {"$ref": "http://x.y/"}}}, "user_id": "nora"},
        {"schema": SCHEMA, "user_id": "nora", "export_instructions": 7},
        {"schema": SCHEMA, "user_id": "nora", "export_instructions": "x" * 20_000},
        {"schema": SCHEMA, "user_id": "no\x00ra"},
        [],
    ],
)
def test_it_refuses_exports_that_make_no_sense(client: ApiClient, body: Any) -> None:
    answer = client.post("/v1/exports/", body)
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]
    assert MemoryExport.objects.count() == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"memory_export_id": "x"}, {"memory_export_id": 7}, {"memory_export_id": ["a"]}, {"filters": {"a": 1}}, []],
)
def test_it_refuses_odd_questions_for_an_export(client: ApiClient, body: Any) -> None:
    assert client.post("/v1/exports/get/", body).status == 400


def test_it_asks_the_model_and_believes_what_the_memories_say(
    client: ApiClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(client)
    answer = {
        "data": {"city": "Porto", "allergies": ["walnuts", "unicorns"], "shoe_size": 39},
        "sources": {"city": [1, 99], "shoe_size": [1]},
    }
    with ScriptedLLM([answer]) as llm:
        monkeypatch.setattr(settings.ENV, "llm_model", "openai/scripted")
        monkeypatch.setattr(settings.ENV, "llm_api_base", llm.base_url)
        monkeypatch.setattr(settings.ENV, "llm_api_key", "test")
        name = export(client, export_instructions="Be brief.")
        asked = json.dumps(llm.requests[0])
    assert "Be brief." in asked and "walnuts" in asked
    assert get(client, memory_export_id=name).json == {"city": "Porto", "allergies": ["walnuts"], "shoe_size": None}
    state = client.get(f"/v1/exports/{name}/").json
    assert len(state["notes"]) == 2 and len(state["sources"]["/city"]) == 1 and "/shoe_size" not in state["sources"]
    assert CompletionUsage.objects.get(purpose="export").project == project


def test_it_fills_without_the_model_where_that_refuses(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(client)
    with ScriptedLLM([Status(401)]) as llm:
        monkeypatch.setattr(settings.ENV, "llm_model", "openai/scripted")
        monkeypatch.setattr(settings.ENV, "llm_api_base", llm.base_url)
        name = export(client)
    assert get(client, memory_export_id=name).json["city"] == "Porto"
    assert "filled without it" in client.get(f"/v1/exports/{name}/").json["notes"][0]


# Their end


def test_it_removes_exports_when_they_expire(client: ApiClient) -> None:
    tell(client)
    kept, over = export(client), export(client)
    MemoryExport.objects.filter(public_id=over).update(expires_at=timezone.now() - timedelta(seconds=1))
    platform_tasks.tidy()
    assert get(client, memory_export_id=over).status == 404
    assert get(client, memory_export_id=kept).status == 200


def test_it_removes_exports_when_their_user_is_forgotten(client: ApiClient) -> None:
    tell(client)
    tell(client, "emil")
    mine, everybodys = export(client), export(client, user_id="*")
    others = export(client, user_id="emil")
    event = client.delete("/v2/entities/user/nora/").json["event_id"]
    assert client.get(f"/v1/event/{event}/").json["results"][0]["deleted"]["memory_exports"] == 2
    assert get(client, memory_export_id=mine).status == get(client, memory_export_id=everybodys).status == 404
    assert get(client, memory_export_id=others).json["city"] == "Porto"


def test_it_writes_no_export_of_what_was_forgotten_meanwhile(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(client)
    real = structuring.fill

    def forget_first(*arguments: Any) -> Any:
        filled = real(*arguments)
        monkeypatch.setattr(structuring, "fill", real)
        client.delete("/v2/entities/user/nora/")
        return filled

    monkeypatch.setattr(structuring, "fill", forget_first)
    name = export(client)
    assert MemoryExport.objects.get().status == "PENDING" and MemoryExport.objects.get().data is None
    exporting.run_export(MemoryExport.objects.get().pk)
    assert get(client, memory_export_id=name).json == {"city": None, "allergies": [], "shoe_size": None}


# Whole


def test_it_streams_everything_with_history_and_sources(client: ApiClient, stranger: ApiClient) -> None:
    tell(client)
    tell(stranger)
    first = Memory.objects.filter(project__name="Relocation").order_by("id")[0]
    client.put(f"/v1/memories/{first.public_id}/", {"text": "Nora lives in Lisbon.", "metadata": {"by": "hand"}})
    header, *memories, end = lines(client, {})
    assert header["format"] == "memory-service-export" and header["version"] == 1
    assert end == {"type": "end", "memories": len(memories)}
    assert len(memories) == Memory.objects.filter(project__name="Relocation").count()
    changed = next(one for one in memories if one["id"] == str(first.public_id))
    assert [step["event"] for step in changed["history"]] == ["ADD", "UPDATE"]
    assert changed["history"][1]["new_memory"] == changed["memory"] == "Nora lives in Lisbon."
    assert changed["metadata"] == {"by": "hand"}
    assert changed["sources"][0]["content"] == SAID[0]["content"] and changed["sources"][0]["name"] == "Nora"
    facts = [one for one in memories if one["attribute"] == "lives in"]
    assert facts and facts[0]["subject"] == "Nora" and facts[0]["value"] in ("Porto", "Lisbon")
    assert any(entity["name"] == "Porto" for one in memories for entity in one["entities"])


def test_it_narrows_a_whole_export_by_filters_and_states(client: ApiClient) -> None:
    tell(client)
    tell(client, "emil")
    assert {one.get("user_id") for one in lines(client, {"filters": {"user_id": "emil"}})[1:-1]} == {"emil"}
    assert len(lines(client, {"user_id": "nobody"})) == 2
    one = client.post("/v3/memories/", {"filters": {"user_id": "emil"}}).json["results"][0]["id"]
    client.delete(f"/v1/memories/{one}/")
    assert one not in [line.get("id") for line in lines(client, {"user_id": "emil"})]
    assert one in [line.get("id") for line in lines(client, {"user_id": "emil", "states": ["deleted"]})]


def test_it_pages_through_a_whole_export(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BATCH", 2)
    tell(client)
    streamed = [line["id"] for line in lines(client, {})[1:-1]]
    paged, cursor = [], None
    while True:
        body = {"format": "json", "page_size": 2, "cursor": cursor}
        answer = client.post("/v1/exports/memories/", body).json
        paged += [one["id"] for one in answer["results"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert paged == streamed and answer["count"] == len(streamed) > 2


@pytest.mark.parametrize(
    "body",
    [
        {"states": []},
        {"states": ["undead"]},
        {"states": "active"},
        {"states": [["active"]]},
        {"format": "xml"},
        {"format": ["json"]},
        {"format": "json", "cursor": "x"},
        {"format": "json", "cursor": 7},
        {"format": "json", "page_size": 0},
        {"format": "json", "page_size": 10**9},
        {"filters": {"colour": "red"}},
        {"filters": []},
        [],
    ],
)
def test_it_refuses_whole_exports_that_make_no_sense(client: ApiClient, body: Any) -> None:
    answer = client.post("/v1/exports/memories/", body, Accept="application/x-ndjson")
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]


def test_it_knows_no_cursor_of_other_projects(client: ApiClient, stranger: ApiClient, worker: Worker) -> None:
    tell(client)
    tell(stranger)
    body = {"format": "json", "cursor": str(Memory.objects.filter(project__name="Elsewhere")[0].public_id)}
    assert client.post("/v1/exports/memories/", body).status == 404
