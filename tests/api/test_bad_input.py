"""Whatever is sent: a 4xx whose sentences name what is wrong, never a 500, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_service import tasks
from memory_service.api import handlers
from memory_service.models import ApiKey, Project
from tests.conftest import ApiClient

HI = {"role": "user", "content": "I live in Bergen."}
ALICE = {"user_id": "alice"}
MISSING = "00000000-0000-4000-8000-000000000000"
NUL, SURROGATE = "a\x00b", "a\ud800b"
HUGE = 10**400

ADD, LIST, SEARCH = "/v3/memories/add/", "/v3/memories/", "/v3/memories/search/"
# Every path that reads a body.
WITH_BODY = [
    ("POST", ADD),
    ("POST", LIST),
    ("POST", SEARCH),
    ("POST", "/v1/memories/"),
    ("POST", "/v1/memories/search/"),
    ("POST", "/v2/memories/"),
    ("POST", "/v2/memories/search/"),
    ("PUT", f"/v1/memories/{MISSING}/"),
    ("PUT", "/v1/batch/"),
    ("DELETE", "/v1/batch/"),
    ("POST", "/v1/feedback/"),
    ("POST", "/v1/context/"),
    ("POST", "/v1/graph/"),
    ("POST", "/v1/graph/rank/"),
    ("POST", f"/v1/graph/entities/{MISSING}/merge/"),
    ("POST", "/memories"),
    ("PUT", f"/memories/{MISSING}"),
    ("POST", "/search"),
]
READ = [
    "/v1/ping/",
    f"/v1/memories/{MISSING}/",
    f"/v1/memories/{MISSING}/history/",
    f"/v1/event/{MISSING}/",
    "/v1/events/",
    "/v1/memories/events/",
    "/v1/sessions/",
    f"/v1/sessions/{MISSING}/",
    f"/v1/sessions/{MISSING}/messages/",
    "/v1/entities/",
    "/v1/entities/user/alice/",
    "/v1/graph/entities/",
    f"/v1/graph/entities/{MISSING}/",
    f"/v1/graph/paths/?source={MISSING}&target={MISSING}",
    "/v1/graph/communities/",
    "/v1/graph/duplicates/",
    "/v1/graph/merges/",
    "/v2/entities/user/alice/",
    "/v1/memories/?user_id=alice",
    "/memories?user_id=alice",
    f"/memories/{MISSING}",
    f"/memories/{MISSING}/history",
    "/entities",
]
PAGED = [
    "/v1/graph/entities/",
    "/v1/graph/merges/",
    "/v1/events/",
    "/v1/sessions/",
    "/v1/entities/",
    "/v1/memories/?user_id=alice",
    "/v1/memories/events/",
]


def short(value: Any) -> str:
    """Of a parameter, for a test's name."""
    return str(value)[:50]


def count_rows() -> dict[str, int]:
    return {
        model.__name__: model._default_manager.count() for model in apps.get_app_config("memory_service").get_models()
    }


@pytest.fixture(autouse=True)
def _nothing_is_written(request: pytest.FixtureRequest) -> Iterator[None]:
    """Around each test of this file that has a client; what the test itself writes, it must not count."""
    if "client" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("client")
    before = count_rows()
    yield
    assert count_rows() == before


def refused(answer: Any, status: int | tuple[int, ...], *words: str) -> None:
    accepted = (status,) if isinstance(status, int) else status
    assert answer.status in accepted, answer
    assert isinstance(answer.json["detail"], str)
    assert answer.json["detail"] == answer.json["error"]
    for word in words:
        assert word in answer.json["detail"], answer.json["detail"]


