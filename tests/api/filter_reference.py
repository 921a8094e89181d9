"""What a filter means, in plain Python: read from the protocol's contract, sharing no line with the service."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from .filter_rows import Row

ENTITY = ("user_id", "agent_id", "app_id", "run_id")
MOMENTS = ("created_at", "timestamp", "updated_at", "valid_at", "invalid_at")


def passes(row: Row, memory_id: str, tree: Any) -> bool:
    """Every answer is yes or no: what a row does not have is unequal to everything."""
    return all(_key(row, memory_id, key, value) for key, value in tree.items())


def _key(row: Row, memory_id: str, key: str, value: Any) -> bool:
    if key == "AND":
        return all(passes(row, memory_id, part) for part in value)
    if key == "OR":
        return any(passes(row, memory_id, part) for part in value)
    if key == "NOT":
        return not any(passes(row, memory_id, part) for part in (value if isinstance(value, list) else [value]))
    if key == "metadata":
        return _metadata(row.metadata, value)
    if value == "*":
        return _has(row, key)
    if isinstance(value, dict):
        return all(_test(row, memory_id, key, operator, operand) for operator, operand in value.items())
    return _test(row, memory_id, key, "in" if isinstance(value, list) else "bare", value)


def _has(row: Row, key: str) -> bool:
    if key == "categories":
        return bool(row.categories)
    return key == "session_id" or getattr(row, "created_at" if key == "timestamp" else key) is not None


def _test(row: Row, memory_id: str, key: str, operator: str, operand: Any) -> bool:
    if key in MOMENTS:
        return _moment(getattr(row, "created_at" if key == "timestamp" else key), operator, operand)
    if key == "expiration_date":
        return _ordered(row.expiration_date, operator, operand, date.fromisoformat)
    if key == "categories":
        return _categories(row.categories, operator, operand)
    if key in ("text", "keywords", "keywords_search"):
        return _text(row.text, key, operator, operand)
    if key == "memory_ids":
        return memory_id in (operand if operator == "in" else [operand])
    own = row.run_id if key == "session_id" else getattr(row, key)
    if operand == "*":
        return (own is None) == (operator == "ne")
    if operator == "ne":
        return own != operand
    return own in (operand if operator == "in" else [operand])


def _moment(own: datetime | None, operator: str, operand: Any) -> bool:
    """A bare date is its whole day."""
    if operator in ("ne", "in"):
        same = any(_moment(own, "bare", one) for one in (operand if operator == "in" else [operand]))
        return same == (operator == "in")
    if own is None:
        return False
    start, end = _interval(operand)
    return {
        "bare": start <= own < end,
        "eq": start <= own < end,
        "gt": own >= end,
        "gte": own >= start,
        "lt": own < start,
        "lte": own < end,
    }[operator]


def _interval(operand: Any) -> tuple[datetime, datetime]:
    """From the first moment that an operand stands for to the first after it."""
    if isinstance(operand, int):
        start, length = datetime.fromtimestamp(operand, UTC), timedelta(microseconds=1)
    elif len(operand) == 10:
        start, length = datetime.combine(date.fromisoformat(operand), time.min, UTC), timedelta(days=1)
    else:
        start, length = datetime.fromisoformat(operand), timedelta(microseconds=1)
    return start, start + length if start.year < 9999 else datetime.max.replace(tzinfo=UTC)


def _ordered(own: Any, operator: str, operand: Any, read: Any) -> bool:
    if operator == "in":
        return own in [read(one) for one in operand]
    if operator == "ne":
        return own != read(operand)
    if own is None:
        return False
    other = read(operand)
    return {
        "bare": own == other,
        "eq": own == other,
        "gt": own > other,
        "gte": own >= other,
        "lt": own < other,
        "lte": own <= other,
    }[operator]


def _categories(own: tuple[str, ...], operator: str, operand: Any) -> bool:
    if operator == "in":
        return bool({c.lower() for c in own} & {c.lower() for c in operand})
    return any(operand.lower() in c.lower() for c in own)


def _text(text: str, key: str, operator: str, operand: Any) -> bool:
    if operator == "in":
        return text in operand if key == "text" else any(word.lower() in text.lower() for word in operand)
    if operator == "icontains" or (key == "keywords" and operator == "bare"):
        return operand.lower() in text.lower()
    return operand in text


def _metadata(own: dict[str, Any], value: Any) -> bool:
    if value == "*":
        return bool(own)
    return all(_metadata_key(own, key, test) for key, test in value.items())


def _metadata_key(own: dict[str, Any], key: str, test: Any) -> bool:
    if key in ("eq", "ne", "contains") and isinstance(test, dict):
        held = all(k in own and _same(own[k], v) for k, v in test.items())
        return held == (key != "ne")
    if test == "*":
        return own.get(key) is not None
    if isinstance(test, dict):
        return all(_value(own, key, operator, operand) for operator, operand in test.items())
    return _value(own, key, "eq", test)


def _value(own: dict[str, Any], key: str, operator: str, operand: Any) -> bool:
    if operator in ("ne", "in"):
        same = any(_value(own, key, "eq", one) for one in (operand if operator == "in" else [operand]))
        return same == (operator == "in")
    if key not in own:
        return False
    value = own[key]
    if operator == "eq":
        return _same(value, operand)
    if operator in ("contains", "icontains"):
        return _holds(value, operator, operand)
    if _kind(value) != _kind(operand):
        return False
    return _ordered(value, operator, operand, lambda x: x)


def _holds(value: Any, operator: str, operand: Any) -> bool:
    if isinstance(value, list):
        return any(_same(one, operand) for one in value)
    if not (isinstance(value, str) and isinstance(operand, str)):
        return False
    return operand in value if operator == "contains" else operand.lower() in value.lower()


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1."""
    return _kind(left) == _kind(right) and left == right


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
