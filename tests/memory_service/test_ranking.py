"""Feedback and decay: they move ranks, within bounds, and leave everything else to the last bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from memory_service import filters, ranking, signals
from memory_service.models import LifecycleSettings, Memory, MemoryRecall, Project
from memory_service.models.change import versions_of
from memory_service.ranking import DECAY_FLOOR, FEEDBACK_FACTOR, Effects, adjust, decay_factor
from memory_service.retrieval import SearchRequest, search
from tests.conftest import ApiClient

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ANN = {"user_id": "ann"}
TALK = [
    "I parked the red bicycle behind the library.",
    "The bicycle shop on the corner sells used bicycles.",
    "My bicycle has a bell and a basket.",
    "A bicycle tour along the river takes four hours.",
]


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing written but on request, however slow the machine is."""
    monkeypatch.setattr(ranking, "FLUSH_INTERVAL_S", 1e9)
    ranking._recalled.clear()


def remember(client: ApiClient) -> dict[str, str]:
    """The ids of what was said, by its words; each in a session of its own, so that none is another's neighbour."""
    for i, text in enumerate(TALK):
        answer = client.post("/v3/memories/add/", {"messages": text, **ANN, "run_id": f"r{i}", "infer": False})
        assert answer.json["status"] == "SUCCEEDED"
    return {memory.text: str(memory.public_id) for memory in Memory.objects.all()}


def ask(client: ApiClient, **more: Any) -> list[dict[str, Any]]:
    body = {"query": "the bicycle", "filters": ANN, "explain": True, **more}
    answer = client.post("/v3/memories/search/", body)
    assert answer.status == 200
    return list(answer.json["results"])


def rate(client: ApiClient, memory_id: str, feedback: str | None) -> None:
    answer = client.post("/v1/feedback/", {"memory_id": memory_id, "feedback": feedback})
    assert answer.status == 200 and answer.json["feedback"] == feedback


# Feedback


def test_it_moves_what_was_rated_and_nothing_else(client: ApiClient) -> None:
    remember(client)
    before = ask(client)
    best, last = before[0], before[-1]
    scores = {}
    for feedback in ("POSITIVE", "NEGATIVE", "VERY_NEGATIVE", None):
        rate(client, best["id"], feedback)
        after = {hit["id"]: hit for hit in ask(client)}
        scores[feedback] = after[best["id"]]["score"]
        assert [after[hit["id"]]["score"] for hit in before[1:]] == [hit["score"] for hit in before[1:]]
        assert after[best["id"]]["score_breakdown"].get("feedback") == FEEDBACK_FACTOR.get(feedback or "")
        assert all("feedback" not in hit["score_breakdown"] for hit in after.values() if hit["id"] != best["id"])
    assert scores["POSITIVE"] > scores[None] > scores["NEGATIVE"] > scores["VERY_NEGATIVE"] > 0
    assert scores[None] == best["score"]
    assert scores["POSITIVE"] == pytest.approx(min(1.0, 1.2 * best["score"]), abs=1e-3)
    rate(client, best["id"], "VERY_NEGATIVE")
    assert ask(client)[-1]["id"] == best["id"] and ask(client)[0]["id"] != best["id"]
    rate(client, best["id"], None)
    rate(client, last["id"], "POSITIVE")
    rate(client, best["id"], "NEGATIVE")
    ranks = [hit["id"] for hit in ask(client)]
    assert ranks.index(last["id"]) < ranks.index(best["id"])


def test_it_raises_what_stood_behind_the_cut(client: ApiClient) -> None:
    remember(client)
    second = ask(client)[1]
    assert [hit["id"] for hit in ask(client, top_k=1)] != [second["id"]]
    rate(client, ask(client)[0]["id"], "NEGATIVE")
    assert [hit["id"] for hit in ask(client, top_k=1)] == [second["id"]]


