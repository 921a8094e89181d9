"""The protocol's paths, every generation's. Names with a slash in them arrive decoded, so they match last and whole."""

from __future__ import annotations

from django.urls import URLPattern, path

from . import entities, events, memories, open_server, sessions, status


def both(route: str, view: object, **kwargs: object) -> list[URLPattern]:
    """With and without the slash at the end: clients differ, and a redirect would lose a body."""
    return [path(route, view, **kwargs), path(route.removesuffix("/"), view)]  # type: ignore[call-overload]


urlpatterns = [
    *both("v1/ping/", status.ping),
    *both("v3/memories/add/", memories.add),
    *both("v3/memories/search/", memories.search),
    *both("v3/memories/", memories.list_memories),
    *both("v2/memories/search/", memories.search_older),
    *both("v2/memories/", memories.list_v2),
    *both("v1/memories/search/", memories.search_older),
    *both("v1/memories/events/", events.events),
    *both("v1/memories/", memories.memories_v1),
    *both("v1/memories/<uuid:memory_id>/", memories.memory),
    *both("v1/memories/<uuid:memory_id>/history/", memories.history),
    *both("v1/batch/", memories.batch),
    *both("v1/feedback/", memories.feedback),
    *both("v1/event/<uuid:event_id>/", events.event),
    *both("v1/events/", events.events),
    *both("v1/sessions/", sessions.sessions),
    *both("v1/sessions/<uuid:session_id>/", sessions.session),
    *both("v1/sessions/<uuid:session_id>/messages/", sessions.messages),
    *both("v1/entities/", entities.entities),
    path("v1/entities/<str:kind>/<path:name>/", entities.entity),
    path("v2/entities/<str:kind>/<path:name>/", entities.entity),
    path("memories", open_server.memories),
    path("memories/<uuid:memory_id>", open_server.memory),
    path("memories/<uuid:memory_id>/history", open_server.history),
    path("search", open_server.search),
    path("entities", open_server.entities),
    path("entities/<str:kind>/<path:name>", open_server.entity),
]
