"""The graph over HTTP: what it answers, whom it keeps apart, and what it refuses."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from memory_service.models import Entity, Relation
from tests.conftest import ApiClient
from tests.memory_service.test_knowledge import ANN, relations, say

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def told(client: ApiClient) -> dict[str, str]:
    """What Ann told, and the entities' ids by name."""
    say(client, "I live in Oslo.", "I work at Nordbank.", "My sister Eva lives in Rome.", "My friend Bo moved to Rome.")
    return {entity.name: str(entity.public_id) for entity in Entity.objects.all()}


def triplets(answer: Any) -> list[tuple[str, str, str]]:
    return [(r["source"], r["relationship"], r["target"]) for r in answer.json["relations"]]


def test_it_answers_a_question_with_relations(client: ApiClient, told: dict[str, str]) -> None:
    answer = client.post("/v1/graph/", {"query": "Where does Eva live?", "filters": ANN, "limit": 3})
    assert answer.status == 200, answer.json
    best = answer.json["relations"][0]
    assert (best["source"], best["relationship"], best["target"]) == ("Eva", "lives_in", "Rome")
    assert best["source_id"] == told["Eva"] and best["memory_ids"]
    assert 0 < best["score"] <= 1 and 0.8 <= best["confidence"] <= 1 and best["invalid_at"] is None
    assert [e["name"] for e in answer.json["entities"]] == ["Eva"]


def test_it_stands_beside_results_where_the_graph_is_asked_for(client: ApiClient, told: dict[str, str]) -> None:
    asked = {"query": "Where does Eva live?", "filters": ANN, "top_k": 2}
    plain = client.post("/v3/memories/search/", asked).json
    assert set(plain) == {"results"}
    answer = client.post("/v3/memories/search/", {**asked, "enable_graph": True})
    assert answer.json["results"] == plain["results"]
    assert triplets(answer)[0] == ("Eva", "lives_in", "Rome") and len(triplets(answer)) == 2
    older = client.post("/v2/memories/search/", {**asked, "enable_graph": True})
    assert triplets(older) == triplets(answer)
    assert isinstance(client.post("/v2/memories/search/", asked).json, list)
    listed = client.post("/v3/memories/", {"filters": ANN, "enable_graph": True})
    assert ("Ann", "lives_in", "Oslo") in triplets(listed)
    assert "relations" not in client.post("/v3/memories/", {"filters": ANN}).json
    v1 = client.get("/v1/memories/?user_id=ann&output_format=v1.1&enable_graph=true")
    assert ("Ann", "lives_in", "Oslo") in triplets(v1)


def test_it_lists_entities_by_name_and_type(client: ApiClient, told: dict[str, str]) -> None:
    listed = client.get("/v1/graph/entities/?user_id=ann&page_size=2").json
    assert listed["count"] == len(told) and len(listed["results"]) == 2 and listed["results"][0]["name"] == "Ann"
    assert [e["name"] for e in client.get("/v1/graph/entities/?name=nord").json["results"]] == ["Nordbank"]
    assert {e["name"] for e in client.get("/v1/graph/entities/?type=place").json["results"]} == {"Oslo", "Rome"}
    assert client.get("/v1/graph/entities/?user_id=nobody").json["count"] == 0


def test_it_shows_an_entity_with_its_surroundings_and_memories(client: ApiClient, told: dict[str, str]) -> None:
    near = client.get(f"/v1/graph/entities/{told['Eva']}/?types=lives_in,sibling_of").json
    assert {(e["name"], e["distance"]) for e in near["neighbourhood"]["entities"]} == {
        ("Eva", 0), ("Ann", 1), ("Rome", 1),
    }  # fmt: skip
    assert {r["relationship"] for r in near["neighbourhood"]["relations"]} == {"lives_in", "sibling_of"}
    assert near["memories"] and all("Eva" in memory["memory"] for memory in near["memories"])
    far = client.get(f"/v1/graph/entities/{told['Eva']}/?depth=2&types=lives_in,sibling_of,moved_to,friend_of").json
    assert {"Bo", "Oslo"} <= {e["name"] for e in far["neighbourhood"]["entities"]}


def test_it_finds_the_ways_between_two(client: ApiClient, told: dict[str, str]) -> None:
    found = client.get(f"/v1/graph/paths/?source={told['Oslo']}&target={told['Rome']}&k=2").json["paths"]
    assert found[0]["entities"][0]["name"] == "Oslo" and found[0]["entities"][-1]["name"] == "Rome"
    assert found[0]["length"] == len(found[0]["relations"]) <= found[1]["length"]