# Bodies that are not an object


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "the body is not JSON in UTF-8"),
        (b"messages=hello", "the body is not JSON in UTF-8"),
        (b"\xff\xfe", "the body is not JSON in UTF-8"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON value"),
        (b'{"metadata": {"a": 1e999}}', "the number 1e999 is too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "the body is not JSON in UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "the body is not JSON in UTF-8"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "is nested too deeply"),
        (b"[]", "the body must be a JSON object, not list"),
        (b"7", "the body must be a JSON object, not int"),
        (b"null", "the body must be a JSON object, not NoneType"),
        (b'"text"', "the body must be a JSON object, not str"),
        (b'{"a\\u0000": 1}', "a key of body holds a NUL character at position 1"),
        (b'{"a": ["\\u0000"]}', "body.a[0] holds a NUL character at position 0"),
        (b'{"a": {"b": "\\ud800"}}', "body.a.b holds a lone surrogate (U+D800)"),
        (b'{"\\udfff": 1}', "a key of body holds a lone surrogate (U+DFFF)"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_it_refuses_what_is_no_object(client: ApiClient, method: str, path: str, raw: bytes, words: str) -> None:
    refused(client.call(method, path, raw=raw), 400, words)


def test_it_refuses_another_content_type(client: ApiClient) -> None:
    answer = client.call("POST", ADD, raw=b"messages=hello", Content_Type="application/x-www-form-urlencoded")
    refused(answer, 415, "application/x-www-form-urlencoded")


def test_it_refuses_a_body_over_the_limit(client: ApiClient) -> None:
    raw = b'{"messages": "' + b"x" * django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE + b'"}'
    refused(client.call("POST", ADD, raw=raw), 413, "the body is over 16 MB")


# Bodies of the wrong shape


def message(**changed: Any) -> dict[str, Any]:
    return {"messages": [{**HI, **changed}], **ALICE}


ADDS: list[tuple[dict[str, Any], str]] = [
    ({}, "messages: This field is required"),
    ({"messages": [HI]}, "at least one of user_id, agent_id, app_id, run_id is needed"),
    ({"messages": [HI], "user_id": ""}, "user_id"),
    ({"messages": [HI], "user_id": None}, "at least one of user_id"),
    ({"messages": [HI], "user_id": ["alice"]}, "user_id: Not a valid string"),
    ({"messages": [HI], "user_id": True}, "user_id: Not a valid string"),
    ({"messages": [HI], "user_id": "x" * 256}, "user_id: Ensure this field has no more than 255 characters"),
    ({"messages": [HI], "run_id": {"a": 1}}, "run_id: Not a valid string"),
    ({"messages": [HI], "filters": {"user_id": 7}}, "filters.user_id must be a string of at most 255 characters"),
    ({"messages": [HI], "filters": {"AND": 5}}, "at least one of user_id"),
    ({"messages": [HI], "filters": {"AND": [[1], None]}}, "at least one of user_id"),
    ({"messages": [HI], "filters": "alice"}, "filters: Expected a dictionary"),
    ({"messages": [], **ALICE}, "messages must be a non-empty list"),
    ({"messages": None, **ALICE}, "messages: This field may not be null"),
    ({"messages": 7, **ALICE}, "messages must be a non-empty list"),
    ({"messages": "", **ALICE}, "no message has any content"),
    ({"messages": "  \n", **ALICE}, "no message has any content"),
    ({"messages": ["hi"], **ALICE}, "messages[0]: Invalid data. Expected a dictionary"),
    ({"messages": [HI, {"role": "user"}, {"content": "x"}], **ALICE}, "messages[2].role: This field is required"),
    (message(role="pirate"), 'messages[0].role: "pirate" is not a valid choice'),
    (message(content=7), "messages[0].content: must be a string or a list of parts, not int"),
    (message(content=[{"type": "video"}]), "messages[0].content: a part has type 'video'"),
    (message(content=[7]), "a part has type None"),
    (message(content=[{"type": "text", "text": 7}]), "a part has type 'text'"),
    (message(id=["m"]), "messages[0].id: Not a valid string"),
    (message(id="x" * 256), "messages[0].id: Ensure this field has no more than 255"),
    (message(name={"a": 1}), "messages[0].name: Not a valid string"),
    (message(created_at="9999-12-31T00:00:00Z"), "created_at=9999-12-31T00:00:00+00:00 is out of range: 1900 to 2100"),
    (message(created_at="soon"), "created_at: 'soon' is not a time"),
    ({"messages": [HI], "timestamp": -(10**11), **ALICE}, "timestamp"),
    ({"messages": [HI], "timestamp": -3_000_000_000, **ALICE}, "timestamp=1874"),
    ({"messages": [HI], "timestamp": 1741003200000, **ALICE}, "timestamp: 1741003200000 is not a time"),
    ({"messages": [HI], "timestamp": 10_000_000_000, **ALICE}, "a number counts seconds, not milliseconds"),
    ({"messages": [HI], "timestamp": HUGE, **ALICE}, "timestamp: 1000"),
    ({"messages": [HI], "timestamp": True, **ALICE}, "timestamp: True is not a time"),
    ({"messages": [HI], "timestamp": [1], **ALICE}, "timestamp: [1] is not a time"),
    ({"messages": [HI], "timestamp": "2025-13-01", **ALICE}, "timestamp: '2025-13-01' is not a time"),
    ({"messages": [HI], "timestamp": "0001-01-01T00:00:00+23:59", **ALICE}, "is out of range"),
    ({"messages": [HI], "observation_date": "9999-01-01", **ALICE}, "observation_date=9999"),
    ({"messages": [HI], "expiration_date": "tomorrow", **ALICE}, "expiration_date: Date has wrong format"),
    ({"messages": [HI], "expiration_date": 7, **ALICE}, "expiration_date: Date has wrong format"),
    ({"messages": [HI], "metadata": [1], **ALICE}, "metadata: Expected a dictionary"),
    ({"messages": [HI], "metadata": "x", **ALICE}, "metadata: Expected a dictionary"),
    ({"messages": [HI], "infer": "perhaps", **ALICE}, "infer: Must be a valid boolean"),
    ({"messages": [HI], "infer": [], **ALICE}, "infer: Must be a valid boolean"),
    ({"messages": [HI], "wait_s": 61, **ALICE}, "wait_s: Ensure this value is less than or equal to 60"),
    ({"messages": [HI], "wait_s": HUGE, **ALICE}, "wait_s: Integer value too large"),
    ({"messages": [HI], "wait_s": "nan", **ALICE}, "wait_s: A valid number is required"),
    ({"messages": [HI], "wait_s": "infinity", **ALICE}, "wait_s: A valid number is required"),
    ({"messages": [HI], "custom_instructions": "x" * 10_001, **ALICE}, "custom_instructions: Ensure this field has"),
    ({"messages": [HI], "custom_categories": ["food"], **ALICE}, "custom_categories"),
    ({"messages": [HI, {**HI, "id": "m"}, {**HI, "id": "m", "content": "No."}], **ALICE}, ""),
]


@pytest.mark.parametrize("path", [ADD, "/v1/memories/", "/memories"])
@pytest.mark.parametrize(("body", "words"), ADDS, ids=short)
def test_it_refuses_a_bad_add(client: ApiClient, path: str, body: dict[str, Any], words: str) -> None:
    refused(client.post(path, body), (400, 409), words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (message(content="x" * 2_000_000), "a message of 2000000 characters is over the limit of 200000"),
        ({"messages": [HI] * 1001, **ALICE}, "1001 messages are over the limit of 1000 in one add"),
        ({"messages": [HI], "metadata": {"k": "x" * 50_001}, **ALICE}, "metadata is over 50000 characters"),
    ],
    ids=["a message", "messages", "metadata"],
)
def test_it_refuses_too_much(client: ApiClient, body: dict[str, Any], words: str) -> None:
    refused(client.post(ADD, body), 413, words)


def test_messages_with_one_id_and_other_words_are_a_conflict(client: ApiClient) -> None:
    twice = [{**HI, "id": "m-1"}, {**HI, "id": "m-1", "content": "I live in Oslo."}]
    refused(client.post(ADD, {"messages": twice, **ALICE}), 409, "message id 'm-1'")


FILTERS: list[tuple[Any, str]] = [
    (7, "filters must be an object"),
    ([ALICE], "filters must be an object"),
    ({"usr_id": "alice"}, "unknown filter 'usr_id'; accepted are AND, OR, NOT, user_id"),
    ({"user_id": {"like": "a"}}, "unknown operator 'like'"),
    ({"user_id": 7}, "7 must be a string"),
    ({"AND": []}, "AND takes a non-empty list"),
    ({"AND": [ALICE, {}]}, "an empty filter"),
    ({"NOT": 7}, "filters must be an object"),
    ({**ALICE, "created_at": {"gt": HUGE}}, "is not a time"),
    ({**ALICE, "created_at": {"gt": "10000-01-01"}}, "is not a time"),
    ({**ALICE, "metadata": {"k": {"gt": None}}}, "gt compares numbers or strings"),
    ({**ALICE, "memory_ids": ["x"]}, "'x' is not a memory id"),
]


@pytest.mark.parametrize(
    "path", [LIST, SEARCH, "/v1/memories/search/", "/v2/memories/", "/v2/memories/search/", "/search"]
)
@pytest.mark.parametrize(("filters", "words"), FILTERS, ids=short)
def test_it_refuses_a_bad_filter(client: ApiClient, path: str, filters: Any, words: str) -> None:
    refused(client.post(path, {"query": "x", "filters": filters}), 400, words)


@pytest.mark.parametrize("path", [SEARCH, "/v1/memories/search/", "/v2/memories/search/", "/search"])
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"query": ""}, "query: This field may not be blank"),
        ({"query": None}, "query: This field may not be null"),
        ({"query": ["x"]}, "query: Not a valid string"),
        ({"query": "x" * 20_001}, "query: Ensure this field has no more than 20000 characters"),
        ({"top_k": 0}, "top_k: Ensure this value is greater than or equal to 1"),
        ({"top_k": 1001}, "top_k: Ensure this value is less than or equal to 1000"),
        ({"top_k": 2.5}, "top_k: A valid integer is required"),
        ({"top_k": "many"}, "top_k: A valid integer is required"),
        ({"top_k": HUGE}, "top_k"),
        ({"limit": -1}, "limit: Ensure this value is greater"),
        ({"threshold": -0.1}, "threshold: Ensure this value is greater than or equal to 0"),
        ({"threshold": 1.1}, "threshold: Ensure this value is less than or equal to 1"),
        ({"threshold": "nan"}, "threshold: A valid number is required"),
        ({"threshold": HUGE}, "threshold: Integer value too large"),
        ({"fields": "memory"}, "fields: Expected a list of items"),
        ({"fields": ["nope"]}, "fields: unknown 'nope'; accepted are id, memory"),
        ({"categories": "food"}, "categories: Expected a list"),
        ({"categories": [["food"]]}, "categories"),
        ({"metadata": []}, "metadata: Expected a dictionary"),
        ({"reference_date": "9999-12-31"}, "reference_date=9999"),
        ({"start_date": -1e15}, "start_date"),
        ({"show_expired": "maybe"}, "show_expired: Must be a valid boolean"),
    ],
    ids=short,
)
def test_it_refuses_a_bad_search(client: ApiClient, path: str, changed: dict[str, Any], words: str) -> None:
    refused(client.post(path, {"query": "x", "filters": ALICE, **changed}), 400, words)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"page": 0}, "page: Ensure this value is greater than or equal to 1"),
        ({"page": "abc"}, "page: A valid integer is required"),
        ({"page": 10**30}, "page: Ensure this value is less than or equal to 1000000000"),
        ({"page_size": 201}, "page_size: Ensure this value is less than or equal to 200"),
        ({"page_size": []}, "page_size: A valid integer is required"),
        ({"keywords": ["x"]}, "keywords: Not a valid string"),
        ({"end_date": "2025-02-30"}, "end_date: '2025-02-30' is not a time"),
    ],
    ids=short,
)
def test_it_refuses_a_bad_list(client: ApiClient, changed: dict[str, Any], words: str) -> None:
    refused(client.post(LIST, {"filters": ALICE, **changed}), 400, words)


