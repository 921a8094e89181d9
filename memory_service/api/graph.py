"""+ The knowledge graph: entities, relations, paths, communities, rankings, merges."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import knowledge, retrieval
from memory_service.errors import InvalidInput, NotFound
from memory_service.filters import ENTITY_FIELDS, Filter, parse
from memory_service.knowledge import anchors, merging
from memory_service.knowledge import search as stage
from memory_service.models import Entity, EntityMerge
from memory_service.models.conversation import MAX_NAME_CHARS

from . import handlers, rendering
from .events import PageSerializer
from .graph_rendering import (
    render_communities,
    render_entity,
    render_merge,
    render_neighbourhood,
    render_paths,
    render_ranking,
    render_relation,
)
from .memories import QUERY, body_of
from .paging import paginate
from .serializers import EntityIdsSerializer, MomentField, NumberField, validated

TAGS = ["graph +"]
MAX_LIMIT = 1000
MAX_DEPTH = 4
MAX_PATHS, MAX_PATH_LENGTH = 20, 6
MAX_SEEDS = 100
MAX_SHOWN_MEMBERS = 50
MAX_SHOWN_MEMORIES = 20
MAX_COMPARED_SCOPES = 100

AS_OF = OpenApiParameter("as_of", str, description="what held in the world then; left out: what has not ended")
PAGING = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]
LIMIT = OpenApiParameter("limit", int)


class FilterSerializer(EntityIdsSerializer):
    """Whose graph: entity ids, `filters` in the grammar of search, or both."""

    filters = serializers.JSONField(required=False, allow_null=True)

    def to_filter(self) -> Filter:
        data = self.validated_data
        parts = [{name: data[name]} for name in ENTITY_FIELDS if data.get(name)]
        if data.get("filters"):
            parts.append(data["filters"])
        return parse({"AND": parts} if parts else None)


class GraphSearchSerializer(FilterSerializer):
    query = serializers.CharField(max_length=20_000)
    limit = serializers.IntegerField(default=20, min_value=1, max_value=MAX_LIMIT)
    as_of = MomentField(required=False, allow_null=True)


class EntityListSerializer(FilterSerializer, PageSerializer):
    filters = None  # type: ignore[assignment]  # not in a query
    name = serializers.CharField(required=False, max_length=MAX_NAME_CHARS, help_text="a part of a name")
    type = serializers.CharField(required=False, max_length=20)


class EntitySerializer(serializers.Serializer[Any]):
    depth = serializers.IntegerField(default=1, min_value=0, max_value=MAX_DEPTH)
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MAX_LIMIT)
    as_of = MomentField(required=False, allow_null=True)
    types = serializers.CharField(required=False, max_length=2_000, help_text="of relations, separated by commas")


class PathsSerializer(serializers.Serializer[Any]):
    source = serializers.UUIDField()  # type: ignore[assignment]  # a Field's own `source` is not used here
    target = serializers.UUIDField()
    k = serializers.IntegerField(default=3, min_value=1, max_value=MAX_PATHS)
    max_length = serializers.IntegerField(default=4, min_value=1, max_value=MAX_PATH_LENGTH)
    as_of = MomentField(required=False, allow_null=True)


class CommunitiesSerializer(EntityIdsSerializer):
    limit = serializers.IntegerField(default=20, min_value=1, max_value=MAX_LIMIT)
    min_size = serializers.IntegerField(default=2, min_value=2, max_value=MAX_LIMIT)
    resolution = NumberField(default=1.0, min_value=0.01, max_value=100)
    as_of = MomentField(required=False, allow_null=True)

    to_filter = FilterSerializer.to_filter


class SeedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    weight = NumberField(default=1.0, min_value=1e-6, max_value=1e6)


class RankSerializer(FilterSerializer):
    seeds = serializers.JSONField(help_text="a list of entity ids, or of {id, weight}")
    limit = serializers.IntegerField(default=20, min_value=1, max_value=MAX_LIMIT)
    as_of = MomentField(required=False, allow_null=True)

    def validate_seeds(self, value: Any) -> dict[Any, float]:
        if not isinstance(value, list) or not 0 < len(value) <= MAX_SEEDS:
            raise serializers.ValidationError(f"must be a list of 1 to {MAX_SEEDS} entity ids, or of {{id, weight}}")
        parser = SeedSerializer(data=[one if isinstance(one, dict) else {"id": one} for one in value], many=True)
        if not parser.is_valid():
            raise serializers.ValidationError(parser.errors)
        return {one["id"]: one["weight"] for one in parser.validated_data}


class MergeSerializer(serializers.Serializer[Any]):
    into = serializers.UUIDField(help_text="the entity that is kept")
    reason = serializers.CharField(required=False, allow_blank=True, max_length=1_000)


class MergeListSerializer(FilterSerializer, PageSerializer):
    filters = None  # type: ignore[assignment]


class DuplicatesSerializer(EntityIdsSerializer):
    limit = serializers.IntegerField(default=50, min_value=1, max_value=MAX_LIMIT)

    to_filter = FilterSerializer.to_filter


@extend_schema(request=GraphSearchSerializer, responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["POST"])
def search(request: Request) -> Response:
    """The relations that answer a question, best first, and the entities that the question names."""
    parser = validated(GraphSearchSerializer(data=body_of(request)))
    data, project, node = parser.validated_data, handlers.project_of(request), parser.to_filter()
    found = stage.relations_for(project, data["query"], node, data["limit"], as_of=data.get("as_of"))
    named = anchors.find_anchors(retrieval.find_scopes(project, node), data["query"])
    entities = Entity.objects.select_related("scope").in_bulk(list(named))
    best = sorted(entities, key=lambda i: (-named[i], -entities[i].num_mentions, i))[: data["limit"]]
    return Response(
        {
            "relations": [render_relation(hit) for hit in found],
            "entities": [{**render_entity(entities[i]), "score": round(named[i], 4)} for i in best],
        }
    )


@extend_schema(
    parameters=[*PAGING, *QUERY, OpenApiParameter("name", str), OpenApiParameter("type", str)],
    responses=OpenApiTypes.OBJECT,
    tags=TAGS,
)
@api_view(["GET"])
def entities(request: Request) -> Response:
    """The entities of the graph, the most mentioned first."""
    parser = validated(EntityListSerializer(data=request.query_params))
    query = parser.validated_data
    rows = stage.list_entities(
        handlers.project_of(request), parser.to_filter(), name=query.get("name"), type_=query.get("type")
    )
    page, envelope = paginate(request, rows, page=query["page"], page_size=query["page_size"])
    return Response({**envelope, "results": [render_entity(one) for one in page]})


@extend_schema(
    parameters=[OpenApiParameter("depth", int), LIMIT, AS_OF, OpenApiParameter("types", str)],
    responses=OpenApiTypes.OBJECT,
    tags=TAGS,
)
@api_view(["GET"])
def entity(request: Request, entity_id: str) -> Response:
    """One entity: its other names, what lies around it, and the memories that name it."""
    query = validated(EntitySerializer(data=request.query_params)).validated_data
    found = stage.find_entity(handlers.project_of(request), entity_id)
    kept = found.merged_into or found
    graph = knowledge.graph_of([kept.scope_id])
    types = [name.strip() for name in query.get("types", "").split(",") if name.strip()]
    around = (
        graph.neighbourhood(
            kept.pk, depth=query["depth"], types=types or None, as_of=query.get("as_of"), max_edges=query["limit"]
        )
        if kept.pk in graph
        else None
    )
    memories = stage.memories_of(kept, MAX_SHOWN_MEMORIES)
    return Response(
        {
            **render_entity(found),
            "merged_into": str(kept.public_id) if kept is not found else None,
            "aliases": [{"name": a.name, "source": a.source} for a in kept.aliases.order_by("id")],
            "neighbourhood": render_neighbourhood(around) if around else None,
            "memories": rendering.render_memories(memories),
        }
    )


@extend_schema(
    parameters=[
        OpenApiParameter("source", OpenApiTypes.UUID, required=True),
        OpenApiParameter("target", OpenApiTypes.UUID, required=True),
        OpenApiParameter("k", int),
        OpenApiParameter("max_length", int),
        AS_OF,
    ],
    responses=OpenApiTypes.OBJECT,
    tags=TAGS,
)
@api_view(["GET"])
def paths(request: Request) -> Response:
    """How two entities hang together: the shortest ways between them."""
    query = validated(PathsSerializer(data=request.query_params)).validated_data
    project = handlers.project_of(request)
    source, target = (_kept(stage.find_entity(project, query[end])) for end in ("source", "target"))
    if source.scope_id != target.scope_id:
        return Response({"paths": []})  # the graphs of two users, agents or apps do not touch
    graph = knowledge.graph_of([source.scope_id])
    _check_in(graph, source, target)
    found = graph.paths(source.pk, target.pk, k=query["k"], max_length=query["max_length"], as_of=query.get("as_of"))
    return Response({"paths": render_paths(found)})


def _kept(entity: Entity) -> Entity:
    return entity.merged_into or entity


def _check_in(graph: Any, *entities: Entity) -> None:
    """They were there a moment ago; whoever deleted them meanwhile was right to."""
    for entity in entities:
        if entity.pk not in graph:
            raise NotFound(f"entity {entity.public_id} was not found in this graph")


@extend_schema(
    parameters=[*QUERY, LIMIT, OpenApiParameter("min_size", int), OpenApiParameter("resolution", float), AS_OF],
    responses=OpenApiTypes.OBJECT,
    tags=TAGS,
)
@api_view(["GET"])
def communities(request: Request) -> Response:
    """Groups of entities that belong together, the largest first."""
    parser = validated(CommunitiesSerializer(data=request.query_params))
    query = parser.validated_data
    graph = stage.graph_for(handlers.project_of(request), parser.to_filter(), as_of=query.get("as_of"))
    found = graph.communities(resolution=query["resolution"], min_size=query["min_size"], as_of=query.get("as_of"))
    shown = found[: query["limit"]]
    return Response({"count": len(found), "communities": render_communities(shown, MAX_SHOWN_MEMBERS)})


@extend_schema(request=RankSerializer, responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["POST"])
def rank(request: Request) -> Response:
    """The entities that matter most seen from the seeds: personalised PageRank."""
    parser = validated(RankSerializer(data=body_of(request)))
    data, project = parser.validated_data, handlers.project_of(request)
    seeds = {_kept(stage.find_entity(project, public_id)): weight for public_id, weight in data["seeds"].items()}
    graph = stage.graph_for(project, parser.to_filter(), as_of=data.get("as_of"))
    _check_in(graph, *seeds)
    weights: dict[int, float] = {}
    for entity, weight in seeds.items():
        weights[entity.pk] = weights.get(entity.pk, 0.0) + weight
    ranked = graph.rank(weights, as_of=data.get("as_of"), limit=data["limit"])
    return Response({"results": render_ranking(ranked)})


@extend_schema(request=MergeSerializer, responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["POST"])
def merge(request: Request, entity_id: str) -> Response:
    """Say that two entities are one: `into` is kept. It can be undone."""
    data, project = validated(MergeSerializer(data=body_of(request))).validated_data, handlers.project_of(request)
    merged, kept = stage.find_entity(project, entity_id), stage.find_entity(project, data["into"])
    if merged.pk == kept.pk:
        raise InvalidInput(f"entity {entity_id} cannot be merged into itself")
    return Response(render_merge(merging.merge(kept, merged, reason=data.get("reason") or "by request")))


@extend_schema(parameters=[*PAGING, *QUERY], responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["GET"])
def merges(request: Request) -> Response:
    """What was merged, by whom it may be, the latest first; undone ones too."""
    parser = validated(MergeListSerializer(data=request.query_params))
    query, project = parser.validated_data, handlers.project_of(request)
    rows = EntityMerge.objects.filter(scope__in=retrieval.find_scopes(project, parser.to_filter()))
    page, envelope = paginate(
        request, rows.select_related("kept", "merged").order_by("-id"), page=query["page"], page_size=query["page_size"]
    )
    return Response({**envelope, "results": [render_merge(one) for one in page]})


@extend_schema(request=None, responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["POST"])
def undo_merge(request: Request, merge_id: str) -> Response:
    """Make two of one again. The pair is not merged by itself any more."""
    return Response(render_merge(merging.undo(merging.find_merge(handlers.project_of(request), merge_id))))


@extend_schema(parameters=[*QUERY, LIMIT], responses=OpenApiTypes.OBJECT, tags=TAGS)
@api_view(["GET"])
def duplicates(request: Request) -> Response:
    """Pairs of entities that may be one, for a person to look at, the likeliest first."""
    parser = validated(DuplicatesSerializer(data=request.query_params))
    project, limit = handlers.project_of(request), parser.validated_data["limit"]
    scope_ids = retrieval.find_scopes(project, parser.to_filter())
    if len(scope_ids) > MAX_COMPARED_SCOPES:
        raise InvalidInput(
            f"{len(scope_ids)} users, agents and apps are too many to compare at once: "
            f"name one by {', '.join(ENTITY_FIELDS)}"
        )
    pairs = [pair for scope_id in scope_ids for pair in merging.find_duplicates_in(scope_id)]
    shown = sorted(pairs, key=lambda pair: (-pair.similarity, pair.left))[:limit]
    named = Entity.objects.select_related("scope").in_bulk([i for pair in shown for i in (pair.left, pair.right)])
    return Response(
        {
            "count": len(pairs),
            "results": [
                {
                    "entities": [render_entity(named[i]) for i in (pair.left, pair.right)],
                    "similarity": round(pair.similarity, 4),
                    "reason": pair.reason,
                }
                for pair in shown
                if pair.left in named and pair.right in named
            ],
        }
    )
