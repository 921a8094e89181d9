"""DELETE /v1/memories/: its query may hold a Python literal, of which only what JSON can say is understood."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from memory_service.models import Event
from tests.conftest import ApiClient


@pytest.mark.parametrize("name", ["filters", "metadata"])
@pytest.mark.parametrize(
    "value",
    [
        "{1, 2}",
        "b'x'",
        "2j",
        "1e999",
        "-1e999",
        "{7: 'x'}",
        "{None: 1}",
        "{('a',): 1}",
        "[{True: 1}]",
        "0x" + "f" * 9000,
    ],
    ids=lambda value: value[:12],
)
def test_it_refuses_what_json_cannot_say(client: ApiClient, name: str, value: str) -> None:
    for literal in (f"{{'user_id': {value}}}", f"{{'AND': [{{'user_id': 'a'}}, {{'metadata': {{'k': {value}}}}}]}}"):
        answer = client.delete(f"/v1/memories/?{name}={quote(literal)}")
        assert answer.status == 400, answer
        assert "is not an object such as {'user_id': 'alice'}, of what JSON can hold" in answer.json["detail"]
    assert not Event.objects.filter(type=Event.Type.DELETE).exists()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_it_refuses_numbers_that_are_none(client: ApiClient, value: str) -> None:
    literal = f'{{"k": {value}}}'
    answer = client.delete(f"/v1/memories/?metadata={quote(literal)}")
    assert answer.status == 400, answer


def test_it_reads_a_tuple_as_a_list(client: ApiClient) -> None:
    literal = "{'user_id': {'in': ('a', 'b')}}"
    answer = client.delete(f"/v1/memories/?filters={quote(literal)}")
    assert answer.status == 200
    assert Event.objects.get(public_id=answer.json["event_id"]).options["filter"] == {
        "AND": [{"user_id": {"in": ["a", "b"]}}]
    }