@pytest.mark.parametrize("path", PAGED)
@pytest.mark.parametrize(
    ("page", "status", "words"),
    [
        ("0", 400, "page: Ensure this value is greater than or equal to 1"),
        ("-1", 400, "page: Ensure this value is greater than or equal to 1"),
        ("abc", 400, "page: A valid integer is required"),
        ("1.5", 400, "page: A valid integer is required"),
        ("%00", 400, "page: A valid integer is required"),
        (str(10**30), 400, "page: Ensure this value is less than or equal to 1000000000"),
        ("9" * 3000, 400, "page"),
        ("999", 404, "page 999 is beyond the end"),
    ],
)
def test_it_refuses_a_bad_page(client: ApiClient, path: str, page: str, status: int, words: str) -> None:
    joined = "&" if "?" in path else "?"
    refused(client.get(f"{path}{joined}page={page}"), status, words)


# Paths and queries


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/memories/?user_id=a%00b", 400, "user_id"),
        ("GET", "/memories?user_id=a%00b", 400, "user_id"),
        ("GET", "/v1/sessions/?user_id=a%00b", 400, "user_id: Null characters are not allowed"),
        ("GET", "/v1/events/?status=a%00b", 400, "status"),
        ("GET", "/v1/events/?status=DONE", 400, 'status: "DONE" is not a valid choice'),
        ("GET", "/v1/events/?event_type=NONE", 400, "event_type"),
        ("GET", "/v1/memories/?user_id=" + "x" * 256, 400, "user_id: Ensure this field has no more than 255"),
        ("GET", "/v1/memories/?user_id=a&fields=nope", 400, "fields: unknown 'nope'"),
        ("DELETE", "/v1/memories/?user_id=a%00b", 400, "filter user_id holds a NUL character"),
        ("DELETE", "/v1/memories/?metadata=%7B%22a%22:%22%5Cu0000%22%7D", 400, "NUL character"),
        ("DELETE", "/v1/memories/?filters=%7B%22user_id%22:%22%5Cud800%22%7D", 400, "lone surrogate"),
        ("DELETE", "/v1/memories/?filters=" + "[" * 3000, 400, "is not an object such as"),
        ("DELETE", "/v1/memories/?filters=%7B'user_id':9**9**9%7D", 400, "is not an object such as"),
        ("DELETE", "/memories?filters=%7B'user_id':7%7D", 400, "7 must be a string"),
        ("GET", "/v1/entities/user/a%00b/", 400, "entity name holds a NUL character"),
        ("DELETE", "/v2/entities/user/a%00b/", 400, "entity name holds a NUL character"),
        ("DELETE", "/entities/user/a%00b", 400, "entity name holds a NUL character"),
        ("DELETE", "/v2/entities/pirate/alice/", 400, "entity type 'pirate' is unknown; accepted are user, agent"),
        ("DELETE", "/entities/pirate/alice", 400, "entity type 'pirate' is unknown"),
        ("GET", "/v1/entities/user/" + "x" * 300 + "/", 404, "was not found in this project"),
        ("GET", "/v1/entities/user/%ED%A0%80/", 404, "was not found in this project"),
        ("GET", "/v1/memories/abc/", 404, "There is nothing at /v1/memories/abc/"),
        ("DELETE", "/v1/memories/%00/", 404, "There is nothing at"),
        ("PUT", "/v1/memories/%ED%A0%80/", 404, "There is nothing at"),
        ("GET", "/memories/abc", 404, "There is nothing at"),
        ("GET", "/v1/event/7/", 404, "There is nothing at"),
        ("GET", "/v1/sessions/7/messages/", 404, "There is nothing at"),
        ("GET", "/v3/nope/", 404, "There is nothing at /v3/nope/; see /api/docs/"),
        ("GET", f"/v1/memories/{MISSING}/", 404, f"memory {MISSING} was not found in this project"),
        ("GET", f"/v1/memories/{MISSING}/history/", 404, f"memory {MISSING} was not found"),
        ("GET", f"/v1/event/{MISSING}/", 404, f"event {MISSING} was not found"),
        ("GET", f"/v1/sessions/{MISSING}/", 404, f"session {MISSING} was not found"),
    ],
    ids=short,
)
def test_it_refuses_a_bad_address(client: ApiClient, method: str, path: str, status: int, words: str) -> None:
    refused(client.call(method, path), status, words)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ADD),
        ("DELETE", ADD),
        ("PUT", LIST),
        ("GET", SEARCH),
        ("PUT", "/v1/memories/"),
        ("POST", f"/v1/memories/{MISSING}/"),
        ("PATCH", f"/v1/memories/{MISSING}/"),
        ("POST", f"/v1/memories/{MISSING}/history/"),
        ("POST", "/v1/batch/"),
        ("GET", "/v1/feedback/"),
        ("POST", "/v1/events/"),
        ("DELETE", "/v1/sessions/"),
        ("POST", "/v1/entities/"),
        ("POST", "/v2/entities/user/alice/"),
        ("PUT", "/memories"),
        ("POST", "/entities"),
        ("GET", "/search"),
        ("POST", "/v1/ping/"),
    ],
)
def test_it_refuses_a_wrong_method(client: ApiClient, method: str, path: str) -> None:
    refused(client.call(method, path, {}), 405, method)
    assert client.response.headers["Allow"]


