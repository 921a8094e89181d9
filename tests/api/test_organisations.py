"""Organisations, projects, settings and members over HTTP, and the end of a project."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from memory_service import organisations, platform_tasks, ranking
from memory_service.locks import Kind, advisory_lock
from memory_service.models import (
    ApiKey,
    Event,
    Membership,
    Memory,
    Message,
    Organisation,
    Project,
    ProjectDeletion,
    Scope,
    Session,
)
from tests.conftest import ApiClient, Worker

ORGS = "/api/v1/orgs/organizations/"
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def owner(project: Project, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> ApiClient:
    """Holds an owner's key; what it deletes is deleted before it is answered."""
    monkeypatch.setattr(
        platform_tasks, "enqueue_project_deletion", lambda row: organisations.run_project_deletion(row.pk)
    )
    return ApiClient(ApiKey.issue(project, role=ApiKey.Role.OWNER)[1])


@pytest.fixture
def org(project: Project) -> str:
    return f"{ORGS}{project.organisation.public_id}/"


def own(project: Project) -> str:
    return f"{ORGS}{project.organisation.public_id}/projects/{project.public_id}/"


def patch(client: ApiClient, path: str, body: Any) -> Any:
    return client.call("PATCH", path, body)


def remember(client: ApiClient, text: str, user: str = "ann") -> None:
    answer = client.post("/v3/memories/add/", {"messages": text, "user_id": user, "infer": False})
    assert answer.json["status"] == "SUCCEEDED"


# Projects


def test_it_makes_a_project_whose_key_opens_it_and_nothing_else(owner: ApiClient, org: str, project: Project) -> None:
    made = owner.post(f"{org}projects/", {"name": "Travel", "description": "trips"})
    assert made.status == 201
    assert made.json["description"] == "trips"
    guest = ApiClient(made.json["api_key"])
    assert guest.get("/v1/ping/").json["project_id"] == made.json["project_id"]
    remember(guest, "The boat leaves at nine.")
    listed = {"filters": {"user_id": "ann"}}
    assert guest.post("/v3/memories/", listed).json["count"] == 1
    assert owner.post("/v3/memories/", listed).json["count"] == 0
    assert [p["name"] for p in owner.get(f"{org}projects/").json] == ["Relocation", "Travel"]
    assert [p["name"] for p in guest.get(f"{org}projects/").json] == ["Travel"]
    assert made.json["api_key"] not in str(owner.get(f"{org}projects/").json)


def test_it_lets_a_members_key_change_its_settings_and_no_more(client: ApiClient, org: str, project: Project) -> None:
    assert patch(client, own(project), {"custom_instructions": "Keep it short."}).status == 200
    for method, path, body in (
        ("POST", f"{org}projects/", {"name": "Travel"}),
        ("DELETE", own(project), None),
        ("DELETE", org, None),
        ("POST", ORGS, {"name": "Mine"}),
        ("POST", f"{org}members/", {"email": "ada@example.org"}),
        ("DELETE", f"{own(project)}members/?email=ada@example.org", None),
    ):
        answer = client.call(method, path, body)
        assert answer.status == 403, path
        assert "owner's key" in answer.json["detail"] == answer.json["error"]
    assert Project.objects.count() == 1


def test_it_hides_other_organisations(owner: ApiClient, stranger: ApiClient, project: Project) -> None:
    other = Project.objects.exclude(pk=project.pk).get()
    theirs = f"{ORGS}{other.organisation.public_id}/"
    mixed = f"{ORGS}{project.organisation.public_id}/projects/{other.public_id}/"
    for path in (theirs, f"{theirs}members/", f"{theirs}projects/", own(other), f"{own(other)}members/", mixed):
        assert owner.get(path).status == 404, path
    assert owner.delete(own(other)).status == 404
    assert patch(owner, mixed, {"name": "Taken over"}).status == 404
    assert [o["name"] for o in owner.get(ORGS).json] == ["Northwind"]
    other.refresh_from_db()
    assert other.name == "Elsewhere" and other.deleted_at is None


