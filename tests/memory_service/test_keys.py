from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from memory_service.models import ApiKey, Organisation, Project


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("keys", *arguments, stdout=out)
    return out.getvalue().strip()


def test_it_creates_a_key_that_opens_its_project_and_stores_only_its_hash(project: Project) -> None:
    key = run("create", "--project", project.name, "--name", "agents")
    found = ApiKey.find(key)
    assert found is not None and found.project == project and found.name == "agents"
    assert key not in str(ApiKey.objects.values_list())
    found.refresh_from_db()
    assert found.last_used_at is not None


def test_it_lists_and_revokes_by_the_beginning(project: Project) -> None:
    key = run("create", "--project", project.name)
    prefix = key[:9]
    assert prefix in run("list") and key not in run("list")
    run("revoke", prefix)
    assert ApiKey.find(key) is None
    assert "revoked" in run("list")


def test_it_refuses_an_unknown_project_and_an_unknown_key(project: Project) -> None:
    with pytest.raises(CommandError, match=f"'nowhere' is unknown; there are: {project.name}"):
        run("create", "--project", "nowhere")
    with pytest.raises(CommandError, match="0 live keys begin with 'ms-xxxxxx'"):
        run("revoke", "ms-xxxxxx")


def test_it_asks_for_the_id_where_two_projects_have_one_name(project: Project) -> None:
    other = Project.objects.create(organisation=Organisation.objects.create(name="Acme"), name=project.name)
    with pytest.raises(CommandError, match=f"2 projects: give the id, one of .*{other.public_id} \\(of Acme\\)"):
        run("create", "--project", project.name)
    key = ApiKey.find(run("create", "--project", str(other.public_id), "--role", "owner"))
    assert key is not None and key.project == other and key.role == "owner"


def test_it_binds_a_key_to_a_scope_and_shows_it(project: Project) -> None:
    key = run("create", "--project", project.name, "--user-id", "ann", "--agent-id", "cook", "--role", "viewer")
    found = ApiKey.find(key)
    assert found is not None and found.bound_to == {"user_id": "ann", "agent_id": "cook"} and found.role == "viewer"
    assert "viewer" in run("list") and "user_id=ann  agent_id=cook" in run("list")


def test_it_refuses_a_scope_that_names_nobody_and_an_owner_that_is_bound(project: Project) -> None:
    for arguments, words in (
        (["--user-id", "*"], r"user_id='\*' names nobody"),
        (["--user-id", ""], "user_id='' names nobody"),
        (["--app-id", "x" * 300], "app_id has 300 characters"),
        (["--user-id", "a\x00"], "user_id holds a NUL"),
        (["--role", "owner", "--user-id", "ann"], "an owner's key manages the organisation and cannot be bound"),
    ):
        with pytest.raises(CommandError, match=words):
            run("create", "--project", project.name, *arguments)
    assert not ApiKey.objects.exists()
