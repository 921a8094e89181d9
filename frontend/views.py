from __future__ import annotations

import uuid

from django.contrib.auth.views import LoginView
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from memory_service.models import Session

from .access import Request, choose, find_place, harden, member_page, projects_of, wants_fragment
from .forms import SessionFilter
from .sessions import find_failures, find_sessions, read_progress, read_turns, suggest

SESSIONS_PER_PAGE = 50
MESSAGES_PER_PAGE = 100
MAX_SHOWN = 5_000  # messages in one answer; those that follow are a "load more" away

login = harden(LoginView.as_view(template_name="frontend/login.html", redirect_authenticated_user=True))


@require_GET
@member_page
def list_sessions(request: Request) -> HttpResponse:
    place = find_place(request)
    if place.current is None:
        return render(request, "frontend/no_project.html", {"place": place})
    criteria = SessionFilter(request.GET)
    valid = criteria.is_valid()
    sessions = find_sessions(place.current, **criteria.cleaned_data) if valid else Session.objects.none()
    context = {
        "place": place,
        "criteria": criteria,
        "filtered": any(criteria[field].value() for field in criteria.fields),
        "page": Paginator(sessions, SESSIONS_PER_PAGE).get_page(request.GET.get("page")),
        "query": _query_without_page(request),
    }
    if wants_fragment(request):
        return render(request, "frontend/sessions/_list.html", context)
    context["users"] = suggest(place.current, "user_id")
    context["agents"] = [*suggest(place.current, "agent_id"), *suggest(place.current, "app_id")]
    return render(request, "frontend/sessions/list.html", context)


@require_GET
@member_page
def show_session(request: Request, public_id: uuid.UUID) -> HttpResponse:
    """?shown: how many messages from the first. ?after: only those that follow, for "load more".

    ?seen: the version that the page shows. A poll that would change nothing is told so and leaves the page
    alone, so that nobody loses a selection or a focus every two seconds.
    """
    session = _find_session(request, public_id)
    progress = read_progress(session)
    fragment = wants_fragment(request)
    after = _read_count(request, "after") if fragment else 0
    if fragment and not after and request.GET.get("seen") == progress.version:
        return HttpResponse(status=204)
    shown = max(min(_read_count(request, "shown"), MAX_SHOWN), after + MESSAGES_PER_PAGE)
    # What precedes a "load more" stays as it was, and so does its version: the next poll brings it all.
    seen = request.GET.get("seen", "") if after else progress.version
    context = {
        "session": session,
        "progress": progress,
        "seen": seen,
        "polls": progress.num_unfinished > 0 or seen != progress.version,
        "turns": read_turns(session, start=after, stop=shown),
        "shown": shown,
        "next_shown": shown + MESSAGES_PER_PAGE,
        "num_left": max(session.num_messages - shown, 0),
    }
    if after:
        return render(request, "frontend/sessions/_more.html", context)
    context["failures"] = find_failures(session)
    if fragment:
        return render(request, "frontend/sessions/_session.html", context)
    choose(request, session.scope.project)
    return render(request, "frontend/sessions/session.html", context | {"place": find_place(request)})


@require_POST
@member_page
def choose_project(request: Request, public_id: uuid.UUID) -> HttpResponse:
    choose(request, get_object_or_404(projects_of(request.user), public_id=public_id))
    return redirect("sessions")


def _find_session(request: Request, public_id: uuid.UUID) -> Session:
    return get_object_or_404(
        Session.objects.select_related("scope__project").filter(scope__project__memberships__user=request.user),
        public_id=public_id,
    )


def _read_count(request: Request, name: str) -> int:
    """A count from the query; 0 for anything that is not one, or that no session could have."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _query_without_page(request: Request) -> str:
    query = request.GET.copy()
    query.pop("page", None)
    return query.urlencode()
