"""What tests of several packages share: a project with a key, a client of the API, a worker, a running service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from memory_service import forgetting, ingest, jobs, tasks
from memory_service.embedding import ensure_profile, serving_profile
from memory_service.models import ApiKey, Event, EventStatus, Organisation, Project
from tests.serving import STOP_TIMEOUT_S, Answer, Service


class ApiClient:
    """Django's own client with a key: `status` and parsed `json` of every answer."""

    def __init__(self, key: str | None) -> None:
        self._client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Token {key}"} if key else {}

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Answer:
        """body is sent as JSON; raw as it is. headers: X_API_Key="..." and so on, over those of the client."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self._client.generic(
            method, path, data, content_type="application/json", headers={**self.headers, **named}
        )
        self.response = response
        return Answer(response.status_code, json.loads(response.content) if response.content else None)

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Answer:
        return self.call("PUT", path, body, **headers)

    def delete(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("DELETE", path, body, **headers)


class Worker:
    """Does in the test's own process, and at once, what a Celery worker does; paused, it lets events wait."""

    def __init__(self) -> None:
        self.paused = False
        self.waiting: list[Event] = []

    def enqueue(self, event: Event) -> None:
        if self.paused:
            self.waiting.append(event)
        elif event.type in jobs.JOBS:
            while (retry_at := jobs.run(event.pk)) is not None and retry_at <= timezone.now():
                pass  # a job that takes turns
        elif event.type == Event.Type.DELETE:
            forgetting.run_deletion(event.pk)
        else:
            ingest.drain_scope(event.scope_id)

    def resume(self) -> None:
        self.paused = False
        while self.waiting:
            self.enqueue(self.waiting.pop(0))


@pytest.fixture
def profile(db: None) -> Iterator[None]:
    """The embedding profile of this test's database, which the process would otherwise remember from the last."""
    serving_profile.cache_clear()
    ensure_profile()
    yield
    serving_profile.cache_clear()


@pytest.fixture
def project(profile: None) -> Project:
    return Project.objects.create(organisation=Organisation.objects.create(name="Northwind"), name="Relocation")


@pytest.fixture
def api_key(project: Project) -> str:
    return ApiKey.issue(project)[1]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker()
    monkeypatch.setattr(tasks, "enqueue", worker.enqueue)
    return worker


@pytest.fixture
def client(api_key: str, worker: Worker) -> ApiClient:
    return ApiClient(api_key)


@pytest.fixture
def stranger(profile: None, worker: Worker) -> ApiClient:
    """Holds the key of another organisation's project."""
    other = Project.objects.create(organisation=Organisation.objects.create(name="Acme"), name="Elsewhere")
    return ApiClient(ApiKey.issue(other)[1])


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One real service for all tests that only talk to it. Its end is a test too."""
    running = Service(tmp_path_factory.mktemp("service") / "data")
    try:
        yield running.start()
        took_s = running.stop()
        left = running.processes()
        assert took_s < STOP_TIMEOUT_S, f"SIGTERM took {took_s:.1f} s"
        assert not left, f"left behind: {left}"
    finally:
        running.end()


def finished(event_id: str) -> Event:
    """The event, which must have succeeded."""
    event = Event.objects.get(public_id=event_id)
    assert event.status == EventStatus.SUCCEEDED, f"{event.status}: {event.error}"
    return event
