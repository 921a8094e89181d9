"""Profiles of users: reading them, having them made, and the schema they follow."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import profiles, tasks
from memory_service.errors import InvalidInput
from memory_service.models import Event
from memory_service.validation import check_name_size, check_text

from . import handlers
from .memories import body_of
from .rendering import iso
from .serializers import NameField, validated

JOBS_PATH = "/v2/profiles/jobs/"
KEY_HEADER = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["profiles"])
@api_view(["GET"])
def profile(request: Request, name: str) -> Response:
    """A user's profile. Branch on `status`: succeeded, pending, failed, not_enabled, insufficient_data."""
    found, status = profiles.find(handlers.project_of(request), check_text(name, name="user id"))
    return Response(
        {
            "profile": found.profile,
            "status": status,
            "entity_type": "user",
            "entity_id": found.user_id,
            "updated_at": iso(found.generated_at),
            "generation_count": found.generation_count,
            "num_facts": found.num_facts,
            "method": found.method or None,
            "notes": found.notes,
            "error": found.error or None,
        }
    )


class JobSerializer(serializers.Serializer[Any]):
    operation = serializers.ChoiceField(choices=["trigger", "sample"])
    entity_type = serializers.ChoiceField(choices=["user"], default="user")
    entity_id = NameField()
    limit = serializers.IntegerField(
        default=profiles.DEFAULT_SAMPLE, allow_null=True, min_value=1, max_value=profiles.MAX_SAMPLE
    )


@extend_schema(request=JobSerializer, parameters=[KEY_HEADER], responses=OpenApiTypes.OBJECT, tags=["profiles"])
@api_view(["POST"])
def create_job(request: Request) -> Response:
    """Have one user's profile made (`trigger`), or those of the users with the most facts (`sample`)."""
    asked = validated(JobSerializer(data=body_of(request))).validated_data
    key = _read_key(request)
    project = handlers.project_of(request)
    if asked["operation"] == "trigger":
        if not asked.get("entity_id"):
            raise InvalidInput("entity_id is needed: whose profile to make")
        event, replayed = profiles.record_trigger(project, asked["entity_id"], idempotency_key=key)
    else:
        limit = asked["limit"] or profiles.DEFAULT_SAMPLE
        event, replayed = profiles.record_sample(project, limit, idempotency_key=key)
    if not replayed:
        tasks.enqueue(event)
        event.refresh_from_db()
    return Response(_render_created(event, replayed))


def _read_key(request: Request) -> str:
    return check_name_size(
        check_text(request.headers.get("Idempotency-Key", ""), name="Idempotency-Key"), name="Idempotency-Key"
    )


def _render_created(event: Event, replayed: bool) -> dict[str, Any]:
    names = event.options["entity_ids"]
    answer = {
        "job_id": str(event.public_id),
        "status": event.status.lower(),
        "status_url": f"{JOBS_PATH}{event.public_id}/",
        "operation": event.options["operation"],
        "entity_type": "user",
        "entity_count_reserved": len(names),
        "event_id": str(event.public_id),
        "replayed": replayed,
    }
    if event.options["operation"] == "sample":
        return answer | {"sampled": len(names), "entity_ids": names}
    return answer | {"entity_id": names[0]}


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["profiles"])
@api_view(["GET"])
def job(request: Request, job_id: str) -> Response:
    """How far a job is. `failed` and `skipped` count users; a job whose users were done has succeeded."""
    event = profiles.find_job(handlers.project_of(request), job_id)
    return Response(
        {
            "job": {
                "id": str(event.public_id),
                "job_id": str(event.public_id),
                "operation": event.options["operation"],
                "entity_type": "user",
                "status": event.status.lower(),
                "enumeration_complete": True,
                **profiles.job_counts(event),
                "error": event.error or None,
                "created_at": iso(event.created_at),
                "updated_at": iso(event.updated_at),
                "completed_at": iso(event.completed_at),
            }
        }
    )


@extend_schema(methods=["POST"], request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT, tags=["profiles"])
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=["profiles"])
@api_view(["GET", "POST"])
def settings(request: Request) -> Response:
    """Whether profiles are made, and in what shape. POST writes what it names; null clears."""
    project = handlers.project_of(request)
    if request.method == "POST":
        found = profiles.save_settings(project, _read_changes(body_of(request)))
    else:
        found = profiles.read_settings(project)
    return Response(_render_settings(found))


def _read_changes(body: dict[str, Any]) -> dict[str, Any]:
    _refuse_unknown(body, ("enabled", "entities"), "")
    changes: dict[str, Any] = {}
    if "enabled" in body:
        if not isinstance(body["enabled"], bool):
            raise InvalidInput("enabled must be true or false")
        changes["enabled"] = body["enabled"]
    entities = _object(body.get("entities"), "entities")
    _refuse_unknown(entities, ("user",), "entities.")
    user = _object(entities.get("user"), "entities.user")
    _refuse_unknown(user, ("schema", "custom_instructions"), "entities.user.")
    if "custom_instructions" in user:
        told = user["custom_instructions"]
        limit = profiles.MAX_INSTRUCTIONS_CHARS
        if told is not None and not (isinstance(told, str) and len(told) <= limit):
            raise InvalidInput(f"custom_instructions must be a string of at most {limit} characters, or null")
    changes |= user
    if not changes:
        raise InvalidInput("nothing to change: send enabled, or entities.user with schema or custom_instructions")
    return changes


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"{name} must be an object, not {type(value).__name__}")
    return value or {}


def _refuse_unknown(given: dict[str, Any], accepted: tuple[str, ...], place: str) -> None:
    unknown = [f"{place}{name}" for name in given if name not in accepted]
    if unknown:
        known = ", ".join(f"{place}{name}" for name in accepted)
        raise InvalidInput(f"Unsupported settings: {', '.join(unknown)[:200]}; accepted are {known}")


def _render_settings(found: profiles.ProfileSettings) -> dict[str, Any]:
    return {
        "enabled": found.enabled,
        "capabilities": {
            "entity_types": ["user"],
            "default_schema": profiles.DEFAULT_SCHEMA,
            "min_facts": profiles.MIN_FACTS,
            "max_sample": profiles.MAX_SAMPLE,
        },
        "entities": {"user": {"schema": found.schema, "custom_instructions": found.custom_instructions}},
    }
