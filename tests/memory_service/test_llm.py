"""The door to completions, against a scripted server that speaks the OpenAI protocol."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import BaseModel

from memory_service import llm
from memory_service.errors import LLMMalformed, LLMRejected, LLMUnavailable
from memory_service.llm import LLMConfig, complete, complete_structured, parse_json, parse_retry_after, stream
from memory_service.prompts.consolidate import FactDecisions
from memory_service.prompts.extract import Facts
from memory_service.prompts.summarise import Summary
from tests.fakes import Body, CutShort, Hang, Malformed, ScriptedLLM, Status, Text, prompt_of

ASK = [{"role": "user", "content": "Name the fruits, please, all of them"}]


class Fruits(BaseModel):
    fruits: list[str]


@pytest.fixture(autouse=True)
def _forget_refused_formats():
    llm._refused_formats.clear()


def config(server: ScriptedLLM, **changes) -> LLMConfig:
    settings = {
        "model": "openai/scripted",
        "api_base": server.base_url,
        "api_key": "sk-secret",
        "timeout_s": 5,
    }
    return LLMConfig(**(settings | changes))


def ask(*replies, **changes):
    with ScriptedLLM(replies) as server:
        return complete_structured(config(server, **changes), ASK, Fruits, purpose="test"), server.requests


def test_it_completes_and_counts():
    with ScriptedLLM(["apples and pears"]) as server:
        answer = complete(config(server), ASK, purpose="test", max_tokens=20)
    assert answer.text == "apples and pears"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
    assert answer.usage.purpose == "test" and answer.usage.latency_ms > 0
    assert answer.usage.cost_usd is None  # nobody has priced a scripted model
    assert server.requests[0]["temperature"] == 0 and server.requests[0]["max_tokens"] == 20


def test_it_estimates_tokens_that_the_provider_does_not_count():
    with ScriptedLLM([Text("twelve chars", usage=False)]) as server:
        usage = complete(config(server), ASK, purpose="test").usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (9, 3)


def test_it_knows_the_price_of_a_known_model():
    with ScriptedLLM(["a b"]) as server:
        usage = complete(config(server, model="openai/gpt-4o-mini"), ASK, purpose="test").usage
    assert usage.cost_usd == pytest.approx(7 * 0.15e-6 + 2 * 0.60e-6)


def test_it_asks_for_a_json_schema_and_validates():
    (answer, usage), requests = ask({"fruits": ["fig"]})
    assert answer == Fruits(fruits=["fig"]) and len(usage) == 1
    assert requests[0]["response_format"]["json_schema"]["name"] == "Fruits"


def test_it_asks_for_less_when_the_server_refuses_schemas_and_remembers():
    refused = Status(400, message="response_format json_schema is not supported here")
    with ScriptedLLM([refused, refused, {"fruits": []}, {"fruits": []}]) as server:
        complete_structured(config(server), ASK, Fruits, purpose="test")
        complete_structured(config(server), ASK, Fruits, purpose="test")
    asked = [request.get("response_format", {}).get("type") for request in server.requests]
    assert asked == ["json_schema", "json_object", None, None]


@pytest.mark.parametrize(
    "written",
    [
        'Sure!\n```json\n{"fruits": ["fig"]}\n```\nAnything else?',
        '<think>maybe {"fruits": ["plum"]}</think>{"fruits": ["fig",],}',
        'I found [1] answer: {"fruits": ["fig"]} and no more {',
        '{"fruits": ["fig"',
        '{"fruits": ["fig"], ',
        'Let me see. {"fruits": ["plum"]}</think>[{x}] {"fruits": ["fig"]}',
    ],
    ids=["fence", "thought and commas", "prose", "cut after a value", "cut after a comma", "half a thought"],
)
def test_it_reads_through_small_slips_without_asking_again(written):
    (answer, usage), _ = ask(Malformed(written))
    assert answer.fruits == ["fig"] and len(usage) == 1


def test_it_takes_a_bare_list_for_the_only_field():
    class Fruit(BaseModel):
        name: str

    class Basket(BaseModel):
        fruits: list[Fruit]

    assert llm.parse_answer('[{"name": "fig"}]', Basket).fruits == [Fruit(name="fig")]


def test_it_does_not_guess_at_a_value_cut_in_the_middle():
    with pytest.raises(ValueError, match="cannot be read: Unterminated string"):
        parse_json('{"fruits": ["fig", "ban')


@pytest.mark.parametrize("written", ["", "fig", '{"a": 1 "b": 2}', "{'a': 1}", '{"a":' * 100_000])
def test_it_says_what_it_cannot_read(written):
    with pytest.raises(ValueError, match=r"no JSON object|cannot be read"):
        parse_json(written)


def test_it_drops_what_postgresql_cannot_store():
    assert parse_json('{"a": "x\\u0000y\\ud800z", "b": "line\nbreak"}') == {"a": "xy?z", "b": "line\nbreak"}


def test_it_shows_the_model_its_fault_once():
    (answer, usage), requests = ask(Malformed('{"fruit": "fig"}'), {"fruits": ["fig"]})
    assert answer.fruits == ["fig"] and len(usage) == 2
    assert '{"fruit": "fig"}' in prompt_of(requests[1])
    assert "fruits: Field required" in prompt_of(requests[1])


def test_it_asks_afresh_after_a_failed_repair():
    (answer, usage), requests = ask(Malformed("no"), Malformed("still no"), {"fruits": ["fig"]})
    assert answer.fruits == ["fig"] and len(usage) == 3
    assert requests[2]["messages"] == requests[0]["messages"]
    assert requests[2]["temperature"] > requests[0]["temperature"]  # or it would only repeat itself


def test_it_gives_up_after_three_answers_and_says_what_they_cost():
    with pytest.raises(LLMMalformed, match="3 answers were not the JSON asked for") as caught:
        ask(Malformed("no"), Malformed("no"), Malformed("no"), {"fruits": []})
    assert caught.value.permanent
    assert [usage.completion_tokens for usage in caught.value.usage] == [1, 1, 1]


def test_it_says_when_the_answer_met_the_token_limit():
    _, requests = ask(Text('{"fruits": ["fi', finish_reason="length"), {"fruits": []})
    assert "stopped at the token limit" in prompt_of(requests[1])


def test_it_times_out_as_unavailable():
    started = time.perf_counter()
    with pytest.raises(LLMUnavailable, match=r"(?i)timed? ?out") as caught:
        ask(Hang(30), timeout_s=0.3)
    assert not caught.value.permanent and time.perf_counter() - started < 10


def test_it_passes_on_how_long_a_429_asks_to_wait():
    with pytest.raises(LLMUnavailable) as caught:
        ask(Status(429, retry_after="2"))
    assert caught.value.retry_after_s == 2


def test_it_understands_a_retry_after_date():
    until = datetime.now(UTC) + timedelta(seconds=90)
    with pytest.raises(LLMUnavailable) as caught:
        ask(Status(503, retry_after=format_datetime(until, usegmt=True)))
    assert 80 < caught.value.retry_after_s <= 90


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("1.5", 1.5), ("Wed, 21 Oct 2020 07:28:00 GMT", 0.0), ("soon", None), ("", None), (None, None)],
)
def test_it_reads_retry_after_headers(header, seconds):
    assert parse_retry_after(header, now=datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_it_calls_passing_faults_unavailable_and_does_not_retry_itself(status):
    with ScriptedLLM([Status(status)] * 5) as server, pytest.raises(LLMUnavailable) as caught:
        complete(config(server), ASK, purpose="test")
    assert caught.value.retry_after_s is None and len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_it_calls_lasting_faults_rejected(status):
    with pytest.raises(LLMRejected, match="check LLM_MODEL") as caught:
        ask(Status(status, message="your key sk-secret is no good"))
    assert caught.value.permanent and "sk-secret" not in str(caught.value)


def test_it_rejects_an_unknown_provider():
    with pytest.raises(LLMRejected, match="nosuch"):
        complete(LLMConfig(model="nosuch"), ASK, purpose="test")


def test_it_rejects_a_missing_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LLMRejected, match="set LLM_API_KEY"):
        complete(LLMConfig(model="openai/gpt-4o-mini"), ASK, purpose="test")


def test_it_calls_a_dead_server_unavailable():
    with ScriptedLLM() as server:
        settings = config(server)
    with pytest.raises(LLMUnavailable):
        complete(settings, ASK, purpose="test")


def test_it_calls_a_body_cut_short_unavailable():
    with pytest.raises(LLMUnavailable):
        ask(CutShort('{"fruits": ["fig"]}'))


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": None}, {}, None, "busy"])
def test_it_calls_a_response_without_an_answer_unavailable(body):
    with pytest.raises(LLMUnavailable):
        ask(Body(body))
    with ScriptedLLM([Body(body)]) as server, pytest.raises(LLMUnavailable):
        list(stream(config(server), ASK, purpose="test"))


def test_it_streams_and_counts():
    usage = []
    with ScriptedLLM(["apples, pears and figs"]) as server:
        pieces = list(stream(config(server), ASK, purpose="test", on_usage=usage.append))
    assert len(pieces) > 1 and "".join(pieces) == "apples, pears and figs"
    assert (usage[0].prompt_tokens, usage[0].completion_tokens) == (7, 4)


@pytest.mark.parametrize("polite", [False, True])
def test_it_calls_a_stream_cut_short_unavailable(polite):
    said, usage = [], []
    with ScriptedLLM([CutShort("apples, pears", polite=polite)]) as server, pytest.raises(LLMUnavailable):
        said.extend(stream(config(server), ASK, purpose="test", on_usage=usage.append))
    assert not usage


def test_it_maps_errors_before_a_stream_begins():
    with ScriptedLLM([Status(429, retry_after="7")]) as server, pytest.raises(LLMUnavailable) as caught:
        list(stream(config(server), ASK, purpose="test"))
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("schema", [Facts, FactDecisions, Summary])
def test_it_asks_with_schemas_that_strict_providers_take(schema):
    with ScriptedLLM([Status(401)]) as server, pytest.raises(LLMRejected):
        complete(config(server), ASK, purpose="test", response_schema=schema)
    wanted = server.requests[0]["response_format"]["json_schema"]
    objects = [wanted["schema"], *wanted["schema"].get("$defs", {}).values()]
    assert wanted["strict"] and '"default"' not in json.dumps(wanted)
    assert all(set(o["required"]) == set(o["properties"]) and not o["additionalProperties"] for o in objects)


def test_it_writes_no_content_and_no_key_to_logs_or_output(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with ScriptedLLM(["the secret answer", Status(400, message="no")]) as server:
        complete(config(server), [{"role": "user", "content": "the secret question"}], purpose="test")
        with pytest.raises(LLMRejected):
            complete(config(server), [{"role": "user", "content": "the secret question"}], purpose="test")
        assert "sk-secret" not in repr(config(server))
    written = caplog.text + "".join(capfd.readouterr())
    assert "the secret" not in written and "sk-secret" not in written


def test_the_scripted_model_serves_other_processes(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"Fruits": [{"$status": 500}, {"fruits": ["fig"]}], "text": ["hello"]}))
    command = [sys.executable, "-m", "tests.scripted_llm", "--port", "0", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            settings = LLMConfig(model="openai/scripted", api_base=process.stdout.readline().strip())
            with pytest.raises(LLMUnavailable):
                complete_structured(settings, ASK, Fruits, purpose="test")
            answer, _ = complete_structured(settings, ASK, Fruits, purpose="test")
            assert answer.fruits == ["fig"] and complete(settings, ASK, purpose="test").text == "hello"
        finally:
            process.kill()


def test_the_scripted_model_embeds_and_lists_models():
    with ScriptedLLM() as server:
        body = json.dumps({"input": ["a red boat", "red boat a", "tax law"], "model": "scripted"}).encode()
        with urllib.request.urlopen(f"{server.base_url}/embeddings", data=body) as response:
            first, second, third = (entry["embedding"] for entry in json.load(response)["data"])
        with urllib.request.urlopen(f"{server.base_url}/models") as response:
            assert json.load(response)["data"][0]["id"] == "scripted"
    assert first == pytest.approx(second) and first != third
    assert sum(x * x for x in first) == pytest.approx(1)


def test_it_imports_litellm_only_when_something_is_asked():
    code = "import sys, memory_service.llm, memory_service.policies; print('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
