"""What messages leave in the graph: entities that are told apart, relations with their times and their support."""

from __future__ import annotations

from typing import Any

from memory_service.models import Entity, Event, Relation
from tests.conftest import ApiClient, finished

ANN = {"user_id": "ann"}


def say(client: ApiClient, *contents: str, name: str | None = "Ann", run: str | None = None, **more: Any) -> Event:
    messages = [
        {"role": "user", "content": content, **({"name": name} if name else {}), **more} for content in contents
    ]
    body = {"messages": messages, **ANN, **({"run_id": run} if run else {})}
    answer = client.post("/v3/memories/add/", body)
    assert answer.status == 200, answer.json
    return finished(answer.json["event_id"])


def relations(*, open_only: bool = True, co_occurrence: bool = False) -> set[tuple[str, str, str]]:
    found = Relation.objects.open() if open_only else Relation.objects.all()
    if not co_occurrence:
        found = found.exclude(origin="co_occurrence")
    return set(found.values_list("source__name", "type", "target__name"))


def names(**conditions: Any) -> dict[str, str]:
    return dict(Entity.objects.filter(**conditions).values_list("name", "discriminator"))


def test_it_relates_who_says_what_of_whom(client: ApiClient) -> None:
    say(client, "I live in Oslo.", "I work at Nordbank.", "My sister Eva lives in Rome.")
    assert relations() == {
        ("Ann", "lives_in", "Oslo"),
        ("Ann", "works_at", "Nordbank"),
        ("Ann", "sibling_of", "Eva"),
        ("Eva", "lives_in", "Rome"),
    }
    lives = Relation.objects.get(source__name="Ann", type="lives_in", origin="pattern")
    assert (lives.text, lives.confidence, lives.invalid_at) == ("Ann lives in Oslo", 0.95, None)
    assert [source.memory.text for source in lives.sources.select_related("memory")] == ["Ann lives in Oslo"]
    assert dict(Entity.objects.values_list("name", "type")) | {"Oslo": "place"} == {
        "Ann": "person",
        "Eva": "person",
        "Oslo": "place",
        "Rome": "place",
        "Nordbank": "organisation",
    }