# Changes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "nothing to change: send at least one of text, metadata, timestamp, expiration_date"),
        ({"memory": "x"}, "nothing to change"),
        ({"text": ""}, "text: This field may not be blank"),
        ({"text": " \n"}, "text: This field may not be blank"),
        ({"text": None}, "text: This field may not be null"),
        ({"text": ["x"]}, "text: Not a valid string"),
        ({"text": "x" * 20_001}, "text: Ensure this field has no more than 20000 characters"),
        ({"metadata": [1]}, "metadata: Expected a dictionary"),
        ({"timestamp": 10**15}, "timestamp"),
        ({"expiration_date": "x"}, "expiration_date: Date has wrong format"),
    ],
    ids=short,
)
def test_it_refuses_a_bad_change(client: ApiClient, change: dict[str, Any], words: str) -> None:
    refused(client.put(f"/v1/memories/{MISSING}/", change), 400, words)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    ("memories", "words"),
    [
        (None, "memories: This field may not be null"),
        ([], "memories: This list may not be empty"),
        ({}, "memories: Expected a list of items"),
        (["x"], "memories[0]: Invalid data. Expected a dictionary"),
        ([{}], "memories[0].memory_id: This field is required"),
        ([{"memory_id": "x", "text": "y"}], "memories[0].memory_id: Must be a valid UUID"),
        ([{"memory_id": HUGE, "text": "y"}], "memories[0].memory_id: Must be a valid UUID"),
        ([{"memory_id": -1, "text": "y"}], "memories[0].memory_id: Must be a valid UUID"),
        ([{"memory_id": MISSING, "text": "y"}] * 1001, "memories: Ensure this field has no more than 1000 elements"),
    ],
    ids=short,
)
def test_it_refuses_a_bad_batch(client: ApiClient, method: str, memories: Any, words: str) -> None:
    refused(client.call(method, "/v1/batch/", {"memories": memories}), 400, words)


