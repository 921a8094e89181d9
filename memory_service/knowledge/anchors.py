"""A question -> the entities that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connection

from graph.resolution import REVIEW_AT, name_tokens, normalise_name

from .. import lexical
from ..embedding import embed_query, serving_profile, to_literal
from ..extraction.entities import find_entities
from ..models import Entity, Scope
from .recording import self_name

ALIAS_MATCH, GIVEN_NAME_MATCH = 0.95, 0.8  # of 1 for the whole name
MAX_NAME_WORDS = 5
MAX_QUERY_WORDS = 200  # of a question, that names are looked for in
MAX_LOOKED_UP = 3  # names in a question that nothing is called, and that are compared by their vectors
SELF = frozenset({"i", "me", "my", "mine", "myself", "we", "our", "us"})


def find_anchors(scope_ids: Sequence[int], query: str, *, alike: bool = True) -> dict[int, float]:
    """entity -> how surely the question names it: by name, by another name, by given name, by a name much like it.

    alike: false leaves out the last, which has a model read the names that nothing is called by.
    """
    tokens = name_tokens(normalise_text(query))[:MAX_QUERY_WORDS]
    runs = {" ".join(tokens[i : i + n]) for n in range(1, MAX_NAME_WORDS + 1) for i in range(len(tokens) - n + 1)}
    singles = {token for token in tokens if token not in lexical.STOP_WORDS and len(token) > 1}
    found = _named(scope_ids, sorted(runs - (set(tokens) - singles)), sorted(singles))
    if SELF & set(tokens):
        found |= dict.fromkeys(_selves(scope_ids), 1.0)
    if not alike:
        return found
    known = {token for name in _names_of(found) for token in name_tokens(name)}
    unknown = [m.name for m in find_entities(query) if not set(name_tokens(normalise_name(m.name))) <= known]
    for name in unknown[:MAX_LOOKED_UP]:
        for id_, similarity in _alike(scope_ids, name):
            found[id_] = max(found.get(id_, 0.0), similarity)
    return found


def normalise_text(text: str) -> str:
    return " ".join(text.casefold().replace("’", "'").replace("'s", " ").split())


def _named(scope_ids: Sequence[int], names: Sequence[str], singles: Sequence[str]) -> dict[int, float]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, max(score) FROM ("
            "SELECT id, 1.0::float8 AS score FROM memory_service_entity WHERE scope_id = ANY(%(scopes)s) "
            "AND normal_name = ANY(%(names)s) AND merged_into_id IS NULL UNION ALL "
            "SELECT a.entity_id, %(alias)s FROM memory_service_entityalias a JOIN memory_service_entity e "
            "ON e.id = a.entity_id WHERE a.scope_id = ANY(%(scopes)s) AND a.normal_name = ANY(%(names)s) "
            "AND e.merged_into_id IS NULL UNION ALL "
            "SELECT id, %(given)s FROM memory_service_entity WHERE scope_id = ANY(%(scopes)s) "
            "AND split_part(normal_name, ' ', 1) = ANY(%(singles)s) AND merged_into_id IS NULL AND type = 'person'"
            ") f GROUP BY id",
            {
                "scopes": list(scope_ids),
                "names": list(names),
                "singles": list(singles),
                "alias": ALIAS_MATCH,
                "given": GIVEN_NAME_MATCH,
            },
        )
        return dict(cursor.fetchall())


def _selves(scope_ids: Sequence[int]) -> list[int]:
    """Who asks: the user that each scope is of."""
    own = {scope.pk: normalise_name(self_name(scope) or "") for scope in Scope.objects.filter(pk__in=list(scope_ids))}
    rows = Entity.objects.filter(scope__in=list(own), normal_name__in=list(own.values()), merged_into=None)
    return [id_ for id_, scope, normal in rows.values_list("pk", "scope_id", "normal_name") if own[scope] == normal]


def _names_of(ids: Iterable[int]) -> list[str]:
    return list(Entity.objects.filter(pk__in=list(ids)).values_list("normal_name", flat=True))


def _alike(scope_ids: Sequence[int], name: str) -> list[tuple[int, float]]:
    """Entities whose names are much like it in the embedding, which the background has filled."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT v.entity_id, 1 - (v.vector <=> %s::vector) AS similarity FROM memory_service_entityembedding v "
            "JOIN memory_service_entity e ON e.id = v.entity_id WHERE v.scope_id = ANY(%s) AND v.profile_id = %s "
            "AND e.merged_into_id IS NULL ORDER BY similarity DESC LIMIT 5",
            [to_literal(embed_query(name)), list(scope_ids), serving_profile().pk],
        )
        return [(id_, float(similarity)) for id_, similarity in cursor.fetchall() if similarity >= REVIEW_AT]
