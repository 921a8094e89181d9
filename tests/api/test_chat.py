"""Chat completions with memory, as OpenAI's protocol has them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from memory_service import chat, ingest
from memory_service.models import CompletionUsage, Event, Memory, Message
from memory_service.tokens import tokenizer_for
from tests.conftest import ApiClient
from tests.fakes import CutShort, Slow, Status, Text, prompt_of
from tests.llm import Start, scripted
from tests.scripted_llm import Body

__all__ = ["scripted"]

CHAT = "/v1/chat/completions"
HI = {"role": "user", "content": "Hello there, where do I work?"}


def tell(client: ApiClient, text: str, user: str = "alice") -> None:
    said = [{"role": "user", "content": text}]
    assert client.post("/v3/memories/add/", {"messages": said, "user_id": user}).status == 200


def talk(client: ApiClient, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post(CHAT, {"model": "scripted", "messages": list(messages or [HI]), "user": "alice", **more})
    assert answer.status == 200, answer.json
    return dict(answer.json)


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status == status, answer
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"] == answer.json["detail"]
    for word in words:
        assert word in error["message"], error


def test_it_remembers_before_and_after(client: ApiClient, scripted: Start, settings: Any) -> None:
    tell(client, "I work at the city library.")
    server = scripted(["At the city library."])
    project_stays_local(client)
    settings.ENV = settings.ENV.model_copy(update={"chat_models": ("openai/scripted",)})
    answer = talk(client)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "At the city library."}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 4
    [system, user] = server.requests[0]["messages"]
    assert user == HI
    assert system["role"] == "system" and system["content"].startswith('<memory-context id="chat">')
    assert "works at the city library" in system["content"]
    [recalled] = answer["memory"]["recalled"]
    assert recalled == str(Memory.objects.order_by("id").first().public_id)  # type: ignore[union-attr]
    event = Event.objects.get(public_id=answer["memory"]["event_id"])
    assert [(m.role, m.content) for m in event.messages.order_by("seq")] == [
        ("user", HI["content"]),
        ("assistant", "At the city library."),
    ]
    assert event.status == "SUCCEEDED"
    usage = CompletionUsage.objects.get(purpose="chat")
    assert (usage.user_id, usage.completion_tokens) == ("alice", 4)


def project_stays_local(client: ApiClient) -> None:
    """So that the model is asked for chat alone."""
    from memory_service.models import Project

    Project.objects.update(extraction_policy="local")


@pytest.fixture
def model(client: ApiClient, scripted: Start, settings: Any) -> Start:
    """A scripted model that is asked for chat alone."""

    def start(script: Any) -> Any:
        server = scripted(script)
        project_stays_local(client)
        settings.ENV = settings.ENV.model_copy(update={"chat_models": ("openai/scripted",)})
        return server

    return start


def test_it_adds_to_the_system_message_that_is_there(client: ApiClient, model: Start) -> None:
    tell(client, "I work at the city library.")
    server = model(lambda _: "Yes.")
    for content in ("Be kind.", [{"type": "text", "text": "Be kind."}]):
        talk(client, {"role": "system", "content": content}, HI)
        [system, _] = server.requests[-1]["messages"]
        text = system["content"] if isinstance(content, str) else "".join(p["text"] for p in system["content"])
        assert text.startswith("Be kind.") and text.count("<memory-context") == 1
    assert Message.objects.filter(content__contains="Be kind").count() == 0
    assert Message.objects.filter(content__contains="memory-context").count() == 0


def test_it_stores_only_what_is_new(client: ApiClient, model: Start) -> None:
    model(lambda request: f"Answer {len(request['messages'])}.")
    first = [{"role": "user", "content": "I moved to Bergen."}]
    talk(client, *first, memory={"retrieve": False})
    second = [*first, {"role": "assistant", "content": "Answer 1."}, {"role": "user", "content": "I bought a boat."}]
    talk(client, *second, memory={"retrieve": False})
    said = list(Message.objects.order_by("id").values_list("role", "content"))
    assert said == [
        ("user", "I moved to Bergen."),
        ("assistant", "Answer 1."),
        ("user", "I bought a boat."),
        ("assistant", "Answer 3."),
    ]


def test_it_does_not_remember_what_it_recalled(client: ApiClient, model: Start) -> None:
    tell(client, "I work at the city library.")
    model(lambda request: next(m["content"] for m in request["messages"] if m["role"] == "system"))  # parrots it
    talk(client)
    assert Message.objects.filter(role="assistant", content__contains="memory-context").count() == 1
    assert not Memory.objects.filter(text__contains="memory-context").exists()
    assert not Memory.objects.filter(text__contains=chat.HEADING[:30]).exists()
    assert Memory.objects.filter(text__contains="library").count() == 1


def test_it_passes_tools_through_and_stores_the_turn_once(client: ApiClient, model: Start) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bergen"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    asked = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "scripted"}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    server = model([Body({**asked, "choices": [choice]}), "It rains in Bergen."])
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "x": [1]}}}]
    question = {"role": "user", "content": "How is the weather in Bergen?"}
    first = talk(client, question, tools=tools, tool_choice="auto", temperature=0.7, seed=7, stop=["END"], n=1)
    assert first["choices"][0]["message"]["tool_calls"] == [call]
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    sent = server.requests[0]
    assert sent["tools"] == tools and sent["tool_choice"] == "auto" and sent["temperature"] == 0.7
    assert (sent["seed"], sent["stop"], sent["n"]) == (7, ["END"], 1)
    result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    talk(client, question, message, result, tools=tools)
    called = {"role": "assistant", "tool_calls": [call]}  # LiteLLM leaves out what is null
    assert server.requests[1]["messages"][-3:] == [question, called, result]
    assert list(Message.objects.order_by("id").values_list("role", "content")) == [
        ("user", question["content"]),
        ("assistant", "It rains in Bergen."),
    ]


def test_it_sends_no_temperature_that_nobody_asked_for(client: ApiClient, model: Start) -> None:
    server = model(["Hello."])
    talk(client)
    assert set(server.requests[0]) <= {"model", "messages", "user"}


def test_memory_can_be_turned_off(client: ApiClient, model: Start) -> None:
    tell(client, "I work at the city library.")
    server = model(lambda _: "Hello.")
    answer = client.post(CHAT, {"messages": [HI], "memory": False}).json
    assert answer["memory"] == {"recalled": [], "num_tokens": 0, "event_id": None, "notes": []}
    talk(client, memory={"retrieve": False, "store": False})
    assert all(request["messages"] == [HI] for request in server.requests)
    assert Event.objects.count() == 1


def test_it_looks_only_at_whose_chat_it_is(client: ApiClient, stranger: ApiClient, model: Start) -> None:
    tell(client, "I work at the city library.")
    tell(client, "I work at the harbour.", user="bob")
    tell(stranger, "I work at the mint.")
    server = model(lambda _: "Hm.")
    talk(client)
    assert "library" in prompt_of(server.requests[-1])
    assert "harbour" not in prompt_of(server.requests[-1]) and "mint" not in prompt_of(server.requests[-1])
    talk(client, user=None, user_id="bob")
    assert "harbour" in prompt_of(server.requests[-1])
    talk(client, memory={"user_id": "bob"})
    assert "harbour" in prompt_of(server.requests[-1]) and "library" not in prompt_of(server.requests[-1])
    talk(client, memory={"filters": {"OR": [{"user_id": "bob"}, {"user_id": "*"}]}})
    assert "harbour" not in prompt_of(server.requests[-1])


def test_a_run_is_stored_and_does_not_narrow_what_is_known(client: ApiClient, model: Start) -> None:
    tell(client, "I work at the city library.")
    server = model(lambda _: "Hm.")
    answer = talk(client, memory={"run_id": "run-7", "agent_id": None})
    assert "library" in prompt_of(server.requests[-1])
    event = Event.objects.get(public_id=answer["memory"]["event_id"])
    assert {message.session.run_id for message in event.messages.select_related("session")} == {"run-7"}


def test_a_picture_is_passed_on_and_kept_as_a_remark(client: ApiClient, model: Start) -> None:
    server = model(["A cat."])
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    talk(client, {"role": "user", "content": parts})
    assert server.requests[0]["messages"][-1]["content"] == parts
    said = Message.objects.order_by("id").first()
    assert said is not None and said.content == "What is this?\n[shares a image]"


# Models


def test_it_lists_the_models_that_are_allowed(client: ApiClient, scripted: Start, settings: Any) -> None:
    assert client.get("/v1/models").json == {"object": "list", "data": []}
    refused(client.post(CHAT, {"messages": [HI], "user": "alice"}), 400, "LLM_MODEL or CHAT_MODELS")
    scripted([])
    settings.ENV = settings.ENV.model_copy(update={"chat_models": ("anthropic/claude-x", "openai/other")})
    listed = client.get("/v1/models").json["data"]
    assert [one["id"] for one in listed] == ["openai/scripted", "anthropic/claude-x", "openai/other"]
    assert client.get("/v1/models/openai/other").json["owned_by"] == "openai"
    refused(client.get("/v1/models/openai/nothing"), 404, "not one of those allowed")
    asked = {"model": "openai/gpt-secret", "messages": [HI], "user": "alice"}
    refused(client.post(CHAT, asked), 404, "'openai/gpt-secret' is not one of those allowed here: openai/scripted")


def test_the_key_goes_to_its_own_provider_only(client: ApiClient, scripted: Start, settings: Any, project: Any) -> None:
    server = scripted([])
    settings.ENV = settings.ENV.model_copy(update={"chat_models": ("anthropic/claude-x", "openai/other")})
    own = chat.find_model(project, "other")
    assert (own.api_base, own.api_key) == (server.base_url, "test")
    other = chat.find_model(project, "anthropic/claude-x")
    assert (other.api_base, other.api_key) == (None, None)


def test_links_are_not_followed_for_other_providers(client: ApiClient, settings: Any) -> None:
    settings.ENV = settings.ENV.model_copy(update={"chat_models": ("anthropic/claude-x",)})
    for part in (
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}},
        {"type": "image_url", "image_url": "http://127.0.0.1/"},
        {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/"}},
        {"type": "file", "file": [{"file_url": "http://127.0.0.1/"}]},
    ):
        body = {"messages": [{"role": "user", "content": [part]}], "user": "alice"}
        refused(client.post(CHAT, body), 400, "as data: URLs")


# Streaming


def open_stream(client: ApiClient, **more: Any) -> Any:
    body = {"messages": [HI], "user": "alice", "stream": True, **more}
    return Client().post(CHAT, json.dumps(body), content_type="application/json", headers=client.headers)


def frames_of(response: Any) -> list[str]:
    text = b"".join(response.streaming_content).decode()
    return [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]


@pytest.mark.django_db(transaction=True)
def test_it_streams_in_chunks(client: ApiClient, model: Start) -> None:
    tell(client, "I work at the city library.")
    model(lambda _: "At the city library.")
    response = open_stream(client, stream_options={"include_usage": True})
    assert response["Content-Type"].startswith("text/event-stream")
    *frames, done = frames_of(response)
    chunks = [json.loads(frame) for frame in frames]
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    said = "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])
    assert said == "At the city library."
    assert len(chunks[0]["memory"]["recalled"]) == 1 and "memory" not in chunks[1]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 4
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert list(Message.objects.order_by("id").values_list("content", flat=True))[1:] == [
        HI["content"],
        "At the city library.",
    ]
    bare = [json.loads(frame) for frame in frames_of(open_stream(client))[:-1]]
    assert not any("usage" in chunk or not chunk["choices"] for chunk in bare)


@pytest.mark.django_db(transaction=True)
def test_a_stream_that_breaks_off_is_an_error_and_nothing_is_stored(client: ApiClient, model: Start) -> None:
    model([CutShort("At the city library, where", polite=True)])
    frames = frames_of(open_stream(client))
    error = json.loads(frames[-1])["error"]
    assert error["type"] == "api_error" and "cut short" in error["message"]
    assert "[DONE]" not in frames
    assert Event.objects.count() == 0 and Message.objects.count() == 0
    assert CompletionUsage.objects.get().purpose == "chat"  # it costs all the same


@pytest.mark.django_db(transaction=True)
def test_a_client_that_goes_away_stops_the_model(client: ApiClient, model: Start) -> None:
    slow = Slow("word " * 200, pause_s=0.02)
    model([slow])
    response = open_stream(client)
    frames = iter(response.streaming_content)
    for _ in range(3):
        next(frames)
    response.close()
    from tests.api.test_answers import until

    until(lambda: CompletionUsage.objects.count() == 1)
    assert len(slow.sent) < 100
    assert Event.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "status", "kind"),
    [
        (Status(503), 503, "api_error"),
        (Status(429, retry_after="7"), 503, "api_error"),
        (Status(401), 502, "api_error"),
        (Status(400, message="temperature is too hot"), 400, "invalid_request_error"),
    ],
    ids=str,
)
def test_a_model_that_is_down_is_a_status(
    client: ApiClient, model: Start, reply: Status, status: int, kind: str, stream: bool
) -> None:
    model([reply])
    answer = client.post(CHAT, {"messages": [HI], "user": "alice", "stream": stream})
    refused(answer, status, reply.message)
    assert answer.json["error"]["type"] == kind
    assert client.response.get("Retry-After") == reply.retry_after
    assert Event.objects.count() == 0


def test_a_spent_budget_is_a_402(client: ApiClient, model: Start) -> None:
    server = model(["no"])
    client.put("/v1/budget/", {"daily_tokens": 0})
    answer = client.post(CHAT, {"messages": [HI], "user": "alice"})
    refused(answer, 402, "budget")
    assert answer.json["error"]["type"] == "insufficient_quota"
    assert server.requests == []


def test_an_answer_is_not_lost_where_it_cannot_be_stored(
    client: ApiClient, model: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise ingest.DatabaseError("the disk is full")

    monkeypatch.setattr(chat, "record_add", full)
    model([Text("Hello.", usage=False)])
    answer = talk(client)
    assert answer["choices"][0]["message"]["content"] == "Hello."
    assert answer["memory"]["notes"] == ["this exchange was not stored: the disk is full"]
    assert CompletionUsage.objects.get().prompt_tokens > 0  # counted by us


# What is refused


BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages must be a non-empty list"),
    ({"messages": "hi"}, "messages must be a non-empty list"),
    ({"messages": [7]}, "messages[0] must be an object"),
    ({"messages": [HI, {"role": "pirate", "content": "x"}]}, "messages[1].role: 'pirate'"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content is needed"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content must be"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content must be"),
    ({"messages": [{"role": "user", "content": [{"type": 7}]}]}, "messages[0].content must be"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, "type 'text'"),
    ({"messages": [{**HI, "name": 7}]}, "messages[0].name"),
    ({"messages": [{**HI, "tool_calls": "x"}]}, "messages[0].tool_calls"),
    ({"messages": [{"role": "user", "content": "a\x00"}]}, "NUL"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "lone surrogate"),
    ({"model": 7}, "model must be a string"),
    ({"temperature": "hot"}, "temperature must be a number"),
    ({"temperature": True}, "temperature must be a number"),
    ({"tools": "abc"}, "tools must be a list of objects"),
    ({"tools": [7]}, "tools must be a list of objects"),
    ({"n": 0}, "n must be a whole number from 1"),
    ({"n": 10**400}, "n must be a whole number from 1"),
    ({"max_tokens": 1.5}, "max_tokens must be a whole number"),
    ({"stop": {"a": 1}}, "stop must be"),
    ({"response_format": 5}, "response_format must be an object"),
    ({"stream": "yes"}, "stream must be a boolean"),
    ({"stream_options": [1]}, "stream_options"),
    ({"user": 7}, "user must be a string"),
    ({"user": "x" * 256}, "user is over 255"),
    ({"user": "\U0001f600" * 200}, "512"),
    ({"user": "*"}, "'*' is nobody's id"),
    ({"user": ""}, "say whose memory this is"),
    ({"user": None, "memory": {}}, "say whose memory this is"),
    ({"user": None, "memory": True}, "say whose memory this is"),
    ({"memory": "on"}, "memory must be an object"),
    ({"memory": {"topk": 1}}, "unknown fields in memory: topk"),
    ({"memory": {"top_k": 0}}, "top_k"),
    ({"memory": {"max_tokens": 10**400}}, "max_tokens"),
    ({"memory": {"retrieve": "perhaps"}}, "retrieve"),
    ({"memory": {"filters": {"usr": 1}}}, "unknown filter 'usr'"),
    ({"memory": {"user_id": ["x"]}}, "user_id"),
    ({"run_id": {"a": 1}}, "run_id"),
    # LiteLLM would take these: where to send the operator's key, and what to answer.
    ({"api_base": "http://evil.example"}, "unknown fields: api_base"),
    ({"base_url": "http://evil.example"}, "unknown fields: base_url"),
    ({"api_key": "x"}, "unknown fields: api_key"),
    ({"mock_response": "x"}, "unknown fields: mock_response"),
    ({"fallbacks": ["x"]}, "unknown fields: fallbacks"),
    ({"extra_headers": {"a": "b"}}, "unknown fields: extra_headers"),
]


@pytest.mark.parametrize(("body", "words"), BAD, ids=lambda value: str(value)[:50])
def test_it_refuses_a_bad_request(client: ApiClient, scripted: Start, body: dict[str, Any], words: str) -> None:
    server = scripted([])
    refused(client.post(CHAT, {"messages": [HI], "user": "alice", **body}), 400, words)
    assert server.requests == [] and Event.objects.count() == 0


def test_it_refuses_what_is_no_object_and_who_has_no_key(client: ApiClient, scripted: Start) -> None:
    scripted([])
    for raw in (b"[]", b"{", b"\xff", b'"x"', b'{"a": NaN}'):
        refused(client.call("POST", CHAT, raw=raw), 400, "body")
    nobody = ApiClient(None).post(CHAT, {"messages": [HI]})
    refused(nobody, 401, "No API key")
    assert nobody.json["error"]["type"] == "authentication_error"
    huge = {"role": "user", "content": "x" * 200_001}
    refused(client.post(CHAT, {"messages": [huge], "user": "alice"}), 413, "over the limit")
    refused(client.post(CHAT, {"messages": [HI] * 2001, "user": "alice"}), 413, "2001 messages")
    refused(client.get(CHAT), 405, "GET")


def test_a_bearer_key_is_accepted(client: ApiClient, api_key: str, model: Start) -> None:
    model(["Hello."])
    bearer = ApiClient(None)
    bearer.headers = {"Authorization": f"Bearer {api_key}"}
    assert talk(bearer)["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize("max_tokens", [16, 40, 150, 400])
def test_the_block_keeps_to_its_tokens(client: ApiClient, model: Start, max_tokens: int) -> None:
    for number in range(8):
        tell(client, f"I work at the city library on day {number}, in the reading room by the river.")
    server = model(["Yes."])
    answer = talk(client, memory={"max_tokens": max_tokens, "top_k": 50, "store": False})
    shown = [one["content"] for one in server.requests[0]["messages"] if one["role"] == "system"]
    counted = tokenizer_for("openai/scripted").count(shown[0]) if shown else 0
    assert counted == answer["memory"]["num_tokens"] <= max_tokens
    assert bool(shown) == bool(answer["memory"]["recalled"]) == (max_tokens > 40)


def test_it_recalls_by_other_wordings(client: ApiClient, scripted: Start) -> None:
    tell(client, "I bought a small boat.")
    server = scripted({"Expanded": [{"rewrites": ["small boat"], "hypothetical": []}], "text": ["A boat."]})
    asked = {"role": "user", "content": "Which vessel is mine?"}
    answer = talk(client, asked, memory={"expand": "llm", "store": False, "top_k": 1})
    assert "small boat" in prompt_of(server.requests[-1]) and answer["memory"]["notes"] == []
    assert CompletionUsage.objects.get(purpose="expansion").user_id == "alice"
    refused(client.post(CHAT, {"messages": [HI], "user": "a", "memory": {"expand": "all"}}), 400, "expand")
