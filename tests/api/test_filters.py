"""The filter grammar: refused by name, meaning what its reference says, and the same in search, list and delete."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_service.errors import InvalidInput
from memory_service.filters import names_an_entity, parse
from memory_service.models import Memory, Project
from memory_service.retrieval import memories_passing
from tests.conftest import ApiClient

from .filter_reference import ENTITY, MOMENTS, passes
from .filter_rows import ROWS, WORD, Row, make_rows

NUM_EXAMPLES = 150
NUM_REQUESTED = 40  # examples that go through the API

# Errors, by message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"usr": 1}, r"unknown filter 'usr'; accepted are AND, OR, NOT, user_id, agent_id"),
        ({"user_id": {"like": "a"}}, r"filter user_id: unknown operator 'like'; accepted are eq, ne, in"),
        ({"user_id": {"gt": "a"}}, r"filter user_id: unknown operator 'gt'; accepted are eq, ne, in"),
        ({"categories": {"eq": "a"}}, r"filter categories: unknown operator 'eq'; accepted are in, contains"),
        ({"user_id": {}}, r"filter user_id: an empty object says nothing"),
        ({"user_id": 7}, r"filter user_id: 7 must be a string"),
        ({"user_id": None}, r"filter user_id: None must be a string"),
        ({"user_id": ["a", 7]}, r"filter user_id: 7 must be a string"),
        ({"user_id": {"in": "alice"}}, r"filter user_id: 'in' takes a list of at most 1000 values, not 'alice'"),
        ({"user_id": ["a"] * 1001}, r"filter user_id: 'in' takes a list of at most 1000 values"),
        ({"user_id": "a\x00"}, r"filter user_id holds a NUL character at position 1"),
        ({"created_at": "yesterday"}, r"filter created_at: 'yesterday' is not a time; accepted are 2025-03-31"),
        ({"created_at": {"gt": True}}, r"filter created_at: True is not a time"),
        ({"created_at": {"gt": 10**400}}, r"filter created_at: 1000.* is not a time"),
        ({"created_at": {"gt": [1]}}, r"filter created_at: \[1\] is not a time"),
        ({"memory_ids": ["x"]}, r"filter memory_ids: 'x' is not a memory id"),
        ({"metadata": "x"}, r"filter metadata: takes an object such as \{'key': 'value'\}, not 'x'"),
        ({"metadata": {"k": {"gt": 1, "nope": 2}}}, r"filter metadata.k: accepted operators are eq, ne, in"),
        ({"metadata": {"k": {"in": 5}}}, r"filter metadata.k: 'in' takes a list of at most 1000 values, not 5"),
        ({"metadata": {"k": {"gt": True}}}, r"filter metadata.k: gt compares numbers or strings, not True"),
        ({"metadata": {"k": {"icontains": 5}}}, r"filter metadata.k: icontains takes a string, not 5"),
        ({"metadata": {"k\x00": 1}}, r"a key of filter metadata holds a NUL character at position 1"),
        ({"metadata": {}}, r"filter metadata: an empty object says nothing"),
        ({"metadata": {"eq": {}}}, r"filter metadata: an empty object says nothing"),
        ({"AND": []}, r"AND takes a non-empty list of filters, not \[\]"),
        ({"OR": {"user_id": "a"}}, r"OR takes a non-empty list of filters, not \{'user_id': 'a'\}"),
        ({"NOT": []}, r"NOT takes a non-empty list of filters, not \[\]"),
        ({"NOT": {}}, r"an empty filter inside another says nothing"),
        ({"AND": [{"user_id": "a"}, {}]}, r"an empty filter inside another says nothing"),
        ({"AND": ["user_id"]}, r"filters must be an object such as \{'user_id': 'alice'\}, not 'user_id'"),
        ([], r"filters must be an object such as \{'user_id': 'alice'\}, not \[\]"),
        ("user_id", r"filters must be an object such as"),
        ({"OR": [{"user_id": "a"}] * 301}, r"filters hold 301 conditions; at most 300 are accepted"),
    ],
)
def test_it_refuses_by_name(raw: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse(raw)


def test_it_refuses_what_is_nested_too_deeply() -> None:
    raw: dict[str, Any] = {"user_id": "a"}
    for _ in range(16):
        raw = {"NOT": raw}
    parse(raw)
    with pytest.raises(InvalidInput, match="filters are nested deeper than 16 levels"):
        parse({"NOT": raw})


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"user_id": "a"}, True),
        ({"user_id": "*"}, True),
        ({"run_id": {"in": ["a"]}}, True),
        ({"AND": [{"user_id": "a"}, {"kind": "semantic"}]}, True),
        ({"OR": [{"user_id": "a"}, {"agent_id": "b"}]}, True),
        ({"OR": [{"user_id": "a"}, {"kind": "semantic"}]}, False),
        ({"NOT": {"user_id": "a"}}, False),
        ({"user_id": {"ne": "a"}}, False),
        ({"user_id": {"ne": "*"}}, False),
        ({"metadata": {"user_id": "a"}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_it_knows_whether_an_entity_is_named(raw: Any, named: bool) -> None:
    assert names_an_entity(parse(raw)) is named


# Meaning, against the reference

MOMENT_VALUES = ["2025-03-31", "2025-03-31T12:00:00Z", "2025-03-31T13:00:00+01:00", 1743379200, "9999-12-31"]
DATE_VALUES = ["2025-03-31", "2025-04-01", "2099-12-31", "2000-01-01", "9999-12-31"]
TEXT_VALUES = ["walnut", "Walnut", "boat", "%", "_", "\\", "'", "1", "é", "É", f"{WORD} boat", WORD]
CATEGORY_VALUES = ["food", "FOOD", "foo", "foo%", "a_b", "travel", "%", "_"]
NAMES = ["alice", "bob", "bot", "web", "r1", "r2", "eve's", "nobody"]
SCALARS = [1, 0, -3, 2.5, 1.0, True, False, None, "1", "a", "abc", "x", "é", "%", ""]
METADATA_KEYS = ["k", "7", "a b", "missing", "eq"]

EQUALITY = ("eq", "ne")
ORDERING = ("gt", "gte", "lt", "lte")


def conditions(ids: list[str]) -> list[dict[str, Any]]:
    """Every field with every operator on every value above, and `*`, and lists."""
    found = [one for name in ENTITY for one in on_field(name, [*NAMES, "*"], EQUALITY)]
    found += [one for name in MOMENTS for one in on_field(name, MOMENT_VALUES, EQUALITY + ORDERING)]
    found += on_field("expiration_date", DATE_VALUES, EQUALITY + ORDERING)
    found += on_field("kind", ["episodic", "semantic", "other"], EQUALITY)
    found += on_field("session_id", ["r1", "r2", "nobody"], EQUALITY)
    found += on_field("categories", CATEGORY_VALUES, ("contains",))
    found += on_field("text", TEXT_VALUES, ("contains",))
    found += on_field("keywords", TEXT_VALUES, ("contains", "icontains"), lists=False)
    found += on_field("keywords_search", TEXT_VALUES, ("contains",))
    found += on_field("memory_ids", ids[:3], ("contains",))
    found += [{name: "*"} for name in (*ENTITY, *MOMENTS, "expiration_date", "categories", "metadata", "session_id")]
    return found + [{"metadata": test} for test in on_metadata()]


def on_field(field: str, values: list[Any], operators: tuple[str, ...], *, lists: bool = True) -> list[dict[str, Any]]:
    found = [{field: value} for value in values]
    found += [{field: {operator: value}} for operator in operators for value in values]
    if lists:
        found += [{field: some} for some in ([], values[:2], values[1:])]
        found += [{field: {"in": some}} for some in ([], values[:1], values[-2:])]
    return found


def on_metadata() -> list[dict[str, Any]]:
    tests: list[Any] = [*SCALARS, "*", {"in": []}, {"in": [1, True]}, {"in": [True, 1]}, {"in": ["a", None, 2.5]}]
    tests += [{operator: value} for operator in EQUALITY for value in SCALARS]
    tests += [{operator: value} for operator in ORDERING for value in (1, 0, -3, 2.5, "a", "1", "abb")]
    tests += [{"contains": value} for value in ("a", "1", 1, "bc", "%", "A", True)]
    tests += [{"icontains": value} for value in ("A", "BC", "1", "_")]
    whole = [{operator: {key: 1}} for operator in ("eq", "ne", "contains") for key in METADATA_KEYS]
    return [{key: test} for key in METADATA_KEYS for test in tests] + whole


def trees(ids: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    def branches(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            several.map(lambda parts: {"AND": parts}),
            several.map(lambda parts: {"OR": parts}),
            inner.map(lambda part: {"NOT": part}),
            several.map(lambda parts: {"NOT": parts}),
            st.tuples(inner, inner).map(lambda pair: {**pair[0], **pair[1]}),
        )

    return st.recursive(st.sampled_from(conditions(ids)), branches, max_leaves=6)


def examples(number: int) -> settings:
    """The same ones every time. The rows they are asked of stay as they are, so they are made once, outside."""
    return settings(
        max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


@pytest.fixture
def rows(project: Project) -> dict[str, Row]:
    return make_rows(project)


def expected(rows: dict[str, Row], raw: Any) -> set[str]:
    return {memory_id for memory_id, row in rows.items() if passes(row, memory_id, raw)}


def found(project: Project, raw: Any) -> set[str]:
    memories = memories_passing(project, parse(raw), show_expired=True)
    return {str(public_id) for public_id in memories.values_list("public_id", flat=True)}


def test_each_condition_means_what_the_reference_says(project: Project, rows: dict[str, Row]) -> None:
    wrong = [raw for raw in conditions(list(rows)) if found(project, raw) != expected(rows, raw)]
    assert wrong == []


def test_any_tree_means_what_the_reference_says(project: Project, rows: dict[str, Row]) -> None:
    @examples(NUM_EXAMPLES)
    @given(trees(list(rows)))
    def check(raw: dict[str, Any]) -> None:
        assert found(project, raw) == expected(rows, raw)

    check()


def test_not_is_the_exact_complement(project: Project, rows: dict[str, Row]) -> None:
    @examples(NUM_EXAMPLES)
    @given(trees(list(rows)))
    def check(raw: dict[str, Any]) -> None:
        assert found(project, {"NOT": raw}) == set(rows) - found(project, raw)

    check()


# One meaning on every way in

SHARED = [
    {"user_id": "alice"},
    {"user_id": "*"},
    {"run_id": "r1"},
    {"agent_id": {"in": ["bot"]}},
    {"AND": [{"user_id": "*"}, {"NOT": [{"agent_id": "bot"}, {"run_id": "r1"}]}]},
    {"OR": [{"user_id": "bob"}, {"app_id": "web"}]},
    {"OR": [{"run_id": "r1"}, {"agent_id": "bot"}], "NOT": {"metadata": {"k": {"gte": 1}}}},
    {"user_id": "alice", "metadata": {"k": {"ne": 1}}},
    {"user_id": ["alice", "bob"], "categories": {"in": ["FOOD"]}},
    {"user_id": "*", "created_at": {"gte": "2025-03-31", "lt": "2025-04-01"}},
    {"app_id": "web", "expiration_date": {"lte": "2025-12-31"}},
    {"user_id": "alice", "keywords": {"contains": "walnut"}},
]


@pytest.mark.parametrize("raw", SHARED, ids=json.dumps)
def test_it_is_the_same_in_search_list_and_delete(client: ApiClient, rows: dict[str, Row], raw: Any) -> None:
    wanted = expected(rows, raw)
    assert wanted and wanted != set(rows)
    listed = client.post("/v3/memories/", {"filters": raw, "show_expired": True})
    assert {memory["id"] for memory in listed.json["results"]} == wanted
    asked = {"query": WORD, "filters": raw, "top_k": 1000, "show_expired": True}
    assert {hit["id"] for hit in client.post("/v3/memories/search/", asked).json["results"]} == wanted
    assert client.delete(f"/v1/memories/?filters={quote(json.dumps(raw))}").status == 200
    left = Memory.objects.live().values_list("public_id", flat=True)
    assert set(map(str, left)) == set(rows) - wanted


def test_search_and_list_agree_on_any_filter(client: ApiClient, rows: dict[str, Row]) -> None:
    @examples(NUM_REQUESTED)
    @given(trees(list(rows)))
    def check(raw: dict[str, Any]) -> None:
        scoped = {"AND": [{"OR": [{name: "*"} for name in ENTITY]}, raw]}
        with transaction.atomic():
            listed = client.post("/v3/memories/", {"filters": scoped, "show_expired": True})
            asked = {"query": WORD, "filters": scoped, "top_k": 1000, "show_expired": True}
            hits = client.post("/v3/memories/search/", asked)
        assert {hit["id"] for hit in hits.json["results"]} == {memory["id"] for memory in listed.json["results"]}

    check()


def test_it_tells_every_row_apart() -> None:
    assert len({row.text for row in ROWS}) == len(ROWS)
