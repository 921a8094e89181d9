"""The only door to completions: LiteLLM behind a few functions, its faults turned into our errors.

Each paid request passes the meter that the caller has set (see `metered`): it may forbid the request, and it is told
what the request cost at once, whatever becomes of the work that it was for.

LiteLLM takes seconds to import, so it is imported by the first call. It retries nothing here: whoever holds
the work (a task) waits and tries again, which `permanent` and `retry_after_s` on the errors tell it how to
do. Neither prompts nor answers are logged.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from memory_service.errors import InvalidInput, LLMMalformed, LLMRejected, LLMUnavailable
from memory_service.extraction.types import Usage

CHARS_PER_TOKEN = 4  # English prose under GPT-like tokenisers; used only where the provider counts nothing
FRESH_TEMPERATURE = 0.3  # a second try at temperature 0 would only say the same again
MAX_SHOWN_CHARS = 8_000  # of a faulty answer, when the model is asked to mend it
MAX_TOP_LOGPROBS = 20  # OpenAI's bound
REQUEST_AT_FAULT = {400, 413, 422}  # and not our configuration
TRANSIENT_STATUSES = {408, 409, 425, 429}  # and all from 500 up
_DECODER = json.JSONDecoder(strict=False)  # line breaks inside strings are a slip, not a fault

Message = Mapping[str, str]
Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class LLMConfig:
    """Which model answers.

    model: LiteLLM's name, provider first ("openai/gpt-4o-mini", "ollama_chat/llama3"). api_base: for a server
    of one's own. api_key: None leaves it to the provider's environment variable, except with an api_base,
    where a placeholder is sent rather than a key that was meant for another host. temperature: None leaves it
    to the model. Models that accept no temperature are sent none.
    """

    model: str
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    temperature: float | None = 0.0


@dataclass(frozen=True)
class Completion:
    """finish_reason is the provider's: "stop", or "length" where max_tokens ended the answer."""

    text: str
    usage: Usage
    finish_reason: str = "stop"


class Meter(Protocol):
    """Stands at the door. `check` raises BudgetExhausted before a request; `note` returns the usage, priced."""

    def check(self, model: str, purpose: str) -> None: ...

    def note(self, usage: Usage) -> Usage: ...


_meter: ContextVar[Meter | None] = ContextVar("llm_meter", default=None)


@contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Every request that is made inside, on this thread, passes the meter."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


def _check_meter(config: LLMConfig, purpose: str) -> Meter | None:
    meter = _meter.get()
    if meter:
        meter.check(config.model, purpose)
    return meter


def complete(
    config: LLMConfig,
    messages: Sequence[Message],
    *,
    purpose: str,
    max_tokens: int | None = None,
    response_schema: type[BaseModel] | None = None,
) -> Completion:
    """One answer to `messages` ({"role", "content"}), made with one paid request.

    purpose: a word for the ledger ("extract"). response_schema: asked of the provider as a JSON schema; one
    that refuses is asked for any JSON, then for text, and that is remembered while the process lives. Nothing
    is validated here: see complete_structured. Raises LLMUnavailable (time-out, 429, 5xx, connection lost)
    and LLMRejected (all other refusals); BudgetExhausted, without a request, where a meter forbids it.
    """
    for level, response_format in _formats(config, response_schema):
        try:
            return _complete_once(config, messages, purpose, max_tokens, response_format)
        except LLMRejected as exc:
            if level == "text" or not _refuses_format(exc):
                raise
            _refused_formats.add((config.model, config.api_base, level))
    raise AssertionError("the last format is plain text, which returns or raises")


def stream(
    config: LLMConfig,
    messages: Sequence[Message],
    *,
    purpose: str,
    max_tokens: int | None = None,
    on_usage: Callable[[Usage], None] | None = None,
) -> Iterator[str]:
    """The answer in pieces, as they come. `on_usage` is called once, after the last piece.

    Raises LLMUnavailable and LLMRejected as complete does, and LLMUnavailable also where the stream ends
    without the provider having said that the answer is whole. The meter is the one that is set when this is called.
    """
    return _stream(config, messages, purpose, max_tokens, on_usage, _check_meter(config, purpose))


