"""Memories into the shape of a JSON schema: without a language model, by what is actually written; and the check of
what a model answers.

A schema becomes a tree of nodes: references resolved, `null` alternatives dropped, only what can be checked without
surprises kept (no patterns: a regular expression of a stranger's can take for ever). A leaf is filled from, best first,

    4  metadata under the property's name
    3  the value of a fact whose attribute is the property's name, or a usual word for it
    2  the value of a fact whose attribute is named in the property's description
    1  the text of a memory in a category of that name, or that says all words of the name

and stays null where nothing fits. Of equals the newest wins; a list collects them all.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, SchemaError

from .errors import InvalidInput, TooLarge
from .lexical import terms
from .validation import check_json

MAX_SCHEMA_CHARS = 50_000
MAX_NODES = 1000
MAX_DEPTH = 12
MAX_ITEMS = 200  # of a list
METADATA, ATTRIBUTE, DESCRIBED, MENTIONED = 4, 3, 2, 1

LEAF_KEYWORDS = (
    "type",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "format",
)
# Says nothing of what is wanted, in a property's name.
GENERIC = frozenset(
    terms("user users person people customer client current info information details data list all value")
)
# What people call the attributes that local extraction finds (see extraction/statement_patterns.py).
USUAL_NAMES = {
    "lives in": "city town location residence home address place country",
    "works as": "job occupation profession role title position career",
    "works at": "employer company workplace organisation organization",
    "works for": "employer company workplace organisation organization",
    "from": "hometown origin birthplace homeland",
    "likes": "hobby hobbies interest interests preference preferences favourite favorite favourites favorites",
    "loves": "hobby hobbies interest interests preference preferences favourite favorite favourites favorites",
    "enjoys": "hobby hobbies interest interests preference preferences",
    "is interested in": "hobby hobbies interest interests",
    "dislikes": "aversion aversions dislike dislikes",
    "is allergic to": "allergy allergies allergen allergens",
    "is afraid of": "fear fears phobia phobias",
    "is learning": "study studies learning",
    "diet": "diet dietary",
    "age": "age",
    "marital status": "marital relationship",
}
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
YES, NO = {"yes", "true"}, {"no", "false"}


@dataclass(frozen=True, slots=True)
class Fact:
    """A memory as structuring sees it. Newest first, where there are several."""

    id: str
    text: str
    said_at: datetime
    subject: str | None = None
    attribute: str | None = None
    value: str | None = None
    categories: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """One place in the schema. kind: object, array or leaf. schema: how what stands there is checked; null is added
    to it where a value is written."""

    kind: str
    name: str
    described: str
    schema: Mapping[str, Any]
    properties: Mapping[str, Node] = field(default_factory=dict)
    items: Node | None = None


@dataclass(slots=True)
class Filled:
    """sources: JSON pointer -> the ids of the memories that the value there rests on."""

    data: Any
    sources: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


# Schema -> nodes


def read_schema(raw: Any) -> dict[str, Any]:
    """A checked schema, from an object or its JSON. Raises InvalidInput and TooLarge, saying what is wrong where."""
    if isinstance(raw, str):
        if len(raw) > MAX_SCHEMA_CHARS:
            raise TooLarge(f"schema has {len(raw)} characters; at most {MAX_SCHEMA_CHARS} are accepted")
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise InvalidInput(f"schema is a string that is not JSON: {exc}") from exc
    if not isinstance(raw, dict) or not raw:
        raise InvalidInput("schema must be a JSON schema: an object such as {'type': 'object', 'properties': {...}}")
    check_json(raw, name="schema", depth=40)
    if len(json.dumps(raw)) > MAX_SCHEMA_CHARS:
        raise TooLarge(f"schema is over {MAX_SCHEMA_CHARS} characters of JSON")
    try:
        Draft202012Validator.check_schema(raw)
    except SchemaError as exc:
        raise InvalidInput(f"schema: {exc.json_path} {exc.message}"[:500]) from exc
    if build(raw).kind == "leaf":
        raise InvalidInput("schema must describe an object with properties, or a list of them")
    return raw


def build(schema: Mapping[str, Any]) -> Node:
    """Raises InvalidInput for references that lead nowhere or outside, TooLarge for too many nodes."""
    return _Builder(schema).node(schema, name="", path=(), refs=())


class _Builder:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.num_nodes = 0

    def node(self, raw: Any, *, name: str, path: tuple[str, ...], refs: tuple[str, ...]) -> Node:
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            raise TooLarge(f"schema has over {MAX_NODES} places to fill, references counted each time")
        schema, refs, described = self._plain(raw, refs, name)
        if schema is None or len(path) > MAX_DEPTH:  # a reference to itself: the tree ends here
            return Node("leaf", name, described, {"type": "null"})
        kind = _type_of(schema)
        if kind == "object":
            properties = {
                key: self.node(inner, name=key, path=(*path, key), refs=refs)
                for key, inner in schema.get("properties", {}).items()
            }
            return Node("object", name, described, {"type": "object"}, properties)
        if kind == "array":
            items = self.node(schema.get("items", {}), name=name, path=(*path, "[]"), refs=refs)
            return Node("array", name, described, {"type": "array", **_keep(schema, ("maxItems",))}, items=items)
        return Node("leaf", name, described, _keep(schema, LEAF_KEYWORDS))

    def _plain(
        self, raw: Any, refs: tuple[str, ...], name: str
    ) -> tuple[Mapping[str, Any] | None, tuple[str, ...], str]:
        """Without references and without the alternative of null. None where it refers to itself."""
        described: list[str] = []
        schema = raw if isinstance(raw, Mapping) else {}
        for _ in range(MAX_DEPTH * 2):
            described += [str(schema[key]) for key in ("title", "description") if key in schema]
            if "$ref" in schema:
                if schema["$ref"] in refs:
                    return None, refs, " ".join(described)
                refs = (*refs, schema["$ref"])
                schema = self._find(schema["$ref"])
                continue
            options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if not options:
                return schema, refs, " ".join(described)
            schema = next((one for one in options if isinstance(one, Mapping) and one.get("type") != "null"), {})
        raise InvalidInput(f"schema: {name or 'the root'} refers from one place to the next without end")

    def _find(self, ref: Any) -> Mapping[str, Any]:
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise InvalidInput(f"schema: $ref {str(ref)[:80]!r} leads outside; only '#/$defs/...' is accepted")
        found: Any = self.root
        for step in ref.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise InvalidInput(f"schema: $ref {ref[:80]!r} leads nowhere")
        return found


def _type_of(schema: Mapping[str, Any]) -> str:
    named = schema.get("type")
    if isinstance(named, list):
        named = next((one for one in named if one != "null"), "null")
    if named in ("object", "array"):
        return str(named)
    if named is None and "properties" in schema:
        return "object"
    if named is None and "items" in schema:
        return "array"
    return "leaf"


def _keep(schema: Mapping[str, Any], keywords: Iterable[str]) -> dict[str, Any]:
    return {key: schema[key] for key in keywords if key in schema}


def lean(node: Node) -> dict[str, Any]:
    """The schema of an answer: the asked one, reduced to what is checked, with null everywhere."""
    if node.kind == "object":
        properties = {key: lean(inner) for key, inner in node.properties.items()}
        return {"type": ["object", "null"], "properties": properties, "additionalProperties": not properties}
    if node.kind == "array":
        assert node.items is not None  # the builder gives every array its items
        return {**node.schema, "type": ["array", "null"], "items": lean(node.items)}
    return {"anyOf": [dict(node.schema), {"type": "null"}]}


# Nodes -> data


def fill(node: Node, facts: Sequence[Fact]) -> Filled:
    """facts: newest first."""
    filled = Filled(None)
    filled.data = _Filler(facts, filled).at(node, pointer="", facts=_about_the_main_subject(facts))
    return filled


def _about_the_main_subject(facts: Sequence[Fact]) -> list[Fact]:
    """What is said of others is not said of whom the schema is about: the one of whom most is known."""
    named = Counter(fact.subject for fact in facts if fact.subject)
    if not named:
        return list(facts)
    main = named.most_common(1)[0][0]
    return [fact for fact in facts if fact.subject in (None, main)]


class _Filler:
    def __init__(self, everything: Sequence[Fact], filled: Filled) -> None:
        self.everything, self.filled = everything, filled

    def at(self, node: Node, *, pointer: str, facts: Sequence[Fact]) -> Any:
        if node.kind == "object":
            return {
                key: self.at(inner, pointer=f"{pointer}/{_escape(key)}", facts=facts)
                for key, inner in node.properties.items()
            }
        if node.kind == "array":
            return self._list(node, pointer, facts)
        for fact, candidate in _matches(node, facts):
            value = coerce(candidate, node.schema)
            if value is not None:
                self.filled.sources[pointer] = [fact.id]
                return value
        return None

    def _list(self, node: Node, pointer: str, facts: Sequence[Fact]) -> list[Any]:
        assert node.items is not None  # the builder gives every array its items
        limit = min(node.schema.get("maxItems", MAX_ITEMS), MAX_ITEMS)
        if node.items.kind != "leaf":
            return self._objects(node.items, pointer, limit)
        found: dict[str, Any] = {}
        sources: list[list[str]] = []
        wanted = Node("leaf", node.name, f"{node.described} {node.items.described}", node.items.schema)
        for fact, candidate in _matches(wanted, facts, only_best_kind=True):
            for one in candidate if isinstance(candidate, list) else [candidate]:
                value = coerce(one, node.items.schema)
                if value is not None and str(value).casefold() not in found and len(found) < limit:
                    found[str(value).casefold()] = value
                    sources.append([fact.id])
        for i, ids in enumerate(sources):
            self.filled.sources[f"{pointer}/{i}"] = ids
        return list(found.values())

    def _objects(self, item: Node, pointer: str, limit: int) -> list[Any]:
        """One for each subject of whom anything that is asked is known."""
        made: list[Any] = []
        for subject in dict.fromkeys(fact.subject for fact in self.everything if fact.subject):
            before = dict(self.filled.sources)
            own = [fact for fact in self.everything if fact.subject == subject]
            value = self.at(item, pointer=f"{pointer}/{len(made)}", facts=own)
            if len(made) < limit and len(self.filled.sources) > len(before):
                if isinstance(value, dict) and "name" in value and value["name"] is None:
                    value["name"] = coerce(subject, item.properties["name"].schema)
                made.append(value)
            else:
                self.filled.sources = before
        return made


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _matches(node: Node, facts: Sequence[Fact], *, only_best_kind: bool = False) -> Iterator[tuple[Fact, Any]]:
    """What may be the value, best first; facts are newest first, and sorting keeps that."""
    name = _words(node.name) - GENERIC
    described = _words(node.described) - GENERIC
    scored = [found for fact in facts if (found := _match(node.name, name, described, fact))]
    scored.sort(key=lambda one: -one[0])
    # Values and whole texts in one list would be a muddle.
    least = MENTIONED if not only_best_kind or not scored or scored[0][0] == MENTIONED else DESCRIBED
    yield from ((fact, value) for level, fact, value in scored if level >= least)


def _match(key: str, name: set[str], described: set[str], fact: Fact) -> tuple[int, Fact, Any] | None:
    for given, value in fact.metadata.items():
        if _plain_name(given) == _plain_name(key) and value not in (None, "", [], {}):
            return METADATA, fact, value
    if fact.attribute and fact.value:
        attribute = _words(fact.attribute) - GENERIC
        usual = _words(USUAL_NAMES.get(fact.attribute.lower(), ""))
        if name and all(_any_alike(word, attribute | usual) for word in name):
            return ATTRIBUTE, fact, fact.value
        if any(_any_alike(word, attribute) for word in described):
            return DESCRIBED, fact, fact.value
    if name and any(_words(category) == name for category in fact.categories):
        return MENTIONED, fact, fact.text
    said = _words(fact.text)
    if name and all(_any_alike(word, said) for word in name):
        return MENTIONED, fact, fact.text
    return None


def _words(text: str) -> set[str]:
    """Stems; full_name and fullName are two words."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text.replace("_", " ").replace("-", " "))
    return set(terms(apart))


