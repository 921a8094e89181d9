"""The migration over rows that were there before it, and back."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

NAME = ("memory_service", "0007_platform")


@pytest.mark.django_db(transaction=True)
def test_it_gives_the_first_key_and_the_owners_their_place() -> None:
    old = MigrationExecutor(connection)
    before = [node.key for node in old.loader.graph.node_map[NAME].parents if node.key[0] == "memory_service"]
    old.migrate(before)
    try:
        rows = old.loader.project_state(before).apps
        organisation = rows.get_model("memory_service", "Organisation").objects.create(name="Northwind")
        projects = [
            rows.get_model("memory_service", "Project").objects.create(organisation=organisation, name=name)
            for name in ("first", "second")
        ]
        for i, project in enumerate(projects):
            key = {"name": f"key-{i}", "prefix": "ms-", "key_hash": str(i)}
            rows.get_model("memory_service", "ApiKey").objects.create(project=project, **key)
        for name, role in (("ada", "owner"), ("bo", "member")):
            user = get_user_model().objects.create_user(name)
            for project in projects:
                rows.get_model("memory_service", "Membership").objects.create(
                    project=project, user_id=user.pk, role=role
                )
    finally:
        new = MigrationExecutor(connection)
        latest = new.loader.graph.leaf_nodes()
        new.migrate(latest)
    rows = new.loader.project_state(latest).apps
    keys = rows.get_model("memory_service", "ApiKey").objects.order_by("id")
    assert list(keys.values_list("name", "role")) == [("key-0", "owner"), ("key-1", "member")]
    people = rows.get_model("memory_service", "OrganisationMembership").objects.order_by("user__username")
    assert list(people.values_list("user__username", "role")) == [("ada", "owner"), ("bo", "viewer")]
