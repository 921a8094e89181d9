"""What is kept of a scope must never answer for what the scope has become."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from memory_service import editing, filters, retrieval, traits
from memory_service.models import Memory, Project, Scope, ScopeChange, change
from memory_service.retrieval import SearchRequest, search
from memory_service.search_cache import Documents, Entry, SearchCache, fill_vectors
from memory_service.windows import Windows

from .test_retrieval import TALK, remember

QUERY = "advice from a doctor about rest"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[SearchCache]:
    cache = SearchCache(2**20)
    monkeypatch.setattr(retrieval, "_cache", lambda: cache)
    yield cache


def ask(project: Project, query: str = QUERY) -> list[tuple[int, float]]:
    hits = search(project, SearchRequest(query, filters.parse({"user_id": "ann"}), top_k=50))
    return [(hit.memory.pk, round(hit.score, 3)) for hit in hits if hit.memory]


def ask_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    with monkeypatch.context() as patch:
        fresh = SearchCache(2**20)
        patch.setattr(retrieval, "_cache", lambda: fresh)
        return ask(project)


def test_the_answer_is_the_same_from_what_is_kept(project: Project, own_cache: SearchCache) -> None:
    remember(project, TALK)
    answers = [ask(project) for _ in range(4)]
    assert own_cache.num_bytes > 0
    assert answers[0]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("change_it", ["add", "edit", "delete", "expire"])
def test_what_is_kept_gives_way_to_every_change(
    project: Project, monkeypatch: pytest.MonkeyPatch, change_it: str
) -> None:
    remember(project, TALK)
    for _ in range(3):
        before = ask(project)
    memory = Memory.objects.get(text__contains="physician")
    if change_it == "add":
        remember(project, ["A doctor told me that rest is the best advice."], run="later")
    elif change_it == "edit":
        editing.update_memory(project, memory.public_id, editing.Change(text="Ann: I sold the pancake house."))
    elif change_it == "delete":
        editing.delete_memory(project, memory.public_id)
    else:
        Memory.objects.filter(pk=memory.pk).update(expiration_date="2020-01-01")
    after = ask(project)
    assert after != before
    assert after == ask_anew(project, monkeypatch)


def test_only_the_vectors_of_new_texts_are_read_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(project, TALK)
    ask(project), ask(project)
    asked: list[int] = []
    load = retrieval.load_vectors
    monkeypatch.setattr(retrieval, "load_vectors", lambda ids: asked.extend(ids) or load(ids))
    remember(project, ["The harbour was full of seals."], run="later")
    ask(project)
    assert asked == list(Memory.objects.filter(text__contains="seals").values_list("pk", flat=True))


def test_versions_count_changes_and_survive_compaction(project: Project) -> None:
    remember(project, TALK)
    scope = Scope.objects.get()
    before = change.versions_of([scope.pk])
    remember(project, ["The harbour was full of seals."], run="later")
    after = change.versions_of([scope.pk])
    assert after[scope.pk] > before[scope.pk]
    assert change.compact(min_rows=2) == 1
    assert change.versions_of([scope.pk]) == after
    assert ScopeChange.objects.filter(scope_id=scope.pk).count() == 1


def test_compaction_drops_the_rows_of_scopes_that_are_gone(project: Project) -> None:
    ScopeChange.objects.create(scope_id=987_654_321)
    change.compact()
    assert not ScopeChange.objects.filter(scope_id=987_654_321).exists()


def make_documents(ids: np.ndarray, text_versions: np.ndarray) -> Documents:
    """Texts that stand alone, of nobody."""
    size = len(ids)
    alone = np.zeros(size - 1, np.bool_)
    said = traits.unpack(np.zeros(size, np.int64))
    rows = np.arange(size)
    return Documents(ids, np.ones(size), text_versions, alone, np.argsort(ids), said, rows, size, Windows(alone))


def make_entry(num: int) -> Entry:
    documents = make_documents(np.arange(num), np.ones(num, np.int64))
    return Entry({1: 1}, documents, np.ones((num, 4), np.float32))


def test_the_cache_keeps_to_its_size_and_drops_the_least_recently_used() -> None:
    entry = make_entry(10)
    cache = SearchCache(2 * entry.num_bytes)
    cache.put("a", entry)
    cache.put("b", entry)
    assert cache.get("a")
    cache.put("c", entry)
    assert cache.get("b") is None
    assert cache.get("a")
    assert cache.num_bytes == 2 * entry.num_bytes
    cache.put("a", make_entry(1000))  # larger than the cache: not kept, and what stood there is out of date
    assert cache.get("a") is None
    assert cache.num_bytes == entry.num_bytes


def test_vectors_of_changed_texts_are_not_reused() -> None:
    old = make_entry(3)
    new = make_documents(np.array([2, 0, 7]), np.array([1, 2, 1]))
    fetched: list[int] = []

    def fetch(wanted: list[int]) -> tuple[np.ndarray, np.ndarray]:
        fetched.extend(wanted)
        return np.array([7]), np.full((1, 4), 7, np.float32)

    vectors = fill_vectors(new, old, fetch)  # type: ignore[arg-type]
    assert fetched == [0, 7]  # 0 has another text now, 7 is new
    assert vectors[:, 0].tolist() == [1, 0, 7]
