"""Answers and chat over a real server: OpenAI's own client, events on the wire, clients that hang up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from openai import APIStatusError, OpenAI

from tests.fakes import ScriptedLLM, Slow, Status, asked_for, prompt_of
from tests.serving import Service

pytestmark = pytest.mark.slow

USER = "wire-chat"
SLOW = Slow("word " * 400, pause_s=0.05)


def reply(request: dict[str, Any]) -> Any:
    if asked_for(request) != "text":
        return Status(500)  # extraction: the local path takes over
    asked = str(request["messages"][-1]["content"])
    if "slowly" in asked:
        return SLOW
    if "fail" in asked:
        return Status(503)
    return "At the city library [1]." if "library" in prompt_of(request) else "I do not know."


@pytest.fixture(scope="module")
def llm() -> Iterator[ScriptedLLM]:
    with ScriptedLLM(reply) as server:
        yield server


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory, llm: ScriptedLLM) -> Iterator[Service]:
    named = {"LLM_MODEL": "openai/scripted", "LLM_API_BASE": llm.base_url, "LLM_API_KEY": "test"}
    running = Service(tmp_path_factory.mktemp("chatting") / "data", **named)
    try:
        running.start()
        said = {"messages": "I work at the city library.", "user_id": USER, "infer": False}
        assert running.call("POST", "/v3/memories/add/", said).json["status"] == "SUCCEEDED"
        yield running
    finally:
        running.end()


@pytest.fixture
def openai(chatting: Service) -> OpenAI:
    return OpenAI(base_url=f"{chatting.url}/v1", api_key=chatting.api_key, max_retries=0)


def test_openais_client_chats(chatting: Service, openai: OpenAI) -> None:
    assert [model.id for model in openai.models.list()] == ["openai/scripted"]
    answer = openai.chat.completions.create(
        model="scripted",
        messages=[{"role": "user", "content": "Where do I work?"}],
        user=USER,
        temperature=0.2,
        extra_body={"memory": {"run_id": "run-1"}},
    )
    assert answer.choices[0].message.content == "At the city library [1]."
    assert answer.usage is not None and answer.usage.total_tokens > 0
    memory = answer.memory  # type: ignore[attr-defined]
    assert len(memory["recalled"]) == 1
    assert chatting.call("GET", f"/v1/event/{memory['event_id']}/").status == 200
    [session] = chatting.call("GET", "/v1/sessions/", user_id=USER, run_id="run-1").json["results"]
    path = f"/v1/sessions/{session['id']}/messages/"
    said = [one["content"] for one in chatting.call("GET", path).json["results"]]
    assert said == ["Where do I work?", "At the city library [1]."]


def test_openais_client_streams(openai: OpenAI) -> None:
    chunks = list(
        openai.chat.completions.create(
            model="openai/scripted",
            messages=[{"role": "user", "content": "Where do I work?"}],
            user=USER,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == "At the city library [1]."
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 5


def test_openais_client_sees_errors_as_its_own(chatting: Service, openai: OpenAI) -> None:
    hi: Any = [{"role": "user", "content": "Please fail."}]
    with pytest.raises(APIStatusError) as down:
        openai.chat.completions.create(model="scripted", messages=hi, user=USER)
    assert down.value.status_code == 503 and down.value.type == "api_error"
    with pytest.raises(APIStatusError) as down_streaming:
        openai.chat.completions.create(model="scripted", messages=hi, user=USER, stream=True)
    assert down_streaming.value.status_code == 503
    with pytest.raises(APIStatusError, match="not one of those allowed") as unknown:
        openai.chat.completions.create(model="gpt-5", messages=hi, user=USER)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(APIStatusError, match="Invalid API key") as stranger:
        OpenAI(base_url=f"{chatting.url}/v1", api_key="no", max_retries=0).models.list()
    assert stranger.value.status_code == 401


def test_a_client_that_hangs_up_stops_the_model(chatting: Service, openai: OpenAI) -> None:
    stream = openai.chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "Tell it slowly."}], user=USER, stream=True
    )
    next(iter(stream))
    stream.close()
    time.sleep(2)
    sent = len(SLOW.sent)
    time.sleep(1)
    assert len(SLOW.sent) <= sent + 1 < 100
    assert chatting.call("GET", "/v1/ping/").status == 200


def test_answers_come_as_events_while_they_are_made(chatting: Service) -> None:
    SLOW.sent.clear()
    mine = {"user_id": "wire-answers"}  # where nobody has asked anything yet
    said = {"messages": "I work at the city library.", **mine, "infer": False}
    assert chatting.call("POST", "/v3/memories/add/", said).json["status"] == "SUCCEEDED"
    body = {"query": "Where do I work, told slowly?", "filters": mine, "stream": True}
    headers = {"Authorization": f"Bearer {chatting.api_key}", "Accept": "text/event-stream"}
    with requests.post(f"{chatting.url}/v1/answers/", json=body, headers=headers, stream=True, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        names = []
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            names += [line.removeprefix("event: ")] if line.startswith("event: ") else []
            if names.count("delta") == 3:
                break
        assert names == ["evidence", "delta", "delta", "delta"]
        assert len(SLOW.sent) < 100  # the model is still talking
    answer = chatting.call("POST", "/v1/answers/", {"query": "Where do I work?", "filters": mine})
    assert answer.json["answer"] == "At the city library [1]."
    assert json.dumps(answer.json["citations"]).count("I work at the city library.") >= 1
