"""Entities by any name that a client may give them, and page by page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory_service.api import entities
from memory_service.models import Project, Scope
from tests.conftest import ApiClient

NAMES = ["a", "/a", "a/", "a//b", "//a//", "http://x", "a\nb"]
FOUR_BYTES = "\N{CAT FACE}"
ADD = "/v3/memories/add/"


def keep(client: ApiClient, **ids: str) -> Any:
    return client.post(ADD, {"messages": "I live in Bergen.", "infer": False, **ids})


def call_as_sent(client: ApiClient, method: str, path: str) -> int:
    """With the path as it was on the wire beside the decoded one, which is how gunicorn hands it on."""
    return client._client.generic(method, path, headers=client.headers, RAW_URI=path).status_code


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("prefix", "end"), [("/v1", "/"), ("/v2", "/"), ("/v2", ""), ("", "")])
def test_it_destroys_the_entity_of_exactly_this_name(client: ApiClient, prefix: str, end: str, name: str) -> None:
    for each in NAMES:
        assert keep(client, user_id=each).status == 200
    path = f"{prefix}/entities/user/{quote(name, safe='')}{end}"
    if prefix:
        assert call_as_sent(client, "GET", path) == 200
    assert call_as_sent(client, "DELETE", path) == 200
    assert set(Scope.objects.values_list("user_id", flat=True)) == set(NAMES) - {name}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "a"])
def test_it_does_not_take_a_name_for_another(client: ApiClient, name: str) -> None:
    keep(client, user_id="a")
    for path in (f"/v2/entities/user/{quote(name, safe='')}/", f"/entities/user/{quote(name, safe='')}"):
        assert call_as_sent(client, "DELETE", path) == 404
    assert Scope.objects.filter(user_id="a").exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"user_id": FOUR_BYTES * 129}, "user_id is 516 bytes long in UTF-8: at most 512 are accepted"),
        ({"filters": {"AND": [{"run_id": FOUR_BYTES * 255}]}}, "filters.run_id is 1020 bytes long"),
    ],
)
def test_it_refuses_a_name_of_too_many_bytes(client: ApiClient, body: dict[str, Any], words: str) -> None:
    answer = client.post(ADD, {"messages": "Hello there.", **body})
    assert answer.status == 400
    assert words in answer.json["detail"]


def test_it_takes_four_names_of_the_greatest_length(client: ApiClient) -> None:
    # Texts that do not compress, or PostgreSQL would fit longer ones in.
    kinds = ("user_id", "agent_id", "app_id", "run_id")
    ids = {kind: "".join(chr(0x20000 + 331 * i + 7919 * k) for i in range(128)) for k, kind in enumerate(kinds)}
    assert keep(client, **ids).status == 200
    assert Scope.objects.get().user_id == ids["user_id"]


@pytest.fixture
def crowd(project: Project) -> list[tuple[str, str]]:
    """Type and name of 20 users, 20 apps and 5 agents, in the order they are listed in."""
    Scope.objects.bulk_create(Scope(project=project, user_id=f"u{i:02}", app_id=f"p{i:02}") for i in range(20))
    Scope.objects.bulk_create(Scope(project=project, agent_id=f"b{i}", user_id="u00") for i in range(5))
    users, apps = [("user", f"u{i:02}") for i in range(20)], [("app", f"p{i:02}") for i in range(20)]
    return [*users, *[("agent", f"b{i}") for i in range(5)], *apps]


def shown(page: Any) -> list[tuple[str, str]]:
    return [(entity["type"], entity["name"]) for entity in page["results"]]


def test_its_pages_are_the_whole(client: ApiClient, crowd: list[tuple[str, str]]) -> None:
    pages = [client.get(f"/v1/entities/?page={n}&page_size=7").json for n in range(1, 8)]
    assert [entity for page in pages for entity in shown(page)] == crowd
    assert {page["count"] for page in pages} == {45}
    assert [page["next"] is None for page in pages] == [False] * 6 + [True]
    assert pages[0]["total_users"] == pages[0]["total_apps"] == 20
    assert shown(client.get("/v1/entities/").json) == crowd


def test_a_page_reads_no_more_than_its_own(client: ApiClient, crowd: list[tuple[str, str]]) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get("/v1/entities/?page=2&page_size=7")
    read = [query["sql"] for query in queries if "COUNT(DISTINCT" in query["sql"]]
    assert len(read) == 1
    assert "u07" in read[0] and "u14" not in read[0] and "u00" not in read[0]


def test_without_a_page_it_ends_somewhere_and_says_where_it_goes_on(
    client: ApiClient, crowd: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entities, "MAX_PAGE_SIZE", 4)
    first = client.get("/v1/entities/").json
    following = client.get(first["next"]).json
    assert (first["count"], shown(first), shown(following)) == (45, crowd[:20], crowd[20:24])
