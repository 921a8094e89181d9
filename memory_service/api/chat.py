"""OpenAI's chat completions with memory, for its unmodified clients. Errors have OpenAI's shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from memory_service import chat, tasks
from memory_service.chat import ChatRequest
from memory_service.errors import InvalidInput, LLMError, LLMUnavailable, NotFound, TooLarge
from memory_service.expansion import EXPANDS
from memory_service.filters import ENTITY_FIELDS, parse
from memory_service.ingest import EntityIds, NewMessage
from memory_service.models.conversation import MAX_NAME_CHARS
from memory_service.validation import check_name_size, check_text

from . import errors, event_stream, handlers
from .memories import body_of
from .serializers import ContentField, EntityIdsSerializer, validated

MAX_MESSAGES = 2_000
MAX_TOP_K = 100
MAX_BLOCK_TOKENS = 100_000
MAX_CHOICES = 16
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# Who fetches what a message links to: OpenAI does so itself; for others LiteLLM would, from inside of our network.
FETCHED_ELSEWHERE = ("openai/", "azure/")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(inner, dict) for inner in value)


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(inner, str) for inner in value))


def _choice(value: Any) -> bool:
    return isinstance(value, str | dict)


Check = tuple[Callable[[Any], bool], str]
NUMBER, WHOLE, TEXT, FLAG = (_number, "a number"), (_whole, "a whole number"), (_text, "a string"), (_flag, "a boolean")
OBJECT, OBJECTS = (_object, "an object"), (_objects, "a list of objects")

# What goes to the provider as it is. Nothing else does: LiteLLM would take addresses and keys from the same place.
PASSED: dict[str, Check] = {
    "audio": OBJECT,
    "frequency_penalty": NUMBER,
    "function_call": (_choice, "a string or an object"),
    "functions": OBJECTS,
    "logit_bias": OBJECT,
    "logprobs": FLAG,
    "max_completion_tokens": WHOLE,
    "max_tokens": WHOLE,
    "modalities": (_texts, "a list of strings"),
    "n": (lambda value: _whole(value) and 1 <= value <= MAX_CHOICES, f"a whole number from 1 to {MAX_CHOICES}"),
    "parallel_tool_calls": FLAG,
    "prediction": OBJECT,
    "presence_penalty": NUMBER,
    "reasoning_effort": TEXT,
    "response_format": OBJECT,
    "seed": WHOLE,
    "service_tier": TEXT,
    "stop": (_texts, "a string or a list of strings"),
    "temperature": NUMBER,
    "tool_choice": (_choice, "a string or an object"),
    "tools": OBJECTS,
    "top_logprobs": WHOLE,
    "top_p": NUMBER,
    "user": TEXT,
    "verbosity": TEXT,
}
OURS = ("model", "messages", "stream", "stream_options", "memory", *ENTITY_FIELDS)


class MemoryOptionsSerializer(EntityIdsSerializer):
    """The request's `memory`: whose it is, and what is wanted of it. `false` in its place means nothing at all."""

    retrieve = serializers.BooleanField(default=True)
    store = serializers.BooleanField(default=True)
    filters = serializers.JSONField(required=False, allow_null=True)
    top_k = serializers.IntegerField(default=10, min_value=1, max_value=MAX_TOP_K)
    max_tokens = serializers.IntegerField(default=1_000, min_value=16, max_value=MAX_BLOCK_TOKENS)
    expand = serializers.ChoiceField(choices=EXPANDS, default="none")


class ChatSerializer(EntityIdsSerializer):
    """For the API's description; the body is read by read_chat."""

    model = serializers.CharField(required=False, allow_null=True)
    messages = serializers.ListField(child=serializers.DictField())
    stream = serializers.BooleanField(default=False)
    stream_options = serializers.DictField(required=False, allow_null=True)
    user = serializers.CharField(required=False, help_text="whose memory it is, where user_id is not given")
    memory = MemoryOptionsSerializer(required=False)