def test_it_is_cut_at_the_threshold_after_its_feedback(client: ApiClient) -> None:
    remember(client)
    best = ask(client)[0]
    rate(client, best["id"], "VERY_NEGATIVE")
    found = ask(client, threshold=round(best["score"] * 0.5, 3))
    assert best["id"] not in [hit["id"] for hit in found]


def test_it_leaves_scores_alone_to_the_last_bit_where_nothing_was_rated(project: Project, client: ApiClient) -> None:
    remember(client)
    scores, ids = np.random.default_rng(1).random(1000), np.arange(1000)
    assert adjust(scores, ids, Effects(), top=20).scores is scores
    hits = search(project, SearchRequest("the bicycle", filters.parse(ANN)))
    assert hits and all(set(hit.breakdown) == {*signals.NAMES, "graph"} for hit in hits)


def test_it_never_leaves_the_scale() -> None:
    scores = np.array([0.0, 0.9, 1.0])
    effects = Effects({0: FEEDBACK_FACTOR["POSITIVE"], 1: FEEDBACK_FACTOR["POSITIVE"], 2: FEEDBACK_FACTOR["POSITIVE"]})
    assert adjust(scores, np.arange(3), effects, top=3).scores.tolist() == [0.0, 1.0, 1.0]
    assert scores.tolist() == [0.0, 0.9, 1.0]


def test_it_keeps_feedback_inside_its_project(client: ApiClient, stranger: ApiClient) -> None:
    ids = remember(client)
    for text in TALK:
        stranger.post("/v3/memories/add/", {"messages": text, **ANN, "infer": False})
    before = [hit["score"] for hit in ask(stranger)]
    for memory_id in ids.values():
        rate(client, memory_id, "VERY_NEGATIVE")
        assert stranger.post("/v1/feedback/", {"memory_id": memory_id, "feedback": "POSITIVE"}).status == 404
    assert [hit["score"] for hit in ask(stranger)] == before


# Decay


def test_it_halves_towards_the_floor() -> None:
    assert decay_factor(0, 30) == decay_factor(-5, 30) == 1.0
    assert decay_factor(30, 30) == pytest.approx(0.75)
    assert decay_factor(60, 30) == pytest.approx(0.625)
    assert decay_factor(10**6, 30) == pytest.approx(DECAY_FLOOR)


def test_it_lowers_old_memories_where_the_project_asks_for_it(client: ApiClient, project: Project) -> None:
    remember(client)
    before = ask(client)
    best = before[0]
    Memory.objects.filter(public_id=best["id"]).update(updated_at=timezone.now() - timedelta(days=365))
    assert [hit["score"] for hit in ask(client)] == [hit["score"] for hit in before]
    answer = client.put("/v1/lifecycle/", {"decay_half_life_days": 30})
    assert answer.status == 200 and answer.json["decay_half_life_days"] == 30
    after = {hit["id"]: hit for hit in ask(client)}
    assert len(after) == len(before)  # nothing is deleted, nothing is lost
    assert after[best["id"]]["score_breakdown"]["decay"] == pytest.approx(DECAY_FLOOR, abs=1e-3)
    assert after[best["id"]]["score"] == pytest.approx(best["score"] * DECAY_FLOOR, rel=1e-2)
    assert ask(client)[-1]["id"] == best["id"]
    assert client.put("/v1/lifecycle/", {"decay_half_life_days": None}).status == 200
    assert [hit["score"] for hit in ask(client)] == [hit["score"] for hit in before]


def test_it_wakes_up_with_a_recall(client: ApiClient, project: Project) -> None:
    ids = remember(client)
    Memory.objects.update(updated_at=timezone.now() - timedelta(days=365))
    ranking.set_decay(project, 10)
    ranking._recalled.clear()
    chosen = Memory.objects.get(public_id=ids[TALK[3]])
    before = {hit["id"]: hit["score"] for hit in ask(client)}
    ranking._recalled.clear()
    ranking.note_recalls([chosen.pk])
    assert ranking.flush_recalls() == 1
    after = {hit["id"]: hit["score"] for hit in ask(client)}
    assert after.pop(ids[TALK[3]]) > 1.9 * before.pop(ids[TALK[3]])
    assert after == before


