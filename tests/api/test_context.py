"""POST /v1/context/ over the API: the answer's shape, projects apart, bad input."""

from __future__ import annotations

from typing import Any

import pytest

from memory_service.models import CompletionUsage, Project
from tests.conftest import ApiClient, Worker
from tests.llm import Start, scripted
from tests.scripted_llm import prompt_of

__all__ = ["scripted"]

PATH = "/v1/context/"
MINE = {"query": "What boat did Anna buy?", "filters": {"user_id": "ann"}}


@pytest.fixture
def told(client: ApiClient) -> None:
    messages = [
        {"role": "user", "name": "Ann", "content": text, "id": f"m{number}", "created_at": f"2025-03-0{number}"}
        for number, text in enumerate(
            ["My sister Anna bought a sailing boat in Bergen.", "We ate pancakes for breakfast.", "The boat is red."], 1
        )
    ]
    body = {"messages": messages, "user_id": "ann", "run_id": "r", "infer": False}
    assert client.post("/v3/memories/add/", body).status == 200


def test_it_answers_with_text_items_and_counts(client: ApiClient, told: None) -> None:
    answer = client.post(PATH, MINE)
    assert answer.status == 200, answer.json
    found = answer.json
    assert set(found) == {
        "text", "items", "num_tokens", "max_tokens", "tokenizer", "left_out", "notes", "unchanged_tokens",
        "unchanged_share", "epoch",
    }  # fmt: skip
    item = found["items"][0]
    start, end = item["span"]
    assert found["text"][start:end] == "- 2025-03-01 Ann: My sister Anna bought a sailing boat in Bergen."
    assert item["sources"][0]["message_id"] == "m1" and item["sources"][0]["run_id"] == "r"
    assert item["type"] == "memory" and 0 < item["score"] <= 1 and item["tokens"] > 5
    assert client.get(f"/v1/memories/{item['id']}/").json["memory"].startswith("My sister Anna")
    assert found["tokenizer"] == {"name": "o200k_base", "exact": True} and found["max_tokens"] == 1000
    assert found["unchanged_tokens"] is None


def test_it_says_what_stayed_the_same(client: ApiClient, told: None) -> None:
    body = {**MINE, "order": "stable", "session": "chat/1", "sections": ["memories"]}
    assert client.post(PATH, body).json["unchanged_tokens"] == 0
    again = client.post(PATH, body).json
    assert again["unchanged_share"] == 1.0 and again["unchanged_tokens"] == again["num_tokens"]


def test_no_key_sees_what_another_project_remembers(client: ApiClient, stranger: ApiClient, told: None) -> None:
    assert client.post(PATH, {**MINE, "order": "stable", "session": "s"}).json["items"]
    found = stranger.post(PATH, {**MINE, "order": "stable", "session": "s", "sections": ["memories", "relations"]})
    assert found.status == 200 and found.json["items"] == [] and "boat" not in found.json["text"]
    everybody = stranger.post(PATH, {"query": "boat"})
    assert everybody.json["items"] == [] and everybody.json["left_out"] == []
    assert ApiClient(None).post(PATH, MINE).status == 401


def test_what_is_not_processed_yet_is_shown(client: ApiClient, worker: Worker, told: None) -> None:
    worker.paused = True
    client.post("/v3/memories/add/", {"messages": [{"role": "user", "content": "The boat sank."}], "user_id": "ann"})
    found = client.post(PATH, {"query": "boat sank", "filters": {"user_id": "ann"}}).json
    assert [item["type"] for item in found["items"]].count("message") == 1 and "User: The boat sank." in found["text"]


