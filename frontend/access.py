"""Who may see what: every page of the dashboard passes here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_cache_control, patch_vary_headers
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from memory_service.models import Project

PROJECT_KEY = "project"  # in the login session: the public id of the project that was chosen

# Nothing inline, nothing from elsewhere: text that a user supplied could not run even if it were not escaped.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class Request(HttpRequest):
    """What a view behind `member_page` is given."""

    htmx: HtmxDetails
    user: User


View = Callable[..., HttpResponseBase]


def harden(view: View) -> View:
    """Adds the headers that every page of the dashboard carries."""

    @wraps(view)
    def hardened(request: Request, *args: object, **kwargs: object) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        patch_vary_headers(response, ["HX-Request"])  # one URL, two answers: a cache must not mix them up
        patch_cache_control(response, private=True, no_cache=True)
        return response

    return hardened


def member_page(view: View) -> View:
    """For people who are logged in. What is not theirs is not found, which is also said as a page."""

    @harden
    @wraps(view)
    def guarded(request: Request, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            # Were a fragment redirected, the login form would be swapped into the page it was asked for.
            return HttpResponseClientRefresh() if request.htmx else redirect_to_login(request.get_full_path())
        try:
            return view(request, *args, **kwargs)
        except Http404:
            return render(request, "frontend/not_found.html", status=404)

    return guarded


def wants_fragment(request: Request) -> bool:
    """htmx asks for a whole page when it restores one that fell out of its history."""
    return bool(request.htmx) and not request.htmx.history_restore_request


@dataclass(frozen=True)
class Place:
    """The projects that someone is a member of, and the one they are looking at (None if there are none)."""

    projects: list[Project]
    current: Project | None


def projects_of(user: User) -> QuerySet[Project]:
    return (
        Project.objects.filter(memberships__user=user, deleted_at__isnull=True)
        .select_related("organisation")
        .order_by("organisation__name", "name", "pk")
    )


def find_place(request: Request) -> Place:
    """A choice that no longer holds (project or membership is gone) falls back to the first project."""
    projects = list(projects_of(request.user))
    chosen = request.session.get(PROJECT_KEY)
    first = projects[0] if projects else None
    return Place(projects, next((p for p in projects if str(p.public_id) == chosen), first))


def choose(request: Request, project: Project) -> None:
    if request.session.get(PROJECT_KEY) != str(project.public_id):
        request.session[PROJECT_KEY] = str(project.public_id)
