"""`manage.py purge`: what was deleted leaves the files of the database too."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    help = (
        "Rewrite the tables without the rows that were deleted, refresh the planner's statistics, and close the "
        "current file of the write-ahead log. Each table is locked while it is rewritten."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor)
            for table in tables:
                cursor.execute(f"VACUUM (FULL, ANALYZE) {connection.ops.quote_name(table)}")
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            if cursor.fetchone()[0]:
                self._as_superuser(cursor)
            else:
                self.stdout.write("Not a superuser: no checkpoint, and statistics of empty tables stay as they are.")
        self.stdout.write(f"Rewrote {len(tables)} tables.")

    def _as_superuser(self, cursor: Any) -> None:
        # ANALYZE leaves the old values of a table that is empty now, and they are samples of what stood in it.
        cursor.execute(
            "DELETE FROM pg_statistic s USING pg_class c WHERE s.starelid = c.oid AND c.reltuples = 0 "
            "AND c.relnamespace = 'public'::regnamespace"
        )
        cursor.execute("VACUUM (FULL) pg_catalog.pg_statistic")
        cursor.execute("SELECT pg_switch_wal()")
        cursor.execute("CHECKPOINT")  # the old files are truncated now and removed by it
