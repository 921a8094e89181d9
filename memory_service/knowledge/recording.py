"""Writes what new memories say of entities and relations, in the transaction that writes the memories.

A constant number of statements an event, whatever it holds; those that only some events need are sent only then.
Nothing is destroyed: a relation that ends is closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection
from django.utils import timezone

from graph.resolution import SINGLE_VALUED, UNKNOWN_TYPES, Known, Mention, name_tokens, normalise_name, resolve

from ..extraction.types import Candidate
from ..models import Event, Memory, Scope
from ..models.conversation import MAX_NAME_CHARS
from .statements import Reading, Triplet, read_candidate, triplet_text

MAX_RECENT = 200  # memories of a session that are looked at for who was spoken of last

Pair = tuple[Memory, Candidate]


@dataclass(frozen=True, slots=True)
class Stated:
    """A triplet and the memories that say it. valid_at: the earliest of theirs."""

    triplet: Triplet
    memory_ids: tuple[int, ...]
    valid_at: datetime | None


def record(scope: Scope, event: Event | None, added: Sequence[Pair], closed: Sequence[Memory]) -> None:
    """Entities, links and relations of memories just written; the end of relations that rested on `closed` alone.

    added: saved, with the candidates that they were made of. closed: saved with their end. Runs in the caller's
    transaction.
    """
    readings = [(memory, read_candidate(candidate, self_name=self_name(scope))) for memory, candidate in added]
    readings = [(memory, reading) for memory, reading in readings if reading.mentions]
    if readings:
        writer = GraphWriter(scope)
        writer.write(readings)
    if closed:
        close_unsupported([memory.pk for memory in closed])


def self_name(scope: Scope) -> str | None:
    """What the graph calls the user who has given no name: the name that the caller knows them by."""
    return scope.user_id or scope.agent_id or scope.app_id


def raise_version(scope_ids: Iterable[int]) -> dict[int, int]:
    """The version that each scope's graph has from now on. Holds the rows, so writers of one graph wait in turn."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_service_graphstate AS g (scope_id, version, rebuilt_at) "
            "SELECT s, 1, 0 FROM unnest(%s::bigint[]) AS s ORDER BY s "
            "ON CONFLICT (scope_id) DO UPDATE SET version = g.version + 1 RETURNING scope_id, version",
            [sorted(set(scope_ids))],
        )
        return dict(cursor.fetchall())


@dataclass(slots=True)
class _Entity:
    """An entity of the scope as this event leaves it. id: below zero until it is written."""

    id: int
    name: str
    normal: str
    type: str
    discriminator: str
    aliases: set[str]
    facts: Mapping[str, str] = field(default_factory=dict)
    last_in_session: float | None = None
    num_new: int = 0
    last_at: datetime | None = None
    is_ambiguous: bool = False
    changed: bool = False

    def as_known(self) -> Known:
        return Known(
            self.id,
            self.normal,
            self.type,
            self.discriminator,
            frozenset(self.aliases),
            self.facts,
            self.last_in_session,
        )


def _in_doubt(mention: Mention, one: _Entity) -> bool:
    return one.normal != mention.normal or bool(mention.discriminator and not one.discriminator)


