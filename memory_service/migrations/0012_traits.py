"""What a search uses of a text beside its words is kept with it: see traits.py."""

from __future__ import annotations

from typing import Any

from django.db import connection, migrations, models

from memory_service import traits

BATCH = 2_000


def fill(apps: Any, schema_editor: Any) -> None:
    last = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT id, text, speaker, kind FROM memory_service_memory WHERE id > %s ORDER BY id LIMIT %s",
                [last, BATCH],
            )
            rows = cursor.fetchall()
            if not rows:
                return
            last = rows[-1][0]
            packed = [traits.of(text, speaker, is_turn=kind == "episodic") for _, text, speaker, kind in rows]
            cursor.execute(
                "UPDATE memory_service_memory m SET traits = t.traits "
                "FROM unnest(%s::bigint[], %s::bigint[]) AS t(id, traits) WHERE m.id = t.id",
                [[row[0] for row in rows], packed],
            )


class Migration(migrations.Migration):
    dependencies = [("memory_service", "0011_key_scope")]

    operations = [
        migrations.AddField("memory", "traits", models.BigIntegerField(default=0, db_default=0)),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
