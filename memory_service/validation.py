"""Checks that every way in shares: what text and times can be stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from .errors import InvalidInput, TooLarge

# What a message may be dated. Outside of it there is a mistake (milliseconds for seconds), not a conversation.
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

# All four ids of a scope stand in one index entry, which PostgreSQL bounds by 2,704 bytes.
MAX_NAME_BYTES = 512
MAX_NAME_CHARS = 255  # of an entity id
MAX_JSON_VALUES = 200_000

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_text(text: str, *, name: str) -> str:
    """PostgreSQL stores no NUL and UTF-8 has no lone surrogates. Raises InvalidInput saying which and where."""
    found = UNSTORABLE.search(text)
    if found:
        what = "a NUL character" if found.group() == "\x00" else f"a lone surrogate (U+{ord(found.group()):04X})"
        raise InvalidInput(f"{name} holds {what} at position {found.start()}, which cannot be stored: remove it")
    return text


def check_name_size(text: str, *, name: str) -> str:
    num_bytes = len(text.encode("utf-8", "surrogatepass"))
    if num_bytes > MAX_NAME_BYTES:
        raise InvalidInput(f"{name} is {num_bytes} bytes long in UTF-8: at most {MAX_NAME_BYTES} are accepted")
    return text


def check_name(text: str, *, name: str) -> str:
    """One entity id: raises InvalidInput where it cannot be stored, is empty or too long, or is the `*` of filters."""
    if not text or text == "*":
        raise InvalidInput(f"{name}={text!r} names nobody: give one {name}")
    if len(text) > MAX_NAME_CHARS:
        raise InvalidInput(f"{name} has {len(text)} characters: at most {MAX_NAME_CHARS} are accepted")
    return check_name_size(check_text(text, name=name), name=name)


def check_moment(moment: datetime, *, name: str) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise InvalidInput(
            f"{name}={moment.isoformat()} is out of range: {EARLIEST.year} to {LATEST.year} is accepted "
            "(a number counts seconds, not milliseconds)"
        )
    return moment


def check_json(value: Any, *, name: str, depth: int = 60) -> None:
    """Every string inside must be storable, keys too. Raises InvalidInput, naming the place; TooLarge for too many."""
    for num_values, (path, inner) in enumerate(_walk(value), start=1):
        if num_values > MAX_JSON_VALUES:
            raise TooLarge(f"{name} holds over {MAX_JSON_VALUES} values: send it in several requests")
        if path and isinstance(path[-1], str) and UNSTORABLE.search(path[-1]):
            check_text(path[-1], name=f"a key of {_place(name, path[:-1])}")
        if len(path) > depth:
            raise InvalidInput(f"{_place(name, path)} is nested too deeply")
        if isinstance(inner, str) and UNSTORABLE.search(inner):
            check_text(inner, name=_place(name, path))


def _walk(value: Any) -> Iterator[tuple[list[Any], Any]]:
    """The value and all inside, in order, each with the keys that lead there: one list, which changes as we go on.

    No recursion and no text is made on the way: a body may hold a value in every second byte.
    """
    path: list[Any] = []
    yield path, value
    open_ = [_items(value)]
    while open_:
        path.append(None)
        for path[-1], inner in open_[-1]:
            yield path, inner
            if isinstance(inner, Mapping | list):
                open_.append(_items(inner))
                break
        else:
            open_.pop()
            del path[-2:]


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return iter(value.items())
    return enumerate(value if isinstance(value, list) else ())


def _place(name: str, path: Iterable[Any]) -> str:
    """`body.messages[2].role`, where path is what leads there."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name + "".join(steps)
