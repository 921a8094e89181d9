"""A version for each scope, kept by the database itself: whatever writes a memory or a vector leaves a row."""

import django.db.models.deletion
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION memory_service_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memory_service_scopechange (scope_id, weight) SELECT DISTINCT scope_id, 1 FROM touched;
    RETURN NULL;
END $$
"""
TABLES = ("memory", "embedding")
TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_{operation.lower()} AFTER {operation} ON memory_service_{table} "
    f"REFERENCING {'OLD' if operation == 'DELETE' else 'NEW'} TABLE AS touched "
    "FOR EACH STATEMENT EXECUTE FUNCTION memory_service_note_change();\n"
    for table in TABLES
    for operation in ("INSERT", "UPDATE", "DELETE")
)
DROP = "DROP FUNCTION memory_service_note_change() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("memory_service", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ScopeChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("weight", models.BigIntegerField(default=1)),
                (
                    "scope",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="memory_service.scope",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["scope"], include=["weight"], name="scope_change_sum")],
            },
        ),
        migrations.AddField("memory", "text_version", models.IntegerField(default=1, db_default=1)),
        migrations.RunSQL(FUNCTION + ";" + TRIGGERS, DROP),
    ]