class GraphWriter:
    """One event's writes to a scope's graph. Makes the caller's transaction hold the scope's GraphState."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.now = timezone.now()
        self.version = raise_version([scope.pk])[scope.pk]
        self.count = True
        self.entities: dict[int, _Entity] = {}
        self.names: dict[int, str] = {}  # of rows, once they are saved
        self._by_name: dict[str, set[int]] = defaultdict(set)
        self._aliases: dict[tuple[str, int], tuple[str, str]] = {}
        self._told_recent: set[tuple[int, int]] = set()  # (session, entity) that were asked for

    def write(self, readings: Sequence[tuple[Memory, Reading]], *, count: bool = True) -> None:
        """count: false where the memories' mentions are counted already."""
        self.count = count
        self.load([mention for _, reading in readings for mention in reading.mentions])
        self._load_facts(readings)
        meant = [self.resolve(memory, reading) for memory, reading in readings]
        ids = self.save_entities()
        resolved = [{normal: ids[i] for normal, i in found.items()} for found in meant]
        memories = (memory for memory, _ in readings)
        self._link((memory.pk, i) for memory, found in zip(memories, resolved, strict=True) for i in found.values())
        self._save_aliases(ids)
        self.save_relations(self._stated(readings, resolved))

    # Entities

    def load(self, mentions: Iterable[Mention]) -> None:
        """Every entity that the mentions could mean."""
        names, given = set[str](), set[str]()
        for mention in mentions:
            tokens = name_tokens(mention.normal)
            names.add(mention.normal)
            names.update(tokens[:1])
            given.update(tokens if len(tokens) == 1 else ())
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH found AS (SELECT id FROM memory_service_entity "
                "WHERE scope_id = %(scope)s AND normal_name = ANY(%(names)s) UNION "
                "SELECT id FROM memory_service_entity WHERE scope_id = %(scope)s "
                "AND split_part(normal_name, ' ', 1) = ANY(%(given)s) UNION "
                "SELECT entity_id FROM memory_service_entityalias WHERE scope_id = %(scope)s "
                "AND normal_name = ANY(%(names)s)) "
                "SELECT e.id, e.name, e.normal_name, e.type, e.discriminator, "
                "(SELECT array_agg(a.normal_name) FROM memory_service_entityalias a WHERE a.entity_id = e.id) "
                "FROM memory_service_entity e JOIN found USING (id) WHERE e.merged_into_id IS NULL",
                {"scope": self.scope.pk, "names": sorted(names), "given": sorted(given)},
            )
            for id_, name, normal, kind, discriminator, aliases in cursor.fetchall():
                self._know(_Entity(id_, name, normal, kind, discriminator, set(aliases or ())))

    def _load_facts(self, readings: Sequence[tuple[Memory, Reading]]) -> None:
        """What single-valued facts are stored of whom the new ones could be said of."""
        if not any(mention.facts for _, reading in readings for mention in reading.mentions):
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT subject, attribute, value FROM memory_service_memory WHERE scope_id = %s AND state = 'live' "
                "AND kind <> 'episodic' AND replace(lower(attribute), ' ', '_') = ANY(%s) ORDER BY id",
                [self.scope.pk, [*SINGLE_VALUED, "was_born_in", "was_born_on"]],
            )
            facts: dict[str, dict[str, str]] = defaultdict(dict)
            for subject, attribute, value in cursor.fetchall():
                name = attribute.lower().replace(" ", "_").removeprefix("was_")
                facts[normalise_name(subject or "")][name] = " ".join((value or "").casefold().split())
        for entity in self.entities.values():
            entity.facts = facts.get(entity.normal, {})

    def _know(self, entity: _Entity) -> None:
        self.entities[entity.id] = entity
        tokens = name_tokens(entity.normal)
        for name in {entity.normal, *entity.aliases, *tokens[:1]}:
            self._by_name[name].add(entity.id)

    def _possible(self, mention: Mention) -> list[_Entity]:
        tokens = name_tokens(mention.normal)
        ids = self._by_name[mention.normal] | (self._by_name[tokens[0]] if tokens else set())
        return [self.entities[i] for i in sorted(ids)]

    def resolve(self, memory: Memory, reading: Reading) -> dict[str, int]:
        """normal name -> entity, for each mention of one memory. New ones have ids below zero."""
        found: dict[str, int] = {}
        speaker = normalise_name(memory.speaker or "")
        for mention in reading.mentions:
            possible = self._possible(mention)
            if len(possible) > 1 or any(_in_doubt(mention, one) for one in possible):
                self._tell_recent(memory, possible)
            # Who corrects their own birthday is no other person.
            asked = Mention(mention.name, mention.type) if mention.normal == speaker else mention
            meant = resolve(asked, [one.as_known() for one in possible])
            entity = self.entities[meant.id] if meant.id is not None else self._make(mention, meant.discriminator)
            if meant.kind == "adopted":
                self._adopt(entity, mention)
            elif meant.kind == "ambiguous":
                entity.is_ambiguous = True
            self._mentioned(entity, mention, memory)
            found[mention.normal] = entity.id
        for name, whose, source in reading.aliases:
            owner = found.get(whose.normal)
            if owner is not None:
                self._alias(owner, name, source)
        return found

    def _tell_recent(self, memory: Memory, possible: Sequence[_Entity]) -> None:
        """When each was last spoken of in the memory's session, before this event."""
        session = memory.session_id or 0
        asked = [one.id for one in possible if one.id > 0 and (session, one.id) not in self._told_recent]
        self._told_recent.update((session, i) for i in asked)
        if not asked or not session:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT l.entity_id, max(l.memory_id) FROM memory_service_memoryentity l JOIN "
                "(SELECT id FROM memory_service_memory WHERE session_id = %s ORDER BY id DESC LIMIT %s) m "
                "ON m.id = l.memory_id WHERE l.entity_id = ANY(%s) GROUP BY l.entity_id",
                [session, MAX_RECENT, asked],
            )
            for id_, last in cursor.fetchall():
                one = self.entities[id_]
                one.last_in_session = max(one.last_in_session or 0.0, float(last))

    def _make(self, mention: Mention, discriminator: str) -> _Entity:
        number = -1 - sum(1 for one in self.entities if one < 0)
        made = _Entity(
            number, mention.name[:MAX_NAME_CHARS], mention.normal, mention.type, discriminator[:MAX_NAME_CHARS], set()
        )
        self._know(made)
        return made

    def _adopt(self, entity: _Entity, mention: Mention) -> None:
        """It turns out to have a family name, or to be somebody's sister."""
        if mention.normal != entity.normal and not self._taken(mention.normal, entity.discriminator):
            bare = entity.name
            entity.name, entity.normal = mention.name[:MAX_NAME_CHARS], mention.normal
            self._alias(entity.id, bare, "fuller_name")
        if mention.discriminator and not self._taken(entity.normal, mention.discriminator):
            entity.discriminator = mention.discriminator[:MAX_NAME_CHARS]
        entity.changed = True
        self._know(entity)

    def _taken(self, normal: str, discriminator: str) -> bool:
        same = (self.entities[i] for i in self._by_name[normal])
        return any(one.normal == normal and one.discriminator == discriminator for one in same)

    def _mentioned(self, entity: _Entity, mention: Mention, memory: Memory) -> None:
        entity.num_new += self.count
        entity.last_at = max(filter(None, [entity.last_at, memory.said_at]))
        entity.last_in_session = float(memory.pk)
        if entity.type in UNKNOWN_TYPES and mention.type not in UNKNOWN_TYPES:
            entity.type, entity.changed = mention.type, True

    def _alias(self, owner: int, name: str, source: str) -> None:
        normal = normalise_name(name)
        entity = self.entities[owner]
        if normal and normal != entity.normal and normal not in entity.aliases:
            entity.aliases.add(normal)
            self._by_name[normal].add(owner)
            self._aliases[normal, owner] = (name[:MAX_NAME_CHARS], source)

    def save_entities(self) -> dict[int, int]:
        """Inserts the new, updates those that were mentioned. our id -> the row's, of all."""
        ids = {i: i for i in self.entities if i > 0}
        made = [one for one in self.entities.values() if one.id < 0]
        if made:
            ids |= self._insert(made)
        touched = [one for one in self.entities.values() if one.id > 0 and (one.num_new or one.changed)]
        if touched:
            self._update(touched)
        self.names = {ids[i]: one.name for i, one in self.entities.items()}
        return ids

    def _insert(self, made: Sequence[_Entity]) -> dict[int, int]:
        rows = [
            (one.name, one.normal, one.discriminator, one.type, one.is_ambiguous, one.num_new, one.last_at)
            for one in made
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO memory_service_entity AS e (public_id, scope_id, created_at, version, name, normal_name, "
                "discriminator, type, is_ambiguous, num_mentions, last_mentioned_at) "
                "SELECT gen_random_uuid(), %s, %s, %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], "
                "%s::boolean[], %s::int[], %s::timestamptz[]) "
                "ON CONFLICT (scope_id, normal_name, discriminator) DO UPDATE "
                "SET num_mentions = e.num_mentions + excluded.num_mentions, "
                "last_mentioned_at = excluded.last_mentioned_at "
                "RETURNING coalesce(e.merged_into_id, e.id), e.normal_name, e.discriminator",
                [self.scope.pk, self.now, self.version, *columns],
            )
            rows_of = {(normal, discriminator): id_ for id_, normal, discriminator in cursor.fetchall()}
        return {one.id: rows_of[one.normal, one.discriminator] for one in made}

    def _update(self, touched: Sequence[_Entity]) -> None:
        rows = [
            (e.id, e.name, e.normal, e.discriminator, e.type, e.is_ambiguous, e.changed, e.num_new, e.last_at)
            for e in touched
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE memory_service_entity e SET name = t.name, normal_name = t.normal, "
                "discriminator = t.discriminator, type = t.type, is_ambiguous = e.is_ambiguous OR t.ambiguous, "
                "num_mentions = e.num_mentions + t.number, "
                "last_mentioned_at = greatest(e.last_mentioned_at, t.last), "
                "version = CASE WHEN t.changed THEN %s ELSE e.version END "
                "FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[], "
                "%s::boolean[], %s::int[], %s::timestamptz[]) "
                "AS t(id, name, normal, discriminator, type, ambiguous, changed, number, last) WHERE e.id = t.id",
                [self.version, *columns],
            )

    def _link(self, pairs: Iterable[tuple[int, int]]) -> None:
        memory_ids, entity_ids = zip(*sorted(set(pairs)), strict=True)
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO memory_service_memoryentity (memory_id, entity_id) "
                "SELECT * FROM unnest(%s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING",
                [list(memory_ids), list(entity_ids)],
            )

    def _save_aliases(self, ids: Mapping[int, int]) -> None:
        if not self._aliases:
            return
        rows = [(name, normal, ids[owner], source) for (normal, owner), (name, source) in self._aliases.items()]
        columns = [list(column) for column in zip(*rows, strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO memory_service_entityalias (scope_id, created_at, name, normal_name, entity_id, source) "
                "SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[]) ON CONFLICT DO NOTHING",
                [self.scope.pk, self.now, *columns],
            )
        self._aliases.clear()

    # Relations

    def _stated(
        self, readings: Sequence[tuple[Memory, Reading]], resolved: Sequence[Mapping[str, int]]
    ) -> dict[tuple[int, int, str, str, bool], Stated]:
        stated: dict[tuple[int, int, str, str, bool], Stated] = {}
        for (memory, reading), ids in zip(readings, resolved, strict=True):
            for triplet in reading.triplets:
                source, target = ids[triplet.source.normal], ids[triplet.target.normal]
                if source == target:
                    continue
                if triplet.origin == "co_occurrence" and source > target:
                    source, target = target, source  # undirected: one row whichever came first
                add_stated(stated, (source, target), triplet, memory.pk, memory.valid_at)
        return stated

    def save_relations(self, stated: Mapping[tuple[int, int, str, str, bool], Stated]) -> None:
        """Opens, counts again or revives what is said to hold; closes what is said to hold no longer."""
        open_ = {key[:4]: one for key, one in stated.items() if not key[4]}
        ended = {key[:4]: one for key, one in stated.items() if key[4]}
        if any(one.triplet.origin != "co_occurrence" for one in open_.values()):
            self._revive({key: one for key, one in open_.items() if one.triplet.origin != "co_occurrence"})
        if open_:
            self._open(open_)
        if ended:
            self._end(ended)

    def _revive(self, stated: Mapping[tuple[int, int, str, str], Stated]) -> None:
        """A closed relation that is now said to have held at its end was no two: it goes on."""
        rows = [(*key, one.valid_at) for key, one in stated.items()]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE memory_service_relation r SET expired_at = NULL, invalid_at = NULL, version = %s FROM ("
                "SELECT DISTINCT ON (c.source_id, c.target_id, c.type, c.origin) c.id FROM memory_service_relation c "
                "JOIN unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[]) "
                "AS t(source, target, type, origin, valid_at) ON c.source_id = t.source AND c.target_id = t.target "
                "AND c.type = t.type AND c.origin = t.origin WHERE c.scope_id = %s AND c.expired_at IS NOT NULL "
                "AND (t.valid_at IS NULL OR t.valid_at <= c.invalid_at) AND NOT EXISTS (SELECT 1 FROM "
                "memory_service_relation o WHERE o.scope_id = c.scope_id AND o.source_id = c.source_id "
                "AND o.target_id = c.target_id AND o.type = c.type AND o.origin = c.origin AND o.expired_at IS NULL) "
                "ORDER BY c.source_id, c.target_id, c.type, c.origin, c.invalid_at DESC) f WHERE r.id = f.id",
                [self.version, *(list(column) for column in zip(*rows, strict=True)), self.scope.pk],
            )

    def _open(self, stated: Mapping[tuple[int, int, str, str], Stated]) -> None:
        names = self.names
        rows = [
            (
                *key,
                triplet_text(names[key[0]], key[2], names[key[1]]),
                one.triplet.confidence,
                len(one.memory_ids),
                one.valid_at,
            )
            for key, one in sorted(stated.items(), key=lambda item: item[0])
        ]
        sources = [(*key, memory_id) for key, one in stated.items() for memory_id in one.memory_ids]
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH put AS (INSERT INTO memory_service_relation AS r (public_id, scope_id, created_at, version, "
                "source_id, target_id, type, origin, text, confidence, num_mentions, valid_at) "
                "SELECT gen_random_uuid(), %s, %s, %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], "
                "%s::text[], %s::text[], %s::float8[], %s::int[], %s::timestamptz[]) "
                "ON CONFLICT (scope_id, source_id, target_id, type, origin) WHERE expired_at IS NULL DO UPDATE "
                "SET num_mentions = r.num_mentions + excluded.num_mentions, text = excluded.text, "
                "confidence = greatest(r.confidence, excluded.confidence), "
                "valid_at = least(r.valid_at, excluded.valid_at), version = CASE WHEN r.text = excluded.text "
                "AND r.confidence >= excluded.confidence AND r.valid_at <= excluded.valid_at THEN r.version "
                "ELSE excluded.version END RETURNING id, source_id, target_id, type, origin) "
                "INSERT INTO memory_service_relationsource (relation_id, memory_id) "
                "SELECT put.id, t.memory FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[]) "
                "AS t(source, target, type, origin, memory) JOIN put ON put.source_id = t.source "
                "AND put.target_id = t.target AND put.type = t.type AND put.origin = t.origin ON CONFLICT DO NOTHING",
                [
                    self.scope.pk,
                    self.now,
                    self.version,
                    *(list(column) for column in zip(*rows, strict=True)),
                    *(list(column) for column in zip(*sources, strict=True)),
                ],
            )

    def close(self, ended: Sequence[tuple[int, datetime]]) -> None:
        """Relations of the scope that are over, and when each ended; those that are closed stay as they are."""
        if not ended:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE memory_service_relation r SET expired_at = %s, version = %s, "
                "invalid_at = greatest(t.ended_at, coalesce(r.valid_at, t.ended_at)) "
                "FROM unnest(%s::bigint[], %s::timestamptz[]) AS t(id, ended_at) "
                "WHERE r.id = t.id AND r.scope_id = %s AND r.expired_at IS NULL",
                [self.now, self.version, *(list(column) for column in zip(*ended, strict=True)), self.scope.pk],
            )

    def _end(self, stated: Mapping[tuple[int, int, str, str], Stated]) -> None:
        """Whoever says so: an origin does not matter to what has ended."""
        rows = [(key[0], key[1], key[2], one.valid_at or self.now) for key, one in stated.items()]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE memory_service_relation r SET expired_at = %s, version = %s, "
                "invalid_at = greatest(t.ended_at, coalesce(r.valid_at, t.ended_at)) "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[]) "
                "AS t(source, target, type, ended_at) "
                "WHERE r.scope_id = %s AND r.expired_at IS NULL AND r.source_id = t.source AND r.target_id = t.target "
                "AND r.type = t.type",
                [self.now, self.version, *(list(column) for column in zip(*rows, strict=True)), self.scope.pk],
            )