def read_chat(body: Mapping[str, Any]) -> tuple[ChatRequest, bool]:
    """The request, and whether it is to be streamed. Raises InvalidInput, naming the field."""
    unknown = [name for name in body if name not in PASSED and name not in OURS]
    if unknown:
        raise InvalidInput(f"unknown fields: {', '.join(unknown)[:200]}; accepted are {', '.join((*OURS, *PASSED))}")
    for name, (holds, wanted) in PASSED.items():
        if body.get(name) is not None and not holds(body[name]):
            raise InvalidInput(f"{name} must be {wanted}")
    messages = _read_messages(body.get("messages"))
    options, ids = _read_memory(body)
    stream, stream_options = body.get("stream") or False, body.get("stream_options") or {}
    if not isinstance(stream, bool) or not isinstance(stream_options, dict):
        raise InvalidInput("stream must be a boolean, and stream_options an object")
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise InvalidInput("model must be a string")
    passed = {name: body[name] for name in PASSED if body.get(name) is not None}
    said = [_spoken(message) for message in chat.said_anew(messages)]
    asked = [_plain_text(message.get("content")) for message in messages if message["role"] == "user"]
    request = ChatRequest(
        model=model or None,
        body={**passed, "messages": messages},
        said=[message for message in said if message.content.strip()],
        query=asked[-1] if asked else "",
        ids=ids,
        include_usage=bool(stream_options.get("include_usage")),
        **options,
    )
    return request, stream


def _read_messages(raw: Any) -> list[dict[str, Any]]:
    if not isinstance(raw, list) or not raw:
        raise InvalidInput("messages must be a non-empty list of {role, content}")
    if len(raw) > MAX_MESSAGES:
        raise TooLarge(f"{len(raw)} messages are over the limit of {MAX_MESSAGES}")
    for number, message in enumerate(raw):
        _check_message(message, f"messages[{number}]")
    return raw


