"""+ Evaluations: whether search finds the messages that answer labelled questions."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import platform_tasks
from memory_service.errors import InvalidInput
from memory_service.evaluation import asking, comparing, jobs, runner
from memory_service.models import EvaluationRun, EvaluationScore, EvaluationStatus

from . import handlers
from .events import PageSerializer
from .memories import body_of
from .paging import paginate
from .rendering import iso
from .serializers import NumberField, validated

TAG = ["evaluations +"]
PAGING = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]
MAX_WAIT_S = 60


class EvaluationSerializer(serializers.Serializer[Any]):
    """The lines of a set stand in `items` as objects, or in `jsonl` as a string."""

    items = serializers.ListField(child=serializers.DictField(), required=False, min_length=1)
    jsonl = serializers.CharField(required=False, max_length=16_000_000, trim_whitespace=False)
    name = serializers.CharField(required=False, max_length=200, allow_blank=True)
    options = serializers.DictField(required=False, help_text="fields of the search, e.g. {'top_k': 50}")
    ablate = serializers.ListField(child=serializers.CharField(max_length=100), required=False, max_length=50)
    seeds = serializers.IntegerField(default=1, min_value=1, max_value=jobs.MAX_SEEDS)
    judge = serializers.IntegerField(default=0, min_value=0, max_value=runner.MAX_JUDGINGS)
    wait_s = NumberField(default=0, min_value=0, max_value=MAX_WAIT_S)


class ScoreQuerySerializer(PageSerializer):
    variant = serializers.CharField(required=False, allow_blank=True, max_length=100)
    category = serializers.CharField(required=False, max_length=100)
    missed = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=1000,
        help_text="only questions without all evidence in the first so many",
    )


class CompareSerializer(serializers.Serializer[Any]):
    a = serializers.UUIDField()
    b = serializers.UUIDField()


@extend_schema(methods=["POST"], request=EvaluationSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], parameters=PAGING, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST"])
def evaluations(request: Request) -> Response:
    """Measure evidence recall on labelled questions; `GET /v1/evaluations/{id}/` follows it."""
    project = handlers.project_of(request)
    if request.method == "GET":
        query = validated(PageSerializer(data=request.query_params)).validated_data
        rows = EvaluationRun.objects.filter(project=project).defer("content", "summary").order_by("-id")
        page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
        return Response({**envelope, "results": [render_run(run, whole=False) for run in page]})
    data = validated(EvaluationSerializer(data=body_of(request))).validated_data
    plan = runner.Plan(
        options=asking.read_options(data.get("options") or {}),
        ablate=tuple(data.get("ablate") or ()),
        seeds=data["seeds"],
        judgings=data["judge"],
    )
    run = jobs.create(project, read_set(data), plan, name=data.get("name") or "")
    platform_tasks.enqueue_evaluation(run)
    run.refresh_from_db()
    return Response(render_run(handlers.wait_for_job(run, data["wait_s"])), status=202)


def read_set(data: dict[str, Any]) -> list[Any]:
    if ("items" in data) == ("jsonl" in data):
        raise InvalidInput("give the set either as items, a list of objects, or as jsonl, a string of JSON lines")
    return data["items"] if "items" in data else list(jobs.split_lines(data["jsonl"]))


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "DELETE"])
def evaluation(request: Request, evaluation_id: str) -> Response:
    """A run: its plan, how far it is, its figures. DELETE removes it; one that is under way stops."""
    run = jobs.find(handlers.project_of(request), evaluation_id)
    if request.method == "DELETE":
        run.delete()
        return Response({"message": "Evaluation deleted successfully"})
    return Response(render_run(run))


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["POST"])
def cancel(request: Request, evaluation_id: str) -> Response:
    """Stop a run that is under way. What was scored stays."""
    return Response(render_run(jobs.cancel(jobs.find(handlers.project_of(request), evaluation_id))))


@extend_schema(
    parameters=[
        *PAGING,
        OpenApiParameter("variant", str),
        OpenApiParameter("category", str),
        OpenApiParameter("missed", int),
    ],
    responses=OpenApiTypes.OBJECT,
    tags=TAG,
)
@api_view(["GET"])
def questions(request: Request, evaluation_id: str) -> Response:
    """Each question's scores, and the rank at which each piece of its evidence was found."""
    query = validated(ScoreQuerySerializer(data=request.query_params)).validated_data
    rows = jobs.find(handlers.project_of(request), evaluation_id).scores
    found = rows.filter(variant=query.get("variant", runner.WHOLE)).order_by("seed", "number")
    if "category" in query:
        found = found.filter(category=query["category"])
    if "missed" in query:
        found = found.filter(pk__in=[score.pk for score in found if is_missed(score, query["missed"])])
    page, envelope = paginate(request, found, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_score(score) for score in page]})


def is_missed(score: EvaluationScore, depth: int) -> bool:
    return any(rank is None or rank > depth for rank in score.ranks.values())


@extend_schema(
    parameters=[OpenApiParameter("a", str, required=True), OpenApiParameter("b", str, required=True)],
    responses=OpenApiTypes.OBJECT,
    tags=TAG,
)
@api_view(["GET"])
def compare(request: Request) -> Response:
    """b - a over the questions that both runs have: a paired bootstrap, with interval and p."""
    project = handlers.project_of(request)
    query = validated(CompareSerializer(data=request.query_params)).validated_data
    first, second = (comparing.of_run(jobs.find(project, query[name])) for name in ("a", "b"))
    return Response(comparing.compare(first, second))


def render_run(run: EvaluationRun, *, whole: bool = True) -> dict[str, Any]:
    """whole: with the figures."""
    rendered = {
        "id": str(run.public_id),
        "name": run.name or None,
        "kind": run.kind,
        "source": run.source or None,
        "over": "own memories" if run.over_own else "scratch project",
        "status": run.status,
        "step": run.step or None,
        "num_done": run.num_done,
        "num_steps": run.num_steps,
        "notes": run.notes,
        "error": run.error or None,
        "created_at": iso(run.created_at),
        "updated_at": iso(run.updated_at),
        "completed_at": iso(run.completed_at),
    }
    if whole:
        told = {name: value for name, value in run.circumstances.items() if name != "corpora"}
        summary = run.summary if run.status == EvaluationStatus.SUCCEEDED else None
        rendered |= {"plan": run.plan, "circumstances": told, "data_hash": run.data_hash, "summary": summary}
    return rendered


def render_score(score: EvaluationScore) -> dict[str, Any]:
    """category: a number where it is one."""
    return {
        "question_id": score.question_id,
        "question": score.question,
        "conversation": score.conversation,
        "category": int(score.category) if score.category.isdecimal() else score.category or None,
        "variant": score.variant,
        "seed": score.seed,
        "metrics": score.metrics,
        "ranks": score.ranks,
        "num_hits": score.num_hits,
        "latency_ms": round(score.latency_ms, 2),
        "tokens": score.tokens,
        "exact_tokens": score.exact_tokens,
        "answer": score.answer or None,
    }