def _stream(
    config: LLMConfig,
    messages: Sequence[Message],
    purpose: str,
    max_tokens: int | None,
    on_usage: Callable[[Usage], None] | None,
    meter: Meter | None,
) -> Iterator[str]:
    started = time.perf_counter()
    asked = _request(config, messages, max_tokens) | {
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    said, counted, counts = "", None, functools.partial(_usage, config, purpose, messages)
    told = False
    response: Any = None
    try:
        response = _litellm().completion(**asked)
        for chunk in response:
            counted = getattr(chunk, "usage", None) or counted
            piece = _storable(chunk.choices[0].delta.content or "") if chunk.choices else ""
            if piece:
                said += piece
                yield piece
        # LiteLLM writes a closing "stop" of its own; what the provider sent is only here.
        if response.received_finish_reason is None:
            num_chars = len(said)
            raise LLMUnavailable(f"{config.model} for {purpose}: the stream was cut short after {num_chars} characters")
        usage = counts(said, counted, started)
        told = True
        usage = meter.note(usage) if meter else usage
        if on_usage:
            on_usage(usage)
    except _provider_error() as exc:
        raise _our_error(exc, config, purpose) from exc
    finally:
        _hang_up(response)
        if meter and said and not told:  # cut short, or the reader went away: it costs all the same
            meter.note(counts(said, counted, started))


def _hang_up(response: Any) -> None:
    """Closes a stream's connection, so that a provider whose reader went away stops writing."""
    close = getattr(getattr(response, "completion_stream", None), "close", None)
    if callable(close):
        close()


ChatBody = dict[str, Any]


def chat(config: LLMConfig, body: Mapping[str, Any], *, purpose: str) -> ChatBody:
    """The provider's whole answer to a request in OpenAI's form, in that form.

    body: what OpenAI's chat completions take, without model and stream; the caller has left out all else, for LiteLLM
    also takes addresses and keys there. Raises as complete does, and InvalidInput where the provider, or LiteLLM, finds
    the request itself at fault.
    """
    meter = _check_meter(config, purpose)
    started = time.perf_counter()
    answer: ChatBody = _storable(_plain(_ask_chat(config, body, purpose)))
    if not answer.get("choices"):
        raise LLMUnavailable(f"{config.model} for {purpose}: the response holds no answer (choices is empty)")
    if meter:
        said = sum(_num_chars(choice.get("message")) for choice in answer["choices"])
        meter.note(_chat_usage(config, purpose, body, said, answer.get("usage"), started))
    return answer


def stream_chat(config: LLMConfig, body: Mapping[str, Any], *, purpose: str) -> Iterator[ChatBody]:
    """The same in chunks of OpenAI's form, the last with `usage` and no choices.

    The meter is the one that is set when this is called. Raises LLMUnavailable also where the stream ends before the
    provider has said that the answer is whole.
    """
    return _stream_chat(config, body, purpose, _check_meter(config, purpose))


def _stream_chat(config: LLMConfig, body: Mapping[str, Any], purpose: str, meter: Meter | None) -> Iterator[ChatBody]:
    started = time.perf_counter()
    said, told, last, counted, response = 0, False, None, None, None
    try:
        response = _ask_chat(config, body, purpose, stream=True, stream_options={"include_usage": True})
        for part in response:
            chunk = _storable(_plain(part))
            counted = chunk.pop("usage", None) or counted
            if chunk.get("choices") and not (counted and _is_empty(chunk["choices"])):
                last = chunk
                said += sum(_num_chars(choice.get("delta")) for choice in chunk["choices"])
                yield chunk
        if response.received_finish_reason is None or last is None:
            raise LLMUnavailable(f"{config.model} for {purpose}: the stream was cut short after {said} characters")
        told = True
        usage = _chat_usage(config, purpose, body, said, counted, started)
        if meter:
            meter.note(usage)
        total = usage.prompt_tokens + usage.completion_tokens
        counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        yield {**last, "choices": [], "usage": counted or {**counts, "total_tokens": total}}
    except _provider_error() as exc:
        raise _our_chat_error(exc, config, purpose) from exc
    finally:
        _hang_up(response)
        if meter and said and not told:
            meter.note(_chat_usage(config, purpose, body, said, counted, started))


def _is_empty(choices: Sequence[Mapping[str, Any]]) -> bool:
    """Of the chunk that LiteLLM hangs the usage on."""
    return not any(choice.get("finish_reason") or choice.get("delta") for choice in choices)


def _ask_chat(config: LLMConfig, body: Mapping[str, Any], purpose: str, **more: Any) -> Any:
    sent = _request(config, [], None)
    del sent["temperature"], sent["max_tokens"]  # the caller's own, if any
    try:
        return _litellm().completion(**{**sent, **body, **more})
    except _provider_error() as exc:
        raise _our_chat_error(exc, config, purpose) from exc
    except (TypeError, ValueError, LookupError, AttributeError) as exc:  # LiteLLM stumbles over what it does not expect
        raise InvalidInput(f"the request cannot be put to {config.model}: {' '.join(str(exc).split())[:300]}") from exc


def _our_chat_error(exc: Exception, config: LLMConfig, purpose: str) -> Exception:
    error = _our_error(exc, config, purpose)
    if isinstance(error, LLMRejected) and getattr(exc, "status_code", None) in REQUEST_AT_FAULT:
        return InvalidInput(str(error).partition("; check LLM_MODEL")[0])
    return error


def _plain(value: Any) -> ChatBody:
    """Without what LiteLLM adds of its own."""
    dumped: ChatBody = value.model_dump(exclude_none=True)
    for choice in dumped.get("choices", ()):
        choice.pop("provider_specific_fields", None)
        choice.get("message", choice.get("delta", {})).pop("provider_specific_fields", None)
        if "message" in choice:
            choice["message"].setdefault("content", None)
        choice.setdefault("finish_reason", None)
    return dumped


def _num_chars(message: Any) -> int:
    """Of all strings inside, but not of pictures and sounds."""
    if isinstance(message, str):
        return 0 if message.startswith("data:") else len(message)
    if isinstance(message, Mapping):
        return sum(_num_chars(inner) for key, inner in message.items() if key != "data")
    return sum(map(_num_chars, message)) if isinstance(message, list) else 0


def _chat_usage(
    config: LLMConfig, purpose: str, body: Mapping[str, Any], num_said: int, counted: Any, started: float
) -> Usage:
    counted = counted or {}
    prompt_tokens = counted.get("prompt_tokens") or _num_chars(list(body["messages"])) // CHARS_PER_TOKEN
    completion_tokens = counted.get("completion_tokens") or num_said // CHARS_PER_TOKEN
    latency_ms = (time.perf_counter() - started) * 1000
    cost_usd = _cost_usd(config.model, prompt_tokens, completion_tokens)
    return Usage(config.model, purpose, prompt_tokens, completion_tokens, latency_ms, cost_usd)


def complete_structured(
    config: LLMConfig,
    messages: Sequence[Message],
    schema: type[Answer],
    *,
    purpose: str,
    max_tokens: int | None = None,
) -> tuple[Answer, list[Usage]]:
    """An answer that `schema` accepts, and what each request for it cost (one to three).

    A faulty answer is shown to the model with its fault, to be mended; if that fails too the question is
    asked afresh; then LLMMalformed is raised, whose `usage` holds the cost. Raises what complete raises.
    """
    ask = functools.partial(complete, purpose=purpose, max_tokens=max_tokens, response_schema=schema)
    usage: list[Usage] = []
    asked, settings = list(messages), config
    for trial in ("first", "mended", "fresh"):
        completion = ask(settings, asked)
        usage.append(completion.usage)
        try:
            return parse_answer(completion.text, schema), usage
        except ValueError as exc:
            fault = str(exc)
        if completion.finish_reason == "length":
            fault += " (it stopped at the token limit)"
        if trial == "first":
            asked = [*messages, *_mending(completion.text, fault)]
        else:
            asked, settings = list(messages), replace(config, temperature=FRESH_TEMPERATURE)
    raise LLMMalformed(
        f"{config.model} for {purpose}: {len(usage)} answers were not the JSON asked for; the last: {fault}",
        usage=usage,
    )


def parse_answer(text: str, schema: type[Answer]) -> Answer:
    """`text` as `schema`. Raises ValueError with a short account of what is wrong.

    A bare list is taken for the only field of a schema that has one field: small models forget the wrapping.
    """
    value = parse_json(text)
    names = list(schema.model_fields)
    if isinstance(value, list) and len(names) == 1:
        value = {names[0]: value}
    try:
        return schema.model_validate(value)
    except ValidationError as exc:
        raise ValueError(_faults(exc)) from exc


def parse_json(text: str) -> Any:
    """The JSON object, or list of objects, in a model's answer, through thoughts, prose and small slips.

    Trailing commas are dropped and missing closing brackets added. What was cut in the middle of a value is
    not guessed at. Raises ValueError if nothing can be read.
    """
    text = text.rpartition("</think>")[2]
    start = re.search(r'(\[\s*)?\{\s*["}]|\[\s*\]', text)  # not the "[2]" and "{x}" of prose
    if not start:
        raise ValueError(f"there is no JSON object in the answer, which begins {text.strip()[:80]!r}")
    written = text[start.start() :]
    faults = []
    for attempt in (written, _mend(written)):
        try:
            return _storable(_DECODER.raw_decode(attempt)[0])
        except (ValueError, RecursionError) as exc:
            faults.append(exc)
    raise ValueError(f"the JSON cannot be read: {faults[0]}")


def _mend(text: str) -> str:
    """Drop commas before closing brackets and close what is left open, unless inside a string."""
    kept: list[str] = []
    stack: list[str] = []
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[^"]|"', text, flags=re.DOTALL):
        if token == '"':  # a string that never ends
            return text
        if token in "{[":
            stack.append("}" if token == "{" else "]")
        elif token in "}]":
            if not stack or stack.pop() != token:
                return text
            _drop_trailing_comma(kept)
        kept.append(token)
        if not stack:
            return "".join(kept)
    _drop_trailing_comma(kept)
    return "".join(kept) + "".join(reversed(stack))


def _drop_trailing_comma(tokens: list[str]) -> None:
    while tokens and tokens[-1].isspace():
        tokens.pop()
    if tokens and tokens[-1] == ",":
        tokens.pop()


def _storable(value: Any) -> Any:
    """Without NUL bytes and lone surrogates, which JSON can carry and PostgreSQL cannot store."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _mending(answer: str, fault: str) -> list[dict[str, str]]:
    wanted = "That is not the JSON asked for: {}. Send the whole answer again, corrected, as JSON alone."
    return [
        {"role": "assistant", "content": answer[:MAX_SHOWN_CHARS] or "(nothing)"},
        {"role": "user", "content": wanted.format(fault)},
    ]


def _faults(exc: ValidationError) -> str:
    named = [f"{'.'.join(map(str, e['loc'])) or 'answer'}: {e['msg']}" for e in exc.errors(include_url=False)]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return "; ".join(named[:3]) + more


_refused_formats: set[tuple[str, str | None, str]] = set()


def _formats(config: LLMConfig, schema: type[BaseModel] | None) -> list[tuple[str, Any]]:
    """The ways to ask for JSON, strictest first, without those that this server has refused."""
    levels: list[tuple[str, Any]] = []
    if schema is not None:
        levels = [("json_schema", schema), ("json_object", {"type": "json_object"})]
    levels = [level for level in levels if (config.model, config.api_base, level[0]) not in _refused_formats]
    return [*levels, ("text", None)]


def _refuses_format(exc: LLMRejected) -> bool:
    return bool(re.search(r"response.?format|json.?schema|json.?object|structured output", str(exc), re.IGNORECASE))


def _complete_once(
    config: LLMConfig, messages: Sequence[Message], purpose: str, max_tokens: int | None, response_format: Any
) -> Completion:
    meter = _check_meter(config, purpose)
    started = time.perf_counter()
    asked = _request(config, messages, max_tokens)
    if response_format is not None:
        asked["response_format"] = response_format
    try:
        response = _litellm().completion(**asked)
    except _provider_error() as exc:
        raise _our_error(exc, config, purpose) from exc
    if not response.choices:
        raise LLMUnavailable(f"{config.model} for {purpose}: the response holds no answer (choices is empty)")
    choice = response.choices[0]
    text = _storable(choice.message.content or "")
    usage = _usage(config, purpose, messages, text, getattr(response, "usage", None), started)
    return Completion(text, meter.note(usage) if meter else usage, choice.finish_reason or "stop")


def _request(config: LLMConfig, messages: Sequence[Message], max_tokens: int | None) -> dict[str, Any]:
    return {
        "model": config.model,
        "messages": [dict(message) for message in messages],
        "api_base": config.api_base,
        "api_key": config.api_key or ("not-needed" if config.api_base else None),
        "timeout": config.timeout_s,
        "temperature": config.temperature,
        "max_tokens": max_tokens,
        "max_retries": 0,
        "num_retries": 0,
        "drop_params": True,  # what a model does not know (temperature, response_format) is not sent
    }


def _usage(
    config: LLMConfig, purpose: str, messages: Sequence[Message], text: str, counted: Any, started: float
) -> Usage:
    prompt_chars = sum(len(message["content"]) for message in messages)
    prompt_tokens = getattr(counted, "prompt_tokens", 0) or prompt_chars // CHARS_PER_TOKEN
    completion_tokens = getattr(counted, "completion_tokens", 0) or len(text) // CHARS_PER_TOKEN
    return Usage(
        model=config.model,
        purpose=purpose,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        latency_ms=(time.perf_counter() - started) * 1000,
        cost_usd=_cost_usd(config.model, prompt_tokens, completion_tokens),
    )


def _cost_usd(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    litellm = _litellm()
    try:
        costs = litellm.cost_per_token(model=model, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    except (litellm.exceptions.ModelNotMappedError, ValueError):
        return None
    return float(sum(costs))


def _our_error(exc: Exception, config: LLMConfig, purpose: str) -> LLMUnavailable | LLMRejected:
    """What a task should make of a provider's error. The text is short and holds no key."""
    told = " ".join(str(exc).split())[:300]
    if config.api_key:
        told = told.replace(config.api_key, "(key)")
    status = getattr(exc, "status_code", None)
    about = f"{config.model} for {purpose}: {told}"
    if "Missing credentials" in told:  # LiteLLM calls it a 500
        return LLMRejected(f"{about}; set LLM_API_KEY or the provider's own variable")
    if status is None or status in TRANSIENT_STATUSES or status >= 500:
        return LLMUnavailable(about, retry_after_s=_retry_after_s(exc))
    return LLMRejected(f"{about}; check LLM_MODEL, LLM_API_BASE and LLM_API_KEY")


def _retry_after_s(exc: Exception) -> float | None:
    headers = getattr(exc, "litellm_response_headers", None) or {}
    return parse_retry_after(headers.get("retry-after"), now=datetime.now(UTC))


def parse_retry_after(header: str | None, *, now: datetime) -> float | None:
    """Seconds to wait, from the header's seconds or HTTP date (RFC 9110, 10.2.3); None if it says neither."""
    if not header:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", header.strip()):
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())


def _provider_error() -> type[Exception]:
    """The base of LiteLLM's errors, whichever the provider."""
    _litellm()
    import openai

    return openai.OpenAIError


def next_token_probabilities(config: LLMConfig, messages: Sequence[Message], *, purpose: str) -> dict[str, float]:
    """The most probable first tokens of an answer, as the provider tells them, and how probable each is.

    Raises as complete does, and LLMRejected where the provider tells no log-probabilities.
    """
    asked = _request(config, messages, 1) | {"logprobs": True, "top_logprobs": MAX_TOP_LOGPROBS}
    response = _metered(config, purpose, lambda: _litellm().completion(**asked), messages)
    told = getattr(response.choices[0], "logprobs", None)
    first = (getattr(told, "content", None) or [None])[0]
    if first is None or not getattr(first, "top_logprobs", None):
        raise LLMRejected(f"{config.model} for {purpose}: no log-probabilities were told")
    return {top.token: math.exp(min(0.0, top.logprob)) for top in first.top_logprobs}


def prompt_log_probabilities(config: LLMConfig, text: str, *, purpose: str) -> tuple[list[int], list[float | None]]:
    """Where the tokens of a text start and their log-probabilities, from a server that echoes its prompt.

    OpenAI's older completions do it (`echo`), as vLLM serves them; the first token may have None. Raises as
    complete does, and LLMRejected where the answer has no log-probabilities.
    """
    asked = _request(config, [], 1) | {
        "model": f"text-completion-openai/{config.model.partition('/')[2] or config.model}"
    }
    del asked["messages"]
    asked |= {"prompt": text, "echo": True, "logprobs": 1}
    said = [{"role": "user", "content": text}]
    response = _metered(config, purpose, lambda: _litellm().text_completion(**asked), said)
    told = getattr(response.choices[0], "logprobs", None)
    told = told if isinstance(told, Mapping) else getattr(told, "__dict__", {})
    starts, logs = told.get("text_offset"), told.get("token_logprobs")
    if not starts or not logs or len(starts) != len(logs):
        raise LLMRejected(f"{config.model} for {purpose}: the server does not echo its prompt with log-probabilities")
    inside = [number for number, start in enumerate(starts) if start < len(text)]
    return [int(starts[i]) for i in inside], [None if logs[i] is None else float(logs[i]) for i in inside]


def _metered(config: LLMConfig, purpose: str, ask: Callable[[], Any], messages: Sequence[Message]) -> Any:
    """The response to one paid request that is no ordinary completion."""
    meter = _check_meter(config, purpose)
    started = time.perf_counter()
    try:
        response = ask()
    except _provider_error() as exc:
        raise _our_error(exc, config, purpose) from exc
    if not response.choices:
        raise LLMUnavailable(f"{config.model} for {purpose}: the response holds no answer (choices is empty)")
    if meter:
        meter.note(_usage(config, purpose, messages, "", getattr(response, "usage", None), started))
    return response


@functools.cache
def _litellm() -> Any:
    """LiteLLM, silent: no price list fetched from the network, no .env read, no advice printed on errors."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    for logger in ("LiteLLM", "openai"):  # below this level they write out every prompt
        logging.getLogger(logger).setLevel(logging.WARNING)
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    return litellm
