"""Checks that every way in shares: what text and times can be stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .errors import InvalidInput

# What a message may be dated. Outside of it there is a mistake (milliseconds for seconds), not a conversation.
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_text(text: str, *, name: str) -> str:
    """PostgreSQL stores no NUL and UTF-8 has no lone surrogates. Raises InvalidInput saying which and where."""
    found = UNSTORABLE.search(text)
    if found:
        what = "a NUL character" if found.group() == "\x00" else f"a lone surrogate (U+{ord(found.group()):04X})"
        raise InvalidInput(f"{name} holds {what} at position {found.start()}, which cannot be stored: remove it")
    return text


def check_moment(moment: datetime, *, name: str) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise InvalidInput(
            f"{name}={moment.isoformat()} is out of range: {EARLIEST.year} to {LATEST.year} is accepted "
            "(a number counts seconds, not milliseconds)"
        )
    return moment


def check_json(value: Any, *, name: str, depth: int = 60) -> None:
    """Every string inside must be storable, keys too. Raises InvalidInput, naming the place."""
    if depth < 0:
        raise InvalidInput(f"{name} is nested too deeply")
    if isinstance(value, str):
        check_text(value, name=name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_text(str(key), name=f"a key of {name}")
            check_json(inner, name=f"{name}.{key}", depth=depth - 1)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            check_json(inner, name=f"{name}[{i}]", depth=depth - 1)
