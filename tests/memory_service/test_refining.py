from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory_service import filters, ingest, ranking, refining, reranking, retrieval
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.models import MemoryRecall, Project
from memory_service.refining import Refinement, Trace, asks_for_several, num_tokens
from memory_service.retrieval import Hit, SearchRequest
from tests.conftest import ApiClient, Worker
from tests.crossencoder import make_cross_encoder

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
SEARCH = "/v3/memories/search/"
ACTIVITIES = {
    "spring": [
        "I went hiking in the hills with my cousins.",
        "I went hiking in the hills with my cousins again.",
        "I went hiking in those hills with my cousins once more.",
        "Hiking with my cousins in the hills is what I like.",
    ],
    "summer": ["I went swimming in the fjord every morning, it was my favourite activity."],
    "autumn": ["The tax office sent me three letters.", "My kitchen needs a new coat of paint."],
}


def remember(project: Project, talks: dict[str, list[str]] = ACTIVITIES, *, user: str = "ann") -> None:
    for number, (run, texts) in enumerate(talks.items()):
        messages = [
            NewMessage("user", text, START + timedelta(days=number, minutes=i), client_id=f"{run}-{i}", name="Ann")
            for i, text in enumerate(texts)
        ]
        event = ingest.record_add(project, AddRequest(messages, EntityIds(user_id=user, run_id=run), infer=False))
        ingest.drain_scope(event.scope_id)


def ask(project: Project, query: str, *, top_k: int = 10, trace: Trace | None = None, **refinement: Any) -> list[Hit]:
    node = filters.parse({"user_id": "ann"})
    asked = SearchRequest(query, node, top_k=top_k, refine=Refinement(**refinement), trace=trace)
    return retrieval.search(project, asked)


def texts(hits: list[Hit]) -> list[str]:
    return [refining.text_of(hit) for hit in hits]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("crossencoder"))


@pytest.fixture
def reranker(folder: Path, settings: Any) -> Iterator[Path]:
    settings.ENV = settings.ENV.model_copy(update={"rerank_model": str(folder)})
    yield folder
    reranking._loaded.clear()


QUERY = "Which activities did Ann go for?"


# By default


def test_it_changes_nothing_unless_it_is_asked(project: Project) -> None:
    remember(project)
    trace = Trace()
    plain = ask(project, QUERY, top_k=3, trace=trace)
    assert len(plain) == 3
    assert Refinement().does_nothing and Refinement(mmr_lambda=0.1).does_nothing
    assert [stage["stage"] for stage in trace.stages] == ["select"]
    assert not any({"fused", "rerank", "diversity", "mmr", "focus"} & set(hit.breakdown) for hit in plain)


def test_it_counts_as_recalled_only_what_it_returns(project: Project) -> None:
    remember(project)
    ranking.flush_recalls()
    before = MemoryRecall.objects.count()
    ask(project, QUERY, top_k=1, select="mmr")
    ranking.flush_recalls()
    assert MemoryRecall.objects.count() == before + 1


# Rerank


