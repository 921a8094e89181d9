"""A database for a command that is run by itself: the one that is up, or the embedded one, started for so long."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, connections

from memory_service import embedded

CONNECT_TIMEOUT_S = 3


@contextmanager
def running_database() -> Iterator[bool]:
    """Yields whether it was started here; then it is migrated, and stopped at the end.

    Raises CommandError where DATA_DIR is in use by a service whose database does not answer.
    """
    if settings.ENV.database_url or _answers():
        yield False
        return
    data_dir: Path = settings.DATA_DIR
    (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    lock = _lock(data_dir)
    try:
        process = embedded.start_postgres(data_dir, log=data_dir / "logs" / "postgres.log")
    except RuntimeError as exc:
        lock.close()
        raise CommandError(str(exc)) from exc
    try:
        embedded.create_database(data_dir)
        call_command("migrate", interactive=False, verbosity=0)
        call_command("bootstrap", stdout=StringIO())
        yield True
    finally:
        connections.close_all()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
        embedded.stop_postgres(process)
        lock.close()


def _answers() -> bool:
    named: Any = settings.DATABASES["default"]
    try:
        psycopg.connect(
            dbname=named["NAME"], user=named["USER"], host=named["HOST"], connect_timeout=CONNECT_TIMEOUT_S
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def _lock(data_dir: Path) -> TextIO:
    """The lock of `manage.py serve`: nobody else starts a database on this folder meanwhile."""
    lock = (data_dir / "serve.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        lock.close()
        raise CommandError(f"DATA_DIR={data_dir} is in use, but its database does not answer: try again") from exc
    return lock
