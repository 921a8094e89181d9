"""Every call of the protocol, as the contract has it, in every generation of it."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from memory_service.extraction.rendered import render_block
from memory_service.models import Event, Membership, Memory, MemoryState, Message, Project, Scope, Session
from tests.conftest import ApiClient, Worker, finished

ALICE = {"user_id": "alice"}
FLAT = "I live in Bergen, near the fish market."
CAT = "My cat Pixel hates the vacuum cleaner."
MISSING = "00000000-0000-4000-8000-000000000000"


def add(client: ApiClient, *texts: str, **more: Any) -> str:
    """Adds what the user alice said. Returns the event's id."""
    body = {"messages": [{"role": "user", "content": text} for text in texts], **ALICE, **more}
    answer = client.post("/v3/memories/add/", body)
    assert answer.status == 200, answer.json
    return str(answer.json["event_id"])


def keep(client: ApiClient, text: str, **more: Any) -> str:
    """Stores a text as it is. Returns the memory's id."""
    body = {"messages": [{"role": "user", "content": text}], "infer": False, **ALICE, **more}
    [result] = client.post("/v3/memories/add/", body).json["results"]
    return str(result["id"])


def listed(client: ApiClient, filters: Any = ALICE, **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/v3/memories/", {"filters": filters, **more})
    assert answer.status == 200, answer.json
    return list(answer.json["results"])


def search(client: ApiClient, query: str, filters: Any = ALICE, **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/v3/memories/search/", {"query": query, "filters": filters, **more})
    assert answer.status == 200, answer.json
    return list(answer.json["results"])


def texts(memories: list[dict[str, Any]]) -> list[str]:
    return [memory["memory"] for memory in memories]


# Ping and keys


def test_ping_says_what_the_key_opens(client: ApiClient, project: Project) -> None:
    owner = get_user_model().objects.create_user("olga", email="olga@example.org")
    Membership.objects.create(project=project, user=owner, role=Membership.Role.OWNER)
    assert client.get("/v1/ping/").json == {
        "status": "ok",
        "org_id": str(project.organisation.public_id),
        "project_id": str(project.public_id),
        "user_email": "olga@example.org",
    }


@pytest.mark.parametrize(
    "header", [{"Authorization": "Token {}"}, {"Authorization": "bearer {}"}, {"X_API_Key": "{}"}], ids=str
)
def test_it_takes_the_key_in_any_of_its_headers(client: ApiClient, api_key: str, header: dict[str, str]) -> None:
    client.headers = {}
    assert client.get("/v1/ping/", **{k: v.format(api_key) for k, v in header.items()}).status == 200


@pytest.mark.parametrize("path", ["http://testserver//v1/ping/", "/v1/ping"])
def test_it_takes_a_path_with_a_slash_too_many_or_too_few(client: ApiClient, path: str) -> None:
    assert client.get(path).status == 200


# Add


def test_add_is_pending_and_then_succeeds(client: ApiClient) -> None:
    body = {"messages": [{"role": "user", "content": FLAT}], **ALICE}
    answer = client.post("/v3/memories/add/", body)
    assert answer.status == 200
    assert answer.json["status"] == "PENDING"
    assert answer.json["message"]
    event = finished(answer.json["event_id"])
    assert [result["event"] for result in event.results] == ["ADD"] * len(event.results)
    assert any("Bergen" in text for text in texts(listed(client)))


@pytest.mark.parametrize("asked", [{"wait_s": 5}, {"async_mode": False}, {"infer": False}], ids=str)
def test_add_waits_where_it_is_asked_to(client: ApiClient, asked: dict[str, Any]) -> None:
    body = {"messages": FLAT, **ALICE, **asked}
    answer = client.post("/v3/memories/add/", body)
    assert answer.json["status"] == "SUCCEEDED"
    assert all("Bergen" in result["data"]["memory"] for result in answer.json["results"]) and answer.json["results"]
    assert all(result["event"] == "ADD" and uuid.UUID(result["id"]) for result in answer.json["results"])


def test_infer_false_keeps_messages_as_they_are(client: ApiClient) -> None:
    said = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "ok, thanks!", "name": "Alice"},
        {"role": "assistant", "content": "You are welcome."},
    ]
    answer = client.post("/v3/memories/add/", {"messages": said, "infer": False, **ALICE})
    assert [r["data"]["memory"] for r in answer.json["results"]] == ["ok, thanks!", "You are welcome."]
    again = client.post("/v3/memories/add/", {"messages": said, "infer": False, **ALICE})
    assert again.json["results"] == []
    assert len(listed(client)) == 2


def test_add_takes_ids_from_filters_too(client: ApiClient) -> None:
    ids = {"AND": [{"user_id": "alice"}, {"run_id": "r1"}]}
    client.post("/v3/memories/add/", {"messages": FLAT, "filters": ids, "infer": False})
    [memory] = listed(client, {"run_id": "r1"})
    assert (memory["user_id"], memory["run_id"], memory["session_id"]) == ("alice", "r1", "r1")