def test_it_hides_other_projects_from_a_members_key(client: ApiClient, project: Project) -> None:
    other = Project.objects.create(organisation=project.organisation, name="Beside")
    assert client.get(own(other)).status == 404
    assert patch(client, own(other), {"name": "x"}).status == 404


def test_it_refuses_a_project_name_that_is_taken(owner: ApiClient, org: str, project: Project) -> None:
    assert owner.post(f"{org}projects/", {"name": project.name}).status == 409
    owner.post(f"{org}projects/", {"name": "Travel"})
    answer = patch(owner, own(project), {"name": "Travel"})
    assert answer.status == 409 and "'Travel' already" in answer.json["detail"]


# Settings


def test_it_keeps_and_returns_every_setting(client: ApiClient, project: Project) -> None:
    given = {
        "name": "Moving",
        "description": "everything about the move",
        "custom_instructions": "Only what is about the move.",
        "agent_custom_instructions": "Keep what the agent promised.",
        "custom_categories": [{"housing": "flats and rent"}, "friends"],
        "extraction_policy": "local",
        "multilingual": True,
        "decay": False,
        "enable_graph": True,
        "memory_depth": "deep",
        "usecase_setting": {"kind": "assistant"},
        "version": "v3",
        "retrieval_criteria": [{"name": "joy", "weight": 2}],
        "inclusion_prompt": "dates",
        "exclusion_prompt": "small talk",
    }
    answer = patch(client, own(project), {**given, "org_id": "ignored", "project_id": "ignored"})
    assert answer.status == 200
    read = client.get(own(project)).json
    assert {k: read[k] for k in given} == {
        **given,
        "custom_categories": [{"housing": "flats and rent"}, {"friends": ""}],
    }
    project.refresh_from_db()
    assert project.custom_instructions == given["custom_instructions"]  # what extraction reads
    assert project.extraction_policy == "local"
    assert project.enable_graph is True
    assert ranking.load_effects(project, []).half_life_days is None
    assert client.get(f"{own(project)}?fields=name&fields=decay").json == {"name": "Moving", "decay": False}
    assert client.get(f"{own(project)}?fields=name,version").json == {"name": "Moving", "version": "v3"}
    assert patch(client, own(project), {"decay": None, "custom_instructions": None}).status == 200
    read = client.get(own(project)).json
    assert patch(client, own(project), {"decay": True}).status == 200
    assert ranking.load_effects(project, []).half_life_days == organisations.HALF_LIFE_DAYS
    ranking.set_decay(project, 7)
    assert patch(client, own(project), {"decay": True}).status == 200
    assert ranking.load_effects(project, []).half_life_days == 7  # its own stays
    assert patch(client, own(project), {"decay": None}).status == 200
    assert ranking.load_effects(project, []).half_life_days is None
    assert read["decay"] is None and read["custom_instructions"] is None and read["memory_depth"] == "deep"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"colour": "red"}, "unknown setting 'colour'; accepted are name, description, custom_instructions"),
        ({}, "nothing to change"),
        ({"name": ""}, "name must be a string"),
        ({"name": 7}, "name must be a string"),
        ({"name": "x" * 201}, "at most 200"),
        ({"custom_instructions": ["a"]}, "custom_instructions must be a string, not list"),
        ({"multilingual": "yes"}, "multilingual must be true or false"),
        ({"decay": 1}, "decay must be true or false"),
        ({"custom_categories": "food"}, "custom_categories must be a list"),
        ({"custom_categories": [{"food": 3}]}, "custom_categories[0]"),
        ({"custom_categories": [["food"]]}, "custom_categories[0] must be"),
        ({"extraction_policy": "magic"}, "accepted are auto, local"),
        ({"extraction_policy": {"a": 1}}, "accepted are auto, local"),
        ({"memory_depth": 4}, "memory_depth must be a string"),
    ],
)
def test_it_refuses_settings_that_make_no_sense(client: ApiClient, project: Project, body: Any, told: str) -> None:
    answer = patch(client, own(project), body)
    assert answer.status == 400 and told in answer.json["detail"]
    before = project.updated_at
    project.refresh_from_db()
    assert project.updated_at == before


