"""The protocol's paths, every generation's. A slash that is missing at the end is added by middleware.NormalisePath.

Names with a slash in them arrive decoded, so they match last and whole.
"""

from __future__ import annotations

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from . import (
    context,
    costs,
    entities,
    events,
    exports,
    forgetting,
    graph,
    imports,
    lifecycle,
    memories,
    open_server,
    organisations,
    profiles,
    sessions,
    status,
    summaries,
    versions,
    webhooks,
)


class NameConverter(StringConverter):
    """An entity's name: anything at all, slashes and line breaks too."""

    regex = "(?s:.+)"


register_converter(NameConverter, "name")

urlpatterns = [
    path("v1/ping/", status.ping),
    path("v3/memories/add/", memories.add),
    path("v3/memories/search/", memories.search),
    path("v3/memories/", memories.list_memories),
    path("v2/memories/search/", memories.search_older),
    path("v2/memories/", memories.list_v2),
    path("v1/memories/search/", memories.search_older),
    path("v1/memories/events/", events.events),
    path("v1/memories/", memories.memories_v1),
    path("v1/memories/diff/", versions.difference),
    path("v1/memories/<uuid:memory_id>/", memories.memory),
    path("v1/memories/<uuid:memory_id>/history/", memories.history),
    path("v1/revisions/<uuid:revision_id>/undo/", versions.undo),
    path("v1/reviews/", versions.reviews),
    path("v1/reviews/<uuid:review_id>/", versions.review),
    path("v1/batch/", memories.batch),
    path("v1/feedback/", memories.feedback),
    path("v1/event/<uuid:event_id>/", events.event),
    path("v1/events/", events.events),
    path("v1/exports/", exports.exports),
    path("v1/exports/get/", exports.get_export),
    path("v1/exports/memories/", exports.whole_export),
    path("v1/exports/<uuid:export_id>/", exports.export),
    path("v1/imports/", imports.imports),
    path("v1/imports/<uuid:import_id>/", imports.job),
    path("v1/imports/<uuid:import_id>/lines/", imports.lines),
    path("v1/imports/<uuid:import_id>/retry/", imports.retry),
    path("v1/context/", context.context),
    path("v1/sessions/", sessions.sessions),
    path("v1/sessions/<uuid:session_id>/", sessions.session),
    path("v1/sessions/<uuid:session_id>/messages/", sessions.messages),
    path("v1/forgetting/receipts/", forgetting.receipts),
    path("v1/forgetting/receipts/<uuid:receipt_id>/", forgetting.receipt),
    path("v1/sessions/<uuid:session_id>/summary/", summaries.session_summary),
    path("v1/summary/", summaries.summary),
    path("v1/usage/", costs.usage),
    path("v1/budget/", costs.budget),
    path("v1/lifecycle/", lifecycle.lifecycle),
    path("v2/profiles/jobs/", profiles.create_job),
    path("v2/profiles/jobs/<uuid:job_id>/", profiles.job),
    path("v2/profiles/settings/", profiles.settings),
    path("v1/entities/", entities.entities),
    path("v2/entities/user/<name:name>/profile/", profiles.profile),
    path("v1/graph/", graph.search),
    path("v1/graph/entities/", graph.entities),
    path("v1/graph/entities/<uuid:entity_id>/", graph.entity),
    path("v1/graph/entities/<uuid:entity_id>/merge/", graph.merge),
    path("v1/graph/merges/", graph.merges),
    path("v1/graph/merges/<uuid:merge_id>/undo/", graph.undo_merge),
    path("v1/graph/duplicates/", graph.duplicates),
    path("v1/graph/paths/", graph.paths),
    path("v1/graph/communities/", graph.communities),
    path("v1/graph/rank/", graph.rank),
    path("v1/entities/filters/", entities.entity_filters),
    path("v1/stats/", entities.stats),
    path("v1/users/", entities.make_entity, {"kind": "user"}),
    path("v1/agents/", entities.make_entity, {"kind": "agent"}),
    path("v1/apps/", entities.make_entity, {"kind": "app"}),
    path("v1/runs/", entities.make_entity, {"kind": "run"}),
    path("v1/entities/<str:kind>/<name:name>/", entities.entity),
    path("v2/entities/<str:kind>/<name:name>/", entities.entity),
    path("api/v1/orgs/organizations/", organisations.organisations),
    path("api/v1/orgs/organizations/<uuid:org_id>/", organisations.organisation),
    path("api/v1/orgs/organizations/<uuid:org_id>/members/", organisations.organisation_members),
    path("api/v1/orgs/organizations/<uuid:org_id>/deletions/<uuid:deletion_id>/", organisations.deletion),
    path("api/v1/orgs/organizations/<uuid:org_id>/projects/", organisations.projects),
    path("api/v1/orgs/organizations/<uuid:org_id>/projects/<uuid:project_id>/", organisations.project),
    path("api/v1/orgs/organizations/<uuid:org_id>/projects/<uuid:project_id>/members/", organisations.project_members),
    path("api/v1/webhooks/projects/<uuid:project_id>/", webhooks.project_webhooks),
    path("api/v1/webhooks/<uuid:webhook_id>/", webhooks.webhook),
    path("api/v1/webhooks/<uuid:webhook_id>/rotate/", webhooks.rotate),
    path("api/v1/webhooks/<uuid:webhook_id>/deliveries/", webhooks.deliveries),
    path("api/v1/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/redeliver/", webhooks.redeliver),
    path("memories", open_server.memories),
    path("memories/<uuid:memory_id>", open_server.memory),
    path("memories/<uuid:memory_id>/history", open_server.history),
    path("search", open_server.search),
    path("entities", open_server.entities),
    path("entities/<str:kind>/<name:name>", open_server.entity),
]