def test_it_refuses_a_batch_that_changes_nothing(client: ApiClient) -> None:
    refused(client.put("/v1/batch/", {"memories": [{"memory_id": MISSING}]}), 400, "memories[0]: nothing to change")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "memory_id: This field is required"),
        ({"memory_id": "x", "feedback": "POSITIVE"}, "memory_id: Must be a valid UUID"),
        ({"memory_id": MISSING, "feedback": "GREAT"}, 'feedback: "GREAT" is not a valid choice'),
        ({"memory_id": MISSING, "feedback": {}}, "feedback"),
        ({"memory_id": MISSING, "feedback": "POSITIVE", "feedback_reason": 5 * ["x"]}, "feedback_reason"),
    ],
    ids=short,
)
def test_it_refuses_bad_feedback(client: ApiClient, body: dict[str, Any], words: str) -> None:
    refused(client.post("/v1/feedback/", body), 400, words)


# Keys


@pytest.mark.parametrize(("method", "path"), [*WITH_BODY, *(("GET", path) for path in READ)])
def test_it_refuses_whoever_has_no_key(client: ApiClient, method: str, path: str) -> None:
    client.headers = {}
    refused(client.call(method, path, {} if method != "GET" else None), 401, "No API key: send the header")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Authorization": "Token ms-unknown"}, "Invalid API key"),
        ({"Authorization": "Bearer a b c"}, "Invalid API key"),
        ({"X_API_Key": "ms-unknown"}, "Invalid API key"),
        ({"Authorization": "Token \u00e6\u00f8"}, "Invalid API key"),
        ({"Authorization": "Token " + "x" * 5000}, "Invalid API key"),
        ({"Authorization": "Token"}, "No API key"),
        ({"Authorization": "Token "}, "No API key"),
        ({"Authorization": "Basic YWxpY2U6cw=="}, "No API key"),
        ({"Authorization": ""}, "No API key"),
        ({"X_API_Key": ""}, "No API key"),
    ],
    ids=short,
)
def test_it_refuses_a_key_that_is_none(client: ApiClient, headers: dict[str, str], words: str) -> None:
    client.headers = {}
    refused(client.get("/v1/ping/", **headers), 401, words)
    assert client.response.headers["WWW-Authenticate"] == "Token"


