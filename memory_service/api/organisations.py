"""Organisations, projects and their members. `organization` in the protocol's spelling."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import organisations as stage
from memory_service import platform_tasks
from memory_service.errors import InvalidInput
from memory_service.models import ApiKey, Organisation, Project, ProjectDeletion

from .memories import body_of
from .rendering import iso

TAG = ["organizations"]
KEY_SHOWN_ONCE = "api_key is shown this once: keep it."


class NameSerializer(serializers.Serializer[Any]):
    """For the API's description; the stage checks."""

    name = serializers.CharField(max_length=stage.MAX_NAME_CHARS)


class ProjectSerializer(serializers.Serializer[Any]):
    """For the API's description; the stage checks. What is not listed is refused."""

    name = serializers.CharField(max_length=stage.MAX_NAME_CHARS)
    description = serializers.CharField(required=False)
    custom_instructions = serializers.CharField(required=False)
    custom_categories = serializers.ListField(child=serializers.DictField(), required=False)
    extraction_policy = serializers.ChoiceField(choices=["auto", "local", "two_phase", "add_only"], required=False)
    agent_custom_instructions = serializers.CharField(required=False)
    multilingual = serializers.BooleanField(required=False)
    decay = serializers.BooleanField(required=False)
    enable_graph = serializers.BooleanField(required=False)
    memory_depth = serializers.CharField(required=False)
    usecase_setting = serializers.JSONField(required=False)
    version = serializers.CharField(required=False)
    retrieval_criteria = serializers.JSONField(required=False)
    inclusion_prompt = serializers.CharField(required=False)
    exclusion_prompt = serializers.CharField(required=False)


class MemberSerializer(serializers.Serializer[Any]):
    email = serializers.CharField(max_length=stage.MAX_EMAIL_CHARS)
    role = serializers.ChoiceField(choices=list(stage.ROLES), required=False)


def key_of(request: Request) -> ApiKey:
    assert isinstance(request.auth, ApiKey)  # the permission class let nobody else in
    return request.auth


# Organisations


@extend_schema(methods=["POST"], request=NameSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST"])
def organisations(request: Request) -> Response:
    """The key's organisation. POST makes another, with a first project and an owner's key to it."""
    key = key_of(request)
    if request.method == "GET":
        return Response([render_organisation(key.project.organisation)])
    organisation, project, opened_by = stage.create_organisation(key, body_of(request).get("name"))
    created = {"project": render_project(project), "api_key": opened_by, "message": KEY_SHOWN_ONCE}
    return Response({**render_organisation(organisation), **created}, status=201)


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "DELETE"])
def organisation(request: Request, org_id: str) -> Response:
    """DELETE removes all its projects and then itself; every key of it ends at once."""
    key = key_of(request)
    found = stage.find_organisation(key, org_id)
    if request.method == "GET":
        return Response({**render_organisation(found), "projects": [render_project(p) for p in stage.projects_of(key)]})
    deletions = stage.delete_organisation(key, found)
    for deletion in deletions:
        platform_tasks.enqueue_project_deletion(deletion)
    message = f"Organization {found.name!r} is being deleted; all its keys, this one too, open nothing any more."
    return Response({"message": message, "deletions": [render_deletion(one) for one in deletions]})


@extend_schema(methods=["POST", "PUT"], request=MemberSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["DELETE"], parameters=[OpenApiParameter("email", str)], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST", "PUT", "DELETE"])
def organisation_members(request: Request, org_id: str) -> Response:
    """Its people. An owner of the organisation is an owner of every project in it."""
    key = key_of(request)
    found = stage.find_organisation(key, org_id)
    if request.method == "GET":
        return _members(found.memberships)
    stage.check_owner(key, "change the organization's members")
    if request.method == "DELETE":
        email = _email(request)
        stage.remove_organisation_member(found, email)
        return Response({"message": f"{email} was removed from the organization and its projects."})
    if request.method == "POST":
        email, role = _person(request, default="READER")
        member = stage.add_organisation_member(found, email, role)
        return Response({"message": "Member added to the organization.", **render_member(member)}, status=201)
    email, role = _person(request, default=None)
    member = stage.change_organisation_member(found, email, role)
    return Response({"message": "The member's role was changed.", **render_member(member)})


# Projects


@extend_schema(methods=["POST"], request=ProjectSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST"])
def projects(request: Request, org_id: str) -> Response:
    """Those that the key may see. POST makes one, and a key to it."""
    key = key_of(request)
    found = stage.find_organisation(key, org_id)
    if request.method == "GET":
        return Response([render_project(one) for one in stage.projects_of(key)])
    project, opened_by = stage.create_project(key, found, body_of(request))
    return Response({**render_project(project), "api_key": opened_by, "message": KEY_SHOWN_ONCE}, status=201)


@extend_schema(methods=["PATCH"], request=ProjectSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], parameters=[OpenApiParameter("fields", str, many=True)], responses=OpenApiTypes.OBJECT)
@extend_schema(methods=["DELETE"], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "PATCH", "DELETE"])
def project(request: Request, org_id: str, project_id: str) -> Response:
    """A project and its settings. DELETE closes it at once and removes it in the background."""
    key = key_of(request)
    found = stage.find_project(key, project_id, organisation=stage.find_organisation(key, org_id))
    if request.method == "GET":
        return Response(pick_fields(request, render_project(found)))
    if request.method == "PATCH":
        changed = stage.change_settings(found, body_of(request))
        return Response({"message": "Project updated successfully.", **render_project(changed)})
    deletion = stage.delete_project(key, found)
    platform_tasks.enqueue_project_deletion(deletion)
    own = found.pk == key.project_id
    message = f"Project {found.name!r} is being deleted; its keys open nothing any more" + (
        ", and this key was one of them: the receipt is read with another owner's key of the organization."
        if own
        else "."
    )
    return Response({"message": message, "this_key_ended": own, "deletion": render_deletion(deletion)})


