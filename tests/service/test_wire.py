"""What only a real server and several clients at once can show."""

from __future__ import annotations

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests

from tests.serving import Answer, Service

pytestmark = pytest.mark.slow

NUM_CLIENTS = 8


def at_once(service: Service, method: str, path: str, body: object) -> list[Answer]:
    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        return list(clients.map(lambda _: service.call(method, path, body), range(NUM_CLIENTS)))


def test_the_same_add_sent_at_once_is_one_event(service: Service) -> None:
    said = [{"role": "user", "content": f"I sang song {i}.", "id": f"m-{i}"} for i in range(5)]
    answers = at_once(service, "POST", "/v3/memories/add/", {"messages": said, "user_id": "wire-1", "wait_s": 20})
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["event_id"] for answer in answers}) == 1
    [session] = service.call("GET", "/v1/sessions/", user_id="wire-1").json["results"]
    assert session["num_messages"] == 5


def test_the_same_text_sent_at_once_is_one_memory(service: Service) -> None:
    body = {"messages": "The cellar key is blue.", "user_id": "wire-2", "infer": False}
    answers = at_once(service, "POST", "/v3/memories/add/", body)
    assert {answer.json["status"] for answer in answers} <= {"SUCCEEDED", "PENDING"}  # only so many may wait
    service.settle()
    made = [len(service.call("GET", f"/v1/event/{a.json['event_id']}/").json["results"]) for a in answers]
    assert Counter(made) == {0: NUM_CLIENTS - 1, 1: 1}
    assert service.call("POST", "/v3/memories/", {"filters": {"user_id": "wire-2"}}).json["count"] == 1


def test_updates_and_deletions_at_once_end_well(service: Service) -> None:
    add = {"messages": [{"role": "user", "content": f"Fact {i}."} for i in range(10)], "user_id": "wire-3"}
    ids = [r["id"] for r in service.call("POST", "/v3/memories/add/", {**add, "infer": False}).json["results"]]
    orders = [ids, ids[::-1]] * (NUM_CLIENTS // 2)

    def change(n: int) -> Answer:
        memories = [{"memory_id": memory_id, "text": f"{memory_id} as {n} says."} for memory_id in orders[n]]
        return service.call("PUT", "/v1/batch/", {"memories": memories})

    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        answers = list(clients.map(change, range(NUM_CLIENTS)))
    assert {answer.status for answer in answers} == {200}, answers
    listed = service.call("POST", "/v3/memories/", {"filters": {"user_id": "wire-3"}}).json["results"]
    assert len({memory["memory"].split(" as ")[1] for memory in listed}) == 1  # one batch won, whole
    deleted = at_once(service, "DELETE", "/v1/batch/", {"memories": [{"memory_id": i} for i in ids]})
    assert Counter(answer.status for answer in deleted) == {200: 1, 404: NUM_CLIENTS - 1}
    steps = service.call("GET", f"/v1/memories/{ids[0]}/history/").json
    assert [step["event"] for step in steps].count("DELETE") == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/memories/%00/", 404),
        ("GET", "/v1/entities/user/%00/", 400),
        ("GET", "/v1/entities/user/%ed%a0%80/", 404),
        ("GET", "/v1/sessions/?user_id=%00", 400),
        ("PATCH", "/v3/memories/add/", 405),
        ("GET", "//v1/memories/nothing/", 404),
    ],
)
def test_it_answers_bad_addresses_in_json(service: Service, method: str, path: str, status: int) -> None:
    answer = service.call(method, path)
    assert answer.status == status
    assert answer.json["detail"] and answer.json["detail"] == answer.json["error"]


def test_it_refuses_a_body_over_the_limit(service: Service) -> None:
    body = b'{"messages": "' + b"x" * (17 * 1024 * 1024) + b'"}'
    headers = {"Authorization": f"Token {service.api_key}", "Content-Type": "application/json"}
    answer = requests.post(f"{service.url}/v3/memories/add/", data=body, headers=headers, timeout=30)
    assert answer.status_code == 413
    assert "the body is over 16 MB" in answer.json()["detail"]


def test_it_reads_a_body_in_chunks(service: Service) -> None:
    headers = {"Authorization": f"Token {service.api_key}", "Content-Type": "application/json"}
    body = iter([b'{"query": "Where?", "filters"', b': {"user_id": "wire-4"}}'])
    answer = requests.post(f"{service.url}/v3/memories/search/", data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"results": []})


def test_it_tells_names_apart_that_differ_by_a_slash(service: Service) -> None:
    names = ["wire-5", "/wire-5", "wire-5/", "wire//5"]
    for name in names:
        service.call("POST", "/v3/memories/add/", {"messages": "Hello there.", "user_id": name, "infer": False})
    for name in names[::-1]:
        for path in (f"/v2/entities/user/{quote(name, safe='')}/", f"/v1/entities/user/{quote(name, safe='')}"):
            assert service.call("GET", path).json["name"] == name
    assert service.call("DELETE", f"/v2/entities/user/{quote(names[1], safe='')}").status == 200
    service.settle()
    left = [entity["name"] for entity in service.call("GET", "/v1/entities/").json["results"]]
    assert set(names) & set(left) == set(names) - {"/wire-5"}


def test_it_survives_a_client_that_hangs_up(service: Service) -> None:
    head = (
        "POST /v3/memories/add/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Token {service.api_key}\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + b'{"messages": "')
    assert service.call("GET", "/v1/ping/").status == 200
