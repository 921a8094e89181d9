"""Profiles: made of live facts, in the shape of a schema, when asked for and when enough has changed."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from memory_service import profiles, tasks
from memory_service.errors import InvalidInput
from memory_service.models import CompletionUsage, Event, IdempotencyKey, Memory, Profile, Project, Scope
from memory_service.profiles import check_schema
from tests.conftest import ApiClient, finished
from tests.llm import Start, scripted
from tests.scripted_llm import Malformed, Status, prompt_of

__all__ = ["scripted"]

ANN = {"user_id": "ann"}
PATH = "/v2/entities/user/ann/profile/"
FACTS = (
    "I live in Oslo.",
    "I work as a baker.",
    "I am allergic to walnuts.",
    "I like sailing.",
    "My sister is called Clara.",
)
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "the city where the user lives"},
        "allergies": {"type": "array", "items": {"type": "string"}, "description": "what the user is allergic to"},
        "work": {
            "type": "object",
            "description": "work life",
            "properties": {
                "occupation": {"type": "string", "description": "job or profession, what the user works as"},
                "salary": {"type": "number", "description": "income in euros a year"},
            },
        },
    },
}


def say(client: ApiClient, *texts: str, user: str = "ann") -> None:
    said = [{"role": "user", "content": text, "name": user.title()} for text in texts]
    finished(client.post("/v3/memories/add/", {"messages": said, "user_id": user}).json["event_id"])


def enable(client: ApiClient, **user: Any) -> None:
    body = {"enabled": True, **({"entities": {"user": user}} if user else {})}
    answer = client.post("/v2/profiles/settings/", body)
    assert answer.status == 200, answer.json


def trigger(client: ApiClient, user: str = "ann", **headers: str) -> Any:
    body = {"operation": "trigger", "entity_type": "user", "entity_id": user}
    return client.post("/v2/profiles/jobs/", body, **headers)


# States


def test_it_says_what_state_a_profile_is_in(client: ApiClient, worker: Any) -> None:
    assert client.get(PATH).status == 404
    say(client, FACTS[0])
    assert client.get(PATH).json["status"] == "not_enabled"
    enable(client)
    assert client.get(PATH).json["status"] == "insufficient_data"
    say(client, *FACTS[1:])
    assert client.get(PATH).json["status"] == "pending"  # the next round makes it
    worker.paused = True
    assert trigger(client).status == 200
    assert client.get(PATH).json["status"] == "pending"
    worker.resume()
    found = client.get(PATH).json
    assert (found["status"], found["generation_count"], found["entity_id"]) == ("succeeded", 1, "ann")
    assert found["updated_at"] and found["entity_type"] == "user"
    client.post("/v2/profiles/settings/", {"enabled": False})
    assert client.get(PATH).json["status"] == "not_enabled"


def test_it_fills_the_built_in_schema(client: ApiClient) -> None:
    say(client, *FACTS)
    enable(client)
    trigger(client)
    profile = client.get(PATH).json["profile"]
    assert set(profile) == set(profiles.DEFAULT_SCHEMA["properties"])
    assert profile["location"] == "Oslo" and profile["occupation"] == "baker"
    assert any("walnut" in fact for fact in profile["health"])
    assert any("sailing" in fact for fact in profile["preferences"] + profile["interests"])
    assert any("Clara" in fact for fact in profile["family"])


def test_it_fills_the_projects_own_schema_and_leaves_open_what_nobody_said(client: ApiClient) -> None:
    say(client, *FACTS)
    enable(client, schema=SCHEMA)
    trigger(client)
    profile = client.get(PATH).json["profile"]
    assert profile["city"] == "Oslo"
    assert len(profile["allergies"]) == 1 and "walnut" in profile["allergies"][0]
    assert profile["work"] == {"occupation": "baker", "salary": None}


def test_it_is_made_of_what_is_live(client: ApiClient) -> None:
    say(client, *FACTS)
    enable(client, schema=SCHEMA)
    oslo = Memory.objects.get(kind="semantic", text__contains="Oslo")
    client.delete(f"/v1/memories/{oslo.public_id}/")
    trigger(client)
    assert client.get(PATH).json["profile"]["city"] is None


# With a model


def answer(city: Any = "Oslo", **more: Any) -> dict[str, Any]:
    return {"city": city, "allergies": ["walnuts"], "work": {"occupation": "baker", "salary": None}, **more}


def local(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(extraction_policy="local")


def test_it_lets_the_model_refine_the_draft(client: ApiClient, project: Project, scripted: Start) -> None:
    local(project)
    say(client, *FACTS)
    Project.objects.filter(pk=project.pk).update(extraction_policy="auto")
    enable(client, schema=SCHEMA, custom_instructions="Write cities in capitals.")
    server = scripted([answer("OSLO", invented="left out")])
    trigger(client)
    found = client.get(PATH).json
    assert found["profile"] == answer("OSLO") and found["method"] == "llm"
    prompt = prompt_of(server.requests[0])
    assert "Write cities in capitals." in prompt and "walnuts" in prompt and '"salary"' in prompt
    usage = CompletionUsage.objects.get()
    assert (usage.purpose, usage.user_id, usage.event.type) == ("profile", "ann", "PROFILE")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "faults",
    [[answer(city=3)] * 2, [Malformed("I cannot.")] * 2, [Status(401)]],
    ids=["against the schema", "no JSON", "refused"],
)
def test_it_keeps_the_draft_where_the_model_fails(
    client: ApiClient, project: Project, scripted: Start, faults: list[Any]
) -> None:
    local(project)
    say(client, *FACTS)
    Project.objects.filter(pk=project.pk).update(extraction_policy="auto")
    enable(client, schema=SCHEMA)
    scripted(faults)
    trigger(client)
    found = client.get(PATH).json
    assert (found["status"], found["method"], found["profile"]["city"]) == ("succeeded", "local", "Oslo")
    assert "made without the language model" in found["notes"][0]


def test_it_shows_the_model_its_fault_once(client: ApiClient, project: Project, scripted: Start) -> None:
    local(project)
    say(client, *FACTS)
    Project.objects.filter(pk=project.pk).update(extraction_policy="auto")
    enable(client, schema=SCHEMA)
    server = scripted([answer(city=["Oslo"]), answer()])
    trigger(client)
    assert client.get(PATH).json["profile"] == answer()
    assert "The profile schema does not accept that: city" in prompt_of(server.requests[1])


def test_it_waits_for_a_model_that_is_away(client: ApiClient, project: Project, scripted: Start) -> None:
    local(project)
    say(client, *FACTS)
    Project.objects.filter(pk=project.pk).update(extraction_policy="auto")
    enable(client, schema=SCHEMA)
    scripted([Status(503), answer()])
    job = trigger(client).json
    event = Event.objects.get(public_id=job["event_id"])
    assert event.status == "PENDING" and event.retry_at and client.get(PATH).json["status"] == "pending"
    Event.objects.update(retry_at=None)
    tasks.jobs.run(event.pk)
    assert client.get(PATH).json["status"] == "succeeded"


# Jobs


def test_it_carries_out_a_request_once(client: ApiClient, stranger: ApiClient) -> None:
    say(client, *FACTS)
    enable(client)
    first = trigger(client, Idempotency_Key="k1").json
    again = trigger(client, Idempotency_Key="k1").json
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["job_id"] == again["job_id"] and first["operation"] == "trigger"
    assert first["entity_count_reserved"] == 1 and first["status_url"] == f"/v2/profiles/jobs/{first['job_id']}/"
    assert client.get(PATH).json["generation_count"] == 1
    conflict = client.post("/v2/profiles/jobs/", {"operation": "sample"}, Idempotency_Key="k1")
    assert conflict.status == 409 and "was used for another request" in conflict.json["detail"]
    other = trigger(client, Idempotency_Key="k2").json
    assert other["job_id"] != first["job_id"] and client.get(PATH).json["generation_count"] == 2
    job = client.get(first["status_url"]).json["job"]
    assert job["status"] == "succeeded" and job["enumeration_complete"] is True
    assert [job[name] for name in ("total", "completed", "succeeded", "failed", "skipped")] == [1, 1, 1, 0, 0]
    assert stranger.get(first["status_url"]).status == 404
    assert trigger(stranger).status == 400 and "not enabled" in trigger(stranger).json["detail"]
    say(stranger, *FACTS)
    enable(stranger)
    assert trigger(stranger, Idempotency_Key="k1").json["replayed"] is False


def test_it_samples_the_users_with_the_most_facts(client: ApiClient) -> None:
    say(client, *FACTS)
    say(client, *FACTS[:3], user="bob")
    say(client, FACTS[0], user="cy")
    enable(client)
    sample = client.post("/v2/profiles/jobs/", {"operation": "sample", "entity_type": "user", "limit": 2}).json
    assert sample["sampled"] == 2 and sample["entity_ids"] == ["ann", "bob"]
    assert client.get(PATH).json["status"] == "succeeded"
    soon = client.post("/v2/profiles/jobs/", {"operation": "sample", "entity_type": "user"})
    assert soon.status == 429 and 0 < int(client.response.headers["Retry-After"]) <= 60
    Event.objects.update(created_at=timezone.now() - timedelta(hours=1))
    wider = client.post("/v2/profiles/jobs/", {"operation": "sample", "limit": 3}).json
    job = client.get(wider["status_url"]).json["job"]
    assert [job[name] for name in ("total", "succeeded", "skipped")] == [3, 2, 1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "operation"),
        ({"operation": "dream"}, "operation"),
        ({"operation": "trigger"}, "entity_id is needed"),
        ({"operation": "trigger", "entity_id": "nobody"}, "'nobody' was not found"),
        ({"operation": "trigger", "entity_id": "a\x00b"}, "NUL"),
        ({"operation": "trigger", "entity_id": "x" * 300}, "entity_id"),
        ({"operation": "trigger", "entity_type": "agent", "entity_id": "ann"}, "entity_type"),
        ({"operation": "sample", "limit": 11}, "limit"),
        ({"operation": "sample", "limit": 0}, "limit"),
        ([], "must be a JSON object"),
    ],
)
def test_it_refuses_jobs_that_make_no_sense(client: ApiClient, body: Any, told: str) -> None:
    enable(client)
    refused = client.post("/v2/profiles/jobs/", body)
    assert refused.status in (400, 404) and told in refused.json["detail"]
    assert not Event.objects.exists()


def test_it_refuses_a_key_that_is_too_long(client: ApiClient) -> None:
    say(client, *FACTS)
    enable(client)
    assert trigger(client, Idempotency_Key="k" * 600).status == 400


# Settings


def test_it_keeps_settings_and_writes_only_what_is_named(client: ApiClient, stranger: ApiClient) -> None:
    found = client.get("/v2/profiles/settings/").json
    assert found["enabled"] is False and found["entities"] == {"user": {"schema": None, "custom_instructions": None}}
    enable(client, schema=SCHEMA, custom_instructions="Be brief.")
    client.post("/v2/profiles/settings/", {"entities": {"user": {"custom_instructions": None}}})
    found = client.get("/v2/profiles/settings/").json
    assert found["enabled"] is True
    assert found["entities"] == {"user": {"schema": SCHEMA, "custom_instructions": None}}
    assert stranger.get("/v2/profiles/settings/").json["enabled"] is False


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string", "description": "d"}
    for _ in range(depth):
        inner = {"type": "object", "description": "d", "properties": {"a": inner}}
    return inner


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ([], "JSON schema of type object"),
        ({}, "non-empty object"),
        ({"type": "array"}, "JSON schema of type object"),
        ({"properties": {"a": {"type": "string"}}}, "needs a description"),
        ({"properties": {"a": 3}}, "must be an object with a description"),
        ({"properties": {"a": {"type": "thing", "description": "d"}}}, "type is unknown"),
        ({"properties": {"a": {"$ref": "#", "description": "d"}}}, "$ref is not accepted"),
        ({"properties": {"a": {"type": "string", "pattern": "(a+)+$", "description": "d"}}}, "pattern is not accepted"),
        ({"properties": {"a": {"enum": 3, "description": "d"}}}, "is not a JSON schema"),
        (nested(9), "nested too deeply"),
        ({"properties": {f"p{i}": {"description": "d"} for i in range(101)}}, "at most 100"),
        ({"properties": {"a": {"description": "d" * 30_000}}}, "characters of JSON"),
    ],
)
def test_it_refuses_a_schema_that_it_could_not_fill(client: ApiClient, schema: Any, told: str) -> None:
    refused = client.post("/v2/profiles/settings/", {"entities": {"user": {"schema": schema}}})
    assert refused.status == 400 and told in refused.json["detail"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "nothing to change"),
        ({"enabled": "yes"}, "enabled must be true or false"),
        ({"schema": {}}, "Unsupported settings: schema"),
        ({"entities": []}, "entities must be an object"),
        ({"entities": {"agent": {}}}, "Unsupported settings: entities.agent"),
        ({"entities": {"user": {"color": 1}}}, "Unsupported settings: entities.user.color"),
        ({"entities": {"user": {"custom_instructions": 5}}}, "custom_instructions must be a string"),
        ({"entities": {"user": {"custom_instructions": "x" * 10_001}}}, "at most 10000"),
    ],
)
def test_it_refuses_settings_that_it_does_not_have(client: ApiClient, body: Any, told: str) -> None:
    refused = client.post("/v2/profiles/settings/", body)
    assert refused.status == 400 and told in refused.json["detail"]


def test_a_property_may_be_called_pattern() -> None:
    check_schema({"properties": {"pattern": {"type": "string", "description": "of the wallpaper"}}})
    with pytest.raises(InvalidInput):
        check_schema({"properties": {"a": {"description": "d", "items": [{"pattern": "x"}]}}})


# By itself


def test_it_makes_a_first_profile_and_another_when_enough_has_changed(client: ApiClient) -> None:
    say(client, *FACTS)
    tasks.refresh_profiles()
    assert not Profile.objects.exists()
    enable(client)
    tasks.refresh_profiles()
    tasks.refresh_profiles()
    assert client.get(PATH).json["generation_count"] == 1
    say(client, "I play the cello.")
    tasks.refresh_profiles()
    assert client.get(PATH).json["generation_count"] == 1
    said = ("I collect stamps.", "I am learning Greek.", "My brother is called Emil.", "I love chess.", "I hate fog.")
    say(client, *said)
    tasks.refresh_profiles()
    assert client.get(PATH).json["generation_count"] == 2


def test_it_leaves_users_of_other_projects_and_small_ones_alone(client: ApiClient, stranger: ApiClient) -> None:
    say(client, *FACTS[:2])
    say(stranger, *FACTS)
    enable(client)
    tasks.refresh_profiles()
    assert not Profile.objects.exists()


def test_a_profile_goes_with_its_user(client: ApiClient) -> None:
    say(client, *FACTS)
    say(client, *FACTS, user="bob")
    enable(client)
    trigger(client, Idempotency_Key="k1")
    trigger(client, "bob", Idempotency_Key="k2")
    client.delete("/v2/entities/user/ann/")
    assert list(Profile.objects.values_list("user_id", flat=True)) == ["bob"]
    assert not Event.objects.filter(options__entity_ids__contains=["ann"]).exists()
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["k2"]


def test_a_profile_that_holds_a_forgotten_run_is_dropped(client: ApiClient) -> None:
    body = {"messages": "I live in Oslo.", "user_id": "ann", "run_id": "r1"}
    finished(client.post("/v3/memories/add/", body).json["event_id"])
    say(client, *FACTS[1:])
    enable(client)
    trigger(client)
    client.delete("/v2/entities/run/r1/")
    assert not Profile.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_request_at_the_same_moment_is_one_job(project: Project) -> None:
    Scope.objects.create(project=project, user_id="ann")
    profiles.save_settings(project, {"enabled": True})
    found: list[tuple[int, bool]] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        try:
            barrier.wait()
            event, replayed = profiles.record_trigger(project, "ann", idempotency_key="k")
            found.append((event.pk, replayed))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len({pk for pk, _ in found}) == 1
    assert [replayed for _, replayed in found].count(False) == 1
    assert Event.objects.count() == 1
