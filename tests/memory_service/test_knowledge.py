"""What messages leave in the graph: entities that are told apart, relations with their times and their support."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memory_service import consolidation, editing, forgetting, knowledge, tasks
from memory_service.extraction.types import Candidate, EntityMention
from memory_service.filters import parse
from memory_service.knowledge import merging
from memory_service.knowledge.graphs import GraphCache
from memory_service.models import (
    Entity,
    EntityAlias,
    EntityEmbedding,
    EntityMerge,
    Event,
    GraphState,
    Memory,
    MemoryEntity,
    MemoryState,
    Project,
    Relation,
    RelationSource,
    Scope,
)
from tests.conftest import ApiClient, finished

ANN = {"user_id": "ann"}


def say(
    client: ApiClient, *contents: str, name: str | None = "Ann", run: str | None = None, at: str | None = None
) -> Event:
    said = {"role": "user", **({"name": name} if name else {}), **({"created_at": at} if at else {})}
    body = {"messages": [{**said, "content": content} for content in contents], **ANN}
    answer = client.post("/v3/memories/add/", {**body, **({"run_id": run} if run else {})})
    assert answer.status == 200, answer.json
    return finished(answer.json["event_id"])


def relations(*, open_only: bool = True, co_occurrence: bool = False) -> set[tuple[str, str, str]]:
    found = Relation.objects.filter(source__merged_into=None, target__merged_into=None)
    if open_only:
        found = found.open()
    if not co_occurrence:
        found = found.exclude(origin="co_occurrence")
    return set(found.values_list("source__name", "type", "target__name"))


def called(normal: str) -> set[str]:
    """The discriminators of the entities of a name."""
    return set(Entity.objects.filter(normal_name=normal).values_list("discriminator", flat=True))


def entity_of(text: str, normal: str) -> Entity:
    """Whom of that name the one memory with this text was linked to."""
    found = Entity.objects.filter(memories__text__contains=text, normal_name__startswith=normal)
    return found.distinct().get()


# Statements


def test_it_relates_who_says_what_of_whom(client: ApiClient) -> None:
    say(client, "I live in Oslo.", "I work at Nordbank.", "My sister Eva lives in Rome.")
    assert relations() == {
        ("Ann", "lives_in", "Oslo"),
        ("Ann", "works_at", "Nordbank"),
        ("Ann", "sibling_of", "Eva"),
        ("Eva", "lives_in", "Rome"),
    }
    lives = Relation.objects.get(source__name="Ann", type="lives_in", origin="pattern")
    assert (lives.text, lives.confidence, lives.invalid_at) == ("Ann lives in Oslo", 0.95, None)
    assert [source.memory.text for source in lives.sources.select_related("memory")] == ["Ann lives in Oslo"]
    types = dict(Entity.objects.values_list("name", "type"))
    assert types == {"Ann": "person", "Eva": "person", "Oslo": "place", "Rome": "place", "Nordbank": "organisation"}


def test_it_knows_a_user_who_gives_no_name_by_their_id_and_then_by_their_name(client: ApiClient) -> None:
    say(client, "I live in Oslo.", name=None)
    assert relations() == {("ann", "lives_in", "Oslo")}
    say(client, "My name is Annika.", "I work at Nordbank.", name=None)
    assert set(EntityAlias.objects.values_list("name", "entity__name", "source")) == {("Annika", "ann", "introduction")}
    assert ("ann", "works_at", "Nordbank") in relations()


def test_it_relates_names_of_one_memory_at_a_confidence_that_says_so(client: ApiClient) -> None:
    say(client, "We saw Bo and Cleo at the fair in Bergen with Dora, Emil and Fritz.")
    found = Relation.objects.filter(origin="co_occurrence")
    assert 0 < found.count() <= 6
    assert set(found.values_list("type", "confidence")) == {("mentioned_with", 0.3)}
    say(client, "Then Bo and Cleo left.")
    again = Relation.objects.get(source__name__in=["Bo", "Cleo"], target__name__in=["Bo", "Cleo"])
    assert again.num_mentions == 2 and again.sources.count() == 2


def test_it_takes_nothing_from_what_is_not_so(client: ApiClient) -> None:
    say(client, "I don't drive a Volvo.", "I do not like Wagner.", "I used to live in Paris.")
    assert {r for r in relations() if r[1] not in ("dislikes",)} == set()


def test_it_closes_what_is_said_to_hold_no_longer(client: ApiClient) -> None:
    say(client, "I live in Oslo.", at="2024-01-10T12:00:00Z")
    say(client, "I no longer live in Oslo.", at="2024-06-10T12:00:00Z")
    [closed] = Relation.objects.filter(type="lives_in")
    assert closed.invalid_at == datetime(2024, 6, 10, 12, tzinfo=UTC) and closed.expired_at is not None


# The life of a relation


def test_it_ends_a_relation_with_its_last_memory(client: ApiClient) -> None:
    say(client, "I'm from Oslo.", at="2024-01-10T12:00:00Z")
    first, second = Memory.objects.filter(kind="semantic").first(), None
    say(client, "My hometown is Oslo.", at="2024-02-10T12:00:00Z")
    lives = Relation.objects.get(type="from")
    supports = list(lives.sources.order_by("id"))
    assert len(supports) == 2 and lives.valid_at == datetime(2024, 1, 10, 12, tzinfo=UTC)
    second = supports[1].memory
    assert first is not None
    project = Project.objects.get(name="Relocation")
    editing.delete_memory(project, first.public_id)
    assert ("Ann", "from", "Oslo") in relations()
    editing.delete_memory(project, second.public_id)
    lives.refresh_from_db()
    second.refresh_from_db()
    assert lives.invalid_at == second.invalid_at and lives.expired_at is not None
    assert ("Ann", "from", "Oslo") not in relations() and ("Ann", "from", "Oslo") in relations(open_only=False)


def test_it_ends_what_was_drawn_from_words_that_were_changed_by_hand(client: ApiClient, project: Project) -> None:
    say(client, "I live in Oslo.", "I work at Nordbank.")
    memory = Memory.objects.get(kind="semantic", attribute="lives in")
    editing.update_memory(project, memory.public_id, editing.Change(text="Ann has left Oslo"))
    assert relations() == {("Ann", "works_at", "Nordbank")}


def test_it_ends_relations_of_superseded_memories_when_those_ended(client: ApiClient, project: Project) -> None:
    say(client, "I live in Oslo.", at="2024-01-10T12:00:00Z")
    memory = Memory.objects.get(kind="semantic")
    at = datetime(2024, 5, 1, tzinfo=UTC)
    with transaction.atomic():
        consolidation.close(memory, at=at, state=MemoryState.SUPERSEDED)
        knowledge.record(memory.scope, None, [], [memory])
    assert Relation.objects.get(type="lives_in").invalid_at == at


def write(scope: Scope, memory: Memory, **said: Any) -> None:
    """What consolidation does with one candidate."""
    text = f"{said['subject']} {said['attribute']} {said['value']}"
    entities = (EntityMention(said["subject"], "person"), EntityMention(said["value"], "place"))
    with transaction.atomic():
        knowledge.record(scope, None, [(memory, Candidate(text, "semantic", (), entities=entities, **said))], [])


def remembered(project: Project, text: str, valid_at: datetime) -> Memory:
    scope, _ = Scope.objects.get_or_create(project=project, user_id="ann")
    return Memory.objects.create(
        project=project,
        scope=scope,
        kind="semantic",
        text=text,
        text_hash=text[-32:],
        said_at=valid_at,
        valid_at=valid_at,
    )


def test_it_goes_on_with_a_relation_that_had_not_ended_and_begins_another_where_it_had(project: Project) -> None:
    said = {"subject": "Ann", "attribute": "lives in", "value": "Oslo"}
    first = remembered(project, "first", datetime(2020, 1, 1, tzinfo=UTC))
    write(first.scope, first, **said)
    consolidation.close(first, at=datetime(2021, 1, 1, tzinfo=UTC), state=MemoryState.SUPERSEDED)
    knowledge.close_unsupported([first.pk])
    write(first.scope, remembered(project, "second", datetime(2020, 6, 1, tzinfo=UTC)), **said)
    [revived] = Relation.objects.filter(type="lives_in")
    assert (revived.invalid_at, revived.expired_at, revived.num_mentions) == (None, None, 2)
    second = Memory.objects.get(text="second")
    consolidation.close(second, at=datetime(2021, 1, 1, tzinfo=UTC), state=MemoryState.SUPERSEDED)
    knowledge.close_unsupported([second.pk])
    write(first.scope, remembered(project, "third", datetime(2024, 1, 1, tzinfo=UTC)), **said)
    spans = list(
        Relation.objects.filter(type="lives_in").order_by("valid_at").values_list("valid_at__year", "invalid_at")
    )
    assert spans == [(2020, datetime(2021, 1, 1, tzinfo=UTC)), (2024, None)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 0},
        {"confidence": 1.5},
        {"type": ""},
        {"origin": "rumour"},
        {"expired_at": datetime(2024, 1, 1, tzinfo=UTC)},
        {"valid_at": datetime(2024, 1, 1, tzinfo=UTC), "invalid_at": datetime(2023, 1, 1, tzinfo=UTC)},
    ],
)
def test_the_database_refuses_what_cannot_hold(client: ApiClient, wrong: dict[str, Any]) -> None:
    say(client, "I live in Oslo.")
    good = Relation.objects.get(type="lives_in")
    with pytest.raises(IntegrityError), transaction.atomic():
        Relation.objects.filter(pk=good.pk).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        Relation.objects.filter(pk=good.pk).update(target=good.source_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        Relation.objects.create(
            scope=good.scope, source=good.source, target=good.target, type=good.type, origin=good.origin, text="twice"
        )


def test_it_sends_as_many_statements_for_many_memories_as_for_one(project: Project) -> None:
    def count(number: int) -> int:
        now = timezone.now()
        pairs = []
        for i in range(number):
            memory = remembered(project, f"memory {number} {i}", now)
            entities = tuple(EntityMention(f"{word}{number}x{i}", "place") for word in ("Oslo", "Rome", "Lima"))
            pairs.append((memory, Candidate(f"Ann lives in Oslo{number}x{i}", "semantic", (), "Ann", entities=entities,
                          subject="Ann", attribute="lives in", value=f"Oslo{number}x{i}")))  # fmt: skip
        with (
            CaptureQueriesContext(
                connection,
            ) as queries,
            transaction.atomic(),
        ):
            knowledge.record(memory.scope, None, pairs, [])
        return len(queries)

    count(1)
    assert count(2) == count(40)


# Entities


def test_it_tells_a_sister_from_a_colleague_of_the_same_name(client: ApiClient) -> None:
    say(client, "My sister Anna lives in Rome.", run="monday")
    say(client, "I met Anna from work in Lima.", run="tuesday")
    assert called("anna") == {"sister of ann", "from work"}
    assert ("Ann", "sibling_of", "Anna") in relations()


def test_it_means_the_only_one_then_the_last_one_spoken_of_and_else_says_that_it_does_not_know(
    client: ApiClient,
) -> None:
    say(client, "I met Anna Smith in the park.", run="monday")
    say(client, "We called Anna from the car.", run="tuesday")
    assert entity_of("from the car", "anna").name == "Anna Smith"
    say(client, "I met Anna Jones at the harbour.", run="wednesday")
    say(client, "We invited Anna to the cinema.", run="wednesday")
    assert entity_of("to the cinema", "anna").name == "Anna Jones"
    say(client, "Then I saw Anna with a kite.", run="thursday")
    unknown = entity_of("with a kite", "anna")
    assert (unknown.name, unknown.is_ambiguous) == ("Anna", True)
    assert Entity.objects.filter(normal_name__startswith="anna").count() == 3


def test_it_gives_a_bare_name_its_family_name_in_the_same_session_only(client: ApiClient) -> None:
    say(client, "I met Anna in the park.", "My friend Anna Smith paints.", run="monday")
    [anna] = Entity.objects.filter(normal_name__startswith="anna")
    assert anna.name == "Anna Smith" and list(anna.aliases.values_list("name", "source")) == [("Anna", "fuller_name")]
    say(client, "I met Bo in the park.", run="monday")
    say(client, "I called Bo Larsen, and Bo Larsen said hello.", run="tuesday")
    assert set(Entity.objects.filter(normal_name__startswith="bo").values_list("name", flat=True)) == {
        "Bo",
        "Bo Larsen",
    }


def test_it_keeps_two_apart_who_were_born_in_two_places(project: Project) -> None:
    now = timezone.now()
    first = remembered(project, "one", now)
    Memory.objects.filter(pk=first.pk).update(subject="Kim", attribute="born in", value="Oslo")
    write(first.scope, first, subject="Kim", attribute="born in", value="Oslo")
    write(first.scope, remembered(project, "two", now), subject="Kim", attribute="born in", value="Lima")
    assert called("kim") == {"", "born_in lima"}
    assert ("Kim", "born_in", "Lima") in relations()


def test_a_person_is_no_place(client: ApiClient) -> None:
    say(client, "We flew to Jordan in May.", run="monday")
    say(client, "My friend Jordan said hello.", run="tuesday")
    assert dict(Entity.objects.filter(normal_name="jordan").values_list("type", "discriminator")) == {
        "place": "",
        "person": "friend of ann",
    }


def test_scopes_do_not_share_entities(client: ApiClient) -> None:
    say(client, "I met Eva in Oslo.")
    client.post("/v3/memories/add/", {"messages": "I met Eva in Oslo.", "user_id": "zoe"})
    assert Entity.objects.filter(name="Eva").count() == 2
    assert Relation.objects.exclude(scope=1).filter(source__scope=1).count() == 0


# Names' vectors and merges


def test_the_background_embeds_names_and_an_add_does_not(client: ApiClient) -> None:
    say(client, "I met Eva in Oslo.")
    assert not EntityEmbedding.objects.exists()
    tasks.resolve_entities()
    assert EntityEmbedding.objects.count() == Entity.objects.count() > 0
    assert merging.embed_names() == []


def test_the_background_merges_what_is_surely_one_and_only_proposes_the_rest(project: Project) -> None:
    scope = Scope.objects.create(project=project, user_id="ann")
    for number, name in enumerate(["Nordbank Norway", "Nordbank, Norway", "Nordbank", "Flat 12", "Flat 13"]):
        normal = name.casefold()
        Entity.objects.create(scope=scope, name=name, normal_name=normal, type="other", num_mentions=9 - number)
    tasks.resolve_entities()
    lost = Entity.objects.get(name="Nordbank, Norway")
    assert lost.merged_into is not None and lost.merged_into.name == "Nordbank Norway"
    [merge] = EntityMerge.objects.all()
    assert merge.similarity is not None and merge.similarity >= 0.95
    proposed = [{p.left, p.right} for p in merging.find_duplicates_in(scope.pk)]
    both = {Entity.objects.get(name="Nordbank").pk, Entity.objects.get(name="Nordbank Norway").pk}
    assert both in proposed
    assert set(Entity.objects.filter(name__startswith="Flat").values_list("pk", flat=True)) not in proposed
    merging.undo(merge)
    tasks.resolve_entities()
    assert merging.merge_duplicates(scope.pk) == 0  # what a person undid stays undone


def test_a_merge_moves_all_and_its_undoing_gives_all_back(client: ApiClient, project: Project) -> None:
    say(client, "Eva lives in Rome.", "Evi lives in Rome.", "Evi speaks Italian.", "Evi met Bo Larsen.")
    snapshot = _everything()
    kept, lost = Entity.objects.get(name="Eva"), Entity.objects.get(name="Evi")
    merge = merging.merge(kept, lost, reason="a nickname")
    assert ("Eva", "speaks", "Italian") in relations() and not any("Evi" in r for r in relations())
    lives = Relation.objects.get(source=kept, type="lives_in")
    assert lives.num_mentions == 2 and lives.sources.count() == 2
    merging.undo(merge)
    assert _everything() == snapshot


def test_what_is_learnt_after_a_merge_stays_with_the_one_that_was_kept(client: ApiClient) -> None:
    say(client, "Eva lives in Rome.", "Evi speaks Italian.")
    merge = merging.merge(Entity.objects.get(name="Eva"), Entity.objects.get(name="Evi"), reason="a nickname")
    say(client, "Evi works at Nordbank.")
    assert ("Eva", "works_at", "Nordbank") in relations()
    merging.undo(merge)
    assert relations() >= {("Eva", "works_at", "Nordbank"), ("Evi", "speaks", "Italian")}


def _everything() -> dict[str, Any]:
    return {
        "relations": sorted(Relation.objects.values_list("pk", "source", "target", "type", "text", "num_mentions")),
        "links": sorted(MemoryEntity.objects.values_list("memory", "entity__name")),
        "aliases": sorted(EntityAlias.objects.values_list("normal_name", "entity")),
    }


# The graph of a scope


def test_the_kept_graph_follows_every_change_and_equals_one_read_anew(
    client: ApiClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = GraphCache()
    say(client, "I live in Oslo.", "My sister Eva lives in Rome.")
    scope = Scope.objects.get()

    def check() -> None:
        kept, fresh = cache.get([scope.pk]), GraphCache().get([scope.pk])
        assert {e.id: e for e in kept.edges()} == {e.id: e for e in fresh.edges()}
        assert {n.id: n for n in kept.nodes()} == {n.id: n for n in fresh.nodes()}
        seed = Entity.objects.get(name="Ann").pk
        ranks = [{node.id: score for node, score in graph.rank({seed: 1})} for graph in (kept, fresh)]
        assert ranks[0] == pytest.approx(ranks[1], abs=1e-9)

    check()
    first = cache.get([scope.pk])
    say(client, "I work at Nordbank.", "Eva lives in Rome with Bo.")
    check()
    editing.delete_memory(project, Memory.objects.filter(text__contains="Nordbank", kind="semantic")[0].public_id)
    check()
    merge = merging.merge(Entity.objects.get(name="Eva"), Entity.objects.get(name="Bo"), reason="test")
    check()
    merging.undo(merge)
    check()
    assert cache.get([scope.pk]) is first, "all of that was written into the graph in place"
    say(client, "I met Dora in Lima.", run="secret")
    forgetting.forget_entity(project, "run", "secret")
    check()
    assert cache.get([scope.pk]) is not first, "what was destroyed asks for a new one"


def test_the_cache_is_bounded(client: ApiClient) -> None:
    for user in ("a", "b", "c"):
        client.post("/v3/memories/add/", {"messages": "I live in Oslo.", "user_id": user})
    ids = list(Scope.objects.values_list("pk", flat=True))
    cache = GraphCache(max_rows=5)
    for i in ids:
        cache.get([i])
    assert len(cache) == 1
    assert cache.get(ids).num_nodes == 6


def test_an_edge_list_patched_where_an_entity_was_merged_has_no_loose_ends(client: ApiClient) -> None:
    say(client, "Eva lives in Rome.", "Evi lives in Rome.")
    scope, cache = Scope.objects.get(), GraphCache()
    cache.get([scope.pk])
    merging.merge(Entity.objects.get(name="Eva"), Entity.objects.get(name="Evi"), reason="test")
    graph = cache.get([scope.pk])
    assert "Evi" not in {node.name for node in graph.nodes()}
    assert all(edge.source in graph and edge.target in graph for edge in graph.edges())


# Forgetting


def test_forgetting_a_run_takes_its_part_of_the_graph_and_nothing_else(client: ApiClient, project: Project) -> None:
    say(client, "I live in Oslo.", run="monday")
    before = relations(co_occurrence=True)
    say(client, "I work at Nordbank.", "Dora lives in Lima.", "I live in Oslo.", run="secret")
    forgetting.forget_entity(project, "run", "secret")
    assert relations(co_occurrence=True, open_only=False) == before
    assert set(Entity.objects.values_list("name", flat=True)) == {"Ann", "Oslo"}
    assert Relation.objects.get(type="lives_in").sources.count() == 1


def test_forgetting_a_user_leaves_no_row_of_the_graph(client: ApiClient, project: Project) -> None:
    say(client, "Eva lives in Rome.", "Evi lives in Rome.", "My name is Annika.")
    client.post("/v3/memories/add/", {"messages": "I live in Oslo.", "user_id": "zoe"})
    tasks.resolve_entities()
    merging.merge(Entity.objects.get(name="Eva"), Entity.objects.get(name="Evi"), reason="test")
    forgetting.forget_entity(project, "user", "ann")
    zoe = Scope.objects.get().pk
    for model in (Entity, EntityAlias, EntityEmbedding, EntityMerge, GraphState, Relation):
        assert set(model.objects.values_list("scope", flat=True)) <= {zoe}
    assert Entity.objects.count() == 2 and RelationSource.objects.count() == 1


def test_deleting_by_a_filter_closes_relations(client: ApiClient, project: Project) -> None:
    say(client, "I live in Oslo.", "I work at Nordbank.")
    scope = Scope.objects.get()
    forgetting.delete_matching(project, parse({"user_id": "ann", "keywords": {"contains": "Oslo"}}), scope.pk)
    assert relations() == {("Ann", "works_at", "Nordbank")}