def add_stated(
    stated: dict[tuple[int, int, str, str, bool], Stated],
    ends: tuple[int, int],
    triplet: Triplet,
    memory_id: int,
    valid_at: datetime | None,
) -> None:
    """Once more the same: the surest wording, all memories, the earliest time."""
    key = (*ends, triplet.type, triplet.origin, triplet.ended)
    known = stated.get(key)
    if known is None:
        stated[key] = Stated(triplet, (memory_id,), valid_at)
        return
    surest = max(known.triplet, triplet, key=lambda one: one.confidence)
    ids = known.memory_ids if memory_id in known.memory_ids else (*known.memory_ids, memory_id)
    times = [moment for moment in (known.valid_at, valid_at) if moment is not None]
    stated[key] = Stated(surest, ids, min(times) if len(times) == 2 else None)


def close_unsupported(memory_ids: Sequence[int], *, reworded: bool = False) -> int:
    """Closes the open relations that rested on these memories and rest on no live one now. Returns how many.

    Each ends when the last of its memories did. The memories have been saved with their end; or they are live and
    reworded, and support nothing that was drawn from their old words.
    """
    ids = list(memory_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT r.scope_id FROM memory_service_relationsource s JOIN memory_service_relation r "
            "ON r.id = s.relation_id WHERE s.memory_id = ANY(%s) AND r.expired_at IS NULL",
            [ids],
        )
        scope_ids = [row[0] for row in cursor.fetchall()]
        if not scope_ids:
            return 0
        versions = raise_version(scope_ids)
        cursor.execute(
            "UPDATE memory_service_relation r SET expired_at = %s, version = v.version, "
            "invalid_at = greatest(x.ended_at, coalesce(r.valid_at, x.ended_at)) "
            "FROM (SELECT s.relation_id, max(coalesce(m.invalid_at, m.expired_at, %s)) AS ended_at "
            "FROM memory_service_relationsource s JOIN memory_service_memory m ON m.id = s.memory_id "
            "WHERE s.relation_id IN (SELECT relation_id FROM memory_service_relationsource WHERE memory_id = ANY(%s)) "
            "GROUP BY s.relation_id HAVING NOT bool_or(m.state = 'live' AND m.id <> ALL(%s))) x, "
            "unnest(%s::bigint[], %s::bigint[]) AS v(scope_id, version) "
            "WHERE r.id = x.relation_id AND r.expired_at IS NULL AND v.scope_id = r.scope_id",
            [timezone.now(), timezone.now(), ids, ids if reworded else [], list(versions), list(versions.values())],
        )
        return int(cursor.rowcount)


