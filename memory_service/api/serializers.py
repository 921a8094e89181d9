"""Requests: JSON -> checked values. What they mean is decided by the stages."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from memory_service.document_search import takes_documents
from memory_service.editing import UNSET, Change
from memory_service.errors import InvalidInput, TooLarge
from memory_service.expansion import EXPANDS
from memory_service.filters import ENTITY_FIELDS, Filter, names_an_entity, parse, parse_moment
from memory_service.fusion import FUSIONS
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.models.conversation import MAX_NAME_CHARS
from memory_service.moments import Moment, moment_of
from memory_service.procedural import MEMORY_TYPE
from memory_service.refining import SELECTS, Refinement, Trace
from memory_service.retrieval import INCLUDES, STAGES, SearchRequest
from memory_service.selection import MMR_LAMBDA
from memory_service.validation import check_moment, check_name_size

MAX_MESSAGES = 1000  # in one add
MAX_TEXT_CHARS = 20_000  # of a memory written by hand
MAX_TOP_K = 1000
MAX_TOKENS = 1_000_000  # of what a search returns
MAX_PAGE_SIZE = 200
MAX_BATCH = 1000
MAX_CATEGORIES = 100  # in one list
MAX_WAIT_S = 60
MAX_METADATA_CHARS = 50_000

SPOKEN_ROLES = ("user", "assistant")
OTHER_ROLES = ("system", "developer", "tool", "function")  # kept in the session; no memories are made of them


@extend_schema_field(OpenApiTypes.ANY)
class MomentField(serializers.Field):  # type: ignore[type-arg]
    """Seconds since 1970, an ISO date, or an ISO date and time."""

    def to_internal_value(self, data: Any) -> datetime:
        return to_moment(data, name=self.field_name or "time")

    def to_representation(self, value: Any) -> Any:
        return value


def to_moment(value: Any, *, name: str) -> datetime:
    moment = parse_moment(value, name=name)
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time.min, UTC)
    return check_moment(moment, name=name)


class AsOfField(MomentField):
    """A bare date stands for the end of its day, in UTC: what was said on it counts."""

    def to_internal_value(self, data: Any) -> datetime:
        name = self.field_name or "time"
        moment = parse_moment(data, name=name)
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time.max, UTC)
        return check_moment(moment, name=name)


class NumberField(serializers.FloatField):
    """Finite: NaN, which a string can say, would pass any bound; and no truth value."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool):
            self.fail("invalid")
        number = super().to_internal_value(data)
        if not math.isfinite(number):
            self.fail("invalid")
        return number


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]})
class ContentField(serializers.Field):  # type: ignore[type-arg]
    """A string, or parts: text is kept, what is only linked to is named."""

    def to_internal_value(self, data: Any) -> str:
        text = data if isinstance(data, str) else "\n".join(filter(None, map(_part, _as_list(data))))
        limit = settings.ENV.max_message_chars
        if len(text) > limit:
            raise TooLarge(
                f"a message of {len(text)} characters is over the limit of {limit}: split it, or post it as a document"
            )
        return text

    def to_representation(self, value: Any) -> Any:
        return value


def _as_list(data: Any) -> list[Any]:
    if isinstance(data, Mapping):
        return [data]
    if not isinstance(data, list):
        raise serializers.ValidationError(f"must be a string or a list of parts, not {type(data).__name__}")
    return data


LINKED_PARTS = {"image_url": "image", "pdf_url": "PDF", "txt_url": "text file", "mdx_url": "document"}


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind in LINKED_PARTS:
        target = part.get(kind)
        url = target.get("url") if isinstance(target, Mapping) else target
        named = isinstance(url, str) and not url.startswith("data:")
        return f"[shares a {LINKED_PARTS[kind]}: {url}]" if named else f"[shares a {LINKED_PARTS[kind]}]"
    raise serializers.ValidationError(f"a part has type {kind!r}; accepted are text, {', '.join(LINKED_PARTS)}")