def test_add_takes_parts_of_content(client: ApiClient) -> None:
    parts = [
        {"type": "text", "text": "Look at my boat."},
        {"type": "image_url", "image_url": {"url": "https://example.org/boat.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    client.post("/v3/memories/add/", {"messages": [{"role": "user", "content": parts}], "infer": False, **ALICE})
    shown = "Look at my boat.\n[shares a image: https://example.org/boat.png]\n[shares a image]"
    assert texts(listed(client)) == [shown]


def test_a_memory_has_every_field_of_the_contract(client: ApiClient) -> None:
    said = {"role": "user", "content": FLAT, "id": "m-1", "name": "Alice", "created_at": "2025-03-31T12:00:00Z"}
    body = {"messages": [said], "agent_id": "bot", "run_id": "r1", "metadata": {"source": "mail"}, "infer": False}
    client.post("/v3/memories/add/", {**body, **ALICE})
    [memory] = listed(client)
    session = Session.objects.get()
    assert client.get(f"/v1/memories/{memory['id']}/").json == memory
    assert set(memory) >= {"hash", "updated_at", "structured_attributes", "linked_memory_ids", "immutable"}
    assert memory["memory"] == FLAT
    assert memory["metadata"] == {"source": "mail"}
    assert memory["created_at"] == memory["valid_at"] == "2025-03-31T12:00:00+00:00"
    assert (memory["kind"], memory["lifecycle_state"], memory["categories"]) == ("episodic", "active", [])
    assert memory["invalid_at"] is memory["expiration_date"] is memory["replaced_by"] is None
    assert memory["sources"] == [
        {
            "message_id": "m-1",
            "session_id": str(session.public_id),
            "run_id": "r1",
            "created_at": "2025-03-31T12:00:00+00:00",
        }
    ]


@pytest.mark.parametrize(
    ("asked", "said_at"),
    [
        ({"timestamp": 1741003200}, "2025-03-03T12:00:00+00:00"),
        ({"observation_datetime": "2025-03-03T12:00:00+02:00"}, "2025-03-03T10:00:00+00:00"),
        ({"observation_date": "2025-03-03"}, "2025-03-03T00:00:00+00:00"),
    ],
    ids=str,
)
def test_add_backdates(client: ApiClient, asked: dict[str, Any], said_at: str) -> None:
    keep(client, FLAT, **asked)
    assert [memory["created_at"] for memory in listed(client)] == [said_at]


# Messages with ids of their own


def test_a_replay_changes_nothing(client: ApiClient) -> None:
    said = [{"role": "user", "content": FLAT, "id": "m-1"}, {"role": "user", "content": CAT, "id": "m-2"}]
    body = {"messages": said, "run_id": "r1", **ALICE}
    first = client.post("/v3/memories/add/", body).json["event_id"]
    before = listed(client)
    again = client.post("/v3/memories/add/", body).json
    assert again["event_id"] == first
    assert again["status"] == "SUCCEEDED"
    assert listed(client) == before
    assert Message.objects.count() == 2


def test_only_what_is_new_of_a_replay_is_added(client: ApiClient) -> None:
    old = {"role": "user", "content": FLAT, "id": "m-1"}
    client.post("/v3/memories/add/", {"messages": [old], **ALICE})
    new = {"role": "user", "content": CAT, "id": "m-2"}
    event_id = client.post("/v3/memories/add/", {"messages": [old, new], **ALICE}).json["event_id"]
    assert [m.content for m in finished(event_id).messages.all()] == [CAT]


def test_the_same_id_with_other_words_is_a_conflict(client: ApiClient) -> None:
    client.post("/v3/memories/add/", {"messages": [{"role": "user", "content": FLAT, "id": "m-1"}], **ALICE})
    changed = {"messages": [{"role": "user", "content": CAT, "id": "m-1"}], **ALICE}
    answer = client.post("/v3/memories/add/", changed)
    assert answer.status == 409
    assert "message id 'm-1' is already in this session with other words" in answer.json["detail"]
    assert Message.objects.count() == 1


def test_the_same_id_in_another_session_is_another_message(client: ApiClient) -> None:
    for run_id in ("r1", "r2"):
        said = {"role": "user", "content": f"{FLAT} {run_id}", "id": "m-1"}
        assert client.post("/v3/memories/add/", {"messages": [said], "run_id": run_id, **ALICE}).status == 200
    assert Message.objects.count() == 2


# Read your writes


def test_what_was_added_is_found_by_its_words_at_once_and_by_meaning_after(client: ApiClient, worker: Worker) -> None:
    worker.paused = True
    event_id = add(client, CAT)
    assert client.get(f"/v1/event/{event_id}/").json["status"] == "PENDING"
    [pending] = search(client, "vacuum cleaner")
    assert (pending["memory"], pending["lifecycle_state"]) == (CAT, "pending")
    assert search(client, "feline pet") == []
    worker.resume()
    assert client.get(f"/v1/event/{event_id}/").json["status"] == "SUCCEEDED"
    assert CAT in texts(search(client, "feline pet"))[0]
    assert len(search(client, "vacuum cleaner")) == len(listed(client))


@pytest.mark.parametrize("filters", [{"user_id": "bob"}, {"AND": [ALICE, {"NOT": {"user_id": "*"}}]}], ids=str)
def test_what_is_pending_passes_the_filter_too(client: ApiClient, worker: Worker, filters: dict[str, Any]) -> None:
    worker.paused = True
    add(client, CAT)
    assert search(client, "vacuum cleaner", filters) == []


def test_rendered_context_that_comes_back_is_not_remembered(client: ApiClient) -> None:
    block = render_block(["Alice lives in Bergen."], block_id="c-1")
    add(client, f"{block}\n{CAT}")
    assert len(listed(client)) >= 1
    assert not any("Bergen" in text for text in texts(listed(client)))
    event_id = add(client, block)
    assert finished(event_id).results == []


# Get all


def test_get_all_is_paged_newest_first(client: ApiClient) -> None:
    for i in range(5):
        keep(client, f"Fact number {i}.", timestamp=1741003200 + i)
    path = "/v3/memories/?page={}&page_size=2"
    first, second, third = (client.post(path.format(n), {"filters": ALICE}).json for n in (1, 2, 3))
    assert [first["count"], second["count"], third["count"]] == [5, 5, 5]
    assert [texts(page["results"]) for page in (first, second, third)] == [
        ["Fact number 4.", "Fact number 3."],
        ["Fact number 2.", "Fact number 1."],
        ["Fact number 0."],
    ]
    assert first["previous"] is None and third["next"] is None
    follow = urlsplit(first["next"])
    assert client.post(f"{follow.path}?{follow.query}", {"filters": ALICE}).json == second
    back = urlsplit(third["previous"])
    assert client.post(f"{back.path}?{back.query}", {"filters": ALICE}).json == second


def test_the_page_in_the_query_wins_over_that_in_the_body(client: ApiClient) -> None:
    keep(client, FLAT)
    keep(client, CAT)
    answer = client.post("/v3/memories/?page_size=1", {"filters": ALICE, "page": 2, "page_size": 2})
    assert (answer.json["count"], len(answer.json["results"])) == (2, 1)


def test_a_page_beyond_the_end_is_not_found(client: ApiClient) -> None:
    keep(client, FLAT)
    answer = client.post("/v3/memories/?page=2", {"filters": ALICE})
    assert answer.status == 404
    assert answer.json["detail"] == "page 2 is beyond the end: there are 1 pages of 100"
    assert client.post("/v3/memories/?page=1", {"filters": {"user_id": "nobody"}}).json["results"] == []


def test_get_all_takes_its_own_filters_and_fields(client: ApiClient) -> None:
    keep(client, FLAT, timestamp="2025-03-01", metadata={"topic": "home"})
    keep(client, CAT, timestamp="2025-03-05", metadata={"topic": "pets"})
    assert texts(listed(client, start_date="2025-03-05")) == [CAT]
    assert texts(listed(client, end_date="2025-03-04")) == [FLAT]
    assert texts(listed(client, keywords="FISH market")) == [FLAT]
    assert texts(listed(client, metadata={"topic": "pets"})) == [CAT]
    assert listed(client, categories=["food"]) == []
    assert all(set(memory) == {"id", "memory", "metadata"} for memory in listed(client, fields=["memory", "metadata"]))


@pytest.mark.parametrize("path", ["/v3/memories/", "/v3/memories/search/"])
def test_v3_refuses_entity_ids_at_the_top_level(client: ApiClient, path: str) -> None:
    answer = client.post(path, {"query": "x", "user_id": "alice"})
    assert answer.status == 400
    assert "user_id at the top level is not taken here: put it into filters" in answer.json["detail"]


def test_get_all_refuses_to_list_everybody(client: ApiClient) -> None:
    answer = client.post("/v3/memories/", {"filters": {"kind": "semantic"}})
    assert answer.status == 400
    assert "filters must name whose memories these are" in answer.json["detail"]
    keep(client, FLAT)
    assert texts(listed(client, {"user_id": "*"})) == [FLAT]


# Search


@pytest.fixture
def known(client: ApiClient) -> list[str]:
    """Ten facts about alice."""
    facts = [
        FLAT,
        CAT,
        "I am allergic to walnuts.",
        "My bicycle is a green Falcon.",
        "I teach mathematics at a secondary school.",
        "My sister Clara plays the cello.",
        "The spare key hangs behind the clock.",
        "I bought a sailing boat in May.",
        "We had soup for lunch on Tuesday.",
        "The heating was repaired yesterday.",
    ]
    body = {"messages": [{"role": "user", "content": fact} for fact in facts], "infer": False, **ALICE}
    client.post("/v3/memories/add/", body)
    return facts


def test_search_ranks_and_cuts(client: ApiClient, known: list[str]) -> None:
    hits = search(client, "Which nuts must she not eat?", top_k=3)
    assert len(hits) == 3
    assert hits[0]["memory"] == "I am allergic to walnuts."
    assert all(0 < hit["score"] <= 1 for hit in hits)
    assert len(search(client, "spare key")) == 10


def test_search_has_a_threshold_only_where_one_is_set(client: ApiClient, known: list[str]) -> None:
    everything = search(client, "spare key", top_k=100)
    assert len(everything) == len(known)
    assert len(search(client, "spare key", top_k=100, threshold=0)) == len(known)
    first, second = everything[0]["score"], everything[1]["score"]
    assert first > second + 0.1
    above = search(client, "spare key", threshold=(first + second) / 2)
    assert texts(above) == ["The spare key hangs behind the clock."]
    assert all(hit["score"] >= 0.5 for hit in above)
    assert search(client, "spare key", threshold=1) == []


def test_search_finds_what_only_the_words_say(client: ApiClient) -> None:
    keep(client, "zqx-4711 zqx-4712 zqx-4713")
    assert texts(search(client, "zqx-4712")) == ["zqx-4711 zqx-4712 zqx-4713"]


def test_search_explains_its_scores(client: ApiClient, known: list[str]) -> None:
    assert "score_breakdown" not in search(client, "spare key")[0]
    hit = search(client, "spare key", explain=True)[0]
    assert {"semantic", "bm25"} <= set(hit["score_breakdown"])
    assert hit["score_breakdown"]["bm25"] > 0


def test_search_answers_with_the_fields_asked_for(client: ApiClient, known: list[str]) -> None:
    hit = search(client, "spare key", fields=["memory"])[0]
    assert set(hit) == {"id", "memory", "score"}
    answer = client.post("/v3/memories/search/", {"query": "x", "filters": ALICE, "fields": ["memori"]})
    assert answer.status == 400
    assert "fields: unknown 'memori'; accepted are id, memory" in answer.json["detail"]


@pytest.mark.parametrize(("days", "shown"), [(-1, False), (0, True), (1, True)])
def test_what_expired_is_shown_only_when_asked_for(client: ApiClient, days: int, shown: bool) -> None:
    expires = (timezone.now() + timedelta(days=days)).date().isoformat()
    memory_id = keep(client, FLAT, expiration_date=expires)
    assert client.get(f"/v1/memories/{memory_id}/").json["expiration_date"] == expires
    assert bool(listed(client)) == bool(search(client, "Bergen")) == shown
    assert listed(client, show_expired=True) and search(client, "Bergen", show_expired=True)


# Update


def test_update_changes_text_metadata_time_and_expiry(client: ApiClient) -> None:
    memory_id = keep(client, FLAT, expiration_date="2099-12-31")
    path = f"/v1/memories/{memory_id}/"
    change = {"text": "I live in Oslo.", "metadata": {"checked": True}, "timestamp": 1741003200}
    answer = client.put(path, change)
    assert answer.status == 200
    assert (answer.json["memory"], answer.json["metadata"]) == ("I live in Oslo.", {"checked": True})
    assert answer.json["created_at"] == "2025-03-03T12:00:00+00:00"
    assert answer.json["expiration_date"] == "2099-12-31"
    assert client.put(path, {"expiration_date": None}).json["expiration_date"] is None
    assert client.get(path).json["memory"] == "I live in Oslo."
    assert texts(search(client, "Oslo")) == ["I live in Oslo."]
    assert search(client, "fish market", threshold=0.3) == []


def test_what_is_immutable_can_only_be_deleted(client: ApiClient) -> None:
    path = f"/v1/memories/{keep(client, FLAT, immutable=True)}/"
    answer = client.put(path, {"text": "I live in Oslo."})
    assert answer.status == 409
    assert "is immutable" in answer.json["detail"]
    assert client.get(path).json["memory"] == FLAT
    assert client.delete(path).status == 200


def test_update_refuses_a_text_that_is_there_already(client: ApiClient) -> None:
    keep(client, FLAT)
    answer = client.put(f"/v1/memories/{keep(client, CAT)}/", {"text": FLAT})
    assert answer.status == 409
    assert "says exactly this already" in answer.json["detail"]


# Delete and history


def test_delete_closes_and_keeps_the_history(client: ApiClient) -> None:
    memory_id = keep(client, FLAT)
    path = f"/v1/memories/{memory_id}/"
    client.put(path, {"text": "I live in Oslo."})
    answer = client.delete(path)
    assert answer.json == {"message": "Memory deleted successfully!", "cascade_count": 0}
    assert client.get(path).status == client.delete(path).status == client.put(path, {"text": "x"}).status == 404
    assert listed(client) == search(client, "Oslo") == []
    steps = client.get(f"{path}history/").json
    assert [(step["event"], step["old_memory"], step["new_memory"]) for step in steps] == [
        ("ADD", None, FLAT),
        ("UPDATE", FLAT, "I live in Oslo."),
        ("DELETE", "I live in Oslo.", None),
    ]
    assert steps[0]["input"] == [{"role": "user", "content": FLAT}]
    assert all(step["memory_id"] == memory_id and step["user_id"] == "alice" and step["reason"] for step in steps)


@pytest.fixture
def chain(client: ApiClient) -> list[str]:
    """Ids of three memories, each of which superseded the one before."""
    ids = [keep(client, f"I live in flat {n}.") for n in range(3)]
    rows = [Memory.objects.get(public_id=memory_id) for memory_id in ids]
    for older, newer in pairwise(rows):
        older.state, older.replaced_by = MemoryState.SUPERSEDED, newer
        older.save()
    return ids


def test_a_superseded_memory_is_read_but_not_found(client: ApiClient, chain: list[str]) -> None:
    first, second, last = chain
    assert client.get(f"/v1/memories/{first}/").json["replaced_by"] == second
    assert client.get(f"/v1/memories/{first}/").json["lifecycle_state"] == "superseded"
    [shown] = listed(client)
    assert (shown["id"], shown["linked_memory_ids"]) == (last, [second])
    assert [hit["id"] for hit in search(client, "flat")] == [last]


def test_delete_linked_takes_what_was_superseded_with_it(client: ApiClient, chain: list[str]) -> None:
    bystander = keep(client, CAT)
    answer = client.delete(f"/v1/memories/{chain[-1]}/?delete_linked=true")
    assert answer.json["cascade_count"] == 2
    assert [client.get(f"/v1/memories/{memory_id}/").status for memory_id in chain] == [404] * 3
    assert [memory["id"] for memory in listed(client)] == [bystander]


def test_delete_without_linked_leaves_the_rest(client: ApiClient, chain: list[str]) -> None:
    assert client.delete(f"/v1/memories/{chain[-1]}/").json["cascade_count"] == 0
    assert client.get(f"/v1/memories/{chain[0]}/").status == 200


@pytest.mark.parametrize(
    "query",
    [
        "user_id=alice",
        "filters=" + quote("{'user_id': 'alice'}"),
        "filters=" + quote('{"AND": [{"user_id": "alice"}]}'),
        "metadata=" + quote('{"topic": "home"}'),
        "user_id=alice&org_id=o&project_id=p",
    ],
)
def test_delete_all_takes_its_filter_in_every_form(client: ApiClient, query: str) -> None:
    keep(client, FLAT, metadata={"topic": "home"})
    keep(client, CAT, user_id="bob")
    answer = client.delete(f"/v1/memories/?{query}")
    assert answer.status == 200
    assert finished(answer.json["event_id"]).results == [{"deleted": {"memories": 1, "unprocessed_messages": 0}}]
    assert listed(client) == []
    assert texts(listed(client, {"user_id": "bob"})) == [CAT]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user_id=",
        "filters=",
        "filters={}",
        "filters=[]",
        "filters=alice",
        "filters=" + quote("{'AND': []}"),
        "filters=" + quote("{'AND': [{}]}"),
        "filters=" + quote("{'NOT': {}}"),
        "filters=" + quote("{'kind': 'episodic'}"),
        "filters=" + quote("{'kind': 'episodic'}") + "&metadata=",
        "filters=" + quote("{'NOT': {'user_id': 'bob'}}"),
        "filters=" + quote("{'user_id': 'alice'") + "x",
        "filters=" + quote("__import__('os').getcwd()"),
        "metadata={}",
        "metadata=" + quote("{'eq': {}}"),
        "metadata=" + quote("{'k': {'ne': 1}}"),
        "usr_id=alice",
    ],
)
def test_delete_all_without_a_usable_filter_deletes_nothing(client: ApiClient, query: str) -> None:
    keep(client, FLAT)
    answer = client.delete(f"/v1/memories/?{query}")
    assert answer.status == 400, answer.json
    assert answer.json["detail"] == answer.json["error"] != ""
    assert texts(listed(client)) == [FLAT]
    assert not Event.objects.filter(type=Event.Type.DELETE).exists()


# Batches


def test_a_batch_updates_and_deletes(client: ApiClient) -> None:
    ids = [keep(client, text) for text in (FLAT, CAT)]
    changes = [{"memory_id": i, "text": f"New {n}.", "metadata": {"n": n}} for n, i in enumerate(ids)]
    assert "2 memories" in client.put("/v1/batch/", {"memories": changes}).json["message"]
    assert sorted(texts(listed(client))) == ["New 0.", "New 1."]
    gone = client.delete("/v1/batch/", {"memories": [{"memory_id": i} for i in [*ids, ids[0]]]})
    assert "2 memories" in gone.json["message"]
    assert listed(client) == []


def test_a_batch_is_all_or_none(client: ApiClient, stranger: ApiClient) -> None:
    mine, theirs = keep(client, FLAT), keep(stranger, CAT)
    for last in (MISSING, theirs):
        changes = [{"memory_id": mine, "text": "New."}, {"memory_id": last, "text": "New too."}]
        answer = client.put("/v1/batch/", {"memories": changes})
        assert answer.status == 404
        assert last in answer.json["detail"]
        assert client.delete("/v1/batch/", {"memories": [{"memory_id": mine}, {"memory_id": last}]}).status == 404
    assert texts(listed(client)) == [FLAT]
    assert texts(listed(stranger)) == [CAT]


# Events, feedback, sessions


def test_events_say_what_became_of_everything(client: ApiClient, worker: Worker) -> None:
    done = add(client, FLAT, metadata={"source": "mail"})
    deleted = client.delete("/v1/memories/?user_id=nobody").json["event_id"]
    worker.paused = True
    waiting = add(client, CAT)
    one = client.get(f"/v1/event/{done}/").json
    assert (one["status"], one["event_type"], one["metadata"]) == ("SUCCEEDED", "ADD", {"source": "mail"})
    assert one["latency"] >= 0 and one["started_at"] and one["completed_at"] and one["error"] is None
    assert one["results"] and one["usage"] == []

    def ids(query: str, path: str = "/v1/events/") -> list[str]:
        return [event["id"] for event in client.get(f"{path}?{query}").json["results"]]

    assert ids("") == ids("", "/v1/memories/events/") == [waiting, deleted, done]
    assert ids("status=PENDING") == ids("status=pending&event_type=ADD") == [waiting]
    assert ids("status=SUCCEEDED") == [deleted, done]
    assert ids("event_type=DELETE") == ids("type=delete") == [deleted]
    assert ids("page=2&page_size=1") == [deleted]
    assert client.get(f"/v1/event/{MISSING}/").status == 404


def test_feedback_is_given_and_taken_back(client: ApiClient) -> None:
    memory_id = keep(client, FLAT)
    given = {"memory_id": memory_id, "feedback": "negative", "feedback_reason": "not true"}
    assert client.post("/v1/feedback/", given).json == {
        "id": memory_id,
        "feedback": "NEGATIVE",
        "feedback_reason": "not true",
    }
    assert client.get(f"/v1/memories/{memory_id}/").json["feedback"] == "NEGATIVE"
    client.post("/v1/feedback/", {"memory_id": memory_id, "feedback": None})
    assert client.get(f"/v1/memories/{memory_id}/").json["feedback"] is None


def test_sessions_keep_what_was_said(client: ApiClient) -> None:
    said = [
        {"role": "user", "content": FLAT, "id": "m-1", "name": "Alice", "created_at": "2025-03-03T12:00:00Z"},
        {"role": "assistant", "content": "Nice!", "created_at": "2025-03-03T12:01:00Z"},
    ]
    event_id = client.post("/v3/memories/add/", {"messages": said, "run_id": "r1", **ALICE}).json["event_id"]
    add(client, CAT, user_id="bob")
    [session] = client.get("/v1/sessions/?user_id=alice&run_id=r1").json["results"]
    assert (session["run_id"], session["user_id"], session["num_messages"]) == ("r1", "alice", 2)
    assert session["first_message_at"] == "2025-03-03T12:00:00+00:00"
    assert client.get(f"/v1/sessions/{session['id']}/").json == session
    messages = client.get(f"/v1/sessions/{session['id']}/messages/").json
    assert messages["count"] == 2
    first, second = messages["results"]
    assert (first["id"], first["role"], first["name"], first["content"]) == ("m-1", "user", "Alice", FLAT)
    assert first["event_id"] == event_id
    assert second["id"] == second["message_id"]
    assert client.get("/v1/sessions/").json["count"] == 2
    page = client.get(f"/v1/sessions/{session['id']}/messages/?page=2&page_size=1").json
    assert page["results"] == [second]
    assert (
        client.get(f"/v1/sessions/{MISSING}/").status == client.get(f"/v1/sessions/{MISSING}/messages/").status == 404
    )


# Entities


def test_entities_are_counted_by_type(client: ApiClient) -> None:
    add(client, FLAT, agent_id="bot", run_id="r1")
    keep(client, CAT, user_id="bob")
    answer = client.get("/v1/entities/").json
    named = {(entity["type"], entity["name"]): entity["total_memories"] for entity in answer["results"]}
    assert set(named) == {("user", "alice"), ("user", "bob"), ("agent", "bot"), ("run", "r1")}
    assert named["user", "bob"] == 1 and named["user", "alice"] == named["run", "r1"] == len(listed(client))
    totals = {name: answer[f"total_{name}"] for name in ("users", "agents", "apps", "runs")}
    assert totals == {"users": 2, "agents": 1, "apps": 0, "runs": 1}
    paged = client.get("/v1/entities/?page=2&page_size=3").json
    assert (paged["count"], len(paged["results"]), paged["next"]) == (4, 1, None)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("name", ["al ice/1", "ærlig", "a%2Fb", "x?y#z", "history/", "/a//b"])
def test_an_entity_is_read_and_destroyed_by_any_name(client: ApiClient, version: str, name: str) -> None:
    keep(client, FLAT, user_id=name)
    keep(client, CAT)
    path = f"/{version}/entities/user/{quote(name, safe='')}/"
    assert client.get(path).json["name"] == name
    answer = client.delete(path)
    assert answer.status == 200
    finished(answer.json["event_id"])
    assert client.get(path).status == 404
    assert listed(client, {"user_id": name}) == []
    assert not Scope.objects.filter(user_id=name).exists()
    assert not Message.objects.filter(content=FLAT).exists() and not Memory.objects.filter(text=FLAT).exists()
    assert texts(listed(client)) == [CAT]


@pytest.mark.parametrize(
    ("kind", "ids"), [("agent", {"agent_id": "e"}), ("app", {"app_id": "e"}), ("run", {"run_id": "e"})]
)
def test_every_type_of_entity_can_be_destroyed(client: ApiClient, kind: str, ids: dict[str, str]) -> None:
    keep(client, FLAT, **ids)
    keep(client, CAT)
    client.delete(f"/v2/entities/{kind}/e/")
    assert texts(listed(client)) == [CAT]
    assert [message.content for message in Message.objects.all()] == [CAT]
    assert client.get(f"/v2/entities/{kind}/e/").status == 404


# Older generations


def test_v1_wraps_as_its_clients_expect(client: ApiClient) -> None:
    body = {"messages": [{"role": "user", "content": FLAT}], **ALICE}
    [queued] = client.post("/v1/memories/", body).json
    assert (queued["status"], finished(queued["event_id"]).status) == ("PENDING", "SUCCEEDED")
    later = {**body, "messages": CAT, "infer": False, "output_format": "v1.1"}
    wrapped = client.post("/v1/memories/", later).json
    assert wrapped["relations"] == [] and wrapped["results"][0]["data"]["memory"] == CAT
    bare = client.get("/v1/memories/?user_id=alice").json
    assert CAT in texts(bare)
    paged = client.get("/v1/memories/?user_id=alice&page=1&page_size=1").json
    assert len(paged["results"]) == 1 and paged["count"] == len(bare)
    assert client.get("/v1/memories/?user_id=alice&output_format=v1.1").json == {"results": bare}
    chosen = client.get("/v1/memories/?user_id=alice&fields=memory,hash").json
    assert set(chosen[0]) == {"id", "memory", "hash"}
    assert client.get("/v1/memories/").status == 400


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_older_searches_take_ids_at_the_top_level(client: ApiClient, version: str) -> None:
    keep(client, CAT)
    asked = {"query": "cat", **ALICE, "version": "v2", "limit": 5, "only_metadata_based_search": False}
    assert texts(client.post(f"/{version}/memories/search/", asked).json) == [CAT]
    wrapped = client.post(f"/{version}/memories/search/", {**asked, "output_format": "v1.1"}).json
    assert texts(wrapped["results"]) == [CAT] and wrapped["relations"] == []
    asked = {"query": "cat", "filters": {"OR": [ALICE, {"agent_id": "x"}]}}
    assert texts(client.post(f"/{version}/memories/search/", asked).json) == [CAT]


def test_v2_lists_bare_or_paged(client: ApiClient) -> None:
    keep(client, CAT)
    assert texts(client.post("/v2/memories/", {"filters": ALICE}).json) == [CAT]
    assert texts(client.post("/v2/memories/", {**ALICE}).json) == [CAT]
    assert client.post("/v2/memories/?page=1&page_size=1", {"filters": ALICE}).json["count"] == 1


def test_it_speaks_the_open_servers_dialect(client: ApiClient) -> None:
    body = {"messages": [{"role": "user", "content": CAT}], **ALICE, "infer": False}
    [result] = client.post("/memories", body).json["results"]
    assert (result["memory"], result["event"]) == (CAT, "ADD")
    path = f"/memories/{result['id']}"
    assert client.get(path).json["memory"] == CAT
    assert texts(client.get("/memories?user_id=alice&top_k=5").json["results"]) == [CAT]
    assert client.get("/memories").status == 400
    found = client.post("/search", {"query": "cat", **ALICE, "top_k": 1, "explain": True}).json["results"]
    assert texts(found) == [CAT] and found[0]["score_breakdown"]
    assert client.put(path, {"text": "My dog."}).json["message"]
    assert client.put(path, {"data": "My dog Rex."}).status == 200
    assert [step["event"] for step in client.get(f"{path}/history").json] == ["ADD", "UPDATE", "UPDATE"]
    assert [(one["type"], one["name"]) for one in client.get("/entities").json] == [("user", "alice")]
    assert client.delete(path).json["message"]
    assert client.get(path).status == 404
    client.post("/memories", body)
    assert client.delete("/memories?user_id=alice").json["message"]
    assert client.get("/memories?user_id=alice").json["results"] == []
    assert client.delete("/memories").status == 400
    client.post("/memories", {**body, "messages": FLAT})
    assert client.delete("/entities/user/alice").status == 200
    assert client.get("/entities").json == []
    assert client.delete("/entities/user/alice").status == 404


def test_the_open_servers_add_waits_for_what_was_remembered(client: ApiClient) -> None:
    results = client.post("/memories", {"messages": [{"role": "user", "content": CAT}], **ALICE}).json["results"]
    assert any("Pixel" in result["memory"] for result in results)


# Two projects


@pytest.fixture
def secret(client: ApiClient, worker: Worker) -> dict[str, str]:
    """What alice's project holds: the ids a stranger could try."""
    event_id = add(client, FLAT, run_id="r1", agent_id="bot", app_id="web")
    worker.paused = True
    add(client, "The secret word is zanzibar.", run_id="r1")
    worker.paused = False
    return {
        "memory": listed(client)[0]["id"],
        "event": event_id,
        "session": str(Session.objects.get(run_id="r1", scope__agent_id="bot").public_id),
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/memories/{memory}/", None),
        ("PUT", "/v1/memories/{memory}/", {"text": "Stolen."}),
        ("DELETE", "/v1/memories/{memory}/", None),
        ("GET", "/v1/memories/{memory}/history/", None),
        ("PUT", "/v1/batch/", {"memories": [{"memory_id": "{memory}", "text": "Stolen."}]}),
        ("DELETE", "/v1/batch/", {"memories": [{"memory_id": "{memory}"}]}),
        ("POST", "/v1/feedback/", {"memory_id": "{memory}", "feedback": "POSITIVE"}),
        ("GET", "/v1/event/{event}/", None),
        ("GET", "/v1/sessions/{session}/", None),
        ("GET", "/v1/sessions/{session}/messages/", None),
        ("GET", "/v1/entities/user/alice/", None),
        ("DELETE", "/v1/entities/user/alice/", None),
        ("GET", "/v2/entities/run/r1/", None),
        ("DELETE", "/v2/entities/agent/bot/", None),
        ("GET", "/memories/{memory}", None),
        ("PUT", "/memories/{memory}", {"text": "Stolen."}),
        ("DELETE", "/memories/{memory}", None),
        ("GET", "/memories/{memory}/history", None),
        ("DELETE", "/entities/user/alice", None),
    ],
)
def test_a_strangers_key_finds_nothing_by_id(
    client: ApiClient, stranger: ApiClient, secret: dict[str, str], method: str, path: str, body: Any
) -> None:
    before = everything(client, secret)
    answer = stranger.call(method, path.format(**secret), fill(body, secret))
    assert answer.status == 404, answer.json
    assert "Bergen" not in str(answer.json)
    assert everything(client, secret) == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v3/memories/", {"filters": {"user_id": "*"}}),
        ("POST", "/v3/memories/", {"filters": {"user_id": "alice", "memory_ids": ["{memory}"]}}),
        ("POST", "/v3/memories/search/", {"query": "Bergen zanzibar", "filters": {"user_id": "alice"}}),
        ("POST", "/v3/memories/search/", {"query": "Bergen zanzibar"}),
        ("POST", "/v3/memories/search/", {"query": "Bergen", "filters": {"session_id": "{session}"}}),
        ("POST", "/v2/memories/", {"user_id": "alice"}),
        ("POST", "/v2/memories/search/", {"query": "Bergen", "run_id": "r1"}),
        ("POST", "/v1/memories/search/", {"query": "Bergen", "user_id": "alice"}),
        ("GET", "/v1/memories/?user_id=alice", None),
        ("GET", "/v1/events/", None),
        ("GET", "/v1/memories/events/", None),
        ("GET", "/v1/sessions/?user_id=alice", None),
        ("GET", "/v1/entities/", None),
        ("DELETE", "/v1/memories/?user_id=alice", None),
        ("DELETE", "/v1/memories/?filters=%7B'user_id':'*'%7D", None),
        ("GET", "/memories?user_id=alice", None),
        ("POST", "/search", {"query": "Bergen zanzibar", "user_id": "alice"}),
        ("GET", "/entities", None),
        ("DELETE", "/memories?user_id=alice", None),
    ],
)
def test_a_strangers_key_finds_nothing_by_filter(
    client: ApiClient, stranger: ApiClient, secret: dict[str, str], method: str, path: str, body: Any
) -> None:
    before = everything(client, secret)
    answer = stranger.call(method, path, fill(body, secret))
    assert answer.status == 200, answer.json
    found = answer.json if isinstance(answer.json, list) else answer.json.get("results", [])
    assert found == []
    assert everything(client, secret) == before


