"""Advisory locks in PostgreSQL. The server drops them with the connection, so a worker that dies holds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from django.db import connection

NAMESPACE = 0x4D45 << 48  # "ME": keeps our locks apart from anybody else's


class Kind(IntEnum):
    SCOPE = 1
    DELETION = 2
    TIMELINE = 3
    SUMMARY = 11
    PROFILE = 12
    JOB = 13
    CATEGORIES = 14
    WEBHOOKS = 20
    EXPORT = 21
    IMPORT = 22
    PROJECT = 23
    EVALUATION = 24
    DOCUMENT = 25


@contextmanager
def advisory_lock(kind: Kind, number: int) -> Iterator[bool]:
    """Yields whether the lock was free and is now ours. number: a row's id, below 2^40."""
    key = NAMESPACE + (kind << 40) + number
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        held = bool(cursor.fetchone()[0])
    try:
        yield held
    finally:
        if held:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])


def lock_for_transaction(kind: Kind, number: int) -> None:
    """Waits for the lock and holds it to the end of the transaction. Take it before any row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [NAMESPACE + (kind << 40) + number])
