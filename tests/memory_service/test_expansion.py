from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memory_service.expansion import Expansion, expand, expand_for, fuse_rankings
from memory_service.models import Budget, CompletionUsage, ExtractionPolicy, Project
from memory_service.project_llm import llm_config, llm_of
from tests.conftest import ApiClient
from tests.llm import Start, scripted
from tests.scripted_llm import Malformed, Status

__all__ = ["scripted"]

TODAY = datetime(2025, 3, 10, tzinfo=UTC)
SEARCH = "/v3/memories/search/"
ANSWER = {
    "rewrites": ["Emil food allergy", "emil  FOOD allergy", "what must Emil avoid eating"],
    "hypothetical": ["My brother Emil cannot eat peanuts.", 7, "", "Emil's throat swells from nuts.", "One too many."],
}


def test_it_asks_for_other_wordings_and_for_answers(scripted: Start) -> None:
    llm = scripted([ANSWER])
    config = llm_config()
    assert config is not None
    found = expand("What can't Emil eat?", config, reference_date=TODAY)
    assert found.rewrites == ["Emil food allergy", "what must Emil avoid eating"]
    assert found.hypothetical == ["My brother Emil cannot eat peanuts.", "Emil's throat swells from nuts."]
    assert found.queries == (*found.rewrites, *found.hypothetical)
    prompt = llm.requests[0]["messages"]
    assert "Monday, 2025-03-10" in prompt[1]["content"] and "What can't Emil eat?" in prompt[1]["content"]


def test_it_leaves_out_what_only_repeats_the_question(scripted: Start) -> None:
    scripted([{"rewrites": ["what can't emil EAT?", "x" * 5_000], "hypothetical": None}])
    config = llm_config()
    assert config is not None
    found = expand("What can't Emil eat?", config, reference_date=TODAY)
    assert found.rewrites == ["x" * 1_000] and found.hypothetical == []


def test_it_charges_the_project(project: Project, scripted: Start) -> None:
    scripted([ANSWER])
    expand_for(project, "What can't Emil eat?", llm_of(project), reference_date=TODAY, user_id="nora")
    row = CompletionUsage.objects.get()
    assert (row.project, row.purpose, row.user_id) == (project, "expansion", "nora")


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([Status(503)], "was not expanded: openai/scripted"),
        ([Status(401)], "was not expanded: openai/scripted"),
        ([Malformed("no")] * 3, "3 answers were not the JSON asked for"),
        ([{"rewrites": 7}] * 3, "3 answers were not the JSON asked for"),
    ],
)
def test_it_goes_on_without_where_the_model_fails(
    project: Project, scripted: Start, replies: list[Any], words: str
) -> None:
    scripted(replies)
    found = expand_for(project, "x", llm_of(project), reference_date=TODAY)
    assert found.queries == () and words in found.notes[0]


def test_it_says_that_there_is_no_model(project: Project) -> None:
    assert expand_for(project, "x", None, reference_date=TODAY) == Expansion(
        notes=["the question was not expanded: no language model works for this project"]
    )


def test_it_asks_no_model_that_is_not_to_be_paid(project: Project, scripted: Start) -> None:
    llm = scripted([ANSWER])
    Budget.objects.create(project=project, daily_tokens=0)
    found = expand_for(project, "x", llm_of(project), reference_date=TODAY)
    assert "budget of 0 tokens" in found.notes[0] and llm.requests == []


# Fusion


def test_it_fuses_by_reciprocal_rank() -> None:
    fused = fuse_rankings([["a", "b", "c"], ["b", "d"]], weights=[1, 1])
    assert [key for key, _ in fused] == ["b", "a", "d", "c"]
    assert fused[0][1] == pytest.approx((1 / 62 + 1 / 61) / (2 / 61))


def test_it_lets_the_question_weigh_as_much_as_all_the_others() -> None:
    fused = dict(fuse_rankings([["a"], ["b"], ["b"], ["b"]]))
    assert fused["a"] == pytest.approx(fused["b"]) == pytest.approx(0.5)
    assert next(iter(fused)) == "a"
    assert fuse_rankings([["a", "b"]]) == [("a", 1.0), ("b", pytest.approx(61 / 62))]


def test_it_counts_a_key_once_in_a_ranking_and_fuses_nothing_to_nothing() -> None:
    assert fuse_rankings([["a", "a", "b"]])[1][1] == pytest.approx(61 / 62)
    assert fuse_rankings([]) == [] == fuse_rankings([[], []])
    with pytest.raises(ValueError, match="1 weights for 2 rankings"):
        fuse_rankings([["a"], ["b"]], weights=[1])


# In a search


@pytest.fixture
def talk(client: ApiClient) -> ApiClient:
    said = [
        "My brother Emil cannot eat peanuts.",
        "The weather in Ghent was fine.",
        "I bought a small boat.",
        "Emil told me what he can pay for it.",
    ]
    messages = [{"role": "user", "content": text, "name": "Nora", "id": str(i)} for i, text in enumerate(said)]
    client.post("/v3/memories/add/", {"messages": messages, "user_id": "nora"})
    return client


def ask(client: ApiClient, query: str, **options: object) -> dict[str, Any]:
    body = {"query": query, "filters": {"user_id": "nora"}, "explain": True, **options}
    answer = client.post(SEARCH, body)
    assert answer.status == 200, answer.json
    return answer.json


def test_it_searches_for_the_other_wordings_too(talk: ApiClient, project: Project, scripted: Start) -> None:
    query = "vessel owned"
    plain = ask(talk, query)
    assert "expansion" not in plain
    scripted([{"rewrites": ["small boat"], "hypothetical": ["I bought a boat."]}])
    found = ask(talk, query, expand="llm", reference_date="2025-03-10")
    assert found["expansion"] == {"rewrites": ["small boat"], "hypothetical": ["I bought a boat."], "notes": []}
    assert "boat" in found["results"][0]["memory"]
    assert found["results"][0]["score_breakdown"]["expansion"] > 0.9
    assert found["results"][0]["score"] > max(hit["score"] for hit in plain["results"] if "boat" in hit["memory"])
    assert CompletionUsage.objects.filter(project=project, purpose="expansion").count() == 1


def test_it_finds_the_same_where_the_expansion_fails(talk: ApiClient, scripted: Start) -> None:
    plain = ask(talk, "Emil")["results"]
    assert ask(talk, "Emil", expand="llm")["results"] == plain
    scripted([Status(500)])
    found = ask(talk, "Emil", expand="llm")
    assert found["results"] == plain and "was not expanded" in found["expansion"]["notes"][0]


def test_it_asks_no_model_in_a_project_that_works_without(talk: ApiClient, project: Project, scripted: Start) -> None:
    llm = scripted([ANSWER])
    Project.objects.filter(pk=project.pk).update(extraction_policy=ExtractionPolicy.LOCAL)
    assert "no language model works" in ask(talk, "Emil", expand="llm")["expansion"]["notes"][0]
    assert llm.requests == []


def test_it_keeps_to_its_project_and_to_the_count(talk: ApiClient, stranger: ApiClient, scripted: Start) -> None:
    scripted({"Expanded": [{"rewrites": ["boat", "peanuts"], "hypothetical": ["Emil"]}]})
    assert len(ask(talk, "Nora", expand="llm", top_k=2)["results"]) == 2
    assert ask(stranger, "Nora", expand="llm")["results"] == []
