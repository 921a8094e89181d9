"""Keys that are bound to a user, agent or app, and keys that only read, on the REST API."""

from __future__ import annotations

import re
import uuid

import pytest
from django.db import IntegrityError, transaction
from django.urls import URLPattern, get_resolver

from memory_service import forgetting
from memory_service.api.authentication import READING_POSTS
from memory_service.models import ApiKey, Memory, Project
from tests.conftest import ApiClient, Worker

REFUSED = "this key is bound to user_id and opens the MCP server alone: the REST API needs a key of the whole project"
READS = "this is a viewer's key, which only reads: writing needs a member's or an owner's key"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def api_routes() -> list[str]:
    """Every route of the API that asks for a key."""
    patterns = get_resolver("memory_service.api.urls").url_patterns
    return [str(pattern.pattern) for pattern in patterns if isinstance(pattern, URLPattern)]


def written(route: str) -> str:
    """A path that matches the route; what it names is nowhere."""
    ids = re.sub(r"<uuid:\w+>", str(uuid.uuid4()), route)
    return "/" + ids.replace("<str:kind>", "user").replace("<name:name>", "nobody")


def allowed(client: ApiClient, path: str) -> list[str]:
    client.call("OPTIONS", path)
    return [name.strip() for name in client.response.headers["Allow"].split(",") if name.strip() in METHODS]


@pytest.fixture
def bound(project: Project, worker: Worker) -> ApiClient:
    return ApiClient(ApiKey.issue(project, bound_to={"user_id": "ann"})[1])


@pytest.fixture
def viewer(project: Project, worker: Worker) -> ApiClient:
    return ApiClient(ApiKey.issue(project, role="viewer")[1])


def test_it_opens_nothing_of_the_rest_api_with_a_bound_key(bound: ApiClient) -> None:
    routes = api_routes()
    assert len(routes) > 60
    for route in routes:
        for method in METHODS:
            answer = bound.call(method, written(route), {} if method != "GET" else None)
            assert (answer.status, answer.json["detail"]) == (403, REFUSED), (method, route)


def test_it_lets_a_viewer_read(client: ApiClient, viewer: ApiClient) -> None:
    client.post("/v3/memories/add/", {"messages": "My locker code is 4711.", "user_id": "ann"})
    asked = {"query": "locker code", "filters": {"user_id": "ann"}}
    assert viewer.post("/v3/memories/search/", asked).json["results"]
    assert viewer.post("/v3/memories/", {"filters": {"user_id": "ann"}}).json["count"] >= 1
    assert viewer.post("/search", {"query": "locker code", "filters": {"user_id": "ann"}}).status == 200
    assert viewer.get("/v1/entities/").status == 200
    assert viewer.get("/v1/ping/").status == 200


def test_it_lets_a_viewer_ask_but_not_judge(client: ApiClient, viewer: ApiClient) -> None:
    client.post("/v3/memories/add/", {"messages": "My locker code is 4711.", "user_id": "ann"})
    answer = viewer.post("/v1/answers/", {"query": "What is my locker code?", "filters": {"user_id": "ann"}})
    assert answer.status == 200 and "4711" in answer.json["answer"]
    path = f"/v1/answers/{answer.json['id']}/"
    assert viewer.get(path).status == 200
    for refused in (
        viewer.post(f"{path}feedback/", {"correct": True}),
        viewer.delete(path),
        viewer.post("/v1/evaluations/", {"items": []}),
        viewer.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "user": "ann"}),
    ):
        assert refused.status == 403, refused.json


def test_it_lets_a_viewer_write_nowhere(client: ApiClient, viewer: ApiClient) -> None:
    """Every method of every route that is not known to read is refused before anything looks at the body."""
    for route in api_routes():
        path = written(route)
        for method in {"POST", "PUT", "PATCH", "DELETE"} & set(allowed(client, path)):
            if method == "POST" and route in READING_POSTS:
                assert viewer.call(method, path, []).status != 403, route
            else:
                answer = viewer.call(method, path, {})
                assert (answer.status, answer.json["detail"]) == (403, READS), (method, route)


def test_it_changes_nothing_by_a_viewers_key(client: ApiClient, viewer: ApiClient) -> None:
    client.post("/v3/memories/add/", {"messages": "My locker code is 4711.", "user_id": "ann"})
    [memory, *_] = client.post("/v3/memories/", {"filters": {"user_id": "ann"}}).json["results"]
    assert viewer.post("/v3/memories/add/", {"messages": "I was here.", "user_id": "ann"}).status == 403
    assert viewer.delete(f"/v1/memories/{memory['id']}/").status == 403
    assert viewer.delete(f"/v1/memories/{memory['id']}").status == 403
    assert viewer.delete("/v1/memories/?user_id=ann").status == 403
    assert viewer.delete("/v2/entities/user/ann/").status == 403
    assert Memory.objects.live().filter(public_id=memory["id"]).exists()


def test_it_keeps_only_keys_that_make_sense(project: Project) -> None:
    for wrong in ({"role": "owner", "bound_to": {"user_id": "ann"}}, {"bound_to": {"user_id": ""}}, {"role": "king"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKey.issue(project, **wrong)  # type: ignore[arg-type]


def test_it_ends_the_keys_of_an_entity_that_is_forgotten(project: Project, worker: Worker) -> None:
    """Their rows hold its name."""
    kept = [ApiKey.issue(project)[1], ApiKey.issue(project, bound_to={"user_id": "bob"})[1]]
    gone = [
        ApiKey.issue(project, bound_to=bound)[1] for bound in ({"user_id": "ann"}, {"user_id": "ann", "app_id": "desk"})
    ]
    elsewhere = Project.objects.create(organisation=project.organisation, name="Other")
    kept.append(ApiKey.issue(elsewhere, bound_to={"user_id": "ann"})[1])
    forgetting.forget_entity(project, "user", "ann")
    assert [ApiKey.find(key) is None for key in gone] == [True, True]
    assert [ApiKey.find(key) is None for key in kept] == [False] * 3
    assert not ApiKey.objects.filter(project=project, bound_user_id="ann").exists()
