"""Entities that are one: found by their names in the background, merged so that it can be undone."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from graph.resolution import SINGLE_VALUED, Duplicate, Name, find_duplicates

from ..embedding import embed_texts, serving_profile, to_literal
from ..errors import Conflict, NotFound
from ..models import (
    Entity,
    EntityAlias,
    EntityEmbedding,
    EntityMerge,
    MemoryEntity,
    Project,
    Relation,
    RelationSource,
)
from .recording import raise_version
from .statements import triplet_text

NAMES_A_ROUND = 256  # embedded at a time by the background task
MAX_COMPARED = 50_000  # names of one scope: above it the least mentioned are left out


# Names


def embed_names(limit: int = NAMES_A_ROUND) -> list[int]:
    """Gives vectors to entities that have none under the serving profile. Returns their scopes."""
    profile = serving_profile()
    without = Entity.objects.filter(merged_into__isnull=True).exclude(embedding__profile=profile)
    entities = list(without.order_by("id")[:limit])
    if not entities:
        return []
    vectors = embed_texts([entity.name for entity in entities])
    columns: list[Any] = [
        [e.pk for e in entities],
        [e.scope_id for e in entities],
        [to_literal(vector) for vector in vectors],
    ]
    with connection.cursor() as cursor:
        # An entity may have been forgotten while its name was embedded.
        cursor.execute(
            "INSERT INTO memory_service_entityembedding (entity_id, scope_id, profile_id, vector) "
            "SELECT t.e, t.s, %s, t.v::vector FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS t(e, s, v) "
            "JOIN memory_service_entity e ON e.id = t.e FOR KEY SHARE OF e "
            "ON CONFLICT (entity_id) DO UPDATE SET profile_id = excluded.profile_id, vector = excluded.vector",
            [profile.pk, *columns],
        )
    return sorted({entity.scope_id for entity in entities})


def find_duplicates_in(scope_id: int) -> list[Duplicate]:
    """Pairs of entities of the scope that may be one, the likeliest first; not those whose merge was undone.

    Only entities whose names have vectors are compared.
    """
    profile = serving_profile()
    named = EntityEmbedding.objects.filter(scope=scope_id, profile=profile, entity__merged_into__isnull=True)
    columns = ("entity_id", "entity__normal_name", "entity__type", "entity__discriminator", "vector")
    rows = list(named.order_by("-entity__num_mentions", "entity_id").values_list(*columns)[:MAX_COMPARED])
    if len(rows) < 2:
        return []
    facts = _facts_of(scope_id)
    names = [Name(id_, normal, kind, told, facts.get(normal, {})) for id_, normal, kind, told, _ in rows]
    vectors = np.array([np.asarray(row[4], np.float32) for row in rows])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    undone = {
        frozenset(pair)
        for pair in EntityMerge.objects.filter(scope=scope_id, undone_at__isnull=False).values_list("kept", "merged")
    }
    return [pair for pair in find_duplicates(names, vectors) if frozenset((pair.left, pair.right)) not in undone]


def _facts_of(scope_id: int) -> dict[str, dict[str, str]]:
    """normal name -> its single-valued facts that lead to another entity, as far as they are relations."""
    found: dict[str, dict[str, str]] = {}
    rows = Relation.objects.open().filter(scope=scope_id, type__in=SINGLE_VALUED).order_by("id")
    for normal, name, value in rows.values_list("source__normal_name", "type", "target__normal_name"):
        found.setdefault(normal, {})[name] = value
    return found


def merge_duplicates(scope_id: int) -> int:
    """Merges the pairs that are sure enough without a person. Returns how many."""
    merged = 0
    gone: set[int] = set()
    for pair in find_duplicates_in(scope_id):
        if not pair.merge or gone & {pair.left, pair.right}:
            continue
        known = Entity.objects.in_bulk([pair.left, pair.right])
        if len(known) < 2:
            continue
        kept, lost = sorted(known.values(), key=lambda e: (-e.num_mentions, e.pk))
        try:
            merge(kept, lost, reason=pair.reason, similarity=pair.similarity)
        except Conflict:  # somebody was here before us
            continue
        gone.add(lost.pk)
        merged += 1
    return merged


# Merging


@transaction.atomic
def merge(kept: Entity, merged: Entity, *, reason: str, similarity: float | None = None) -> EntityMerge:
    """Everything of `merged` is `kept`'s from now on. Raises Conflict where the two cannot become one.

    What both have (the same link, the same open relation) stays where it is, and `kept`'s gains the other's sources.
    """
    if kept.pk == merged.pk:
        raise Conflict(f"entity {kept.public_id} cannot be merged into itself")
    if kept.scope_id != merged.scope_id:
        raise Conflict(
            f"entities {kept.public_id} and {merged.public_id} are of different users, agents or apps: they stay apart"
        )
    version = raise_version([kept.scope_id])[kept.scope_id]
    rows = {e.pk: e for e in Entity.objects.select_for_update().filter(pk__in=[kept.pk, merged.pk]).order_by("pk")}
    for entity in (kept, merged):
        if entity.pk not in rows:
            raise NotFound(f"entity {entity.public_id} was not found in this project")
        if rows[entity.pk].merged_into_id is not None:
            raise Conflict(f"entity {entity.public_id} is merged into another already: undo that first")
    kept, merged = rows[kept.pk], rows[merged.pk]
    moved: dict[str, Any] = {"num_mentions": merged.num_mentions}
    _move_links(kept, merged, moved)
    _move_relations(kept, merged, moved, version)
    _move_names(kept, merged, moved)
    Entity.objects.filter(pk=kept.pk).update(
        num_mentions=F("num_mentions") + merged.num_mentions,
        last_mentioned_at=Greatest(F("last_mentioned_at"), merged.last_mentioned_at),
    )
    Entity.objects.filter(pk=merged.pk).update(merged_into=kept, version=version)
    return EntityMerge.objects.create(
        scope_id=kept.scope_id, kept=kept, merged=merged, reason=reason, similarity=similarity, moved=moved
    )


def _move_links(kept: Entity, merged: Entity, moved: dict[str, Any]) -> None:
    there = MemoryEntity.objects.filter(entity=kept).values("memory")
    links = MemoryEntity.objects.filter(entity=merged).exclude(memory__in=there)
    moved["links"] = list(links.values_list("memory_id", flat=True))
    links.update(entity=kept)


def _move_relations(kept: Entity, merged: Entity, moved: dict[str, Any], version: int) -> None:
    """An open relation that `kept` has too stays with `merged`, out of sight; its sources support the other."""
    at_either = Relation.objects.filter(Q(source=merged) | Q(target=merged)).order_by("id")
    open_at_kept = {
        (r.source_id, r.target_id, r.type, r.origin): r
        for r in Relation.objects.open().filter(Q(source=kept) | Q(target=kept))
    }
    moved["relations"], moved["sources"], moved["mentions"] = [], [], []
    changed: list[Relation] = []
    for relation in at_either.select_related("source", "target"):
        source = kept if relation.source_id == merged.pk else relation.source
        target = kept if relation.target_id == merged.pk else relation.target
        if source.pk == target.pk:
            continue
        if relation.origin == Relation.Origin.CO_OCCURRENCE and source.pk > target.pk:
            source, target = target, source
        key = (source.pk, target.pk, relation.type, relation.origin)
        twin = open_at_kept.get(key) if relation.expired_at is None else None
        if twin is not None:
            _share_sources(relation, twin, moved)
            continue
        moved["relations"].append(relation.pk)
        relation.source, relation.target, relation.version = source, target, version
        relation.text = triplet_text(source.name, relation.type, target.name)
        changed.append(relation)
        if relation.expired_at is None:
            open_at_kept[key] = relation
    Relation.objects.bulk_update(changed, ["source", "target", "text", "version"], batch_size=1000)


def _share_sources(relation: Relation, twin: Relation, moved: dict[str, Any]) -> None:
    there = twin.sources.values("memory")
    memory_ids = list(relation.sources.exclude(memory__in=there).values_list("memory_id", flat=True))
    RelationSource.objects.bulk_create(RelationSource(relation=twin, memory_id=i) for i in memory_ids)
    Relation.objects.filter(pk=twin.pk).update(num_mentions=F("num_mentions") + relation.num_mentions)
    moved["sources"] += [[twin.pk, i] for i in memory_ids]
    moved["mentions"].append([twin.pk, relation.num_mentions])


def _move_names(kept: Entity, merged: Entity, moved: dict[str, Any]) -> None:
    there = EntityAlias.objects.filter(entity=kept).values("normal_name")
    aliases = EntityAlias.objects.filter(entity=merged).exclude(normal_name__in=there)
    moved["aliases"] = list(aliases.values_list("pk", flat=True))
    aliases.update(entity=kept)
    moved["added_alias"] = None
    if merged.normal_name != kept.normal_name:
        alias, is_new = EntityAlias.objects.get_or_create(
            scope_id=kept.scope_id,
            entity=kept,
            normal_name=merged.normal_name,
            defaults={"name": merged.name, "source": "merge"},
        )
        moved["added_alias"] = alias.pk if is_new else None
    chained = Entity.objects.filter(merged_into=merged)
    moved["chained"] = list(chained.values_list("pk", flat=True))
    chained.update(merged_into=kept)


@transaction.atomic
def undo(found: EntityMerge) -> EntityMerge:
    """Gives back what went over, as far as it is still there; what was learnt since stays with the one that was kept.

    Raises Conflict where it is undone already, or a later merge has to be undone first.
    """
    version = raise_version([found.scope_id])[found.scope_id]
    one = EntityMerge.objects.select_for_update().select_related("kept", "merged").get(pk=found.pk)
    if one.undone_at is not None:
        raise Conflict(f"merge {one.public_id} was undone already")
    if one.kept.merged_into_id is not None:
        raise Conflict(f"entity {one.kept.public_id} was merged into another since: undo that first")
    moved = one.moved
    MemoryEntity.objects.filter(entity=one.kept, memory__in=moved["links"]).update(entity=one.merged)
    _give_back_relations(one, version)
    EntityAlias.objects.filter(pk__in=moved["aliases"]).update(entity=one.merged)
    EntityAlias.objects.filter(pk=moved["added_alias"]).delete()
    Entity.objects.filter(pk__in=moved["chained"]).update(merged_into=one.merged)
    Entity.objects.filter(pk=one.kept_id).update(num_mentions=Greatest(F("num_mentions") - moved["num_mentions"], 0))
    Entity.objects.filter(pk=one.merged_id).update(merged_into=None, version=version)
    one.undone_at = timezone.now()
    one.save(update_fields=["undone_at"])
    return one


def _give_back_relations(one: EntityMerge, version: int) -> None:
    moved, kept, merged = one.moved, one.kept, one.merged
    changed: list[Relation] = []
    for relation in Relation.objects.filter(pk__in=moved["relations"]).select_related("source", "target"):
        if kept.pk not in (relation.source_id, relation.target_id):
            continue
        source, target = (merged if end.pk == kept.pk else end for end in (relation.source, relation.target))
        if relation.origin == Relation.Origin.CO_OCCURRENCE and source.pk > target.pk:
            source, target = target, source
        relation.source, relation.target = source, target
        relation.text = triplet_text(source.name, relation.type, target.name)
        changed.append(relation)
    Relation.objects.bulk_update(changed, ["source", "target", "text"], batch_size=1000)
    for relation_id, memory_id in moved["sources"]:
        RelationSource.objects.filter(relation=relation_id, memory=memory_id).delete()
    for relation_id, number in moved["mentions"]:
        Relation.objects.filter(pk=relation_id).update(num_mentions=Greatest(F("num_mentions") - number, 1))
    Relation.objects.filter(Q(source=one.merged_id) | Q(target=one.merged_id)).update(version=version)


def find_merge(project: Project, public_id: Any) -> EntityMerge:
    found = EntityMerge.objects.filter(scope__project=project, public_id=public_id).first()
    if found is None:
        raise NotFound(f"merge {public_id} was not found in this project")
    return found
