"""Changes of mind over HTTP: as of then, the difference, undo, reviews."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memory_service.models import Memory, Project
from tests.conftest import ApiClient, Worker
from tests.memory_service.test_chronicle import tell, told

ANN = {"user_id": "ann"}


@pytest.fixture
def moved(project: Project) -> str:
    """Ann moved; returns the moment before the store knew."""
    tell(project, told(0, "Ann", "lives in", "Lisbon"))
    before = datetime.now(UTC).isoformat()
    tell(project, told(30, "Ann", "lives in", "Oslo"))
    return before


def words(answer: Any) -> list[str]:
    return [one["memory"] for one in answer.json["results"]]


def test_search_and_list_answer_as_of_another_moment(client: ApiClient, moved: str) -> None:
    for path, body in (("/v3/memories/search/", {"query": "Where does Ann live?"}), ("/v3/memories/", {})):
        body = {**body, "filters": ANN}
        assert words(client.post(path, body)) == ["Ann holds lives in Oslo"]
        assert words(client.post(path, {**body, "as_of": "2024-01-05"})) == ["Ann holds lives in Lisbon"]
        assert words(client.post(path, {**body, "known_at": moved})) == ["Ann holds lives in Lisbon"]
        assert len(words(client.post(path, {**body, "latest_only": False}))) == 2
        assert len(words(client.post(path, {**body, "latest_only": True}))) == 1
        assert client.post(path, {**body, "as_of": "the day before"}).status == 400
        assert client.post(path, {**body, "known_at": "9999-12-31T23:59:59-23:00"}).status == 400


def test_the_past_is_found_by_asking_for_it(client: ApiClient, moved: str) -> None:
    answer = client.post("/v3/memories/search/", {"query": "Where did Ann live before?", "filters": ANN})
    [old] = [one for one in answer.json["results"] if "Lisbon" in one["memory"]]
    assert old["lifecycle_state"] == "superseded"
    assert old["invalid_at"].startswith("2024-01-31")
    asked = {"query": "Where did Ann live last month?", "filters": ANN}
    assert "Lisbon" in str(client.post("/v3/memories/search/", {**asked, "reference_date": "2024-02-05"}).json)
    assert "Lisbon" not in str(client.post("/v3/memories/search/", asked).json)


def test_the_difference_of_two_moments(client: ApiClient, moved: str) -> None:
    answer = client.get(f"/v1/memories/diff/?user_id=ann&from={moved.replace('+', '%2B')}")
    assert [one["memory"] for one in answer.json["added"]] == ["Ann holds lives in Oslo"]
    assert [one["memory"] for one in answer.json["removed"]] == ["Ann holds lives in Lisbon"]
    same = client.post("/v1/memories/diff/", {"from": moved, "filters": ANN})
    assert same.json["added"] == answer.json["added"]
    assert client.post("/v1/memories/diff/", {"filters": ANN}).status == 400
    backwards = client.post("/v1/memories/diff/", {"from": "2025-01-01", "to": "2024-01-01", "filters": ANN})
    assert backwards.status == 400
    assert "before" in backwards.json["detail"]


def test_a_revision_is_undone(client: ApiClient, stranger: ApiClient, moved: str) -> None:
    old = Memory.objects.get(state="superseded")
    history = client.get(f"/v1/memories/{old.public_id}/history/").json
    assert [one["event"] for one in history] == ["ADD", "DELETE"]
    path = f"/v1/revisions/{history[-1]['id']}/undo/"
    assert stranger.post(path, {}).status == 404
    answer = client.post(path, {})
    assert answer.json["lifecycle_state"] == "active"
    assert client.post(path, {}).status == 409
    assert len(words(client.post("/v3/memories/", {"filters": ANN}))) == 2


def test_reviews_are_listed_and_decided(client: ApiClient, stranger: ApiClient, project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(9, "Ann", "lives in", "Oslo", confidence=0.4))
    [waiting] = client.get("/v1/reviews/").json["results"]
    assert waiting["memory"]["memory"] == "Ann holds lives in Lisbon"
    assert waiting["by"]["memory"] == "Ann holds lives in Oslo"
    path = f"/v1/reviews/{waiting['id']}/"
    assert stranger.get("/v1/reviews/").json["count"] == 0
    assert stranger.post(path, {"decision": "accept"}).status == 404
    assert client.post(path, {"decision": "perhaps"}).status == 400
    assert client.post(path, {"decision": "accept"}).json["status"] == "accepted"
    assert client.post(path, {"decision": "reject"}).status == 409
    assert words(client.post("/v3/memories/", {"filters": ANN})) == ["Ann holds lives in Oslo"]
    assert client.get("/v1/reviews/?status=accepted").json["count"] == 1
    assert client.get("/v1/reviews/?status=unknown").status == 400


def test_words_said_again_after_a_deletion_stay_away(client: ApiClient, worker: Worker) -> None:
    body = {"messages": [{"role": "user", "name": "Ann", "content": "I live in Lisbon."}], **ANN}
    client.post("/v3/memories/add/", body)
    fact = Memory.objects.live().get(kind="semantic")
    assert client.delete(f"/v1/memories/{fact.public_id}/").status == 200
    client.post("/v3/memories/add/", body)
    assert not Memory.objects.live().filter(kind="semantic").exists()