def test_it_puts_them_in_the_order_of_the_cross_encoder(project: Project, reranker: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    remember(project)
    found = ask(project, QUERY, rerank=True)
    model = CrossEncoder(str(reranker), device="cpu")
    expected = model.predict([(QUERY, t) for t in texts(found)], activation_fn=torch.nn.Sigmoid())
    assert [hit.score for hit in found] == pytest.approx(expected.tolist(), abs=1e-4)
    assert list(expected) == sorted(expected, reverse=True)
    plain = {refining.text_of(hit): hit.score for hit in ask(project, QUERY)}
    for hit in found:
        assert hit.breakdown["rerank"] == pytest.approx(hit.score, abs=1e-4)
        assert hit.breakdown["fused"] == pytest.approx(plain[refining.text_of(hit)], abs=1e-4)
    assert texts(found) != list(plain)


def test_it_reads_no_more_than_it_may(project: Project, reranker: Path, settings: Any) -> None:
    remember(project)
    settings.ENV = settings.ENV.model_copy(update={"rerank_candidates": 2})
    plain, trace = texts(ask(project, QUERY, top_k=100)), Trace()
    found = ask(project, QUERY, top_k=100, rerank=True, trace=trace)
    assert sorted(texts(found)[:2]) == sorted(plain[:2]) and texts(found)[2:] == plain[2:]
    assert trace.stages[0]["scored"] == 2
    assert ["rerank" in hit.breakdown for hit in found] == [True, True] + [False] * (len(plain) - 2)


def test_it_keeps_the_order_and_says_so_where_there_is_no_reranker(project: Project, settings: Any) -> None:
    remember(project)
    plain, trace = ask(project, QUERY), Trace()
    found = ask(project, QUERY, rerank=True, trace=trace)
    assert [hit.key for hit in found] == [hit.key for hit in plain]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in plain], abs=1e-5)
    assert trace.notes == [reranking.NOT_CONFIGURED]
    settings.ENV = settings.ENV.model_copy(update={"rerank_model": "/nowhere/at/all"})
    trace = Trace()
    assert texts(ask(project, QUERY, rerank=True, trace=trace)) == texts(plain)
    assert "RERANK_MODEL=/nowhere/at/all could not be loaded" in trace.notes[0]
    reranking._loaded.clear()


# Diversity


def test_it_goes_round_the_sessions_where_several_things_are_asked(project: Project) -> None:
    spring = [f"I went hiking in the hills with my cousins, tour {number}." for number in range(1, 9)]
    remember(project, {"spring": spring, "summer": ["I went hiking in the hills with my cousins, by the fjord."]})
    query = "Which hiking tours in the hills with her cousins did Ann go for?"
    plain, trace = ask(project, query), Trace()
    found = ask(project, query, diversity=True, trace=trace)
    assert sorted(texts(found)) == sorted(texts(plain))
    assert texts(found)[0] == texts(plain)[0]
    assert "fjord" in texts(plain)[-1] and "fjord" not in texts(found)[-1]
    assert trace.stages[0]["sessions"] == 2
    assert 0 < found[-1].breakdown["diversity"] < 1 and "diversity" not in found[0].breakdown


def test_it_leaves_a_question_for_one_thing_alone(project: Project) -> None:
    remember(project)
    trace = Trace()
    query = "When was Ann hiking in the hills?"
    assert texts(ask(project, query, diversity=True, trace=trace)) == texts(ask(project, query))
    assert trace.stages[0]["why"] == "the question asks for one thing"


@pytest.mark.parametrize(
    "query",
    [
        "Which books has Ann read?",
        "What kind of pets does she have?",
        "What are the names of all her cousins?",
        "How many children does he have?",
        "Has Ann ever been to Oslo?",
        "What do Ann and Bo have in common?",
    ],
)
def test_it_knows_questions_for_several_things(query: str) -> None:
    assert asks_for_several(query)


@pytest.mark.parametrize(
    "query",
    [
        "When did Ann move?",
        "What does Ann like best?",
        "Which is her dog?",
        "What is the class about?",
        "Why?",
        "",
        "何",
    ],
)
def test_it_knows_questions_for_one_thing(query: str) -> None:
    assert not asks_for_several(query)


# Select


def test_it_stops_where_the_score_falls(project: Project) -> None:
    remember(project)
    plain, trace = ask(project, QUERY, top_k=100), Trace()
    scores = np.minimum.accumulate([hit.score for hit in plain])
    falls = scores[1:] / scores[:-1]
    sharpest = int(falls.argmin()) + 1
    drop = 1 - float(falls.min()) - 1e-6
    found = ask(project, QUERY, top_k=100, select="gradient", min_k=1, drop=drop, trace=trace)
    assert texts(found) == texts(plain)[:sharpest]
    cut = [fate for fate in trace.fates if not fate.kept]
    assert len(cut) == len(plain) - sharpest and all("the score falls by more than" in fate.why for fate in cut)


def test_it_chooses_what_differs(project: Project) -> None:
    remember(project)
    plain, found = (
        ask(project, "hiking with my cousins", top_k=3),
        ask(project, "hiking with my cousins", top_k=3, select="mmr", mmr_lambda=0.3),
    )
    assert all("iking" in text for text in texts(plain))
    assert sum("iking" in text for text in texts(found)) < 3
    assert texts(found)[0] == texts(plain)[0] and "mmr" in found[0].breakdown