def test_it_ranks_from_seeds_and_groups(client: ApiClient, told: dict[str, str]) -> None:
    ranked = client.post("/v1/graph/rank/", {"seeds": [told["Eva"]], "filters": ANN}).json["results"]
    assert ranked[0]["name"] in ("Eva", "Ann") and sum(one["score"] for one in ranked) == pytest.approx(1, abs=1e-4)
    weighted = client.post(
        "/v1/graph/rank/", {"seeds": [{"id": told["Bo"], "weight": 3}, told["Eva"]], "user_id": "ann", "limit": 2}
    )
    assert weighted.status == 200 and len(weighted.json["results"]) == 2
    groups = client.get("/v1/graph/communities/?user_id=ann").json
    assert groups["count"] == len(groups["communities"]) >= 1
    assert sum(group["size"] for group in groups["communities"]) == len(told)
    assert groups["communities"][0]["description"]
    part = client.post("/v1/graph/rank/", {"seeds": [told["Ann"]], "filters": {**ANN, "kind": "semantic"}}).json
    assert len(part["results"]) > 1


def test_it_merges_two_and_makes_two_of_one_again(client: ApiClient, told: dict[str, str]) -> None:
    before = relations(co_occurrence=True)
    done = client.post(f"/v1/graph/entities/{told['Bo']}/merge/", {"into": told["Eva"], "reason": "a nickname"})
    assert done.status == 200 and done.json["kept"]["name"] == "Eva"
    assert ("Eva", "lives_in", "Rome") in relations() and not any("Bo" in r for r in relations())
    shown = client.get(f"/v1/graph/entities/{told['Bo']}/").json
    assert shown["merged_into"] == told["Eva"] and {"name": "Bo", "source": "merge"} in shown["aliases"]
    assert client.get("/v1/graph/entities/").json["count"] == len(told) - 1
    assert client.post(f"/v1/graph/entities/{told['Bo']}/merge/", {"into": told["Eva"]}).status == 409
    [listed] = client.get("/v1/graph/merges/?user_id=ann").json["results"]
    assert listed["id"] == done.json["id"]
    undone = client.post(f"/v1/graph/merges/{listed['id']}/undo/", {})
    assert undone.status == 200 and undone.json["undone_at"]
    assert relations(co_occurrence=True) == before
    assert client.post(f"/v1/graph/merges/{listed['id']}/undo/", {}).status == 409
    assert client.get("/v1/graph/entities/").json["count"] == len(told)


def test_it_answers_as_of_a_time(client: ApiClient, told: dict[str, str]) -> None:
    Relation.objects.filter(type="works_at").update(invalid_at="2060-01-01T00:00Z")
    early = client.post("/v1/graph/", {"query": "Where does Ann work?", "filters": ANN, "as_of": "1990-01-01"}).json
    assert early["relations"] == []
    late = client.post("/v1/graph/", {"query": "Where does Ann work?", "filters": ANN, "as_of": "2050-01-01"})
    assert ("Ann", "works_at", "Nordbank") in triplets(late)
    after = client.post("/v1/graph/", {"query": "Where does Ann work?", "filters": ANN, "as_of": "2061-01-01"})
    assert ("Ann", "works_at", "Nordbank") not in triplets(after)


