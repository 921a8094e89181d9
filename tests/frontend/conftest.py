"""Alice owns the project, Bob is her teammate, Charlie is a stranger with a project of his own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from memory_service.models import (
    Entity,
    Event,
    EventStatus,
    Membership,
    Memory,
    MemoryEntity,
    MemorySource,
    Message,
    Organisation,
    Project,
    Scope,
    Session,
    hash_text,
)

PASSWORD = "correct horse battery"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(organisation=Organisation.objects.create(name="Northwind"), name="Relocation")


@pytest.fixture
def alice(project: Project) -> User:
    return make_user("alice", project, Membership.Role.OWNER)


@pytest.fixture
def bob(project: Project) -> User:
    return make_user("bob", project, Membership.Role.MEMBER)


@pytest.fixture
def charlie(db: None) -> User:
    elsewhere = Project.objects.create(organisation=Organisation.objects.create(name="Acme"), name="Elsewhere")
    return make_user("charlie", elsewhere, Membership.Role.OWNER)


@pytest.fixture
def sign_in() -> Callable[[User], Client]:
    def sign_in_as(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in_as


def make_user(name: str, project: Project | None = None, role: str = Membership.Role.MEMBER) -> User:
    user = User.objects.create_user(name, password=PASSWORD)
    if project:
        Membership.objects.create(project=project, user=user, role=role)
    return user


def make_session(project: Project, run: str | None = None, *, said_at: datetime = START, **ids: str) -> Session:
    nobody = dict.fromkeys(("user_id", "agent_id", "app_id", "run_id"))
    scope, _ = Scope.objects.get_or_create(project=project, **nobody | (ids or {"user_id": "maya"}))
    return Session.objects.create(scope=scope, run_id=run, first_said_at=said_at, last_said_at=said_at)


def make_event(session: Session, status: str = EventStatus.SUCCEEDED, **fields: Any) -> Event:
    return Event.objects.create(
        project=session.scope.project, scope=session.scope, type=Event.Type.ADD, status=status, **fields
    )


def say(session: Session, *texts: str, role: str = "user", name: str | None = None, event: Event | None = None):
    """Adds messages a minute apart, in bulk, and returns them."""
    event = event or make_event(session)
    first = session.num_messages
    times = [START + timedelta(minutes=first + n) for n in range(len(texts))]
    messages = Message.objects.bulk_create(
        Message(session=session, event=event, seq=first + n, role=role, name=name, content=text, said_at=times[n])
        for n, text in enumerate(texts)
    )
    session.num_messages += len(texts)
    session.last_said_at = max([*times, session.last_said_at])
    session.save()
    return messages


def remember(
    message: Message,
    text: str,
    *,
    of: str | None = None,
    entities: dict[str, str] | None = None,
    **fields: Any,
) -> Memory:
    """A memory that rests on the words `of` in the message: on all of them, unless told."""
    scope = message.session.scope
    fields = {"kind": Memory.Kind.SEMANTIC, "said_at": message.said_at} | fields
    memory = Memory.objects.create(
        project=scope.project,
        scope=scope,
        session=message.session,
        run_id=message.session.run_id,
        text=text,
        text_hash=hash_text(text),
        **fields,
    )
    start = message.content.index(of) if of else 0
    end = start + len(of or message.content)
    MemorySource.objects.create(memory=memory, message=message, start=start, end=end)
    for name, kind in (entities or {}).items():
        entity, _ = Entity.objects.get_or_create(
            scope=scope, normal_name=name.lower(), defaults={"name": name, "type": kind}
        )
        MemoryEntity.objects.create(memory=memory, entity=entity)
    return memory