@pytest.mark.parametrize("select", refining.SELECTS)
@pytest.mark.parametrize("max_tokens", [1, 5, 20, 40, 1000])
def test_it_never_exceeds_the_budget(project: Project, select: str, max_tokens: int) -> None:
    remember(project)
    trace = Trace()
    found = ask(project, QUERY, top_k=4, select=select, max_tokens=max_tokens, trace=trace)
    assert sum(num_tokens(text) for text in texts(found)) <= max_tokens and len(found) <= 4
    assert bool(found) == (max_tokens >= min(map(num_tokens, texts(ask(project, QUERY, top_k=100)))))
    kept = {fate.name for fate in trace.fates if fate.kept}
    assert kept == {refining.name_of(hit) for hit in found}
    assert all(fate.why and fate.stage for fate in trace.fates if not fate.kept)


@pytest.mark.parametrize("select", ["greedy", "tree"])
def test_it_finds_a_set_that_says_more(project: Project, select: str) -> None:
    remember(project)
    budget = sum(num_tokens(text) for text in texts(ask(project, "hiking cousins fjord", top_k=3)))
    trace = Trace()
    found = ask(project, "hiking cousins fjord", select=select, max_tokens=budget, trace=trace)
    assert any("fjord" in text for text in texts(found))
    again = ask(project, "hiking cousins fjord", select=select, max_tokens=budget)
    assert texts(again) == texts(found)
    stage = trace.stages[0]
    assert stage["method"] == select and 0 < stage["reward"] <= 1 and stage["sets"] >= stage["batches"] > 0


def test_it_finds_by_tree_what_is_worth_at_least_the_greedy_set(project: Project) -> None:
    remember(project)
    for query in ("hiking", "swimming and hiking", "letters"):
        worth = {}
        for select in ("greedy", "tree"):
            trace = Trace()
            ask(project, query, select=select, max_tokens=30, trace=trace)
            worth[select] = trace.stages[0]["reward"]
        assert worth["tree"] >= worth["greedy"]


def test_it_lets_the_cross_encoder_judge_sets(project: Project, reranker: Path) -> None:
    remember(project)
    trace = Trace()
    found = ask(project, QUERY, select="tree", rerank=True, max_tokens=40, trace=trace)
    rerank, select = trace.stages
    assert rerank["done"] and 1 < select["batches"] <= 1 + refining.RERANKED_ITERATIONS
    ranked = sorted(found, key=lambda hit: -hit.breakdown["rerank"])
    judged = reranking.score_texts(QUERY, ["\n".join(texts(ranked))])
    assert isinstance(judged, np.ndarray) and judged[0] == pytest.approx(select["reward"], abs=1e-3)


# Focus


def test_it_keeps_the_sentences_that_matter(project: Project) -> None:
    talk = [
        "The party was loud. My brother Emil is allergic to peanuts. We left at nine.",
        "I painted the fence green.",
        "Our neighbour plays the tuba. He practises at night.",
    ]
    remember(project, {"r": talk})
    [hit] = ask(project, "What is Emil allergic to?", focus=1)
    [sentence] = hit.sentences
    assert refining.text_of(hit)[sentence.start : sentence.end] == "My brother Emil is allergic to peanuts."
    assert hit.breakdown["focus"] == pytest.approx(sentence.score, abs=1e-4)
    trace = Trace()
    found = ask(project, "What is Emil allergic to?", focus=3, trace=trace)
    assert sum(len(hit.sentences) for hit in found) == 3
    best = [hit.breakdown["focus"] for hit in found]
    assert best == sorted(best, reverse=True)
    assert any("none of its sentences is among the 3 best" in fate.why for fate in trace.fates) or len(found) == 3


# Pending messages, other projects, the API


