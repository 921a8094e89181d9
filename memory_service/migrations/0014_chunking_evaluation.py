"""Chunks are measured too: a kind of evaluation more."""

from django.db import migrations, models

KINDS = ["locomo", "longmemeval", "beam", "qa-jsonl", "chunking"]


class Migration(migrations.Migration):
    dependencies = [("memory_service", "0013_documents")]

    operations = [
        migrations.RemoveConstraint(model_name="evaluationrun", name="evaluation_kind_known"),
        migrations.AddConstraint(
            model_name="evaluationrun",
            constraint=models.CheckConstraint(condition=models.Q(("kind__in", KINDS)), name="evaluation_kind_known"),
        ),
    ]
