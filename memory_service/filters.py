"""The filter grammar of the protocol, with one meaning in search, list, delete and export.

    filter   := {AND: [filter, ...]} | {OR: [filter, ...]} | {NOT: filter or [filter, ...]} | {field: test, ...}
    test     := value | {operator: value, ...}

Sibling keys are ANDed; NOT of a list is "none of these". `*` matches any value that is not null. Every filter becomes
one condition in the database. NOT is the exact complement: a null counts as "not equal". What is not understood is
refused by name, never ignored.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import BooleanField, F, Func, JSONField, Q, TextField, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.db.models.lookups import (
    Contains,
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    IContains,
    In,
    LessThan,
    LessThanOrEqual,
)
from django.utils.dateparse import parse_date, parse_datetime

from .errors import InvalidInput
from .models import MemorySource
from .validation import check_json, check_text

ENTITY_FIELDS = ("user_id", "agent_id", "app_id", "run_id")
DATE_FIELDS = ("created_at", "updated_at", "timestamp", "expiration_date", "valid_at", "invalid_at")
EQUALITY = ("eq", "ne", "in")
ORDERING = ("gt", "gte", "lt", "lte")
OPERATORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ENTITY_FIELDS, EQUALITY),
    **dict.fromkeys(DATE_FIELDS, EQUALITY + ORDERING),
    "session_id": EQUALITY,
    "kind": EQUALITY,
    "categories": ("in", "contains"),
    "metadata": ("eq", "ne", "contains"),
    "keywords": ("contains", "icontains"),
    "keywords_search": ("in", "contains"),
    "text": ("in", "contains"),
    "memory_ids": ("in", "contains"),
}
LOGIC = ("AND", "OR", "NOT")
KEY_OPERATORS = (*EQUALITY, *ORDERING, "contains", "icontains")  # on the value of one metadata key

MAX_DEPTH, MAX_TESTS, MAX_VALUES = 16, 300, 1000
SEPARATOR = "\x1f"  # between categories; no category may hold a control character

# The protocol's created_at is when a thing was said, which the caller may backdate.
MEMORY_COLUMNS = {"created_at": "said_at", "timestamp": "said_at"}


@dataclass(frozen=True, slots=True)
class Test:
    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Logic:
    operator: str  # AND, OR, NOT
    parts: tuple[Test | Logic, ...]


Filter = Test | Logic


def only_user(node: Filter) -> str | None:
    """Whom the filter says it is about, where that is one user: who a call of a language model is charged for."""
    tests = [node] if isinstance(node, Test) else [part for part in flat_parts(node) if isinstance(part, Test)]
    if not isinstance(node, Test) and node.operator != "AND":
        return None
    named = [test.value for test in tests if test.field == "user_id" and test.operator == "eq"]
    return str(named[0]) if len(named) == 1 else None


def flat_parts(node: Logic) -> Iterator[Filter]:
    """Its parts, those of an AND within an AND and of an OR within an OR among them."""
    for part in node.parts:
        if not isinstance(part, Test) and part.operator == node.operator and node.operator != "NOT":
            yield from flat_parts(part)
        else:
            yield part


def parse(raw: Any) -> Filter:
    """JSON -> a checked filter. Raises InvalidInput, naming what is wrong and what is accepted."""
    if raw is None:
        return Logic("AND", ())
    parsed = _parse(raw, depth=0)
    if _count(parsed) > MAX_TESTS:
        raise InvalidInput(f"filters hold {_count(parsed)} conditions; at most {MAX_TESTS} are accepted")
    return parsed


def _parse(raw: Any, *, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"filters are nested deeper than {MAX_DEPTH} levels")
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"filters must be an object such as {{'user_id': 'alice'}}, not {_shown(raw)}")
    if not raw and depth:
        raise InvalidInput("an empty filter inside another says nothing: name a field, or leave it out")
    parts = tuple(part for key, value in raw.items() for part in _parse_key(key, value, depth))
    return parts[0] if len(parts) == 1 else Logic("AND", parts)


def _parse_key(key: Any, value: Any, depth: int) -> tuple[Filter, ...]:
    if key in ("AND", "OR"):
        return (Logic(key, _parse_list(key, value, depth)),)
    if key == "NOT":
        parts = _parse_list(key, value, depth) if isinstance(value, list) else (_parse(value, depth=depth + 1),)
        return (Logic("NOT", parts),)
    if key not in OPERATORS:
        raise InvalidInput(f"unknown filter {_shown(key)}; accepted are {', '.join((*LOGIC, *OPERATORS))}")
    return tuple(_parse_test(key, value))


def _parse_list(key: str, value: Any, depth: int) -> tuple[Filter, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidInput(f"{key} takes a non-empty list of filters, not {_shown(value)}")
    return tuple(_parse(part, depth=depth + 1) for part in value)


def _parse_test(field: str, value: Any) -> list[Test]:
    if field == "metadata":
        return _parse_metadata(value)
    if isinstance(value, Mapping):
        return [_check(field, operator, operand) for operator, operand in _operators(field, value)]
    if value == "*":
        return [Test(field, "any", None)]
    if isinstance(value, list):
        return [_check(field, "in", value)]
    return [_check(field, _bare_operator(field), value)]


def _bare_operator(field: str) -> str:
    accepted = OPERATORS[field]
    return next(op for op in ("eq", "icontains", "contains") if op in accepted)


def _operators(field: str, value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    accepted = OPERATORS[field]
    for operator in value:
        if operator not in accepted:
            raise InvalidInput(
                f"filter {field}: unknown operator {_shown(operator)}; accepted are {', '.join(accepted)}"
            )
    if not value:
        raise InvalidInput(f"filter {field}: an empty object says nothing; accepted are {', '.join(accepted)}")
    return list(value.items())


def _check(field: str, operator: str, operand: Any) -> Test:
    if operand == "*" and operator in ("eq", "ne"):
        test = Test(field, "any", None)
        return test if operator == "eq" else Test(field, "none", None)
    if operator == "in":
        values = operand if isinstance(operand, list) else None
        if values is None or len(values) > MAX_VALUES:
            raise InvalidInput(
                f"filter {field}: 'in' takes a list of at most {MAX_VALUES} values, not {_shown(operand)}"
            )
        return Test(field, "in", tuple(_check_value(field, v) for v in values))
    if field == "memory_ids":
        return Test(field, "in", (_check_value(field, operand),))
    return Test(field, operator, _check_value(field, operand))


def _check_value(field: str, value: Any) -> Any:
    if field in DATE_FIELDS:
        return parse_moment(value, name=f"filter {field}")
    if not isinstance(value, str):
        raise InvalidInput(f"filter {field}: {_shown(value)} must be a string")
    check_text(value, name=f"filter {field}")
    if field == "memory_ids":
        try:
            return uuid.UUID(value)
        except ValueError as exc:
            raise InvalidInput(f"filter memory_ids: {_shown(value)} is not a memory id") from exc
    return value


def _parse_metadata(value: Any) -> list[Test]:
    if value == "*":
        return [Test("metadata", "any", None)]
    if not isinstance(value, Mapping):
        raise InvalidInput(f"filter metadata: takes an object such as {{'key': 'value'}}, not {_shown(value)}")
    if not value or any(value.get(whole) == {} for whole in ("eq", "ne", "contains")):
        raise InvalidInput("filter metadata: an empty object says nothing; give it a key, or '*' for any")
    tests: list[Test] = []
    for key, operand in value.items():
        check_json({key: operand}, name="filter metadata")
        if key in ("eq", "ne", "contains") and isinstance(operand, Mapping):
            tests.append(Test("metadata", key, dict(operand)))
        elif isinstance(operand, Mapping) and operand and all(k in KEY_OPERATORS for k in operand):
            tests.extend(_check_key_operator(key, op, v) for op, v in operand.items())
        elif isinstance(operand, Mapping) and any(k in KEY_OPERATORS for k in operand):
            raise InvalidInput(f"filter metadata.{key}: accepted operators are {', '.join(KEY_OPERATORS)}")
        else:
            tests.append(Test("metadata", "key", (key, "any" if operand == "*" else "eq", operand)))
    return tests


def _check_key_operator(key: str, operator: str, value: Any) -> Test:
    if operator == "in" and not (isinstance(value, list) and len(value) <= MAX_VALUES):
        raise InvalidInput(
            f"filter metadata.{key}: 'in' takes a list of at most {MAX_VALUES} values, not {_shown(value)}"
        )
    if operator in ORDERING and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise InvalidInput(f"filter metadata.{key}: {operator} compares numbers or strings, not {_shown(value)}")
    if operator == "icontains" and not isinstance(value, str):
        raise InvalidInput(f"filter metadata.{key}: icontains takes a string, not {_shown(value)}")
    return Test("metadata", "key", (key, operator, value))


def parse_moment(value: Any, *, name: str) -> date | datetime:
    """An ISO date, an ISO date and time, or seconds since 1970. A time without an offset is UTC."""
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            moment = parse_date(value) or parse_datetime(value)
            if isinstance(moment, datetime) and moment.tzinfo is None:
                return moment.replace(tzinfo=UTC)
            if moment is not None:
                return moment
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidInput(
        f"{name}: {_shown(value)} is not a time; accepted are 2025-03-31, 2025-03-31T12:00:00Z and seconds since 1970"
    )


def _count(node: Filter) -> int:
    return 1 if isinstance(node, Test) else sum(_count(p) for p in node.parts)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


# What a filter says of whose memory it is


def names_an_entity(node: Filter) -> bool:
    """Whether every memory that passes is tied to some entity id by a positive condition."""
    return _always(node, _names_entity)


def narrows(node: Filter) -> bool:
    """The same, or by what its metadata holds: enough to delete by."""
    return _always(node, lambda test: _names_entity(test) or _names_metadata(test))


def _always(node: Filter, holds: Callable[[Test], bool]) -> bool:
    """Whether no memory passes but by a test of which `holds` is true."""
    if isinstance(node, Test):
        return holds(node)
    if node.operator == "NOT":
        return False
    found = [_always(part, holds) for part in node.parts]
    return any(found) if node.operator == "AND" else bool(found) and all(found)


def _names_entity(test: Test) -> bool:
    return test.field in ENTITY_FIELDS and test.operator in ("eq", "in", "any")


def _names_metadata(test: Test) -> bool:
    operator = test.value[1] if test.operator == "key" else test.operator
    return test.field == "metadata" and operator not in ("ne", "any")


def scope_condition(node: Filter) -> Q | None:
    """A condition on Scope that no memory passing the filter violates, or None where the filter says nothing of it."""
    if isinstance(node, Test):
        return _scope_test(node)
    if node.operator == "NOT":
        return None
    found = [scope_condition(part) for part in node.parts]
    known = [q for q in found if q is not None]
    if node.operator == "AND":
        return _join(known, Q.AND) if known else None
    return _join(known, Q.OR) if len(known) == len(found) and found else None


def _scope_test(test: Test) -> Q | None:
    if not _names_entity(test):
        return None
    column = "sessions__run_id" if test.field == "run_id" else test.field
    if test.operator == "any":
        return None if test.field == "run_id" else Q(**{f"{column}__isnull": False})
    return Q(**{f"{column}__in": [test.value] if test.operator == "eq" else list(test.value)})


# Filter -> condition on memories


def to_q(node: Filter) -> Q:
    """The condition on Memory."""
    if isinstance(node, Test):
        return COMPILERS.get(node.field, _plain)(node)
    parts = [to_q(part) for part in node.parts]
    if node.operator == "NOT":
        return ~_join(parts, Q.OR)
    return _join(parts, node.operator) if parts else Q()


def _join(parts: list[Q], connector: str) -> Q:
    joined = parts[0]
    for part in parts[1:]:
        joined = joined | part if connector == Q.OR else joined & part
    return joined


def _plain(test: Test) -> Q:
    column = MEMORY_COLUMNS.get(test.field, test.field)
    if test.operator in ("any", "none"):
        return Q(**{f"{column}__isnull": test.operator == "none"})
    if test.operator == "ne":
        return ~Q(**{column: test.value})
    lookup = "" if test.operator == "eq" else f"__{test.operator}"
    return Q(**{f"{column}{lookup}": list(test.value) if test.operator == "in" else test.value})


def _moment(test: Test) -> Q:
    """A bare date stands for its whole day: `lte` takes the day in, `gt` leaves it out."""
    if test.operator in ("any", "none") or test.field == "expiration_date":
        return _plain(_as_date(test))
    if test.operator == "in":
        return _join([_moment(Test(test.field, "eq", v)) for v in test.value], Q.OR) if test.value else Q(pk__in=[])
    if isinstance(test.value, datetime):
        return _plain(test)
    column = MEMORY_COLUMNS.get(test.field, test.field)
    start = datetime.combine(test.value, time.min, UTC)
    end = start + timedelta(days=1) if test.value < date.max else datetime.max.replace(tzinfo=UTC)
    day = Q(**{f"{column}__gte": start, f"{column}__lt": end})
    conditions: dict[str, Q] = {
        "eq": day,
        "ne": ~day,
        "gt": Q(**{f"{column}__gte": end}),
        "gte": Q(**{f"{column}__gte": start}),
        "lt": Q(**{f"{column}__lt": start}),
        "lte": Q(**{f"{column}__lt": end}),
    }
    return conditions[test.operator]


def _as_date(test: Test) -> Test:
    def to_date(value: Any) -> Any:
        return value.date() if isinstance(value, datetime) else value

    value = tuple(to_date(v) for v in test.value) if test.operator == "in" else to_date(test.value)
    return Test(test.field, test.operator, value)


def _session(test: Test) -> Q:
    """session_id is the protocol's other name for the run; our own session's id is taken too."""
    if test.operator in ("any", "none"):
        return Q(session__isnull=test.operator == "none")
    values = list(test.value) if test.operator == "in" else [test.value]
    ids = [found for found in map(_uuid_or_none, values) if found]
    condition = Q(run_id__in=values) | Q(session__public_id__in=ids)
    condition |= _stated_in(Q(message__session__run_id__in=values) | Q(message__session__public_id__in=ids))
    return ~condition if test.operator == "ne" else condition


def _uuid_or_none(value: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(value)
    except ValueError:
        return None


def _categories(test: Test) -> Q:
    if test.operator in ("any", "none"):
        empty = Q(categories=[])
        return empty if test.operator == "none" else ~empty
    joined = Concat(
        Value(SEPARATOR),
        Func(F("categories"), Value(SEPARATOR), function="array_to_string", output_field=TextField()),
        Value(SEPARATOR),
        output_field=TextField(),
    )
    if test.operator == "contains":
        return Q(IContains(joined, test.value))
    if not test.value:
        return Q(pk__in=[])
    return _join([Q(IContains(joined, f"{SEPARATOR}{value}{SEPARATOR}")) for value in test.value], Q.OR)


def _text(test: Test) -> Q:
    if test.operator in ("any", "none"):
        return Q(text__isnull=test.operator == "none")
    if test.operator == "in":
        return Q(text__in=test.value) if test.field == "text" else _any_word(test.value)
    return Q(**{f"text__{test.operator}": test.value})


def _any_word(words: tuple[str, ...]) -> Q:
    return _join([Q(text__icontains=word) for word in words], Q.OR) if words else Q(pk__in=[])


def _memory_ids(test: Test) -> Q:
    if test.operator in ("any", "none"):
        return Q(pk__isnull=test.operator == "none")
    return Q(public_id__in=test.value)


def _metadata(test: Test) -> Q:
    if test.operator == "key":
        return _metadata_key(*test.value)
    if test.operator == "any":
        return ~Q(metadata={})
    contained = Q(metadata__contains=test.value)
    return ~contained if test.operator == "ne" else contained


def _metadata_key(key: str, operator: str, value: Any) -> Q:
    if operator == "any":
        return Q(metadata__has_key=key) & ~_metadata_key(key, "eq", None)
    if operator in ("eq", "ne"):
        condition = Q(_never_null(Exact(_at_key(key), _json(value))))
        return ~condition if operator == "ne" else condition
    if operator == "in":
        return Q(_never_null(In(_at_key(key), [_json(v) for v in value]))) if value else Q(pk__in=[])
    if operator in ("contains", "icontains"):
        return _key_contains(key, operator, value)
    lookup = {"gt": GreaterThan, "gte": GreaterThanOrEqual, "lt": LessThan, "lte": LessThanOrEqual}[operator]
    if isinstance(value, str):
        return _is_at_key(key, "string") & Q(_never_null(lookup(_text_at_key(key), Value(value))))
    return _is_at_key(key, "number") & Q(_never_null(lookup(_at_key(key), _json(value))))


def _key_contains(key: str, operator: str, value: Any) -> Q:
    """A list holds the value, or a string holds it as a part."""
    condition = Q(metadata__contains={key: [value]})
    if isinstance(value, str):
        lookup = Contains if operator == "contains" else IContains
        condition |= _is_at_key(key, "string") & Q(_never_null(lookup(_text_at_key(key), value)))
    return condition


def _at_key(key: str) -> Func:
    """Django's KeyTransform would take the key "7" for a place in a list."""
    return Func(F("metadata"), Value(key), function="jsonb_extract_path", output_field=JSONField())