def test_it_refines_messages_that_wait(client: ApiClient, worker: Worker, project: Project) -> None:
    worker.paused = True
    said = [{"role": "user", "content": f"Hiking tour number {n}. It was fine.", "name": "Ann"} for n in range(4)]
    client.post("/v3/memories/add/", {"messages": said, "user_id": "ann"})
    for options in ({"select": "mmr"}, {"select": "tree", "max_tokens": 20}, {"focus": 2}, {"diversity": True}):
        body = {"query": "which hiking tours", "filters": {"user_id": "ann"}, "top_k": 2, **options}
        found = client.post(SEARCH, body)
        assert found.status == 200 and 1 <= len(found.json["results"]) <= 2, options


@pytest.fixture
def talk(client: ApiClient) -> ApiClient:
    for run, said in ACTIVITIES.items():
        messages = [{"role": "user", "content": text, "name": "Ann"} for text in said]
        client.post("/v3/memories/add/", {"messages": messages, "user_id": "ann", "run_id": run})
    return client


def search(client: ApiClient, **options: Any) -> Any:
    return client.post(SEARCH, {"query": QUERY, "filters": {"user_id": "ann"}, **options})


def test_it_takes_all_its_options_by_the_api(talk: ApiClient) -> None:
    options = {"select": "tree", "max_tokens": 60, "diversity": True, "focus": 3, "rerank": True, "mmr_lambda": 0.5}
    answer = search(talk, explain=True, **options)
    assert answer.status == 200, answer.json
    told = answer.json["refinement"]
    assert [stage["stage"] for stage in told["stages"]] == ["rerank", "diversity", "select", "focus"]
    assert told["notes"] == [reranking.NOT_CONFIGURED]
    kept = {one["id"] for one in told["candidates"] if one["kept"]}
    assert kept == {hit["id"] for hit in answer.json["results"]} and len(told["candidates"]) > len(kept)
    for hit in answer.json["results"]:
        for part in hit["focus"]:
            assert hit["memory"][part["start"] : part["end"]] == part["text"]
    only = search(talk, focus=1, fields=["focus"]).json["results"]
    assert [set(hit) for hit in only] == [{"id", "score", "focus"}]


def test_it_shows_nothing_of_it_unless_asked(talk: ApiClient) -> None:
    assert set(search(talk).json) == {"results"} == set(search(talk, explain=True).json)
    assert set(search(talk, select="mmr").json) == {"results"}
    assert all("focus" not in hit for hit in search(talk).json["results"])


@pytest.mark.parametrize("options", [{"select": "tree"}, {"focus": 5}, {"select": "mmr"}, {"diversity": True}])
def test_it_shows_a_stranger_nothing(talk: ApiClient, stranger: ApiClient, options: dict[str, Any]) -> None:
    answer = search(stranger, explain=True, **options)
    assert answer.status == 200 and answer.json["results"] == [] == answer.json["refinement"]["candidates"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"select": "best"}, 'select: "best" is not a valid choice'),
        ({"select": None}, "select: This field may not be null"),
        ({"select": ["mmr"]}, "select"),
        ({"focus": 0}, "focus: Ensure this value is greater than or equal to 1"),
        ({"focus": "all"}, "focus: A valid integer is required"),
        ({"focus": True}, "focus: A valid integer is required"),
        ({"focus": 10**30}, "focus: Ensure this value is less than or equal to 1000"),
        ({"max_tokens": 0}, "max_tokens: Ensure this value is greater than or equal to 1"),
        ({"max_tokens": 10**9}, "max_tokens: Ensure this value is less than or equal to 1000000"),
        ({"max_tokens": {}}, "max_tokens: A valid integer is required"),
        ({"mmr_lambda": 1.1}, "mmr_lambda: Ensure this value is less than or equal to 1"),
        ({"mmr_lambda": "nan"}, "mmr_lambda: A valid number is required"),
        ({"diversity": "maybe"}, "diversity: Must be a valid boolean"),
        ({"rerank": []}, "rerank: Must be a valid boolean"),
        ({"expand": "all"}, 'expand: "all" is not a valid choice'),
        ({"expand": "\x00"}, "expand"),
    ],
)
def test_it_refuses_bad_options(client: ApiClient, options: dict[str, Any], words: str) -> None:
    answer = search(client, **options)
    assert answer.status == 400 and words in str(answer.json["detail"]), answer.json
