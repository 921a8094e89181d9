"""What stands between a request and its view: the body's form, the host, a database that is away, threads that wait."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import psycopg
import psycopg_pool
import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.backends.postgresql.base import DatabaseWrapper

from memory_service import retrieval
from memory_service.api import handlers
from memory_service.models import Message
from memory_service.wsgi import application
from tests.conftest import ApiClient, Worker

SAID = {"user_id": "alice", "messages": "I live in Bergen.", "infer": False}


@pytest.fixture
def _in_one_transaction() -> Iterator[None]:
    """The service closes its connection between requests; the test's own must stay, as Django's client sees to."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def post_in_chunks(api_key: str, body: bytes) -> tuple[str, Any]:
    """As gunicorn hands it on: no length, and a stream that ends."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v3/memories/add/",
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": f"Token {api_key}",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    status: list[str] = []
    answer = b"".join(application(environ, lambda line, headers: status.append(line)))
    return status[0], json.loads(answer)


@pytest.mark.usefixtures("_in_one_transaction")
def test_it_reads_a_body_in_chunks(api_key: str, worker: Worker) -> None:
    status, answer = post_in_chunks(api_key, json.dumps(SAID).encode())
    assert status == "200 OK", answer
    assert Message.objects.get().content == SAID["messages"]


@pytest.mark.usefixtures("_in_one_transaction")
def test_it_bounds_a_body_in_chunks(api_key: str, worker: Worker) -> None:
    status, answer = post_in_chunks(api_key, b'"' + b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"')
    assert status.startswith("413")
    assert "the body is over 16 MB" in answer["detail"]


def test_it_says_which_host_it_does_not_answer_to(client: ApiClient) -> None:
    for path in ("/v1/ping/", "http://testserver//v1/ping/", "/memories?user_id=alice"):
        answer = client.get(path, Host="evil.example")
        assert answer.status == 400
        assert "'evil.example': whoever runs it adds it to ALLOWED_HOSTS" in answer.json["detail"]
        assert answer.json["error"] == answer.json["detail"]


def test_the_open_server_lists_as_many_as_a_page_holds(client: ApiClient) -> None:
    for i in range(3):
        client.post("/memories", {**SAID, "messages": f"Note number {i}."})
    assert len(client.get("/memories?user_id=alice&top_k=300").json["results"]) == 3
    assert len(client.get("/memories?user_id=alice&top_k=2").json["results"]) == 2
    assert len(client.get("/memories?user_id=alice&limit=1").json["results"]) == 1


@pytest.mark.parametrize("query", ["top_k=0", "top_k=1001", "top_k=x", "limit=-1"])
def test_the_open_server_names_what_it_refuses(client: ApiClient, query: str) -> None:
    answer = client.get(f"/memories?user_id=alice&{query}")
    assert answer.status == 400
    assert answer.json["detail"].startswith(query.partition("=")[0])


# Waiting


def test_it_keeps_threads_for_those_who_do_not_wait(client: ApiClient, worker: Worker, monkeypatch: Any) -> None:
    monkeypatch.setattr(handlers, "waiters", threading.BoundedSemaphore(1))
    worker.paused = True
    assert handlers.waiters.acquire(blocking=False)  # somebody waits
    assert client.post("/v3/memories/add/", SAID).json["status"] == "PENDING"
    [answer] = client.post("/memories", SAID).json["results"]
    assert answer["event"] == "PENDING"
    assert client.delete("/v2/entities/user/alice/").status == 200
    handlers.waiters.release()


def test_who_has_waited_makes_room(client: ApiClient, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "waiters", threading.BoundedSemaphore(1))
    worker.paused = True
    for _ in range(2):
        assert client.post("/v3/memories/add/", {**SAID, "infer": True, "wait_s": 0.05}).status == 200
        assert handlers.waiters.acquire(blocking=False)
        handlers.waiters.release()


def test_the_number_of_those_who_wait_leaves_two_threads() -> None:
    assert handlers.waiters._initial_value == max(1, settings.ENV.web_threads - 2)  # type: ignore[attr-defined]


# The database away


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_not_our_fault(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error("the connection is closed")

    monkeypatch.setattr(retrieval, "search", fail)
    answer = client.post("/v3/memories/search/", {"query": "Where?", "filters": {"user_id": "alice"}})
    assert (answer.status, client.response["Retry-After"]) == (503, "2")
    assert answer.json["detail"] == "The database cannot answer just now. Try again in 2 seconds."


def pooled(**changed: Any) -> DatabaseWrapper:
    """A connection of its own to the tests' database, from a pool as the service has one."""
    options = {**settings.DATABASES["default"]["OPTIONS"], "pool": {"min_size": 1, "max_size": 1, "timeout": 2}}
    return DatabaseWrapper({**connection.settings_dict, "OPTIONS": options, **changed}, alias="default")


def ask(database: DatabaseWrapper) -> int:
    """The process that answers, over a connection that is given back after."""
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])
    finally:
        database.close()


@pytest.mark.django_db
def test_the_pool_does_not_hand_out_dead_connections() -> None:
    assert settings.DATABASES["default"]["CONN_HEALTH_CHECKS"] is True
    database = pooled()
    try:
        first = ask(database)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
        assert ask(database) != first
    finally:
        database.close_pool()


@pytest.mark.django_db
def test_a_pool_that_has_none_is_a_database_that_is_away() -> None:
    assert issubclass(psycopg_pool.PoolTimeout, psycopg.OperationalError)
    database = pooled(HOST="/nowhere")
    try:
        with pytest.raises(OperationalError):
            ask(database)
    finally:
        database.close_pool()