def test_it_refuses_a_revoked_key(client: ApiClient, project: Project) -> None:
    assert client.get("/v1/ping/").status == 200
    ApiKey.objects.get(project=project).revoke()
    refused(client.get("/v1/ping/"), 401, "Invalid API key")


# Anything at all

ODD_TEXT = st.sampled_from(
    ["", " ", "*", "x" * 300, "é", "\U0001f600", "%", "2025-03-31", MISSING, "null", "nan", "1e400"]
)
ODD = st.recursive(
    st.one_of(
        ODD_TEXT, st.none(), st.booleans(), st.integers(), st.sampled_from([HUGE, -HUGE, 0.5, -1.5, 1e300, 10**18, 0])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "user_id", "AND", "NOT", "in", "type", "k", ""]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
KEYS = [
    "messages", "filters", "metadata", "user_id", "run_id", "infer", "timestamp", "expiration_date", "wait_s", "query",
    "custom_categories", "categories", "top_k", "threshold", "fields", "page", "page_size", "keywords", "start_date",
    "text", "memories", "memory_id", "feedback", "feedback_reason", "explain", "output_format", "immutable",
]  # fmt: skip
GOOD = {"messages": "I live in Bergen.", "query": "Bergen", **ALICE, "filters": ALICE}


def test_it_never_fails_on_any_body(api_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ApiClient(api_key)
    monkeypatch.setattr(tasks, "enqueue", lambda event: None)
    monkeypatch.setattr(handlers, "wait_for", lambda event, wait_s: event)

    @settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(WITH_BODY), st.booleans(), st.dictionaries(st.sampled_from(KEYS), ODD, max_size=4))
    def check(called: tuple[str, str], good: bool, body: dict[str, Any]) -> None:
        answer = client.call(*called, {**(GOOD if good else {}), **body})
        assert answer.status < 500, answer.json
        if answer.status >= 400:
            assert answer.json["detail"] and answer.json["detail"] == answer.json["error"]
            json.dumps(answer.json)

    check()