# Forgetting


def forget_memories(memory_ids: Sequence[int]) -> None:
    """Before these memories are destroyed: takes them out of the graph, with what rested on them alone.

    A relation or an entity that other memories speak of too stays, and counts no more than those do.
    """
    ids = list(memory_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM memory_service_relationsource WHERE memory_id = ANY(%s) RETURNING relation_id), "
            "counts AS (SELECT relation_id, count(*) AS number FROM gone GROUP BY 1) "
            "UPDATE memory_service_relation r SET num_mentions = greatest(1, r.num_mentions - c.number) "
            "FROM counts c WHERE r.id = c.relation_id RETURNING r.id",
            [ids],
        )
        touched = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            "DELETE FROM memory_service_relation r WHERE r.id = ANY(%s) AND NOT EXISTS "
            "(SELECT 1 FROM memory_service_relationsource s WHERE s.relation_id = r.id)",
            [touched],
        )
        cursor.execute(
            "WITH gone AS (DELETE FROM memory_service_memoryentity WHERE memory_id = ANY(%s) RETURNING entity_id), "
            "counts AS (SELECT entity_id, count(*) AS number FROM gone GROUP BY 1) "
            "UPDATE memory_service_entity e SET num_mentions = greatest(0, e.num_mentions - c.number) "
            "FROM counts c WHERE e.id = c.entity_id RETURNING e.id",
            [ids],
        )
        _forget_entities([row[0] for row in cursor.fetchall()])