class NameField(serializers.CharField):
    """An entity id: any text up to 255 characters and 512 bytes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME_CHARS, required=False, allow_null=True, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return check_name_size(super().to_internal_value(data), name=self.field_name or "name")


class MessageSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=[*SPOKEN_ROLES, *OTHER_ROLES])
    content = ContentField(allow_null=True, required=False)
    id = NameField(help_text="+ the caller's own id, unique in its session: sending it again changes nothing")
    name = NameField(help_text="+ who speaks")
    created_at = MomentField(required=False, allow_null=True, help_text="+ when it was said")


class EntityIdsSerializer(serializers.Serializer[Any]):
    user_id = NameField()
    agent_id = NameField()
    app_id = NameField()
    run_id = NameField()


class AddSerializer(EntityIdsSerializer):
    messages = serializers.JSONField(help_text="a list of {role, content}, or a string said by the user")
    filters = serializers.DictField(required=False, allow_null=True, help_text="the entity ids may stand here too")
    metadata = serializers.DictField(required=False, allow_null=True)
    infer = serializers.BooleanField(default=True)
    immutable = serializers.BooleanField(default=False)
    expiration_date = serializers.DateField(required=False, allow_null=True)
    timestamp = MomentField(required=False, allow_null=True, help_text="when it was said: backdates")
    timezone = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, help_text="where it was said, as in Europe/Oslo"
    )
    observation_datetime = MomentField(required=False, allow_null=True)
    observation_date = MomentField(required=False, allow_null=True)
    custom_instructions = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=10_000)
    custom_categories = serializers.ListField(
        child=serializers.DictField(), required=False, allow_null=True, max_length=MAX_CATEGORIES
    )
    includes = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=2_000)
    excludes = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=2_000)
    wait_s = NumberField(
        default=0, min_value=0, max_value=MAX_WAIT_S, help_text="+ answer when processed, or after so long"
    )
    async_mode = serializers.BooleanField(required=False, allow_null=True, help_text="false waits (older clients)")
    memory_type = serializers.ChoiceField(choices=[MEMORY_TYPE], required=False, allow_null=True)
    output_format = serializers.CharField(required=False, allow_null=True)
    enable_graph = serializers.BooleanField(
        required=False, allow_null=True, help_text="ask the language model for relations, whatever the project says"
    )

    def validate_metadata(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return check_metadata(value)

    def validate_timezone(self, value: str | None) -> str | None:
        return check_timezone(value) if value else None

    def to_request(self) -> AddRequest:
        data = self.validated_data
        ids = {k: v for k in ENTITY_FIELDS if (v := data.get(k) or _inside(data.get("filters"), k))}
        if not ids:
            raise InvalidInput(f"name whose memory this is: at least one of {', '.join(ENTITY_FIELDS)} is needed")
        if data.get("memory_type") and "agent_id" not in ids:
            raise InvalidInput("agent_id is needed for a procedural memory: it says how that agent did something")
        default = data.get("timestamp") or data.get("observation_datetime") or data.get("observation_date")
        messages = read_messages(data["messages"], default or timezone.now())
        wishes = ("custom_instructions", "custom_categories", "includes", "excludes")
        return AddRequest(
            messages=messages,
            ids=EntityIds(**ids),
            metadata=data.get("metadata") or {},
            infer=data["infer"],
            immutable=data["immutable"],
            expiration_date=data.get("expiration_date"),
            wishes={name: data[name] for name in wishes if data.get(name)},
            timezone=data.get("timezone") or common_offset(messages),
            enable_graph=data.get("enable_graph"),
            memory_type=data.get("memory_type"),
        )


def check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:  # no such file, no proper path, a folder
        raise serializers.ValidationError(
            f"{name[:80]!r} is not a time zone; accepted are IANA names such as Europe/Oslo"
        ) from exc
    return name


def common_offset(messages: Sequence[NewMessage]) -> str | None:
    """`-08:00` where every message's time was written with that offset: the day it was said on is the speaker's."""
    offsets = {message.said_at.utcoffset() for message in messages}
    if len(offsets) != 1 or not any(offsets):
        return None
    return messages[0].said_at.isoformat()[-len("-08:00") :]


def check_metadata(value: dict[str, Any] | None) -> dict[str, Any] | None:
    if value and len(json.dumps(value)) > MAX_METADATA_CHARS:
        raise TooLarge(f"metadata is over {MAX_METADATA_CHARS} characters of JSON")
    return value


def _inside(filters: Any, name: str) -> str | None:
    """An entity id from `filters`, flat or in an AND."""
    inner = filters.get("AND") if isinstance(filters, Mapping) else None
    parts = [filters, *(inner if isinstance(inner, list) else [])]
    found = next((p[name] for p in parts if isinstance(p, Mapping) and p.get(name)), None)
    if found is not None and not (isinstance(found, str) and len(found) <= MAX_NAME_CHARS):
        raise InvalidInput(f"filters.{name} must be a string of at most {MAX_NAME_CHARS} characters")
    return found and check_name_size(found, name=f"filters.{name}")


def read_messages(raw: Any, default: datetime) -> list[NewMessage]:
    """Raises InvalidInput where nothing is said at all."""
    if isinstance(raw, str):
        raw = [{"role": "user", "content": raw}]
    elif isinstance(raw, Mapping):
        raw = [raw]
    if not isinstance(raw, list) or not raw:
        raise InvalidInput("messages must be a non-empty list of {role, content}, or a string")
    if len(raw) > MAX_MESSAGES:
        raise TooLarge(f"{len(raw)} messages are over the limit of {MAX_MESSAGES} in one add: send them in several")
    parser = MessageSerializer(data=raw, many=True)
    if not parser.is_valid():
        raise serializers.ValidationError({"messages": parser.errors})
    messages = [_message(data, default) for data in parser.validated_data if (data.get("content") or "").strip()]
    if not messages:
        raise InvalidInput("no message has any content")
    return messages


def _message(data: Mapping[str, Any], default: datetime) -> NewMessage:
    role = data["role"] if data["role"] in SPOKEN_ROLES else "system"
    return NewMessage(
        role,
        data["content"],
        data.get("created_at") or default,
        data.get("id") or None,
        data.get("name") or None,
    )


class FilteredSerializer(EntityIdsSerializer):
    """What search and list share. refuse_top_level: v3 wants entity ids inside `filters`."""

    filters = serializers.JSONField(required=False, allow_null=True)
    categories = serializers.ListField(child=serializers.CharField(), required=False, allow_null=True)
    metadata = serializers.DictField(required=False, allow_null=True)
    keywords = serializers.CharField(required=False, allow_null=True)
    start_date = MomentField(required=False, allow_null=True)
    end_date = MomentField(required=False, allow_null=True)
    fields_ = serializers.ListField(child=serializers.CharField(), required=False, allow_null=True)
    show_expired = serializers.BooleanField(default=False)
    latest_only = serializers.BooleanField(required=False, allow_null=True)
    as_of = AsOfField(required=False, allow_null=True)
    known_at = AsOfField(required=False, allow_null=True)

    def get_fields(self) -> Any:
        """`fields` is a name that serializers keep for themselves."""
        fields = super().get_fields()
        fields["fields"] = fields.pop("fields_")
        return fields

    def to_filter(self, *, refuse_top_level: bool) -> Filter:
        data = self.validated_data
        given = {k: data[k] for k in ENTITY_FIELDS if data.get(k)}
        if given and refuse_top_level:
            raise InvalidInput(
                f"{', '.join(given)} at the top level is not taken here: "
                f"put it into filters, e.g. {{'filters': {{'user_id': '...'}}}}"
            )
        parts: list[Any] = [given] if given else []
        if data.get("filters"):
            parts.append(data["filters"])
        if data.get("categories"):
            parts.append({"categories": {"in": data["categories"]}})
        if data.get("metadata"):
            parts.append({"metadata": data["metadata"]})
        if data.get("keywords"):
            parts.append({"keywords": {"icontains": data["keywords"]}})
        for name, operator in (("start_date", "gte"), ("end_date", "lte")):
            if data.get(name):
                # As it was given: a bare date stands for its whole day.
                parts.append({"created_at": {operator: self.initial_data[name]}})
        return parse({"AND": parts} if parts else None)


class SearchSerializer(FilteredSerializer):
    query = serializers.CharField(max_length=20_000)
    top_k = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=MAX_TOP_K)
    limit = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=MAX_TOP_K)
    threshold = NumberField(required=False, allow_null=True, min_value=0, max_value=1)
    rerank = serializers.BooleanField(default=False)
    select = serializers.ChoiceField(
        choices=list(SELECTS), default="top_k", help_text="+ how many and which: see docs/selection.md"
    )
    diversity = serializers.BooleanField(default=False, help_text="+ rounds over sessions, if several things are asked")
    focus = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_TOP_K, help_text="+ keep so many sentences"
    )
    max_tokens = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_TOKENS, help_text="+ of all texts, about"
    )
    mmr_lambda = NumberField(default=MMR_LAMBDA, min_value=0, max_value=1, help_text="+ 1: relevance alone")
    fusion = serializers.ChoiceField(choices=list(FUSIONS), default="learned", help_text="+ how signals become a score")
    expand = serializers.ChoiceField(
        choices=list(EXPANDS),
        default="none",
        help_text="+ more words: of the best texts of a first pass, or other wordings by a model",
    )
    walk = serializers.BooleanField(default=True, help_text="+ over the graph, from what the question names")
    without = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(STAGES)),
        default=list,
        max_length=len(STAGES),
        help_text="+ stages to leave out, to see what they do",
    )
    include = serializers.ListField(
        child=serializers.ChoiceField(choices=list(INCLUDES)),
        required=False,
        allow_null=True,
        allow_empty=False,
        max_length=len(INCLUDES),
        help_text="+ what is searched: memories alone, unless documents are named too",
    )
    keyword_search = serializers.BooleanField(required=False, allow_null=True)
    reference_date = AsOfField(required=False, allow_null=True)
    explain = serializers.BooleanField(default=False)
    enable_graph = serializers.BooleanField(default=False)
    output_format = serializers.CharField(required=False, allow_null=True)

    default_include: tuple[str, ...] = ("memories",)

    def read_include(self, node: Filter) -> tuple[str, ...]:
        """What is not asked for by name is left out where the filter cannot be asked of it."""
        given = self.validated_data.get("include")
        if given:
            return tuple(dict.fromkeys(given))
        return self.default_include if takes_documents(node) else ("memories",)

    def to_request(self, *, refuse_top_level: bool) -> SearchRequest:
        data = self.validated_data
        node = self.to_filter(refuse_top_level=refuse_top_level)
        moment = moment_of(
            data["query"],
            as_of=data.get("as_of"),
            known_at=data.get("known_at"),
            reference_date=data.get("reference_date"),
            latest_only=data.get("latest_only"),
        )
        return SearchRequest(
            query=data["query"],
            filter=node,
            include=self.read_include(node),
            top_k=data.get("top_k") or data.get("limit") or 10,
            threshold=data.get("threshold"),
            show_expired=data["show_expired"],
            keyword_search=data.get("keyword_search") is not False,
            moment=moment,
            fusion=data["fusion"],
            expand=data["expand"],
            walk=data["walk"],
            reference_date=data.get("reference_date"),
            without=frozenset(data["without"]),
            refine=Refinement(
                rerank=data["rerank"],
                select=data["select"],
                diversity=data["diversity"],
                focus=data.get("focus"),
                max_tokens=data.get("max_tokens"),
                mmr_lambda=data["mmr_lambda"],
            ),
            trace=Trace(),
        )


class ListSerializer(FilteredSerializer):
    enable_graph = serializers.BooleanField(default=False)
    page = serializers.IntegerField(default=1, min_value=1, max_value=10**9)
    page_size = serializers.IntegerField(default=100, min_value=1, max_value=MAX_PAGE_SIZE)

    def to_moment(self) -> Moment:
        data = self.validated_data
        return Moment(data.get("as_of"), data.get("known_at"), past=data.get("latest_only") is False)

    def to_scoped_filter(self, *, refuse_top_level: bool) -> Filter:
        """Raises InvalidInput where no entity is named: a listing of everybody is a mistake, not a wish."""
        found = self.to_filter(refuse_top_level=refuse_top_level)
        if not names_an_entity(found):
            raise InvalidInput(
                f"filters must name whose memories these are by one of {', '.join(ENTITY_FIELDS)}, "
                "e.g. {'user_id': 'alice'}; '*' stands for all"
            )
        return found


class UpdateSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(required=False, max_length=MAX_TEXT_CHARS)
    metadata = serializers.DictField(required=False, allow_null=True)
    timestamp = MomentField(required=False, allow_null=True)
    expiration_date = serializers.DateField(required=False, allow_null=True)

    def validate_metadata(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return check_metadata(value)

    def to_change(self) -> Change:
        data = self.validated_data
        if not data:
            raise InvalidInput("nothing to change: send at least one of text, metadata, timestamp, expiration_date")
        return _change(data)


def _change(data: Mapping[str, Any]) -> Change:
    return Change(
        text=data.get("text", UNSET),
        metadata=(data["metadata"] or {}) if "metadata" in data else UNSET,
        said_at=data.get("timestamp") or UNSET,
        expiration_date=data.get("expiration_date", UNSET),
    )


class MemoryIdSerializer(serializers.Serializer[Any]):
    memory_id = serializers.UUIDField()


class BatchUpdateItemSerializer(UpdateSerializer):
    memory_id = serializers.UUIDField()

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if len(value) < 2:
            raise serializers.ValidationError("nothing to change: send text or metadata")
        return value


class BatchUpdateSerializer(serializers.Serializer[Any]):
    memories = BatchUpdateItemSerializer(many=True, allow_empty=False, max_length=MAX_BATCH)  # type: ignore[call-arg]

    def to_changes(self) -> list[tuple[Any, Change]]:
        return [(item["memory_id"], _change(item)) for item in self.validated_data["memories"]]


class BatchDeleteSerializer(serializers.Serializer[Any]):
    memories = MemoryIdSerializer(many=True, allow_empty=False, max_length=MAX_BATCH)  # type: ignore[call-arg]


class FeedbackSerializer(serializers.Serializer[Any]):
    memory_id = serializers.UUIDField()
    feedback = serializers.ChoiceField(choices=["POSITIVE", "NEGATIVE", "VERY_NEGATIVE"], allow_null=True, default=None)
    feedback_reason = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=5_000)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("feedback"), str):
            data = {**data, "feedback": data["feedback"].upper()}
        return super().to_internal_value(data)


def read_delete_filter(params: Mapping[str, str]) -> dict[str, Any]:
    """The query of DELETE /v1/memories/. No usable filter is refused; it never means everything.

    `filters` may be a Python literal: the official client puts its dict into the query as it prints.
    """
    parts: list[Any] = [{k: params[k]} for k in ENTITY_FIELDS if params.get(k)]
    if params.get("filters"):
        parts.append(_literal(params["filters"], "filters"))
    if params.get("metadata"):
        parts.append({"metadata": _literal(params["metadata"], "metadata")})
    parts = [part for part in parts if part]
    if not parts:
        raise InvalidInput(
            f"nothing says which memories to delete: give one of {', '.join(ENTITY_FIELDS)}, metadata or filters"
        )
    return {"AND": parts}


def _literal(text: str, name: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            value = _as_json(read(text))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    raise InvalidInput(f"{name}={text[:80]!r} is not an object such as {{'user_id': 'alice'}}, of what JSON can hold")


def _as_json(value: Any) -> Any:
    """The same through JSON, which is how it is kept. Raises TypeError and ValueError for what JSON cannot say."""
    _check_keys(value)
    return json.loads(json.dumps(value, allow_nan=False))


def _check_keys(value: Any) -> None:
    """json.dumps would make strings of numbers, and then the filter would mean something else."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key is not a string")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def validated(parser: serializers.BaseSerializer[Any]) -> Any:
    parser.is_valid(raise_exception=True)
    return parser


def read_fields(asked: Sequence[str] | None, accepted: Sequence[str]) -> set[str] | None:
    """Which keys of a memory to answer with. None: all."""
    if not asked:
        return None
    unknown = [name for name in asked if name not in accepted]
    if unknown:
        raise InvalidInput(f"fields: unknown {', '.join(map(repr, unknown))}; accepted are {', '.join(accepted)}")
    return {"id", *asked}
