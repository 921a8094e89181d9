"""+ Context: the text that goes into the prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import context as stage
from memory_service.context_sections import SECTIONS
from memory_service.formats import FORMATS
from memory_service.retrieval import INCLUDES

from . import handlers, rendering
from .memories import body_of
from .serializers import NameField, NumberField, SearchSerializer, validated


class ContextSerializer(SearchSerializer):
    query = serializers.CharField(max_length=20_000, help_text="the question, or the last thing said")
    max_tokens = serializers.IntegerField(
        default=stage.DEFAULT_TOKENS, min_value=stage.MIN_TOKENS, max_value=stage.MAX_TOKENS
    )
    format = serializers.ChoiceField(choices=list(FORMATS), default="markdown")
    order = serializers.ChoiceField(choices=stage.ORDERS, default="relevance")
    compress = serializers.ChoiceField(choices=stage.COMPRESSIONS, default="none")
    model = serializers.CharField(
        required=False, allow_null=True, max_length=200, help_text="whose tokens are counted: openai/gpt-4o, embedding"
    )
    sections = serializers.ListField(
        child=serializers.ChoiceField(choices=[stage.MEMORIES, *SECTIONS]),
        required=False,
        allow_empty=False,
        max_length=len(SECTIONS) + 1,
    )
    default_include = INCLUDES
    session = NameField(help_text="for order=stable: a name for the conversation")

    keep_share = NumberField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=stage.MAX_KEEP_SHARE,
        help_text="for order=stable: how much of the budget to leave as it was, whatever is asked",
    )

    def to_context_request(self) -> stage.ContextRequest:
        data = self.validated_data
        search = self.to_request(refuse_top_level=True)
        top_k = data.get("top_k") or data.get("limit") or stage.default_top_k(data["max_tokens"], data["compress"])
        return stage.ContextRequest(
            search=replace(search, top_k=top_k),
            max_tokens=data["max_tokens"],
            format=data["format"],
            order=data["order"],
            compress=data["compress"],
            model=data.get("model") or None,
            sections=tuple(dict.fromkeys(data.get("sections") or (stage.MEMORIES,))),
            session=data.get("session") or None,
            keep_share=data.get("keep_share"),
        )


class ContextItemSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="of the memory, of the message where it is none yet, or of the chunk")
    type = serializers.ChoiceField(choices=["memory", "message", "document_chunk"])
    score = serializers.FloatField()
    span = serializers.ListField(
        child=serializers.IntegerField(),
        min_length=2,
        max_length=2,
        help_text="[start, end) of the text, in characters",
    )
    tokens = serializers.IntegerField()
    compressed = serializers.BooleanField()
    sources = serializers.ListField(child=serializers.DictField())
    document = serializers.DictField(required=False, help_text="of a chunk: document, title, pages, span, headings")


class LeftOutSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=list(stage.REASONS))


class TokenizerSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    exact = serializers.BooleanField(help_text="false: an estimate, meant to be too high")


class ContextAnswerSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    items = ContextItemSerializer(many=True)
    num_tokens = serializers.IntegerField()
    max_tokens = serializers.IntegerField()
    tokenizer = TokenizerSerializer()
    left_out = LeftOutSerializer(many=True)
    notes = serializers.ListField(child=serializers.CharField())
    unchanged_tokens = serializers.IntegerField(
        allow_null=True, help_text="leading tokens as in the session's last context"
    )
    unchanged_share = serializers.FloatField(allow_null=True)
    epoch = serializers.IntegerField(allow_null=True, help_text="how often the session's context was begun anew")


@extend_schema(
    request=ContextSerializer, responses={200: ContextAnswerSerializer, 400: OpenApiTypes.OBJECT}, tags=["context +"]
)
@api_view(["POST"])
def context(request: Request) -> Response:
    """What is remembered of a question, as text for a prompt, within a budget of tokens."""
    asked = validated(ContextSerializer(data=body_of(request))).to_context_request()
    return Response(render_context(stage.assemble(handlers.project_of(request), asked), asked.max_tokens))


def render_context(found: stage.Context, max_tokens: int) -> dict[str, Any]:
    share = found.unchanged_share
    return {
        "text": found.text,
        "items": [render_item(item) for item in found.items],
        "num_tokens": found.num_tokens,
        "max_tokens": max_tokens,
        "tokenizer": {"name": found.tokenizer.name, "exact": found.tokenizer.exact},
        "left_out": [{"id": one, "reason": reason} for one, reason in found.left_out],
        "notes": found.notes,
        "unchanged_tokens": found.unchanged_tokens,
        "unchanged_share": None if share is None else round(share, 4),
        "epoch": found.epoch,
    }


def render_item(item: stage.Item) -> dict[str, Any]:
    rendered = _render_item(item)
    if (chunk := item.chunk) is not None:
        told = rendering.render_chunk(chunk)
        rendered |= {"type": "document_chunk", "document": {name: told[name] for name in DOCUMENT_FIELDS}}
    return rendered


DOCUMENT_FIELDS = ("document_id", "title", "source", "page_start", "page_end", "start", "end", "headings")


def _render_item(item: stage.Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "type": "memory" if item.is_memory else "message",
        "score": round(item.score, 6),
        "span": [item.start, item.end],
        "tokens": item.tokens,
        "compressed": item.compressed,
        "sources": [rendering.render_source(source) for source in item.sources],
    }