def test_it_shows_a_stranger_nothing(client: ApiClient, stranger: ApiClient, told: dict[str, str]) -> None:
    assert stranger.post("/v1/graph/", {"query": "Where does Eva live?"}).json == {"relations": [], "entities": []}
    assert stranger.get("/v1/graph/entities/").json["count"] == 0
    assert stranger.get(f"/v1/graph/entities/{told['Eva']}/").status == 404
    assert stranger.get(f"/v1/graph/paths/?source={told['Eva']}&target={told['Ann']}").status == 404
    assert stranger.post("/v1/graph/rank/", {"seeds": [told["Eva"]]}).status == 404
    assert stranger.post(f"/v1/graph/entities/{told['Eva']}/merge/", {"into": told["Ann"]}).status == 404
    assert stranger.get("/v1/graph/communities/").json == {"count": 0, "communities": []}
    assert stranger.get("/v1/graph/duplicates/").json["count"] == 0
    merge = client.post(f"/v1/graph/entities/{told['Bo']}/merge/", {"into": told["Eva"]}).json
    assert stranger.post(f"/v1/graph/merges/{merge['id']}/undo/", {}).status == 404
    assert stranger.get("/v1/graph/merges/").json["count"] == 0
    asked = {"query": "Where does Eva live?", "filters": ANN, "enable_graph": True}
    assert stranger.post("/v3/memories/search/", asked).json == {"results": [], "relations": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word"),
    [
        ("POST", "/v1/graph/", {}, 400, "query"),
        ("POST", "/v1/graph/", {"query": 7.5, "limit": 0}, 400, "limit"),
        ("POST", "/v1/graph/", {"query": "a\x00b"}, 400, "NUL"),
        ("POST", "/v1/graph/", {"query": "a\ud800b"}, 400, "surrogate"),
        ("POST", "/v1/graph/", {"query": "x", "filters": {"owner": "me"}}, 400, "owner"),
        ("POST", "/v1/graph/", {"query": "x", "filters": [1]}, 400, "filters"),
        ("POST", "/v1/graph/", {"query": "x", "as_of": "soon"}, 400, "as_of"),
        ("POST", "/v1/graph/", {"query": "x", "as_of": 10**18}, 400, "as_of"),
        ("POST", "/v1/graph/", [1], 400, "object"),
        ("GET", "/v1/graph/entities/?page=0", None, 400, "page"),
        ("GET", "/v1/graph/entities/?page=99", None, 404, "page"),
        ("GET", "/v1/graph/entities/?name=%00", None, 400, "ull"),
        ("GET", f"/v1/graph/entities/{MISSING}/", None, 404, MISSING),
        ("GET", f"/v1/graph/entities/{MISSING}/?depth=99", None, 400, "depth"),
        ("GET", "/v1/graph/entities/not-an-id/", None, 404, ""),
        ("GET", "/v1/graph/paths/", None, 400, "source"),
        ("GET", f"/v1/graph/paths/?source={MISSING}&target=x", None, 400, "target"),
        ("GET", f"/v1/graph/paths/?source={MISSING}&target={MISSING}", None, 404, MISSING),
        ("GET", "/v1/graph/communities/?resolution=nan", None, 400, "resolution"),
        ("GET", "/v1/graph/communities/?min_size=1", None, 400, "min_size"),
        ("POST", "/v1/graph/rank/", {"seeds": []}, 400, "seeds"),
        ("POST", "/v1/graph/rank/", {"seeds": "x"}, 400, "seeds"),
        ("POST", "/v1/graph/rank/", {"seeds": [{"id": MISSING, "weight": 0}]}, 400, "weight"),
        ("POST", "/v1/graph/rank/", {"seeds": [None]}, 400, "seeds"),
        ("POST", "/v1/graph/rank/", {"seeds": [MISSING]}, 404, MISSING),
        ("POST", f"/v1/graph/entities/{MISSING}/merge/", {}, 400, "into"),
        ("POST", f"/v1/graph/entities/{MISSING}/merge/", {"into": MISSING}, 404, MISSING),
        ("POST", f"/v1/graph/merges/{MISSING}/undo/", {}, 404, MISSING),
        ("POST", "/v3/memories/search/", {"query": "x", "enable_graph": "perhaps"}, 400, "enable_graph"),
    ],
)
def test_it_refuses_what_it_cannot_understand(
    client: ApiClient, method: str, path: str, body: Any, status: int, word: str
) -> None:
    answer = client.call(method, path, body)
    assert answer.status == status, answer.json
    assert word in answer.json["detail"] and answer.json["error"]


def test_it_refuses_to_merge_what_cannot_be_one(client: ApiClient, told: dict[str, str]) -> None:
    assert client.post(f"/v1/graph/entities/{told['Eva']}/merge/", {"into": told["Eva"]}).status == 400
    client.post("/v3/memories/add/", {"messages": "I live in Lima.", "user_id": "zoe", "wait_s": 0})
    other = Entity.objects.get(name="Lima").public_id
    answer = client.post(f"/v1/graph/entities/{told['Eva']}/merge/", {"into": str(other)})
    assert answer.status == 409 and "different users" in answer.json["detail"]
    assert client.get(f"/v1/graph/paths/?source={told['Eva']}&target={other}").json == {"paths": []}
    outside = client.post("/v1/graph/rank/", {"seeds": [str(other)], "filters": ANN})
    assert outside.status == 404 and str(other) in outside.json["detail"]


def test_it_needs_a_key(db: None) -> None:
    for path in ("/v1/graph/entities/", "/v1/graph/communities/", f"/v1/graph/entities/{uuid.uuid4()}/"):
        assert ApiClient(None).get(path).status == 401
