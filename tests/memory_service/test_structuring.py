"""Memories into the shape of a schema, by what is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from memory_service import structuring
from memory_service.errors import InvalidInput, TooLarge
from memory_service.structuring import Fact

NOW = datetime(2025, 3, 1, tzinfo=UTC)


def fact(number: int, text: str, attribute: str | None = None, value: str | None = None, **more: Any) -> Fact:
    """The higher the number, the newer. Of Nora, unless a subject says otherwise."""
    subject = more.pop("subject", "Nora" if attribute else None)
    said_at = NOW + timedelta(days=number)
    return Fact(str(number), text, said_at, subject=subject, attribute=attribute, value=value, **more)


NORA = [
    fact(9, "Nora lives in Porto", "lives in", "Porto"),
    fact(8, "Nora is a baker", "works as", "a baker"),
    fact(7, "Nora is allergic to walnuts", "is allergic to", "walnuts"),
    fact(6, "Nora is allergic to coriander", "is allergic to", "coriander"),
    fact(5, "Nora is 34 years old", "age", "34 years old"),
    fact(4, "Nora likes fado", "likes", "fado"),
    fact(3, "Nora lived in Braga", "lives in", "Braga"),
    fact(2, "Emil lives in Ghent", "lives in", "Ghent", subject="Emil"),
    fact(
        1, "Nora: the invoice was paid", metadata={"invoice_total": 41.5, "Customer-Tier": "GOLD", "tags": ["a", "b"]}
    ),
]


def fill(properties: dict[str, Any], facts: list[Fact] = NORA, **schema: Any) -> structuring.Filled:
    node = structuring.build(structuring.read_schema({"type": "object", "properties": properties, **schema}))
    filled = structuring.fill(node, facts)
    Draft202012Validator(structuring.lean(node)).validate(filled.data)
    return filled


def test_it_fills_from_facts_metadata_and_text_and_says_which() -> None:
    filled = fill(
        {
            "city": {"type": "string"},
            "occupation": {"type": "string", "description": "what they do for a living"},
            "age": {"type": "integer"},
            "allergies": {"type": "array", "items": {"type": "string"}},
            "hobbies": {"type": "array", "items": {"type": "string"}},
            "invoice_total": {"type": "number"},
            "customer_tier": {"enum": ["silver", "gold"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "invoice": {"type": "string"},
        }
    )
    assert filled.data == {
        "city": "Porto",
        "occupation": "a baker",
        "age": 34,
        "allergies": ["walnuts", "coriander"],
        "hobbies": ["fado"],
        "invoice_total": 41.5,
        "customer_tier": "gold",
        "tags": ["a", "b"],
        "invoice": "Nora: the invoice was paid",
    }
    assert filled.sources["/city"] == ["9"]
    assert filled.sources["/allergies/1"] == ["6"]
    assert filled.sources["/invoice_total"] == ["1"]


def test_it_leaves_open_what_nobody_said() -> None:
    filled = fill(
        {
            "shoe_size": {"type": "integer"},
            "employer": {"type": "string", "default": "Acme"},
            "pets": {"type": "array", "items": {"type": "string"}},
            "partner": {"type": "object", "properties": {"surname": {"type": "string"}}},
            "married": {"type": "boolean"},
        },
        required=["shoe_size", "pets"],
    )
    assert filled.data == {
        "shoe_size": None,
        "employer": None,
        "pets": [],
        "partner": {"surname": None},
        "married": None,
    }
    assert filled.sources == {}


def test_it_finds_a_value_by_the_description_of_the_property() -> None:
    assert fill({"place": {"type": "string", "title": "Where she lives now"}}).data == {"place": "Porto"}
    assert fill({"ort": {"type": "string", "description": "the city she lives in"}}).data == {"ort": "Porto"}


def test_it_keeps_to_what_the_schema_allows() -> None:
    assert fill({"city": {"type": "string", "maxLength": 3}}).data == {"city": None}
    assert fill({"age": {"type": "integer", "minimum": 40}}).data == {"age": None}
    assert fill({"city": {"enum": ["braga", "lisbon"]}}).data == {"city": "braga"}  # the newest that it may be
    assert fill({"allergies": {"type": "array", "items": {"type": "string"}, "maxItems": 1}}).data == {
        "allergies": ["walnuts"]
    }
    assert fill({"city": {"type": ["null", "string"]}}).data == {"city": "Porto"}
    assert fill({"city": {"anyOf": [{"type": "null"}, {"type": "string"}]}}).data == {"city": "Porto"}
    assert fill({"city": {"type": "string", "pattern": "(a+)+$"}}).data == {"city": "Porto"}  # patterns are not run


def test_it_reads_what_pydantic_writes() -> None:
    schema = {
        "$defs": {
            "Health": {"properties": {"allergies": {"items": {"type": "string"}, "type": "array"}}, "type": "object"}
        },
        "properties": {
            "city": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "City"},
            "health": {"allOf": [{"$ref": "#/$defs/Health"}]},
        },
        "title": "Profile",
        "type": "object",
    }
    filled = structuring.fill(structuring.build(structuring.read_schema(schema)), NORA)
    assert filled.data == {"city": "Porto", "health": {"allergies": ["walnuts", "coriander"]}}


def test_it_makes_one_object_for_each_of_whom_something_is_known() -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}, "city": {"type": "string"}}}
    filled = fill({"people": {"type": "array", "items": person}})
    assert filled.data == {"people": [{"name": "Nora", "city": "Porto"}, {"name": "Emil", "city": "Ghent"}]}
    assert filled.sources == {"/people/0/city": ["9"], "/people/1/city": ["2"]}


def test_it_ends_a_schema_that_refers_to_itself() -> None:
    schema = {
        "$defs": {
            "Tree": {"type": "object", "properties": {"city": {"type": "string"}, "child": {"$ref": "#/$defs/Tree"}}}
        },
        "$ref": "#/$defs/Tree",
    }
    assert structuring.fill(structuring.build(structuring.read_schema(schema)), NORA).data == {
        "city": "Porto",
        "child": None,
    }


BOMB = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/L0"}},
    "$defs": {
        f"L{level}": {"type": "object", "properties": {f"p{i}": {"$ref": f"#/$defs/L{level + 1}"} for i in range(12)}}
        for level in range(6)
    }
    | {"L6": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (None, "must be a JSON schema"),
        (7, "must be a JSON schema"),
        ([], "must be a JSON schema"),
        ({}, "must be a JSON schema"),
        ("{", "not JSON"),
        ("[" * 30_000, "not JSON"),
        ({"type": "string"}, "must describe an object"),
        ({"type": "banana"}, "schema: "),
        ({"type": "object", "properties": 3}, "schema: "),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.org/x.json"}}}, "leads outside"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "leads outside"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/Nope"}}}, "leads nowhere"),
        ({"type": "object", "properties": {"a\x00": {}}}, "NUL"),
    ],
)
def test_it_refuses_what_is_no_schema(raw: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        structuring.read_schema(raw)


def test_it_refuses_a_schema_without_bounds() -> None:
    with pytest.raises(TooLarge, match="1000 places"):
        structuring.read_schema(BOMB)
    with pytest.raises(TooLarge, match="characters"):
        structuring.read_schema({"type": "object", "description": "x" * 60_000})


def test_it_strikes_out_what_a_model_made_up() -> None:
    properties = {
        "city": {"type": "string"},
        "employer": {"type": "string"},
        "age": {"type": "integer"},
        "shoe_size": {"type": "integer"},
        "tier": {"enum": ["gold"]},
        "allergies": {"type": "array", "items": {"type": "string"}},
        "home": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    node = structuring.build({"type": "object", "properties": properties})
    answer = {
        "city": "Porto",
        "employer": "Zanzibar Spices Ltd",
        "age": 34,
        "shoe_size": 42,
        "tier": "platinum",
        "allergies": ["walnuts", "moonlight", 7],
        "home": {"city": "Porto", "planet": "Earth"},
        "extra": True,
    }
    checked = structuring.check(node, answer, NORA)
    assert checked.data == {
        "city": "Porto",
        "employer": None,
        "age": 34,
        "shoe_size": None,
        "tier": None,
        "allergies": ["walnuts"],
        "home": {"city": "Porto"},
    }
    assert sorted(note.partition(":")[0] for note in checked.notes) == [
        "/allergies/1", "/allergies/2", "/employer", "/shoe_size", "/tier",
    ]  # fmt: skip
    assert structuring.check(node, "nonsense", NORA).data["allergies"] == []
