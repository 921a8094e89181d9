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


# What selection, focus and expansion do to a context


NUMBERED = [f"In week {n} I watered the blue orchid in the hall {n + 2} times." for n in range(30)]


@pytest.fixture
def orchids(client: ApiClient) -> None:
    messages = [{"role": "user", "name": "Ann", "content": text} for text in NUMBERED]
    client.post("/v3/memories/add/", {"messages": messages, "user_id": "ann", "infer": False})


def ask(client: ApiClient, query: str = "blue orchid", **wishes: Any) -> dict[str, Any]:
    answer = client.post(PATH, {"query": query, "filters": {"user_id": "ann"}, **wishes})
    assert answer.status == 200, answer.json
    return dict(answer.json)


@pytest.mark.parametrize("select", ["top_k", "gradient", "mmr"])
def test_its_budget_cuts_no_hits_before_they_are_drawn(client: ApiClient, orchids: None, select: str) -> None:
    """30 memories of about 25 tokens: 150 tokens hold a few of them, and the others are told, each with why."""
    found = ask(client, max_tokens=150, select=select, top_k=30)
    everything = [*[item["id"] for item in found["items"]], *[one["id"] for one in found["left_out"]]]
    assert len(everything) == len(set(everything)) == 30
    assert {one["reason"] for one in found["left_out"]} == {"budget"} and 3 < len(found["items"]) < 12
    whole = ask(client, max_tokens=1000, top_k=30)
    assert len(whole["items"]) == 30 and whole["left_out"] == []


@pytest.mark.parametrize("select", ["greedy", "tree"])
@pytest.mark.parametrize("model", ["openai/gpt-4o", "ollama/unheard-of"])
def test_a_set_is_chosen_by_the_tokens_of_the_context(
    client: ApiClient, orchids: None, select: str, model: str
) -> None:
    found = ask(client, max_tokens=200, select=select, top_k=30, model=model)
    assert 100 < found["num_tokens"] <= 200
    reasons = [one["reason"] for one in found["left_out"]]
    assert reasons.count("not_selected") >= 30 - len(found["items"]) - 1  # the set was made to fit
    assert len(reasons) + len(found["items"]) == 30


def test_it_says_what_selection_cut(client: ApiClient, orchids: None) -> None:
    found = ask(client, select="mmr", top_k=4)
    assert len(found["items"]) == 4
    assert [one["reason"] for one in found["left_out"]] == ["not_selected"] * 26
    stable = ask(client, select="mmr", top_k=4, order="stable", session="s")
    again = ask(client, query="week 7", select="mmr", top_k=4, order="stable", session="s")
    shown, out = ({one["id"] for one in again[key]} for key in ("items", "left_out"))
    assert {item["id"] for item in stable["items"]} <= shown and not shown & out


LONG = "We had tea. My brother Emil is allergic to peanuts. It rained. The bus was late."


@pytest.mark.parametrize("order", ["relevance", "time", "stable"])
def test_focus_shows_its_sentences_alone(client: ApiClient, order: str) -> None:
    for user, text in (("ann", LONG), ("ann", "The boat is red. It is in Bergen.")):
        body = {"messages": [{"role": "user", "name": "Ann", "content": text}], "user_id": user, "infer": False}
        client.post("/v3/memories/add/", body)
    wishes = {"query": "What is Emil allergic to?", "order": order, "session": "s"}
    whole = ask(client, **wishes | {"session": "other"})
    assert "It rained." in whole["text"] and "red" in whole["text"]
    found = ask(client, focus=1, **wishes)
    [item] = found["items"]
    start, end = item["span"]
    assert found["text"][start:end].endswith("Ann: My brother Emil is allergic to peanuts.") and item["compressed"]
    assert [one["reason"] for one in found["left_out"]] == ["not_selected"]
    if order == "stable":
        assert ask(client, focus=1, **wishes)["unchanged_share"] == 1


def test_it_refuses_to_leave_sentences_out_twice(client: ApiClient, orchids: None) -> None:
    for compress in ("extractive", "llm"):
        answer = client.post(PATH, MINE | {"focus": 3, "compress": compress})
        assert answer.status == 400 and "choose one" in answer.json["detail"]


def test_a_threshold_holds_for_what_is_selected(client: ApiClient, orchids: None) -> None:
    client.post("/v3/memories/add/", {"messages": "The tax form is due.", "user_id": "ann", "infer": False})
    everything = ask(client, top_k=40, max_tokens=4000)["items"]
    scores = sorted(one["score"] for one in everything)
    threshold = (scores[0] + scores[-1]) / 2
    wanted = {one["id"] for one in everything if one["score"] >= threshold}
    assert 0 < len(wanted) < len(everything) == 31
    for select in ("top_k", "mmr"):
        found = ask(client, select=select, threshold=threshold, top_k=40, max_tokens=4000)
        assert {one["id"] for one in found["items"]} == wanted


def test_it_searches_for_other_wordings(client: ApiClient, told: None, project: Project, scripted: Start) -> None:
    assert any("not expanded" in note for note in ask(client, expand="llm")["notes"])
    llm = scripted([{"rewrites": ["Anna's boat"], "hypothetical": []}])
    found = ask(client, query="vessel owned", expand="llm", top_k=1)
    assert "boat" in found["text"] and found["notes"] == [] and len(llm.requests) == 1
    usage = CompletionUsage.objects.get()
    assert (usage.purpose, usage.project, usage.user_id) == ("expansion", project, "ann")
