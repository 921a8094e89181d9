"""+ Sessions: what was said, as it was said."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service.errors import NotFound
from memory_service.filters import ENTITY_FIELDS
from memory_service.models import Session

from . import handlers, rendering
from .events import PageSerializer
from .memories import QUERY
from .paging import paginate
from .serializers import NameField, validated

PAGING = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]


class SessionQuerySerializer(PageSerializer):
    user_id = NameField()
    agent_id = NameField()
    app_id = NameField()
    run_id = NameField()


@extend_schema(
    parameters=[*PAGING, *QUERY],
    responses=OpenApiTypes.OBJECT,
    tags=["sessions +"],
)
@api_view(["GET"])
def sessions(request: Request) -> Response:
    """The project's sessions, the one last spoken in first."""
    query = validated(SessionQuerySerializer(data=request.query_params)).validated_data
    rows = Session.objects.filter(scope__project=handlers.project_of(request)).select_related("scope")
    for name in ENTITY_FIELDS:
        if query.get(name):
            rows = rows.filter(**{name if name == "run_id" else f"scope__{name}": query[name]})
    page, envelope = paginate(
        request, rows.order_by("-last_said_at", "-id"), page=query["page"], page_size=query["page_size"]
    )
    return Response({**envelope, "results": [rendering.render_session(one) for one in page]})


def find_session(request: Request, session_id: str) -> Session:
    rows = Session.objects.filter(scope__project=handlers.project_of(request), public_id=session_id)
    found = rows.select_related("scope").first()
    if found is None:
        raise NotFound(f"session {session_id} was not found in this project")
    return found


@extend_schema(responses=OpenApiTypes.OBJECT, tags=["sessions +"])
@api_view(["GET"])
def session(request: Request, session_id: str) -> Response:
    return Response(rendering.render_session(find_session(request, session_id)))


@extend_schema(parameters=PAGING, responses=OpenApiTypes.OBJECT, tags=["sessions +"])
@api_view(["GET"])
def messages(request: Request, session_id: str) -> Response:
    """A session's messages in order."""
    query = validated(PageSerializer(data=request.query_params)).validated_data
    rows = find_session(request, session_id).messages.select_related("event").order_by("seq")
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [rendering.render_message(one) for one in page]})