@pytest.mark.parametrize(
    ("wrong", "told_of"),
    [
        ({"query": None}, "query"),
        ({"query": ""}, "query"),
        ({"query": ["boat"]}, "query"),
        ({"query": "x" * 20_001}, "query"),
        ({"query": "a\x00b"}, "NUL"),
        ({"query": "a\ud800b"}, "surrogate"),
        ({"max_tokens": 15}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 200_001}, "max_tokens"),
        ({"format": "xml"}, "format"),
        ({"format": ["json"]}, "format"),
        ({"order": 3}, "order"),
        ({"compress": {}}, "compress"),
        ({"order": "stable"}, "needs session"),
        ({"order": "stable", "session": ""}, "session"),
        ({"order": "stable", "session": "s" * 256}, "session"),
        ({"order": "stable", "session": {"a": 1}}, "session"),
        ({"order": "stable", "session": "s", "compress": "llm"}, "same twice"),
        ({"keep_share": 2}, "keep_share"),
        ({"keep_share": "NaN"}, "keep_share"),
        ({"sections": ["memories", "secrets"]}, "sections"),
        ({"sections": []}, "sections"),
        ({"sections": "memories"}, "sections"),
        ({"model": "m" * 201}, "model"),
        ({"model": 7.5e300, "top_k": 0}, "top_k"),
        ({"filters": {"nobody": 1}}, "nobody"),
        ({"filters": [1]}, "filter"),
        ({"user_id": "ann"}, "filters"),
        ({"as_of": "1e400"}, "as_of"),
        ({"reference_date": "9999-99-99"}, "reference_date"),
    ],
)
def test_it_refuses_bad_input_by_name(client: ApiClient, wrong: dict[str, Any], told_of: str) -> None:
    answer = client.post(PATH, MINE | wrong)
    assert answer.status == 400, answer.json
    assert told_of in str(answer.json) and {"detail", "error"} <= set(answer.json)


@pytest.mark.parametrize("body", [[], "text", None, 5])
def test_it_refuses_a_body_that_is_no_object(client: ApiClient, body: Any) -> None:
    assert client.post(PATH, body).status == 400


@pytest.mark.parametrize("model", ["../../etc/passwd", "a/b/c", "", "модель", "<script>", "gpt-4o/../x", "."])
def test_a_model_that_nobody_knows_is_counted_by_the_estimate(client: ApiClient, told: None, model: str) -> None:
    answer = client.post(PATH, {**MINE, "model": model})
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json["tokenizer"]["name"] in ("estimate", "o200k_base")


def test_it_compresses_by_the_language_model_and_books_the_cost(
    client: ApiClient, project: Project, scripted: Start
) -> None:
    long = "I bought a boat in Bergen for 900 euros. It was a sunny day and we walked for hours along the old harbour. "
    messages = [{"role": "user", "name": "Ann", "content": f"{long * 3}Visit {n}."} for n in range(6)]
    client.post("/v3/memories/add/", {"messages": messages, "user_id": "ann", "infer": False})

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        lines = [line for line in prompt_of(request).splitlines() if line.startswith('{"number"')]
        import json

        pieces = [json.loads(line) for line in lines]
        assert all(piece["words"] - piece["keep"] == piece["delete"] for piece in pieces)
        return {"pieces": [{"number": p["number"], "text": " ".join(p["must_keep"])} for p in pieces]}

    scripted(answer)
    body = {"query": "What did the boat cost?", "filters": {"user_id": "ann"}, "max_tokens": 200, "compress": "llm"}
    found = client.post(PATH, body).json
    assert found["num_tokens"] <= 200 and any(item["compressed"] for item in found["items"])
    assert "900" in found["text"] and "Bergen" in found["text"] and "sunny day" not in found["text"]
    usage = CompletionUsage.objects.get()
    assert usage.purpose == "compress_context" and usage.project == project


def test_without_a_language_model_it_leaves_sentences_out_and_says_so(client: ApiClient) -> None:
    long = "I bought a boat in Bergen for 900 euros. " + "It was sunny and we walked for hours along the harbour. " * 5
    messages = [{"role": "user", "name": "Ann", "content": f"{long}Visit {n}."} for n in range(4)]
    client.post("/v3/memories/add/", {"messages": messages, "user_id": "ann", "infer": False})
    body = {"query": "What did the boat cost?", "filters": {"user_id": "ann"}, "max_tokens": 120, "compress": "llm"}
    found = client.post(PATH, body).json
    assert found["notes"] == ["no language model is configured: compressed by leaving sentences out"]
    assert "900 euros" in found["text"]