def test_it_looks_only_at_what_could_still_come_first(client: ApiClient, project: Project) -> None:
    """The same order of the first k, whether all memories' ages are looked at or only those that matter."""
    remember(client)
    rng = np.random.default_rng(7)
    known = list(Memory.objects.values_list("pk", flat=True))
    for i, pk in enumerate(known):
        Memory.objects.filter(pk=pk).update(updated_at=timezone.now() - timedelta(days=i * 20))
    ids = np.array([*known, *range(10**6, 10**6 + 500)])
    for _ in range(20):
        scores = rng.random(len(ids))
        effects = Effects(half_life_days=15.0)
        few, all_ = (adjust(scores, ids, effects, top=top).scores for top in (5, len(ids)))
        assert np.argsort(-few, kind="stable")[:5].tolist() == np.argsort(-all_, kind="stable")[:5].tolist()


@pytest.mark.parametrize("value", [0, -1, "soon", True, 10**9, [], {}, "NaN"])
def test_it_refuses_a_half_life_that_is_none(client: ApiClient, value: Any) -> None:
    answer = client.put("/v1/lifecycle/", {"decay_half_life_days": value})
    assert answer.status == 400 and "decay_half_life_days" in answer.json["detail"]
    assert not LifecycleSettings.objects.exists()


def test_it_keeps_decay_inside_its_project(client: ApiClient, stranger: ApiClient) -> None:
    client.put("/v1/lifecycle/", {"decay_half_life_days": 3})
    assert stranger.get("/v1/lifecycle/").json["decay_half_life_days"] is None
    assert client.put("/v1/lifecycle/", {}).status == 400


# Recalls


def test_it_counts_what_searches_return(client: ApiClient, project: Project) -> None:
    remember(client)
    for _ in range(3):
        found = ask(client, top_k=2)
    assert not MemoryRecall.objects.exists()  # not on the request's path
    ranking.flush_recalls()
    assert ranking.flush_recalls() == 0
    counted = {str(r.memory.public_id): r.num_recalls for r in MemoryRecall.objects.select_related("memory")}
    assert counted == {hit["id"]: 3 for hit in found}
    ask(client, top_k=2)
    ranking.flush_recalls()
    assert set(MemoryRecall.objects.values_list("num_recalls", flat=True)) == {4}


def test_it_writes_them_after_an_answer_once_the_time_has_come(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(client)
    monkeypatch.setattr(ranking, "FLUSH_INTERVAL_S", 0.0)
    ask(client)
    assert MemoryRecall.objects.count() == len(TALK)


def test_counting_leaves_what_processes_keep_of_the_scope_valid(client: ApiClient) -> None:
    remember(client)
    scopes = list(Memory.objects.values_list("scope", flat=True).distinct())
    before = versions_of(scopes)
    ask(client)
    assert ranking.flush_recalls() > 0
    assert versions_of(scopes) == before


def test_it_does_not_count_what_is_gone(client: ApiClient) -> None:
    remember(client)
    ask(client)
    client.delete("/v2/entities/user/ann/")
    assert ranking.flush_recalls() == 0 and not MemoryRecall.objects.exists()


def test_a_recalled_memory_is_forgotten_with_its_user(client: ApiClient) -> None:
    remember(client)
    ask(client)
    ranking.flush_recalls()
    client.delete("/v2/entities/user/ann/")
    assert not Memory.objects.exists() and not MemoryRecall.objects.exists()


def test_it_bounds_what_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MAX_BUFFERED", 3)
    ranking.note_recalls([1, 2, 3, 4, 5, 1])
    assert ranking._recalled == {1: 2, 2: 1, 3: 1}