def _text_at_key(key: str) -> Func:
    return Func(F("metadata"), Value(key), function="jsonb_extract_path_text", output_field=TextField())


def _is_at_key(key: str, kind: str) -> Q:
    """jsonb would otherwise rank all numbers over all strings."""
    found = Func(_at_key(key), function="jsonb_typeof", output_field=TextField())
    return Q(_never_null(Exact(found, Value(kind))))


def _json(value: Any) -> Cast:
    """As text, since Django takes Value(True) and Value(1) for the same."""
    return Cast(Value(json.dumps(value)), JSONField())


def _never_null(condition: Any) -> Coalesce:
    """A missing key is false, so that NOT over it is true."""
    return Coalesce(condition, Value(False), output_field=BooleanField())


def _run(test: Test) -> Q:
    """A fact that two runs state is found in both, whichever it is filed under."""
    if test.operator in ("any", "none"):
        return _plain(test)
    values = list(test.value) if test.operator == "in" else [test.value]
    condition = Q(run_id__in=values) | _stated_in(Q(message__session__run_id__in=values))
    return ~condition if test.operator == "ne" else condition


def _stated_in(session: Q) -> Q:
    return Q(pk__in=MemorySource.objects.filter(session).values("memory"))


COMPILERS: dict[str, Callable[[Test], Q]] = {
    **dict.fromkeys(DATE_FIELDS, _moment),
    "run_id": _run,
    "session_id": _session,
    "categories": _categories,
    "keywords": _text,
    "keywords_search": _text,
    "text": _text,
    "memory_ids": _memory_ids,
    "metadata": _metadata,
}