@extend_schema(methods=["POST", "PUT"], request=MemberSerializer, responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=TAG)
@extend_schema(methods=["DELETE"], parameters=[OpenApiParameter("email", str)], responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET", "POST", "PUT", "DELETE"])
def project_members(request: Request, org_id: str, project_id: str) -> Response:
    """Who may see the project in the dashboard."""
    key = key_of(request)
    found = stage.find_project(key, project_id, organisation=stage.find_organisation(key, org_id))
    if request.method == "GET":
        return _members(found.memberships)
    stage.check_owner(key, "change the project's members")
    if request.method == "DELETE":
        email = _email(request)
        stage.remove_project_member(found, email)
        return Response({"message": f"{email} was removed from the project."})
    if request.method == "POST":
        email, role = _person(request, default="READER")
        member = stage.add_project_member(found, email, role)
        return Response({"message": "Member added to the project.", **render_member(member)}, status=201)
    email, role = _person(request, default=None)
    member = stage.change_project_member(found, email, role)
    return Response({"message": "The member's role was changed.", **render_member(member)})


@extend_schema(responses=OpenApiTypes.OBJECT, tags=TAG)
@api_view(["GET"])
def deletion(request: Request, org_id: str, deletion_id: str) -> Response:
    """+ The receipt of a project's deletion: what was removed, and how far it is."""
    found = stage.find_organisation(key_of(request), org_id)
    stage.check_owner(key_of(request), "read the receipt of a deletion")
    return Response(render_deletion(stage.find_deletion(found, deletion_id)))  # type: ignore[arg-type]


def _members(rows: Any) -> Response:
    return Response({"members": [render_member(one) for one in rows.select_related("user").order_by("id")]})


def _email(request: Request) -> str:
    body = body_of(request)
    return stage.read_email(request.query_params.get("email") or body.get("email"))


def _person(request: Request, *, default: str | None) -> tuple[str, Any]:
    body = body_of(request)
    return stage.read_email(body.get("email")), stage.read_role(body.get("role"), default=default)


def pick_fields(request: Request, rendered: dict[str, Any]) -> dict[str, Any]:
    """?fields=a&fields=b, or a,b. Raises InvalidInput for one that is unknown."""
    asked = [part for value in request.query_params.getlist("fields") for part in value.split(",") if part]
    unknown = [name for name in asked if name not in rendered]
    if unknown:
        raise InvalidInput(f"fields: unknown {', '.join(unknown)[:200]}; accepted are {', '.join(rendered)}")
    return {name: rendered[name] for name in asked} if asked else rendered


def render_organisation(found: Organisation) -> dict[str, Any]:
    return {
        "id": str(found.public_id),
        "org_id": str(found.public_id),
        "name": found.name,
        "created_at": iso(found.created_at),
    }


def render_project(found: Project) -> dict[str, Any]:
    """Settings that were never given are null."""
    return {
        "id": str(found.public_id),
        "project_id": str(found.public_id),
        "org_id": str(found.organisation.public_id),
        "name": found.name,
        "description": found.description or None,
        "custom_instructions": found.custom_instructions or None,
        "custom_categories": found.custom_categories or None,
        "extraction_policy": found.extraction_policy,
        **{name: found.settings.get(name) for name in stage.KEPT},
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
    }


def render_member(member: Any) -> dict[str, Any]:
    """member: of a project or of an organisation, with its user."""
    return {
        "username": member.user.get_username(),
        "email": member.user.email or None,
        "role": stage.ROLE_NAMES[member.role],
    }


def render_deletion(found: ProjectDeletion) -> dict[str, Any]:
    return {
        "id": str(found.public_id),
        "project_id": str(found.project_public_id),
        "project_name": found.project_name,
        "status": found.status,
        "deleted": found.deleted,
        "error": found.error or None,
        "created_at": iso(found.created_at),
        "completed_at": iso(found.completed_at),
    }