def test_it_answers_odd_requests_with_a_4xx(owner: ApiClient, org: str, project: Project) -> None:
    for path in (f"{org}projects/", f"{org}members/", f"{own(project)}members/", ORGS):
        for raw in (b"[]", b"null", b"7", b'{"name": "a\\u0000b"}', b'{"email": "\\ud800@x.y"}', b"{", b'{"name": []}'):
            assert owner.call("POST", path, raw=raw).status == 400, (path, raw)
    for bad in ("nobody", "a b@c.d", "@", "x" * 200 + "@example.org", 7, None, ["a@b.c"]):
        assert owner.post(f"{own(project)}members/", {"email": bad}).status == 400, bad
    assert owner.post(f"{own(project)}members/", {"email": "a@b.c", "role": "KING"}).status == 400
    assert owner.post(f"{own(project)}members/", {"email": "a@b.c", "role": ["OWNER"]}).status == 400
    assert owner.get(f"{ORGS}not-an-id/").status == 404
    assert owner.get(f"{own(project)}?fields=password").status == 400
    assert patch(owner, own(project), {"usecase_setting": "x" * 30_000}).status == 413


# Members


def test_it_adds_changes_and_removes_members_of_a_project(owner: ApiClient, project: Project) -> None:
    members = f"{own(project)}members/"
    made = owner.post(members, {"email": "Ada@Example.org"})
    assert made.status == 201 and made.json["role"] == "READER"
    person = get_user_model().objects.get(email="ada@example.org")
    assert not person.has_usable_password()
    assert Membership.objects.get(project=project, user=person).role == "viewer"
    assert owner.post(members, {"email": "ada@example.org"}).status == 409
    assert owner.put(members, {"email": "ada@example.org", "role": "OWNER"}).json["role"] == "OWNER"
    assert owner.get(members).json["members"] == [
        {"username": "ada@example.org", "email": "ada@example.org", "role": "OWNER"}
    ]
    last = owner.delete(f"{members}?email=ada@example.org")
    assert last.status == 409 and "last owner" in last.json["detail"]
    assert owner.put(members, {"email": "ada@example.org", "role": "READER"}).status == 409
    owner.post(members, {"email": "bo@example.org", "role": "OWNER"})
    assert owner.delete(members, {"email": "ada@example.org"}).status == 200
    assert owner.delete(f"{members}?email=ada@example.org").status == 404
    assert [m["email"] for m in owner.get(members).json["members"]] == ["bo@example.org"]


def test_it_makes_an_organisations_owners_owners_of_its_projects(owner: ApiClient, org: str, project: Project) -> None:
    owner.post(f"{org}members/", {"email": "ada@example.org", "role": "OWNER"})
    owner.post(f"{org}members/", {"email": "bo@example.org"})
    owner.post(f"{org}projects/", {"name": "Travel"})
    owned = Membership.objects.filter(user__email="ada@example.org", role="owner")
    assert {m.project.name for m in owned} == {"Relocation", "Travel"}
    assert not Membership.objects.filter(user__email="bo@example.org").exists()
    owner.put(f"{org}members/", {"email": "bo@example.org", "role": "OWNER"})
    owner.put(f"{org}members/", {"email": "ada@example.org", "role": "READER"})
    assert {m.role for m in Membership.objects.filter(user__email="ada@example.org")} == {"viewer"}
    assert owner.delete(f"{org}members/?email=ada@example.org").status == 200
    assert not Membership.objects.filter(user__email="ada@example.org").exists()
    assert [m["email"] for m in owner.get(f"{org}members/").json["members"]] == ["bo@example.org"]


# The end of a project, and of an organisation


