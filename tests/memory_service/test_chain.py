"""The chain of retrieval, stage by stage, on real rows."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from memory_service import filters, fusion, ingest, retrieval, signals, traits
from memory_service.fusion import FUSIONS
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.knowledge import graphs, walking
from memory_service.models import Memory, Project
from memory_service.retrieval import STAGES, Hit, SearchRequest, search
from tests.conftest import ApiClient

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
SEARCH = "/v3/memories/search/"


def talk(project: Project, turns: list[tuple[str, str]], *, run: str = "r", at: datetime = START) -> None:
    messages = [
        NewMessage("user" if i % 2 else "assistant", text, at + timedelta(minutes=i), f"{run}-{i}", name=name)
        for i, (name, text) in enumerate(turns)
    ]
    event = ingest.record_add(project, AddRequest(messages, EntityIds(user_id="pair", run_id=run)))
    ingest.drain_scope(event.scope_id)


def ask(project: Project, query: str, **wishes: object) -> list[Hit]:
    return search(project, SearchRequest(query, filters.parse({"user_id": "pair"}), **wishes))  # type: ignore[arg-type]


def texts(hits: list[Hit]) -> list[str]:
    return [hit.memory.text for hit in hits if hit.memory]


HOBBIES = [
    ("Caroline", "My weekends go to the pottery workshop by the harbour."),
    ("Melanie", "My weekends go to long runs by the harbour."),
    ("Caroline", "The trams were late again and the rain would not stop."),
    ("Melanie", "I repainted the hallway in a light grey."),
]


def test_it_prefers_what_the_person_said_who_is_named(project: Project) -> None:
    talk(project, HOBBIES)
    for name, other in (("Caroline", "Melanie"), ("Melanie", "Caroline")):
        found = texts(ask(project, f"How does {name} spend weekends by the harbour?"))
        mine = next(i for i, text in enumerate(found) if text.startswith(name) and "weekends" in text)
        theirs = next(i for i, text in enumerate(found) if text.startswith(other) and "weekends" in text)
        assert mine < theirs
        hit = ask(project, f"How does {name} spend weekends by the harbour?", top_k=1)[0]
        assert hit.breakdown["speaker"] == 1 and hit.contributions["speaker"] > 0


def test_a_stage_that_is_left_out_adds_nothing(project: Project) -> None:
    talk(project, HOBBIES)
    for stage, gone in STAGES.items():
        for hit in ask(project, "When does Caroline go to the workshop?", without=frozenset({stage})):
            assert not gone & set(hit.breakdown) and not gone & set(hit.contributions)
            assert hit.score > 0


def test_with_words_and_meaning_left_out_nothing_is_in_common(project: Project) -> None:
    talk(project, HOBBIES)
    assert ask(project, "pottery", without=frozenset({"words", "meaning"})) == []


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_fusion_finds_the_plain_answer_first(project: Project, kind: fusion.Fusion) -> None:
    talk(project, HOBBIES)
    hits = ask(project, "pottery workshop by the harbour", fusion=kind)
    assert "pottery" in texts(hits)[0]
    assert all(0 < hit.score <= 1 for hit in hits)
    if kind == "mean":
        assert hits[0].score == pytest.approx(np.mean([hits[0].breakdown[name] for name in signals.BASIC]), abs=1e-3)
    assert bool(hits[0].contributions) == (kind == "learned")


def test_a_time_in_the_question_is_meant_on_the_day_it_is_asked(project: Project) -> None:
    for month in (1, 2, 3):
        talk(
            project,
            [("Ann", "We had dinner at the old mill.")],
            run=f"m{month}",
            at=datetime(2025, month, 10, tzinfo=UTC),
        )

    def first(**wishes: object) -> Hit:
        return ask(project, "Where did we have dinner last month?", **wishes)[0]

    in_march = first(reference_date=datetime(2025, 3, 20, tzinfo=UTC))
    in_april = first(reference_date=datetime(2025, 4, 20, tzinfo=UTC))
    assert in_march.memory and in_march.memory.said_at.month == 2 and in_march.breakdown["time"] == 1
    assert in_april.memory and in_april.memory.said_at.month == 3
    assert "time" not in ask(project, "Where did we have dinner?")[0].breakdown
    assert "time" not in first(without=frozenset({"time"})).breakdown


def test_feedback_finds_what_shares_words_with_the_best_texts(project: Project) -> None:
    talk(
        project,
        [
            ("Ann", "The kayak trip took us past the lighthouse at Skagen."),
            ("Ben", "Kayak and paddle are packed for the lighthouse."),
            ("Ann", "Skagen has a lighthouse that one can climb."),
            ("Ben", "The accountant called about the invoice."),
            ("Ann", "My accountant is on holiday."),
        ],
    )
    plain = {hit.memory.pk: hit for hit in ask(project, "kayak") if hit.memory}
    fed = {hit.memory.pk: hit for hit in ask(project, "kayak", expand="feedback") if hit.memory}
    climbing = next(pk for pk, hit in fed.items() if hit.memory and "climb" in hit.memory.text)
    calling = next(pk for pk, hit in fed.items() if hit.memory and "called" in hit.memory.text)
    assert fed[climbing].breakdown["pseudo_feedback"] > fed[calling].breakdown["pseudo_feedback"]
    assert all("pseudo_feedback" not in hit.breakdown for hit in plain.values())


def test_a_walk_reaches_what_an_entity_is_joined_to(project: Project) -> None:
    talk(
        project,
        [
            ("Ann", "My sister Eva works at Nordbank."),
            ("Ann", "Nordbank moved its office to Trondheim."),
            ("Ann", "The weather was fine and the soup was good."),
        ],
    )
    hits = ask(project, "What about Eva?", walk=True)
    worth = {hit.memory.text: hit.breakdown["graph"] for hit in hits if hit.memory}
    about_eva = max(value for text, value in worth.items() if "Eva" in text)
    about_soup = max((value for text, value in worth.items() if "soup" in text), default=0.0)
    assert about_eva > about_soup
    assert any(value > 0 for text, value in worth.items() if "Trondheim" in text)
    for wish in ({"walk": False}, {"without": frozenset({"graph"})}):
        assert all("graph" not in hit.breakdown for hit in ask(project, "What about Eva?", **wish))
    assert ask(project, "what was it")  # names nobody: the walk adds nothing, and nothing breaks


@pytest.mark.django_db(transaction=True)
def test_a_large_graph_is_read_beside_the_search(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "MAX_READ_AT_ONCE", 1)
    talk(project, [("Ann", "My sister Eva works at Nordbank."), ("Ann", "Nordbank moved to Trondheim.")])
    graphs._cache.cache_clear()
    first = ask(project, "What about Eva?")
    assert first and not any(hit.breakdown["graph"] for hit in first)
    for thread in threading.enumerate():
        if thread.name == "read-graph":
            thread.join(10)
    assert any(hit.breakdown["graph"] for hit in ask(project, "What about Eva?"))


def test_traits_follow_a_text_that_is_changed(project: Project) -> None:
    talk(project, [("Ann", "The boat is blue.")])
    memory = Memory.objects.live().get(kind="episodic")
    from memory_service import editing

    changed = editing.update_memory(project, str(memory.public_id), editing.Change(text="Ann: It sailed in 2021."))
    assert changed.traits == traits.of("Ann: It sailed in 2021.", "Ann", is_turn=True) != memory.traits


@pytest.mark.django_db(transaction=True)
def test_memories_of_an_earlier_schema_get_their_traits(project: Project) -> None:
    talk(project, HOBBIES)
    expected = dict(Memory.objects.values_list("pk", "traits"))
    executor = MigrationExecutor(connection)
    latest = executor.loader.graph.leaf_nodes("memory_service")
    executor.migrate([("memory_service", "0011_key_scope")])
    MigrationExecutor(connection).migrate(latest)
    assert dict(Memory.objects.values_list("pk", "traits")) == expected
    assert all(expected.values())


# Over the API


def test_the_api_takes_each_wish_and_explains_it(client: ApiClient, project: Project) -> None:
    talk(project, HOBBIES)
    body = {"query": "How does Caroline spend weekends?", "filters": {"user_id": "pair"}, "explain": True}
    hit = client.post(SEARCH, body).json["results"][0]
    assert set(hit["score_contributions"]) == {*signals.NAMES, "graph"}
    wishes = {"fusion": "reciprocal"}, {"expand": "feedback"}, {"walk": False}, {"without": ["speaker", "session"]}
    for wish in wishes:
        answer = client.post(SEARCH, {**body, **wish})
        assert answer.status == 200, answer.json
        assert answer.json["results"]
    assert "speaker" not in client.post(SEARCH, {**body, **wishes[3]}).json["results"][0]["score_breakdown"]
    asked = {**body, "explain": False, "fields": ["memory", "score_contributions"]}
    assert set(client.post(SEARCH, asked).json["results"][0]) == {"id", "memory", "score", "score_contributions"}


@pytest.mark.parametrize(
    "wish",
    [
        {"fusion": "best"},
        {"expand": "more"},
        {"expand": ["llm"]},
        {"walk": "perhaps"},
        {"without": ["everything"]},
        {"without": "speaker"},
        {"without": {"speaker": True}},
        {"reference_date": "the day after"},
        {"fusion": None},
    ],
)
def test_the_api_refuses_what_it_does_not_know(client: ApiClient, wish: dict[str, object]) -> None:
    answer = client.post(SEARCH, {"query": "x", "filters": {"user_id": "pair"}, **wish})
    assert answer.status == 400, answer.json
    assert answer.json["detail"]


def test_all_stages_have_names_that_the_api_takes() -> None:
    known = {name for gone in STAGES.values() for name in gone}
    assert known == {*signals.NAMES, "pseudo_feedback", "graph", "time"}
    assert retrieval.SearchRequest("x", filters.parse(None)).without == frozenset()
