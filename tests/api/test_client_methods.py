"""Every public method of the official client, sync and async, against a real service: each answer must mean something.

The methods are found by looking at the classes, so that one that comes with a new version and has no step here fails.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.serving import Service

pytestmark = pytest.mark.slow

# Not built yet. Whoever builds one takes it out of here; its step is below.
PENDING: set[str] = set()
EVENT_TIMEOUT_S = 60
ORGS = "/api/v1/orgs/organizations/"
SCHEMA = {"type": "object", "properties": {"allergies": {"type": "array", "items": {"type": "string"}}}}
PROFILE_SCHEMA = {"type": "object", "properties": {"home": {"type": "string", "description": "where the user lives"}}}


class Blocking:
    """An async client, or its project, whose methods wait for their answer: one list of steps drives both."""

    def __init__(self, inner: Any, runner: asyncio.Runner) -> None:
        self._inner, self._runner = inner, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "project":
            return Blocking(found, self._runner)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *args, **kwargs: self._runner.run(found(*args, **kwargs))


@dataclass
class Drive:
    """A client on a project of its own, in an organisation of its own, whose owner it is; and what steps leave."""

    client: Any
    host: str
    api_key: str
    left: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Token {self.api_key}"}
        response = requests.request(method, self.host + path, json=body, headers=headers, timeout=60)
        response.raise_for_status()
        return response.json()

    def finished(self, answer: Any) -> dict[str, Any]:
        """The event that the answer names, which must succeed."""
        end = time.monotonic() + EVENT_TIMEOUT_S
        while time.monotonic() < end:
            event: dict[str, Any] = self.call("GET", f"/v1/event/{answer['event_id']}/")
            if event["status"] in ("SUCCEEDED", "FAILED"):
                assert event["status"] == "SUCCEEDED", event["error"]
                return event
            time.sleep(0.1)
        raise TimeoutError(f"event {answer['event_id']} is not done after {EVENT_TIMEOUT_S} s")

    def texts(self, user: str = "ann") -> dict[str, str]:
        return {m["memory"]: m["id"] for m in self.client.get_all(filters={"user_id": user})["results"]}


Step = Callable[[Drive], None]
CLIENT_STEPS: dict[str, Step] = {}
PROJECT_STEPS: dict[str, Step] = {}


def of_client(step: Step) -> Step:
    CLIENT_STEPS[step.__name__] = step
    return step


def of_project(step: Step) -> Step:
    PROJECT_STEPS[step.__name__.removeprefix("project_")] = step
    return step


# Memories


@of_client
def add(on: Drive) -> None:
    said = [
        {"role": "user", "name": "Ann", "content": "I am allergic to walnuts, I work as a baker and I live in Porto."}
    ]
    event = on.finished(on.client.add(said, user_id="ann", metadata={"by": "test"}))
    assert any("walnuts" in result["data"]["memory"] for result in event["results"])
    for i in range(4):
        answer = on.client.add(f"Note number {i} is on the door.", user_id="ann", infer=False)
        assert answer["status"] == "SUCCEEDED" and answer["results"][0]["event"] == "ADD"
    on.finished(on.client.add("Bo rows on Sundays.", user_id="bo"))


@of_client
def get_all(on: Drive) -> None:
    answer = on.client.get_all(filters={"user_id": "ann"})
    assert answer["count"] == len(answer["results"]) >= 5
    assert {memory["user_id"] for memory in answer["results"]} == {"ann"}
    on.left["notes"] = [on.texts()[f"Note number {i} is on the door."] for i in range(4)]


@of_client
def search(on: Drive) -> None:
    [hit] = on.client.search("What is Ann allergic to?", filters={"user_id": "ann"}, top_k=1)["results"]
    assert "walnuts" in hit["memory"] and 0 < hit["score"] <= 1


@of_client
def get(on: Drive) -> None:
    found = on.client.get(on.left["notes"][0])
    assert found["memory"] == "Note number 0 is on the door." and found["id"] == on.left["notes"][0]


@of_client
def update(on: Drive) -> None:
    on.client.update(on.left["notes"][0], text="The note is gone.", metadata={"checked": True})
    found = on.client.get(on.left["notes"][0])
    assert found["memory"] == "The note is gone." and found["metadata"] == {"checked": True}


@of_client
def history(on: Drive) -> None:
    steps = on.client.history(on.left["notes"][0])
    assert [step["event"] for step in steps] == ["ADD", "UPDATE"]
    assert steps[1]["old_memory"] == "Note number 0 is on the door." and steps[1]["new_memory"] == "The note is gone."


@of_client
def feedback(on: Drive) -> None:
    answer = on.client.feedback(on.left["notes"][0], feedback="POSITIVE", feedback_reason="true")
    assert answer["feedback"] == "POSITIVE" and on.client.get(on.left["notes"][0])["feedback"] == "POSITIVE"


@of_client
def batch_update(on: Drive) -> None:
    changes = [{"memory_id": on.left["notes"][1], "text": "One."}, {"memory_id": on.left["notes"][2], "text": "Two."}]
    on.client.batch_update(changes)
    assert {"One.", "Two."} <= set(on.texts())


@of_client
def batch_delete(on: Drive) -> None:
    on.client.batch_delete([{"memory_id": one} for one in on.left["notes"][1:3]])
    assert not {"One.", "Two."} & set(on.texts())


@of_client
def delete(on: Drive) -> None:
    on.client.delete(on.left["notes"][3])
    assert "Note number 3 is on the door." not in on.texts()


@of_client
def users(on: Drive) -> None:
    answer = on.client.users()
    assert {e["name"] for e in answer["results"] if e["type"] == "user"} == {"ann", "bo"}
    assert answer["total_users"] == 2


# Exports


@of_client
def create_memory_export(on: Drive) -> None:
    answer = on.client.create_memory_export(schema=SCHEMA, filters={"user_id": "ann"})
    assert answer["id"] and "request received" in answer["message"]
    on.left["export"] = answer["id"]


@of_client
def get_memory_export(on: Drive) -> None:
    assert on.client.get_memory_export(memory_export_id=on.left["export"]) == {"allergies": ["walnuts"]}
    assert on.client.get_memory_export(filters={"user_id": "ann"}) == {"allergies": ["walnuts"]}


# Webhooks


@of_client
def create_webhook(on: Drive) -> None:
    made = on.client.create_webhook(
        url="https://example.org/hook", name="Log", project_id=on.client.project_id, event_types=["memory_add"]
    )
    assert made["webhook_id"] and made["secret"] and made["is_active"] is True
    on.left["webhook"] = made["webhook_id"]


@of_client
def get_webhooks(on: Drive) -> None:
    [found] = on.client.get_webhooks(project_id=on.client.project_id)
    assert found["webhook_id"] == on.left["webhook"] and found["event_types"] == ["memory_add"]


@of_client
def update_webhook(on: Drive) -> None:
    on.client.update_webhook(on.left["webhook"], name="Other", event_types=["memory_delete"])
    [found] = on.client.get_webhooks(project_id=on.client.project_id)
    assert (found["name"], found["event_types"], found["url"]) == (
        "Other",
        ["memory_delete"],
        "https://example.org/hook",
    )


@of_client
def delete_webhook(on: Drive) -> None:
    assert "deleted" in on.client.delete_webhook(on.left["webhook"])["message"]
    assert on.client.get_webhooks(project_id=on.client.project_id) == []


# Settings, the older way


@of_client
def update_project(on: Drive) -> None:
    on.client.update_project(
        custom_instructions="Keep what is eaten.",
        custom_categories=[{"food": "what is eaten"}],
        memory_depth="deep",
        usecase_setting={"kind": "cook"},
        agent_custom_instructions="Keep recipes.",
    )


@of_client
def get_project(on: Drive) -> None:
    found = on.client.get_project(fields=["custom_instructions", "custom_categories"])
    assert found == {"custom_instructions": "Keep what is eaten.", "custom_categories": [{"food": "what is eaten"}]}
    assert on.client.get_project()["memory_depth"] == "deep"


@of_client
def chat(on: Drive) -> None:
    with pytest.raises(NotImplementedError):  # the client itself has none
        on.client.chat()


# Summaries and profiles


@of_client
def get_summary(on: Drive) -> None:
    assert "summary" in on.client.get_summary(filters={"user_id": "ann"})


@of_client
def update_profile_settings(on: Drive) -> None:
    stored = on.client.update_profile_settings(enabled=True, schema=PROFILE_SCHEMA, custom_instructions="Be brief.")
    assert stored["enabled"] is True and stored["entities"]["user"]["custom_instructions"] == "Be brief."


@of_client
def get_profile_settings(on: Drive) -> None:
    found = on.client.get_profile_settings()
    assert found["enabled"] is True and found["entities"]["user"]["schema"] == PROFILE_SCHEMA


@of_client
def generate_profile(on: Drive) -> None:
    made = on.client.generate_profile("ann", idempotency_key="once")
    assert made["job_id"] and made["operation"] == "trigger" and made["replayed"] is False
    assert on.client.generate_profile("ann", idempotency_key="once")["job_id"] == made["job_id"]
    on.left["profile"] = made


@of_client
def get_profile_job(on: Drive) -> None:
    end = time.monotonic() + EVENT_TIMEOUT_S
    while time.monotonic() < end:
        job = on.client.get_profile_job(on.left["profile"]["status_url"])["job"]
        if job["status"] not in ("pending", "running", "PENDING", "RUNNING"):
            break
        time.sleep(0.2)
    assert job["total"] == job["completed"] == 1
    assert on.client.get_profile_job(on.left["profile"]["job_id"])["job"] == job


@of_client
def get_profile(on: Drive) -> None:
    found = on.client.get_profile("ann")
    assert found["entity_id"] == "ann" and found["entity_type"] == "user" and found["status"] == "succeeded"


@of_client
def sample_profiles(on: Drive) -> None:
    assert on.client.sample_profiles(limit=1)["sampled"] == 1


# The end of memories


@of_client
def delete_all(on: Drive) -> None:
    on.finished(on.client.delete_all(user_id="ann"))
    assert on.texts() == {} and on.texts("bo") != {}


@of_client
def delete_users(on: Drive) -> None:
    assert on.client.delete_users(user_id="bo")["message"] == "Entity deleted successfully."
    on.call("GET", "/v1/events/?event_type=DELETE")
    wait_until(lambda: {e["name"] for e in on.client.users()["results"]} == {"ann"})


@of_client
def reset(on: Drive) -> None:
    assert "reset successful" in on.client.reset()["message"]
    wait_until(lambda: on.client.users()["results"] == [])


# Projects


@of_project
def project_get(on: Drive) -> None:
    found = on.client.project.get()
    assert found["project_id"] == on.client.project_id and found["name"] == "default"
    assert on.client.project.get(fields=["name"]) == {"name": "default"}


@of_project
def project_update(on: Drive) -> None:
    on.client.project.update(
        custom_instructions="Keep names.",
        custom_categories=[{"people": "who is who"}],
        multilingual=True,
        decay=False,
        agent_custom_instructions="Keep promises.",
    )
    found = on.client.project.get()
    assert found["custom_instructions"] == "Keep names." and found["custom_categories"] == [{"people": "who is who"}]
    assert found["multilingual"] is True and found["decay"] is False
    assert found["agent_custom_instructions"] == "Keep promises."


@of_project
def project_create(on: Drive) -> None:
    made = on.client.project.create("second", description="for the test")
    assert made["project_id"] != on.client.project_id and made["description"] == "for the test"
    headers = {"Authorization": f"Token {made['api_key']}"}
    ping = requests.get(f"{on.host}/v1/ping/", headers=headers, timeout=30).json()
    assert ping["project_id"] == made["project_id"] and ping["org_id"] == on.client.org_id
    on.left["second"] = made


@of_project
def project_add_member(on: Drive) -> None:
    answer = on.client.project.add_member("ada@example.org")
    assert answer["email"] == "ada@example.org" and answer["role"] == "READER"


@of_project
def project_get_members(on: Drive) -> None:
    [found] = on.client.project.get_members()["members"]
    assert found["email"] == "ada@example.org" and found["role"] == "READER"


@of_project
def project_update_member(on: Drive) -> None:
    on.client.project.add_member("bo@example.org", role="OWNER")
    on.client.project.update_member("ada@example.org", role="OWNER")
    roles = {m["email"]: m["role"] for m in on.client.project.get_members()["members"]}
    assert roles == {"ada@example.org": "OWNER", "bo@example.org": "OWNER"}


@of_project
def project_remove_member(on: Drive) -> None:
    on.client.project.remove_member("ada@example.org")
    assert [m["email"] for m in on.client.project.get_members()["members"]] == ["bo@example.org"]


@of_project
def project_delete(on: Drive) -> None:
    config, own = on.client.project.config, on.client.project_id
    config.project_id = on.left["second"]["project_id"]
    try:
        answer = on.client.project.delete()
    finally:
        config.project_id = own
    assert answer["this_key_ended"] is False
    receipt = f"{ORGS}{on.client.org_id}/deletions/{answer['deletion']['id']}/"
    wait_until(lambda: on.call("GET", receipt)["status"] == "SUCCEEDED")
    headers = {"Authorization": f"Token {on.left['second']['api_key']}"}
    assert requests.get(f"{on.host}/v1/ping/", headers=headers, timeout=30).status_code == 401
    assert on.client.project.get()["project_id"] == own


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + EVENT_TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


# The tests


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest, service: Service) -> Iterator[Drive]:
    from mem0 import AsyncMemoryClient, MemoryClient

    made = service.call("POST", ORGS, {"name": f"Clients, {request.param}"}).json
    key = made["api_key"]
    if request.param == "sync":
        yield Drive(MemoryClient(api_key=key, host=service.url), service.url, key)
        return
    with asyncio.Runner() as runner:
        yield Drive(Blocking(AsyncMemoryClient(api_key=key, host=service.url), runner), service.url, key)


def public_methods(cls: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def test_it_has_a_step_for_every_public_method() -> None:
    from mem0 import AsyncMemoryClient, MemoryClient
    from mem0.client.project import AsyncProject, Project

    assert public_methods(MemoryClient) == public_methods(AsyncMemoryClient) == set(CLIENT_STEPS)
    assert public_methods(Project) == public_methods(AsyncProject) == set(PROJECT_STEPS)
    assert set(CLIENT_STEPS) >= PENDING


def test_it_serves_every_method(drive: Drive) -> None:
    for name, step in [*CLIENT_STEPS.items(), *PROJECT_STEPS.items()]:
        if name not in PENDING:
            try:
                step(drive)
            except BaseException as exc:
                exc.add_note(f"in the step of {name}")
                raise


def test_it_lists_as_pending_only_what_is_not_there(service: Service) -> None:
    """So that nobody builds one and forgets to have it tested."""
    from mem0 import MemoryClient
    from mem0.exceptions import MemoryNotFoundError

    client = MemoryClient(api_key=service.api_key, host=service.url)
    for name in sorted(PENDING & {"get_summary", "get_profile_settings", "sample_profiles"}):
        with pytest.raises(MemoryNotFoundError, match="There is nothing at"):
            getattr(client, name)()