# Filter -> condition on messages that are not memories yet


def to_message_q(node: Filter) -> Q | None:
    """The same condition on Message, or None where a message has nothing yet that it could be asked of."""
    return _where_all_can_be_asked(node, _message_test)


def _where_all_can_be_asked(node: Filter, to_q: Callable[[Test], Q | None]) -> Q | None:
    """The condition that `to_q` makes of each test, or None where it makes none of one of them."""
    if isinstance(node, Test):
        return to_q(node)
    parts = [_where_all_can_be_asked(part, to_q) for part in node.parts]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if node.operator == "NOT":
        return ~_join(known, Q.OR)
    return _join(known, node.operator) if known else Q()


def _message_test(test: Test) -> Q | None:
    if test.field in ENTITY_FIELDS:
        column = "session__run_id" if test.field == "run_id" else f"session__scope__{test.field}"
        return _plain(Test(column, test.operator, test.value))
    if test.field in ("created_at", "timestamp", "updated_at"):
        return _moment(Test("timestamp", test.operator, test.value))
    if test.field in ("text", "keywords") and test.operator in ("contains", "icontains"):
        return Q(**{f"content__{test.operator}": test.value})
    if test.field == "metadata" and test.operator == "key" and test.value[1] == "eq":
        return Q(event__options__contains={"metadata": {test.value[0]: test.value[2]}})
    return None


# Filter -> condition on documents


def to_document_q(node: Filter) -> Q | None:
    """The same condition on Document, annotated with `said_at`, or None where a document has nothing that it could be
    asked of."""
    return _where_all_can_be_asked(node, _document_test)


def _document_test(test: Test) -> Q | None:
    if test.field in ENTITY_FIELDS:
        return _plain(test)
    if test.field in ("created_at", "timestamp", "updated_at"):
        return _moment(test)
    return _metadata(test) if test.field == "metadata" else None