def _check_message(message: Any, place: str) -> None:
    if not isinstance(message, dict):
        raise InvalidInput(f"{place} must be an object with role and content, not {type(message).__name__}")
    if message.get("role") not in ROLES:
        raise InvalidInput(f"{place}.role: {str(message.get('role'))[:40]!r} is none of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content):
            raise InvalidInput(f"{place}.content must be a string or a list of parts, each with a type")
    elif content is not None and not isinstance(content, str):
        raise InvalidInput(f"{place}.content must be a string or a list of parts, not {type(content).__name__}")
    elif content is None and message["role"] not in ("assistant", "function", "tool"):
        raise InvalidInput(f"{place}.content is needed")
    name, calls = message.get("name"), message.get("tool_calls")
    if name is not None and not isinstance(name, str):
        raise InvalidInput(f"{place}.name must be a string")
    if calls is not None and not _objects(calls):
        raise InvalidInput(f"{place}.tool_calls must be a list of objects")
    if len(_plain_text(content)) > settings.ENV.max_message_chars:
        raise TooLarge(f"{place} is over the limit of {settings.ENV.max_message_chars} characters")


def _plain_text(content: Any) -> str:
    """What is said in words."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _spoken(message: Mapping[str, Any]) -> NewMessage:
    """As it is stored: of a picture there is only that it was shown."""
    content = message.get("content")
    known = content
    if isinstance(content, list):
        known = [part for part in content if part["type"] in ("text", "image_url")]
    name = (message.get("name") or "")[:MAX_NAME_CHARS] or None
    return NewMessage("user", ContentField().to_internal_value(known or ""), timezone.now(), name=name)


def _read_memory(body: Mapping[str, Any]) -> tuple[dict[str, Any], EntityIds]:
    raw = body.get("memory")
    if raw is False:
        return {"retrieve": False, "store": False}, EntityIds()
    if raw is not None and not isinstance(raw, dict | bool):
        raise InvalidInput("memory must be an object, or false for none")
    given = raw if isinstance(raw, dict) else {}
    unknown = [name for name in given if name not in MemoryOptionsSerializer().fields]
    if unknown:
        raise InvalidInput(f"unknown fields in memory: {', '.join(unknown)[:200]}")
    options = validated(MemoryOptionsSerializer(data=given)).validated_data
    beside = validated(EntityIdsSerializer(data={name: body.get(name) for name in ENTITY_FIELDS})).validated_data
    ids = {name: options.pop(name, None) or beside.get(name) for name in ENTITY_FIELDS}
    ids["user_id"] = ids["user_id"] or _user_of(body)
    if options["retrieve"] or options["store"]:
        _check_named(ids)
    parse(options.get("filters"))
    return dict(options), EntityIds(**ids)


def _user_of(body: Mapping[str, Any]) -> str | None:
    user = body.get("user") or None
    if user is not None and len(user) > MAX_NAME_CHARS:
        raise InvalidInput(f"user is over {MAX_NAME_CHARS} characters")
    return user and check_name_size(check_text(user, name="user"), name="user")


def _check_named(ids: Mapping[str, str | None]) -> None:
    if not any(ids.values()):
        raise InvalidInput(
            f"say whose memory this is: user, or one of {', '.join(ENTITY_FIELDS)}; or send memory=false to do without"
        )
    if "*" in ids.values():
        raise InvalidInput("'*' is nobody's id: a chat remembers for one user")


def check_links(request: ChatRequest, model: str) -> None:
    """Raises InvalidInput for a link that this service would have to follow for the provider."""
    if model.startswith(FETCHED_ELSEWHERE):
        return
    for message in request.body["messages"]:
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            if any(not url.startswith("data:") for url in _urls(part)):
                raise InvalidInput(f"{model} is sent no links to pictures or files: send them as data: URLs")


def _urls(value: Any) -> list[str]:
    """What stands under a key that is named for a URL or a file, in a part of a message."""
    if isinstance(value, list):
        return [url for inner in value for url in _urls(inner)]
    found: list[str] = []
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict | list):
            found += _urls(inner)
        elif isinstance(inner, str) and ("url" in name.lower() or name == "file_id"):
            found.append(inner)
    return found


# Views

KINDS = {401: "authentication_error", 402: "insufficient_quota", 403: "permission_error", 404: "not_found_error"}


def openai_error(status: int, detail: str) -> dict[str, Any]:
    """`detail` is ours; OpenAI's clients read `error`."""
    kind = KINDS.get(status) or ("rate_limit_error" if status == 429 else "invalid_request_error")
    kind = "api_error" if status >= 500 else kind
    code = "model_not_found" if kind == "not_found_error" else None
    return {"error": {"message": detail, "type": kind, "param": None, "code": code}, "detail": detail}


def handle(exc: Exception, context: dict[str, Any]) -> Response:
    response = errors.handle(exc, context)
    if isinstance(exc, LLMUnavailable):
        response.status_code = 503
        if exc.retry_after_s:
            response["Retry-After"] = str(math.ceil(exc.retry_after_s))
    response.data = openai_error(response.status_code, str(response.data["detail"]))
    return response


class OpenAIView(APIView):
    content_negotiation_class = event_stream.AlwaysJSON

    def get_exception_handler(self) -> Any:
        return handle


class Completions(OpenAIView):
    @extend_schema(request=ChatSerializer, responses=OpenApiTypes.OBJECT, tags=["chat +"])
    def post(self, request: Request) -> HttpResponseBase:
        """A chat completion by a model that is allowed here. What is remembered of the user goes into the system
        message before, the exchange is stored after. OpenAI's fields are passed on; `memory` says what is wanted of
        memory."""
        project = handlers.project_of(request)
        asked, streamed = read_chat(body_of(request))
        check_links(asked, chat.find_model(project, asked.model).model)
        if not streamed:
            with event_stream.place_for(chat.find_model(project, asked.model)):
                return Response(chat.complete_chat(project, asked, on_stored=tasks.enqueue))
        event_stream.take_place()
        worker = event_stream.Worker(lambda: chat.stream_chat(project, asked, on_stored=tasks.enqueue))
        return event_stream.respond(
            event_stream.EventStream(
                worker,
                first=worker.get(None),  # so that a model that is down is a status, not an event
                frame=event_stream.unnamed,
                failed=_failed,
                end="data: [DONE]\n\n",
            )
        )


def _failed(exc: Exception) -> str:
    status = 502 if isinstance(exc, LLMError) else 500
    return event_stream.unnamed(openai_error(status, errors.describe(exc, "a chat completion")["detail"]))


class Models(OpenAIView):
    @extend_schema(responses=OpenApiTypes.OBJECT, tags=["chat +"])
    def get(self, request: Request) -> Response:
        """The models that chat completions may use."""
        project = handlers.project_of(request)
        created = int(project.created_at.timestamp())
        return Response(
            {"object": "list", "data": [_render_model(name, created) for name in chat.chat_models(project)]}
        )


class Model(OpenAIView):
    @extend_schema(responses=OpenApiTypes.OBJECT, tags=["chat +"])
    def get(self, request: Request, name: str) -> Response:
        """One of them."""
        project = handlers.project_of(request)
        if not chat.chat_models(project):
            raise NotFound("no language model is configured")
        found = chat.find_model(project, check_text(name, name="model"))
        return Response(_render_model(found.model, int(project.created_at.timestamp())))


def _render_model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": name.partition("/")[0]}


completions, models, model = Completions.as_view(), Models.as_view(), Model.as_view()