def _forget_entities(entity_ids: Sequence[int]) -> None:
    """Those that no memory names any more, with what was merged into them and all that is said of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.id FROM memory_service_entity e WHERE (e.id = ANY(%s) OR e.merged_into_id = ANY(%s)) "
            "AND NOT EXISTS (SELECT 1 FROM memory_service_memoryentity l "
            "WHERE l.entity_id IN (e.id, coalesce(e.merged_into_id, e.id)))",
            [list(entity_ids), list(entity_ids)],
        )
        _destroy_entities([row[0] for row in cursor.fetchall()])


def forget_scope(scope_id: int) -> None:
    """Every row of the scope's graph."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM memory_service_entity WHERE scope_id = %s", [scope_id])
        _destroy_entities([row[0] for row in cursor.fetchall()])
        cursor.execute("DELETE FROM memory_service_graphstate WHERE scope_id = %s", [scope_id])


def _destroy_entities(ids: Sequence[int]) -> None:
    """Table by table, leaves first: Django's own cascade would read every row into memory."""
    if not ids:
        return
    relations = "SELECT id FROM memory_service_relation WHERE source_id = ANY(%(ids)s) OR target_id = ANY(%(ids)s)"
    with connection.cursor() as cursor:
        for statement in (
            f"DELETE FROM memory_service_relationsource WHERE relation_id IN ({relations})",
            "DELETE FROM memory_service_relation WHERE source_id = ANY(%(ids)s) OR target_id = ANY(%(ids)s)",
            "DELETE FROM memory_service_entitymerge WHERE kept_id = ANY(%(ids)s) OR merged_id = ANY(%(ids)s)",
            "DELETE FROM memory_service_entityalias WHERE entity_id = ANY(%(ids)s)",
            "DELETE FROM memory_service_entityembedding WHERE entity_id = ANY(%(ids)s)",
            "DELETE FROM memory_service_memoryentity WHERE entity_id = ANY(%(ids)s)",
            "UPDATE memory_service_entity SET merged_into_id = NULL WHERE merged_into_id = ANY(%(ids)s)",
            "DELETE FROM memory_service_entity WHERE id = ANY(%(ids)s)",
        ):
            cursor.execute(statement, {"ids": list(ids)})
