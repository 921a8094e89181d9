from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memory_service import filters, fusion, ingest, retrieval, signals
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.models import Memory, Posting, Project
from memory_service.retrieval import SearchRequest, search

START = datetime(2025, 3, 1, 12, tzinfo=UTC)


def remember(
    project: Project, texts: list[str], *, user: str = "ann", run: str | None = None, infer: bool = True
) -> None:
    messages = [
        NewMessage("user", text, START + timedelta(minutes=i), client_id=f"{run}-{i}", name="Ann")
        for i, text in enumerate(texts)
    ]
    event = ingest.record_add(project, AddRequest(messages, EntityIds(user_id=user, run_id=run), infer=infer))
    ingest.drain_scope(event.scope_id)


def ask(project: Project, query: str, *, raw: object = None, **kwargs: object) -> list[retrieval.Hit]:
    return search(project, SearchRequest(query, filters.parse(raw or {"user_id": "ann"}), **kwargs))  # type: ignore[arg-type]


def texts(hits: list[retrieval.Hit]) -> list[str]:
    return [hit.memory.text for hit in hits if hit.memory]


TALK = [
    "My sister Anna bought a small sailing boat in Bergen.",
    "The quarterly report is due on the last day of the month.",
    "We ate pancakes with blueberries for breakfast.",
    "The physician told me to sleep more and drink less coffee.",
]


def test_it_finds_by_words_and_by_meaning(project: Project) -> None:
    remember(project, TALK)
    assert "quarterly report" in texts(ask(project, "When is the quarterly report due?"))[0]
    assert "physician" in texts(ask(project, "advice from a doctor about rest"))[0]  # no word in common


def test_it_shows_the_parts_of_a_score_on_one_scale(project: Project) -> None:
    remember(project, TALK)
    for hit in ask(project, "sailing boat Bergen", top_k=50):
        assert set(hit.breakdown) == set(hit.contributions) == {*signals.NAMES, "graph"}
        assert all(0 <= part <= 1 for part in hit.breakdown.values())
        logit = sum(hit.contributions.values()) + fusion.learned_weights(with_feedback=False).bias
        assert hit.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)


def test_it_lets_an_answer_profit_from_the_question_before_it(project: Project) -> None:
    talk = [f"Today I sorted box number {i} in the cellar." for i in range(12)]
    talk[6:6] = ["Which instrument did your grandfather teach you?", "The accordion, he was very patient."]
    remember(project, talk, run="r")
    found = texts(ask(project, "instrument taught by grandfather", top_k=2))
    assert any("accordion" in text for text in found)


def test_it_drops_by_threshold_and_not_without_one(project: Project) -> None:
    remember(project, TALK)
    everything = ask(project, "pancakes", top_k=50)
    best = everything[0].score
    assert len(everything) == len(TALK)
    assert len(ask(project, "pancakes", top_k=50, threshold=best - 1e-4)) == 1
    assert ask(project, "pancakes", top_k=50, threshold=1.0) == []


def test_it_returns_the_sources_of_each_hit(project: Project) -> None:
    remember(project, TALK, run="breakfast")
    hit = ask(project, "pancakes")[0]
    assert [(s.name, s.run_id) for s in hit.sources] == [("breakfast-2", "breakfast")]


def test_it_keeps_a_fact_behind_the_turn_that_says_the_same(project: Project) -> None:
    remember(project, ["I live in Oslo.", "Oslo has many fine museums by the fjord."])
    found = ask(project, "Where does Ann live? Oslo", top_k=3)
    seen: set[int] = set()
    repeats = []
    for hit in found:
        messages = {source.message_id for source in hit.sources}
        repeats.append(messages <= seen)
        seen |= messages
    assert repeats == sorted(repeats), "repetition stands before new evidence"


def test_it_computes_bm25_over_the_filtered_documents_alone(project: Project) -> None:
    remember(project, TALK)
    alone = {hit.memory.pk: hit.breakdown["bm25"] for hit in ask(project, "boat", top_k=9) if hit.memory}
    remember(project, [f"boat number {i} is a boat" for i in range(30)], user="bob")
    among = {hit.memory.pk: hit.breakdown["bm25"] for hit in ask(project, "boat", top_k=9) if hit.memory}
    assert among == alone


def test_it_applies_filters_before_the_cut(project: Project) -> None:
    remember(project, [f"The boat is blue, says note {i}" for i in range(40)], run="many")
    remember(project, ["A boat was mentioned once here"], run="one")
    hits = ask(project, "The boat is blue, says note", raw={"user_id": "ann", "run_id": "one"}, top_k=1)
    assert texts(hits) == ["Ann: A boat was mentioned once here"]


@pytest.mark.parametrize("limit", ["EXACT_LIMIT", "FEW_DOCUMENTS"])
def test_it_ranks_alike_by_every_way_to_the_vectors(
    project: Project, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    remember(project, TALK + [f"Note {i}: nothing happened at sea today" for i in range(20)])
    expected = [(hit.memory.pk, round(hit.score, 3)) for hit in ask(project, "doctor's advice", top_k=5) if hit.memory]
    monkeypatch.setattr(retrieval, limit, 1)  # now through HNSW, or by scope
    assert [(h.memory.pk, round(h.score, 3)) for h in ask(project, "doctor's advice", top_k=5) if h.memory] == expected


def test_it_finds_nothing_where_there_is_nothing(project: Project) -> None:
    assert ask(project, "anything") == []
    remember(project, TALK)
    assert ask(project, "anything", raw={"memory_ids": {"in": []}, "user_id": "ann"}) == []
    assert ask(project, "of the and", top_k=1)  # stop words alone: by meaning


def test_it_keeps_postings_in_step_with_the_text(project: Project) -> None:
    remember(project, TALK)
    memory = Memory.objects.get(text__contains="pancakes")
    assert dict(Posting.objects.filter(memory=memory).values_list("term", "tf"))["pancak"] == 1
    assert memory.num_terms == sum(Posting.objects.filter(memory=memory).values_list("tf", flat=True))
