"""Evaluations through the API: labelled questions, a job, figures, comparison, and their end."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memory_service import platform_tasks, retrieval
from memory_service.errors import LLMUnavailable
from memory_service.evaluation import jobs, runner
from memory_service.models import EvaluationCorpus, EvaluationRun, EvaluationScore, Project, Scope
from tests.conftest import ApiClient

pytestmark = pytest.mark.django_db

URL = "/v1/evaluations/"
SAID = [
    {"id": "m1", "role": "user", "content": "My sister Anna bought a small sailing boat in Bergen."},
    {"id": "m2", "role": "user", "content": "The quarterly report is due on the last day of the month."},
    {"id": "m3", "role": "user", "content": "We ate pancakes with blueberries for breakfast."},
]
MESSAGES = {"user_id": "ann", "run_id": "r", "messages": SAID}
QUESTIONS: list[dict[str, Any]] = [
    {"user_id": "ann", "question": "Who bought a sailing boat?", "evidence": ["m1"], "category": 1},
    {"question": "When is the quarterly report due?", "evidence": ["m2"], "category": 2},
]


@pytest.fixture(autouse=True)
def _worker_for_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Celery would do, at once."""

    def carry_out(run: EvaluationRun) -> None:
        while jobs.run_evaluation(run.pk) is not None:
            pass

    monkeypatch.setattr(platform_tasks, "enqueue_evaluation", carry_out)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker: a run stays where it is."""
    monkeypatch.setattr(platform_tasks, "enqueue_evaluation", lambda run: None)


def remember(client: ApiClient, user: str = "ann") -> None:
    assert client.post("/v3/memories/add/", {"user_id": user, "run_id": "r", "messages": SAID}).status == 200


def make(client: ApiClient, items: Any = QUESTIONS, **more: Any) -> Any:
    answer = client.post(URL, {"items": items, **more})
    assert answer.status == 202, answer.json
    return answer.json


def test_it_asks_a_projects_own_memories(client: ApiClient) -> None:
    remember(client)
    made = make(client, name="labels of March", options={"top_k": 5})
    assert (made["status"], made["over"], made["num_done"], made["num_steps"]) == ("SUCCEEDED", "own memories", 2, 2)
    assert made["summary"]["metrics"]["all"]["recall@5"]["mean"] == 1
    assert set(made["summary"]["metrics"]) == {"all", "1", "2"}
    assert made["plan"]["options"] == {"top_k": 5}
    assert client.get(f"{URL}{made['id']}/").json == made
    listed = client.get(URL).json
    assert [(one["id"], one["name"]) for one in listed["results"]] == [(made["id"], "labels of March")]
    assert "summary" not in listed["results"][0]
    [first, second] = client.get(f"{URL}{made['id']}/questions/").json["results"]
    assert (first["category"], first["ranks"], first["metrics"]["mrr"]) == (1, {"m1": 1}, 1.0)
    assert second["question"] == "When is the quarterly report due?"


def test_it_ingests_messages_into_a_scratch_project_that_does_not_stay(client: ApiClient, project: Project) -> None:
    made = make(client, [MESSAGES, *QUESTIONS])
    assert (made["status"], made["over"]) == ("SUCCEEDED", "scratch project")
    assert made["summary"]["num_messages"] == 3
    assert made["summary"]["metrics"]["all"]["recall@5"]["mean"] == 1
    assert list(Project.objects.all()) == [project]
    assert not Scope.objects.exists()
    assert EvaluationRun.objects.get().content is None


def test_it_takes_json_lines_and_evidence_of_every_kind(client: ApiClient) -> None:
    remember(client)
    filters = {"filters": {"user_id": "ann"}, "query": "sailing boat"}
    memory = client.post("/v3/memories/search/", filters).json["results"][0]
    lines = [
        {"filters": {"user_id": "ann"}, "question": "Who bought a boat?", "evidence": [memory["id"]]},
        {"filters": {"user_id": "ann"}, "question": "A boat?", "evidence": [{"message_id": "m1", "run_id": "r"}]},
        {"filters": {"user_id": "ann"}, "question": "A boat!", "evidence": [{"message_id": "m1", "run_id": "other"}]},
        {"question": "What about a boat?", "evidence": ["m1"], "sessions": ["r"]},  # the whole project
    ]
    made = client.post(URL, {"jsonl": "\n".join(map(json.dumps, lines))}).json
    scores = list(EvaluationScore.objects.order_by("number"))
    assert [score.metrics["recall@10"] for score in scores] == [1, 1, 0, 1]
    assert scores[3].metrics["session_any@5"] == 1
    missed = client.get(f"{URL}{made['id']}/questions/?missed=10").json
    assert [one["question"] for one in missed["results"]] == ["A boat!"]


def test_it_compares_two_runs(client: ApiClient) -> None:
    remember(client)
    first = make(client)
    second = make(client, [QUESTIONS[0] | {"question": "breakfast pancakes with blueberries"}, QUESTIONS[1]])
    found = client.get(f"{URL}compare/?a={first['id']}&b={second['id']}").json
    assert found["num_questions"] == 2
    assert found["notes"] == ["the runs were made over different data: only questions with the same id are compared"]
    assert found["metrics"]["1"]["mrr"]["mean"] < 0
    assert found["metrics"]["2"]["mrr"]["mean"] == 0
    assert {"mean", "low", "high", "n", "p"} == set(found["metrics"]["all"]["mrr"])
    assert client.get(f"{URL}compare/?a={first['id']}").status == 400
    assert client.get(f"{URL}compare/?a={first['id']}&b=x").status == 400
    missing = client.get(f"{URL}compare/?a={first['id']}&b={uuid.uuid4()}")
    assert (missing.status, "was not found in this project" in missing.json["detail"]) == (404, True)


def test_it_tells_nothing_to_another_project(client: ApiClient, stranger: ApiClient) -> None:
    remember(client)
    made = make(client)
    theirs = make(stranger, QUESTIONS)  # the same words, another project: nothing is there
    assert theirs["summary"]["metrics"]["all"]["recall@50"]["mean"] == 0
    for method, path in [
        *[("GET", f"{URL}{made['id']}/"), ("GET", f"{URL}{made['id']}/questions/"), ("DELETE", f"{URL}{made['id']}/")],
        *[("POST", f"{URL}{made['id']}/cancel/"), ("GET", f"{URL}compare/?a={made['id']}&b={theirs['id']}")],
    ]:
        assert stranger.call(method, path).status == 404, path
    assert [one["id"] for one in stranger.get(URL).json["results"]] == [theirs["id"]]


def test_it_hides_scratch_projects_from_the_organisation(client: ApiClient, project: Project, waiting: None) -> None:
    made = make(client, [MESSAGES, *QUESTIONS])
    run = EvaluationRun.objects.get(public_id=made["id"])
    jobs.TURN_S, turn_s = 0.0, jobs.TURN_S
    try:
        assert jobs.run_evaluation(run.pk) is not None
    finally:
        jobs.TURN_S = turn_s
    assert EvaluationCorpus.objects.exists()
    organisation = project.organisation.public_id
    listed = client.get(f"/api/v1/orgs/organizations/{organisation}/projects/").json
    assert "evaluation" not in json.dumps(listed)


def test_it_can_be_cancelled(client: ApiClient, waiting: None) -> None:
    made = make(client, [MESSAGES, *QUESTIONS])
    assert made["status"] == "PENDING"
    assert client.post(f"{URL}{made['id']}/cancel/", {}).json["status"] == "CANCELLED"
    run = EvaluationRun.objects.get()
    assert run.content is None
    assert jobs.run_evaluation(run.pk) is None
    assert not run.scores.exists()
    again = client.post(f"{URL}{made['id']}/cancel/", {})
    assert (again.status, "CANCELLED and cannot be cancelled" in again.json["detail"]) == (409, True)


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_it_stops_in_the_middle(client: ApiClient, waiting: None, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    made = make(client, [MESSAGES, *QUESTIONS])
    run = EvaluationRun.objects.get()
    search = retrieval.search

    def end_it(*args: Any) -> Any:
        if end == "cancel":
            client.post(f"{URL}{made['id']}/cancel/", {})
        else:
            client.delete(f"{URL}{made['id']}/")
        monkeypatch.setattr(retrieval, "search", search)
        return search(*args)

    monkeypatch.setattr(retrieval, "search", end_it)
    assert jobs.run_evaluation(run.pk) is None
    assert not EvaluationScore.objects.exists()
    assert not EvaluationCorpus.objects.exists()
    left = EvaluationRun.objects.values_list("status", flat=True)
    assert list(left) == (["CANCELLED"] if end == "cancel" else [])


def test_it_works_in_turns_and_does_nothing_twice(
    client: ApiClient, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(client, [MESSAGES, *QUESTIONS])
    run = EvaluationRun.objects.get()
    monkeypatch.setattr(jobs, "TURN_S", 0.0)
    turns = 0
    while jobs.run_evaluation(run.pk) is not None and turns < 20:
        turns += 1
        monkeypatch.setattr(jobs, "TURN_S", 0.0 if turns < 3 else 20.0)
    assert turns >= 3
    assert client.get(f"{URL}{made['id']}/").json["status"] == "SUCCEEDED"
    assert run.scores.count() == 2


def test_it_is_swept_up_when_its_worker_died(client: ApiClient, waiting: None) -> None:
    make(client)
    assert not jobs.unfinished_runs(stale=True).exists()
    EvaluationRun.objects.update(updated_at=timezone.now() - timedelta(minutes=2), status="RUNNING")
    assert jobs.unfinished_runs(stale=True).count() == 1


def test_it_tries_again_what_may_pass_and_gives_up_in_the_end(
    client: ApiClient, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(client)
    run = EvaluationRun.objects.get()

    def broken(*_: Any) -> Any:
        raise LLMUnavailable("the model is asleep")

    monkeypatch.setattr(retrieval, "search", broken)
    answers = [jobs.run_evaluation(run.pk) is not None for _ in range(jobs.MAX_ATTEMPTS)]
    assert answers == [True] * (jobs.MAX_ATTEMPTS - 1) + [False]
    told = client.get(f"{URL}{made['id']}/").json
    assert (told["status"], told["error"]) == ("FAILED", "the model is asleep")


def test_it_is_deleted_with_its_questions(client: ApiClient) -> None:
    made = make(client)
    assert client.delete(f"{URL}{made['id']}/").status == 200
    assert not EvaluationScore.objects.exists()
    assert client.get(f"{URL}{made['id']}/").status == 404


@pytest.mark.parametrize(
    "items",
    [
        QUESTIONS,
        [{"filters": {"AND": [{"user_id": "ann"}]}, "question": "Who?", "evidence": ["m1"]}],
        [{"filters": {"user_id": "*"}, "question": "Who?", "evidence": ["m1"]}],
        [MESSAGES, *QUESTIONS],
    ],
)
def test_it_is_forgotten_with_whom_it_is_about(client: ApiClient, items: Any) -> None:
    remember(client)
    remember(client, "bob")
    make(client, items)
    other = make(client, [QUESTIONS[0] | {"user_id": "bob"}])
    assert client.delete("/v2/entities/user/ann/").status == 200
    assert [str(run.public_id) for run in EvaluationRun.objects.all()] == [other["id"]]


def test_it_forgets_what_was_ingested_for_a_run(client: ApiClient, waiting: None) -> None:
    remember(client)
    made = make(client, [MESSAGES, *QUESTIONS])
    run = EvaluationRun.objects.get(public_id=made["id"])
    corpus = runner.corpus_of(run, jobs.read_items(run.content), runner.Plan(**run.plan), 0)
    runner.fill_corpus(corpus, jobs.read_items(run.content), seed=0, enqueue=None)
    assert Scope.objects.filter(project=corpus.project).exists()
    assert client.delete("/v2/entities/user/ann/").status == 200
    assert not Scope.objects.exists()
    assert not EvaluationRun.objects.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "either as items"),
        ({"items": QUESTIONS, "jsonl": "{}"}, "either as items"),
        ({"items": []}, "items"),
        ({"items": [5]}, "items"),
        ({"items": {"a": 1}}, "items"),
        ({"jsonl": "{"}, "line 1 is not JSON"),
        ({"jsonl": '{"question": NaN}'}, "NaN is not a JSON value"),
        ({"jsonl": '{"question": "a\\u0000"}'}, "NUL"),
        ({"jsonl": '{"question": "a\\ud800"}'}, "lone surrogate"),
        ({"items": [{"question": "\x00"}]}, "NUL"),
        ({"items": [{"question": 5, "evidence": 7}]}, "line 1: evidence must be a list"),
        ({"items": [{"question": "Why?", "filters": {"user_id": {"near": 3}}}]}, "line 1"),
        ({"items": [{"question": "Why?", "reference_date": "9999-12-31"}]}, "reference_date"),
        ({"items": [{"messages": SAID}]}, "line 1 names nobody"),
        ({"items": [MESSAGES]}, "there is no question"),
        ({"items": QUESTIONS, "options": {"top_k": 0}}, "top_k=0 is out of range"),
        ({"items": QUESTIONS, "options": {"filter": {}}}, "'filter' is no option"),
        ({"items": QUESTIONS, "options": "x"}, "options"),
        ({"items": QUESTIONS, "ablate": ["nothing"]}, "no stage of retrieval"),
        ({"items": QUESTIONS, "seeds": 99}, "seeds"),
        ({"items": QUESTIONS, "seeds": 2}, "seeds are orders of ingesting"),
        ({"items": QUESTIONS, "judge": 1}, "a judge needs a language model"),
        ({"items": QUESTIONS, "judge": "x"}, "judge"),
        ({"items": QUESTIONS, "wait_s": 1e9}, "wait_s"),
        ({"items": QUESTIONS, "name": ["x"]}, "name"),
    ],
)
def test_it_refuses_bad_input_and_writes_nothing(client: ApiClient, body: Any, message: str) -> None:
    answer = client.post(URL, body)
    assert answer.status == 400, answer.json
    assert message in json.dumps(answer.json)
    assert {"detail", "error"} <= set(answer.json)
    assert not EvaluationRun.objects.exists()


@pytest.mark.parametrize("query", ["page=0", "page=x", "page_size=100000", "missed=0", "missed=x", "page=99"])
def test_it_refuses_bad_queries(client: ApiClient, query: str) -> None:
    made = make(client)
    assert client.get(f"{URL}{made['id']}/questions/?{query}").status in (400, 404)
    assert client.get(f"{URL}{uuid.uuid4()}/").status == 404


def test_it_has_limits(client: ApiClient, waiting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_QUESTIONS", 1)
    answer = client.post(URL, {"items": QUESTIONS})
    assert (answer.status, "2 questions are over the limit of 1" in answer.json["detail"]) == (413, True)
    monkeypatch.setattr(jobs, "MAX_QUESTIONS", 10)
    monkeypatch.setattr(jobs, "MAX_MESSAGES", 2)
    assert client.post(URL, {"items": [MESSAGES, *QUESTIONS]}).status == 413
    monkeypatch.setattr(jobs, "MAX_ASKED", 1)
    assert client.post(URL, {"items": QUESTIONS}).status == 413
    monkeypatch.setattr(jobs, "MAX_ASKED", 10)
    for _ in range(jobs.MAX_UNFINISHED):
        make(client)
    full = client.post(URL, {"items": QUESTIONS})
    assert (full.status, "are under way" in full.json["detail"]) == (409, True)