def fill(body: Any, ids: dict[str, str]) -> Any:
    if isinstance(body, dict):
        return {key: fill(value, ids) for key, value in body.items()}
    if isinstance(body, list):
        return [fill(value, ids) for value in body]
    return body.format(**ids) if isinstance(body, str) else body


def everything(client: ApiClient, ids: dict[str, str]) -> Any:
    """What its owner sees of a project."""
    paths = [f"/v1/memories/{ids['memory']}/", f"/v1/memories/{ids['memory']}/history/", "/v1/events/", "/v1/sessions/"]
    return [client.get(path).json for path in paths], listed(client), search(client, "Bergen zanzibar")


# Documentation


def test_the_openapi_schema_is_valid_and_names_every_path(client: ApiClient) -> None:
    client.headers = {}
    schema = client.get("/api/schema/", Accept="application/vnd.oai.openapi+json").json
    assert schema["openapi"].startswith("3.")
    assert {"/v3/memories/add/", "/v3/memories/search/", "/v1/memories/{memory_id}/", "/search"} <= set(schema["paths"])
    from drf_spectacular.validation import validate_schema

    validate_schema(schema)


@pytest.mark.parametrize("path", ["/api/docs/"])
def test_the_documentation_page_loads_nothing_from_elsewhere(client: ApiClient, path: str) -> None:
    page = client._client.get(path).content.decode()
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert loaded
    assert [url for url in loaded if not url.startswith("/static/")] == []
    assert not re.search(r"https?://(?!testserver)", page)
    assert "@import" not in page


def test_times_are_in_utc(client: ApiClient) -> None:
    keep(client, FLAT)
    moment = datetime.fromisoformat(listed(client)[0]["created_at"])
    assert moment.utcoffset() == timedelta(0)
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