def test_it_deletes_everything_of_a_project_and_keeps_a_receipt(owner: ApiClient, org: str, project: Project) -> None:
    made = owner.post(f"{org}projects/", {"name": "Travel"}).json
    guest = ApiClient(made["api_key"])
    for i in range(3):
        remember(guest, f"The boat number {i} leaves at nine.", user=f"user-{i}")
    remember(owner, "This one stays.")
    gone = owner.delete(f"{org}projects/{made['project_id']}/")
    assert gone.status == 200 and gone.json["this_key_ended"] is False
    receipt = owner.get(f"{org}deletions/{gone.json['deletion']['id']}/").json
    assert receipt["status"] == "SUCCEEDED" and receipt["project_name"] == "Travel"
    assert receipt["deleted"] == {
        **receipt["deleted"],
        "memories": 3,
        "messages": 3,
        "sessions": 3,
    }
    assert guest.get("/v1/ping/").status == 401
    assert not Project.objects.filter(public_id=made["project_id"]).exists()
    for rows in (Scope, Session, Memory, Message):
        assert rows.objects.count() == 1, rows
    assert Event.objects.count() == 1
    assert owner.get(f"{org}projects/{made['project_id']}/").status == 404
    assert owner.post(f"{org}projects/", {"name": "Travel"}).status == 201


def test_it_closes_a_project_at_once_and_waits_for_a_busy_scope(owner: ApiClient, org: str, project: Project) -> None:
    made = owner.post(f"{org}projects/", {"name": "Travel"}).json
    guest = ApiClient(made["api_key"])
    remember(guest, "The boat leaves at nine.")
    scope = Scope.objects.get(project__public_id=made["project_id"])
    key = ApiKey.objects.get(project=project, role="owner")
    deletion = organisations.delete_project(key, scope.project)
    assert guest.get("/v1/ping/").status == 401
    with held_by_another(Kind.SCOPE, scope.pk):
        assert organisations.run_project_deletion(deletion.pk) is not None
        assert Memory.objects.count() == 1
    assert organisations.run_project_deletion(deletion.pk) is None
    assert Memory.objects.count() == 0
    assert organisations.run_project_deletion(deletion.pk) is None
    deletion.refresh_from_db()
    assert deletion.status == "SUCCEEDED" and deletion.deleted["memories"] == 1


def test_it_says_so_when_a_key_deletes_its_own_project(owner: ApiClient, org: str, project: Project) -> None:
    last = owner.delete(own(project))
    assert last.status == 409 and "last project" in last.json["detail"]
    other = Project.objects.create(organisation=project.organisation, name="Beside")
    alone = owner.delete(own(project))
    assert alone.status == 409 and "last owner's key" in alone.json["detail"]
    left = ApiClient(ApiKey.issue(other, role=ApiKey.Role.OWNER)[1])
    gone = owner.delete(own(project))
    assert gone.status == 200 and gone.json["this_key_ended"] is True
    assert "this key was one of them" in gone.json["message"]
    assert owner.get("/v1/ping/").status == 401
    assert left.get(f"{org}deletions/{gone.json['deletion']['id']}/").json["status"] == "SUCCEEDED"


def test_it_makes_and_deletes_an_organisation(owner: ApiClient, org: str, project: Project) -> None:
    only = owner.delete(org)
    assert only.status == 409 and "only organization" in only.json["detail"]
    made = owner.post(ORGS, {"name": "Southwind"})
    assert made.status == 201
    assert owner.get(f"{ORGS}{made.json['org_id']}/").status == 404
    their = ApiClient(made.json["api_key"])
    assert their.get(f"{ORGS}{made.json['org_id']}/").json["projects"][0]["name"] == "default"
    their.post(f"{ORGS}{made.json['org_id']}/projects/", {"name": "Second"})
    assert their.delete(f"{ORGS}{made.json['org_id']}/").status == 200
    assert their.get("/v1/ping/").status == 401
    assert [o.name for o in Organisation.objects.all()] == ["Northwind"]
    assert ProjectDeletion.objects.filter(status="SUCCEEDED").count() == 2
    assert owner.get("/v1/ping/").status == 200


@contextmanager
def held_by_another(kind: Kind, number: int) -> Iterator[None]:
    """The lock, held by another connection while the block runs."""
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with advisory_lock(kind, number) as held:
            assert held
            taken.set()
            free.wait(10)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(10)
        yield
    finally:
        free.set()
        thread.join()
