"""Answers to questions (+): with citations, as JSON or as events, and what people say of them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view, content_negotiation_class
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import answering, project_llm
from memory_service.answering import Answered, AnswerEvent, AnswerRequest
from memory_service.evidence import Evidence, EvidenceItem
from memory_service.filters import ENTITY_FIELDS
from memory_service.models import Answer
from memory_service.retrieval import INCLUDES

from . import errors, event_stream, handlers
from .events import PageSerializer
from .memories import body_of
from .paging import paginate
from .rendering import iso
from .serializers import SearchSerializer, validated

MAX_EVIDENCE_TOKENS = 200_000
MAX_ANSWER_CHARS = 20_000


class AnswerSerializer(SearchSerializer):
    top_k = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=answering.MAX_TOP_K)
    limit = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=answering.MAX_TOP_K)
    max_tokens = serializers.IntegerField(
        default=2_000, min_value=16, max_value=MAX_EVIDENCE_TOKENS, help_text="of evidence"
    )
    default_include = INCLUDES
    stream = serializers.BooleanField(default=False, help_text="as server-sent events")
    feedback_loop = serializers.BooleanField(
        default=False, help_text="the model judges its answer, and is asked again with more or less evidence"
    )
    contrastive = serializers.BooleanField(
        default=True, help_text="show the model the corrected question that is most like this one"
    )
    store = serializers.BooleanField(default=True, help_text="keep the answer, so that it can be judged")

    def to_answer_request(self) -> AnswerRequest:
        data = self.validated_data
        return AnswerRequest(
            search=self.to_request(refuse_top_level=False),
            filters=self._asked_filters(),
            max_tokens=data["max_tokens"],
            feedback_loop=data["feedback_loop"],
            contrastive=data["contrastive"],
            reference_date=data.get("reference_date"),
            store=data["store"],
        )

    def _asked_filters(self) -> Any:
        data = self.validated_data
        named = {name: data[name] for name in ENTITY_FIELDS if data.get(name)}
        parts = [part for part in (named, data.get("filters")) if part]
        return {"AND": parts} if len(parts) > 1 else parts[0] if parts else None


class JudgementSerializer(serializers.Serializer[Any]):
    correct = serializers.BooleanField()
    corrected_answer = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=MAX_ANSWER_CHARS
    )


@extend_schema(methods=["POST"], request=AnswerSerializer, responses=OpenApiTypes.OBJECT, tags=["answers +"])
@extend_schema(
    methods=["GET"],
    parameters=[OpenApiParameter("page", int), OpenApiParameter("page_size", int), OpenApiParameter("correct", bool)],
    responses=OpenApiTypes.OBJECT,
    tags=["answers +"],
)
@api_view(["GET", "POST"])
@content_negotiation_class(event_stream.AlwaysJSON)
def answers(request: Request) -> HttpResponseBase:
    """POST: answer a question from what is remembered, with citations; with `stream` as server-sent events `evidence`,
    `delta`, `citation`, `done`, `error`. GET: the answers that are kept, newest first; `correct` filters."""
    if request.method == "GET":
        return _list(request)
    parser = validated(AnswerSerializer(data=body_of(request)))
    asked, project = parser.to_answer_request(), handlers.project_of(request)
    if parser.validated_data["stream"]:
        event_stream.take_place()
        worker = event_stream.Worker(lambda: answering.stream_answer(project, asked))
        return event_stream.respond(event_stream.EventStream(worker, frame=_frame, failed=_failed))
    with event_stream.place_for(project_llm.llm_of(project)):
        return Response(_render_answered(answering.answer(project, asked)))


class AnswerListSerializer(PageSerializer):
    correct = serializers.BooleanField(required=False, allow_null=True, default=None)


def _list(request: Request) -> Response:
    query = validated(AnswerListSerializer(data=request.query_params)).validated_data
    rows = Answer.objects.in_project(handlers.project_of(request)).defer("query_vector").order_by("-id")
    if query["correct"] is not None:
        rows = rows.filter(correct=query["correct"])
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_answer(row) for row in page]})


def _frame(event: AnswerEvent) -> str:
    if event.name == "evidence":
        return event_stream.named("evidence", _render_evidence(event.data))
    if event.name == "delta":
        return event_stream.named("delta", {"text": event.data})
    if event.name == "citation":
        return event_stream.named("citation", event.data)
    return event_stream.named("done", _render_answered(event.data))


def _failed(exc: Exception) -> str:
    return event_stream.named("error", errors.describe(exc, "an answer"))


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["answers +"])
@api_view(["GET", "DELETE"])
def answer(request: Request, answer_id: str) -> Response:
    """One answer that is kept; DELETE removes it, and with it the example that a correction made of it."""
    project = handlers.project_of(request)
    if request.method == "DELETE":
        answering.delete_answer(project, answer_id)
        return Response({"message": "Answer deleted"})
    return Response(render_answer(answering.find_answer(project, answer_id)))


@extend_schema(request=JudgementSerializer, responses=OpenApiTypes.OBJECT, tags=["answers +"])
@api_view(["POST"])
def feedback(request: Request, answer_id: str) -> Response:
    """Say whether an answer is correct, and what would have been. A correction is shown to the model as an example when
    a like question is asked with the same filter."""
    data = validated(JudgementSerializer(data=body_of(request))).validated_data
    found = answering.judge(
        handlers.project_of(request),
        answer_id,
        correct=data["correct"],
        corrected_answer=data.get("corrected_answer"),
    )
    return Response(render_answer(found))


def render_answer(answer: Answer) -> dict[str, Any]:
    return {
        "id": str(answer.public_id),
        "query": answer.query,
        "filters": answer.filters,
        "answer": answer.text,
        "value": answer.value,
        "method": answer.method,
        "model": answer.model or None,
        "known": answer.known,
        "grounded": answer.grounded,
        "citations": answer.citations,
        "notes": answer.notes,
        "rounds": answer.rounds,
        "top_k": answer.top_k,
        "correct": answer.correct,
        "corrected_answer": answer.corrected_answer or None,
        "created_at": iso(answer.created_at),
        "expires_at": iso(answer.expires_at),
    }


def _render_answered(answered: Answered) -> dict[str, Any]:
    rendered = render_answer(answered.answer)
    if answered.answer.pk is None:  # not kept: there is nothing to ask for by this id
        rendered |= {"id": None, "expires_at": None}
    return {**rendered, "evidence": _render_evidence(answered.evidence)}


def _render_evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "items": [_render_item(item) for item in evidence.items],
        "num_tokens": evidence.num_tokens,
        "tokenizer": {"name": tokenizer.name, "exact": tokenizer.exact} if (tokenizer := evidence.tokenizer) else None,
        "num_left_out": evidence.num_left_out,
    }


def _render_item(item: EvidenceItem) -> dict[str, Any]:
    return {
        "number": item.number,
        "id": item.public_id,
        "text": item.text,
        "speaker": item.speaker or None,
        "created_at": iso(item.said_at),
        "score": round(item.hit.score, 4),
    }
