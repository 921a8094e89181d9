"""Relations by a scripted model: what is believed, what is closed, and what happens when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from memory_service.models import CompletionUsage, Entity, Project, Relation
from tests.conftest import ApiClient, finished
from tests.fakes import Malformed, ScriptedLLM, Status, asked_for, prompt_of

ANN = {"user_id": "ann"}
OSLO = {"text": "Ann lives in Oslo", "message": 1, "quote": "live in Oslo", "kind": "semantic"}
BERGEN = {"text": "Ann lives in Bergen", "message": 1, "quote": "live in Bergen", "kind": "semantic"}
PETS = {"text": "Ann has a dog named Rex", "message": 1, "quote": "have a dog, Rex", "kind": "semantic"}

Start = Callable[..., ScriptedLLM]


@pytest.fixture
def llm(settings: Any) -> Iterator[Start]:
    """Starts a server with a script by the name of what is asked for, and configures it as the model."""
    with ExitStack() as stack:

        def start(**replies: Any) -> ScriptedLLM:
            replies.setdefault("FactDecisions", [{"decisions": []}])
            server = stack.enter_context(ScriptedLLM(replies))
            changed = {"llm_model": "openai/scripted", "llm_api_base": server.base_url, "llm_api_key": "test"}
            settings.ENV = settings.ENV.model_copy(update=changed)
            return server

        yield start


def facts(*found: dict[str, Any]) -> dict[str, Any]:
    return {"facts": list(found)}


def stated(*found: tuple[str, str, str], memory: int = 1) -> dict[str, Any]:
    return {
        "relations": [
            {"memory": memory, "source": s, "source_type": "person", "relation": r, "target": t, "target_type": "place"}
            for s, r, t in found
        ]
    }


def obsolete(*found: tuple[int, int]) -> dict[str, Any]:
    return {"obsolete": [{"edge": edge, "by": by, "reason": "moved"} for edge, by in found]}


def say(client: ApiClient, content: str, **more: Any) -> Any:
    said = {"role": "user", "content": content, "name": "Ann"}
    answer = client.post("/v3/memories/add/", {"messages": [said], **ANN, "enable_graph": True, **more})
    assert answer.status == 200, answer.json
    return finished(answer.json["event_id"])


def by_model(*, open_only: bool = True) -> set[tuple[str, str, str]]:
    found = Relation.objects.filter(origin="llm")
    return set((found.open() if open_only else found).values_list("source__name", "type", "target__name"))


def num_asked(server: ScriptedLLM, name: str) -> int:
    return sum(asked_for(request) == name for request in server.requests)


def test_it_asks_only_where_the_graph_is_wanted(client: ApiClient, llm: Start, project: Project) -> None:
    server = llm(Facts=[facts(OSLO)], StatedRelations=[stated(("Ann", "Lives In", "Oslo"))])
    say(client, "I live in Oslo.", enable_graph=False)
    assert num_asked(server, "StatedRelations") == 0 and by_model() == set()
    project.enable_graph = True
    project.save()
    say(client, "Still, I live in Oslo.", enable_graph=None)
    assert num_asked(server, "StatedRelations") == 1 and by_model() == {("Ann", "lives_in", "Oslo")}
    say(client, "As I said, I live in Oslo.", enable_graph=False)
    assert num_asked(server, "StatedRelations") == 1
    relation = Relation.objects.get(origin="llm")
    assert relation.text == "Ann lives in Oslo" and relation.sources.get().memory.text == "Ann lives in Oslo"
    assert set(CompletionUsage.objects.values_list("purpose", flat=True)) >= {"extract", "relations"}


def test_it_closes_what_the_model_says_is_over_and_keeps_it(client: ApiClient, llm: Start) -> None:
    server = llm(
        Facts=[facts(OSLO), facts(BERGEN)],
        StatedRelations=[stated(("Ann", "lives_in", "Oslo")), stated(("Ann", "lives_in", "Bergen"))],
        ObsoleteRelations=[obsolete((1, 1))],
    )
    say(client, "I live in Oslo.", timestamp="2024-01-10T12:00:00Z")
    assert num_asked(server, "ObsoleteRelations") == 0, "nothing was known that could be over"
    say(client, "Now I live in Bergen.", timestamp="2024-05-10T12:00:00Z")
    assert by_model() == {("Ann", "lives_in", "Bergen")}
    closed = Relation.objects.get(origin="llm", target__name="Oslo")
    assert closed.invalid_at is not None and closed.invalid_at.isoformat() == "2024-05-10T12:00:00+00:00"
    asked = next(prompt_of(r) for r in server.requests if asked_for(r) == "ObsoleteRelations")
    assert "Ann lives in Oslo" in asked and "several destinations" in asked
    early = client.post("/v1/graph/", {"query": "Where does Ann live?", "filters": ANN, "as_of": "2024-03-01"}).json
    assert early["relations"][0]["target"] == "Oslo" and early["relations"][0]["invalid_at"].startswith("2024-05-10")


def test_it_revives_what_is_said_again(client: ApiClient, llm: Start) -> None:
    llm(
        Facts=[facts(OSLO), facts(BERGEN), facts({**OSLO, "text": "Ann still lives in Oslo"})],
        StatedRelations=[stated(("Ann", "lives_in", place)) for place in ("Oslo", "Bergen", "Oslo")],
        ObsoleteRelations=[obsolete((1, 1))],
    )
    say(client, "I live in Oslo.", timestamp="2024-01-10T12:00:00Z")
    say(client, "Now I live in Bergen.", timestamp="2024-05-10T12:00:00Z")
    say(client, "No, I still live in Oslo.", timestamp="2024-04-01T12:00:00Z")
    [oslo] = Relation.objects.filter(origin="llm", target__name="Oslo")
    assert (oslo.invalid_at, oslo.expired_at, oslo.num_mentions) == (None, None, 2)


def test_it_believes_only_what_the_memory_names_and_only_edges_it_showed(client: ApiClient, llm: Start) -> None:
    invented = stated(("Ann", "lives_in", "Oslo"), ("Ann", "owns", "Yacht"), ("Ann", "knows", "Ann"))
    invented["relations"] += [
        *stated(("Ann", "likes", "Oslo"), memory=9)["relations"],
        *stated(("Ann", "!!", "Oslo"))["relations"],
    ]
    llm(
        Facts=[facts(OSLO), facts(PETS)],
        StatedRelations=[invented, stated(("Ann", "has_pet", "Rex"))],
        ObsoleteRelations=[obsolete((7, 1), (1, 4), (0, 0))],
    )
    notes = " ".join(say(client, "I live in Oslo.").notes)
    assert by_model() == {("Ann", "lives_in", "Oslo")}
    assert "does not name 'Yacht'" in notes and "memory 9 is not among those shown" in notes
    assert "leads back to itself" in notes and "is no relation" in notes
    notes = " ".join(say(client, "I have a dog, Rex.").notes)
    assert by_model() == {("Ann", "lives_in", "Oslo"), ("Ann", "has_pet", "Rex")}
    assert notes.count("was not closed") == 3
    assert not Entity.objects.filter(name="Yacht").exists()


def test_it_keeps_the_patterns_and_says_so_when_the_model_fails(client: ApiClient, llm: Start) -> None:
    llm(Facts=[facts({**OSLO, "entities": [{"name": "Oslo", "type": "place"}]})], StatedRelations=[Malformed("no")])
    event = say(client, "I live in Oslo.")
    assert "no usable answer about the graph" in " ".join(event.notes)
    assert "the patterns' relations stand" in " ".join(event.notes)
    assert by_model() == set() and Relation.objects.open().exists()
    assert CompletionUsage.objects.filter(purpose="relations").count() == 3


def test_it_keeps_the_relations_and_closes_nothing_when_the_second_call_fails(client: ApiClient, llm: Start) -> None:
    llm(
        Facts=[facts(OSLO), facts(BERGEN)],
        StatedRelations=[stated(("Ann", "lives_in", "Oslo")), stated(("Ann", "lives_in", "Bergen"))],
        ObsoleteRelations=[Status(503)],
    )
    say(client, "I live in Oslo.")
    event = say(client, "Now I live in Bergen.")
    assert by_model() == {("Ann", "lives_in", "Oslo"), ("Ann", "lives_in", "Bergen")}
    assert "its relations stand, and none was closed" in " ".join(event.notes)


def test_the_same_relation_of_two_origins_is_shown_once(client: ApiClient, llm: Start) -> None:
    said = {**OSLO, "entities": [{"name": "Oslo", "type": "place"}], "subject": "Ann", "attribute": "lives in"}
    llm(Facts=[facts({**said, "value": "Oslo"})], StatedRelations=[stated(("user", "lives_in", "Oslo"))])
    say(client, "I live in Oslo.")
    assert Relation.objects.filter(type="lives_in").count() == 2
    shown = client.post("/v1/graph/", {"query": "Where does Ann live?", "filters": ANN}).json["relations"]
    assert sum(r["relationship"] == "lives_in" for r in shown) == 1