def _plain_name(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _any_alike(word: str, others: Iterable[str]) -> bool:
    """Stems of one root differ at their ends: allerg, allergi."""
    return any(
        word == other or (min(len(word), len(other)) >= 5 and (word.startswith(other) or other.startswith(word)))
        for other in others
    )


_formats = FormatChecker()


def coerce(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value as the leaf's schema wants it, or None where it is not that."""
    wanted = schema.get("type")
    types = wanted if isinstance(wanted, list) else [wanted]
    for kind in types:
        found = _as_choice(value, schema["enum"]) if "enum" in schema else _as_type(value, kind)
        if found is not None and is_valid(found, schema):
            return found
    return None


def is_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    return bool(Draft202012Validator(schema, format_checker=_formats).is_valid(value))


def _as_choice(value: Any, choices: Sequence[Any]) -> Any:
    plain = {_plain_name(str(choice)): choice for choice in choices if choice is not None}
    return plain.get(_plain_name(str(value)))


def _as_type(value: Any, kind: Any) -> Any:
    if kind in ("integer", "number"):
        return _as_number(value, kind)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        said = str(value).strip().casefold()
        return True if said in YES else False if said in NO else None
    if isinstance(value, bool | dict | list):
        return value if kind is None else None
    return None if kind == "null" else str(value).strip() or None


def _as_number(value: Any, kind: str) -> int | float | None:
    if isinstance(value, bool):
        return None
    if not isinstance(value, int | float):
        found = NUMBER.search(value) if isinstance(value, str) else None
        if found is None:
            return None
        value = float(found[0].replace(",", "."))
    if kind == "integer":
        return int(value) if float(value).is_integer() else None
    return value  # type: ignore[no-any-return]


# What a language model answers


def check(node: Node, data: Any, facts: Sequence[Fact]) -> Filled:
    """The answer with null wherever it breaks the schema or says what no memory says; the notes name the places."""
    filled = Filled(_complete(node, data))
    corpus = " ".join(fact.text for fact in facts)
    known, numbers = set(terms(corpus)), set(NUMBER.findall(corpus))
    for fact in facts:
        known |= _words(json.dumps(fact.metadata, ensure_ascii=False)) | _words(" ".join(fact.categories))
    filled.data = _check(node, filled.data, "", filled, known, numbers)
    faults = list(Draft202012Validator(lean(node), format_checker=_formats).iter_errors(filled.data))
    assert not faults, faults  # _check has put null wherever it is not so
    return filled


def _complete(node: Node, data: Any) -> Any:
    """Missing properties are null, others are dropped."""
    if node.kind == "object":
        given = data if isinstance(data, Mapping) else {}
        if not node.properties:
            return dict(given)
        return {key: _complete(inner, given.get(key)) for key, inner in node.properties.items()}
    if node.kind == "array":
        assert node.items is not None  # the builder gives every array its items
        limit = min(node.schema.get("maxItems", MAX_ITEMS), MAX_ITEMS)
        items = data if isinstance(data, list) else []
        return [_complete(node.items, one) for one in items[:limit] if one is not None]
    return data


def _check(node: Node, data: Any, pointer: str, filled: Filled, known: set[str], numbers: set[str]) -> Any:
    if node.kind == "object":
        if not node.properties:
            return data
        return {
            key: _check(inner, data[key], f"{pointer}/{_escape(key)}", filled, known, numbers)
            for key, inner in node.properties.items()
        }
    if node.kind == "array":
        assert node.items is not None  # the builder gives every array its items
        checked = [_check(node.items, one, f"{pointer}/{i}", filled, known, numbers) for i, one in enumerate(data)]
        return [one for one in checked if one is not None]
    if data is None:
        return None
    if not is_valid(data, node.schema):
        filled.notes.append(f"{pointer}: the model's answer is not what the schema asks for")
        return None
    if "enum" not in node.schema and not _is_grounded(data, known, numbers):
        filled.notes.append(f"{pointer}: no memory says {str(data)[:80]!r}")
        return None
    return data


def _is_grounded(value: Any, known: set[str], numbers: set[str]) -> bool:
    """At least half of the words of a text stand in the memories, and each number does."""
    if isinstance(value, bool | list | dict):
        return True
    if isinstance(value, int | float):
        return any(float(number.replace(",", ".")) == float(value) for number in numbers)
    words = set(terms(value))
    return not words or 2 * sum(_any_alike(word, known) for word in words) >= len(words)
